"""Numba kernels: activity-based bound propagation with a queue of rows and a trail to take it back.

A row ``lower <= a.x <= upper`` whose least possible activity leaves little room bounds each of its columns (Achterberg
2007, section 7.1). Activities are kept up to date at each bound change and recomputed whenever a row is scanned, so
rounding does not build up. The caller owns all arrays of a :class:`Domain`.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from apportion.solvers.heuristics.arrays import Booleans, Ints, Problem

Floats = NDArray[np.float64]

TOLERANCE = 1e-7
_LEAST_SHARE = 1e-3
_INTEGRAL = 1e-6
_HUGE = 1e15

HEAD, SIZE, TRAIL, EFFORT = 0, 1, 2, 3

CONSISTENT, CONFLICT, STOPPED = 0, 1, 2


class Domain(NamedTuple):
    """The box that propagation tightens, and its bookkeeping.

    ``lower``, ``upper`` (n,); ``least``, ``most`` (m,) are the finite parts of the activity bounds and ``least_open``,
    ``most_open`` (m,) count the infinite terms; ``widest`` (m,) is the largest range of a term of the row at the start:
    a row with more room than that bounds nothing. ``queue`` (m,) is a ring of rows, ``queued`` (m,) says which wait.
    ``trail_column``, ``trail_lower``, ``trail_upper`` hold the old bounds of each change. ``marks`` holds the head and
    size of the ring, the length of the trail and the effort spent (nonzeros touched).
    """

    lower: Floats
    upper: Floats
    least: Floats
    most: Floats
    least_open: Ints
    most_open: Ints
    widest: Floats
    queue: Ints
    queued: Booleans
    trail_column: Ints
    trail_lower: Floats
    trail_upper: Floats
    marks: Ints


@numba.njit(cache=True, nogil=True)
def start(problem: Problem, domain: Domain) -> None:
    """Take the bounds of ``problem`` over, compute all activities and queue every row."""
    for j in range(len(problem.cost)):
        domain.lower[j] = problem.lower[j]
        domain.upper[j] = problem.upper[j]
    domain.marks[:] = 0
    for i in range(len(problem.row_lower)):
        refresh(problem, domain, i)
        domain.widest[i] = _widest(problem, i)
        domain.queue[i] = i
        domain.queued[i] = True
    domain.marks[SIZE] = len(problem.row_lower)


@numba.njit(cache=True, nogil=True)
def _widest(problem: Problem, row: int) -> float:
    widest = 0.0
    for p in range(problem.row_starts[row], problem.row_starts[row + 1]):
        j = problem.row_columns[p]
        if problem.lower[j] < problem.upper[j]:
            widest = max(widest, abs(problem.row_values[p]) * (problem.upper[j] - problem.lower[j]))
    return widest


@numba.njit(cache=True, nogil=True)
def _idle(problem: Problem, domain: Domain, row: int) -> bool:
    """Whether both sides of ``row`` leave more room than its widest term can use."""
    if domain.least_open[row] > 0 or domain.most_open[row] > 0:
        return False
    room = domain.widest[row] * (1.0 + TOLERANCE) + TOLERANCE
    above = problem.row_upper[row] - domain.least[row]
    below = domain.most[row] - problem.row_lower[row]
    return bool(above >= room and below >= room)


@numba.njit(cache=True, nogil=True)
def refresh(problem: Problem, domain: Domain, row: int) -> None:
    """Recompute the activity bounds of ``row`` from the box."""
    least = most = 0.0
    least_open = most_open = 0
    for p in range(problem.row_starts[row], problem.row_starts[row + 1]):
        a = problem.row_values[p]
        j = problem.row_columns[p]
        low = domain.lower[j] if a > 0.0 else domain.upper[j]
        high = domain.upper[j] if a > 0.0 else domain.lower[j]
        if np.isinf(low):
            least_open += 1
        else:
            least += a * low
        if np.isinf(high):
            most_open += 1
        else:
            most += a * high
    domain.least[row] = least
    domain.most[row] = most
    domain.least_open[row] = least_open
    domain.most_open[row] = most_open
    domain.marks[EFFORT] += problem.row_starts[row + 1] - problem.row_starts[row]


@numba.njit(cache=True, nogil=True)
def _set_bounds(problem: Problem, domain: Domain, column: int, lower: float, upper: float, wake: bool) -> None:
    """Change the bounds of ``column`` and the activities of its rows; ``wake`` queues those."""
    was_lower, was_upper = domain.lower[column], domain.upper[column]
    domain.lower[column] = lower
    domain.upper[column] = upper
    for p in range(problem.col_starts[column], problem.col_starts[column + 1]):
        a = problem.col_values[p]
        i = problem.col_rows[p]
        for side in range(2):
            before = was_lower if side == 0 else was_upper
            after = lower if side == 0 else upper
            if before == after:
                continue
            activity = domain.least if (a > 0.0) == (side == 0) else domain.most
            open_terms = domain.least_open if (a > 0.0) == (side == 0) else domain.most_open
            if np.isinf(before):
                open_terms[i] -= 1
            else:
                activity[i] -= a * before
            if np.isinf(after):
                open_terms[i] += 1
            else:
                activity[i] += a * after
        if wake and not domain.queued[i]:
            domain.queued[i] = True
            domain.queue[(domain.marks[HEAD] + domain.marks[SIZE]) % len(domain.queue)] = i
            domain.marks[SIZE] += 1
    domain.marks[EFFORT] += problem.col_starts[column + 1] - problem.col_starts[column]


@numba.njit(cache=True, nogil=True)
def tighten(problem: Problem, domain: Domain, column: int, lower: float, upper: float) -> bool:
    """Shrink the bounds of ``column`` and remember the old ones; False when the trail is full."""
    at = domain.marks[TRAIL]
    if at >= len(domain.trail_column):
        return False
    domain.trail_column[at] = column
    domain.trail_lower[at] = domain.lower[column]
    domain.trail_upper[at] = domain.upper[column]
    domain.marks[TRAIL] = at + 1
    _set_bounds(problem, domain, column, lower, upper, True)
    return True


@numba.njit(cache=True, nogil=True)
def clear_queue(domain: Domain) -> None:
    """Forget the rows that wait."""
    while domain.marks[SIZE] > 0:
        domain.queued[domain.queue[domain.marks[HEAD]]] = False
        domain.marks[HEAD] = (domain.marks[HEAD] + 1) % len(domain.queue)
        domain.marks[SIZE] -= 1


@numba.njit(cache=True, nogil=True)
def undo(problem: Problem, domain: Domain, trail: int) -> None:
    """Take back every change after the first ``trail`` ones, and forget the rows that wait."""
    clear_queue(domain)
    while domain.marks[TRAIL] > trail:
        at = domain.marks[TRAIL] - 1
        domain.marks[TRAIL] = at
        _set_bounds(problem, domain, domain.trail_column[at], domain.trail_lower[at], domain.trail_upper[at], False)


@numba.njit(cache=True, nogil=True)
def implied(problem: Problem, domain: Domain, row: int, at: int) -> tuple[float, float]:
    """The bounds that ``row`` implies for the column of its entry ``at``; the box's own where it implies less."""
    a = problem.row_values[at]
    j = problem.row_columns[at]
    low, high = domain.lower[j], domain.upper[j]
    new_low, new_high = low, high
    for side in range(2):
        # side 0: a x <= row_upper - least of the others; side 1: a x >= row_lower - most of the others
        limit = problem.row_upper[row] if side == 0 else problem.row_lower[row]
        if np.isinf(limit):
            continue
        own = low if (a > 0.0) == (side == 0) else high
        open_terms = domain.least_open[row] if side == 0 else domain.most_open[row]
        activity = domain.least[row] if side == 0 else domain.most[row]
        if np.isinf(own):
            if open_terms > 1:
                continue
            others = activity
        else:
            if open_terms > 0:
                continue
            others = activity - a * own
        bound = (limit - others) / a
        if not abs(bound) < _HUGE:
            continue
        if (a > 0.0) == (side == 0):
            if problem.integer[j]:
                bound = np.floor(bound + _INTEGRAL)
            if bound < new_high:
                new_high = bound
        else:
            if problem.integer[j]:
                bound = np.ceil(bound - _INTEGRAL)
            if bound > new_low:
                new_low = bound
    return new_low, new_high


