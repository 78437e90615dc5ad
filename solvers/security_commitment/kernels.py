"""The screening of all flows after all outages."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@numba.njit(cache=True)
def worst_cases(
    flow: Floats,
    lost: Floats,
    share: Floats,
    case_start: Ints,
    limit: Floats,
    emergency_limit: Floats,
    after: Floats,
    excess: Floats,
    case: Ints,
) -> None:
    """Find the worst case of each watched line in each period.

    Parameters
    ----------
    flow
        Flow with all lines in place, MW, shape (periods, watched).
    lost
        Flow on the line of each outage entry, MW, shape (periods, entries).
    share
        What a watched line takes over of it, shape (entries, watched).
    case_start
        Entries of contingency ``c`` are ``case_start[c]:case_start[c + 1]``.
    limit, emergency_limit
        MW, shape (periods, watched).
    after
        Work array, shape (watched,).
    excess, case
        Filled in: MW above the limit (negative below), and the contingency, -1 for none; shape (periods, watched).
    """
    periods, watched = flow.shape
    for t in range(periods):
        for m in range(watched):
            excess[t, m] = abs(flow[t, m]) - limit[t, m]
            case[t, m] = -1
        for c in range(len(case_start) - 1):
            begin, end = case_start[c], case_start[c + 1]
            moved = lost[t, begin]
            for m in range(watched):
                after[m] = flow[t, m] + share[begin, m] * moved
            for e in range(begin + 1, end):
                moved = lost[t, e]
                for m in range(watched):
                    after[m] += share[e, m] * moved
            for m in range(watched):
                over = abs(after[m]) - emergency_limit[t, m]
                if over > excess[t, m]:
                    excess[t, m] = over
                    case[t, m] = c
