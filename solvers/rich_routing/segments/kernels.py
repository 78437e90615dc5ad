"""Routes as arrays whose segments are joined in constant time.

A node is a location, a visit to a reload depot, or the start or the end of a route. Each node on a route knows two
segments, from the last depot to it and from it to the next depot; joined with a client in between they tell whether a
trip can be driven, how long it takes and what it carries. The time part is that of Vidal, Crainic, Gendreau and Prins
(2013), Computers & Operations Research 40(1), 475-489, without time warp: what is late is refused.

All segments are rows of one array: with N nodes, row ``i`` is node ``i`` alone, row ``N + i`` the segment that ends
with it, row ``2 N + i`` the one that begins with it, and the rows from ``3 N`` on are scratch.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

DURATION, EARLIEST, LATEST, RELEASE, LOADS = range(5)
"""Columns of a segment; from LOADS on, three for each dimension: from the depot, net gain, most on board."""
FIXED, PER_DISTANCE, PER_TIME, READY, DUE, MOST_DURATION, MOST_DISTANCE, OVERTIME_AFTER, OVERTIME, CAPACITY = range(10)
"""Columns of the fleet; from CAPACITY on, one for each dimension."""
RELOAD_AT, MOST_RELOADS, FIRST_SLOT, LAST_SLOT, FAMILY = range(5)
"""Of a type; types of one FAMILY differ in capacity and cost only, NONE has no other."""
LOCATION, ROUTE, PLACE, REQUEST, HOME = range(5)
"""Of a node; HOME is the only slot that may serve it, or NONE."""
KIND, LENGTH, RELOADS, IS_TOUCHED, LOCKED, STAMP, BEST_LENGTH = range(7)
"""Of a slot, which is a vehicle with a route; the first LOCKED stops stay."""
DISTANCE, COST, TIME, ROOM_OUT, ROOM_BACK, CLOCKED, SAVED_COST, LOAD = range(8)
"""Of a route; the room for more from the depot and for more to the depot, in the first dimension of load."""
FAR, LONG = range(2)
"""Distance and duration in ``ways``, whose last layer is the duration that a timetable goes by."""
NONE = -1
SLACK = 1e-7
SCRATCH_ROWS = 4


@numba.njit(cache=True)
def join(seg: Floats, i: int, j: int, travel: float, k: int) -> bool:
    """Row ``k`` becomes row ``i`` and then row ``j``, ``travel`` apart; False when that is too late."""
    shift = seg[i, DURATION] + travel
    if seg[i, EARLIEST] + shift > seg[j, LATEST] + SLACK:
        return False
    wait = max(0.0, seg[j, EARLIEST] - shift - seg[i, LATEST])
    earliest = max(seg[j, EARLIEST] - shift, seg[i, EARLIEST]) - wait
    latest = min(seg[j, LATEST] - shift, seg[i, LATEST])
    seg[k, RELEASE] = max(seg[i, RELEASE], seg[j, RELEASE])
    seg[k, DURATION] = shift + seg[j, DURATION] + wait
    seg[k, EARLIEST] = earliest
    seg[k, LATEST] = latest
    for load in range(LOADS, seg.shape[1], 3):
        most = max(seg[i, load + 2] + seg[j, load], seg[i, load + 1] + seg[j, load + 2])
        seg[k, load] = seg[i, load] + seg[j, load]
        seg[k, load + 1] = seg[i, load + 1] + seg[j, load + 1]
        seg[k, load + 2] = most
    return True


@numba.njit(cache=True)
def carries(seg: Floats, i: int, fleet: Floats, kind: int) -> bool:
    """Whether a vehicle of ``kind`` has room for the segment everywhere."""
    for load in range(LOADS, seg.shape[1], 3):
        if seg[i, load + 2] > fleet[kind, CAPACITY + (load - LOADS) // 3] + SLACK:
            return False
    return True


@numba.njit(cache=True)
def _forwards(
    ways: Floats, seg: Floats, fleet: Floats, nodes: Ints, slots: Ints, facts: Floats, sequence: Ints, slot: int
) -> bool:
    """The segments from the last depot on, the distance and the places; False when a rule is broken."""
    kind, length, size = slots[slot, KIND], slots[slot, LENGTH], nodes.shape[0]
    num_locations, work = ways.shape[1], 3 * size
    start = size - 2 * (slots.shape[0] - slot)
    here, driven, handled, reloads = start, 0.0, 0.0, 0
    seg[size + start, :] = seg[start]
    for place in range(length + 1):
        node = sequence[slot, place] if place < length else start + 1
        a, b = nodes[here, LOCATION], nodes[node, LOCATION]
        driven += ways[FAR, a, b]
        travel = ways[LONG, a, b]
        if not np.isfinite(driven) or not np.isfinite(travel):
            return False
        nodes[node, ROUTE] = slot
        nodes[node, PLACE] = place
        if node < num_locations:
            handled += seg[node, LOADS] + max(0.0, seg[node, LOADS + 1])
            if not (join(seg, size + here, node, travel, size + node) and carries(seg, size + node, fleet, kind)):
                return False
        else:
            if place < length:
                reloads += 1
                seg[node, LATEST] = fleet[kind, DUE]
            if not (join(seg, size + here, node, travel, work) and carries(seg, work, fleet, kind)):
                return False
            if seg[work, RELEASE] > seg[work, LATEST] + SLACK:
                return False
            seg[size + node, :] = 0.0
            seg[size + node, EARLIEST] = max(seg[work, EARLIEST], seg[work, RELEASE]) + seg[work, DURATION]
            seg[size + node, LATEST] = fleet[kind, DUE]
        here = node
    facts[slot, TIME] = seg[work, DURATION] if length > 0 else 0.0
    facts[slot, LOAD] = handled
    facts[slot, ROOM_OUT] = fleet[kind, CAPACITY] + SLACK - (seg[work, LOADS] if reloads == 0 else 0.0)
    facts[slot, ROOM_BACK] = fleet[kind, CAPACITY] + SLACK - (seg[work, LOADS + 1] if reloads == 0 else 0.0)
    slots[slot, RELOADS] = reloads
    facts[slot, DISTANCE] = driven if length > 0 else 0.0
    return True


@numba.njit(cache=True)
def refresh(
    ways: Floats, seg: Floats, fleet: Floats, nodes: Ints, slots: Ints, facts: Floats, sequence: Ints, slot: int
) -> bool:
    """Recompute both segments of every node of a route, its distance and its cost; False when it breaks a rule."""
    if not _forwards(ways, seg, fleet, nodes, slots, facts, sequence, slot):
        return False
    kind, length, size = slots[slot, KIND], slots[slot, LENGTH], nodes.shape[0]
    num_locations, work = ways.shape[1], 3 * size
    facts[slot, COST] = 0.0
    facts[slot, CLOCKED] = 0.0
    if length > 0:
        driven, taken = facts[slot, DISTANCE], facts[slot, TIME]
        facts[slot, CLOCKED] = fleet[kind, PER_TIME] * taken
        facts[slot, COST] = fleet[kind, FIXED] + fleet[kind, PER_DISTANCE] * driven + facts[slot, CLOCKED]
        if driven > fleet[kind, MOST_DISTANCE] + SLACK:
            return False
        if slots[slot, RELOADS] == 0 and taken > fleet[kind, MOST_DURATION] + SLACK:
            return False
    later = size - 2 * (slots.shape[0] - slot) + 1
    seg[2 * size + later, :] = seg[later]
    for place in range(length - 1, -1, -1):
        node = sequence[slot, place]
        travel = ways[LONG, nodes[node, LOCATION], nodes[later, LOCATION]]
        if node < num_locations:
            if not join(seg, node, 2 * size + later, travel, 2 * size + node):
                return False
        else:
            if not join(seg, size + node, 2 * size + later, travel, work):
                return False
            seg[2 * size + node, :] = 0.0
            seg[2 * size + node, EARLIEST] = -np.inf
            seg[2 * size + node, LATEST] = seg[work, LATEST]
        later = node
    return True


@numba.njit(cache=True)
def fits_between(
    ways: Floats, seg: Floats, fleet: Floats, nodes: Ints, kind: int, client: int, left: int, right: int
) -> bool:
    """Whether the trip keeps windows, release times and capacity with ``client`` there; scratch 2 is the trip."""
    size = nodes.shape[0]
    work, at = 3 * size, nodes[client, LOCATION]
    if not join(seg, size + left, client, ways[LONG, nodes[left, LOCATION], at], work + 1):
        return False
    if not join(seg, work + 1, 2 * size + right, ways[LONG, at, nodes[right, LOCATION]], work + 2):
        return False
    return carries(seg, work + 2, fleet, kind) and seg[work + 2, RELEASE] <= seg[work + 2, LATEST] + SLACK


@numba.njit(cache=True)
def insertion(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    slot: int,
    client: int,
    left: int,
    right: int,
    best: float,
) -> float:
    """What it adds to visit ``client`` between two nodes of a route; ``best`` when that is no less or breaks a rule."""
    kind, at, a, b = slots[slot, KIND], nodes[client, LOCATION], nodes[left, LOCATION], nodes[right, LOCATION]
    longer = ways[FAR, a, at] + ways[FAR, at, b]
    if slots[slot, LENGTH] > 0:
        longer -= ways[FAR, a, b]
    delta = fleet[kind, PER_DISTANCE] * longer
    if slots[slot, LENGTH] == 0:
        delta += fleet[kind, FIXED]
    if delta >= best and (fleet[kind, PER_TIME] == 0.0 or not np.isfinite(delta)):
        return best
    if facts[slot, DISTANCE] + longer > fleet[kind, MOST_DISTANCE] + SLACK:
        return best
    if not fits_between(ways, seg, fleet, nodes, kind, client, left, right):
        return best
    if slots[slot, RELOADS] == 0:
        taken = seg[3 * nodes.shape[0] + 2, DURATION]
        if taken > fleet[kind, MOST_DURATION] + SLACK:
            return best
        delta += fleet[kind, PER_TIME] * (taken - facts[slot, TIME])
    return min(best, delta)


@numba.njit(cache=True)
def insertion_with_reload(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    slot: int,
    client: int,
    left: int,
    right: int,
    at_depot: int,
    reload_first: bool,
    best: float,
) -> float:
    """The same with a visit to the reload depot directly before or after ``client``, which cuts the trip in two."""
    kind, at, a, b = slots[slot, KIND], nodes[client, LOCATION], nodes[left, LOCATION], nodes[right, LOCATION]
    size = nodes.shape[0]
    work = 3 * size
    if reload_first:
        longer = ways[FAR, a, at_depot] + ways[FAR, at_depot, at] + ways[FAR, at, b] - ways[FAR, a, b]
    else:
        longer = ways[FAR, a, at] + ways[FAR, at, at_depot] + ways[FAR, at_depot, b] - ways[FAR, a, b]
    delta = fleet[kind, PER_DISTANCE] * longer
    if not delta < best or facts[slot, DISTANCE] + longer > fleet[kind, MOST_DISTANCE] + SLACK:
        return best
    depot = work + 3
    seg[depot, :] = 0.0
    seg[depot, EARLIEST] = -np.inf
    seg[depot, LATEST] = fleet[kind, DUE]
    if reload_first:
        fits = join(seg, size + left, depot, ways[LONG, a, at_depot], work + 1)
    else:
        fits = join(seg, size + left, client, ways[LONG, a, at], work + 2)
        fits = fits and join(seg, work + 2, depot, ways[LONG, at, at_depot], work + 1)
    if not fits or seg[work + 1, RELEASE] > seg[work + 1, LATEST] + SLACK or not carries(seg, work + 1, fleet, kind):
        return best
    seg[depot, EARLIEST] = max(seg[work + 1, EARLIEST], seg[work + 1, RELEASE]) + seg[work + 1, DURATION]
    if seg[depot, EARLIEST] > seg[depot, LATEST] + SLACK:
        return best
    if reload_first:
        fits = join(seg, depot, client, ways[LONG, at_depot, at], work + 1)
        fits = fits and join(seg, work + 1, 2 * size + right, ways[LONG, at, b], work + 2)
    else:
        fits = join(seg, depot, 2 * size + right, ways[LONG, at_depot, b], work + 2)
    if not fits or seg[work + 2, RELEASE] > seg[work + 2, LATEST] + SLACK or not carries(seg, work + 2, fleet, kind):
        return best
    return delta


@numba.njit(cache=True)
def pair_insertion(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    sequence: Ints,
    slot: int,
    origin: int,
    destination: int,
    best: float,
    found: Ints,
) -> float:
    """The cheapest two places of a pair on one route; ``found[4:7]`` gets the slot and the places if they are."""
    kind, length, size = slots[slot, KIND], slots[slot, LENGTH], nodes.shape[0]
    num_locations, work, start = ways.shape[1], 3 * size, size - 2 * (slots.shape[0] - slot)
    fixed = fleet[kind, FIXED] if length == 0 else 0.0
    back = ways[FAR, nodes[start, LOCATION], nodes[start + 1, LOCATION]] if length == 0 else 0.0
    at, to = nodes[origin, LOCATION], nodes[destination, LOCATION]
    unit, per_time = fleet[kind, PER_DISTANCE], fleet[kind, PER_TIME]
    for first in range(slots[slot, LOCKED], length + 1):
        left = sequence[slot, first - 1] if first > 0 else start
        a = nodes[left, LOCATION]
        if seg[size + left, EARLIEST] + seg[size + left, DURATION] > seg[origin, LATEST] + SLACK:
            break
        if not join(seg, size + left, origin, ways[LONG, a, at], work + 1) or not carries(seg, work + 1, fleet, kind):
            continue
        here, so_far = at, ways[FAR, a, at]
        for second in range(first, length + 1):
            right = sequence[slot, second] if second < length else start + 1
            b = nodes[right, LOCATION]
            c = nodes[sequence[slot, second - 1], LOCATION] if second > 0 else nodes[start, LOCATION]
            longer = back + so_far + ways[FAR, here, to] + ways[FAR, to, b] - ways[FAR, c, b]
            delta = fixed + unit * longer
            if (delta < best or per_time > 0.0) and facts[slot, DISTANCE] + longer <= fleet[kind, MOST_DISTANCE]:
                fits = join(seg, work + 1, destination, ways[LONG, here, to], work + 2)
                fits = fits and join(seg, work + 2, 2 * size + right, ways[LONG, to, b], work + 3)
                fits = fits and carries(seg, work + 3, fleet, kind)
                fits = fits and seg[work + 3, RELEASE] <= seg[work + 3, LATEST] + SLACK
                if fits and slots[slot, RELOADS] == 0:
                    fits = seg[work + 3, DURATION] <= fleet[kind, MOST_DURATION] + SLACK
                    delta += per_time * (seg[work + 3, DURATION] - facts[slot, TIME])
                if fits and delta < best:
                    best = delta
                    found[4], found[5], found[6] = slot, first, second
            if second == length or right >= num_locations:
                break
            so_far += ways[FAR, here, b] - ways[FAR, c, b]
            if not join(seg, work + 1, right, ways[LONG, here, b], work + 1) or not carries(seg, work + 1, fleet, kind):
                break
            here = b
    return best
