"""Taking requests out: adjacent strings of stops near a random client.

References
----------
Christiaens, J., Vanden Berghe, G. (2020). Slack induction by string removals for vehicle routing problems.
Transportation Science 54(2), 417-433.
"""

from __future__ import annotations

import numba

from apportion.solvers.rich_routing.segments.kernels import (
    IS_TOUCHED,
    LENGTH,
    LOCKED,
    NONE,
    PLACE,
    REQUEST,
    ROUTE,
    Floats,
    Ints,
)
from apportion.solvers.rich_routing.state import (
    AT,
    FIRST_MEMBER,
    IN_HAND,
    IS_TIMED,
    LISTED,
    MODE,
    NUM_DEPOTS,
    NUM_REQUIRED_ABSENT,
    PAIR,
    REQUIRED,
    SAVED_FROM,
    WAS_ABSENT,
    Words,
    renew,
    touch,
)
from apportion.solvers.rich_routing.timetable.kernels import Timetable
from apportion.solvers.routing.kernels import uniform

AVERAGE_REMOVED, LONGEST_STRING = 10.0, 10
MOST_OFFERED = 12
"""Optional requests that an iteration tries to serve."""
OFFER = 0.3
MOST_MISSING = 10
"""Absent requests that must be served and that an iteration tries to serve."""
MANY_OFFERED = 40
"""The same when it opens a route."""


@numba.njit(cache=True)
def list_request(requests: Ints, rows: Ints, request: int, count: int, was_absent: int) -> int:
    """Put ``request`` on the list of those to insert; return its new length."""
    rows[LISTED, count] = request
    rows[WAS_ABSENT, count] = was_absent
    requests[request, AT] = IN_HAND
    return count + 1


@numba.njit(cache=True)
def _list_missing(requests: Ints, rows: Ints, random: Words) -> int:
    """List some requests that must be served and are not."""
    count, turn = 0, int(uniform(random) * requests.shape[0])
    for step in range(requests.shape[0]):
        request = (turn + step) % requests.shape[0]
        if requests[request, REQUIRED] != 0 and requests[request, AT] == NONE and count < MOST_MISSING:
            count = list_request(requests, rows, request, count, 1)
    return count


@numba.njit(cache=True)
def _drop(nodes: Ints, requests: Ints, rows: Ints, num_locations: int, node: int, count: int) -> int:
    """Mark ``node`` (and its partner) as off its route and list its request."""
    if nodes[node, ROUTE] == NONE:
        return count
    nodes[node, ROUTE] = NONE
    if node >= num_locations:
        return count
    request = nodes[node, REQUEST]
    if requests[request, MODE] == PAIR:
        nodes[requests[request, FIRST_MEMBER], ROUTE] = NONE
        nodes[requests[request, FIRST_MEMBER + 1], ROUTE] = NONE
    return list_request(requests, rows, request, count, 0)


@numba.njit(cache=True)
def _close_gaps(nodes: Ints, slots: Ints, sequence: Ints, num_locations: int, slot: int) -> None:
    """Close the gaps of a route and give up trips without clients."""
    length, write, locked = slots[slot, LENGTH], 0, slots[slot, LOCKED]
    for place in range(length):
        node = sequence[slot, place]
        if nodes[node, ROUTE] == NONE:
            continue
        is_idle = node >= num_locations and place >= locked
        if is_idle and (write == 0 or sequence[slot, write - 1] >= num_locations):
            nodes[node, ROUTE] = NONE
            continue
        sequence[slot, write] = node
        write += 1
    while write > locked and sequence[slot, write - 1] >= num_locations:
        write -= 1
        nodes[sequence[slot, write], ROUTE] = NONE
    slots[slot, LENGTH] = write


