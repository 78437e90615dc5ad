"""Generalised assignment: brute force on small ones, known optima on the published ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.core import Sense
from apportion.instances.errors import CapabilityError, InstanceError, PlanError
from apportion.solvers.columns.formulation import Duals
from apportion.solvers.columns.generalised_assignment import AssignmentPlan, solve_generalised_assignment
from apportion.solvers.columns.tree import TreeSettings
from apportion.solvers.events import Event, Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status
from column_brute import assignment_cost, cheapest_assignment, read_gap
from realdata import data_file

seeds = st.integers(0, 10**6)
TREE_ALONE = TreeSettings(master_every=0, dive_every=0, repair_every=0)


def small(seed: int, tight: float = 1.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    agents, jobs = int(random.integers(1, 4)), int(random.integers(1, 7))
    use = random.integers(0, 10, (agents, jobs))
    cost = random.integers(-3, 20, (agents, jobs)).astype(np.float64)
    if random.random() < 0.3:
        cost += np.round(random.random(cost.shape), 3)
    return cost, use, np.ceil(tight * use.sum(axis=1) / agents)


@settings(max_examples=50, deadline=None)
@given(seeds, st.sampled_from([0.7, 1.1]))
def test_small_ones_against_brute_force(seed: int, tight: float) -> None:
    cost, use, capacity = small(seed, tight)
    expected = cheapest_assignment(cost, use, capacity)
    for chosen in (None, TREE_ALONE):
        answer = solve_generalised_assignment(cost, use, capacity, SolveOptions(gap=0.0), settings=chosen)
        if expected == np.inf:
            assert answer.status is Status.INFEASIBLE
            assert answer.plan is None
            continue
        assert answer.status is Status.OPTIMAL
        assert answer.plan is not None
        assert answer.bounds.primal == pytest.approx(expected)
        assert answer.bounds.dual == pytest.approx(expected)
        assert assignment_cost(answer.plan.agents, cost, use, capacity) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(0, 5))
def test_stopped_early_every_bound_is_true(seed: int, nodes: int) -> None:
    cost, use, capacity = small(seed)
    expected = cheapest_assignment(cost, use, capacity)
    events: list[Event] = []
    monitor = Monitor(Sense.MINIMISE, events.append)
    options = SolveOptions(gap=0.05, node_limit=nodes)
    answer = solve_generalised_assignment(cost, use, capacity, options, monitor, settings=TREE_ALONE)
    assert answer.bounds.dual <= expected + 1e-6
    assert answer.bounds.primal >= expected - 1e-6
    assert all(e.bounds.dual <= expected + 1e-6 <= e.bounds.primal + 2e-6 for e in events)


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 3))
def test_tightening_keeps_what_is_better_than_the_cutoff(seed: int, above: int) -> None:
    from apportion.solvers.columns.generalised_assignment import node_of

    cost, use, capacity = small(seed)
    expected = cheapest_assignment(cost, use, capacity)
    if expected == np.inf:
        return
    node = node_of(cost, use, capacity)
    duals = Duals(np.asarray(np.random.default_rng(seed).uniform(-5, 25, size=(cost.shape[1],))))
    tighter = node.tighten(duals, [], expected + 0.5 * above)
    allowed = node.allowed if tighter is None else tighter.formulation.branching.allowed  # type: ignore[union-attr]
    kept = np.where(allowed, cost, 1e6)
    assert cheapest_assignment(kept, use, capacity) == pytest.approx(expected)


def test_the_same_call_gives_the_same_plan() -> None:
    random = np.random.default_rng(4)
    use, cost = random.integers(5, 25, (4, 24)), random.integers(10, 50, (4, 24))
    capacity = np.floor(0.9 * use.sum(axis=1) / 4)
    options = SolveOptions(gap=0.0, deterministic=True, node_limit=20)
    first, second = (solve_generalised_assignment(cost, use, capacity, options) for _ in range(2))
    assert first.plan == second.plan
    assert first.plan is not None
    assert first.counts == second.counts
    assert first.bounds == second.bounds


def test_faults_are_named() -> None:
    with pytest.raises(InstanceError, match=r"resource\[0\]\[1\]"):
        solve_generalised_assignment([[1, 2]], [[1, 0.5]], [3])
    with pytest.raises(InstanceError, match=r"resource\[0\]\[0\]"):
        solve_generalised_assignment([[1, 2]], [[-1, 1]], [3])
    with pytest.raises(InstanceError, match=r"capacity\[0\]"):
        solve_generalised_assignment([[1, 2]], [[1, 1]], [np.nan])
    with pytest.raises(InstanceError, match="cost"):
        solve_generalised_assignment([[1, np.inf]], [[1, 1]], [3])
    with pytest.raises(InstanceError, match="shape"):
        solve_generalised_assignment([[1, 2]], [[1, 1], [1, 1]], [3, 3, 3])
    with pytest.raises(CapabilityError, match="coarser"):
        solve_generalised_assignment([[1, 2]], [[10**9, 10**9]], [10**9])


def test_plans_round_trip() -> None:
    assert AssignmentPlan.from_dict(AssignmentPlan((0, 2, 1)).to_dict()) == AssignmentPlan((0, 2, 1))
    with pytest.raises(PlanError, match="agents"):
        AssignmentPlan.from_dict({"agents": ["x"]})


def _check_published(name: str, known: float, seconds: float) -> None:
    cost, use, capacity = read_gap(data_file(f"logistics/gap/{name}.txt"))
    answer = solve_generalised_assignment(cost, use, capacity, SolveOptions(gap=0.0, time_limit_s=seconds))
    assert answer.plan is not None
    assert assignment_cost(answer.plan.agents, cost, use, capacity) == answer.bounds.primal
    assert answer.status is Status.OPTIMAL
    assert answer.bounds.primal == answer.bounds.dual == known


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "known"),
    [("cattrysse1994/gap1-0", 261), ("cattrysse1994/gap5-0", 403), ("cattrysse1994/gap9-0", 482)],
)
def test_published_problems_to_optimality(name: str, known: int) -> None:
    _check_published(name, known, 60.0)


@pytest.mark.data
@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "known"),
    [("cattrysse1994/gap12-0", 974), ("chu1997/a10100", 1360), ("chu1997/b10100", 1407), ("chu1997/c05100", 1931)],
)
def test_larger_published_problems_to_optimality(name: str, known: int) -> None:
    _check_published(name, known, 240.0)


@pytest.mark.data
@pytest.mark.long
@pytest.mark.parametrize(("name", "known"), [("chu1997/d05100", 6353), ("yagiura2004/e10100", 11577)])
def test_hard_published_problems_are_bracketed(name: str, known: int) -> None:
    cost, use, capacity = read_gap(data_file(f"logistics/gap/{name}.txt"))
    answer = solve_generalised_assignment(cost, use, capacity, SolveOptions(gap=0.0, time_limit_s=40.0))
    assert answer.bounds.dual <= known <= answer.bounds.primal
    assert known - answer.bounds.dual <= 0.001 * known
