"""Ruin and recreate for vehicle routing, compiled: adjacent strings out, greedy insertion with blinks, annealing.

References
----------
Christiaens, J., Vanden Berghe, G. (2020). Slack induction by string removals for vehicle routing problems.
Transportation Science 54(2), 417-433.
"""

from __future__ import annotations

import numba
import numpy as np

from apportion.solvers.routing.kernels import (
    ABSENT,
    BEST,
    BEST_ABSENT,
    BLINK_IN,
    CHANGED,
    CURRENT,
    DEMAND,
    DUE,
    EARLY,
    FIRST,
    GAIN,
    GAIN_CLOSING,
    GAIN_OPENING,
    GO,
    IS_CHANGED,
    IS_STALE,
    ITERATION,
    LAST,
    LATE,
    LEFT,
    MISSES,
    MISSING,
    NUM_ABSENT,
    NUM_STALE,
    NUM_USED,
    OUT,
    OUT_AFTER,
    OUT_ROUTE,
    PRED,
    READY,
    REMOVED,
    ROUTE,
    SERVICE,
    SIZE,
    SLOTS,
    STALE,
    SUCC,
    Data,
    Floats,
    Ints,
    Long,
    State,
    Words,
    count_absent,
    later,
    link,
    mark,
    remember,
    settle,
    sooner,
    total_cost,
    uniform,
    unlink,
)

AVERAGE_REMOVED = 10.0
LONGEST_STRING = 10
SPLIT_PROBABILITY = 0.5
SPLIT_GROWTH = 0.01
BLINK = 0.01
GRANULAR = 40
"""Places looked at; only where none of them will do those after them are."""
CLOSING = 0.02
"""How often an iteration takes a whole route out, before this is adapted."""
LONGEST_CLOSED = 60
FIRST_GAIN = 0.05
_MEMORY, _MEMORY_SPECIAL = 0.0005, 0.01
"""How fast rates of success are forgotten, of all iterations and of special ones."""
_LEAST_OFTEN, _MOST_OFTEN = 0.2, 2.0
_RECOUNT = 1024


@numba.njit(cache=True)
def _take_out(data: Data, state: State, client: int, num_out: int) -> float:
    """Remove one client and note how to put it back; return what that adds to the distance."""
    nodes, lists = state.nodes, state.lists
    lists[OUT, num_out] = client
    lists[OUT_AFTER, num_out] = nodes[client, PRED]
    lists[OUT_ROUTE, num_out] = nodes[client, ROUTE]
    facts, fleet, load, counters = state.facts, state.fleet, state.load, state.counters
    return float(unlink(data.distance, data.duration, nodes, facts, fleet, load, lists, counters, client))


@numba.njit(cache=True)
def _string_start(nodes: Ints, seed: int, span: int, random: Words) -> int:
    """The first client of a string of ``span`` with ``seed`` in it, each such string as likely."""
    first, ahead = seed, 0
    while ahead < span - 1 and nodes[first, PRED] != 0:
        first = nodes[first, PRED]
        ahead += 1
    last, behind = seed, 0
    while behind < span - 1 and nodes[last, SUCC] != 0:
        last = nodes[last, SUCC]
        behind += 1
    choices = ahead + behind - span + 2
    for _ in range(int(uniform(random) * choices)):
        first = nodes[first, SUCC]
    return first


