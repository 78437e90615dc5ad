"""Numba kernel: Feasibility Jump (Luteberget and Sartor 2023).

Every column keeps its best *jump*: the value that minimises the weighted violation of its rows while all others stay.
The search makes the best of a few good jumps; where none is good, the weights of the violated rows grow. After a jump
the scores of the columns that share a row with it follow by the change of that row alone; only columns with more than
two values look for a new jump.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from apportion.solvers.heuristics.arrays import Booleans, Ints, Problem

Floats = NDArray[np.float64]

TOLERANCE = 1e-7
_STILL = 1e-9
_GOOD_SAMPLED = 25
_ROW_SAMPLED = 25

BROKEN, GOOD, STEPS, RANDOM, EFFORT = 0, 1, 2, 3, 4


class Jumps(NamedTuple):
    """The state of a search.

    ``values``, ``jump``, ``score`` (n,): the point, each column's best value and by how much it lowers the weighted
    violation. ``activity``, ``weight`` (m,). ``broken`` (m,) and ``good`` (n,) list violated rows and columns with a
    positive score first; ``broken_at`` and ``good_at`` tell where, or -1. ``binary`` (n,) marks columns with two
    values. ``breaks`` and ``slopes`` are work space of twice the longest column plus two. ``counters`` hold the number
    of violated rows and of good columns, the steps, the random state and the effort spent.
    """

    values: Floats
    jump: Floats
    score: Floats
    activity: Floats
    weight: Floats
    broken: Ints
    broken_at: Ints
    good: Ints
    good_at: Ints
    binary: Booleans
    breaks: Floats
    slopes: Floats
    counters: Ints


@numba.njit(cache=True, nogil=True)
def draw(counters: Ints, below: int) -> int:
    """A random integer in 0..below-1."""
    counters[RANDOM] = counters[RANDOM] * 48271 % 2147483647
    return int(counters[RANDOM] % below)


@numba.njit(cache=True, nogil=True)
def amount(activity: float, lower: float, upper: float) -> float:
    """By how much an activity breaks its row."""
    return max(0.0, lower - activity, activity - upper)


@numba.njit(cache=True, nogil=True)
def _list(members: Ints, places: Ints, counters: Ints, size: int, item: int, belongs: bool) -> None:
    """Put ``item`` into a list of ``counters[size]`` members, or take it out."""
    at = places[item]
    if belongs and at < 0:
        places[item] = counters[size]
        members[counters[size]] = item
        counters[size] += 1
    elif not belongs and at >= 0:
        last = counters[size] - 1
        moved = members[last]
        members[at] = moved
        places[moved] = at
        places[item] = -1
        counters[size] = last


@numba.njit(cache=True, nogil=True)
def _cost_of(problem: Problem, jumps: Jumps, column: int, value: float, pull: float) -> float:
    """The weighted violation of the rows of ``column`` at ``value``, plus ``pull`` times its cost."""
    delta = value - jumps.values[column]
    total = pull * problem.cost[column] * delta
    for p in range(problem.col_starts[column], problem.col_starts[column + 1]):
        i = problem.col_rows[p]
        activity = jumps.activity[i] + problem.col_values[p] * delta
        total += jumps.weight[i] * amount(activity, problem.row_lower[i], problem.row_upper[i])
    return float(total)


@numba.njit(cache=True, nogil=True)
def sort_pairs(keys: Floats, partners: Floats, count: int) -> None:
    """Sort the first ``count`` keys in place and move their partners along (Shell's sort)."""
    gap = 1
    while gap < count // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for k in range(gap, count):
            key, partner = keys[k], partners[k]
            at = k
            while at >= gap and keys[at - gap] > key:
                keys[at] = keys[at - gap]
                partners[at] = partners[at - gap]
                at -= gap
            keys[at] = key
            partners[at] = partner
        gap //= 3


@numba.njit(cache=True, nogil=True)
def best_value(problem: Problem, jumps: Jumps, column: int, pull: float) -> float:
    """The other value of least weighted violation: a breakpoint of a convex piecewise linear function, or a bound."""
    lower, upper = problem.lower[column], problem.upper[column]
    now = jumps.values[column]
    if jumps.binary[column]:
        return float(lower if now > 0.5 * (lower + upper) else upper)
    slope = pull * problem.cost[column]
    count = 0
    for p in range(problem.col_starts[column], problem.col_starts[column + 1]):
        i = problem.col_rows[p]
        a = problem.col_values[p]
        rest = jumps.activity[i] - a * now
        for side in range(2):
            limit = problem.row_lower[i] if side == 0 else problem.row_upper[i]
            if np.isinf(limit):
                continue
            jumps.breaks[count] = (limit - rest) / a
            jumps.slopes[count] = jumps.weight[i] * abs(a)
            if (side == 0) == (a > 0.0):
                slope -= jumps.weight[i] * abs(a)  # left of this breakpoint the row is violated
            count += 1
    sort_pairs(jumps.breaks, jumps.slopes, count)
    best = np.nan
    for k in range(count):
        slope += jumps.slopes[k]
        if slope >= 0.0:
            best = jumps.breaks[k]
            break
    if np.isnan(best):
        best = upper if slope < 0.0 else now
    if np.isinf(best):
        best = now
    best = min(max(best, lower), upper)
    if problem.integer[column]:
        low, high = np.floor(best + _STILL), np.ceil(best - _STILL)
        if low == now or high == now:
            low, high = now - 1.0, now + 1.0  # convex: the best other value is a neighbour
        if low < lower:
            best = high
        elif high > upper or _cost_of(problem, jumps, column, low, pull) <= _cost_of(
            problem, jumps, column, high, pull
        ):
            best = low
        else:
            best = high
        best = min(max(best, lower), upper)
    return float(best)


@numba.njit(cache=True, nogil=True)
def rescore(problem: Problem, jumps: Jumps, column: int, pull: float) -> None:
    """Find the best jump of ``column`` and its score afresh."""
    value = best_value(problem, jumps, column, pull)
    jumps.jump[column] = value
    now = _cost_of(problem, jumps, column, jumps.values[column], pull)
    jumps.score[column] = now - _cost_of(problem, jumps, column, value, pull)
    if abs(value - jumps.values[column]) <= _STILL:
        jumps.score[column] = 0.0
    _list(jumps.good, jumps.good_at, jumps.counters, GOOD, column, jumps.score[column] > _STILL)
    jumps.counters[EFFORT] += 3 * (problem.col_starts[column + 1] - problem.col_starts[column])


@numba.njit(cache=True, nogil=True)
def reset(problem: Problem, jumps: Jumps, pull: float) -> None:
    """Activities, violated rows and all jumps from the values; every weight is 1."""
    jumps.counters[BROKEN] = 0
    jumps.counters[GOOD] = 0
    jumps.broken_at[:] = -1
    jumps.good_at[:] = -1
    jumps.weight[:] = 1.0
    for i in range(len(problem.row_lower)):
        activity = 0.0
        for p in range(problem.row_starts[i], problem.row_starts[i + 1]):
            activity += problem.row_values[p] * jumps.values[problem.row_columns[p]]
        jumps.activity[i] = activity
        off = amount(activity, problem.row_lower[i], problem.row_upper[i]) > TOLERANCE
        _list(jumps.broken, jumps.broken_at, jumps.counters, BROKEN, i, off)
    for j in range(len(problem.cost)):
        rescore(problem, jumps, j, pull)


@numba.njit(cache=True, nogil=True)
def _follow(problem: Problem, jumps: Jumps, row: int, before: float, after: float, weight: float) -> None:
    """The scores of the columns of ``row`` when its activity goes from ``before`` to ``after`` at ``weight``."""
    lower, upper = problem.row_lower[row], problem.row_upper[row]
    was, now = amount(before, lower, upper), amount(after, lower, upper)
    for p in range(problem.row_starts[row], problem.row_starts[row + 1]):
        j = problem.row_columns[p]
        shift = problem.row_values[p] * (jumps.jump[j] - jumps.values[j])
        gained = (now - amount(after + shift, lower, upper)) - (was - amount(before + shift, lower, upper))
        jumps.score[j] += weight * gained
        _list(jumps.good, jumps.good_at, jumps.counters, GOOD, j, jumps.score[j] > _STILL)
    jumps.counters[EFFORT] += problem.row_starts[row + 1] - problem.row_starts[row]


@numba.njit(cache=True, nogil=True)
def _jump(problem: Problem, jumps: Jumps, column: int, pull: float) -> None:
    """Make the jump of ``column``."""
    delta = jumps.jump[column] - jumps.values[column]
    for p in range(problem.col_starts[column], problem.col_starts[column + 1]):
        i = problem.col_rows[p]
        before = jumps.activity[i]
        after = before + problem.col_values[p] * delta
        jumps.activity[i] = after
        off = amount(after, problem.row_lower[i], problem.row_upper[i]) > TOLERANCE
        _list(jumps.broken, jumps.broken_at, jumps.counters, BROKEN, i, off)
        _follow(problem, jumps, i, before, after, jumps.weight[i])
    jumps.values[column] += delta
    rescore(problem, jumps, column, pull)
    for p in range(problem.col_starts[column], problem.col_starts[column + 1]):
        i = problem.col_rows[p]
        for q in range(problem.row_starts[i], problem.row_starts[i + 1]):
            j = problem.row_columns[q]
            if j != column and not jumps.binary[j]:
                rescore(problem, jumps, j, pull)


@numba.njit(cache=True, nogil=True)
def _raise_weights(problem: Problem, jumps: Jumps, pull: float) -> None:
    """Make every violated row count for one more."""
    for k in range(jumps.counters[BROKEN]):
        i = jumps.broken[k]
        jumps.weight[i] += 1.0
        activity = jumps.activity[i]
        lower, upper = problem.row_lower[i], problem.row_upper[i]
        now = amount(activity, lower, upper)
        for p in range(problem.row_starts[i], problem.row_starts[i + 1]):
            j = problem.row_columns[p]
            if jumps.binary[j]:
                shift = problem.row_values[p] * (jumps.jump[j] - jumps.values[j])
                jumps.score[j] += now - amount(activity + shift, lower, upper)
                _list(jumps.good, jumps.good_at, jumps.counters, GOOD, j, jumps.score[j] > _STILL)
            else:
                rescore(problem, jumps, j, pull)
        jumps.counters[EFFORT] += problem.row_starts[i + 1] - problem.row_starts[i]


@numba.njit(cache=True, nogil=True)
def _choose(problem: Problem, jumps: Jumps) -> int:
    """The best of a few good jumps, else of a few columns of a violated row; -1 when nothing moves."""
    best, best_score = -1, -np.inf
    count = jumps.counters[GOOD]
    if count > 0:
        offset = draw(jumps.counters, count)
        for k in range(min(count, _GOOD_SAMPLED)):
            j = jumps.good[(offset + k) % count]
            if jumps.score[j] > best_score:
                best, best_score = j, jumps.score[j]
        return best
    row = jumps.broken[draw(jumps.counters, jumps.counters[BROKEN])]
    first, length = problem.row_starts[row], problem.row_starts[row + 1] - problem.row_starts[row]
    if length == 0:
        return -1
    offset = draw(jumps.counters, length)
    for k in range(min(length, _ROW_SAMPLED)):
        j = problem.row_columns[first + (offset + k) % length]
        if abs(jumps.jump[j] - jumps.values[j]) > _STILL and jumps.score[j] > best_score:
            best, best_score = j, jumps.score[j]
    return best


@numba.njit(cache=True, nogil=True)
def jump_chunk(problem: Problem, jumps: Jumps, pull: float, effort: int) -> bool:
    """Jump until every row is met (True) or ``effort`` more nonzeros were touched (False)."""
    limit = jumps.counters[EFFORT] + effort
    while jumps.counters[BROKEN] > 0 and jumps.counters[EFFORT] < limit:
        jumps.counters[STEPS] += 1
        jumps.counters[EFFORT] += 1
        if jumps.counters[GOOD] == 0:
            _raise_weights(problem, jumps, pull)
        column = _choose(problem, jumps)
        if column >= 0:
            _jump(problem, jumps, column, pull)
    return bool(jumps.counters[BROKEN] == 0)
