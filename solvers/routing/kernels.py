"""Ruin and recreate for vehicle routing, compiled: adjacent strings out, greedy insertion with blinks, annealing.

A route is a chain of clients that begins and ends at the depot 0. The state lives in arrays that the caller owns, so
that a run cut into chunks goes the same way as an uncut one. Few arrays with a row for each property keep the calls
between kernels short; :class:`Data` and :class:`State` say what the rows are.

References
----------
Christiaens, J., Vanden Berghe, G. (2020). Slack induction by string removals for vehicle routing problems.
Transportation Science 54(2), 417-433.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Long = NDArray[np.int64]
Words = NDArray[np.uint64]

AVERAGE_REMOVED = 10.0
LONGEST_STRING = 10
SPLIT_PROBABILITY = 0.5
SPLIT_GROWTH = 0.01
BLINK = 0.01
ABSENT = -1
_MULTIPLIER = np.uint64(0x2545F4914F6CDD1D)

DEMAND, READY, DUE, SERVICE = range(4)
SUCC, PRED, ROUTE, REMOVED, SAVED, SEQUENCE, MISSING, MISSES, BEST_SUCC = range(9)
FIRST, LAST, SIZE, TOUCHED, IS_TOUCHED, SAVED_FROM, FREE, BEST_FIRST = range(8)
EARLY, LATE = range(2)
CURRENT, BEST, BEST_ABSENT = range(3)
NUM_ABSENT, NUM_FREE, ITERATION, IMPROVED_AT = range(4)


class Data(NamedTuple):
    """What does not change.

    ``distance`` and ``duration`` have shape (n + 1, n + 1); ``facts`` (4, n + 1): DEMAND, READY, DUE, SERVICE;
    ``neighbours`` (n + 1, k): the nearest clients first; ``beside`` (n + 1, g): those that may well stand next to a
    client on a route, the best first.
    """

    distance: Floats
    duration: Floats
    facts: Floats
    neighbours: Ints
    beside: Ints
    capacity: float
    timed: bool


class State(NamedTuple):
    """The current routes, the best ones, and work arrays.

    ``nodes`` has shape (9, n + 1). SUCC, PRED and ROUTE are the chains (ROUTE is ABSENT for clients that no route
    serves), MISSING lists those clients, MISSES counts how often each was left out, BEST_SUCC is the best chain, the
    rest is scratch. ``fleet`` has shape (8, routes + 1): FIRST, LAST and SIZE of each route, a stack of FREE ones, the
    best FIRST, and scratch. ``load`` (routes + 1,). ``times`` (2, n + 1): EARLY, when service begins, and LATE, when it
    may begin for the rest of the route to be in time. ``keys`` (n + 1,) and ``random`` (1,). ``totals``: distance of
    the CURRENT and the BEST routes and how many clients the best leave out. ``counters``: clients absent, routes free,
    iterations done, and the iteration of the last improvement.
    """

    nodes: Ints
    fleet: Ints
    load: Floats
    times: Floats
    keys: Floats
    random: Words
    totals: Floats
    counters: Long


@numba.njit(cache=True)
def uniform(random: Words) -> float:
    """A number in [0, 1) from xorshift64*; ``random`` has shape (1,) and is not 0."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    return np.float64((x * _MULTIPLIER) >> np.uint64(11)) * 1.1102230246251565e-16


@numba.njit(cache=True)
def refresh_times(duration: Floats, facts: Floats, nodes: Ints, fleet: Ints, times: Floats, route: int) -> None:
    """Recompute EARLY forwards and LATE backwards along one route."""
    leaves, here = facts[READY, 0], 0
    client = fleet[FIRST, route]
    while client != 0:
        begins = max(leaves + duration[here, client], facts[READY, client])
        times[EARLY, client] = begins
        leaves = begins + facts[SERVICE, client]
        here = client
        client = nodes[SUCC, client]
    latest, after = facts[DUE, 0], 0
    client = fleet[LAST, route]
    while client != 0:
        latest = min(facts[DUE, client], latest - duration[client, after] - facts[SERVICE, client])
        times[LATE, client] = latest
        after = client
        client = nodes[PRED, client]


@numba.njit(cache=True)
def route_cost(distance: Floats, nodes: Ints, fleet: Ints, route: int) -> float:
    """The distance of one route; 0 when it is empty."""
    cost, here = 0.0, 0
    client = fleet[FIRST, route]
    while client != 0:
        cost += distance[here, client]
        here = client
        client = nodes[SUCC, client]
    return cost + distance[here, 0] if here != 0 else 0.0