@numba.njit(cache=True)
def _remove_string(data: Data, state: State, route: int, seed: int, most: float, num_out: int) -> tuple[int, float]:
    """Take a string of clients with ``seed`` among them out of ``route``; return the number removed in all."""
    nodes, facts, random = state.nodes, state.facts, state.random
    size = state.fleet[route, SIZE]
    length = min(size, int(1.0 + uniform(random) * min(float(size), most)))
    kept = 0
    if 1 < length < size and uniform(random) < SPLIT_PROBABILITY:
        kept = 1
        while length + kept < size and uniform(random) < SPLIT_GROWTH:
            kept += 1
    client = _string_start(nodes, seed, length + kept, random)
    until = length
    if kept > 0:
        until = 1 + int(uniform(random) * (length - 1))
    before, kept_first, kept_last = nodes[client, PRED], 0, 0
    delta = 0.0
    for step in range(length):
        if step == until:
            kept_first = client
            for _ in range(kept):
                kept_last = client
                client = nodes[client, SUCC]
        after = nodes[client, SUCC]
        delta += _take_out(data, state, client, num_out)
        num_out += 1
        client = after
    if data.timed:
        sooner(data.duration, nodes, facts, kept_first, False)
        sooner(data.duration, nodes, facts, client, False)
        later(nodes, facts, kept_last, False)
        later(nodes, facts, before, False)
    return num_out, delta


@numba.njit(cache=True)
def _close(data: Data, state: State) -> tuple[int, int, float]:
    """Take a whole route out, the smaller of two; return its first client or 0, clients removed, distance added."""
    fleet, lists, random, num_used = state.fleet, state.lists, state.random, state.counters[NUM_USED]
    if num_used == 0:
        return 0, 0, 0.0
    route = lists[SLOTS, int(uniform(random) * num_used)]
    other = lists[SLOTS, int(uniform(random) * num_used)]
    if fleet[other, SIZE] < fleet[route, SIZE]:
        route = other
    if fleet[route, SIZE] > LONGEST_CLOSED:
        return 0, 0, 0.0
    first, num_out, delta = fleet[route, FIRST], 0, 0.0
    mark(fleet, lists, route, 0)
    while fleet[route, SIZE] > 0:
        delta += _take_out(data, state, fleet[route, FIRST], num_out)
        num_out += 1
    return first, num_out, delta


@numba.njit(cache=True)
def _ruin(data: Data, state: State, closes: bool) -> tuple[int, int, float]:
    """Remove strings from routes near a random client; return clients removed, routes changed, distance added.

    With ``closes`` a whole route goes first, and the strings are near it.
    """
    around, nodes, fleet, lists, random = data.around, state.nodes, state.fleet, state.lists, state.random
    num_clients = nodes.shape[0] - 1
    num_routes = max(1, state.counters[NUM_USED])
    average = (num_clients - state.counters[NUM_ABSENT]) / num_routes
    most = max(1.0, min(float(LONGEST_STRING), average))
    strings = int(1.0 + uniform(random) * (4.0 * AVERAGE_REMOVED / (1.0 + most) - 1.0))
    seed = 1 + int(uniform(random) * num_clients)
    num_out, num_changed, delta = 0, 0, 0.0
    if closes:
        first, num_out, delta = _close(data, state)
        if first != 0:
            seed, num_changed = first, 1
    for position in range(-1, around.shape[1]):
        client = seed if position < 0 else around[seed, position]
        route = nodes[client, ROUTE]
        if route == ABSENT or fleet[route, IS_CHANGED] != 0:
            continue
        num_changed = mark(fleet, lists, route, num_changed)
        num_out, added = _remove_string(data, state, route, client, most, num_out)
        delta += added
        if num_changed >= strings:
            break
    return num_out, num_changed, delta


@numba.njit(cache=True)
def _sort(distance: Floats, facts: Floats, timed: bool, lists: Ints, keys: Floats, random: Words, count: int) -> None:
    """Order the removed clients by a rule drawn at random."""
    draw = uniform(random) * (17.0 if timed else 11.0)
    for position in range(count):
        client = lists[REMOVED, position]
        if draw < 4.0:
            key = uniform(random)
        elif draw < 8.0:
            key = -facts[client, DEMAND]
        elif draw < 10.0:
            key = -distance[0, client]
        elif draw < 11.0:
            key = distance[0, client]
        elif draw < 13.0:
            key = facts[client, DUE] - facts[client, READY]
        elif draw < 15.0:
            key = facts[client, READY]
        else:
            key = -facts[client, DUE]
        slot = position
        while slot > 0 and keys[slot - 1] > key:
            keys[slot] = keys[slot - 1]
            lists[REMOVED, slot] = lists[REMOVED, slot - 1]
            slot -= 1
        keys[slot] = key
        lists[REMOVED, slot] = client


