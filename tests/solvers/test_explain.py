from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from math import inf

import numpy as np
import pytest
from hypothesis import assume, given, settings

from apportion.instances.core import Sense
from apportion.instances.errors import ModelError, OptionError, PlanError
from apportion.instances.program import Indicator, MixedIntegerProgram, SparseColumns, SpecialOrderedSet, VariableValues
from apportion.instances.routing import Routes
from apportion.models.algebra import Model
from apportion.models.explaining import Conflict, Diagnosis, Explanation
from apportion.models.program.groups import Writer, groups_of_program
from apportion.solvers.explain import explain, explain_program, explain_text
from apportion.solvers.explaining.conflicts import find_conflict
from apportion.solvers.explaining.feasibility import Budget
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance
from tiny_programs import (
    dense_of,
    exact_integer,
    exact_relaxation,
    is_feasible,
    make_program,
    solve_square,
    tiny_programs,
)

OPTIONS = SolveOptions(gap=0.0)
WIDE = 60
"""Bounds that are left out become this wide in brute force, which no conflict of the tiny figures here can notice."""


def only(program: MixedIntegerProgram, rows: Iterable[int], bounds: Iterable[int]) -> MixedIntegerProgram:
    """The program with these rows and these bounds; binary columns keep theirs."""
    kept_rows, kept_bounds = list(rows), set(bounds)
    binary = program.integer & (program.lower >= 0) & (program.upper <= 1)
    free = [j for j in range(program.num_columns) if j not in kept_bounds and not binary[j]]
    lower, upper = program.lower.copy(), program.upper.copy()
    lower[free], upper[free] = -inf, inf
    dense = [[float(v) for v in row] for row in dense_of(program)]
    return make_program(
        [dense[i] for i in kept_rows],
        program.row_lower[kept_rows],
        program.row_upper[kept_rows],
        np.zeros(program.num_columns),
        lower,
        upper,
        integer=program.integer.tolist(),
    )


def has_plan(program: MixedIntegerProgram) -> bool:
    """By brute force, infinite bounds replaced by wide ones."""
    wide = 6 if program.integer.any() else WIDE
    boxed = replace(
        program,
        lower=np.where(np.isfinite(program.lower), program.lower, -wide),
        upper=np.where(np.isfinite(program.upper), program.upper, wide),
    )
    return (exact_integer(boxed) if program.integer.any() else exact_relaxation(boxed)) is not None


def conflict_of(explanation: Explanation) -> Conflict:
    assert explanation.diagnosis is Diagnosis.INFEASIBLE
    assert explanation.conflict is not None
    return explanation.conflict


@given(tiny_programs())
@settings(max_examples=50, deadline=None)
def test_conflicts_of_linear_programs_conflict_and_are_minimal(program: MixedIntegerProgram) -> None:
    assume(program.num_rows and exact_relaxation(program) is None)
    # the backend's tolerance decides what lies within 1e-6
    assume(exact_relaxation(loosened(program, 1e-5)) is None)
    conflict = conflict_of(explain_program(program, OPTIONS))
    assert conflict.minimal
    assert not has_plan(only(program, conflict.rows, conflict.bounds))
    for row in conflict.rows:
        assert has_plan(loosened(only(program, set(conflict.rows) - {row}, conflict.bounds), 1e-5))
    for column in conflict.bounds:
        assert has_plan(loosened(only(program, conflict.rows, set(conflict.bounds) - {column}), 1e-5))


def loosened(program: MixedIntegerProgram, slack: float) -> MixedIntegerProgram:
    return replace(program, row_lower=program.row_lower - slack, row_upper=program.row_upper + slack)


@given(tiny_programs(integer=True, most=3))
@settings(max_examples=50, deadline=None)
def test_conflicts_of_integer_programs_conflict(program: MixedIntegerProgram) -> None:
    optimum = exact_integer(loosened(program, 1e-5))
    explanation = explain_program(program, SolveOptions(time_limit_s=10.0))
    if optimum is not None:
        assert explanation.diagnosis is not Diagnosis.INFEASIBLE or exact_integer(program) is None
        return
    conflict = conflict_of(explanation)
    part = only(program, conflict.rows, conflict.bounds)
    assert not has_plan(part)
    if conflict.needs_integers:
        assert has_plan(loosened(part.relaxed(), 1e-5))  # the whole may hold another conflict, of its relaxation