@numba.njit(cache=True, nogil=True)
def _worth(integer: bool, low: float, high: float, new_low: float, new_high: float) -> bool:
    """Whether the new bounds are tighter by enough: any step of an integer, a share of the range otherwise."""
    if integer:
        return new_low > low + 0.5 or new_high < high - 0.5
    width = high - low
    if np.isinf(width):
        opened = (np.isinf(low) and not np.isinf(new_low)) or (np.isinf(high) and not np.isinf(new_high))
        # a half-open range: ask for a step in proportion to the bound, so that no chain of ever smaller steps starts
        scale = _LEAST_SHARE * 10.0
        grown = not np.isinf(low) and new_low > low + scale * max(1.0, abs(low))
        shrunk = not np.isinf(high) and new_high < high - scale * max(1.0, abs(high))
        return opened or grown or shrunk
    step = max(_LEAST_SHARE * width, 10.0 * TOLERANCE)
    return new_low > low + step or new_high < high - step


@numba.njit(cache=True, nogil=True)
def _scan(problem: Problem, domain: Domain, row: int) -> int:
    """Check one row against the box and tighten its columns."""
    domain.marks[EFFORT] += 1
    if _idle(problem, domain, row):
        return CONSISTENT
    refresh(problem, domain, row)
    scale = max(1.0, abs(domain.least[row]), abs(domain.most[row]))
    if domain.least_open[row] == 0 and domain.least[row] > problem.row_upper[row] + TOLERANCE * scale:
        return CONFLICT
    if domain.most_open[row] == 0 and domain.most[row] < problem.row_lower[row] - TOLERANCE * scale:
        return CONFLICT
    under = np.isinf(problem.row_upper[row]) or (
        domain.most_open[row] == 0 and domain.most[row] <= problem.row_upper[row]
    )
    over = np.isinf(problem.row_lower[row]) or (
        domain.least_open[row] == 0 and domain.least[row] >= problem.row_lower[row]
    )
    if (under and over) or (domain.least_open[row] > 1 and domain.most_open[row] > 1):
        return CONSISTENT
    for p in range(problem.row_starts[row], problem.row_starts[row + 1]):
        j = problem.row_columns[p]
        low, high = domain.lower[j], domain.upper[j]
        if low == high:
            continue
        new_low, new_high = implied(problem, domain, row, p)
        if not _worth(problem.integer[j], low, high, new_low, new_high):
            continue
        if new_low > new_high:
            if new_low > new_high + 10.0 * TOLERANCE * max(1.0, abs(new_low)):
                return CONFLICT
            new_low = new_high = min(max(0.5 * (new_low + new_high), low), high)
        if not tighten(problem, domain, j, new_low, new_high):
            return STOPPED
    domain.marks[EFFORT] += problem.row_starts[row + 1] - problem.row_starts[row]
    return CONSISTENT


@numba.njit(cache=True, nogil=True)
def propagate(problem: Problem, domain: Domain, effort: int) -> int:
    """Scan the waiting rows until none waits, one conflicts, or ``effort`` more nonzeros were touched."""
    limit = domain.marks[EFFORT] + effort
    while domain.marks[SIZE] > 0:
        if domain.marks[EFFORT] >= limit:
            clear_queue(domain)
            return STOPPED
        row = domain.queue[domain.marks[HEAD]]
        domain.marks[HEAD] = (domain.marks[HEAD] + 1) % len(domain.queue)
        domain.marks[SIZE] -= 1
        domain.queued[row] = False
        outcome = _scan(problem, domain, row)
        if outcome != CONSISTENT:
            clear_queue(domain)
            return int(outcome)
    return CONSISTENT
