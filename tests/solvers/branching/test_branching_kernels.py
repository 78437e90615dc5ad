from __future__ import annotations

from math import floor

import numpy as np
import pytest

from apportion.solvers.branching.kernels import enter, fix_by_costs
from apportion.solvers.heuristics.arrays import problem_of
from apportion.solvers.heuristics.propagation.driver import domain_of
from apportion.solvers.heuristics.propagation.kernels import CONFLICT, CONSISTENT
from contract.programs import program

pytestmark = pytest.mark.kernels


@pytest.mark.parametrize("seed", range(20))
def test_fixing_by_costs_has_a_slow_twin(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = 8
    columns = np.sort(random.choice(size, 5, replace=False)).astype(np.int64)
    lower = random.integers(-3, 2, size).astype(np.float64)
    upper = lower + random.integers(0, 6, size)
    lower[random.random(size) < 0.1] = -np.inf
    reduced_costs = random.integers(-3, 4, size).astype(np.float64)
    slack = float(random.integers(0, 8)) + 0.5
    new_lower, new_upper = np.empty(5), np.empty(5)
    found = fix_by_costs(columns, reduced_costs, slack, lower, upper, new_lower, new_upper)
    changed = 0
    for k, j in enumerate(columns.tolist()):
        low, high, d = lower[j], upper[j], reduced_costs[j]
        if d > 0 and np.isfinite(low):
            high = min(high, low + floor(slack / d))
        if d < 0 and np.isfinite(high):
            low = max(low, high - floor(slack / -d))
        assert (new_lower[k], new_upper[k]) == (low, high)
        changed += (low, high) != (lower[j], upper[j])
    assert found == changed


def test_entering_a_box_propagates_and_is_taken_back() -> None:
    chain = problem_of(program([1, 1, 1], [[1, 1, 0], [0, 1, 1]], [1, 1], [1, 1], upper=1.0, integer=True))
    domain = domain_of(chain)
    column = np.array([0], np.int64)
    assert enter(chain, domain, column, np.array([1.0]), np.array([1.0]), True, 1000) == CONSISTENT
    assert domain.lower.tolist() == domain.upper.tolist() == [1.0, 0.0, 1.0]
    both = np.array([0, 1], np.int64)
    assert enter(chain, domain, both, np.ones(2), np.ones(2), True, 1000) == CONFLICT
    nothing = np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    enter(chain, domain, *nothing, True, 1000)
    assert domain.lower.tolist() == [0.0, 0.0, 0.0]
    assert domain.upper.tolist() == [1.0, 1.0, 1.0]
    assert enter(chain, domain, column, np.array([2.0]), np.array([3.0]), True, 1000) == CONFLICT