@pytest.mark.parametrize("size", [3, 5, 9])
@pytest.mark.parametrize("integer", [False, True])
def test_planted_cycles_are_found_whole_and_alone(size: int, integer: bool) -> None:
    program, planted = planted_cycle(size, integer)
    conflict = conflict_of(explain_program(program, OPTIONS))
    assert set(conflict.rows) == planted
    assert conflict.bounds == ()
    assert conflict.minimal
    assert not conflict.needs_integers
    assert "exact arithmetic" in conflict.proof


def planted_cycle(size: int, integer: bool) -> tuple[MixedIntegerProgram, set[int]]:
    """``x_i - x_{i+1} >= 1`` around a cycle, among rows that conflict with no smaller part of it."""
    rng = np.random.default_rng(size)
    n, noise = 12, 20
    # one point for each row of the cycle, which breaks that row alone
    points = np.repeat(rng.integers(0, 9, (n, 1)), size, axis=1).astype(float)
    for k in range(size):
        points[[(k + 1 + i) % size for i in range(size)], k] = np.arange(size)[::-1]
    rows = np.where(rng.random((noise, n)) < 0.3, rng.integers(-3, 4, (noise, n)), 0).astype(float)
    cycle = np.zeros((size, n))
    for k in range(size):
        cycle[k, k], cycle[k, (k + 1) % size] = 1.0, -1.0
    matrix = np.vstack([rows[:10], cycle, rows[10:]])
    upper = np.concatenate([(rows[:10] @ points).max(axis=1), np.full(size, inf), (rows[10:] @ points).max(axis=1)])
    lower = np.full(noise + size, -inf)
    lower[10 : 10 + size] = 1.0
    program = make_program(matrix.tolist(), lower, upper, np.ones(n), np.zeros(n), np.full(n, 9.0), integer=integer)
    return program, set(range(10, 10 + size))


def test_a_conflict_that_only_the_integers_make() -> None:
    # pairwise at most one of three, and at least two of them: 0.5 + 0.5 + 0.5 would do for 1.5
    rows = [[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]]
    names = ("clash[0]", "clash[1]", "clash[2]", "need", "spare")
    program = make_program(
        rows,
        [-inf, -inf, -inf, 1.5, -inf],
        [1, 1, 1, inf, 1],
        [1, 1, 1],
        [0] * 3,
        [1] * 3,
        integer=True,
        row_names=names,
    )
    conflict = conflict_of(explain_program(program, OPTIONS))
    assert conflict.needs_integers
    assert conflict.minimal
    assert conflict.groups == ("clash", "need")
    assert set(conflict.rows) == {0, 1, 2, 3}
    assert "as long as variables must be whole" in str(conflict)


def test_time_that_is_up_is_said_and_the_answer_stays_true() -> None:
    program, _ = planted_cycle(5, False)
    conflict = find_conflict(program, groups_of_program(program), Budget(OPTIONS, 1e-9), "highs")
    assert conflict is None
    integral = odd_cycle(11)
    found = find_conflict(integral, groups_of_program(integral), Budget(OPTIONS, 0.05), "highs")
    if found is not None and not found.minimal:
        assert "time was up" in str(found)
        assert explain_program(only(integral, found.rows, found.bounds), OPTIONS).relaxation is not None


def odd_cycle(size: int) -> MixedIntegerProgram:
    """At most one of each two neighbours, and more than half of all."""
    rows = [[1.0 if j in (i, (i + 1) % size) else 0.0 for j in range(size)] for i in range(size)]
    rows.append([1.0] * size)
    low = [-inf] * size + [size / 2]
    return make_program(rows, low, [1.0] * size + [inf], [1.0] * size, [0] * size, [1] * size, integer=True)