@numba.njit(cache=True)
def _mark_string(
    nodes: Ints,
    slots: Ints,
    requests: Ints,
    sequence: Ints,
    rows: Ints,
    random: Words,
    num_locations: int,
    slot: int,
    seed: int,
    most: float,
    count: int,
) -> int:
    """Drop a string with the node ``seed``, sometimes keeping a part of it in the middle; gaps stay."""
    size, place, locked = slots[slot, LENGTH], nodes[seed, PLACE], slots[slot, LOCKED]
    length = min(size - locked, int(1.0 + uniform(random) * min(float(size), most)))
    kept = 0
    if 1 < length < size - locked and uniform(random) < 0.5:
        kept = 1
        while length + kept < size - locked and uniform(random) < 0.01:
            kept += 1
    span = length + kept
    lowest = max(locked, place - span + 1)
    start = lowest + int(uniform(random) * (min(place, size - span) - lowest + 1))
    keep_from = start + span
    if kept > 0:
        keep_from = start + 1 + int(uniform(random) * (length - 1))
    for position in range(start, start + span):
        if not keep_from <= position < keep_from + kept:
            count = _drop(nodes, requests, rows, num_locations, sequence[slot, position], count)
    return count


@numba.njit(cache=True)
def ruin(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    near: Ints,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    requests: Ints,
    sequence: Ints,
    rows: Ints,
    random: Words,
    counters: Ints,
    timetable: Timetable,
    offers_many: bool,
) -> tuple[int, int]:
    """Strings from routes near a random client, and who is absent near there; how many requests, how many routes."""
    num_locations, num_depots, is_timed = ways.shape[1], counters[NUM_DEPOTS], counters[IS_TIMED]
    count, num_touched, used, served, offered = 0, 0, 0, 0, 0
    rows[SAVED_FROM, 0] = 0
    for slot in range(slots.shape[0]):
        used += int(slots[slot, LENGTH] > 0)
        served += slots[slot, LENGTH]
    if counters[NUM_REQUIRED_ABSENT] > 0:
        count = _list_missing(requests, rows, random)
    most = max(1.0, min(float(LONGEST_STRING), served / max(1, used)))
    strings = int(1.0 + uniform(random) * (4.0 * AVERAGE_REMOVED / (1.0 + most) - 1.0))
    seed = num_depots + int(uniform(random) * (num_locations - num_depots))
    most_offered, offer = (MANY_OFFERED, 1.0) if offers_many else (MOST_OFFERED, OFFER)
    for position in range(-1, near.shape[1]):
        client = seed if position < 0 else near[seed, position]
        slot, request = nodes[client, ROUTE], nodes[client, REQUEST]
        if slot == NONE:
            if request == NONE or requests[request, REQUIRED] != 0 or requests[request, AT] != NONE:
                continue
            if offered < most_offered and uniform(random) < offer:
                count = list_request(requests, rows, request, count, 1)
                offered += 1
        elif num_touched < strings and slots[slot, IS_TOUCHED] == 0 and nodes[client, PLACE] >= slots[slot, LOCKED]:
            num_touched = touch(slots, facts, sequence, rows, slot, num_touched)
            count = _mark_string(
                nodes, slots, requests, sequence, rows, random, num_locations, slot, client, most, count
            )
            _close_gaps(nodes, slots, sequence, num_locations, slot)
            if not renew(ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, slot):
                locked = slots[slot, LOCKED]
                for place in range(locked, slots[slot, LENGTH]):
                    count = _drop(nodes, requests, rows, num_locations, sequence[slot, place], count)
                slots[slot, LENGTH] = locked
                renew(ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, slot)
    for position in range(count):
        requests[rows[LISTED, position], AT] = NONE
    return count, num_touched


@numba.njit(cache=True)
def sort_listed(keys: Floats, rows: Ints, values: Floats, random: Words, count: int) -> None:
    """Order the listed requests by a rule drawn at random."""
    draw = uniform(random)
    column = 0 if draw < 0.3 else 1 + int((draw - 0.3) / 0.7 * (keys.shape[1] - 1))
    for position in range(count):
        request, mark = rows[LISTED, position], rows[WAS_ABSENT, position]
        key = uniform(random) if column == 0 else keys[request, column]
        place = position
        while place > 0 and values[place - 1] > key:
            values[place] = values[place - 1]
            rows[LISTED, place], rows[WAS_ABSENT, place] = rows[LISTED, place - 1], rows[WAS_ABSENT, place - 1]
            place -= 1
        values[place], rows[LISTED, place], rows[WAS_ABSENT, place] = key, request, mark
