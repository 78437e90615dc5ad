"""Numba kernels: local search with weights from infeasible to feasible to better (after Lin, Zou and Cai 2024).

A *tight move* sets one column to the value that just meets a row. Moves are scored by the weights of the rows that they
mend and break; where no move helps, the weights of the broken rows grow. At a feasible point *lift moves* push columns
in the cheaper direction as far as the rows allow, then *breakthrough moves* ask for a better objective at the price of
broken rows. A *chain* is a move followed by those that mend what it broke, such as a swap in an assignment.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from apportion.solvers.heuristics.arrays import Ints, Problem

Floats = NDArray[np.float64]

TOLERANCE = 1e-7
_STILL = 1e-9
_ROWS_SAMPLED = 12
_MOVES_SAMPLED = 100
_MOVES_PER_ROW = 40
_CHAIN_MOVES = 24
_CHAINS = 12
_TENURE = 3
_TENURE_SPREAD = 10
_REFRESH = 20000
_HUGE = 1e12
_LEAST_LIFTS = 500
_OVERHEAD = 6

OBJECTIVE, BEST, STEP, OBJECTIVE_WEIGHT = 0, 1, 2, 3
BROKEN, STEPS, RANDOM, FOUND, EFFORT, POINTER = 0, 1, 2, 3, 4, 5


class Search(NamedTuple):
    """The state of a search, kept between chunks.

    ``values`` (n,) and ``activity`` (m,) are the current point, ``weight`` (m,) the rows' weights. ``broken`` (m,)
    lists the violated rows first, ``position`` (m,) tells where, or -1. ``up_from`` and ``down_from`` (n,) are the
    steps from which a column may move up or down again. ``best`` (n,) is the incumbent. ``priced`` lists the columns
    that have a cost. ``scalars`` holds the objective, the incumbent's, the least improvement asked for and the weight
    of the objective; ``counters`` the number of violated rows, the steps, the random state, how many incumbents were
    found, the effort spent (nonzeros touched) and where the next lift begins.
    """

    values: Floats
    activity: Floats
    weight: Floats
    broken: Ints
    position: Ints
    up_from: Ints
    down_from: Ints
    best: Floats
    priced: Ints
    scalars: Floats
    counters: Ints


@numba.njit(cache=True, nogil=True)
def draw(counters: Ints, below: int) -> int:
    """A random integer in 0..below-1 (Park and Miller's generator)."""
    counters[RANDOM] = counters[RANDOM] * 48271 % 2147483647
    return int(counters[RANDOM] % below)


@numba.njit(cache=True, nogil=True)
def excess(activity: float, lower: float, upper: float) -> float:
    """By how much an activity breaks its row, 0 within the tolerance."""
    if activity < lower - TOLERANCE:
        return lower - activity
    if activity > upper + TOLERANCE:
        return activity - upper
    return 0.0


@numba.njit(cache=True, nogil=True)
def _mark(search: Search, row: int, is_broken: bool) -> None:
    at = search.position[row]
    if is_broken and at < 0:
        search.position[row] = search.counters[BROKEN]
        search.broken[search.counters[BROKEN]] = row
        search.counters[BROKEN] += 1
    elif not is_broken and at >= 0:
        last = search.counters[BROKEN] - 1
        moved = search.broken[last]
        search.broken[at] = moved
        search.position[moved] = at
        search.position[row] = -1
        search.counters[BROKEN] = last


@numba.njit(cache=True, nogil=True)
def recompute(problem: Problem, search: Search) -> None:
    """All activities, the objective and the list of violated rows, from the values."""
    search.counters[BROKEN] = 0
    search.position[:] = -1
    objective = 0.0
    for j in range(len(problem.cost)):
        objective += problem.cost[j] * search.values[j]
    search.scalars[OBJECTIVE] = objective
    for i in range(len(problem.row_lower)):
        activity = 0.0
        for p in range(problem.row_starts[i], problem.row_starts[i + 1]):
            activity += problem.row_values[p] * search.values[problem.row_columns[p]]
        search.activity[i] = activity
        if excess(activity, problem.row_lower[i], problem.row_upper[i]) > 0.0:
            _mark(search, i, True)
    search.counters[EFFORT] += len(problem.row_values)


@numba.njit(cache=True, nogil=True)
def move(problem: Problem, search: Search, column: int, value: float) -> None:
    """Set one column and keep activities, objective and violated rows up to date."""
    delta = value - search.values[column]
    search.values[column] = value
    search.scalars[OBJECTIVE] += problem.cost[column] * delta
    for p in range(problem.col_starts[column], problem.col_starts[column + 1]):
        i = problem.col_rows[p]
        search.activity[i] += problem.col_values[p] * delta
        _mark(search, i, excess(search.activity[i], problem.row_lower[i], problem.row_upper[i]) > 0.0)
    search.counters[EFFORT] += problem.col_starts[column + 1] - problem.col_starts[column]


@numba.njit(cache=True, nogil=True)
def score(problem: Problem, search: Search, column: int, value: float) -> float:
    """The weight of the rows that the move mends less that of those it breaks, half for better and worse."""
    delta = value - search.values[column]
    total = 0.0
    for p in range(problem.col_starts[column], problem.col_starts[column + 1]):
        i = problem.col_rows[p]
        before = excess(search.activity[i], problem.row_lower[i], problem.row_upper[i])
        after = excess(search.activity[i] + problem.col_values[p] * delta, problem.row_lower[i], problem.row_upper[i])
        if before > 0.0:
            if after == 0.0:
                total += search.weight[i]
            elif after < before:
                total += 0.5 * search.weight[i]
            elif after > before:
                total -= 0.5 * search.weight[i]
        elif after > 0.0:
            total -= search.weight[i]
    search.counters[EFFORT] += _OVERHEAD + problem.col_starts[column + 1] - problem.col_starts[column]
    change = problem.cost[column] * delta
    if change != 0.0 and search.scalars[BEST] < np.inf:
        target = search.scalars[BEST] - search.scalars[STEP]
        now = search.scalars[OBJECTIVE]
        price = search.scalars[OBJECTIVE_WEIGHT]
        if change < 0.0:
            total += price if now > target and now + change <= target else 0.5 * price
        elif now > target:
            total -= 0.5 * price
        elif now + change > target:
            total -= price
    return total


@numba.njit(cache=True, nogil=True)
def tight_value(problem: Problem, search: Search, row: int, at: int) -> float:
    """The value of the column of entry ``at`` that just meets ``row``; its own value when nothing moves.

    For a row that is met, the value uses up the slack on a side: the side that is cheaper, or a random one.
    """
    j = problem.row_columns[at]
    a = problem.row_values[at]
    activity = search.activity[row]
    lower, upper = problem.row_lower[row], problem.row_upper[row]
    value = search.values[j]
    if excess(activity, lower, upper) > 0.0:
        below = activity < lower
    else:
        cheaper_up = problem.cost[j] < 0.0 if problem.cost[j] != 0.0 else draw(search.counters, 2) == 0
        below = (a > 0.0) != cheaper_up  # use up the room towards the lower side
    side = lower if below else upper
    if np.isinf(side):
        return float(value)
    target = value + (side - activity) / a
    if problem.integer[j]:
        # round towards the inside of the row
        target = np.ceil(target - _STILL) if below == (a > 0.0) else np.floor(target + _STILL)
    return float(min(max(target, problem.lower[j]), problem.upper[j]))


@numba.njit(cache=True, nogil=True)
def _allowed(search: Search, column: int, value: float) -> bool:
    since = search.up_from[column] if value > search.values[column] else search.down_from[column]
    return bool(search.counters[STEPS] >= since)


@numba.njit(cache=True, nogil=True)
def _better(problem: Problem, search: Search, column: int, value: float, total: float, than: Floats) -> bool:
    """Keep the move in ``than`` (column, value, score, cost change) when it is better; cost breaks ties."""
    change = problem.cost[column] * (value - search.values[column])
    if total > than[2] or (total == than[2] and change < than[3]):
        than[0] = column
        than[1] = value
        than[2] = total
        than[3] = change
        return True
    return False


@numba.njit(cache=True, nogil=True)
def _forget(best: Floats) -> None:
    best[0] = -1.0
    best[1] = 0.0
    best[2] = -np.inf
    best[3] = np.inf


@numba.njit(cache=True, nogil=True)
def scan_row(problem: Problem, search: Search, row: int, samples: int, respect: bool, best: Floats) -> None:
    """Score the tight moves of ``row`` (``samples`` of them from a random place) and keep the best in ``best``."""
    first, length = problem.row_starts[row], problem.row_starts[row + 1] - problem.row_starts[row]
    if length == 0:
        return
    offset = draw(search.counters, length) if length > samples else 0
    for k in range(min(length, samples)):
        at = first + (offset + k) % length
        j = problem.row_columns[at]
        value = tight_value(problem, search, row, at)
        if abs(value - search.values[j]) <= _STILL or (respect and not _allowed(search, j, value)):
            continue
        _better(problem, search, j, value, score(problem, search, j, value), best)
    search.counters[EFFORT] += min(length, samples)


@numba.njit(cache=True, nogil=True)
def _scan_broken(problem: Problem, search: Search, best: Floats) -> None:
    """The best tight move of a sample of violated rows."""
    count = search.counters[BROKEN]
    offset = draw(search.counters, count)
    for k in range(min(count, _ROWS_SAMPLED)):
        scan_row(problem, search, search.broken[(offset + k) % count], _MOVES_PER_ROW, True, best)


@numba.njit(cache=True, nogil=True)
def cheaper_value(problem: Problem, search: Search, column: int) -> float:
    """The value that alone brings the objective to its target, within the bounds."""
    cost = problem.cost[column]
    missing = search.scalars[BEST] - search.scalars[STEP] - search.scalars[OBJECTIVE]
    value = search.values[column]
    if np.isinf(missing) or missing >= 0.0:
        missing = -np.inf
    target = value + missing / cost
    if problem.integer[column] and not np.isinf(target):
        target = np.floor(target + _STILL) if cost > 0.0 else np.ceil(target - _STILL)
    target = min(max(target, problem.lower[column]), problem.upper[column])
    return float(value if np.isinf(target) else target)


@numba.njit(cache=True, nogil=True)
def _scan_priced(problem: Problem, search: Search, best: Floats) -> None:
    """Breakthrough moves: the best of a sample of columns that lower the objective."""
    count = len(search.priced)
    if count == 0:
        return
    offset = draw(search.counters, count)
    for k in range(min(count, _MOVES_SAMPLED)):
        j = search.priced[(offset + k) % count]
        value = cheaper_value(problem, search, j)
        if abs(value - search.values[j]) <= _STILL or not _allowed(search, j, value):
            continue
        _better(problem, search, j, value, score(problem, search, j, value), best)


@numba.njit(cache=True, nogil=True)
def lift_value(problem: Problem, search: Search, column: int) -> float:
    """How far ``column`` can go in its cheaper direction while every row that is met stays met."""
    cost = problem.cost[column]
    value = search.values[column]
    up = cost < 0.0
    room = problem.upper[column] - value if up else value - problem.lower[column]
    for p in range(problem.col_starts[column], problem.col_starts[column + 1]):
        i = problem.col_rows[p]
        a = problem.col_values[p]
        side = problem.row_upper[i] if (a > 0.0) == up else problem.row_lower[i]
        room = min(room, abs(side - search.activity[i]) / abs(a))
        if excess(search.activity[i], problem.row_lower[i], problem.row_upper[i]) > 0.0:
            room = 0.0
        if room <= _STILL:
            break
    search.counters[EFFORT] += problem.col_starts[column + 1] - problem.col_starts[column]
    if problem.integer[column]:
        room = np.floor(room + _STILL)
    if room <= _STILL or room > _HUGE:
        return float(value)
    return float(value + room if up else value - room)


@numba.njit(cache=True, nogil=True)
def one_opt(problem: Problem, search: Search, order: Ints) -> int:
    """Lift each column of ``order`` in turn until a whole pass changes nothing; return how many were lifted."""
    lifted = 0
    changed = True
    while changed:
        changed = False
        for k in range(len(order)):
            j = order[k]
            if problem.cost[j] == 0.0:
                continue
            value = lift_value(problem, search, j)
            if value != search.values[j]:
                move(problem, search, j, value)
                lifted += 1
                changed = problem.integer[j] or changed
    return lifted


@numba.njit(cache=True, nogil=True)
def _lift(problem: Problem, search: Search) -> None:
    """Lift the columns of a window of the priced ones; the next call goes on where this one ends."""
    count = len(search.priced)
    window = min(count, max(_LEAST_LIFTS, count // 8))
    for k in range(window):
        j = search.priced[(search.counters[POINTER] + k) % count]
        value = lift_value(problem, search, j)
        if value != search.values[j]:
            move(problem, search, j, value)
    search.counters[POINTER] = (search.counters[POINTER] + window) % max(1, count)


@numba.njit(cache=True, nogil=True)
def _forbid(search: Search, column: int, before: float) -> None:
    """Forbid ``column`` the way back to ``before`` for a while."""
    until = search.counters[STEPS] + _TENURE + draw(search.counters, _TENURE_SPREAD)
    if search.values[column] > before:
        search.down_from[column] = until
    else:
        search.up_from[column] = until


@numba.njit(cache=True, nogil=True)
def _step(problem: Problem, search: Search, column: int, value: float) -> None:
    """Move and forbid the way back for a while."""
    before = search.values[column]
    move(problem, search, column, value)
    _forbid(search, column, before)


@numba.njit(cache=True, nogil=True)
def _in_chain(chain: Floats, depth: int, column: int) -> bool:
    for k in range(depth):  # noqa: SIM110 a generator is a closure, slow in a kernel
        if chain[k, 0] == column:
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _mend(problem: Problem, search: Search, chain: Floats, depth: int, everywhere: bool, best: Floats) -> None:
    """The best tight move of the rows that the chain broke, leaving its own columns alone.

    ``everywhere`` looks at all violated rows: those of a chain that began at a feasible point. Otherwise only at those
    that the last column of the chain touches.
    """
    last = int(chain[depth - 1, 0])
    first = problem.col_starts[last]
    count = search.counters[BROKEN] if everywhere else problem.col_starts[last + 1] - first
    if count == 0:
        return
    offset = draw(search.counters, count)
    for k in range(min(count, _ROWS_SAMPLED)):
        i = search.broken[(offset + k) % count] if everywhere else problem.col_rows[first + (offset + k) % count]
        if search.position[i] < 0:
            continue
        begin, length = problem.row_starts[i], problem.row_starts[i + 1] - problem.row_starts[i]
        shift = draw(search.counters, length)
        for q in range(min(length, _CHAIN_MOVES)):
            at = begin + (shift + q) % length
            j = problem.row_columns[at]
            if _in_chain(chain, depth, j):
                continue
            value = tight_value(problem, search, i, at)
            if abs(value - search.values[j]) > _STILL:
                _better(problem, search, j, value, score(problem, search, j, value), best)


@numba.njit(cache=True, nogil=True)
def try_chain(
    problem: Problem, search: Search, column: int, value: float, gain: float, chain: Floats, best: Floats
) -> bool:
    """Move ``column`` (score ``gain``), then mend what broke, move by move; keep it all when the scores exceed 0.

    ``chain`` (longest, 2) is work space for columns and old values.
    """
    everywhere = search.counters[BROKEN] == 0
    longest = len(chain) if everywhere else min(2, len(chain))
    objective = search.scalars[OBJECTIVE]
    chain[0, 0], chain[0, 1] = column, search.values[column]
    move(problem, search, column, value)
    depth = 1
    while depth < longest:
        _forget(best)
        _mend(problem, search, chain, depth, everywhere, best)
        if best[0] < 0.0:
            break
        j = int(best[0])
        chain[depth, 0], chain[depth, 1] = j, search.values[j]
        gain += best[2]
        move(problem, search, j, best[1])
        depth += 1
        if gain > 0.0:
            for k in range(depth):
                _forbid(search, int(chain[k, 0]), chain[k, 1])
            return True
        if everywhere and search.counters[BROKEN] == 0:
            break
    for k in range(depth - 1, -1, -1):
        move(problem, search, int(chain[k, 0]), chain[k, 1])
    search.scalars[OBJECTIVE] = objective
    return False


@numba.njit(cache=True, nogil=True)
def _try_chains(problem: Problem, search: Search, chain: Floats, best: Floats) -> bool:
    """At a feasible point: chains from a sample of columns that lower the objective."""
    count = len(search.priced)
    if count == 0:
        return False
    for _ in range(_CHAINS):
        j = search.priced[draw(search.counters, count)]
        value = cheaper_value(problem, search, j)
        if abs(value - search.values[j]) <= _STILL:
            continue
        if try_chain(problem, search, j, value, score(problem, search, j, value), chain, best):
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _keep(problem: Problem, search: Search, step: float, share: float) -> None:
    """Recompute the point and keep it when it is feasible and better."""
    recompute(problem, search)
    if search.counters[BROKEN] > 0 or search.scalars[OBJECTIVE] >= search.scalars[BEST]:
        return
    search.scalars[BEST] = search.scalars[OBJECTIVE]
    search.scalars[STEP] = max(step, share * abs(search.scalars[BEST]), 1e-9)
    search.best[:] = search.values
    search.counters[FOUND] += 1


@numba.njit(cache=True, nogil=True)
def _reweigh(search: Search) -> None:
    """No move helps: make the violated rows, or else the objective, count for more."""
    if search.counters[BROKEN] == 0:
        search.scalars[OBJECTIVE_WEIGHT] += 1.0
    for k in range(search.counters[BROKEN]):
        search.weight[search.broken[k]] += 1.0
    if search.counters[BROKEN] > 0 and draw(search.counters, 1000) == 0:
        search.scalars[OBJECTIVE_WEIGHT] = max(1.0, search.scalars[OBJECTIVE_WEIGHT] - 1.0)


@numba.njit(cache=True, nogil=True)
def _escape(problem: Problem, search: Search, best: Floats) -> None:
    """Take the least bad move of a random violated row, or of the objective at a feasible point."""
    _forget(best)
    if search.counters[BROKEN] > 0:
        row = search.broken[draw(search.counters, search.counters[BROKEN])]
        scan_row(problem, search, row, _MOVES_PER_ROW, True, best)
        if best[0] < 0.0:
            scan_row(problem, search, row, _MOVES_PER_ROW, False, best)
    else:
        _scan_priced(problem, search, best)
    if best[0] >= 0.0:
        _step(problem, search, int(best[0]), best[1])


@numba.njit(cache=True, nogil=True)
def search_chunk(problem: Problem, search: Search, work: Floats, step: float, share: float, effort: int) -> int:
    """Search until ``effort`` more nonzeros were touched; return how many incumbents were found in this chunk.

    ``step`` and ``share`` set the least improvement asked for, absolute and relative. ``work`` is work space: two rows
    of four, and one for each move of the longest chain.
    """
    limit = search.counters[EFFORT] + effort
    found = search.counters[FOUND]
    best, mend, chain = work[0], work[1], work[2:, :2]
    refresh_at = search.counters[STEPS] + _REFRESH
    while search.counters[EFFORT] < limit:
        search.counters[STEPS] += 1
        search.counters[EFFORT] += 1
        if search.counters[STEPS] >= refresh_at:
            recompute(problem, search)
            refresh_at = search.counters[STEPS] + _REFRESH
        if search.counters[BROKEN] == 0 and search.scalars[OBJECTIVE] < search.scalars[BEST] - search.scalars[STEP]:
            _lift(problem, search)
            _keep(problem, search, step, share)
            if len(search.priced) == 0:
                break
            continue
        _forget(best)
        if search.counters[BROKEN] > 0:
            _scan_broken(problem, search, best)
        if search.scalars[BEST] < np.inf and (search.counters[BROKEN] == 0 or draw(search.counters, 8) == 0):
            _scan_priced(problem, search, best)
        if best[0] >= 0.0 and best[2] > 0.0:
            _step(problem, search, int(best[0]), best[1])
            continue
        if best[0] >= 0.0 and try_chain(problem, search, int(best[0]), best[1], best[2], chain, mend):
            continue
        if search.counters[BROKEN] == 0 and _try_chains(problem, search, chain, mend):
            continue
        _reweigh(search)
        _escape(problem, search, best)
    return int(search.counters[FOUND] - found)
