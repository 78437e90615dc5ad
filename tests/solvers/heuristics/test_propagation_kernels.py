from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings

from apportion.instances.generate.benchmark_programs import lot_sizing, set_cover
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.heuristics.arrays import problem_of
from apportion.solvers.heuristics.propagation import kernels
from apportion.solvers.heuristics.propagation.driver import domain_of, tightened
from heuristic_twins import points, propagated, small_program, small_programs

pytestmark = pytest.mark.kernels
EFFORT = 10**6


@given(program=small_programs())
@settings(max_examples=50, deadline=None)
def test_propagation_never_cuts_off_a_feasible_point(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    feasible = points(problem)
    box = tightened(problem, EFFORT)
    if box is None:
        assert not feasible
        return
    for point in feasible:
        assert (point >= box.lower).all()
        assert (point <= box.upper).all()


@given(program=small_programs())
@settings(max_examples=50, deadline=None)
def test_propagation_agrees_with_its_twin(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    box, twin = tightened(problem, EFFORT), propagated(problem)
    assert (box is None) == (twin is None)
    if box is not None and twin is not None:
        assert box.lower.tolist() == twin[0].tolist()
        assert box.upper.tolist() == twin[1].tolist()


@given(program=small_programs())
@settings(max_examples=30, deadline=None)
def test_undo_restores_bounds_and_activities(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    domain = domain_of(problem)
    kernels.clear_queue(domain)
    before = [np.array(part) for part in (domain.lower, domain.upper, domain.least, domain.most)]
    kernels.tighten(problem, domain, 0, domain.upper[0], domain.upper[0])
    kernels.propagate(problem, domain, EFFORT)
    kernels.undo(problem, domain, 0)
    after = (domain.lower, domain.upper, domain.least, domain.most)
    for was, now in zip(before, after, strict=True):
        np.testing.assert_allclose(now, was, atol=1e-9)
    assert not domain.queued.any()


def test_infinite_bounds_become_finite_where_a_row_says_so() -> None:
    program = small_program(
        [1.0, 1.0], [([2.0, 1.0], -inf, 7.0)], lower=[0.0, 0.0], upper=[inf, inf], integer=[True, False]
    )
    box = tightened(problem_of(program), EFFORT)
    assert box is not None
    assert box.upper.tolist() == [3.0, 7.0]


def test_two_infinite_terms_bound_nothing() -> None:
    program = small_program([1.0, 1.0], [([1.0, -1.0], 0.0, 0.0)], lower=[-inf, -inf], upper=[inf, inf])
    box = tightened(problem_of(program), EFFORT)
    assert box is not None
    assert np.isinf(box.lower).all()
    assert np.isinf(box.upper).all()


def test_a_chain_of_ever_smaller_steps_ends_by_effort() -> None:
    rows = [([1.0, -1.0], -inf, -1.0), ([-1.0, 1.0], -inf, -1.0)]
    program = small_program([0.0, 0.0], rows, lower=[0.0, 0.0], upper=[inf, inf])
    tightened(problem_of(program), 10_000)


@pytest.mark.parametrize("program", [set_cover(1, 30, 60, 0.1), lot_sizing(1, 3, 6)], ids=str)
def test_activities_stay_true_on_larger_programs(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    domain = domain_of(problem)
    kernels.propagate(problem, domain, EFFORT)
    for j in range(0, problem.num_columns, 3):
        if domain.lower[j] < domain.upper[j] < inf and problem.integer[j]:
            kernels.tighten(problem, domain, j, domain.lower[j], domain.lower[j])
            if kernels.propagate(problem, domain, EFFORT) != kernels.CONSISTENT:
                break
    least, opened = domain.least.copy(), domain.least_open.copy()
    for i in range(problem.num_rows):
        kernels.refresh(problem, domain, i)
    assert opened.tolist() == domain.least_open.tolist()
    np.testing.assert_allclose(least, domain.least, atol=1e-6)
