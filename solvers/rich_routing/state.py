"""The arrays of a run: what does not change, the routes, the best routes, and scratch.

All whole numbers are of 64 bits and every array is passed by itself: one type each, so that no kernel is compiled
twice, and handing named tuples from kernel to kernel costs more than most kernels.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from apportion.solvers.rich_routing.segments.kernels import (
    BEST_LENGTH,
    CLOCKED,
    COST,
    DISTANCE,
    FIRST_SLOT,
    FIXED,
    IS_TOUCHED,
    KIND,
    LAST_SLOT,
    LENGTH,
    NONE,
    PER_DISTANCE,
    REQUEST,
    ROUTE,
    SAVED_COST,
    TIME,
    Flags,
    Floats,
    Ints,
    refresh,
)
from apportion.solvers.rich_routing.timetable.kernels import Timetable, simulate

Words = NDArray[np.uint64]

COUNT, MODE, REQUIRED, AT, MISSES, FIRST_MEMBER = range(6)
"""Columns of ``requests``; AT is the member that is served, or NONE, MISSES how often nobody was, and from
FIRST_MEMBER on come the members."""
ALONE, ALTERNATIVES, PAIR = range(3)
PRICE = 0
"""Column of ``keys``: of leaving a request out. The others are what insertion is ordered by."""
CURRENT, BEST, UNBALANCE = range(3)
ITERATION, NUM_REQUIRED_ABSENT, BEST_REQUIRED_ABSENT, STAMPS, NUM_RELOADS, NUM_DEPOTS, IS_TIMED, BALANCED = range(8)
IN_HAND = -2
LISTED, WAS_ABSENT, SAVED, SAVED_FROM, TOUCHED, SCRATCH, TRIAL = range(7)


class Arrays(NamedTuple):
    """Everything a kernel may need, in the order in which :func:`improve` takes it.

    ``ways`` (layers, n, n), ``seg`` (3 nodes + scratch, columns), ``fleet`` and ``kinds`` (types, columns), ``serves``
    (types, n), ``near`` (n, k), ``nodes``, ``slots``, ``facts`` and ``requests`` (rows of columns named above),
    ``keys`` (requests, columns), ``sequence`` and ``best`` (slots, places), ``rows`` (7, enough), ``found`` (8,),
    ``values`` (enough,), ``random`` (1,), ``totals``, ``counters``, ``weights`` (balance: longest, range, measure).
    """

    ways: Floats
    seg: Floats
    fleet: Floats
    kinds: Ints
    serves: Flags
    near: Ints
    nodes: Ints
    slots: Ints
    facts: Floats
    requests: Ints
    keys: Floats
    sequence: Ints
    best: Ints
    rows: Ints
    found: Ints
    values: Floats
    random: Words
    totals: Floats
    counters: Ints
    weights: Floats
    timetable: Timetable


@numba.njit(cache=True)
def renew(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    sequence: Ints,
    rows: Ints,
    timetable: Timetable,
    is_timed: int,
    slot: int,
) -> bool:
    """Recompute the segments and the cost of a route; False when it breaks a rule."""
    if not refresh(ways, seg, fleet, nodes, slots, facts, sequence, slot):
        return False
    length = slots[slot, LENGTH]
    if is_timed != 0 and length > 0:
        for place in range(length):
            rows[TRIAL, place] = sequence[slot, place]
        clocked = simulate(ways, seg, fleet, nodes, slots, timetable, rows, TRIAL, length, slot)
        if not np.isfinite(clocked):
            return False
        kind = slots[slot, KIND]
        facts[slot, TIME] = timetable.out[1]
        facts[slot, CLOCKED] = clocked
        facts[slot, COST] = fleet[kind, FIXED] + fleet[kind, PER_DISTANCE] * facts[slot, DISTANCE] + clocked
    return True


@numba.njit(cache=True)
def free_slot(kinds: Ints, slots: Ints, kind: int) -> int:
    """A vehicle of ``kind`` without a route, or NONE."""
    for slot in range(kinds[kind, FIRST_SLOT], kinds[kind, LAST_SLOT]):
        if slots[slot, LENGTH] == 0:
            return slot
    return NONE


@numba.njit(cache=True)
def move_to(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    sequence: Ints,
    rows: Ints,
    timetable: Timetable,
    is_timed: int,
    slot: int,
    other: int,
) -> bool:
    """Let the vehicle of an empty slot drive the whole route of another; undone and False when it cannot."""
    length = slots[slot, LENGTH]
    for position in range(length):
        sequence[other, position] = sequence[slot, position]
    slots[other, LENGTH] = length
    slots[slot, LENGTH] = 0
    able = renew(ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, other)
    if not able:
        slots[other, LENGTH] = 0
        slots[slot, LENGTH] = length
        renew(ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, other)
    renew(ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, slot)
    return able


@numba.njit(cache=True)
def touch(slots: Ints, facts: Floats, sequence: Ints, rows: Ints, slot: int, num_touched: int) -> int:
    """Keep a copy of a route before its first change in this iteration; return the number of routes kept."""
    if slots[slot, IS_TOUCHED] != 0:
        return num_touched
    slots[slot, IS_TOUCHED] = 1
    rows[TOUCHED, num_touched] = slot
    start = rows[SAVED_FROM, num_touched]
    for place in range(slots[slot, LENGTH]):
        rows[SAVED, start + place] = sequence[slot, place]
    rows[SAVED_FROM, num_touched + 1] = start + slots[slot, LENGTH]
    facts[slot, SAVED_COST] = facts[slot, COST]
    return num_touched + 1


@numba.njit(cache=True)
def put_back(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    requests: Ints,
    sequence: Ints,
    rows: Ints,
    timetable: Timetable,
    is_timed: int,
    num_touched: int,
) -> None:
    """Restore every touched route."""
    num_locations = ways.shape[1]
    for number in range(num_touched):
        slot = rows[TOUCHED, number]
        for place in range(slots[slot, LENGTH]):
            node = sequence[slot, place]
            nodes[node, ROUTE] = NONE
            if node < num_locations and nodes[node, REQUEST] != NONE:
                requests[nodes[node, REQUEST], AT] = NONE
    for number in range(num_touched):
        slot = rows[TOUCHED, number]
        start, stop = rows[SAVED_FROM, number], rows[SAVED_FROM, number + 1]
        slots[slot, LENGTH] = stop - start
        for place in range(stop - start):
            node = rows[SAVED, start + place]
            sequence[slot, place] = node
            if node < num_locations and nodes[node, REQUEST] != NONE:
                requests[nodes[node, REQUEST], AT] = node
        renew(ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, slot)


@numba.njit(cache=True)
def release_marks(slots: Ints, rows: Ints, num_touched: int) -> None:
    """End an iteration."""
    for number in range(num_touched):
        slots[rows[TOUCHED, number], IS_TOUCHED] = 0


@numba.njit(cache=True)
def unbalance(slots: Ints, facts: Floats, weights: Floats) -> float:
    """What the routes in use cost for being unequal; ``weights``: of the longest, of the range, and the fact."""
    longest, shortest, column = 0.0, np.inf, int(weights[2])
    for slot in range(slots.shape[0]):
        if slots[slot, LENGTH] > 0:
            value = float(slots[slot, LENGTH]) if column < 0 else facts[slot, column]
            longest, shortest = max(longest, value), min(shortest, value)
    if longest == 0.0:
        return 0.0
    return weights[0] * longest + weights[1] * (longest - shortest)


@numba.njit(cache=True)
def remember(slots: Ints, sequence: Ints, best: Ints, totals: Floats, counters: Ints) -> None:
    """Keep the current routes as the best."""
    for slot in range(slots.shape[0]):
        slots[slot, BEST_LENGTH] = slots[slot, LENGTH]
        for place in range(slots[slot, LENGTH]):
            best[slot, place] = sequence[slot, place]
    totals[BEST] = totals[CURRENT]
    counters[BEST_REQUIRED_ABSENT] = counters[NUM_REQUIRED_ABSENT]


@numba.njit(cache=True)
def recount(
    slots: Ints, facts: Floats, requests: Ints, keys: Floats, totals: Floats, counters: Ints, weights: Floats
) -> None:
    """Add up the current cost anew: routes, their unbalance, and the price of who is absent."""
    total, absent = 0.0, 0
    for slot in range(slots.shape[0]):
        total += facts[slot, COST]
    for request in range(requests.shape[0]):
        if requests[request, AT] == NONE:
            total += keys[request, PRICE]
            absent += requests[request, REQUIRED]
    totals[UNBALANCE] = unbalance(slots, facts, weights) if counters[BALANCED] != 0 else 0.0
    totals[CURRENT] = total + totals[UNBALANCE]
    counters[NUM_REQUIRED_ABSENT] = absent


@numba.njit(cache=True)
def recover_best(
    ways: Floats,
    seg: Floats,
    fleet: Floats,
    nodes: Ints,
    slots: Ints,
    facts: Floats,
    requests: Ints,
    sequence: Ints,
    best: Ints,
    rows: Ints,
    timetable: Timetable,
    is_timed: int,
) -> bool:
    """Make the best routes the current ones; False when one of them breaks a rule. The cost is left to a recount."""
    num_locations, feasible = ways.shape[1], True
    nodes[:, ROUTE] = NONE
    requests[:, AT] = NONE
    for slot in range(slots.shape[0]):
        slots[slot, LENGTH] = slots[slot, BEST_LENGTH]
        for place in range(slots[slot, BEST_LENGTH]):
            node = best[slot, place]
            sequence[slot, place] = node
            if node < num_locations and nodes[node, REQUEST] != NONE:
                requests[nodes[node, REQUEST], AT] = node
        feasible &= renew(ways, seg, fleet, nodes, slots, facts, sequence, rows, timetable, is_timed, slot)
    return feasible
