"""Putting requests in where they cost least: beside their neighbours, anywhere, or on a route of their own."""

from __future__ import annotations

import numba
import numpy as np

from apportion.solvers.rich_routing.segments.kernels import (
    CAPACITY,
    CLOCKED,
    COST,
    DISTANCE,
    DURATION,
    EARLIEST,
    FAMILY,
    FAR,
    FIXED,
    HOME,
    KIND,
    LATEST,
    LENGTH,
    LOADS,
    LOCATION,
    LOCKED,
    LONG,
    MOST_DISTANCE,
    MOST_DURATION,
    MOST_RELOADS,
    NONE,
    PER_DISTANCE,
    PER_TIME,
    PLACE,
    RELOAD_AT,
    RELOADS,
    ROOM_BACK,
    ROOM_OUT,
    ROUTE,
    SLACK,
    STAMP,
    Flags,
    Floats,
    Ints,
    fits_between,
    insertion,
    insertion_with_reload,
    pair_insertion,
)
from apportion.solvers.rich_routing.state import (
    AT,
    COUNT,
    FIRST_MEMBER,
    IS_TIMED,
    LISTED,
    MODE,
    NUM_RELOADS,
    PAIR,
    PRICE,
    REQUIRED,
    SCRATCH,
    STAMPS,
    TRIAL,
    Words,
    free_slot,
    move_to,
    renew,
    touch,
)
from apportion.solvers.rich_routing.timetable.kernels import Timetable, simulate
from apportion.solvers.routing.kernels import uniform

BLINK = 0.01
GRANULAR = 40
RELOAD = 0.3
ENLARGE = 0.15
"""How often an iteration may exchange a full vehicle for a larger one."""
PLAIN, RELOAD_BEFORE, RELOAD_AFTER, AS_PAIR, LARGER = range(5)
"""How an insertion is made: ``found`` holds slot, place, way, client, and then for pairs slot and two places, for a
LARGER vehicle the type.
"""


@numba.njit(cache=True)
def free_reload(nodes: Ints, num_locations: int, num_reloads: int) -> int:
    """A visit to the reload depot that no route uses, or NONE."""
    for node in range(num_locations, num_locations + num_reloads):
        if nodes[node, ROUTE] == NONE:
            return node
    return NONE


@numba.njit(cache=True)
def _longer(ways: Floats, nodes: Ints, slots: Ints, sequence: Ints, slot: int, place: int, at: int) -> float:
    """By how much visiting the location ``at`` at ``place`` lengthens a route."""
    start, length = nodes.shape[0] - 2 * (slots.shape[0] - slot), slots[slot, LENGTH]
    left = nodes[sequence[slot, place - 1] if place > 0 else start, LOCATION]
    right = nodes[sequence[slot, place] if place < length else start + 1, LOCATION]
    longer = ways[FAR, left, at] + ways[FAR, at, right]
    if length > 0:
        longer -= ways[FAR, left, right]
    return longer


@numba.njit(cache=True)
def _trial(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    nodes: Ints,
    slots: Ints,
    sequence: Ints,
    rows: Ints,
    timetable: Timetable,
    slot: int,
    first: int,
    place: int,
    second: int,
    other: int,
) -> float:
    """The timetable's cost of a route with ``first`` before ``place`` and, unless NONE, ``second`` before ``other``."""
    count = 0
    for position in range(slots[slot, LENGTH] + 1):
        if position == place:
            rows[TRIAL, count] = first
            count += 1
        if second != NONE and position == other:
            rows[TRIAL, count] = second
            count += 1
        if position < slots[slot, LENGTH]:
            rows[TRIAL, count] = sequence[slot, position]
            count += 1
    return simulate(ways, seg, fleet, nodes, slots, timetable, rows, TRIAL, count, slot)