def test_screens_speak_of_one_column_or_row() -> None:
    crossed = make_program([[1]], [0], [1], [1], [3], [2])
    assert str(explain(crossed)).splitlines()[2] == (
        "  x0 has no value between its lower bound 3 and its upper bound 2"
    )
    hole = make_program([[1]], [0], [1], [1], [0.2], [0.8], integer=True)
    assert "no whole number between" in str(explain(hole))
    rows = make_program([[1]], [3], [2], [1], [0], [9], row_names=("both",))
    assert "both must be at least 3 and at most 2" in str(explain(rows))
    parity = make_program([[2, 4]], [3], [3], [1, 1], [0, 0], [9, 9], integer=True)
    explanation = explain(parity)
    assert "r0: its left side is a multiple of 2 for whole numbers and must be 3" in str(explanation)
    assert conflict_of(explanation).needs_integers
    reach = make_program([[1, 2]], [10], [inf], [1, 1], [0, 0], [3, 2], row_names=("need[4]",))
    explanation = explain(reach)
    assert explanation.findings[0].amount == 3
    assert "need[4] must be at least 10, and within the bounds of its variables it is at most 7: 3 are missing" in str(
        explanation
    )
    assert conflict_of(explanation).bounds == (0, 1)


def depot() -> Model:
    model = Model("depot")
    ship = model.add_variables("ship", (2, 3), upper=[[9, 9, 9], [20, 20, 20]])
    model.add_constraints("supply", ship.sum(axis=1) <= [30, 10])
    model.add_constraints("demand", ship.sum(axis=0) >= [12, 20, 8])
    model.minimise(ship.sum())
    return model


def test_the_blocks_of_a_model_are_its_groups() -> None:
    explanation = explain(depot())
    conflict = conflict_of(explanation)
    assert set(conflict.groups) <= {"supply", "demand", "bounds of ship"}
    text = str(explanation)
    assert "supply[1]: ship[1,0] + ship[1,1] + ship[1,2] <= 10" in text
    assert "demand[1]: ship[0,1] + ship[1,1] >= 20" in text
    assert explanation.relaxation is not None
    assert explanation.relaxation.cheapest
    assert explanation.relaxation.confirmed
    # 12 - 9 + 20 - 9 + 0 over the second depot's 10
    assert explanation.relaxation.cost == pytest.approx(4)
    assert "raise supply[1] by 4 (its upper limit, from 10 to 14)" in text or "lower demand" in text


def test_weights_choose_what_changes() -> None:
    dear = explain(depot(), weights={"demand": 10.0}).relaxation
    assert dear is not None
    assert [str(change) for change in dear.changes] == ["raise supply[1] by 4 (its upper limit, from 10 to 14)"]
    assert dear.by_group() == {"supply": pytest.approx(4)}
    kept = explain(depot(), weights={"supply": inf}).relaxation
    assert kept is not None
    assert set(kept.by_group()) == {"demand"}
    with pytest.raises(ModelError, match="no group 'suply'"):
        explain(depot(), weights={"suply": 1.0})
    with pytest.raises(ModelError, match="must be positive"):
        explain(depot(), weights={"supply": 0.0})


@given(tiny_programs(most=2))
@settings(max_examples=30, deadline=None)
def test_relaxations_cost_the_least(program: MixedIntegerProgram) -> None:
    assume(program.num_rows and exact_relaxation(loosened(program, 1e-5)) is None)
    relaxation = explain_program(program, OPTIONS).relaxation
    assert relaxation is not None
    assert relaxation.cheapest
    assert relaxation.confirmed
    assert relaxation.cost == pytest.approx(sum(relaxation.by_group().values()), abs=1e-6)
    assert relaxation.cost == pytest.approx(float(least_violation(program)), abs=1e-6)


def least_violation(program: MixedIntegerProgram) -> Fraction:
    """The least total violation of the rows over the box, by enumerating where each term changes slope."""
    rows = dense_of(program)
    n = program.num_columns
    boxed = make_program([], [], [], program.cost, program.lower, program.upper)
    lines = [([Fraction(int(i == j)) for j in range(n)], {program.lower[i], program.upper[i]}) for i in range(n)]
    lines += [(row, {lo, up}) for row, lo, up in zip(rows, program.row_lower, program.row_upper, strict=True)]
    faces = [(row, Fraction(float(side))) for row, sides in lines for side in sides if np.isfinite(side)]
    best = None
    for chosen in itertools.combinations(faces, n):
        point = solve_square([row for row, _ in chosen], [side for _, side in chosen])
        if point is None or not is_feasible(boxed, point):
            continue
        total = Fraction(0)
        for row, lo, up in zip(rows, program.row_lower, program.row_upper, strict=True):
            activity = sum((a * x for a, x in zip(row, point, strict=True)), Fraction(0))
            total += max(Fraction(float(lo)) - activity, Fraction(0)) if np.isfinite(lo) else 0
            total += max(activity - Fraction(float(up)), Fraction(0)) if np.isfinite(up) else 0
        best = total if best is None else min(best, total)
    assert best is not None
    return best


