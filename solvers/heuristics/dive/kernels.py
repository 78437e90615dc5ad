"""Numba kernel: fix and propagate with limited backtracking.

The columns are fixed one after the other in a given order at the value nearest a preference, each time followed by
propagation. A conflict takes the last decision back and excludes its value; when all sides fail the search goes back
to the decision before (Salvagnin, Roberti and Fischetti 2025 dive likewise and repair what is left).
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from apportion.solvers.heuristics.arrays import Ints, Problem
from apportion.solvers.heuristics.propagation.kernels import (
    CONFLICT,
    CONSISTENT,
    EFFORT,
    STOPPED,
    TRAIL,
    Domain,
    propagate,
    tighten,
    undo,
)

Floats = NDArray[np.float64]


class Decisions(NamedTuple):
    """The open decisions, deepest last: where the trail stood, the place in the order, the value, sides untried."""

    trail: Ints
    place: Ints
    value: Floats
    left: Ints


@numba.njit(cache=True, nogil=True)
def nearest(lower: float, upper: float, preferred: float, integer: bool) -> float:
    """The value of the box nearest ``preferred``, whole for an integer."""
    value = preferred
    if np.isnan(value):
        value = 0.0
    if integer:
        value = np.floor(value + 0.5)
    return min(max(value, lower), upper)


@numba.njit(cache=True, nogil=True)
def _assign(problem: Problem, domain: Domain, column: int, lower: float, upper: float, effort: int) -> int:
    if lower > upper:
        return CONFLICT
    if not tighten(problem, domain, column, lower, upper):
        return STOPPED
    return int(propagate(problem, domain, effort))


@numba.njit(cache=True, nogil=True)
def _side(domain: Domain, column: int, value: float, left: int) -> tuple[float, float]:
    """One side of ``value`` in the bounds of ``column``: the larger one first, the other when none is ``left``."""
    low, high = domain.lower[column], domain.upper[column]
    if value <= low:
        return value + 1.0, high
    if value >= high:
        return low, value - 1.0
    above = high - value > value - low
    return (value + 1.0, high) if above == (left > 0) else (low, value - 1.0)


@numba.njit(cache=True, nogil=True)
def dive(
    problem: Problem,
    domain: Domain,
    decisions: Decisions,
    order: Ints,
    preferred: Floats,
    backtracks: int,
    effort: int,
) -> int:
    """Fix the columns of ``order``; CONSISTENT when all are fixed and propagated.

    CONFLICT when no point of the box is feasible, STOPPED when ``backtracks``, ``effort`` or the room for decisions ran
    out: the domain then holds the part that is fixed.
    """
    limit = domain.marks[EFFORT] + effort
    depth = 0
    place = 0
    outcome = propagate(problem, domain, effort)
    if outcome != CONSISTENT:
        return int(outcome)
    while place < len(order):
        j = order[place]
        low, high = domain.lower[j], domain.upper[j]
        if low >= high:
            place += 1
            continue
        if domain.marks[EFFORT] >= limit or depth == len(decisions.trail):
            return STOPPED
        decisions.trail[depth] = domain.marks[TRAIL]
        decisions.place[depth] = place
        value = nearest(low, high, preferred[j], True)
        decisions.value[depth] = value
        decisions.left[depth] = int(value > low) + int(value < high)
        depth += 1
        outcome = _assign(problem, domain, j, value, value, limit - domain.marks[EFFORT])
        while outcome == CONFLICT:
            backtracks -= 1
            while depth > 0 and decisions.left[depth - 1] == 0:
                depth -= 1
            if depth == 0:
                return CONFLICT
            undo(problem, domain, decisions.trail[depth - 1])
            if backtracks < 0:
                return STOPPED
            place = decisions.place[depth - 1]
            decisions.left[depth - 1] -= 1
            j = order[place]
            low, high = _side(domain, j, decisions.value[depth - 1], decisions.left[depth - 1])
            outcome = _assign(problem, domain, j, low, high, limit - domain.marks[EFFORT])
        if outcome == STOPPED:
            return STOPPED
    return CONSISTENT
