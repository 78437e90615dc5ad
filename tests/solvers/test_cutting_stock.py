"""Cutting stock and bin packing: brute force on small ones, known optima on the published ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.core import Sense
from apportion.instances.errors import CapabilityError, InstanceError, PlanError
from apportion.solvers.columns.cutting_stock import CuttingPlan, first_fit_decreasing, solve_cutting_stock
from apportion.solvers.columns.formulation import Branch
from apportion.solvers.columns.generation import generate
from apportion.solvers.columns.patterns import Parts, PatternNode, root_node
from apportion.solvers.columns.rounding import is_whole
from apportion.solvers.columns.tree import TreeSettings
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Limit, Status
from column_brute import cuts_all, falkenauer, fewest_bins, schwerin_waescher
from realdata import data_file

seeds = st.integers(0, 10**6)
TREE_ALONE = TreeSettings(master_every=0, dive_every=0)
TRIPLETS = np.array(
    [499, 495, 485, 480, 480, 466, 462, 456, 441, 423, 404, 396, 290, 288, 286, 285, 281, 271, 266, 262]
)


def small(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    random = np.random.default_rng(seed)
    capacity = int(random.integers(10, 40))
    kinds = int(random.integers(1, 6))
    lengths = random.integers(max(1, capacity // 6), capacity + 1, kinds)
    demands = random.integers(0, 3, kinds)
    return lengths, demands, capacity


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_small_ones_against_brute_force(seed: int) -> None:
    lengths, demands, capacity = small(seed)
    expected = fewest_bins(np.repeat(lengths, demands).tolist(), capacity)
    for settings_ in (None, TREE_ALONE):
        answer = solve_cutting_stock(lengths, demands, capacity, SolveOptions(gap=0.0), settings=settings_)
        assert answer.status is Status.OPTIMAL
        assert answer.bounds.primal == answer.bounds.dual == expected
        assert answer.plan is not None
        assert answer.plan.num_rolls == expected
        assert cuts_all(answer.plan.patterns, lengths, demands, capacity)


def _optimum(parts: Parts) -> int:
    """By brute force over the original items, with joined parts as one item and conflicts checked by splitting sets."""
    items = [j for j in range(parts.count) for _ in range(int(parts.demand[j]))]

    def fewest(left: tuple[int, ...]) -> int:
        if not left:
            return 0
        first, rest = left[0], left[1:]
        best = len(left)
        for mask in range(1 << len(rest)):
            inside = [first] + [rest[i] for i in range(len(rest)) if mask >> i & 1]
            fits = sum(int(parts.size[j]) for j in inside) <= parts.capacity
            if fits and not parts.conflict[np.ix_(inside, inside)].any():
                best = min(best, 1 + fewest(tuple(rest[i] for i in range(len(rest)) if not mask >> i & 1)))
        return best

    return fewest(tuple(items))


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_children_hold_every_solution_and_not_the_fractional_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    kinds, counts = np.unique(random.integers(6, 20, 7), return_counts=True)
    branch = Branch(root_node(kinds, counts, 30).formulation(), [])
    for _ in range(4):
        node = branch.formulation.branching
        assert isinstance(node, PatternNode)
        found = generate(branch.formulation, branch.columns, Monitor(Sense.MINIMISE))
        assert found.bound <= _optimum(node.parts)
        if is_whole(found.values):
            return
        children = node.branch(found.used, found.values, found.columns)
        assert len(children) == 2
        best = []
        for child in children:
            inside = child.formulation.branching
            assert isinstance(inside, PatternNode)
            assert all(inside.parts.allows(c) for c in child.columns)
            best.append(_optimum(inside.parts))
        assert min(best) == _optimum(node.parts)
        branch = children[int(random.integers(2))]


def test_branching_closes_what_heuristics_are_kept_away_from() -> None:
    sizes = np.array([44, 24, 24, 22, 21, 17, 8, 6, 6, 6])
    sizes = np.concatenate((sizes, [33, 33, 34, 49, 51, 12, 38, 50, 29, 21]))
    answer = solve_cutting_stock(sizes, np.ones(20, int), 100, SolveOptions(gap=0.0), settings=TREE_ALONE)
    assert answer.status is Status.OPTIMAL
    assert answer.bounds.primal == np.ceil(sizes.sum() / 100)
    assert answer.plan is not None
    assert cuts_all(answer.plan.patterns, sizes, np.ones(20, int), 100)


def test_an_instance_whose_relaxation_does_not_round_up() -> None:
    """Five rolls would waste 5 in all: two of 44 are then left over from threes, and each costs a waste of 4."""
    lengths, demands = np.array([44, 33, 12]), np.array([5, 7, 17])
    answer = solve_cutting_stock(lengths, demands, 132, SolveOptions(gap=0.0))
    assert answer.extras["root_bound"] == 5.0
    assert answer.bounds.dual == answer.bounds.primal == 6.0


def test_events_tell_true_bounds_and_time_runs_out_politely() -> None:
    events: list[Event] = []
    monitor = Monitor(Sense.MINIMISE, events.append, 30.0)
    answer = solve_cutting_stock(TRIPLETS, np.ones(20, int), 1000, SolveOptions(gap=0.0), monitor)
    assert all(e.bounds.dual <= answer.bounds.primal for e in events)
    assert {EventKind.INCUMBENT, EventKind.BOUND} <= {e.kind for e in events}
    hurried = solve_cutting_stock(TRIPLETS, np.ones(20, int), 1000, SolveOptions(time_limit_s=1e-3))
    assert hurried.status in (Status.FEASIBLE, Status.OPTIMAL)
    assert hurried.bounds.dual <= answer.bounds.primal <= hurried.bounds.primal
    assert hurried.limit in (Limit.TIME, None)


def test_a_node_limit_and_a_cancel_are_honoured() -> None:
    random = np.random.default_rng(3)
    sizes = random.integers(20, 101, 80)
    options = SolveOptions(gap=0.0, node_limit=1)
    answer = solve_cutting_stock(sizes, np.ones(80, int), 150, options, settings=TREE_ALONE)
    assert answer.counts["nodes"] <= 1
    monitor = Monitor(Sense.MINIMISE)
    monitor.listener = lambda event: monitor.cancel() if event.kind is EventKind.BOUND else None
    stopped = solve_cutting_stock(sizes, np.ones(80, int), 150, SolveOptions(gap=0.0), monitor, settings=TREE_ALONE)
    assert stopped.status is Status.OPTIMAL or stopped.limit is Limit.INTERRUPTED
    assert stopped.bounds.dual <= answer.bounds.primal


def test_the_same_call_gives_the_same_plan() -> None:
    sizes = np.random.default_rng(8).integers(20, 101, 60)
    options = SolveOptions(gap=0.0, deterministic=True, node_limit=50)
    first, second = (solve_cutting_stock(sizes, np.ones(60, int), 150, options) for _ in range(2))
    assert first.plan == second.plan
    assert first.counts == second.counts


def test_nothing_to_cut_and_plans_round_trip() -> None:
    answer = solve_cutting_stock([3, 4], [0, 0], 5)
    assert answer.bounds.primal == answer.bounds.dual == 0
    plan = CuttingPlan(((2, (0, 1)), (1, (1,))))
    assert CuttingPlan.from_dict(plan.to_dict()) == plan
    with pytest.raises(PlanError, match="patterns"):
        CuttingPlan.from_dict({"patterns": [{}]})


@pytest.mark.parametrize(
    ("lengths", "demands", "capacity", "place"),
    [
        ([3, 11], [1, 1], 10, r"lengths\[1\]"),
        ([3, 0], [1, 1], 10, r"lengths\[1\]"),
        ([3, np.nan], [1, 1], 10, r"lengths\[1\]"),
        ([3, 2.5], [1, 1], 10, r"lengths\[1\]"),
        ([3, 2], [1, -1], 10, r"demands\[1\]"),
        ([3, 2], [1, np.inf], 10, r"demands\[1\]"),
        ([3, 2], [1], 10, "demands"),
        ([3, 2], [1, 1], 0, "capacity"),
        ([3, 2], [1, 1], np.inf, "capacity"),
    ],
)
def test_faults_are_named(lengths: list[float], demands: list[float], capacity: float, place: str) -> None:
    with pytest.raises(InstanceError, match=place):
        solve_cutting_stock(lengths, demands, capacity)  # type: ignore[arg-type]


def test_a_table_that_would_not_fit_is_refused_with_a_way_out() -> None:
    with pytest.raises(CapabilityError, match="coarser"):
        solve_cutting_stock([10**9 + 7, 3], [1, 1], 10**10)


def test_first_fit_decreasing_covers_demand() -> None:
    node = root_node(np.array([4, 7]), np.array([5, 3]), 11)
    made = np.zeros(2)
    for column in first_fit_decreasing(node.parts):
        assert node.parts.allows(column)
        made[column.rows] += column.values
    assert made.tolist() == [5.0, 3.0]


def _check_published(sizes: np.ndarray, demands: np.ndarray, capacity: int, known: int | None) -> None:
    answer = solve_cutting_stock(sizes, demands, capacity, SolveOptions(gap=0.0, time_limit_s=60.0))
    assert answer.status is Status.OPTIMAL
    assert answer.plan is not None
    assert cuts_all(answer.plan.patterns, sizes, demands, capacity)
    if known is not None:
        assert answer.bounds.primal in (known, known - 1)  # the files' records of 1996 were improved by one bin since


@pytest.mark.data
@pytest.mark.parametrize("name", ["binpack1", "binpack5"])
def test_published_problems_to_optimality(name: str) -> None:
    for _, sizes, capacity, known in falkenauer(data_file(f"logistics/packing/1d/{name}.txt"))[:5]:
        _check_published(sizes, np.ones(len(sizes), np.int64), capacity, known)


@pytest.mark.data
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["binpack1", "binpack2", "binpack5", "binpack6"])
def test_all_published_problems_to_optimality(name: str) -> None:
    for _, sizes, capacity, known in falkenauer(data_file(f"logistics/packing/1d/{name}.txt")):
        _check_published(sizes, np.ones(len(sizes), np.int64), capacity, known)


@pytest.mark.data
def test_schwerin_and_waescher_to_optimality() -> None:
    problems = schwerin_waescher(data_file("logistics/packing/1d/SCH_WAE1.BPP"))
    assert len(problems) == 100
    for _, lengths, demands, capacity in problems[:10]:
        _check_published(lengths, demands, capacity, None)