@numba.njit(cache=True)
def in_time(facts: Floats, client: int, before: int, into: float, after: int, out: float) -> bool:
    """Whether ``client`` can be visited between two stops, ``into`` after leaving one and ``out`` before the other."""
    begins = max(facts[before, EARLY] + facts[before, SERVICE] + into, facts[client, READY])
    if begins > facts[client, DUE]:
        return False
    return bool(begins + facts[client, SERVICE] + out <= facts[after, LATE])


@numba.njit(cache=True)
def _next_blink(random: Words) -> int:
    """How many places are looked at until one is overlooked."""
    return 1 + int(np.log(1.0 - uniform(random)) / np.log(1.0 - BLINK))


@numba.njit(cache=True)
def _cheapest_near(
    data: Data,
    nodes: Ints,
    facts: Floats,
    load: Floats,
    counters: Long,
    random: Words,
    client: int,
    start: int,
    stop: int,
) -> tuple[float, int, int]:
    """The cheapest place after one of the clients that suit, or first on its route: what it adds, route, before."""
    distance, duration, beside, into, into_time = data.distance, data.duration, data.beside, data.into, data.into_time
    timed, metric, room = data.timed, data.metric, data.capacity - facts[client, DEMAND]
    best, best_route, best_before = np.inf, ABSENT, 0
    for position in range(start, stop):
        near = beside[client, position]
        route = nodes[near, ROUTE]
        if route == ABSENT:
            continue
        if load[route] > room:
            continue
        counters[BLINK_IN] -= 1
        if counters[BLINK_IN] <= 0:
            counters[BLINK_IN] = _next_blink(random)
            continue
        here, goes, before, after = into[client, position], facts[near, GO], nodes[near, PRED], nodes[near, SUCC]
        # by the triangle inequality a place adds at least twice the difference
        if not metric or 2.0 * (here - goes) < best:
            delta = here + distance[client, after] - goes
            if delta < best and (
                not timed or in_time(facts, client, near, into_time[client, position], after, duration[client, after])
            ):
                best, best_route, best_before = delta, route, near
        goes = distance[0, near] if before == 0 else facts[before, GO]
        if metric and 2.0 * (here - goes) >= best:
            continue
        delta = distance[before, client] + distance[client, near] - goes
        if delta < best and (
            not timed or in_time(facts, client, before, duration[before, client], near, duration[client, near])
        ):
            best, best_route, best_before = delta, route, before
    return best, best_route, best_before


@numba.njit(cache=True)
def cheapest_anywhere(
    data: Data,
    nodes: Ints,
    facts: Floats,
    fleet: Ints,
    load: Floats,
    lists: Ints,
    num_used: int,
    client: int,
) -> tuple[float, int, int]:
    """The cheapest place on any route with room: what it adds, the route, the client before it."""
    distance, duration, timed = data.distance, data.duration, data.timed
    room = data.capacity - facts[client, DEMAND]
    best, best_route, best_before = np.inf, ABSENT, 0
    for slot in range(num_used):
        route = lists[SLOTS, slot]
        if load[route] > room:
            continue
        before, after = 0, fleet[route, FIRST]
        if timed:
            while after != 0 and facts[after, LATE] < facts[client, READY]:
                before, after = after, nodes[after, SUCC]
        while not timed or facts[before, EARLY] <= facts[client, DUE]:
            goes = distance[0, after] if before == 0 else facts[before, GO]
            delta = distance[before, client] + distance[client, after] - goes
            if delta < best and (
                not timed or in_time(facts, client, before, duration[before, client], after, duration[client, after])
            ):
                best, best_route, best_before = delta, route, before
            if after == 0:
                break
            before = after
            after = nodes[after, SUCC]
    return best, best_route, best_before