def test_bounds_change_only_when_rows_do_not_suffice() -> None:
    program = make_program([[1]], [5], [inf], [1], [0], [2], row_names=("need",))
    relaxation = explain(program).relaxation
    assert relaxation is not None
    assert str(relaxation.changes[0]) == "lower need by 3 (its lower limit, from 5 to 2)"
    stuck = explain(program, weights={"need": inf, "bounds of x0": 1.0}).relaxation
    assert stuck is not None
    assert str(stuck.changes[0]) == "raise x0 by 3 (its upper limit, from 2 to 5)"


@pytest.mark.parametrize("sense", list(Sense))
@pytest.mark.parametrize("integer", [False, True])
def test_unbounded_programs_get_a_ray(sense: Sense, integer: bool) -> None:
    sign = -sense.sign
    # x - y <= 2, improvement 3 x - y; z is bounded
    program = make_program(
        [[1, -1, 0], [0, 0, 1]],
        [-inf, -inf],
        [2, 4],
        [3 * sign, -sign, sign],
        [0] * 3,
        [inf] * 3,
        integer=integer,
        sense=sense,
    )
    explanation = explain(program)
    assert explanation.diagnosis is Diagnosis.UNBOUNDED
    assert explanation.ray is not None
    amounts = dict(explanation.ray.amounts)
    assert amounts == {"x0": pytest.approx(0.5), "x1": pytest.approx(0.5)}
    assert "raise x0 by 0.5" in str(explanation)


def test_a_ray_of_an_infeasible_program_is_not_told() -> None:
    program = make_program([[1, 0], [1, 0]], [3, -inf], [inf, 2], [0, -1], [0, 0], [9, inf])
    explanation = explain(program)
    assert explanation.diagnosis is Diagnosis.INFEASIBLE
    assert explanation.ray is None


def test_a_flat_direction_of_a_quadratic_objective() -> None:
    linear = make_program([], [], [], [-1, -1], [0, 0], [inf, inf])
    hessian = SparseColumns(np.array([0, 1, 1], np.int32), np.array([0], np.int32), np.array([2.0]))
    explanation = explain(replace(linear, hessian=hessian))
    assert explanation.diagnosis is Diagnosis.UNBOUNDED
    assert explanation.ray is not None
    assert explanation.ray.amounts == (("x1", 1.0),)


def test_sensitivity_of_a_linear_program() -> None:
    # maximise 3 x + 2 y over x + y <= 4, x + 3 y <= 9, x <= 3: optimum 3, 1
    program = make_program(
        [[1, 1], [1, 3]],
        [-inf, -inf],
        [4, 9],
        [3, 2],
        [0, 0],
        [3, inf],
        sense=Sense.MAXIMISE,
        row_names=("time", "wood"),
    )
    sensitivity = explain(program).sensitivity
    assert sensitivity is not None
    assert sensitivity.objective == pytest.approx(11)
    assert not sensitivity.integers_fixed
    (time,) = [row for row in sensitivity.rows if abs(row.dual) > 1e-9 and row.name == "time"]
    assert time.dual == pytest.approx(2)
    assert time.limit == 4
    # y = limit - 3 must keep y >= 0 and x + 3 y <= 9
    assert time.lower == pytest.approx(3)
    assert time.upper == pytest.approx(5)
    assert "one unit more of time (limit 4) changes the objective by +2; holds from 3 to 5" in str(sensitivity)
    again = replace(program, row_upper=np.array([3.5, 9.0]))
    assert solve_instance(again, OPTIONS).objective == pytest.approx(11 - 0.5 * time.dual)
    costs = {column.name: column for column in sensitivity.columns}
    assert costs["x1"].cost_upper <= 3
    assert costs["x1"].cost_lower == pytest.approx(0)


