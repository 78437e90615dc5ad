"""Routes as arrays whose segments are joined in constant time.

A node is a location, a visit to a reload depot, or the start or the end of a route. Each node on a route knows two
segments, from the last depot to it and from it to the next depot; joined with a client in between they tell whether a
trip can be driven, how long it takes and what it carries. The time part is that of Vidal, Crainic, Gendreau and Prins
(2013), Computers & Operations Research 40(1), 475-489, without time warp: what is late is refused.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]

DURATION, EARLIEST, LATEST, RELEASE, LOADS = range(5)
"""Columns of a segment; from LOADS on, three for each dimension: from the depot, net gain, most on board."""
FIXED, PER_DISTANCE, PER_TIME, READY, DUE, MOST_DURATION, MOST_DISTANCE, CAPACITY = range(8)
"""Columns of the fleet; from CAPACITY on, one for each dimension."""
RELOAD_AT, MOST_RELOADS, FIRST_SLOT, LAST_SLOT = range(4)
LOCATION, ROUTE, PLACE, REQUEST = range(4)
KIND, LENGTH, RELOADS, IS_TOUCHED = range(4)
DISTANCE, COST, TIME, ROOM_OUT, ROOM_BACK = range(5)
"""Of a route; the room for more from the depot and for more to the depot, in the first dimension of load."""
NONE = -1
SLACK = 1e-7


@numba.njit(cache=True)
def join(first: Floats, i: int, second: Floats, j: int, travel: float, into: Floats, k: int) -> bool:
    """``into[k] = first[i]`` then ``second[j]``, ``travel`` apart; False when that is too late."""
    shift = first[i, DURATION] + travel
    if first[i, EARLIEST] + shift > second[j, LATEST] + SLACK:
        return False
    wait = max(0.0, second[j, EARLIEST] - shift - first[i, LATEST])
    earliest = max(second[j, EARLIEST] - shift, first[i, EARLIEST]) - wait
    latest = min(second[j, LATEST] - shift, first[i, LATEST])
    into[k, RELEASE] = max(first[i, RELEASE], second[j, RELEASE])
    into[k, DURATION] = shift + second[j, DURATION] + wait
    into[k, EARLIEST] = earliest
    into[k, LATEST] = latest
    for load in range(LOADS, first.shape[1], 3):
        most = max(first[i, load + 2] + second[j, load], first[i, load + 1] + second[j, load + 2])
        into[k, load] = first[i, load] + second[j, load]
        into[k, load + 1] = first[i, load + 1] + second[j, load + 1]
        into[k, load + 2] = most
    return True


@numba.njit(cache=True)
def carries(segments: Floats, i: int, fleet: Floats, kind: int) -> bool:
    """Whether a vehicle of ``kind`` has room for the segment everywhere."""
    for load in range(LOADS, segments.shape[1], 3):
        room = fleet[kind, CAPACITY + (load - LOADS) // 3]
        if segments[i, load + 2] > room + SLACK:
            return False
    return True


@numba.njit(cache=True)
def refresh(
    distance: Floats,
    duration: Floats,
    fleet: Floats,
    atoms: Floats,
    before: Floats,
    after: Floats,
    work: Floats,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    sequence: Ints,
    num_locations: int,
    num_reloads: int,
    slot: int,
) -> bool:
    """Recompute both segments of every node of a route, its distance and its cost; False when it breaks a rule."""
    kind, length = slots[slot, KIND], slots[slot, LENGTH]
    start = num_locations + num_reloads + 2 * slot
    end, here, driven, reloads, feasible = start + 1, start, 0.0, 0, True
    before[start, :] = atoms[start]
    for place in range(length + 1):
        node = sequence[slot, place] if place < length else end
        step = distance[nodes[here, LOCATION], nodes[node, LOCATION]]
        travel = duration[nodes[here, LOCATION], nodes[node, LOCATION]]
        if not np.isfinite(step) or not np.isfinite(travel):
            return False
        driven += step
        nodes[node, ROUTE] = slot
        nodes[node, PLACE] = place
        if node < num_locations:
            feasible = join(before, here, atoms, node, travel, before, node)
            feasible = feasible and carries(before, node, fleet, kind)
        else:
            if node < start and node < num_locations + num_reloads:
                reloads += 1
                atoms[node, LATEST] = fleet[kind, DUE]
            feasible = join(before, here, atoms, node, travel, work, 0)
            feasible = feasible and work[0, RELEASE] <= work[0, LATEST] + SLACK
            feasible = feasible and carries(work, 0, fleet, kind)
            if feasible:
                before[node, :] = 0.0
                before[node, EARLIEST] = max(work[0, EARLIEST], work[0, RELEASE]) + work[0, DURATION]
                before[node, LATEST] = fleet[kind, DUE]
        if not feasible:
            return False
        here = node
    taken = work[0, DURATION]
    facts[slot, ROOM_OUT] = fleet[kind, CAPACITY] + SLACK - (work[0, LOADS] if reloads == 0 else 0.0)
    facts[slot, ROOM_BACK] = fleet[kind, CAPACITY] + SLACK - (work[0, LOADS + 1] if reloads == 0 else 0.0)
    slots[slot, RELOADS] = reloads
    facts[slot, DISTANCE] = driven if length > 0 else 0.0
    facts[slot, TIME] = taken if length > 0 else 0.0
    facts[slot, COST] = 0.0
    if length > 0:
        cost = fleet[kind, FIXED] + fleet[kind, PER_DISTANCE] * driven + fleet[kind, PER_TIME] * taken
        facts[slot, COST] = cost
        if driven > fleet[kind, MOST_DISTANCE] + SLACK:
            return False
        if reloads == 0 and taken > fleet[kind, MOST_DURATION] + SLACK:
            return False
    after[end, :] = atoms[end]
    later = end
    for place in range(length - 1, -1, -1):
        node = sequence[slot, place]
        travel = duration[nodes[node, LOCATION], nodes[later, LOCATION]]
        if node < num_locations:
            feasible = join(atoms, node, after, later, travel, after, node)
        else:
            feasible = join(before, node, after, later, travel, work, 0)
            after[node, :] = 0.0
            after[node, EARLIEST] = -np.inf
            after[node, LATEST] = work[0, LATEST]
        if not feasible:
            return False
        later = node
    return True


@numba.njit(cache=True)
def insertion(
    distance: Floats,
    duration: Floats,
    fleet: Floats,
    atoms: Floats,
    before: Floats,
    after: Floats,
    work: Floats,
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
    longer = distance[a, at] + distance[at, b]
    if slots[slot, LENGTH] > 0:
        longer -= distance[a, b]
    delta = fleet[kind, PER_DISTANCE] * longer
    if slots[slot, LENGTH] == 0:
        delta += fleet[kind, FIXED]
    if delta >= best and (fleet[kind, PER_TIME] == 0.0 or not np.isfinite(delta)):
        return best
    if facts[slot, DISTANCE] + longer > fleet[kind, MOST_DISTANCE] + SLACK:
        return best
    if not join(before, left, atoms, client, duration[a, at], work, 1) or not carries(work, 1, fleet, kind):
        return best
    if not join(work, 1, after, right, duration[at, b], work, 2) or not carries(work, 2, fleet, kind):
        return best
    if work[2, RELEASE] > work[2, LATEST] + SLACK:
        return best
    if slots[slot, RELOADS] == 0:
        if work[2, DURATION] > fleet[kind, MOST_DURATION] + SLACK:
            return best
        delta += fleet[kind, PER_TIME] * (work[2, DURATION] - facts[slot, TIME])
    return float(min(best, delta))


@numba.njit(cache=True)
def insertion_with_reload(
    distance: Floats,
    duration: Floats,
    fleet: Floats,
    atoms: Floats,
    before: Floats,
    after: Floats,
    work: Floats,
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
    if reload_first:
        longer = distance[a, at_depot] + distance[at_depot, at] + distance[at, b] - distance[a, b]
    else:
        longer = distance[a, at] + distance[at, at_depot] + distance[at_depot, b] - distance[a, b]
    delta = fleet[kind, PER_DISTANCE] * longer
    if not delta < best or facts[slot, DISTANCE] + longer > fleet[kind, MOST_DISTANCE] + SLACK:
        return best
    work[3, :] = 0.0
    work[3, EARLIEST] = -np.inf
    work[3, LATEST] = fleet[kind, DUE]
    if reload_first:
        fits = join(before, left, work, 3, duration[a, at_depot], work, 1)
    else:
        fits = join(before, left, atoms, client, duration[a, at], work, 2)
        fits = fits and join(work, 2, work, 3, duration[at, at_depot], work, 1)
    if not fits or work[1, RELEASE] > work[1, LATEST] + SLACK or not carries(work, 1, fleet, kind):
        return best
    work[3, EARLIEST] = max(work[1, EARLIEST], work[1, RELEASE]) + work[1, DURATION]
    if work[3, EARLIEST] > work[3, LATEST] + SLACK:
        return best
    if reload_first:
        fits = join(work, 3, atoms, client, duration[at_depot, at], work, 1)
        fits = fits and join(work, 1, after, right, duration[at, b], work, 2)
    else:
        fits = join(work, 3, after, right, duration[at_depot, b], work, 2)
    if not fits or work[2, RELEASE] > work[2, LATEST] + SLACK or not carries(work, 2, fleet, kind):
        return best
    return float(delta)


@numba.njit(cache=True)
def pair_insertion(
    distance: Floats,
    duration: Floats,
    fleet: Floats,
    atoms: Floats,
    before: Floats,
    after: Floats,
    work: Floats,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    sequence: Ints,
    num_locations: int,
    slot: int,
    start: int,
    origin: int,
    destination: int,
    best: float,
    found: Ints,
) -> float:
    """The cheapest two places of a pair on one route; ``found`` gets the slot and the places if they beat ``best``."""
    kind, length = slots[slot, KIND], slots[slot, LENGTH]
    fixed = fleet[kind, FIXED] if length == 0 else 0.0
    empty_way = distance[nodes[start, LOCATION], nodes[start + 1, LOCATION]] if length == 0 else 0.0
    at, to = nodes[origin, LOCATION], nodes[destination, LOCATION]
    unit, per_time = fleet[kind, PER_DISTANCE], fleet[kind, PER_TIME]
    for first in range(length + 1):
        left = sequence[slot, first - 1] if first > 0 else start
        a = nodes[left, LOCATION]
        if not join(before, left, atoms, origin, duration[a, at], work, 1) or not carries(work, 1, fleet, kind):
            continue
        here, so_far = at, distance[a, at]
        for second in range(first, length + 1):
            right = sequence[slot, second] if second < length else start + 1
            b = nodes[right, LOCATION]
            longer = empty_way + so_far + distance[here, to] + distance[to, b]
            c = nodes[sequence[slot, second - 1], LOCATION] if second > 0 else nodes[start, LOCATION]
            longer -= distance[c, b]
            delta = fixed + unit * longer
            if (delta < best or per_time > 0.0) and facts[slot, DISTANCE] + longer <= fleet[kind, MOST_DISTANCE]:
                fits = join(work, 1, atoms, destination, duration[here, to], work, 2)
                fits = fits and carries(work, 2, fleet, kind)
                fits = fits and join(work, 2, after, right, duration[to, b], work, 3)
                fits = fits and carries(work, 3, fleet, kind) and work[3, RELEASE] <= work[3, LATEST] + SLACK
                if fits and slots[slot, RELOADS] == 0:
                    fits = work[3, DURATION] <= fleet[kind, MOST_DURATION] + SLACK
                    delta += per_time * (work[3, DURATION] - facts[slot, TIME])
                if fits and delta < best:
                    best = delta
                    found[0], found[1], found[2] = slot, first, second
            if second == length or right >= num_locations:
                break
            so_far += distance[here, b] - distance[c, b]
            if not join(work, 1, atoms, right, duration[here, b], work, 1) or not carries(work, 1, fleet, kind):
                break
            here = b
    return best