@numba.njit(cache=True)
def _recreate(data: Data, state: State, count: int, num_changed: int, seeds: int) -> tuple[int, int, float]:
    """Insert the removed clients one by one; return how many find no place, routes changed, and distance added.

    Those without a place are listed in LEFT; the first ``seeds`` get routes of their own where there are any.
    """
    distance, duration = data.distance, data.duration
    nodes, facts, fleet, load, lists = state.nodes, state.facts, state.fleet, state.load, state.lists
    counters, random = state.counters, state.random
    many = data.beside.shape[1]
    few = min(GRANULAR, many)
    num_left, added = 0, 0.0
    for position in range(count):
        client = lists[REMOVED, position]
        cost, route, before = _cheapest_near(data, nodes, facts, load, counters, random, client, 0, few)
        if route == ABSENT:
            cost, route, before = _cheapest_near(data, nodes, facts, load, counters, random, client, few, many)
        if route == ABSENT:
            used = counters[NUM_USED]
            cost, route, before = cheapest_anywhere(data, nodes, facts, fleet, load, lists, used, client)
        alone = distance[0, client] + distance[client, 0]
        if (alone < cost or position < seeds) and counters[NUM_USED] < fleet.shape[0]:
            fits = facts[client, DEMAND] <= data.capacity
            if data.timed:
                fits = fits and in_time(facts, client, 0, duration[0, client], 0, duration[client, 0])
            if fits:
                cost, route, before = alone, lists[SLOTS, counters[NUM_USED]], 0
        if route == ABSENT:
            lists[LEFT, num_left] = client
            num_left += 1
            continue
        num_changed = mark(fleet, lists, route, num_changed)
        link(distance, duration, nodes, facts, fleet, load, lists, counters, client, route, before)
        added += cost
        if data.timed:
            settle(duration, nodes, facts, client)
    return num_left, num_changed, added


@numba.njit(cache=True)
def _undo(data: Data, state: State, count: int, num_out: int, num_changed: int) -> None:
    """Take the inserted clients out and put the removed ones back, each in the reverse order."""
    distance, duration = data.distance, data.duration
    nodes, facts, fleet, load, lists = state.nodes, state.facts, state.fleet, state.load, state.lists
    counters = state.counters
    for position in range(count - 1, -1, -1):
        client = lists[REMOVED, position]
        if nodes[client, ROUTE] != ABSENT:
            unlink(distance, duration, nodes, facts, fleet, load, lists, counters, client)
    for position in range(num_out - 1, -1, -1):
        client, route, before = lists[OUT, position], lists[OUT_ROUTE, position], lists[OUT_AFTER, position]
        link(distance, duration, nodes, facts, fleet, load, lists, counters, client, route, before)
    for position in range(num_changed):
        route = lists[CHANGED, position]
        fleet[route, IS_CHANGED] = 0
        if data.timed and fleet[route, SIZE] > 0:
            sooner(duration, nodes, facts, fleet[route, FIRST], True)
            later(nodes, facts, fleet[route, LAST], True)


@numba.njit(cache=True)
def _keep(fleet: Ints, lists: Ints, counters: Long, num_left: int, num_changed: int) -> None:
    """Settle the absent clients and what differs from the best after an accepted iteration."""
    for position in range(num_left):
        lists[MISSING, position] = lists[LEFT, position]
    counters[NUM_ABSENT] = num_left
    for position in range(num_changed):
        route = lists[CHANGED, position]
        fleet[route, IS_CHANGED] = 0
        if fleet[route, IS_STALE] == 0:
            fleet[route, IS_STALE] = 1
            lists[STALE, counters[NUM_STALE]] = route
            counters[NUM_STALE] += 1


