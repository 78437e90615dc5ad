"""Bounds at every round, and masters written by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.core import Sense
from apportion.instances.errors import ModelError
from apportion.solvers.backends import backend_named
from apportion.solvers.columns.bounds import lagrangian_bound
from apportion.solvers.columns.cutting_stock import first_fit_decreasing
from apportion.solvers.columns.formulation import Column, Duals, Formulation, Priced
from apportion.solvers.columns.generation import Ended, Smoothing, generate
from apportion.solvers.columns.patterns import root_node
from apportion.solvers.columns.rounding import restricted_program
from apportion.solvers.columns.tree import branch_and_price
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Limit, Status
from column_brute import fewest_bins

seeds = st.integers(0, 10**6)


class Listed:
    """A pricing that knows all columns; ``slack`` makes its bound weaker, as an early stop would."""

    def __init__(self, columns: Sequence[Column], blocks: int, slack: float = 0.0) -> None:
        self.columns, self.blocks, self.slack = columns, blocks, slack

    def price(self, duals: Duals) -> Priced:
        least = np.full(self.blocks, np.inf)
        best: list[Column | None] = [None] * self.blocks
        for column in self.columns:
            reduced = column.reduced_cost(duals)
            if reduced < least[column.block]:
                least[column.block], best[column.block] = reduced, column
        return Priced([c for c in best if c is not None], least - self.slack)


def random_master(seed: int, unlimited: bool = False, slack: float = 0.0) -> tuple[Formulation, list[Column]]:
    random = np.random.default_rng(seed)
    rows, blocks = int(random.integers(2, 5)), int(random.integers(1, 4))
    columns = []
    for block in range(blocks):
        for subset in itertools.product((0, 1), repeat=rows):
            taken = np.flatnonzero(subset)
            if len(taken) and random.random() < 0.7:
                columns.append(Column(float(random.integers(1, 20)), taken, np.ones(len(taken)), block))
    if not columns:
        columns.append(Column(5.0, np.array([0]), np.ones(1)))
    kind = random.integers(0, 3, rows)
    cheapest = [min((c.cost for c in columns if c.block == k), default=0.0) for k in range(blocks)]
    formulation = Formulation(
        row_lower=np.where(kind == 2, -np.inf, 1.0),
        row_upper=np.where(kind == 0, np.inf, 1.0),
        block_least=np.zeros(blocks) if unlimited else random.integers(0, 2, blocks).astype(np.float64),
        block_most=np.full(blocks, np.inf) if unlimited else np.full(blocks, 2.0),
        least_cost=np.array(cheapest),
        pricing=Listed(columns, blocks, slack),
    )
    return formulation, columns


def relaxed_and_whole(formulation: Formulation, columns: list[Column]) -> tuple[float, float]:
    """The optimum over all columns, of the relaxation and in whole numbers; infinite when there is none."""
    program = restricted_program(formulation, columns)
    answers = [
        backend_named("highs").run(p, SolveOptions(gap=0.0), Monitor(Sense.MINIMISE))
        for p in (program.relaxed(), program)
    ]
    return tuple(a.bounds.primal if a.status is Status.OPTIMAL else np.inf for a in answers)  # type: ignore[return-value]


@settings(max_examples=50, deadline=None)
@given(seeds, st.booleans(), st.sampled_from([0.0, 0.5, 0.9]))
def test_generation_reaches_the_relaxation_and_every_bound_is_below_it(
    seed: int, unlimited: bool, alpha: float
) -> None:
    formulation, columns = random_master(seed, unlimited)
    relaxed, _ = relaxed_and_whole(formulation, columns)
    found = generate(formulation, [], Monitor(Sense.MINIMISE), smoothing=Smoothing(alpha))
    if relaxed == np.inf:
        assert found.ended is Ended.INFEASIBLE or (unlimited and found.ended is Ended.STOPPED)
        return
    assert found.ended is Ended.CONVERGED
    assert found.relaxation == pytest.approx(relaxed, abs=1e-6)
    assert found.bound == pytest.approx(relaxed, abs=1e-6)
    assert all(b <= relaxed + 1e-6 for b in found.bounds)
    assert list(found.bounds) == sorted(found.bounds)


@settings(max_examples=50, deadline=None)
@given(seeds, st.booleans())
def test_any_prices_give_a_true_bound(seed: int, unlimited: bool) -> None:
    formulation, columns = random_master(seed, unlimited, slack=0.25)
    relaxed, _ = relaxed_and_whole(formulation, columns)
    random = np.random.default_rng(seed)
    for _ in range(20):
        duals = Duals(random.normal(0.0, 8.0, formulation.num_rows))
        priced = formulation.pricing.price(Duals(_allowed(formulation, duals.rows)))
        bound = lagrangian_bound(formulation, Duals(_allowed(formulation, duals.rows)), priced)
        assert bound <= relaxed + 1e-7


def test_a_price_of_the_wrong_sign_proves_nothing() -> None:
    formulation = Formulation(
        np.ones(1),
        np.full(1, np.inf),
        np.zeros(1),
        np.ones(1),
        np.ones(1),
        Listed([Column(1.0, np.array([0]), np.ones(1))], 1),
    )
    duals = Duals(np.array([-1.0]))
    assert lagrangian_bound(formulation, duals, formulation.pricing.price(duals)) == -np.inf


def _allowed(formulation: Formulation, prices: np.ndarray) -> np.ndarray:
    up = np.where(np.isinf(formulation.row_upper), np.abs(prices), prices)
    return np.where(np.isinf(formulation.row_lower), -np.abs(up), up)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_a_pricing_that_proves_less_never_makes_a_bound_false(seed: int) -> None:
    formulation, columns = random_master(seed, slack=0.5)
    relaxed, whole = relaxed_and_whole(formulation, columns)
    found = generate(formulation, [], Monitor(Sense.MINIMISE))
    if whole < np.inf:
        assert found.ended is not Ended.INFEASIBLE
        assert found.bound <= relaxed + 1e-6
    answer = branch_and_price(formulation, [], SolveOptions(gap=0.0), Monitor(Sense.MINIMISE))
    if whole < np.inf:
        assert answer.bounds.dual <= whole + 1e-6
        assert answer.bounds.primal >= whole - 1e-6


def test_farley_bounds_a_master_whose_blocks_are_unlimited() -> None:
    columns = [Column(1.0, np.array([0, 1]), np.array([2.0, 1.0])), Column(1.0, np.array([1]), np.array([3.0]))]
    formulation = Formulation(
        np.array([4.0, 6.0]), np.full(2, np.inf), np.zeros(1), np.full(1, np.inf), np.ones(1), Listed(columns, 1)
    )
    duals = Duals(np.array([0.5, 0.5]))
    bound = lagrangian_bound(formulation, duals, formulation.pricing.price(duals))
    assert bound == pytest.approx(5.0 / 1.5)


@pytest.mark.parametrize("rounds", [1, 2, 3, 5, 8])
def test_stopped_early_the_bound_is_true(rounds: int) -> None:
    for seed in range(6):
        random = np.random.default_rng(seed)
        sizes = random.integers(5, 40, 9)
        kinds, counts = np.unique(sizes, return_counts=True)
        node = root_node(kinds, counts, 60)
        start = first_fit_decreasing(node.parts)
        optimum = fewest_bins(sizes.tolist(), 60)
        found = generate(node.formulation(), start, Monitor(Sense.MINIMISE), most_rounds=rounds)
        assert found.bound <= optimum
        assert all(b <= optimum + 1e-9 for b in found.bounds)


def test_a_cancelled_generation_stops_at_once() -> None:
    formulation, _ = random_master(1)
    monitor = Monitor(Sense.MINIMISE)
    monitor.cancel()
    found = generate(formulation, [], monitor)
    assert found.ended is Ended.STOPPED
    assert found.rounds == 0
    answer = branch_and_price(formulation, [], SolveOptions(), monitor)
    assert answer.status is Status.NO_SOLUTION
    assert answer.limit is Limit.INTERRUPTED


def test_smoothing_does_not_change_the_bound() -> None:
    random = np.random.default_rng(5)
    kinds = np.unique(random.integers(20, 100, 60))
    node = root_node(kinds, np.ones(len(kinds), np.int64), 150)
    values = []
    for smoothing in (Smoothing(0.0, automatic=False), Smoothing(0.8, automatic=False), Smoothing()):
        form = node.formulation()
        found = generate(form, first_fit_decreasing(node.parts), Monitor(Sense.MINIMISE), smoothing=smoothing)
        values.append(found.bound)
    assert len(set(values)) == 1


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ModelError, match="row_lower"):
        Formulation(np.zeros(2), np.zeros(3), np.zeros(1), np.ones(1), np.ones(1), Listed([], 1))
    with pytest.raises(ModelError, match="least_cost"):
        Formulation(np.zeros(2), np.zeros(2), np.zeros(1), np.ones(1), np.full(1, np.nan), Listed([], 1))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_search_without_branching_brackets_the_optimum(seed: int) -> None:
    formulation, columns = random_master(seed)
    _, whole = relaxed_and_whole(formulation, columns)
    answer = branch_and_price(formulation, columns, SolveOptions(gap=0.0), Monitor(Sense.MINIMISE))
    if whole == np.inf:
        assert answer.status in (Status.INFEASIBLE, Status.NO_SOLUTION)
        assert answer.chosen is None
        return
    assert answer.bounds.dual - 1e-6 <= whole
    assert answer.bounds.primal == pytest.approx(whole)  # the restricted master holds every column here
    assert answer.status is Status.OPTIMAL or answer.limit is Limit.METHOD


def test_maximising_rows_and_negative_costs() -> None:
    """Pick at most one of two sets that share a row; the better one earns 5."""
    columns = [Column(-5.0, np.array([0, 1]), np.ones(2)), Column(-3.0, np.array([1]), np.ones(1))]
    formulation = Formulation(
        np.full(2, -np.inf), np.ones(2), np.zeros(1), np.full(1, 2.0), np.array([-5.0]), Listed(columns, 1)
    )
    answer = branch_and_price(formulation, [], SolveOptions(gap=0.0), Monitor(Sense.MINIMISE))
    assert answer.status is Status.OPTIMAL
    assert answer.bounds.primal == answer.bounds.dual == -5.0