@numba.njit(cache=True)
def write_route(
    facts: Floats, nodes: Ints, fleet: Ints, load: Floats, route: int, row: int, start: int, stop: int
) -> None:
    """Make ``nodes[row, start:stop]`` the whole of ``route``; times are left to :func:`refresh_times`."""
    here, total = 0, 0.0
    fleet[FIRST, route] = 0
    for position in range(start, stop):
        client = nodes[row, position]
        nodes[PRED, client] = here
        nodes[ROUTE, client] = route
        if here == 0:
            fleet[FIRST, route] = client
        else:
            nodes[SUCC, here] = client
        total += facts[DEMAND, client]
        here = client
    if here != 0:
        nodes[SUCC, here] = 0
    fleet[LAST, route] = here
    fleet[SIZE, route] = stop - start
    load[route] = total


@numba.njit(cache=True)
def read_route(nodes: Ints, fleet: Ints, route: int, row: int, start: int) -> int:
    """Write the clients of ``route`` to ``nodes[row, start:]``; return where they end."""
    client = fleet[FIRST, route]
    while client != 0:
        nodes[row, start] = client
        start += 1
        client = nodes[SUCC, client]
    return start


@numba.njit(cache=True)
def _touch(nodes: Ints, fleet: Ints, route: int, num_touched: int) -> int:
    """Keep a copy of ``route`` before its first change in this iteration; return the number of routes kept."""
    fleet[IS_TOUCHED, route] = 1
    fleet[TOUCHED, num_touched] = route
    fleet[SAVED_FROM, num_touched + 1] = read_route(nodes, fleet, route, SAVED, fleet[SAVED_FROM, num_touched])
    return num_touched + 1


@numba.njit(cache=True)
def insertion_delta(
    distance: Floats,
    duration: Floats,
    facts: Floats,
    times: Floats,
    timed: bool,
    client: int,
    before: int,
    after: int,
    best: float,
) -> float:
    """What it adds to visit ``client`` between two neighbours on a route; ``best`` when that is no less or too late."""
    delta: float = distance[before, client] + distance[client, after] - distance[before, after]
    if delta >= best:
        return best
    if timed:
        if before == 0:
            begins = facts[READY, 0] + duration[0, client]
        else:
            begins = times[EARLY, before] + facts[SERVICE, before] + duration[before, client]
        begins = max(begins, facts[READY, client])
        if begins > facts[DUE, client]:
            return best
        latest = facts[DUE, 0] if after == 0 else times[LATE, after]
        if begins + facts[SERVICE, client] + duration[client, after] > latest:
            return best
    return delta


@numba.njit(cache=True)
def insert(facts: Floats, nodes: Ints, fleet: Ints, load: Floats, client: int, route: int, before: int) -> None:
    """Visit ``client`` on ``route`` directly after ``before`` (0 for the depot); times are left as they are."""
    after = fleet[FIRST, route] if before == 0 else nodes[SUCC, before]
    nodes[PRED, client] = before
    nodes[SUCC, client] = after
    if before == 0:
        fleet[FIRST, route] = client
    else:
        nodes[SUCC, before] = client
    if after == 0:
        fleet[LAST, route] = client
    else:
        nodes[PRED, after] = client
    nodes[ROUTE, client] = route
    fleet[SIZE, route] += 1
    load[route] += facts[DEMAND, client]


@numba.njit(cache=True)
def _remove_string(
    facts: Floats,
    nodes: Ints,
    fleet: Ints,
    load: Floats,
    random: Words,
    route: int,
    seed: int,
    most: float,
    removed: int,
) -> int:
    """Take a string of clients with ``seed`` among them out of ``route``; return the number removed in all."""
    size = read_route(nodes, fleet, route, SEQUENCE, 0)
    place = 0
    while nodes[SEQUENCE, place] != seed:
        place += 1
    length = min(size, int(1.0 + uniform(random) * min(float(size), most)))
    kept = 0
    if 1 < length < size and uniform(random) < SPLIT_PROBABILITY:
        kept = 1
        while length + kept < size and uniform(random) < SPLIT_GROWTH:
            kept += 1
    span = length + kept
    lowest = max(0, place - span + 1)
    start = lowest + int(uniform(random) * (min(place, size - span) - lowest + 1))
    keep_from = start + span
    if kept > 0:
        keep_from = start + 1 + int(uniform(random) * (length - 1))
    write = start
    for position in range(start, size):
        client = nodes[SEQUENCE, position]
        if position < start + span and not keep_from <= position < keep_from + kept:
            nodes[REMOVED, removed] = client
            nodes[ROUTE, client] = ABSENT
            removed += 1
        else:
            nodes[SEQUENCE, write] = client
            write += 1
    write_route(facts, nodes, fleet, load, route, SEQUENCE, 0, write)
    return removed


