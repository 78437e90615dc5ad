from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from apportion.instances.generate.benchmark_programs import generalised_assignment, set_cover
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.heuristics.arrays import problem_of
from apportion.solvers.heuristics.dive.driver import Guide, dive, guide
from apportion.solvers.heuristics.dive.kernels import nearest
from heuristic_twins import breaks, points, small_program, small_programs

pytestmark = pytest.mark.kernels
EFFORT = 10**6


@pytest.mark.parametrize("kind", list(Guide))
@given(program=small_programs())
@settings(max_examples=40, deadline=None)
def test_with_enough_backtracks_a_dive_decides_feasibility(kind: Guide, program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    feasible = points(problem)
    order, preferred = guide(problem, kind, np.random.default_rng(0))
    outcome = dive(problem, order, preferred, 10_000, EFFORT)
    assert outcome.complete == bool(feasible)
    assert outcome.infeasible == (not feasible)
    if outcome.complete:
        assert any((outcome.values == point).all() for point in feasible)


@given(program=small_programs())
@settings(max_examples=40, deadline=None)
def test_a_dive_with_few_backtracks_claims_nothing_false(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    order, preferred = guide(problem, Guide.COST, np.random.default_rng(0))
    outcome = dive(problem, order, preferred, 1, EFFORT)
    assert (outcome.values >= problem.lower).all()
    assert (outcome.values <= problem.upper).all()
    if outcome.complete:
        assert breaks(problem, outcome.values) == 0.0
    if outcome.infeasible:
        assert not points(problem)


def test_without_conflicts_the_preference_is_met() -> None:
    problem = problem_of(small_program([1.0, 1.0, 1.0], [([1.0, 1.0, 1.0], 0.0, 3.0)]))
    outcome = dive(problem, np.arange(3), np.array([0.2, 0.8, np.nan]), 0, EFFORT)
    assert outcome.complete
    assert outcome.values.tolist() == [0.0, 1.0, 0.0]


def test_effort_ends_a_dive_and_keeps_what_is_fixed() -> None:
    problem = problem_of(generalised_assignment(1, 5, 30))
    order, preferred = guide(problem, Guide.RANDOM, np.random.default_rng(1))
    outcome = dive(problem, order, preferred, 5, 500)
    assert not outcome.complete
    assert not outcome.infeasible


def test_the_same_seed_gives_the_same_dive() -> None:
    problem = problem_of(set_cover(3, 40, 80, 0.1))
    runs = []
    for _ in range(2):
        order, preferred = guide(problem, Guide.RANDOM, np.random.default_rng(5))
        runs.append(dive(problem, order, preferred, 10, EFFORT).values.tobytes())
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("lower", "upper", "preferred", "expected"),
    [(0.0, 5.0, 2.4, 2.0), (0.0, 5.0, 9.0, 5.0), (1.0, 5.0, -3.0, 1.0), (-2.0, 2.0, np.nan, 0.0)],
)
def test_nearest_stays_in_the_box(lower: float, upper: float, preferred: float, expected: float) -> None:
    assert nearest(lower, upper, preferred, True) == expected
