"""The compiled loops of the priced method against linear programs of single jobs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocation_twins import best_worth, cheapest
from apportion.solvers.allocation import kernels

pytestmark = pytest.mark.kernels


def market(seed: int, jobs: int = 4, types: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    rates = np.round(random.uniform(0.0, 4.0, (jobs, types)), 1) * (random.random((jobs, types)) < 0.8)
    sizes = random.integers(1, 5, jobs).astype(np.float64)
    price = np.round(random.uniform(0.0, 2.0, types), 1) * (random.random(types) < 0.8)
    return rates, sizes, price


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), part=st.floats(0.0, 1.0))
def test_costs_are_least_and_shares_reach_the_rate(seed: int, part: float) -> None:
    rates, sizes, price = market(seed)
    wanted = part * rates.max(axis=1)
    x, load = np.zeros_like(rates), np.zeros(3)
    total = kernels.spread(rates, sizes, price, wanted, 1.0, x, load)
    twin = sum(cheapest(r, s, price, w) for r, s, w in zip(rates, sizes, wanted, strict=True) if w > 0)
    assert total == pytest.approx(twin, abs=1e-7)
    assert kernels.total_cost(rates, sizes, price, wanted) == pytest.approx(total, abs=1e-9)
    assert (rates * x).sum(axis=1) == pytest.approx(wanted)
    assert load == pytest.approx(sizes @ x)
    assert x.sum(axis=1).max() <= 1.0 + 1e-9


def test_too_fast_costs_infinitely() -> None:
    rates, x = np.array([[1.0, 2.0]]), np.zeros((1, 2))
    assert kernels.spread(rates, np.ones(1), np.ones(2), np.array([2.1]), 1.0, x, np.zeros(2)) == np.inf
    assert kernels.total_cost(rates, np.ones(1), np.ones(2), np.array([2.1])) == np.inf
    assert kernels.best_value(rates, np.ones(1), np.ones(2), rates, np.array([2.1]), 1.0, x, np.zeros(2)) == -np.inf


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_level_is_best_on_a_fine_grid(seed: int) -> None:
    rates, sizes, price = market(seed)
    random = np.random.default_rng(seed + 1)
    need = np.where(rates.max(axis=1) > 0, random.uniform(0.1, 2.0, 4), 0.0)
    fixed = random.uniform(0.0, 0.3, 4) * rates.max(axis=1)
    if not need.any():
        return
    level = kernels.best_level(rates, sizes, price, fixed, need, np.empty(16), np.empty(16))

    def worth(at: float) -> float:
        return at - float(kernels.total_cost(rates, sizes, price, fixed + need * at))

    top = float(((rates.max(axis=1) - fixed)[need > 0] / need[need > 0]).min())
    assert level <= top + 1e-9
    best = max(worth(at) for at in np.linspace(min(level, 0.0) - 1.0, top - 1e-9, 400))
    assert worth(level - 1e-12) >= best - 1e-6


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), part=st.sampled_from([0.0, 0.3, 0.9]))
def test_values_are_best(seed: int, part: float) -> None:
    rates, sizes, price = market(seed)
    value = np.random.default_rng(seed).uniform(-1.0, 3.0, rates.shape)
    least = part * rates.max(axis=1)
    x, load = np.zeros_like(rates), np.zeros(3)
    total = kernels.best_value(rates, sizes, price, value, least, 1.0, x, load)
    each = [best_worth(v, r, s, price, w) for v, r, s, w in zip(value, rates, sizes, least, strict=True)]
    assert total == pytest.approx(sum(each), abs=1e-7)
    assert total == pytest.approx(float((value * x).sum() - load @ price), abs=1e-9)
    assert ((rates * x).sum(axis=1) >= least - 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_logarithms_are_best_on_a_fine_grid(seed: int) -> None:
    rates, sizes, price = market(seed, jobs=1)
    if not rates.any():
        return
    weights, wanted = np.array([0.7]), np.zeros(1)
    total = kernels.best_logarithm(rates, sizes, price, weights, wanted)
    grid = np.linspace(1e-3, rates.max(), 500)
    worth = [0.7 * np.log(r) - kernels.total_cost(rates, sizes, price, np.array([r])) for r in grid]
    assert total >= max(worth) - 1e-9
    assert total == pytest.approx(0.7 * np.log(wanted[0]) - kernels.total_cost(rates, sizes, price, wanted))


def test_marginal_costs_are_slopes() -> None:
    rates, sizes, price = np.array([[1.0, 3.0]]), np.array([2.0]), np.array([1.0, 4.0])
    slopes = np.empty(1)
    for wanted, slope in ((0.5, 2.0), (1.0, 2.0), (2.0, 3.0), (3.0, 3.0), (3.1, np.inf)):
        kernels.marginal_costs(rates, sizes, price, np.array([wanted]), slopes)
        assert slopes[0] == pytest.approx(slope)