@numba.njit(cache=True)
def _try_timed(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    kinds: Ints,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    sequence: Ints,
    rows: Ints,
    timetable: Timetable,
    slot: int,
    client: int,
    place: int,
    way: int,
    reload: int,
    best: float,
) -> float:
    """One place by the timetable: what it adds, or ``best``."""
    kind, at = slots[slot, KIND], nodes[client, LOCATION]
    start, length = nodes.shape[0] - 2 * (slots.shape[0] - slot), slots[slot, LENGTH]
    left = sequence[slot, place - 1] if place > 0 else start
    right = sequence[slot, place] if place < length else start + 1
    longer = _longer(ways, nodes, slots, sequence, slot, place, at)
    first, second = client, NONE
    if way != PLAIN:
        depot, a, b = kinds[kind, RELOAD_AT], nodes[left, LOCATION], nodes[right, LOCATION]
        nodes[reload, LOCATION] = depot
        if way == RELOAD_BEFORE:
            first, second = reload, client
            longer += ways[FAR, a, depot] + ways[FAR, depot, at] - ways[FAR, a, at]
        else:
            second = reload
            longer += ways[FAR, at, depot] + ways[FAR, depot, b] - ways[FAR, at, b]
    delta = fleet[kind, PER_DISTANCE] * longer + (fleet[kind, FIXED] if length == 0 else 0.0)
    if not delta < best or facts[slot, DISTANCE] + longer > fleet[kind, MOST_DISTANCE] + SLACK:
        return best
    if way == PLAIN and not fits_between(ways, seg, fleet, nodes, kind, client, left, right):
        return best
    clocked = _trial(ways, seg, fleet, nodes, slots, sequence, rows, timetable, slot, first, place, second, place)
    return min(best, delta + clocked - facts[slot, CLOCKED])


@numba.njit(cache=True)
def try_place(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    kinds: Ints,
    serves: Flags,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    sequence: Ints,
    rows: Ints,
    found: Ints,
    timetable: Timetable,
    is_timed: int,
    slot: int,
    client: int,
    place: int,
    best: float,
    reload: int,
) -> float:
    """One place on one route, plain and (``reload`` not NONE) with a reload; ``found`` gets it if it beats ``best``."""
    kind, length = slots[slot, KIND], slots[slot, LENGTH]
    full = seg[client, LOADS] > facts[slot, ROOM_OUT] or seg[client, LOADS + 1] > facts[slot, ROOM_BACK]
    if full and reload == NONE:
        return best
    if not serves[kind, client] or place < slots[slot, LOCKED]:
        return best
    if nodes[client, HOME] != NONE and nodes[client, HOME] != slot:
        return best
    start, num_locations = nodes.shape[0] - 2 * (slots.shape[0] - slot), ways.shape[1]
    left = sequence[slot, place - 1] if place > 0 else start
    right = sequence[slot, place] if place < length else start + 1
    if is_timed != 0:
        delta = _try_timed(
            *(ways, seg, fleet, kinds, nodes, slots, facts, sequence, rows, timetable, slot, client, place),
            *(PLAIN, reload, best),
        )
    else:
        delta = insertion(ways, seg, fleet, nodes, slots, facts, slot, client, left, right, best)
    if delta < best:
        best = delta
        found[0], found[1], found[2], found[3] = slot, place, PLAIN, client
    if reload == NONE or length == 0 or slots[slot, RELOADS] >= kinds[kind, MOST_RELOADS]:
        return best
    for way in range(RELOAD_BEFORE, RELOAD_AFTER + 1):
        if (left >= num_locations) if way == RELOAD_BEFORE else (right >= num_locations):
            continue
        before = way == RELOAD_BEFORE
        delta = insertion_with_reload(
            *(ways, seg, fleet, nodes, slots, facts, slot, client, left, right, kinds[kind, RELOAD_AT], before, best),
        )
        if delta < best and is_timed != 0:
            delta = _try_timed(
                *(ways, seg, fleet, kinds, nodes, slots, facts, sequence, rows, timetable, slot, client, place),
                *(way, reload, best),
            )
        if delta < best:
            best = delta
            found[0], found[1], found[2], found[3] = slot, place, way, client
    return best


