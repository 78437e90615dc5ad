"""Ruin and recreate for rich routing: requests are clients, groups of alternatives, or pairs; what is infeasible waits.

References
----------
Christiaens, J., Vanden Berghe, G. (2020). Slack induction by string removals for vehicle routing problems.
Transportation Science 54(2), 417-433.
"""

from __future__ import annotations

import numba
import numpy as np

from apportion.solvers.rich_routing.moves import retype
from apportion.solvers.rich_routing.recreate import recreate
from apportion.solvers.rich_routing.ruin import list_request, ruin, sort_listed
from apportion.solvers.rich_routing.segments.kernels import COST, NONE, SAVED_COST, Flags, Floats, Ints
from apportion.solvers.rich_routing.state import (
    AT,
    BALANCED,
    BEST,
    CURRENT,
    IS_TIMED,
    ITERATION,
    LISTED,
    MISSES,
    NUM_REQUIRED_ABSENT,
    PRICE,
    REQUIRED,
    SAVED_FROM,
    TOUCHED,
    UNBALANCE,
    WAS_ABSENT,
    Words,
    put_back,
    recount,
    release_marks,
    remember,
    unbalance,
)
from apportion.solvers.rich_routing.timetable.kernels import Timetable
from apportion.solvers.routing.kernels import uniform

RETYPE = 0.15


@numba.njit(cache=True)
def construct(
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
    best: Ints,
    rows: Ints,
    found: Ints,
    values: Floats,  # noqa: ARG001 - all arrays in their order
    random: Words,
    totals: Floats,
    counters: Ints,
    weights: Floats,
    timetable: Timetable,
    order: Ints,
    at_any_price: bool,
) -> None:
    """Insert the requests of ``order`` that are absent, ``at_any_price`` even those that cost more than they pay."""
    rows[SAVED_FROM, 0] = 0
    count = 0
    for position in range(len(order)):
        if requests[order[position], AT] == NONE:
            count = list_request(requests, rows, order[position], count, 1)
    for position in range(count):
        requests[rows[LISTED, position], AT] = NONE
    num_touched = recreate(
        *(ways, seg, fleet, kinds, serves, near, nodes, slots, facts, requests, keys, sequence, rows, found, random),
        *(counters, timetable, count, 0, False, at_any_price),
    )
    num_touched = retype(
        *(ways, seg, fleet, kinds, serves, nodes, slots, facts, sequence, rows, random, timetable),
        *(counters[IS_TIMED], num_touched, False),
    )
    release_marks(slots, rows, num_touched)
    recount(slots, facts, requests, keys, totals, counters, weights)
    remember(slots, sequence, best, totals, counters)


@numba.njit(cache=True)
def improve(
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
    best: Ints,
    rows: Ints,
    found: Ints,
    values: Floats,
    random: Words,
    totals: Floats,
    counters: Ints,
    weights: Floats,
    timetable: Timetable,
    iterations: int,
    temperature: float,
    cooling: float,
    opening: float,
) -> float:
    """Run ``iterations`` of ruin and recreate; return the temperature, multiplied by ``cooling`` after each."""
    several, is_timed = kinds.shape[0] > 1, counters[IS_TIMED]
    for _ in range(iterations):
        counters[ITERATION] += 1
        opens = uniform(random) < opening
        count, num_touched = ruin(
            *(ways, seg, fleet, near, nodes, slots, facts, requests, sequence, rows, random, counters, timetable),
            opens,
        )
        if several and uniform(random) < RETYPE:
            num_touched = retype(
                *(ways, seg, fleet, kinds, serves, nodes, slots, facts, sequence, rows, random, timetable),
                *(is_timed, num_touched, True),
            )
        sort_listed(keys, rows, values, random, count)
        num_touched = recreate(
            *(ways, seg, fleet, kinds, serves, near, nodes, slots, facts, requests, keys, sequence, rows, found),
            *(random, counters, timetable, count, num_touched, opens, False),
        )
        if several:
            num_touched = retype(
                *(ways, seg, fleet, kinds, serves, nodes, slots, facts, sequence, rows, random, timetable),
                *(is_timed, num_touched, False),
            )
        delta, absent, misses = 0.0, counters[NUM_REQUIRED_ABSENT], 0
        for position in range(count):
            request = rows[LISTED, position]
            gone = int(requests[request, AT] == NONE) - rows[WAS_ABSENT, position]
            delta += gone * keys[request, PRICE]
            absent += gone * requests[request, REQUIRED]
            misses += gone * requests[request, MISSES]
            requests[request, MISSES] += int(requests[request, AT] == NONE)
        for number in range(num_touched):
            slot = rows[TOUCHED, number]
            delta += facts[slot, COST] - facts[slot, SAVED_COST]
        unequal = 0.0
        if counters[BALANCED] != 0:
            unequal = unbalance(slots, facts, weights)
            delta += unequal - totals[UNBALANCE]
        accepts = delta < -temperature * np.log(1.0 - uniform(random))
        if absent != counters[NUM_REQUIRED_ABSENT]:
            accepts = absent < counters[NUM_REQUIRED_ABSENT]
        elif absent > 0 and misses < 0:
            accepts = True
        if accepts:
            totals[CURRENT] += delta
            totals[UNBALANCE] = unequal
            counters[NUM_REQUIRED_ABSENT] = absent
            if totals[CURRENT] < totals[BEST] - 1e-7:
                remember(slots, sequence, best, totals, counters)
        else:
            put_back(
                *(ways, seg, fleet, nodes, slots, facts, requests, sequence, rows, timetable, is_timed, num_touched)
            )
        release_marks(slots, rows, num_touched)
        temperature *= cooling
    return temperature