@numba.njit(cache=True)
def _ruin(data: Data, state: State, removed: int) -> tuple[int, int, float]:
    """Remove strings from routes near a random client; return clients removed, routes kept, and distance before."""
    distance, duration, facts, neighbours = data.distance, data.duration, data.facts, data.neighbours
    nodes, fleet, load, times, random = state.nodes, state.fleet, state.load, state.times, state.random
    num_clients = nodes.shape[1] - 1
    num_routes = max(1, fleet.shape[1] - 1 - state.counters[NUM_FREE])
    average = (num_clients - state.counters[NUM_ABSENT]) / num_routes
    most = max(1.0, min(float(LONGEST_STRING), average))
    strings = int(1.0 + uniform(random) * (4.0 * AVERAGE_REMOVED / (1.0 + most) - 1.0))
    seed = 1 + int(uniform(random) * num_clients)
    num_touched, before = 0, 0.0
    for position in range(-1, neighbours.shape[1]):
        client = seed if position < 0 else neighbours[seed, position]
        route = nodes[ROUTE, client]
        if route == ABSENT or fleet[IS_TOUCHED, route] != 0:
            continue
        before += route_cost(distance, nodes, fleet, route)
        num_touched = _touch(nodes, fleet, route, num_touched)
        removed = _remove_string(facts, nodes, fleet, load, random, route, client, most, removed)
        if data.timed:
            refresh_times(duration, facts, nodes, fleet, times, route)
        if num_touched >= strings:
            break
    return removed, num_touched, before


@numba.njit(cache=True)
def _sort(distance: Floats, facts: Floats, timed: bool, nodes: Ints, keys: Floats, random: Words, count: int) -> None:
    """Order the removed clients by a rule drawn at random."""
    draw = uniform(random) * (17.0 if timed else 11.0)
    for position in range(count):
        client = nodes[REMOVED, position]
        if draw < 4.0:
            key = uniform(random)
        elif draw < 8.0:
            key = -facts[DEMAND, client]
        elif draw < 10.0:
            key = -distance[0, client]
        elif draw < 11.0:
            key = distance[0, client]
        elif draw < 13.0:
            key = facts[DUE, client] - facts[READY, client]
        elif draw < 15.0:
            key = facts[READY, client]
        else:
            key = -facts[DUE, client]
        slot = position
        while slot > 0 and keys[slot - 1] > key:
            keys[slot] = keys[slot - 1]
            nodes[REMOVED, slot] = nodes[REMOVED, slot - 1]
            slot -= 1
        keys[slot] = key
        nodes[REMOVED, slot] = client


@numba.njit(cache=True)
def _cheapest_near(
    distance: Floats,
    duration: Floats,
    facts: Floats,
    beside: Ints,
    room: float,
    timed: bool,
    nodes: Ints,
    load: Floats,
    times: Floats,
    random: Words,
    client: int,
) -> tuple[float, int, int]:
    """The cheapest place beside one of the clients that suit: what it adds, the route, the client before it."""
    best, best_route, best_before = np.inf, ABSENT, 0
    for position in range(beside.shape[1]):
        near = beside[client, position]
        route = nodes[ROUTE, near]
        if route == ABSENT or load[route] > room:
            continue
        after, before = nodes[SUCC, near], nodes[PRED, near]
        draw = uniform(random)
        if draw >= BLINK:
            delta = insertion_delta(distance, duration, facts, times, timed, client, near, after, best)
            if delta < best:
                best, best_route, best_before = delta, route, near
        if not BLINK <= draw < 2.0 * BLINK:
            delta = insertion_delta(distance, duration, facts, times, timed, client, before, near, best)
            if delta < best:
                best, best_route, best_before = delta, route, before
    return best, best_route, best_before


@numba.njit(cache=True)
def cheapest_anywhere(
    distance: Floats,
    duration: Floats,
    facts: Floats,
    room: float,
    timed: bool,
    nodes: Ints,
    fleet: Ints,
    load: Floats,
    times: Floats,
    client: int,
) -> tuple[float, int, int]:
    """The cheapest place on any route with room: what it adds, the route, the client before it."""
    best, best_route, best_before = np.inf, ABSENT, 0
    for route in range(fleet.shape[1] - 1):
        if fleet[SIZE, route] == 0 or load[route] > room:
            continue
        before, after = 0, fleet[FIRST, route]
        while True:
            delta = insertion_delta(distance, duration, facts, times, timed, client, before, after, best)
            if delta < best:
                best, best_route, best_before = delta, route, before
            if after == 0:
                break
            before = after
            after = nodes[SUCC, after]
    return best, best_route, best_before


