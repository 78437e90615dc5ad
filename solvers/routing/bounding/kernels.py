"""Compiled parts of the bounds: separation of rounded capacity cuts, and labelling over ng-routes.

References
----------
Augerat, P., Belenguer, J. M., Benavent, E., Corberan, A., Naddef, D. (1998). Separating capacity constraints in the
CVRP using tabu search. European Journal of Operational Research 106(2-3), 546-557.

Baldacci, R., Mingozzi, A., Roberti, R. (2011). New route relaxation and pricing strategies for the vehicle routing
problem. Operations Research 59(5), 1269-1283.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]
Long = NDArray[np.int64]

NONE = -1
NODE, MASK, PARENT, NEXT_AT_NODE, NEXT_IN_BUCKET, DEAD = range(6)
TIME, LOAD, COST = range(3)
NUM_LABELS, BUCKET, POSITION, NUM_EXTENDED = range(4)
FINISHED, PAUSED, FULL = range(3)
BY_TIME, BY_LOAD, EXACT = range(3)


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
def _dominated(
    labels: Ints,
    amounts: Floats,
    at_node: Ints,
    node: int,
    time: float,
    load: float,
    cost: float,
    mask: int,
    care: int,
) -> bool:
    """Whether a label at ``node`` is no better than a known one; known ones that it beats die."""
    before, label = NONE, at_node[node]
    while label != NONE:
        after = labels[NEXT_AT_NODE, label]
        sooner = time - amounts[TIME, label]
        lighter = load - amounts[LOAD, label] if care > BY_TIME else 0.0
        known = labels[MASK, label] if care == EXACT else mask
        cheaper = cost - amounts[COST, label]
        if sooner >= 0.0 and lighter >= 0.0 and cheaper >= 0.0 and known & mask == known:
            return True
        if sooner <= 0.0 and lighter <= 0.0 and cheaper <= 0.0 and known & mask == mask:
            labels[DEAD, label] = 1
            if before == NONE:
                at_node[node] = after
            else:
                labels[NEXT_AT_NODE, before] = after
        else:
            before = label
        label = after
    return False


@numba.njit(cache=True)
def extend_labels(
    starts: Ints,
    ends: Ints,
    reduced: Floats,
    takes: Floats,
    ready: Floats,
    due: Floats,
    demand: Floats,
    capacity: float,
    near: Ints,
    near_position: NDArray[np.int8],
    care: int,
    labels: Ints,
    amounts: Floats,
    at_node: Ints,
    bucket_first: Ints,
    bucket_last: Ints,
    width: float,
    best_cost: Floats,
    best_label: Ints,
    progress: Long,
    most_extended: int,
) -> int:
    """Extend labels in order of time until none is left, ``most_extended`` are done, or the room for labels is full.

    Return FINISHED, PAUSED (call again to go on) or FULL. ``starts`` and ``ends`` list the arcs from each location to
    clients. ``near`` (n + 1, g) holds the ng-set of each client, itself first, and ``near_position`` (n + 1, n + 1)
    the place of one client in the set of another, or -1. ``care`` says what dominance compares: BY_TIME time and cost,
    BY_LOAD also load, EXACT also the clients seen; the first two lose routes. ``best_cost`` and ``best_label``
    (n + 1,) receive the cheapest complete route by last client.
    """
    home_closes = due[0]
    extended = 0
    while progress[BUCKET] < len(bucket_first):
        bucket = progress[BUCKET]
        label = bucket_first[bucket] if progress[POSITION] == NONE else labels[NEXT_IN_BUCKET, progress[POSITION]]
        if label == NONE:
            progress[BUCKET] += 1
            progress[POSITION] = NONE
            continue
        progress[POSITION] = label
        if labels[DEAD, label] != 0:
            continue
        if extended >= most_extended:
            progress[POSITION] = NONE
            bucket_first[bucket] = label
            return PAUSED
        extended += 1
        progress[NUM_EXTENDED] += 1
        here, mask = labels[NODE, label], labels[MASK, label]
        for arc in range(starts[here], starts[here + 1]):
            there = ends[arc]
            place = near_position[here, there]
            if here != 0 and place >= 0 and (mask >> place) & 1:
                continue
            load = amounts[LOAD, label] + demand[there]
            if load > capacity:
                continue
            time = max(amounts[TIME, label] + takes[here, there], ready[there])
            if time > due[there]:
                continue
            cost = amounts[COST, label] + reduced[here, there]
            seen = 1
            if here != 0:
                for bit in range(near.shape[1]):
                    if (mask >> bit) & 1:
                        moved = near_position[there, near[here, bit]]
                        if moved > 0:
                            seen |= 1 << moved
            if _dominated(labels, amounts, at_node, there, time, load, cost, seen, care):
                continue
            new = progress[NUM_LABELS]
            if new >= labels.shape[1]:
                return FULL
            progress[NUM_LABELS] += 1
            labels[NODE, new] = there
            labels[MASK, new] = seen
            labels[PARENT, new] = label
            labels[DEAD, new] = 0
            labels[NEXT_AT_NODE, new] = at_node[there]
            at_node[there] = new
            amounts[TIME, new] = time
            amounts[LOAD, new] = load
            amounts[COST, new] = cost
            into = min(len(bucket_first) - 1, max(bucket, int((time - ready[0]) / width)))
            labels[NEXT_IN_BUCKET, new] = NONE
            if bucket_first[into] == NONE:
                bucket_first[into] = new
            else:
                labels[NEXT_IN_BUCKET, bucket_last[into]] = new
            bucket_last[into] = new
            total = cost + reduced[there, 0]
            if total < best_cost[there] and time + takes[there, 0] <= home_closes:
                best_cost[there] = total
                best_label[there] = new
    return FINISHED


@numba.njit(cache=True)
def trace_back(labels: Ints, label: int, into: Ints) -> int:
    """Write the clients of the route that ends in ``label`` to ``into``, last first; return how many."""
    count = 0
    while labels[NODE, label] != 0:
        into[count] = labels[NODE, label]
        count += 1
        label = labels[PARENT, label]
    return count
