from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ortools.sat.python import cp_model

from apportion.instances.constraint_model import ConstraintModel
from apportion.instances.errors import ModelError
from apportion.models.explaining import Conflict, Diagnosis
from apportion.solvers.explain import explain
from apportion.solvers.explaining.constraint_models import explain_constraint_model


def conflict_of(model: cp_model.CpModel, groups: dict[str, list[int]] | None = None) -> Conflict:
    before = str(model.Proto())
    explanation = explain_constraint_model(ConstraintModel(model, "cp"), groups=groups)
    assert str(model.Proto()) == before
    assert explanation.diagnosis is Diagnosis.INFEASIBLE
    assert explanation.conflict is not None
    return explanation.conflict


def shifts() -> cp_model.CpModel:
    """Three people, two shifts each at most, seven shifts; the rest is noise."""
    model = cp_model.CpModel()
    works = [[model.new_bool_var(f"works[{p},{s}]") for s in range(7)] for p in range(3)]
    for s in range(7):
        model.add_exactly_one([works[p][s] for p in range(3)]).with_name(f"cover[{s}]")
    for p in range(3):
        model.add(sum(works[p]) <= 2).with_name(f"hours[{p}]")
    model.add_implication(works[0][0], works[0][1]).with_name("pair")
    model.add_all_different([model.new_int_var(0, 5, f"slot{i}") for i in range(3)]).with_name("slots")
    model.maximize(sum(works[0]))
    return model


def test_groups_come_from_names_and_members_are_written_out() -> None:
    conflict = conflict_of(shifts())
    assert conflict.groups == ("cover", "hours")
    assert conflict.num_members == 10
    assert conflict.minimal
    text = str(conflict)
    assert "cover[0]: exactly one of works[0,0], works[1,0], works[2,0]" in text
    assert "hours[0]: works[0,0] + works[0,1]" in text
    assert "assumption literals" in text
    assert "solved alone they are infeasible" in text


def test_given_groups() -> None:
    conflict = conflict_of(shifts(), {"all cover": list(range(7)), "all hours": [7, 8, 9]})
    assert conflict.groups == ("all cover", "all hours")
    with pytest.raises(ModelError, match="in two of them"):
        conflict_of(shifts(), {"a": [1], "b": [1]})
    with pytest.raises(ModelError, match="does not lie in"):
        conflict_of(shifts(), {"a": [99]})


def test_what_takes_no_literal_is_found_by_deletion() -> None:
    model = cp_model.CpModel()
    x = [model.new_int_var(0, 2, f"x{i}") for i in range(4)]
    model.add(x[0] >= 1)
    model.add_all_different(x)
    conflict = conflict_of(model)
    assert conflict.rows == (1,)
    assert conflict.parts[0].members == ("all_diff (constraint 1)",)


def test_intervals_always_hold() -> None:
    model = cp_model.CpModel()
    starts = [model.new_int_var(0, 3, f"s{i}") for i in range(3)]
    intervals = [model.new_interval_var(s, 2, s + 2, f"i{i}") for i, s in enumerate(starts)]
    model.add(starts[0] <= 2)
    model.add_no_overlap(intervals).with_name("machine")
    conflict = conflict_of(model)
    assert conflict.groups == ("machine",)
    alone = cp_model.CpModel()
    start = alone.new_int_var(0, 3, "s")
    alone.new_interval_var(start, 2, start + 3, "i")
    explanation = explain(ConstraintModel(alone, "odd"))
    assert explanation.diagnosis is Diagnosis.INFEASIBLE
    assert explanation.conflict is None
    assert "domains of its variables and its intervals alone" in str(explanation)


def test_a_feasible_model_is_not_accused() -> None:
    model = cp_model.CpModel()
    x = model.new_int_var(0, 5, "x")
    model.add(x >= 2)
    model.minimize(x)
    assert explain(ConstraintModel(model, "fine")).diagnosis is Diagnosis.SOLVABLE


def test_linear_constraints_are_written_out() -> None:
    model = cp_model.CpModel()
    x, y, b = model.new_int_var(0, 5, "x"), model.new_int_var(0, 5, "y"), model.new_bool_var("b")
    model.add_linear_expression_in_domain(x - 2 * y, cp_model.Domain.from_intervals([[7, 8], [11, 11]]))
    model.add(x == 9).only_enforce_if(~b)
    model.add_bool_and([~b])
    model.add(x + y >= 1)
    members = [m for part in conflict_of(model).parts for m in part.members]
    every = {"x - 2 y in 7..8, 11", "x = 9, if not b", "all of not b"}
    assert set(members) <= every
    assert members in (["x - 2 y in 7..8, 11"], ["x = 9, if not b", "all of not b"])


ROW = st.tuples(st.lists(st.integers(-2, 2), min_size=3, max_size=3), st.integers(-4, 6))


@given(st.lists(ROW, min_size=2, max_size=5))
@settings(max_examples=40, deadline=None)
def test_conflicts_are_minimal_by_brute_force(rows: list[tuple[list[int], int]]) -> None:
    model = cp_model.CpModel()
    x = [model.new_int_var(0, 2, f"x{i}") for i in range(3)]
    for weights, side in rows:
        model.add(sum(w * v for w, v in zip(weights, x, strict=True)) >= side)
    kept = [r for r in rows if any(r[0])] if len(model.Proto().constraints) < len(rows) else rows

    def holds(chosen: Any) -> bool:
        points = itertools.product(range(3), repeat=3)
        return any(
            all(sum(a * b for a, b in zip(kept[i][0], p, strict=True)) >= kept[i][1] for i in chosen) for p in points
        )

    explanation = explain(ConstraintModel(model, "rows"))
    if len(kept) == len(rows) and holds(range(len(rows))):
        assert explanation.diagnosis is Diagnosis.SOLVABLE
        return
    if len(kept) < len(rows) or explanation.conflict is None:
        return
    assert not holds(explanation.conflict.rows)
    for row in explanation.conflict.rows:
        assert holds(set(explanation.conflict.rows) - {row})