def test_sensitivity_of_a_mixed_program_is_labelled() -> None:
    program = make_program(
        [[1, -10], [1, 0]],
        [-inf, 4],
        [0, inf],
        [1, 5],
        [0, 0],
        [inf, 3],
        integer=[False, True],
        row_names=("open", "need"),
    )
    explanation = explain(program)
    assert explanation.diagnosis is Diagnosis.SOLVABLE
    assert explanation.sensitivity is not None
    assert explanation.sensitivity.integers_fixed
    assert [row.name for row in explanation.sensitivity.rows] == ["need"]
    assert "with the integers kept at this plan" in str(explanation)
    other = explain(program, plan=VariableValues({"x0": 4.0, "x1": 2.0})).sensitivity
    assert other is not None
    assert other.objective == pytest.approx(14)


def test_groups_given_by_rows() -> None:
    program, planted = planted_cycle(3, False)
    conflict = conflict_of(explain(program, groups={"ring": planted}))
    assert conflict.groups == ("ring",)
    with pytest.raises(ModelError, match=r"must lie in 0\.\."):
        explain(program, groups={"ring": [99]})
    with pytest.raises(ModelError, match="in two of them"):
        explain(program, groups={"ring": [1], "rest": [1, 2]})


def test_rows_are_written_as_a_modeller_would() -> None:
    program = make_program(
        np.array([[1, -2.5, 0], [1, 1, 1], [0, 0, 0]]), [1, 2, -inf], [4, 2, inf], [0] * 3, [0] * 3, [1, inf, inf]
    )
    writer = Writer(program)
    assert writer.row(0) == "r0: 1 <= x0 - 2.5 x1 <= 4"
    assert writer.row(1) == "r1: x0 + x1 + x2 = 2"
    assert writer.row(2) == "r2: 0 is free"
    assert writer.bounds(0) == "0 <= x0 <= 1"
    assert writer.bounds(1) == "x1 >= 0"


def test_explain_text_begins_with_the_check_of_the_plan() -> None:
    program = make_program([[1]], [1], [inf], [1], [0], [5])
    good = explain_text(program, plan=VariableValues({"x0": 2.0}))
    assert good.startswith("The plan keeps every rule; its objective is 2.")
    bad = explain_text(program, plan=VariableValues({"x0": 9.0}))
    assert bad.startswith("The plan breaks rules:\n")
    assert "x0" in bad
    assert explain_text(program).startswith("tiny is solvable")


def test_what_cannot_be_explained_is_refused() -> None:
    with pytest.raises(OptionError, match="nothing explains a int"):
        explain(3)
    program = make_program([[1]], [1], [inf], [1], [0], [5])
    with pytest.raises(PlanError, match="is not a plan"):
        explain_program(program, OPTIONS, Routes(()))


def test_indicators_and_ordered_sets_always_hold() -> None:
    program = make_program(
        [[1, 0, 0], [0, 1, 1], [0, 1, 0]],
        [1, 3, -inf],
        [inf, inf, 9],
        [1, 1, 1],
        [0] * 3,
        [1, 9, 9],
        integer=[True, False, False],
        row_names=("on", "need", "spare"),
    )
    capped = replace(program, indicators=(Indicator(0, True, (1, 2), (1.0, 1.0), -inf, 2.0),))
    conflict = conflict_of(explain(capped))
    assert conflict.groups == ("on", "need")
    assert conflict.minimal
    assert conflict.needs_integers
    one = make_program([[1, 1]], [12], [inf], [1, 1], [0, 0], [8, 8], row_names=("both",))
    explanation = explain(replace(one, ordered_sets=(SpecialOrderedSet(1, (0, 1), (1.0, 2.0)),)))
    assert conflict_of(explanation).rows == (0,)
    assert explanation.relaxation is not None
    assert explanation.relaxation.cost == pytest.approx(4)


def test_programs_without_rows_or_columns() -> None:
    assert explain(make_program([], [], [], [], [], [])).diagnosis is Diagnosis.SOLVABLE
    empty = explain(make_program([[0]], [1], [2], [1], [0], [1], row_names=("none",)))
    assert conflict_of(empty).rows == (0,)
    assert explain(make_program([[1]], [-inf], [inf], [1], [0], [1])).diagnosis is Diagnosis.SOLVABLE