@numba.njit(cache=True)
def _try_larger(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    kinds: Ints,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    found: Ints,
    slot: int,
    client: int,
    left: int,
    right: int,
    place: int,
    best: float,
) -> float:
    """One place on a route that is full, if a larger vehicle of the same family drives it."""
    now, at, a, b = slots[slot, KIND], nodes[client, LOCATION], nodes[left, LOCATION], nodes[right, LOCATION]
    if nodes[client, HOME] != NONE:
        return best
    driven = facts[slot, DISTANCE] + ways[FAR, a, at] + ways[FAR, at, b] - ways[FAR, a, b]
    for kind in range(kinds.shape[0]):
        if kinds[kind, FAMILY] != kinds[now, FAMILY] or fleet[kind, CAPACITY] <= fleet[now, CAPACITY]:
            continue
        delta = fleet[kind, FIXED] + fleet[kind, PER_DISTANCE] * driven - facts[slot, COST]
        if delta >= best or driven > fleet[kind, MOST_DISTANCE] + SLACK:
            continue
        if not fits_between(ways, seg, fleet, nodes, kind, client, left, right):
            continue
        if (
            seg[3 * nodes.shape[0] + 2, DURATION] <= fleet[kind, MOST_DURATION]
            and free_slot(kinds, slots, kind) != NONE
        ):
            best = delta
            found[0], found[1], found[2], found[3], found[4] = slot, place, LARGER, client, kind
    return best


@numba.njit(cache=True)
def _try_pair(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    serves: Flags,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    requests: Ints,
    sequence: Ints,
    rows: Ints,
    found: Ints,
    timetable: Timetable,
    is_timed: int,
    slot: int,
    request: int,
    best: float,
) -> float:
    """The cheapest two places of a pair on one route."""
    origin, destination = requests[request, FIRST_MEMBER], requests[request, FIRST_MEMBER + 1]
    kind = slots[slot, KIND]
    if not (serves[kind, origin] and serves[kind, destination]):
        return best
    if is_timed == 0:
        delta = pair_insertion(ways, seg, fleet, nodes, slots, facts, sequence, slot, origin, destination, best, found)
        if delta < best:
            found[0], found[2], found[3] = slot, AS_PAIR, origin
        return min(best, delta)
    length, unit, num_locations = slots[slot, LENGTH], fleet[kind, PER_DISTANCE], ways.shape[1]
    fixed, start = fleet[kind, FIXED] if length == 0 else 0.0, nodes.shape[0] - 2 * (slots.shape[0] - slot)
    at, to = nodes[origin, LOCATION], nodes[destination, LOCATION]
    for first in range(slots[slot, LOCKED], length + 1):
        one = _longer(ways, nodes, slots, sequence, slot, first, at)
        for second in range(first, length + 1):
            longer = one + _longer(ways, nodes, slots, sequence, slot, second, to)
            left = nodes[sequence[slot, first - 1] if first > 0 else start, LOCATION]
            right = nodes[sequence[slot, first] if first < length else start + 1, LOCATION]
            if second == first:
                longer = ways[FAR, left, at] + ways[FAR, at, to] + ways[FAR, to, right]
                longer -= ways[FAR, left, right] if length > 0 else 0.0
            delta = fixed + unit * longer
            if delta < best and facts[slot, DISTANCE] + longer <= fleet[kind, MOST_DISTANCE] + SLACK:
                clocked = _trial(
                    *(ways, seg, fleet, nodes, slots, sequence, rows, timetable, slot, origin, first),
                    *(destination, second),
                )
                delta += clocked - facts[slot, CLOCKED]
                if delta < best:
                    best = delta
                    found[0], found[2], found[3] = slot, AS_PAIR, origin
                    found[4], found[5], found[6] = slot, first, second
            if second < length and sequence[slot, second] >= num_locations:
                break
    return best


