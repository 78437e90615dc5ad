"""Routes to begin with: merge pairs of routes by how much that saves, compiled.

References
----------
Clarke, G., Wright, J. W. (1964). Scheduling of vehicles from a central depot to a number of delivery points. Operations
Research 12(4), 568-581.
"""

from __future__ import annotations

import numba

from apportion.solvers.routing.kernels import (
    EARLY,
    FIRST,
    LAST,
    LATE,
    PRED,
    ROUTE,
    SERVICE,
    SIZE,
    SUCC,
    Data,
    Ints,
    State,
    append,
    later,
    link,
    sooner,
    unlink,
)


@numba.njit(cache=True)
def _move(data: Data, state: State, client: int, route: int, before: int) -> None:
    nodes, facts, fleet, load, lists = state.nodes, state.facts, state.fleet, state.load, state.lists
    distance, duration, counters = data.distance, data.duration, state.counters
    unlink(distance, duration, nodes, facts, fleet, load, lists, counters, client)
    link(distance, duration, nodes, facts, fleet, load, lists, counters, client, route, before)


@numba.njit(cache=True)
def _reverse(data: Data, state: State, route: int) -> None:
    """Drive ``route`` the other way round: each client but the first is moved to the front."""
    first = state.fleet[route, FIRST]
    while state.nodes[first, SUCC] != 0:
        _move(data, state, state.nodes[first, SUCC], route, 0)


@numba.njit(cache=True)
def merge(data: Data, state: State, tails: Ints, heads: Ints, both_ways: bool) -> None:
    """Give every client a route of its own, then let ``heads[k]`` follow ``tails[k]`` where that is possible.

    ``state`` must be new and have a route for every client. With ``both_ways`` routes are turned round where it takes
    that; this needs symmetric distances and no time windows.
    """
    nodes, facts, fleet, load = state.nodes, state.facts, state.fleet, state.load
    for client in range(1, nodes.shape[0]):
        append(data, state, client, client - 1)
        facts[client, EARLY] = facts[0, EARLY] + data.duration[0, client]
        sooner(data.duration, nodes, facts, client, True)
        later(nodes, facts, client, True)
    for pair in range(len(tails)):
        tail, head = tails[pair], heads[pair]
        front, back = nodes[tail, ROUTE], nodes[head, ROUTE]
        if front == back or load[front] + load[back] > data.capacity:
            continue
        if nodes[tail, SUCC] != 0 and not (both_ways and nodes[tail, PRED] == 0):
            continue
        if nodes[head, PRED] != 0 and not (both_ways and nodes[head, SUCC] == 0):
            continue
        if data.timed:
            begins = facts[tail, EARLY] + facts[tail, SERVICE] + data.duration[tail, head]
            if begins > facts[head, LATE]:
                continue
        if nodes[tail, SUCC] != 0:
            _reverse(data, state, front)
        if nodes[head, PRED] != 0:
            _reverse(data, state, back)
        last = tail
        while fleet[back, SIZE] > 0:
            client = fleet[back, FIRST]
            _move(data, state, client, front, last)
            last = client
        if data.timed:
            sooner(data.duration, nodes, facts, head, True)
            later(nodes, facts, fleet[front, LAST], True)
