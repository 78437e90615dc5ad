"""Knapsack kernels against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.solvers.columns import kernels

seeds = st.integers(0, 10**6)
pytestmark = pytest.mark.kernels


def _bounded(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, np.ndarray]:
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 6))
    profit = np.round(random.uniform(-2, 10, n), 3)
    size, most = random.integers(1, 9, n), random.integers(0, 4, n)
    conflict = np.triu(random.random((n, n)) < 0.4, 1)
    most = np.where((conflict | conflict.T).any(axis=0), np.minimum(most, 1), most)
    return profit, size, most, int(random.integers(1, 20)), conflict | conflict.T


def _naive_bounded(
    profit: np.ndarray, size: np.ndarray, most: np.ndarray, capacity: int, conflict: np.ndarray | None = None
) -> float:
    best = 0.0
    for counts in itertools.product(*(range(int(m) + 1) for m in most)):
        taken = np.flatnonzero(counts)
        clash = conflict is not None and conflict[np.ix_(taken, taken)].any()
        if size @ np.array(counts) <= capacity and not clash:
            best = max(best, float(profit @ np.array(counts)))
    return best


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_bounded_knapsack(seed: int) -> None:
    profit, size, most, capacity, _ = _bounded(seed)
    table = np.full((len(profit) + 1, capacity + 1), np.nan)
    kernels.fill_bounded(profit, size, most, table)
    counts = np.zeros(len(profit), np.int64)
    for first in range(len(profit)):
        rest = slice(first, None)
        expected = _naive_bounded(profit[rest], size[rest], most[rest], capacity)
        assert table[first, capacity] == pytest.approx(expected)
        value = kernels.pack_bounded(profit, size, most, first, table, counts)
        assert value == pytest.approx(expected)
        assert profit @ counts == pytest.approx(expected)
        assert size @ counts <= capacity
        assert (counts <= most).all()


@settings(max_examples=50, deadline=None)
@given(seeds, st.sampled_from([0.0, 3.0]))
def test_knapsack_with_conflicts(seed: int, floor: float) -> None:
    profit, size, most, capacity, conflict = _bounded(seed)
    table = np.zeros((len(profit) + 1, capacity + 1))
    kernels.fill_bounded(profit, size, most, table)
    counts, work = np.zeros(len(profit), np.int64), np.zeros((4, len(profit) + 1), np.int64)
    value, bound = kernels.pack_with_conflicts(profit, size, most, conflict, table, floor, 10**6, work, counts)
    expected = _naive_bounded(profit, size, most, capacity, conflict)
    assert value == bound == pytest.approx(max(floor, expected))
    if expected > floor:
        taken = np.flatnonzero(counts)
        assert profit @ counts == pytest.approx(expected)
        assert size @ counts <= capacity
        assert (counts <= most).all()
        assert not conflict[np.ix_(taken, taken)].any()


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 6))
def test_a_search_that_stops_early_gives_a_true_bound(seed: int, nodes: int) -> None:
    profit, size, most, capacity, conflict = _bounded(seed)
    table = np.zeros((len(profit) + 1, capacity + 1))
    kernels.fill_bounded(profit, size, most, table)
    counts, work = np.zeros(len(profit), np.int64), np.zeros((4, len(profit) + 1), np.int64)
    value, bound = kernels.pack_with_conflicts(profit, size, most, conflict, table, 0.0, nodes, work, counts)
    expected = _naive_bounded(profit, size, most, capacity, conflict)
    assert value <= expected + 1e-9 <= bound + 2e-9
    assert profit @ counts == pytest.approx(value)


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_binary_knapsack_and_forced_jobs(seed: int) -> None:
    random = np.random.default_rng(seed)
    n, capacity = int(random.integers(1, 8)), int(random.integers(0, 25))
    profit, use = np.round(random.uniform(-3, 10, n), 3), random.integers(0, 12, n)
    table = np.full((n + 1, capacity + 3), np.nan)
    kernels.fill_binary(profit, use, table, capacity)
    taken = np.zeros(n, np.bool_)
    value = kernels.pack_binary(profit, use, table, capacity, taken)
    inside, outside = np.zeros(n), np.zeros(n)
    kernels.forced_profits(profit, use, table, capacity, np.zeros(capacity + 1), inside, outside)
    subsets = [np.array(s, np.bool_) for s in itertools.product((False, True), repeat=n)]
    fitting = [s for s in subsets if use[s].sum() <= capacity]
    assert value == pytest.approx(max(profit[s].sum() for s in fitting))
    assert table[0, capacity] == pytest.approx(value)
    assert use[taken].sum() <= capacity
    for j in range(n):
        assert inside[j] == pytest.approx(max((profit[s].sum() for s in fitting if s[j]), default=-np.inf))
        assert outside[j] == pytest.approx(max(profit[s].sum() for s in fitting if not s[j]))