@numba.njit(cache=True)
def best_place(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    kinds: Ints,
    serves: Flags,
    near: Ints,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    requests: Ints,
    sequence: Ints,
    rows: Ints,
    found: Ints,
    random: Words,
    timetable: Timetable,
    is_timed: int,
    request: int,
    everywhere: bool,
    enlarges: bool,
    reload: int,
    best: float,
) -> float:
    """The cheapest place of a client or group on routes in use, near its neighbours or everywhere."""
    size, num_slots = nodes.shape[0], slots.shape[0]
    for number in range(requests[request, COUNT]):
        client = requests[request, FIRST_MEMBER + number]
        seen, at, opens, closes = 0, nodes[client, LOCATION], seg[client, EARLIEST], seg[client, LATEST] + SLACK
        for position in range(slots.shape[0] if everywhere else near.shape[1]):
            slot = position if everywhere else nodes[near[client, position], ROUTE]
            if slot == NONE or slots[slot, LENGTH] == 0:
                continue
            seen += 1
            if not everywhere and seen > GRANULAR:
                break
            full = seg[client, LOADS] > facts[slot, ROOM_OUT] or seg[client, LOADS + 1] > facts[slot, ROOM_BACK]
            full = full and reload == NONE
            if full and (not enlarges or kinds[slots[slot, KIND], FAMILY] == NONE or slots[slot, LOCKED] > 0):
                continue
            kind, first = slots[slot, KIND], 0 if everywhere else nodes[near[client, position], PLACE]
            length, start = slots[slot, LENGTH], size - 2 * (num_slots - slot)
            unit, counts_time = fleet[kind, PER_DISTANCE], fleet[kind, PER_TIME] != 0.0
            for place in range(first, length + 1 if everywhere else first + 2):
                if not everywhere and uniform(random) < BLINK:
                    continue
                # most places fail one of these tests, and calling the trial costs more than they do
                left = sequence[slot, place - 1] if place > 0 else start
                right = sequence[slot, place] if place < length else start + 1
                a, b = nodes[left, LOCATION], nodes[right, LOCATION]
                if unit * (ways[FAR, a, at] + ways[FAR, at, b] - ways[FAR, a, b]) >= best and not counts_time:
                    continue
                clock = seg[size + left, EARLIEST] + seg[size + left, DURATION]
                if clock > closes:
                    break
                clock = max(clock + ways[LONG, a, at], opens)
                leaves = clock + seg[client, DURATION]
                if clock > closes or leaves + ways[LONG, at, b] > seg[2 * size + right, LATEST] + SLACK:
                    continue
                if full:
                    best = _try_larger(
                        *(ways, seg, fleet, kinds, nodes, slots, facts, found, slot, client, left, right, place, best)
                    )
                    continue
                best = try_place(
                    *(ways, seg, fleet, kinds, serves, nodes, slots, facts, sequence, rows, found, timetable),
                    *(is_timed, slot, client, place, best, reload),
                )
    return best


