"""Ruin and recreate for rich routing: requests are clients, groups of alternatives, or pairs; what is infeasible waits.

References
----------
Christiaens, J., Vanden Berghe, G. (2020). Slack induction by string removals for vehicle routing problems.
Transportation Science 54(2), 417-433.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from apportion.solvers.rich_routing.segments.kernels import (
    CAPACITY,
    COST,
    DISTANCE,
    FIRST_SLOT,
    FIXED,
    IS_TOUCHED,
    KIND,
    LAST_SLOT,
    LENGTH,
    LOADS,
    LOCATION,
    MOST_RELOADS,
    NONE,
    PER_DISTANCE,
    PER_TIME,
    PLACE,
    RELOAD_AT,
    RELOADS,
    REQUEST,
    ROOM_BACK,
    ROOM_OUT,
    ROUTE,
    Flags,
    Floats,
    Ints,
    insertion,
    insertion_with_reload,
    pair_insertion,
    refresh,
)
from apportion.solvers.routing.kernels import Long, Words, uniform

AVERAGE_REMOVED, LONGEST_STRING, BLINK = 10.0, 10, 0.01
GRANULAR = 40
MOST_OFFERED = 12
"""Optional clients that an iteration tries to serve."""
OFFER = 0.3
RETYPE, RELOAD = 0.15, 0.3
ALONE, ALTERNATIVES, PAIR = range(3)
CURRENT, BEST = range(2)
ITERATION, NUM_REQUIRED_ABSENT, BEST_REQUIRED_ABSENT, STAMPS = range(4)
IN_HAND = -2
LISTED, ORDER, WAS_ABSENT, SAVED, SAVED_FROM, TOUCHED, SCRATCH, STAMP = range(8)


class Data(NamedTuple):
    """What does not change.

    ``fleet`` (types, columns of segments), ``kinds`` (types, 4): RELOAD_AT, MOST_RELOADS, FIRST_SLOT, LAST_SLOT;
    ``serves`` (types, locations); ``near`` (locations, k); ``members`` (requests, m) and ``what`` (requests, 2): how
    many members, and ALONE, ALTERNATIVES or PAIR; ``price`` (requests,): of leaving it out; ``keys`` (requests, 5):
    what insertion is ordered by; ``sizes``: locations, reload nodes, slots, depots.
    """

    distance: Floats
    duration: Floats
    fleet: Floats
    kinds: Ints
    serves: Flags
    near: Ints
    members: Ints
    what: Ints
    price: Floats
    required: Flags
    keys: Floats
    sizes: Long


class State(NamedTuple):
    """The routes, their segments, the best routes, and work arrays.

    ``sequence`` and ``best`` (slots, places); ``best_length`` (slots,); ``at`` (requests,): the member that is served
    or NONE; ``rows`` (8, enough): scratch.
    """

    atoms: Floats
    before: Floats
    after: Floats
    work: Floats
    nodes: Ints
    slots: Ints
    facts: Floats
    sequence: Ints
    best: Ints
    best_length: Ints
    at: Ints
    rows: Ints
    found: Ints
    values: Floats
    saved_cost: Floats
    random: Words
    totals: Floats
    counters: Long


@numba.njit(cache=True)
def renew(data: Data, state: State, slot: int) -> bool:
    """:func:`~apportion.solvers.rich_routing.segments.kernels.refresh` of one route."""
    feasible: bool = refresh(
        data.distance,
        data.duration,
        data.fleet,
        state.atoms,
        state.before,
        state.after,
        state.work,
        state.nodes,
        state.slots,
        state.facts,
        state.sequence,
        data.sizes[0],
        data.sizes[1],
        slot,
    )
    return feasible


@numba.njit(cache=True)
def _touch(state: State, slot: int, num_touched: int) -> int:
    """Keep a copy of a route before its first change in this iteration."""
    if state.slots[slot, IS_TOUCHED] != 0:
        return num_touched
    state.slots[slot, IS_TOUCHED] = 1
    state.rows[TOUCHED, num_touched] = slot
    start = state.rows[SAVED_FROM, num_touched]
    for place in range(state.slots[slot, LENGTH]):
        state.rows[SAVED, start + place] = state.sequence[slot, place]
    state.rows[SAVED_FROM, num_touched + 1] = start + state.slots[slot, LENGTH]
    state.saved_cost[num_touched] = state.facts[slot, COST]
    return num_touched + 1


@numba.njit(cache=True)
def _list_request(state: State, request: int, count: int, was_absent: int) -> int:
    state.rows[LISTED, count] = request
    state.rows[WAS_ABSENT, count] = was_absent
    state.at[request] = IN_HAND
    return count + 1


@numba.njit(cache=True)
def _drop(data: Data, state: State, node: int, count: int) -> int:
    """Mark ``node`` (and its partner) as off its route and list its request."""
    num_locations = data.sizes[0]
    if state.nodes[node, ROUTE] == NONE:
        return count
    state.nodes[node, ROUTE] = NONE
    if node >= num_locations:
        return count
    request = state.nodes[node, REQUEST]
    if data.what[request, 1] == PAIR:
        state.nodes[data.members[request, 0], ROUTE] = NONE
        state.nodes[data.members[request, 1], ROUTE] = NONE
    return int(_list_request(state, request, count, 0))


@numba.njit(cache=True)
def _compact(data: Data, state: State, slot: int, count: int) -> int:
    """Close the gaps of a route, give up trips without clients, and empty a route that is no longer feasible."""
    num_locations, write = data.sizes[0], 0
    length = state.slots[slot, LENGTH]
    for place in range(length):
        node = state.sequence[slot, place]
        if state.nodes[node, ROUTE] == NONE:
            continue
        if node >= num_locations and (write == 0 or state.sequence[slot, write - 1] >= num_locations):
            state.nodes[node, ROUTE] = NONE
            continue
        state.sequence[slot, write] = node
        write += 1
    while write > 0 and state.sequence[slot, write - 1] >= num_locations:
        write -= 1
        state.nodes[state.sequence[slot, write], ROUTE] = NONE
    state.slots[slot, LENGTH] = write
    if not renew(data, state, slot):
        for place in range(write):
            count = _drop(data, state, state.sequence[slot, place], count)
        state.slots[slot, LENGTH] = 0
        renew(data, state, slot)
    return count


@numba.njit(cache=True)
def _remove_string(data: Data, state: State, slot: int, seed: int, most: float, count: int) -> int:
    """Take a string with the node ``seed`` out of a route, sometimes keeping a part of it in the middle."""
    random, size, place = state.random, state.slots[slot, LENGTH], state.nodes[seed, PLACE]
    length = min(size, int(1.0 + uniform(random) * min(float(size), most)))
    kept = 0
    if 1 < length < size and uniform(random) < 0.5:
        kept = 1
        while length + kept < size and uniform(random) < 0.01:
            kept += 1
    span = length + kept
    lowest = max(0, place - span + 1)
    start = lowest + int(uniform(random) * (min(place, size - span) - lowest + 1))
    keep_from = start + span
    if kept > 0:
        keep_from = start + 1 + int(uniform(random) * (length - 1))
    for position in range(start, start + span):
        if not keep_from <= position < keep_from + kept:
            count = _drop(data, state, state.sequence[slot, position], count)
    return int(_compact(data, state, slot, count))


@numba.njit(cache=True)
def _ruin(data: Data, state: State) -> tuple[int, int]:
    """Strings from routes near a random client, and who is absent near there; how many requests, how many routes."""
    slots, nodes, random, near = state.slots, state.nodes, state.random, data.near
    num_locations, num_depots = data.sizes[0], data.sizes[3]
    count, num_touched, used, served = 0, 0, 0, 0
    state.rows[SAVED_FROM, 0] = 0
    for slot in range(slots.shape[0]):
        if slots[slot, LENGTH] > 0:
            used += 1
            served += slots[slot, LENGTH]
    if state.counters[NUM_REQUIRED_ABSENT] > 0:
        for request in range(data.required.shape[0]):
            if data.required[request] and state.at[request] == NONE:
                count = _list_request(state, request, count, 1)
    most = max(1.0, min(float(LONGEST_STRING), served / max(1, used)))
    strings = int(1.0 + uniform(random) * (4.0 * AVERAGE_REMOVED / (1.0 + most) - 1.0))
    seed = num_depots + int(uniform(random) * (num_locations - num_depots))
    offered = 0
    for position in range(-1, near.shape[1]):
        client = seed if position < 0 else near[seed, position]
        slot = nodes[client, ROUTE]
        if slot == NONE:
            request = nodes[client, REQUEST]
            is_new = not data.required[request] and state.at[request] == NONE
            if is_new and offered < MOST_OFFERED and uniform(random) < OFFER:
                count = _list_request(state, request, count, 1)
                offered += 1
            continue
        if num_touched < strings and slots[slot, IS_TOUCHED] == 0:
            num_touched = _touch(state, slot, num_touched)
            count = _remove_string(data, state, slot, client, most, count)
    for position in range(count):
        state.at[state.rows[LISTED, position]] = NONE
    return count, num_touched


@numba.njit(cache=True)
def _sort(data: Data, state: State, count: int) -> None:
    """Order the listed requests by a rule drawn at random."""
    draw, random = uniform(state.random), state.random
    column = 5 if draw < 0.3 else int((draw - 0.3) / 0.7 * data.keys.shape[1])
    listed, was = state.rows[LISTED], state.rows[WAS_ABSENT]
    for position in range(count):
        request, mark = listed[position], was[position]
        key = uniform(random) if column >= data.keys.shape[1] else data.keys[request, column]
        place = position
        while place > 0 and state.values[place - 1] > key:
            state.values[place] = state.values[place - 1]
            listed[place], was[place] = listed[place - 1], was[place - 1]
            place -= 1
        state.values[place], listed[place], was[place] = key, request, mark


@numba.njit(cache=True)
def _free_reload(data: Data, state: State) -> int:
    for node in range(data.sizes[0], data.sizes[0] + data.sizes[1]):
        if state.nodes[node, ROUTE] == NONE:
            return node
    return NONE


@numba.njit(cache=True)
def _free_slot(kinds: Ints, slots: Ints, kind: int) -> int:
    for slot in range(kinds[kind, FIRST_SLOT], kinds[kind, LAST_SLOT]):
        if slots[slot, LENGTH] == 0:
            return slot
    return NONE


@numba.njit(cache=True)
def _try(
    distance: Floats,
    duration: Floats,
    fleet: Floats,
    kinds: Ints,
    serves: Flags,
    atoms: Floats,
    before: Floats,
    after: Floats,
    work: Floats,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    sequence: Ints,
    found: Ints,
    first_end: int,
    num_locations: int,
    slot: int,
    client: int,
    place: int,
    best: float,
    may_reload: bool,
) -> float:
    """One place on one route, plain and with a reload; ``found`` gets it when it beats ``best``."""
    kind, length = slots[slot, KIND], slots[slot, LENGTH]
    full = atoms[client, LOADS] > facts[slot, ROOM_OUT] or atoms[client, LOADS + 1] > facts[slot, ROOM_BACK]
    if full and not may_reload:
        return best
    if not serves[kind, client]:
        return best
    start = first_end + 2 * slot
    left = sequence[slot, place - 1] if place > 0 else start
    right = sequence[slot, place] if place < length else start + 1
    delta = insertion(
        *(distance, duration, fleet, atoms, before, after, work, nodes, slots, facts),
        *(slot, client, left, right, best),
    )
    if delta < best:
        best = delta
        found[0], found[1], found[2], found[3] = slot, place, 0, client
    if not may_reload or length == 0 or slots[slot, RELOADS] >= kinds[kind, MOST_RELOADS]:
        return best
    for way in range(2):
        if (left >= num_locations) if way == 0 else (right >= num_locations):
            continue
        delta = insertion_with_reload(
            *(distance, duration, fleet, atoms, before, after, work, nodes, slots, facts),
            *(slot, client, left, right, kinds[kind, RELOAD_AT], way == 0, best),
        )
        if delta < best:
            best = delta
            found[0], found[1], found[2], found[3] = slot, place, 1 + way, client
    return best


@numba.njit(cache=True)
def _try_pair(data: Data, state: State, slot: int, request: int, best: float) -> float:
    origin, destination = data.members[request, 0], data.members[request, 1]
    kind = state.slots[slot, KIND]
    if not (data.serves[kind, origin] and data.serves[kind, destination]):
        return best
    delta = pair_insertion(
        data.distance,
        data.duration,
        data.fleet,
        state.atoms,
        state.before,
        state.after,
        state.work,
        state.nodes,
        state.slots,
        state.facts,
        state.sequence,
        data.sizes[0],
        slot,
        data.sizes[0] + data.sizes[1] + 2 * slot,
        origin,
        destination,
        best,
        state.found[4:],
    )
    if delta < best:
        state.found[0], state.found[2], state.found[3] = slot, 3, origin
    return float(delta)


@numba.njit(cache=True)
def _detour(
    distance: Floats, nodes: Ints, sequence: Ints, start: int, slot: int, place: int, length: int, client: int
) -> float:
    """How much longer a route in use becomes."""
    left = nodes[sequence[slot, place - 1] if place > 0 else start, LOCATION]
    right = nodes[sequence[slot, place] if place < length else start + 1, LOCATION]
    return float(distance[left, client] + distance[client, right] - distance[left, right])


@numba.njit(cache=True)
def _best_place(data: Data, state: State, request: int, everywhere: bool, may_reload: bool, best: float) -> float:
    """The cheapest place of a client or group on routes in use, near its neighbours or everywhere."""
    # unpacked once: handing the tuples on to every trial costs ten times the trial
    distance, duration, fleet, kinds, serves = data.distance, data.duration, data.fleet, data.kinds, data.serves
    atoms, before, after, work, nodes = state.atoms, state.before, state.after, state.work, state.nodes
    slots, facts, sequence, found, random = state.slots, state.facts, state.sequence, state.found, state.random
    near, members = data.near, data.members
    num_locations, first_end = data.sizes[0], data.sizes[0] + data.sizes[1]
    for number in range(data.what[request, 0]):
        client = members[request, number]
        if everywhere:
            for slot in range(slots.shape[0]):
                full = atoms[client, LOADS] > facts[slot, ROOM_OUT] or atoms[client, LOADS + 1] > facts[slot, ROOM_BACK]
                if slots[slot, LENGTH] == 0 or (full and not may_reload):
                    continue
                kind, length, start = slots[slot, KIND], slots[slot, LENGTH], first_end + 2 * slot
                for place in range(length + 1):
                    longer = _detour(distance, nodes, sequence, start, slot, place, length, client)
                    if fleet[kind, PER_DISTANCE] * longer >= best and fleet[kind, PER_TIME] == 0.0:
                        continue
                    best = _try(
                        *(distance, duration, fleet, kinds, serves, atoms, before, after, work, nodes, slots, facts),
                        *(sequence, found, first_end, num_locations, slot, client, place, best, may_reload),
                    )
            continue
        for position in range(min(GRANULAR, near.shape[1])):
            beside = near[client, position]
            slot = nodes[beside, ROUTE]
            if slot == NONE:
                continue
            kind, length, start = slots[slot, KIND], slots[slot, LENGTH], first_end + 2 * slot
            for step in range(2):
                if uniform(random) >= BLINK:
                    place = nodes[beside, PLACE] + step
                    longer = _detour(distance, nodes, sequence, start, slot, place, length, client)
                    if fleet[kind, PER_DISTANCE] * longer >= best and fleet[kind, PER_TIME] == 0.0:
                        continue
                    best = _try(
                        *(distance, duration, fleet, kinds, serves, atoms, before, after, work, nodes, slots, facts),
                        *(sequence, found, first_end, num_locations, slot, client, place, best, may_reload),
                    )
    return best


@numba.njit(cache=True)
def _best_places(data: Data, state: State, request: int, everywhere: bool, best: float) -> float:
    """The cheapest two places of a pair on routes in use, those of neighbours or all."""
    if everywhere:
        for slot in range(state.slots.shape[0]):
            if state.slots[slot, LENGTH] > 0:
                best = _try_pair(data, state, slot, request, best)
        return best
    state.counters[STAMPS] += 1
    stamp = state.counters[STAMPS] % 2**30
    for number in range(2):
        client = data.members[request, number]
        for position in range(data.near.shape[1]):
            slot = state.nodes[data.near[client, position], ROUTE]
            if slot != NONE and state.rows[STAMP, slot] != stamp:
                state.rows[STAMP, slot] = stamp
                if uniform(state.random) >= BLINK:
                    best = _try_pair(data, state, slot, request, best)
    return best


@numba.njit(cache=True)
def _new_route(data: Data, state: State, request: int, best: float, any_kind: bool) -> float:
    """The cheapest vehicle (or, with ``any_kind``, a random one that can) for a request of its own route."""
    num_kinds = data.kinds.shape[0]
    first_end = data.sizes[0] + data.sizes[1]
    turn = int(uniform(state.random) * num_kinds)
    for step in range(num_kinds):
        kind = (turn + step) % num_kinds
        slot = _free_slot(data.kinds, state.slots, kind)
        if slot == NONE:
            continue
        limit = best
        if data.what[request, 1] == PAIR:
            best = _try_pair(data, state, slot, request, best)
        else:
            for number in range(data.what[request, 0]):
                best = _try(
                    *(data.distance, data.duration, data.fleet, data.kinds, data.serves, state.atoms, state.before),
                    *(state.after, state.work, state.nodes, state.slots, state.facts, state.sequence, state.found),
                    *(first_end, data.sizes[0], slot, data.members[request, number], 0, best, False),
                )
        if any_kind and best < limit:
            break
    return best


@numba.njit(cache=True)
def _shift_in(state: State, slot: int, place: int, node: int) -> None:
    sequence = state.sequence
    for position in range(state.slots[slot, LENGTH], place, -1):
        sequence[slot, position] = sequence[slot, position - 1]
    sequence[slot, place] = node
    state.slots[slot, LENGTH] += 1
    state.nodes[node, ROUTE] = slot


@numba.njit(cache=True)
def _put(data: Data, state: State, request: int) -> bool:
    """Carry out the insertion in ``found``; False (and nothing changed) when rounding makes it infeasible."""
    slot, place, way, client = state.found[0], state.found[1], state.found[2], state.found[3]
    length = state.slots[slot, LENGTH]
    for position in range(length):
        state.rows[SCRATCH, position] = state.sequence[slot, position]
    second = client
    if way == 3:
        second = data.members[request, 1]
        _shift_in(state, slot, state.found[6], second)
        _shift_in(state, slot, state.found[5], client)
    elif way == 0:
        _shift_in(state, slot, place, client)
    else:
        second = _free_reload(data, state)
        _shift_in(state, slot, place, client)
        _shift_in(state, slot, place if way == 1 else place + 1, second)
    if renew(data, state, slot):
        state.at[request] = client
        return True
    state.nodes[client, ROUTE] = NONE
    state.nodes[second, ROUTE] = NONE
    for position in range(length):
        state.sequence[slot, position] = state.rows[SCRATCH, position]
    state.slots[slot, LENGTH] = length
    renew(data, state, slot)
    return False


@numba.njit(cache=True)
def _recreate(data: Data, state: State, count: int, num_touched: int, opening: float) -> int:
    """Insert the listed requests one by one where it costs least, or leave them out; return the routes touched."""
    random = state.random
    opened = uniform(random) < opening
    for position in range(count):
        request = state.rows[LISTED, position]
        can_reload = data.sizes[1] > 0 and _free_reload(data, state) != NONE
        may_reload = can_reload and uniform(random) < RELOAD
        limit = np.inf
        if not data.required[request]:
            limit = data.price[request] * (0.85 + 0.3 * uniform(random))
        forced = opened and position == 0
        is_pair, best = data.what[request, 1] == PAIR, limit
        if not forced:
            for everywhere in range(2):
                if best == limit and (everywhere == 0 or data.required[request]):
                    if is_pair:
                        best = _best_places(data, state, request, everywhere == 1, limit)
                    else:
                        best = _best_place(
                            data, state, request, everywhere == 1, can_reload if everywhere == 1 else may_reload, limit
                        )
        any_kind = (best == np.inf or forced) and uniform(random) < 0.5
        best = _new_route(data, state, request, best, any_kind)
        if not best < limit:
            continue
        num_touched = _touch(state, state.found[0], num_touched)
        _put(data, state, request)
    return num_touched


@numba.njit(cache=True)
def _move_to(data: Data, state: State, slot: int, other: int) -> bool:
    """Let the vehicle of an empty slot drive the whole route of another; undone and False when it cannot."""
    length = state.slots[slot, LENGTH]
    for position in range(length):
        state.sequence[other, position] = state.sequence[slot, position]
    state.slots[other, LENGTH] = length
    state.slots[slot, LENGTH] = 0
    if renew(data, state, other):
        renew(data, state, slot)
        return True
    state.slots[other, LENGTH] = 0
    state.slots[slot, LENGTH] = length
    renew(data, state, other)
    renew(data, state, slot)
    return False


@numba.njit(cache=True)
def _cost_of(data: Data, state: State, slot: int, kind: int) -> float:
    """What the route would cost a vehicle of another type, its time not counted."""
    distance, nodes, sequence = data.distance, state.nodes, state.sequence
    start = data.sizes[0] + data.sizes[1] + 2 * slot
    other = data.sizes[0] + data.sizes[1] + 2 * data.kinds[kind, FIRST_SLOT]
    first = sequence[slot, 0]
    last = nodes[sequence[slot, state.slots[slot, LENGTH] - 1], LOCATION]
    driven = state.facts[slot, DISTANCE]
    driven += distance[nodes[other, LOCATION], first] - distance[nodes[start, LOCATION], first]
    driven += distance[last, nodes[other + 1, LOCATION]] - distance[last, nodes[start + 1, LOCATION]]
    return float(data.fleet[kind, FIXED] + data.fleet[kind, PER_DISTANCE] * driven)


@numba.njit(cache=True)
def _retype(data: Data, state: State, num_touched: int, at_random: bool) -> int:
    """Give each touched route the cheapest type of vehicle that can drive it, or a random one."""
    num_kinds = data.kinds.shape[0]
    for number in range(num_touched):
        slot = state.rows[TOUCHED, number]
        length = state.slots[slot, LENGTH]
        if length == 0 or state.slots[slot, RELOADS] > 0:
            continue
        turn = int(uniform(state.random) * num_kinds)
        for step in range(num_kinds):
            kind, now = (turn + step) % num_kinds, state.slots[slot, KIND]
            if kind == now:
                continue
            able = at_random or _cost_of(data, state, slot, kind) < state.facts[slot, COST] - 1e-9
            able = able and state.facts[slot, ROOM_OUT] + data.fleet[kind, CAPACITY] >= data.fleet[now, CAPACITY]
            able = able and state.facts[slot, ROOM_BACK] + data.fleet[kind, CAPACITY] >= data.fleet[now, CAPACITY]
            for position in range(length if able else 0):
                able = able and data.serves[kind, state.sequence[slot, position]]
            other = _free_slot(data.kinds, state.slots, kind) if able else NONE
            if other == NONE:
                continue
            cost = state.facts[slot, COST]
            num_touched = _touch(state, other, num_touched)
            if _move_to(data, state, slot, other):
                if at_random or state.facts[other, COST] < cost - 1e-9:
                    slot = other
                    if at_random:
                        break
                else:
                    _move_to(data, state, other, slot)
    return num_touched


@numba.njit(cache=True)
def _settle(data: Data, state: State, num_touched: int, put_back: bool) -> None:
    """End an iteration: clear the marks and, with ``put_back``, restore every touched route."""
    if put_back:
        for number in range(num_touched):
            slot = state.rows[TOUCHED, number]
            for place in range(state.slots[slot, LENGTH]):
                node = state.sequence[slot, place]
                state.nodes[node, ROUTE] = NONE
                if node < data.sizes[0]:
                    state.at[state.nodes[node, REQUEST]] = NONE
        for number in range(num_touched):
            slot = state.rows[TOUCHED, number]
            start, stop = state.rows[SAVED_FROM, number], state.rows[SAVED_FROM, number + 1]
            state.slots[slot, LENGTH] = stop - start
            for place in range(stop - start):
                node = state.rows[SAVED, start + place]
                state.sequence[slot, place] = node
                if node < data.sizes[0]:
                    state.at[state.nodes[node, REQUEST]] = node
            renew(data, state, slot)
    for number in range(num_touched):
        state.slots[state.rows[TOUCHED, number], IS_TOUCHED] = 0


@numba.njit(cache=True)
def remember(state: State) -> None:
    """Keep the current routes as the best."""
    for slot in range(state.slots.shape[0]):
        state.best_length[slot] = state.slots[slot, LENGTH]
        for place in range(state.slots[slot, LENGTH]):
            state.best[slot, place] = state.sequence[slot, place]
    state.totals[BEST] = state.totals[CURRENT]
    state.counters[BEST_REQUIRED_ABSENT] = state.counters[NUM_REQUIRED_ABSENT]


@numba.njit(cache=True)
def recount(data: Data, state: State) -> None:
    """Add up the current cost anew: routes, and the price of who is absent."""
    total, absent = 0.0, 0
    for slot in range(state.slots.shape[0]):
        total += state.facts[slot, COST]
    for request in range(data.required.shape[0]):
        if state.at[request] == NONE:
            total += data.price[request]
            absent += int(data.required[request])
    state.totals[CURRENT] = total
    state.counters[NUM_REQUIRED_ABSENT] = absent


@numba.njit(cache=True)
def recover_best(data: Data, state: State) -> None:
    """Make the best routes the current ones."""
    for node in range(data.sizes[0] + data.sizes[1]):
        state.nodes[node, ROUTE] = NONE
    state.at[:] = NONE
    for slot in range(state.slots.shape[0]):
        state.slots[slot, LENGTH] = state.best_length[slot]
        for place in range(state.best_length[slot]):
            node = state.best[slot, place]
            state.sequence[slot, place] = node
            if node < data.sizes[0]:
                state.at[state.nodes[node, REQUEST]] = node
        renew(data, state, slot)
    recount(data, state)


@numba.njit(cache=True)
def construct(data: Data, state: State, order: Ints) -> None:
    """Insert the requests of ``order`` that are absent."""
    state.rows[SAVED_FROM, 0] = 0
    count = 0
    for position in range(len(order)):
        if state.at[order[position]] == NONE:
            count = _list_request(state, order[position], count, 1)
    for position in range(count):
        state.at[state.rows[LISTED, position]] = NONE
    num_touched = _recreate(data, state, count, 0, 0.0)
    num_touched = _retype(data, state, num_touched, False)
    _settle(data, state, num_touched, False)
    recount(data, state)
    remember(state)


@numba.njit(cache=True)
def improve(data: Data, state: State, iterations: int, temperature: float, cooling: float, opening: float) -> float:
    """Run ``iterations`` of ruin and recreate; return the temperature, multiplied by ``cooling`` after each."""
    totals, counters, random = state.totals, state.counters, state.random
    several = data.kinds.shape[0] > 1
    for _ in range(iterations):
        counters[ITERATION] += 1
        count, num_touched = _ruin(data, state)
        if several and uniform(random) < RETYPE:
            num_touched = _retype(data, state, num_touched, True)
        _sort(data, state, count)
        num_touched = _recreate(data, state, count, num_touched, opening)
        if several:
            num_touched = _retype(data, state, num_touched, False)
        delta, absent = 0.0, counters[NUM_REQUIRED_ABSENT]
        for position in range(count):
            request = state.rows[LISTED, position]
            gone = int(state.at[request] == NONE) - state.rows[WAS_ABSENT, position]
            delta += gone * data.price[request]
            absent += gone * int(data.required[request])
        for number in range(num_touched):
            delta += state.facts[state.rows[TOUCHED, number], COST] - state.saved_cost[number]
        if delta < -temperature * np.log(1.0 - uniform(random)):
            totals[CURRENT] += delta
            counters[NUM_REQUIRED_ABSENT] = absent
            _settle(data, state, num_touched, False)
            if totals[CURRENT] < totals[BEST] - 1e-7:
                remember(state)
        else:
            _settle(data, state, num_touched, True)
        temperature *= cooling
    return temperature
