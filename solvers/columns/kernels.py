"""Knapsacks that price columns: bounded with conflicts for cutting patterns, binary for assignments."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_SMALL = 1e-12


@numba.njit(cache=True)
def fill_bounded(
    profit: NDArray[np.float64], size: NDArray[np.int64], most: NDArray[np.int64], table: NDArray[np.float64]
) -> None:
    """``table[j, c]``: the best profit of items ``j`` and later within ``c``, item ``j`` at most ``most[j]`` times.

    ``table`` has shape (n + 1, capacity + 1) and holds what the last call left; sizes are positive.
    """
    n = len(profit)
    capacity = table.shape[1] - 1
    for c in range(capacity + 1):
        table[n, c] = 0.0
    for j in range(n - 1, -1, -1):
        for c in range(capacity + 1):
            table[j, c] = table[j + 1, c]
        if profit[j] <= 0.0:
            continue
        for c in range(size[j], capacity + 1):
            times = min(most[j], c // size[j])
            best = table[j, c]
            for q in range(1, times + 1):
                value = q * profit[j] + table[j + 1, c - q * size[j]]
                best = max(best, value)
            table[j, c] = best


@numba.njit(cache=True)
def pack_bounded(
    profit: NDArray[np.float64],
    size: NDArray[np.int64],
    most: NDArray[np.int64],
    first: int,
    table: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> float:
    """Write the best pattern among items ``first`` and later into ``counts`` by walking a filled table."""
    n = len(profit)
    left = table.shape[1] - 1
    counts[:] = 0
    total = 0.0
    for j in range(first, n):
        if profit[j] <= 0.0:
            continue
        times = min(most[j], left // size[j])
        chosen, best = 0, table[j + 1, left]
        for q in range(1, times + 1):
            value = q * profit[j] + table[j + 1, left - q * size[j]]
            if value > best + _SMALL:
                chosen, best = q, value
        counts[j] = chosen
        total += chosen * profit[j]
        left -= chosen * size[j]
    return total


@numba.njit(cache=True)
def pack_with_conflicts(
    profit: NDArray[np.float64],
    size: NDArray[np.int64],
    most: NDArray[np.int64],
    conflict: NDArray[np.bool_],
    table: NDArray[np.float64],
    floor: float,
    node_limit: int,
    work: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> tuple[float, float]:
    """The best pattern without two items in ``conflict``, by depth-first search bounded with a filled table.

    ``work`` has shape (4, n + 1). Returns the profit of ``counts`` (``floor`` and zeros when none earns more than
    ``floor``) and a bound on the profit of every pattern, or ``floor`` when that is larger.
    """
    n = len(profit)
    now, blocked, left, tried = work[0], work[1], work[2], work[3]
    for j in range(n):
        now[j] = blocked[j] = counts[j] = 0
    best = floor
    bound = table[0, table.shape[1] - 1]
    if bound <= floor:
        return floor, floor
    value = 0.0
    left[0] = table.shape[1] - 1
    tried[0] = -1
    nodes = 0
    j = 0
    while j >= 0:
        if tried[j] == -1:  # first visit
            nodes += 1
            if value > best + _SMALL:
                best = value
                for i in range(n):
                    counts[i] = now[i] if i < j else 0
            if nodes > node_limit:
                return best, bound
            if j == n or value + table[j, left[j]] <= best + _SMALL:
                j -= 1
                continue
            tried[j] = min(most[j], left[j] // size[j]) if blocked[j] == 0 and profit[j] > 0.0 else 0
        else:  # back from below: take one less of j
            if now[j] > 0:
                now[j] -= 1
                value -= profit[j]
                if now[j] == 0:
                    for i in range(n):
                        if conflict[j, i]:
                            blocked[i] -= 1
            tried[j] -= 1
            if tried[j] < 0:
                tried[j] = -1
                j -= 1
                continue
        if tried[j] > 0 and now[j] == 0:
            now[j] = tried[j]
            value += tried[j] * profit[j]
            for i in range(n):
                if conflict[j, i]:
                    blocked[i] += 1
        left[j + 1] = left[j] - now[j] * size[j]
        j += 1
        tried[j] = -1
    return best, best


@numba.njit(cache=True)
def fill_binary(profit: NDArray[np.float64], use: NDArray[np.int64], table: NDArray[np.float64], capacity: int) -> None:
    """``table[j, c]``: the best profit of jobs ``j`` and later within ``c``, each at most once; uses may be zero."""
    n = len(profit)
    for c in range(capacity + 1):
        table[n, c] = 0.0
    for j in range(n - 1, -1, -1):
        if profit[j] <= 0.0 or use[j] > capacity:
            for c in range(capacity + 1):
                table[j, c] = table[j + 1, c]
            continue
        for c in range(use[j]):
            table[j, c] = table[j + 1, c]
        for c in range(use[j], capacity + 1):
            table[j, c] = max(table[j + 1, c], profit[j] + table[j + 1, c - use[j]])


@numba.njit(cache=True)
def pack_binary(
    profit: NDArray[np.float64],
    use: NDArray[np.int64],
    table: NDArray[np.float64],
    capacity: int,
    taken: NDArray[np.bool_],
) -> float:
    """Write the best set of jobs into ``taken`` by walking a filled table; return its profit."""
    left = capacity
    total = 0.0
    for j in range(len(profit)):
        taken[j] = False
        if profit[j] > 0.0 and use[j] <= left and profit[j] + table[j + 1, left - use[j]] > table[j + 1, left]:
            taken[j] = True
            total += profit[j]
            left -= use[j]
    return total


@numba.njit(cache=True)
def forced_profits(
    profit: NDArray[np.float64],
    use: NDArray[np.int64],
    table: NDArray[np.float64],
    capacity: int,
    before: NDArray[np.float64],
    with_job: NDArray[np.float64],
    without_job: NDArray[np.float64],
) -> None:
    """The best profit with each job forced in (minus infinity when it does not fit) and forced out.

    ``table`` is filled for the same jobs; ``before`` has ``capacity + 1`` entries: what earlier jobs earn at most.
    """
    for c in range(capacity + 1):
        before[c] = 0.0
    for j in range(len(profit)):
        outside, inside = -np.inf, -np.inf
        for c in range(capacity + 1):
            outside = max(outside, before[c] + table[j + 1, capacity - c])
            if c + use[j] <= capacity:
                inside = max(inside, before[c] + profit[j] + table[j + 1, capacity - c - use[j]])
        with_job[j] = inside
        without_job[j] = outside
        if profit[j] > 0.0:
            for c in range(capacity, use[j] - 1, -1):
                before[c] = max(before[c], before[c - use[j]] + profit[j])