@numba.njit(cache=True)
def best_pair(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    serves: Flags,
    near: Ints,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    requests: Ints,
    sequence: Ints,
    rows: Ints,
    found: Ints,
    random: Words,
    counters: Ints,
    timetable: Timetable,
    request: int,
    everywhere: bool,
    best: float,
) -> float:
    """The cheapest two places of a pair on routes in use, those of neighbours or all."""
    counters[STAMPS] += 1
    stamp, is_timed = counters[STAMPS], counters[IS_TIMED]
    for position in range(slots.shape[0] if everywhere else 2 * near.shape[1]):
        if everywhere:
            slot = position
        else:
            client = requests[request, FIRST_MEMBER + position % 2]
            slot = nodes[near[client, position // 2], ROUTE]
        if slot == NONE or slots[slot, LENGTH] == 0 or slots[slot, STAMP] == stamp:
            continue
        slots[slot, STAMP] = stamp
        if everywhere or uniform(random) >= BLINK:
            best = _try_pair(
                *(ways, seg, fleet, serves, nodes, slots, facts, requests, sequence, rows, found, timetable, is_timed),
                *(slot, request, best),
            )
    return best


@numba.njit(cache=True)
def new_route(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    kinds: Ints,
    serves: Flags,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    requests: Ints,
    sequence: Ints,
    rows: Ints,
    found: Ints,
    random: Words,
    timetable: Timetable,
    is_timed: int,
    request: int,
    best: float,
    any_kind: bool,
) -> float:
    """The cheapest vehicle (or, with ``any_kind``, a random one that can) for a request of its own route."""
    num_kinds = kinds.shape[0]
    turn = int(uniform(random) * num_kinds)
    for step in range(num_kinds):
        slot = free_slot(kinds, slots, (turn + step) % num_kinds)
        if slot == NONE:
            continue
        limit = best
        if requests[request, MODE] == PAIR:
            best = _try_pair(
                *(ways, seg, fleet, serves, nodes, slots, facts, requests, sequence, rows, found, timetable, is_timed),
                *(slot, request, best),
            )
        else:
            for number in range(requests[request, COUNT]):
                best = try_place(
                    *(ways, seg, fleet, kinds, serves, nodes, slots, facts, sequence, rows, found, timetable),
                    *(is_timed, slot, requests[request, FIRST_MEMBER + number], 0, best, NONE),
                )
        if any_kind and best < limit:
            break
    return best


@numba.njit(cache=True)
def _shift_in(nodes: Ints, slots: Ints, sequence: Ints, slot: int, place: int, node: int) -> None:
    for position in range(slots[slot, LENGTH], place, -1):
        sequence[slot, position] = sequence[slot, position - 1]
    sequence[slot, place] = node
    slots[slot, LENGTH] += 1
    nodes[node, ROUTE] = slot


@numba.njit(cache=True)
def put(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    kinds: Ints,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    requests: Ints,
    sequence: Ints,
    rows: Ints,
    found: Ints,
    timetable: Timetable,
    is_timed: int,
    request: int,
    reload: int,
) -> bool:
    """Carry out the insertion in ``found``; False (and nothing changed) when rounding makes it infeasible."""
    slot, place, way, client = found[0], found[1], found[2], found[3]
    length = slots[slot, LENGTH]
    for position in range(length):
        rows[SCRATCH, position] = sequence[slot, position]
    second = client
    if way == AS_PAIR:
        second = requests[request, FIRST_MEMBER + 1]
        _shift_in(nodes, slots, sequence, slot, found[6], second)
        _shift_in(nodes, slots, sequence, slot, found[5], client)
    elif way == PLAIN:
        _shift_in(nodes, slots, sequence, slot, place, client)
    else:
        second = reload
        nodes[second, LOCATION] = kinds[slots[slot, KIND], RELOAD_AT]
        _shift_in(nodes, slots, sequence, slot, place, client)
        _shift_in(nodes, slots, sequence, slot, place if way == RELOAD_BEFORE else place + 1, second)
    if renew(ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, slot):
        requests[request, AT] = client
        return True
    nodes[client, ROUTE] = NONE
    nodes[second, ROUTE] = NONE
    for position in range(length):
        sequence[slot, position] = rows[SCRATCH, position]
    slots[slot, LENGTH] = length
    renew(ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, slot)
    return False


@numba.njit(cache=True)
def recreate(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    kinds: Ints,
    serves: Flags,
    near: Ints,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    requests: Ints,
    keys: Floats,
    sequence: Ints,
    rows: Ints,
    found: Ints,
    random: Words,
    counters: Ints,
    timetable: Timetable,
    count: int,
    num_touched: int,
    opens: bool,
    at_any_price: bool,
) -> int:
    """Insert the listed requests one by one where it costs least, or leave them out; return the routes touched."""
    is_timed, enlarges = counters[IS_TIMED], uniform(random) < ENLARGE
    for position in range(count):
        request = rows[LISTED, position]
        reload = NONE
        if counters[NUM_RELOADS] > 0:
            reload = free_reload(nodes, ways.shape[1], counters[NUM_RELOADS])
        often = reload if uniform(random) < RELOAD else NONE
        required, forced, limit = requests[request, REQUIRED] != 0, opens and position == 0, np.inf
        if not required and not forced and not at_any_price:
            limit = keys[request, PRICE] * (0.85 + 0.3 * uniform(random))
        best = limit
        for everywhere in range(0 if forced else 2):
            if best == limit and (everywhere == 0 or required or at_any_price):
                if requests[request, MODE] == PAIR:
                    best = best_pair(
                        *(ways, seg, fleet, serves, near, nodes, slots, facts, requests, sequence, rows, found),
                        *(random, counters, timetable, request, everywhere == 1, limit),
                    )
                else:
                    with_reload = reload if everywhere == 1 else often
                    best = best_place(
                        *(ways, seg, fleet, kinds, serves, near, nodes, slots, facts, requests, sequence, rows),
                        *(found, random, timetable, is_timed, request, everywhere == 1, enlarges),
                        *(with_reload, limit),
                    )
        any_kind = (best == np.inf or forced) and uniform(random) < 0.5
        best = new_route(
            *(ways, seg, fleet, kinds, serves, nodes, slots, facts, requests, sequence, rows, found, random),
            *(timetable, is_timed, request, best, any_kind),
        )
        if best < limit:
            num_touched = touch(slots, facts, sequence, rows, found[0], num_touched)
            if found[2] == LARGER:
                slot = free_slot(kinds, slots, found[4])
                num_touched = touch(slots, facts, sequence, rows, slot, num_touched)
                if not move_to(
                    ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, found[0], slot
                ):
                    continue
                found[0], found[2] = slot, PLAIN
            put(
                *(ways, seg, fleet, kinds, nodes, slots, facts, requests, sequence, rows, found, timetable),
                *(is_timed, request, reload),
            )
    return num_touched
