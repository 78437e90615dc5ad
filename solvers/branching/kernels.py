"""Numba kernels of the tree: enter the box of a node, and fix columns by their reduced costs."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from apportion.solvers.heuristics.arrays import Problem
from apportion.solvers.heuristics.propagation.kernels import CONFLICT, STOPPED, Domain, propagate, tighten, undo

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NEGLIGIBLE = 1e-6
_WHOLE = 1e-6


@numba.njit(cache=True, nogil=True)
def enter(
    problem: Problem, domain: Domain, columns: Ints, lower: Floats, upper: Floats, fresh: bool, effort: int
) -> int:
    """Put ``columns`` into ``lower..upper`` (intersected with the box) and propagate; the outcome of propagation.

    ``fresh`` takes everything back first, to the box at the start of the trail.
    """
    if fresh:
        undo(problem, domain, 0)
    for k in range(len(columns)):
        j = columns[k]
        low = max(lower[k], domain.lower[j])
        high = min(upper[k], domain.upper[j])
        if low > high:
            return CONFLICT
        if (low > domain.lower[j] or high < domain.upper[j]) and not tighten(problem, domain, j, low, high):
            return STOPPED
    return int(propagate(problem, domain, effort))


@numba.njit(cache=True, nogil=True)
def fix_by_costs(
    columns: Ints,
    reduced_costs: Floats,
    slack: float,
    lower: Floats,
    upper: Floats,
    new_lower: Floats,
    new_upper: Floats,
) -> int:
    """Bounds that a point must keep to cost at most ``slack`` more than the linear program; how many are tighter.

    ``lower`` and ``upper`` have shape (n,), ``new_lower`` and ``new_upper`` one entry per entry of ``columns``, all of
    them integer. A column with a positive reduced cost sits at its lower bound (Nemhauser and Wolsey 1988, II.5).
    """
    found = 0
    for k in range(len(columns)):
        j = columns[k]
        new_lower[k], new_upper[k] = lower[j], upper[j]
        d = reduced_costs[j]
        if lower[j] == upper[j] or abs(d) <= _NEGLIGIBLE or np.isinf(lower[j] if d > 0.0 else upper[j]):
            continue
        steps = np.floor(slack / abs(d) + _WHOLE)
        if d > 0.0 and lower[j] + steps < upper[j]:
            new_upper[k] = lower[j] + steps
            found += 1
        elif d < 0.0 and upper[j] - steps > lower[j]:
            new_lower[k] = upper[j] - steps
            found += 1
    return found
