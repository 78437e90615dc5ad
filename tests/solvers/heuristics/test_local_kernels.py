from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.generate.benchmark_programs import multi_knapsack, set_cover
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.heuristics.arrays import Problem, problem_of, start_values
from apportion.solvers.heuristics.local import kernels
from apportion.solvers.heuristics.local.driver import LocalSearch, _search_of
from apportion.solvers.heuristics.local.kernels import Search
from heuristic_twins import breaks, dense, move_score, points, row_breaks, small_program, small_programs

pytestmark = pytest.mark.kernels


def _search_at(problem: Problem, values: np.ndarray) -> Search:
    search = _search_of(problem, 1)
    search.values[:] = values
    kernels.recompute(problem, search)
    return search


def _agrees(problem: Problem, search: Search) -> None:
    broken = np.flatnonzero(row_breaks(problem, search.values) > 0.0)
    assert sorted(search.broken[: search.counters[kernels.BROKEN]].tolist()) == broken.tolist()
    np.testing.assert_allclose(search.activity, dense(problem) @ search.values, atol=1e-9)
    assert search.scalars[kernels.OBJECTIVE] == pytest.approx(problem.cost @ search.values)


@given(program=small_programs(), random=st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_moves_keep_activities_and_violated_rows(program: MixedIntegerProgram, random: object) -> None:
    problem = problem_of(program)
    search = _search_at(problem, start_values(problem))
    for k in range(12):
        j = k % problem.num_columns
        value = problem.lower[j] if k % 3 else problem.upper[j]
        kernels.move(problem, search, j, value)
        _agrees(problem, search)


@given(program=small_programs(), best=st.sampled_from((inf, -3.0, 0.0, 4.0)), at_upper=st.booleans())
@settings(max_examples=50, deadline=None)
def test_scores_agree_with_their_twin(program: MixedIntegerProgram, best: float, at_upper: bool) -> None:
    problem = problem_of(program)
    search = _search_at(problem, problem.upper if at_upper else problem.lower)
    search.weight[:] = 1.0 + np.arange(problem.num_rows)
    search.scalars[kernels.BEST], search.scalars[kernels.STEP] = best, 1.0
    search.scalars[kernels.OBJECTIVE_WEIGHT] = 3.0
    for j in range(problem.num_columns):
        for value in np.arange(problem.lower[j], problem.upper[j] + 1):
            if value == search.values[j]:
                continue
            twin = move_score(problem, search.values, search.weight, j, float(value), best, 1.0, 3.0)
            assert kernels.score(problem, search, j, float(value)) == pytest.approx(twin)


@given(program=small_programs())
@settings(max_examples=50, deadline=None)
def test_a_tight_move_mends_its_row_or_ends_at_a_bound(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    search = _search_at(problem, start_values(problem))
    broken = row_breaks(problem, search.values)
    for i in range(problem.num_rows):
        for at in range(problem.row_starts[i], problem.row_starts[i + 1]):
            j = problem.row_columns[at]
            value = kernels.tight_value(problem, search, i, at)
            assert problem.lower[j] <= value <= problem.upper[j]
            after = search.values.copy()
            after[j] = value
            activity = dense(problem)[i] @ after
            if broken[i] == 0.0:
                assert row_breaks(problem, after)[i] == 0.0
            elif problem.lower[j] < value < problem.upper[j]:
                below = search.activity[i] < problem.row_lower[i]
                assert activity >= problem.row_lower[i] if below else activity <= problem.row_upper[i]


@given(program=small_programs())
@settings(max_examples=50, deadline=None)
def test_lifts_are_the_longest_feasible_steps(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    for point in points(problem)[:5]:
        search = _search_at(problem, point)
        for j in np.flatnonzero(problem.cost):
            longest = point[j]
            step = 1.0 if problem.cost[j] < 0.0 else -1.0
            while problem.lower[j] <= longest + step <= problem.upper[j]:
                after = point.copy()
                after[j] = longest + step
                if breaks(problem, after) > 0.0:
                    break
                longest += step
            assert kernels.lift_value(problem, search, int(j)) == longest


@given(program=small_programs())
@settings(max_examples=50, deadline=None)
def test_one_opt_ends_feasible_and_where_no_single_column_helps(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    for point in points(problem)[:3]:
        search = _search_at(problem, point)
        kernels.one_opt(problem, search, np.arange(problem.num_columns))
        _agrees(problem, search)
        assert breaks(problem, search.values) == 0.0
        assert problem.cost @ search.values <= problem.cost @ point + 1e-9
        for j in np.flatnonzero(problem.cost):
            after = search.values.copy()
            after[j] -= np.sign(problem.cost[j])
            if problem.lower[j] <= after[j] <= problem.upper[j]:
                assert breaks(problem, after) > 0.0


@given(program=small_programs(), seed=st.integers(0, 50))
@settings(max_examples=50, deadline=None)
def test_the_incumbent_is_feasible_and_mostly_the_optimum(program: MixedIntegerProgram, seed: int) -> None:
    problem = problem_of(program)
    feasible = points(problem)
    search = LocalSearch(problem, seed=seed)
    for _ in range(4):
        search.run(2_000)
    best = search.best
    if best is None:
        return
    assert any((best == point).all() for point in feasible)
    assert search.objective == pytest.approx(problem.cost @ best)
    assert search.objective >= min(problem.cost @ point for point in feasible) - 1e-9


def test_it_reaches_the_known_optimum_of_a_knapsack() -> None:
    # 3a + 4b + 5c + 9d + 4e <= 11 for 3, 4, 4, 10, 4: a, b, e are worth 11
    program = small_program([-3.0, -4.0, -4.0, -10.0, -4.0], [([3.0, 4.0, 5.0, 9.0, 4.0], -inf, 11.0)])
    search = LocalSearch(problem_of(program), seed=1)
    for _ in range(10):
        search.run(10_000)
    assert search.objective == -11.0


@pytest.mark.parametrize("program", [set_cover(1, 60, 120, 0.1), multi_knapsack(1, 5, 60)], ids=lambda p: p.name)
def test_the_same_seed_and_effort_give_the_same_incumbent(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    runs = []
    for _ in range(2):
        search = LocalSearch(problem, seed=3)
        for _ in range(5):
            search.run(20_000)
        assert search.best is not None
        assert problem.violation(search.best) <= 1e-6
        runs.append(search.best.tobytes())
    assert runs[0] == runs[1]


def test_an_incumbent_from_elsewhere_is_taken_only_when_feasible_and_better() -> None:
    problem = problem_of(small_program([1.0, 2.0], [([1.0, 1.0], 1.0, inf)]))
    search = LocalSearch(problem, seed=1)
    assert not search.accept(np.array([0.0, 0.0]))
    assert search.accept(np.array([0.0, 1.0]))
    assert not search.accept(np.array([1.0, 1.0]))
    assert search.objective == 2.0
    search.run(1000)
    assert search.objective == 1.0
