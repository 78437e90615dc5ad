"""Compiled parts of the rows: coefficients of routes, and separation of capacity cuts and subset-row cuts.

References
----------
Augerat, P., Belenguer, J. M., Benavent, E., Corberan, A., Naddef, D. (1998). Separating capacity constraints in the
CVRP using tabu search. European Journal of Operational Research 106(2-3), 546-557.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]


@numba.njit(cache=True)
def grow_cuts(
    starts: Ints,
    ends: Ints,
    values: Floats,
    demand: Floats,
    capacity: float,
    most_load: float,
    least_violation: float,
    members: Flags,
    violations: Floats,
    joined: Floats,
    inside: Flags,
) -> int:
    """From every client, grow a set by the client most joined to it; keep the most violated set of each growth.

    ``starts``, ``ends``, ``values`` are the support graph without the depot, by client (rows of a symmetric sparse
    matrix; index 0 is the depot and has no entries). A set S is violated by ``x(E(S)) - |S| + ceil(q(S) / Q)``.
    ``members`` (n + 1, n + 1) and ``violations`` (n + 1,) receive the sets; ``joined``, ``inside`` are scratch.
    Return how many sets there are.
    """
    size = len(demand)
    found = 0
    for seed in range(1, size):
        for client in range(size):
            joined[client] = 0.0
            inside[client] = False
        load, within, count = 0.0, 0.0, 0
        best, best_count = least_violation, 0
        client = seed
        while client != 0:
            within += joined[client]
            inside[client] = True
            load += demand[client]
            count += 1
            violation = within - count + np.ceil(load / capacity - 1e-9)
            if violation > best:
                best, best_count = violation, count
                for other in range(size):
                    members[found, other] = inside[other]
            if load > most_load:
                break
            for entry in range(starts[client], starts[client + 1]):
                joined[ends[entry]] += values[entry]
            client, most = 0, 1e-9
            for other in range(1, size):
                if not inside[other] and joined[other] > most:
                    client, most = other, joined[other]
        if best_count > 1:
            violations[found] = best
            found += 1
    return found


@numba.njit(cache=True)
def entries(flat: Ints, starts: Ints, inside: Flags, coefficients: Floats) -> None:
    """How often each route enters each set: ``coefficients`` (routes, sets); ``flat[starts[r]:starts[r + 1]]``."""
    for route in range(len(starts) - 1):
        for row in range(len(inside)):
            before, count = False, 0
            for place in range(starts[route], starts[route + 1]):
                now = inside[row, flat[place]]
                if now and not before:
                    count += 1
                before = now
            coefficients[route, row] = count


@numba.njit(cache=True)
def second_visits(flat: Ints, starts: Ints, inside: Flags, memory: Flags, coefficients: Floats) -> None:
    """The coefficients of routes in subset-row cuts: every second visit to the set without leaving the memory."""
    for route in range(len(starts) - 1):
        for row in range(len(inside)):
            odd, count = False, 0
            for place in range(starts[route], starts[route + 1]):
                client = flat[place]
                if not memory[row, client]:
                    odd = False
                elif inside[row, client]:
                    count += odd
                    odd = not odd
            coefficients[route, row] = count


@numba.njit(cache=True)
def violated_triples(visits: Ints, values: Floats, together: Floats, least: float, found: Ints, by: Floats) -> int:
    """Triples of clients that more than one route serves twice: into ``found`` (rows, 3) and ``by``; return how many.

    ``visits`` (columns, n + 1) counts; ``together`` (n + 1, n + 1) is how much of the columns sees both clients, on
    the diagonal how much sees one twice.
    """
    size = visits.shape[1]
    count = 0
    for one in range(1, size):
        for two in range(one + 1, size):
            base = together[one, two] + together[one, one] + together[two, two]
            for three in range(two + 1, size):
                most = base + together[one, three] + together[two, three] + together[three, three]
                if most <= 1.0 + least:
                    continue
                total = 0.0
                for column in range(len(visits)):
                    seen = visits[column, one] + visits[column, two] + visits[column, three]
                    total += values[column] * (seen // 2)
                if total > 1.0 + least and count < len(found):
                    found[count, 0], found[count, 1], found[count, 2] = one, two, three
                    by[count] = total - 1.0
                    count += 1
    return count


@numba.njit(cache=True)
def improve_sets(used: Floats, demand: Floats, capacity: float, sets: Flags) -> None:
    """Add and drop single clients while that makes a set lack more vehicles; ``sets`` (rows, n + 1) change in place."""
    size = len(demand)
    joined = np.zeros(size)
    for row in range(len(sets)):
        load = 0.0
        for client in range(size):
            joined[client] = 0.0
        for client in range(1, size):
            if sets[row, client]:
                load += demand[client]
                for other in range(size):
                    joined[other] += used[client, other]
        for _ in range(size):
            best, chosen = 1e-6, 0
            now = np.ceil(load / capacity - 1e-9)
            for client in range(1, size):
                degree = 2.0
                if sets[row, client]:
                    then = np.ceil((load - demand[client]) / capacity - 1e-9)
                    change = (then - now) + degree / 2.0 - joined[client]
                else:
                    then = np.ceil((load + demand[client]) / capacity - 1e-9)
                    change = (then - now) - degree / 2.0 + joined[client]
                if change > best:
                    best, chosen = change, client
            if chosen == 0:
                break
            sign = -1.0 if sets[row, chosen] else 1.0
            sets[row, chosen] = not sets[row, chosen]
            load += sign * demand[chosen]
            for other in range(size):
                joined[other] += sign * used[chosen, other]
