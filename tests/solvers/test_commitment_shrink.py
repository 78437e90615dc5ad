"""Presolve in numpy keeps the optimum, its points are points of the original, and what is infeasible stays so."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.models.commitment.arrays import formulate
from apportion.solvers.backends import backend_named
from apportion.solvers.commitment.shrink import Shrunk, shrink
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from tiny_fleets import optimum, tiny_fleet
from tiny_programs import exact_integer, exact_relaxation, make_program, tiny_programs


def solved(small: Shrunk) -> tuple[float, Floats | None]:
    """Optimum and point of the original by way of the small program."""
    answer = backend_named("highs").run(small.program, SolveOptions(gap=0.0), Monitor(Sense.MINIMISE))
    return (inf, None) if answer.values is None else (answer.bounds.primal, small.restored(answer.values))


def is_point(program: MixedIntegerProgram, values: Floats, tolerance: float = 1e-5) -> bool:
    columns = np.repeat(np.arange(program.num_columns), np.diff(program.matrix.starts))
    activity = np.bincount(program.matrix.rows, program.matrix.values * values[columns], minlength=program.num_rows)
    inside = np.all((values >= program.lower - tolerance) & (values <= program.upper + tolerance))
    rows = np.all((activity >= program.row_lower - tolerance) & (activity <= program.row_upper + tolerance))
    whole = np.abs(values - np.rint(values))[program.integer]
    return bool(inside and rows and np.all(whole <= tolerance))


def same_as(program: MixedIntegerProgram, best: float) -> None:
    found, values = solved(shrink(program))
    assert found == pytest.approx(best, rel=1e-6, abs=1e-5)
    if values is not None:
        assert is_point(program, values)
        assert float(program.cost @ values) + program.offset == pytest.approx(best, rel=1e-6, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(tiny_programs())
def test_linear_programs_keep_their_exact_optimum(program: MixedIntegerProgram) -> None:
    program = replace(program, sense=Sense.MINIMISE)
    best = exact_relaxation(program)
    same_as(program, inf if best is None else float(best))


@settings(max_examples=50, deadline=None)
@given(tiny_programs(integer=True))
def test_integer_programs_keep_their_exact_optimum(program: MixedIntegerProgram) -> None:
    program = replace(program, sense=Sense.MINIMISE)
    best = exact_integer(program)
    same_as(program, inf if best is None else float(best))


@settings(max_examples=50, deadline=None)
@given(tiny_programs(most=4), st.integers(0, 15))
def test_mixed_programs_keep_their_optimum(program: MixedIntegerProgram, pattern: int) -> None:
    integer = np.array([bool(pattern >> j & 1) for j in range(program.num_columns)])
    program = replace(program, sense=Sense.MINIMISE, integer=integer)
    same_as(program, optimum(program))


def test_what_a_row_leaves_of_a_whole_column_is_whole() -> None:
    """10 x >= 3 and 10 x <= 27 leave 1 and 2, whichever end the cost asks for."""
    for cost, best in ((1.0, 1.0), (-1.0, -2.0)):
        program = make_program([[10.0]], [3.0], [27.0], [cost], [0.0], [5.0], integer=True)
        same_as(program, best)
    nothing = make_program([[10.0]], [3.0], [7.0], [1.0], [0.0], [5.0], integer=True)
    assert solved(shrink(nothing))[0] == inf


def test_bounds_between_whole_numbers_count_as_those() -> None:
    program = make_program([[1.0, 1.0]], [-inf], [10.0], [1.0, -1.0], [0.3, 0.0], [4.0, 2.7], integer=True)
    same_as(program, 1.0 - 2.0)


def test_what_is_not_meant_for_it_comes_back_as_it_was() -> None:
    program = make_program([[1.0]], [0.0], [1.0], [1.0], [0.0], [inf])
    assert shrink(program).program is program
    maximised = make_program([[1.0]], [0.0], [1.0], [1.0], [0.0], [2.0], sense=Sense.MAXIMISE)
    assert shrink(maximised).program is maximised


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 0.95))
def test_commitments_with_states_fixed_keep_their_optimum(seed: int, share: float) -> None:
    """States fixed as in some plan, or at random: then there is often none."""
    random = np.random.default_rng(seed)
    formulation = formulate(tiny_fleet(seed, most_alike=2, periods=5))
    program = formulation.model.compile()
    columns = formulation.model.split(np.arange(program.num_columns, dtype=np.float64))["commit"].astype(np.int64)
    known = backend_named("highs").run(program, SolveOptions(), Monitor(Sense.MINIMISE)).values
    guess = random.integers(0, 2, columns.shape) * 1.0
    if known is not None and random.random() < 0.7:
        guess = np.rint(known[columns])
    chosen = random.random(columns.shape) < share
    lower, upper = np.array(program.lower), np.array(program.upper)
    allowed = chosen & (lower[columns] <= guess) & (guess <= upper[columns])
    lower[columns[allowed]] = upper[columns[allowed]] = guess[allowed]
    fixed = replace(program, lower=lower, upper=upper)
    same_as(fixed, optimum(fixed))


def test_a_commitment_with_all_states_fixed_gets_small() -> None:
    formulation = formulate(tiny_fleet(0))
    program = formulation.model.compile()
    values = backend_named("highs").run(program, SolveOptions(), Monitor(Sense.MINIMISE)).values
    assert values is not None
    whole = np.where(program.integer, np.rint(values), np.nan)
    fixed = np.isfinite(whole)
    lower, upper = np.where(fixed, whole, program.lower), np.where(fixed, whole, program.upper)
    small = shrink(replace(program, lower=lower, upper=upper))
    assert small.program.num_columns < 0.5 * program.num_columns
    assert small.program.num_rows < 0.5 * program.num_rows
    assert small.reduced(values).shape == (small.program.num_columns,)