@numba.njit(cache=True)
def _empty_route(fleet: Ints, num_free: int, num_touched: int) -> int:
    """An unused route, or ABSENT: one that this iteration emptied, or one from the free stack."""
    for position in range(num_touched):
        if fleet[SIZE, fleet[TOUCHED, position]] == 0:
            return int(fleet[TOUCHED, position])
    for position in range(num_free - 1, -1, -1):
        if fleet[SIZE, fleet[FREE, position]] == 0:
            return int(fleet[FREE, position])
    return ABSENT


@numba.njit(cache=True)
def _recreate(
    data: Data, state: State, count: int, num_touched: int, before: float, seeds: int
) -> tuple[int, int, float]:
    """Insert the removed clients one by one; return how many find no place, routes kept, and distance before.

    Those without a place are listed in ``nodes[SEQUENCE]``.
    """
    distance, duration, facts, beside = data.distance, data.duration, data.facts, data.beside
    nodes, fleet, load, times, random = state.nodes, state.fleet, state.load, state.times, state.random
    timed, num_free = data.timed, state.counters[NUM_FREE]
    num_absent = 0
    for position in range(count):
        client = nodes[REMOVED, position]
        room = data.capacity - facts[DEMAND, client]
        cost, route, place = _cheapest_near(
            distance, duration, facts, beside, room, timed, nodes, load, times, random, client
        )
        if route == ABSENT:
            cost, route, place = cheapest_anywhere(
                distance, duration, facts, room, timed, nodes, fleet, load, times, client
            )
        forced = position < seeds or route == ABSENT
        if room >= 0.0 and (forced or distance[0, client] + distance[client, 0] < cost):
            alone = insertion_delta(distance, duration, facts, times, timed, client, 0, 0, np.inf)
            if alone < np.inf:
                empty = _empty_route(fleet, num_free, num_touched)
                if empty != ABSENT:
                    route, place = empty, 0
        if route == ABSENT:
            nodes[SEQUENCE, num_absent] = client
            num_absent += 1
            continue
        if fleet[IS_TOUCHED, route] == 0:
            before += route_cost(distance, nodes, fleet, route)
            num_touched = _touch(nodes, fleet, route, num_touched)
        insert(facts, nodes, fleet, load, client, route, place)
        if timed:
            refresh_times(duration, facts, nodes, fleet, times, route)
    return num_absent, num_touched, before


@numba.njit(cache=True)
def _undo(data: Data, state: State, count: int, num_touched: int) -> None:
    """Put every route of this iteration back."""
    duration, facts = data.duration, data.facts
    nodes, fleet, load, times = state.nodes, state.fleet, state.load, state.times
    for position in range(count):
        nodes[ROUTE, nodes[REMOVED, position]] = ABSENT
    for position in range(num_touched):
        route = fleet[TOUCHED, position]
        start, stop = fleet[SAVED_FROM, position], fleet[SAVED_FROM, position + 1]
        write_route(facts, nodes, fleet, load, route, SAVED, start, stop)
        fleet[IS_TOUCHED, route] = 0
        if data.timed:
            refresh_times(duration, facts, nodes, fleet, times, route)


@numba.njit(cache=True)
def _keep(nodes: Ints, fleet: Ints, counters: Long, num_absent: int, num_touched: int) -> None:
    """Settle the free stack and the absent clients after an accepted iteration."""
    for position in range(num_absent):
        nodes[MISSING, position] = nodes[SEQUENCE, position]
    counters[NUM_ABSENT] = num_absent
    write = 0
    for position in range(counters[NUM_FREE]):
        route = fleet[FREE, position]
        if fleet[SIZE, route] == 0:
            fleet[FREE, write] = route
            write += 1
    for position in range(num_touched):
        route = fleet[TOUCHED, position]
        fleet[IS_TOUCHED, route] = 0
        if fleet[SIZE, route] == 0 and fleet[SAVED_FROM, position + 1] > fleet[SAVED_FROM, position]:
            fleet[FREE, write] = route
            write += 1
    counters[NUM_FREE] = write


@numba.njit(cache=True)
def _accepts(nodes: Ints, counters: Long, num_absent: int, delta: float, limit: float) -> bool:
    """Fewer absent clients win; then distance below a random threshold; then clients who were left out less often."""
    if num_absent != counters[NUM_ABSENT]:
        return bool(num_absent < counters[NUM_ABSENT])
    if delta < limit or num_absent == 0:
        return delta < limit
    new, old = 0, 0
    for position in range(num_absent):
        new += nodes[MISSES, nodes[SEQUENCE, position]]
        old += nodes[MISSES, nodes[MISSING, position]]
    return new < old


