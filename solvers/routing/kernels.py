"""Routes as chains of clients, compiled: how they are kept, and what takes a client out and puts it back.

A route is a chain of clients that begins and ends at the depot 0. The arrays have a row for each client or route, so
that what is read together lies together; :class:`Data` and :class:`State` say what the columns are. The caller owns
them, so that a run cut into chunks goes the same way as an uncut one.
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

ABSENT = -1
_MULTIPLIER = np.uint64(0x2545F4914F6CDD1D)

SUCC, PRED, ROUTE, MISSES = range(4)
EARLY, LATE, READY, DUE, SERVICE, DEMAND, GO, GO_TIME = range(8)
FIRST, LAST, SIZE, PLACE, IS_CHANGED, IS_STALE = range(6)
SLOTS, CHANGED, STALE, REMOVED, OUT, OUT_AFTER, OUT_ROUTE, LEFT, MISSING, BEST_SUCC, BEST_FIRST = range(11)
NUM_LISTS = 11
CURRENT, BEST, BEST_ABSENT, GAIN, GAIN_OPENING, GAIN_CLOSING = range(6)
NUM_TOTALS = 6
NUM_ABSENT, NUM_USED, NUM_STALE, BLINK_IN, ITERATION, IMPROVED_AT = range(6)
NUM_COUNTERS = 6


class Data(NamedTuple):
    """What does not change.

    ``distance`` and ``duration`` have shape (n + 1, n + 1). ``around`` (n + 1, k): the nearest clients first.
    ``beside`` (n + 1, g): those that may well stand before a client on a route, the best first; ``into`` and
    ``into_time`` (n + 1, g): distance and duration from them. ``metric``: no way through a third location is shorter,
    but for rounding, so that places that are too far away are passed over.
    """

    distance: Floats
    duration: Floats
    around: Ints
    beside: Ints
    into: Floats
    into_time: Floats
    capacity: float
    timed: bool
    metric: bool


class State(NamedTuple):
    """The current routes, the best ones, and work arrays.

    ``nodes`` (n + 1, 4): SUCC, PRED and ROUTE are the chains (ROUTE is ABSENT for clients that no route serves), MISSES
    counts how often a client was left out. ``facts`` (n + 1, 8): EARLY, when service begins, and LATE, when it may
    begin for the rest of the route to be in time; READY, DUE, SERVICE and DEMAND of the instance; GO and GO_TIME, the
    way to the next stop. Row 0 is the depot for every route. ``fleet`` (routes, 6): FIRST, LAST and SIZE, PLACE in the
    list SLOTS, and two flags. ``load`` (routes,). ``lists`` (11, max(n, routes) + 1): SLOTS, the used routes first;
    routes CHANGED in this iteration and STALE ones, whose best chain is another; clients REMOVED, those taken OUT with
    the client they stood AFTER and their ROUTE, LEFT without a place, MISSING; and the best chains. ``keys`` (n + 1,)
    and ``random`` (1,). ``totals``: distance of the CURRENT and the BEST routes, how many clients the best leave
    out, and how often an iteration shortens the routes: any, one that opens a route, one that closes one. ``counters``:
    see the names.
    """

    nodes: Ints
    facts: Floats
    fleet: Ints
    load: Floats
    lists: Ints
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
def link(
    distance: Floats,
    duration: Floats,
    nodes: Ints,
    facts: Floats,
    fleet: Ints,
    load: Floats,
    lists: Ints,
    counters: Long,
    client: int,
    route: int,
    before: int,
) -> None:
    """Visit ``client`` on ``route`` directly after ``before`` (0 for the depot); EARLY and LATE stay as they are."""
    after = fleet[route, FIRST] if before == 0 else nodes[before, SUCC]
    nodes[client, PRED] = before
    nodes[client, SUCC] = after
    nodes[client, ROUTE] = route
    facts[client, GO] = distance[client, after]
    facts[client, GO_TIME] = duration[client, after]
    if before == 0:
        fleet[route, FIRST] = client
    else:
        nodes[before, SUCC] = client
        facts[before, GO] = distance[before, client]
        facts[before, GO_TIME] = duration[before, client]
    if after == 0:
        fleet[route, LAST] = client
    else:
        nodes[after, PRED] = client
    load[route] += facts[client, DEMAND]
    fleet[route, SIZE] += 1
    if fleet[route, SIZE] == 1:
        _swap_slots(fleet, lists, fleet[route, PLACE], counters[NUM_USED])
        counters[NUM_USED] += 1


@numba.njit(cache=True)
def unlink(
    distance: Floats,
    duration: Floats,
    nodes: Ints,
    facts: Floats,
    fleet: Ints,
    load: Floats,
    lists: Ints,
    counters: Long,
    client: int,
) -> float:
    """Take ``client`` from its route; return what that adds to the distance. EARLY and LATE are left as they are."""
    route, before, after = nodes[client, ROUTE], nodes[client, PRED], nodes[client, SUCC]
    nodes[client, ROUTE] = ABSENT
    delta = -facts[client, GO]
    if after == 0:
        fleet[route, LAST] = before
    else:
        nodes[after, PRED] = before
    if before == 0:
        fleet[route, FIRST] = after
        delta -= distance[0, client]
        if after != 0:
            delta += distance[0, after]
    else:
        nodes[before, SUCC] = after
        delta += distance[before, after] - facts[before, GO]
        facts[before, GO] = distance[before, after]
        facts[before, GO_TIME] = duration[before, after]
    load[route] -= facts[client, DEMAND]
    fleet[route, SIZE] -= 1
    if fleet[route, SIZE] == 0:
        load[route] = 0.0
        counters[NUM_USED] -= 1
        _swap_slots(fleet, lists, fleet[route, PLACE], counters[NUM_USED])
    return float(delta)


@numba.njit(cache=True)
def _swap_slots(fleet: Ints, lists: Ints, one: int, other: int) -> None:
    """Exchange two routes in the list that has the used ones first."""
    first, second = lists[SLOTS, one], lists[SLOTS, other]
    lists[SLOTS, one], lists[SLOTS, other] = second, first
    fleet[first, PLACE], fleet[second, PLACE] = other, one


@numba.njit(cache=True)
def sooner(duration: Floats, nodes: Ints, facts: Floats, client: int, anew: bool) -> None:
    """Recompute EARLY from ``client`` on until nothing changes; with ``anew`` to the end of the route."""
    if client == 0:
        return
    before = nodes[client, PRED]
    takes = duration[0, client] if before == 0 else facts[before, GO_TIME]
    leaves = facts[before, EARLY] + facts[before, SERVICE]
    while client != 0:
        begins = max(leaves + takes, facts[client, READY])
        if not anew and begins == facts[client, EARLY]:
            break
        facts[client, EARLY] = begins
        leaves = begins + facts[client, SERVICE]
        takes = facts[client, GO_TIME]
        client = nodes[client, SUCC]


@numba.njit(cache=True)
def later(nodes: Ints, facts: Floats, client: int, anew: bool) -> None:
    """Recompute LATE from ``client`` backwards until nothing changes; with ``anew`` to the start of the route."""
    if client == 0:
        return
    latest = facts[nodes[client, SUCC], LATE]
    while client != 0:
        latest = min(facts[client, DUE], latest - facts[client, GO_TIME] - facts[client, SERVICE])
        if not anew and latest == facts[client, LATE]:
            break
        facts[client, LATE] = latest
        client = nodes[client, PRED]


@numba.njit(cache=True)
def settle(duration: Floats, nodes: Ints, facts: Floats, client: int) -> None:
    """EARLY and LATE of the route after ``client`` was put there."""
    before, after = nodes[client, PRED], nodes[client, SUCC]
    takes = duration[0, client] if before == 0 else facts[before, GO_TIME]
    begins = facts[before, EARLY] + facts[before, SERVICE] + takes
    facts[client, EARLY] = max(begins, facts[client, READY])
    latest = facts[after, LATE] - facts[client, GO_TIME] - facts[client, SERVICE]
    facts[client, LATE] = min(facts[client, DUE], latest)
    sooner(duration, nodes, facts, after, False)
    later(nodes, facts, before, False)


@numba.njit(cache=True)
def route_cost(distance: Floats, nodes: Ints, fleet: Ints, route: int) -> float:
    """The distance of one route; 0 when it is empty."""
    cost, here = 0.0, 0
    client = fleet[route, FIRST]
    while client != 0:
        cost += distance[here, client]
        here = client
        client = nodes[client, SUCC]
    return cost + distance[here, 0] if here != 0 else 0.0


@numba.njit(cache=True)
def total_cost(distance: Floats, nodes: Ints, fleet: Ints, lists: Ints, num_used: int) -> float:
    """The distance of all routes."""
    cost = 0.0
    for slot in range(num_used):
        cost += route_cost(distance, nodes, fleet, lists[SLOTS, slot])
    return cost


@numba.njit(cache=True)
def mark(fleet: Ints, lists: Ints, route: int, num_changed: int) -> int:
    """Note that this iteration changes ``route``; return how many it changes."""
    if fleet[route, IS_CHANGED] != 0:
        return num_changed
    fleet[route, IS_CHANGED] = 1
    lists[CHANGED, num_changed] = route
    return num_changed + 1


@numba.njit(cache=True)
def remember(nodes: Ints, fleet: Ints, lists: Ints, totals: Floats, counters: Long) -> None:
    """Keep the current routes as the best; only those that are stale are copied."""
    for position in range(counters[NUM_STALE]):
        route = lists[STALE, position]
        fleet[route, IS_STALE] = 0
        client = fleet[route, FIRST]
        lists[BEST_FIRST, route] = client
        while client != 0:
            lists[BEST_SUCC, client] = nodes[client, SUCC]
            client = nodes[client, SUCC]
    counters[NUM_STALE] = 0
    totals[BEST] = totals[CURRENT]
    totals[BEST_ABSENT] = counters[NUM_ABSENT]
    counters[IMPROVED_AT] = counters[ITERATION]


@numba.njit(cache=True)
def clear(state: State) -> None:
    """Take every client from its route."""
    nodes, fleet, lists, counters = state.nodes, state.fleet, state.lists, state.counters
    for client in range(nodes.shape[0]):
        nodes[client, ROUTE] = ABSENT
    for route in range(fleet.shape[0]):
        fleet[route, :] = 0
        fleet[route, PLACE] = route
        fleet[route, IS_STALE] = 1
        lists[SLOTS, route] = route
        lists[STALE, route] = route
        state.load[route] = 0.0
    counters[NUM_STALE] = fleet.shape[0]
    counters[NUM_USED] = 0


@numba.njit(cache=True)
def append(data: Data, state: State, client: int, route: int) -> None:
    """Visit ``client`` last on ``route``; EARLY and LATE are left as they are."""
    before = state.fleet[route, LAST] if state.fleet[route, SIZE] > 0 else 0
    nodes, facts, fleet, load, lists = state.nodes, state.facts, state.fleet, state.load, state.lists
    link(data.distance, data.duration, nodes, facts, fleet, load, lists, state.counters, client, route, before)


@numba.njit(cache=True)
def count_absent(data: Data, state: State) -> None:
    """After routes were written: all times, who is missing, and the total distance."""
    nodes, facts, fleet, lists, counters = state.nodes, state.facts, state.fleet, state.lists, state.counters
    for slot in range(counters[NUM_USED]):
        route = lists[SLOTS, slot]
        sooner(data.duration, nodes, facts, fleet[route, FIRST], True)
        later(nodes, facts, fleet[route, LAST], True)
    counters[NUM_ABSENT] = 0
    for client in range(1, nodes.shape[0]):
        if nodes[client, ROUTE] == ABSENT:
            lists[MISSING, counters[NUM_ABSENT]] = client
            counters[NUM_ABSENT] += 1
    state.totals[CURRENT] = total_cost(data.distance, nodes, fleet, lists, counters[NUM_USED])


@numba.njit(cache=True)
def recover_best(data: Data, state: State) -> None:
    """Make the best routes the current ones."""
    lists = state.lists
    clear(state)
    for route in range(state.fleet.shape[0]):
        client = lists[BEST_FIRST, route]
        while client != 0:
            append(data, state, client, route)
            client = lists[BEST_SUCC, client]
    count_absent(data, state)
    remember(state.nodes, state.fleet, lists, state.totals, state.counters)