@numba.njit(cache=True)
def _accepts(nodes: Ints, lists: Ints, num_absent: int, num_left: int, delta: float, limit: float) -> bool:
    """Fewer absent clients win; then distance below a random threshold; then clients who were left out less often."""
    if num_left != num_absent:
        return bool(num_left < num_absent)
    if delta < limit or num_left == 0:
        return delta < limit
    new, old = 0, 0
    for position in range(num_left):
        new += nodes[lists[LEFT, position], MISSES]
        old += nodes[lists[MISSING, position], MISSES]
    return new < old


@numba.njit(cache=True)
def rate(totals: Floats, kind: int, base: float) -> float:
    """How often to do a special iteration: more where they shorten the routes more often than others, else less.

    Their rates of success are exponential averages, and every kind is tried now and then.
    """
    return float(base * min(_MOST_OFTEN, max(_LEAST_OFTEN, totals[kind] / max(1e-9, totals[GAIN]))))


@numba.njit(cache=True)
def improve(data: Data, state: State, iterations: int, temperature: float, cooling: float, opening: float) -> float:
    """Run ``iterations`` of ruin and recreate; return the temperature, multiplied by ``cooling`` after each."""
    distance, nodes, facts, fleet = data.distance, state.nodes, state.facts, state.fleet
    lists, random, totals, counters = state.lists, state.random, state.totals, state.counters
    for _ in range(iterations):
        counters[ITERATION] += 1
        num_absent = counters[NUM_ABSENT]
        closes = uniform(random) < rate(totals, GAIN_CLOSING, CLOSING)
        num_out, num_changed, delta = _ruin(data, state, closes)
        for position in range(num_absent):
            lists[REMOVED, position] = lists[MISSING, position]
        for position in range(num_out):
            lists[REMOVED, num_absent + position] = lists[OUT, position]
        count = num_absent + num_out
        _sort(distance, facts, data.timed, lists, state.keys, random, count)
        opens = not closes and uniform(random) < rate(totals, GAIN_OPENING, opening)
        seeds = 1 if opens else 0
        num_left, num_changed, added = _recreate(data, state, count, num_changed, seeds)
        delta += added
        limit = -temperature * np.log(1.0 - uniform(random))
        accepted = _accepts(nodes, lists, num_absent, num_left, delta, limit)
        for position in range(num_left):
            nodes[lists[LEFT, position], MISSES] += 1
        gain = 1.0 if delta < -1e-7 or num_left < num_absent else 0.0
        totals[GAIN] += _MEMORY * (gain - totals[GAIN])
        if opens:
            totals[GAIN_OPENING] += _MEMORY_SPECIAL * (gain - totals[GAIN_OPENING])
        if closes:
            totals[GAIN_CLOSING] += _MEMORY_SPECIAL * (gain - totals[GAIN_CLOSING])
        if accepted:
            _keep(fleet, lists, counters, num_left, num_changed)
            totals[CURRENT] += delta
            if counters[ITERATION] % _RECOUNT == 0:
                totals[CURRENT] = total_cost(distance, nodes, fleet, lists, counters[NUM_USED])
            fewer = num_left < totals[BEST_ABSENT]
            if fewer or (num_left == totals[BEST_ABSENT] and totals[CURRENT] < totals[BEST] - 1e-7):
                remember(nodes, fleet, lists, totals, counters)
        else:
            _undo(data, state, count, num_out, num_changed)
        temperature *= cooling
    return temperature


@numba.njit(cache=True)
def construct(data: Data, state: State, order: Ints, seeds: int) -> None:
    """Insert all absent clients of ``order`` greedily, each at its cheapest place or on a route of its own."""
    nodes, lists, count = state.nodes, state.lists, 0
    for position in range(len(order)):
        if nodes[order[position], ROUTE] == ABSENT:
            lists[REMOVED, count] = order[position]
            count += 1
    num_left, num_changed, _ = _recreate(data, state, count, 0, seeds)
    _keep(state.fleet, lists, state.counters, num_left, num_changed)
    count_absent(data, state)
    remember(nodes, state.fleet, lists, state.totals, state.counters)