@numba.njit(cache=True)
def remember(nodes: Ints, fleet: Ints, totals: Floats, counters: Long) -> None:
    """Keep the current routes as the best."""
    for client in range(nodes.shape[1]):
        nodes[BEST_SUCC, client] = nodes[SUCC, client]
    for route in range(fleet.shape[1]):
        fleet[BEST_FIRST, route] = fleet[FIRST, route]
    totals[BEST] = totals[CURRENT]
    totals[BEST_ABSENT] = counters[NUM_ABSENT]
    counters[IMPROVED_AT] = counters[ITERATION]


@numba.njit(cache=True)
def recover_best(data: Data, state: State) -> None:
    """Make the best routes the current ones."""
    duration, facts = data.duration, data.facts
    nodes, fleet, load, times, counters = state.nodes, state.fleet, state.load, state.times, state.counters
    nodes[ROUTE, :] = ABSENT
    for route in range(fleet.shape[1] - 1):
        client, count = fleet[BEST_FIRST, route], 0
        while client != 0:
            nodes[SEQUENCE, count] = client
            count += 1
            client = nodes[BEST_SUCC, client]
        write_route(facts, nodes, fleet, load, route, SEQUENCE, 0, count)
        refresh_times(duration, facts, nodes, fleet, times, route)
    counters[NUM_FREE] = 0
    for route in range(fleet.shape[1] - 2, -1, -1):
        if fleet[SIZE, route] == 0:
            fleet[FREE, counters[NUM_FREE]] = route
            counters[NUM_FREE] += 1
    counters[NUM_ABSENT] = 0
    for client in range(1, nodes.shape[1]):
        if nodes[ROUTE, client] == ABSENT:
            nodes[MISSING, counters[NUM_ABSENT]] = client
            counters[NUM_ABSENT] += 1
    state.totals[CURRENT] = state.totals[BEST]


@numba.njit(cache=True)
def improve(data: Data, state: State, iterations: int, temperature: float, cooling: float, opening: float) -> float:
    """Run ``iterations`` of ruin and recreate; return the temperature, multiplied by ``cooling`` after each."""
    distance, facts = data.distance, data.facts
    nodes, fleet, keys, random = state.nodes, state.fleet, state.keys, state.random
    totals, counters = state.totals, state.counters
    for _ in range(iterations):
        counters[ITERATION] += 1
        count = counters[NUM_ABSENT]
        for position in range(count):
            nodes[REMOVED, position] = nodes[MISSING, position]
        count, num_touched, before = _ruin(data, state, count)
        _sort(distance, facts, data.timed, nodes, keys, random, count)
        seeds = 1 if uniform(random) < opening else 0
        num_absent, num_touched, before = _recreate(data, state, count, num_touched, before, seeds)
        delta = -before
        for position in range(num_touched):
            delta += route_cost(distance, nodes, fleet, fleet[TOUCHED, position])
        limit = -temperature * np.log(1.0 - uniform(random))
        accepted = _accepts(nodes, counters, num_absent, delta, limit)
        for position in range(num_absent):
            nodes[MISSES, nodes[SEQUENCE, position]] += 1
        if accepted:
            _keep(nodes, fleet, counters, num_absent, num_touched)
            totals[CURRENT] += delta
            fewer = num_absent < totals[BEST_ABSENT]
            if fewer or (num_absent == totals[BEST_ABSENT] and totals[CURRENT] < totals[BEST] - 1e-7):
                remember(nodes, fleet, totals, counters)
        else:
            _undo(data, state, count, num_touched)
        temperature *= cooling
    return temperature


@numba.njit(cache=True)
def construct(data: Data, state: State, order: Ints, seeds: int) -> None:
    """Insert all absent clients of ``order`` greedily, each at its cheapest place or on a route of its own."""
    distance = data.distance
    nodes, fleet = state.nodes, state.fleet
    count = 0
    for position in range(len(order)):
        if nodes[ROUTE, order[position]] == ABSENT:
            nodes[REMOVED, count] = order[position]
            count += 1
    num_absent, num_touched, _ = _recreate(data, state, count, 0, 0.0, seeds)
    _keep(nodes, fleet, state.counters, num_absent, num_touched)
    total = 0.0
    for route in range(fleet.shape[1] - 1):
        total += route_cost(distance, nodes, fleet, route)
    state.totals[CURRENT] = total
    remember(nodes, fleet, state.totals, state.counters)
