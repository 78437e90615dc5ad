from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.generate.benchmark_programs import lot_sizing, set_cover
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.heuristics.arrays import problem_of, start_values
from apportion.solvers.heuristics.jump import kernels
from apportion.solvers.heuristics.jump.driver import FeasibilityJump, _jumps_of
from heuristic_twins import breaks, jump_cost, points, row_breaks, small_programs

pytestmark = pytest.mark.kernels


@given(program=small_programs())
@settings(max_examples=50, deadline=None)
def test_every_jump_is_a_best_value_and_its_score_is_true(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    jumps = _jumps_of(problem, 1)
    jumps.values[:] = start_values(problem)
    kernels.reset(problem, jumps, 0.0)
    for _ in range(8):
        assert jumps.counters[kernels.BROKEN] == (row_breaks(problem, jumps.values) > 0.0).sum()
        for j in range(problem.num_columns):
            now = jump_cost(problem, jumps.values, jumps.weight, j, float(jumps.values[j]))
            then = jump_cost(problem, jumps.values, jumps.weight, j, float(jumps.jump[j]))
            assert jumps.score[j] == pytest.approx(now - then, abs=1e-6)
            others = [
                jump_cost(problem, jumps.values, jumps.weight, j, float(value))
                for value in np.arange(problem.lower[j], problem.upper[j] + 1)
                if value != jumps.values[j]
            ]
            if jumps.jump[j] != jumps.values[j]:
                assert then == pytest.approx(min(others), abs=1e-6)
        kernels.jump_chunk(problem, jumps, 0.0, 1)


@given(program=small_programs(), seed=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_a_point_that_it_calls_feasible_is(program: MixedIntegerProgram, seed: int) -> None:
    problem = problem_of(program)
    search = FeasibilityJump(problem, seed=seed)
    met = search.run(50_000)
    assert (search.values >= problem.lower).all()
    assert (search.values <= problem.upper).all()
    assert met == (breaks(problem, search.values) == 0.0)
    if met:
        assert points(problem)


@pytest.mark.parametrize("program", [set_cover(1, 40, 80, 0.1), lot_sizing(1, 3, 6)], ids=lambda p: p.name)
def test_it_finds_points_and_repeats_itself(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    ended = []
    for _ in range(2):
        search = FeasibilityJump(problem, seed=7)
        assert search.run(5_000_000)
        assert problem.violation(search.values) <= 1e-6
        ended.append(search.values.tobytes())
    assert ended[0] == ended[1]


@given(pairs=st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 99)), max_size=30))
@settings(max_examples=40, deadline=None)
def test_sort_pairs_sorts_and_keeps_partners(pairs: list[tuple[float, int]]) -> None:
    keys = np.array([key for key, _ in pairs], np.float64)
    partners = np.array([partner for _, partner in pairs], np.float64)
    kernels.sort_pairs(keys, partners, len(pairs))
    assert keys.tolist() == sorted(key for key, _ in pairs)
    assert sorted(zip(keys.tolist(), partners.tolist(), strict=True)) == sorted((k, float(p)) for k, p in pairs)
