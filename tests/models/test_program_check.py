"""The check of programs finds what is wrong with a plan, by name and amount."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apportion.instances.errors import PlanError
from apportion.instances.program import Indicator, MixedIntegerProgram, SpecialOrderedSet, VariableValues
from apportion.models.checking import check
from apportion.models.program.check import objective
from contract.programs import MAX, program, triangle


def factory() -> MixedIntegerProgram:
    """Two products and a switch; the optimum is known: 4 chairs, 2 tables, switch on."""
    return program(
        [3.0, 4.0, -1.0],
        [[1, 2, 0], [1, 1, -8]],
        [-inf, -inf],
        [8, 0],
        upper=[4, 5, 1],
        integer=[False, True, True],
        sense=MAX,
        offset=10.0,
        column_names=("chairs", "tables", "switch"),
        row_names=("wood", "setup"),
        indicators=(Indicator(2, True, (0,), (1.0,), 1.0, 4.0),),
        ordered_sets=(SpecialOrderedSet(2, (0, 1, 2), (1.0, 2.0, 3.0)),),
    )


GOOD = {"chairs": 0.0, "tables": 0.0, "switch": 0.0}


def found(instance: MixedIntegerProgram, **values: float) -> list[tuple[str, str, float]]:
    verdict = check(instance, VariableValues(values))
    return [(v.rule, v.place, round(v.amount, 6)) for v in verdict.violations]


def test_a_good_plan_passes_and_its_objective_is_recomputed() -> None:
    plain = program([3, 4], [[1, 2]], [-inf], [8], sense=MAX, offset=10.0)
    verdict = check(plain, VariableValues({"x0": 4.0, "x1": 2.0}))
    assert verdict.ok
    assert verdict.objective == 30.0
    assert verdict.measures == {"columns": 2.0, "rows": 1.0}
    assert check(factory(), VariableValues(GOOD)).ok


@pytest.mark.parametrize(
    ("values", "rule", "place", "amount"),
    [
        ({"chairs": -1.0}, "lower bound", "variable chairs", 1.0),
        ({"chairs": 4.5, "switch": 1.0}, "upper bound", "variable chairs", 0.5),
        ({"tables": 0.5, "switch": 1.0}, "integrality", "variable tables", 0.5),
        ({"chairs": 2.0, "tables": 4.0, "switch": 1.0}, "row upper side", "row wood", 2.0),
        ({"chairs": 2.0}, "row upper side", "row setup", 2.0),
        ({"switch": 1.0}, "indicator", "indicator 0 of variable switch", 1.0),
        ({"chairs": 2.0, "tables": 1.0, "switch": 1.0}, "special ordered set of type 2", "set 0", 1.0),
        ({"chairs": nan}, "finite value", "variable chairs", nan),
        ({"chairs": inf}, "finite value", "variable chairs", inf),
    ],
)
def test_each_fault_is_named(values: dict[str, float], rule: str, place: str, amount: float) -> None:
    matching = [v for v in found(factory(), **values) if v[0] == rule and v[1].startswith(place)]
    assert len(matching) == 1
    assert matching[0][2] == pytest.approx(amount, nan_ok=True)


def test_lower_row_side_and_names_without_names() -> None:
    assert found(program([1, 1], [[1, 1]], [3], [inf])) == [("row lower side", "row r0", 3.0)]


def test_unknown_variable() -> None:
    with pytest.raises(PlanError, match="names no variable"):
        check(factory(), VariableValues({"stools": 1.0}))


@pytest.mark.parametrize(
    ("side", "value", "holds"),
    [(1.0, 1.0 + 9e-7, True), (1.0, 1.0 + 2e-6, False), (1e6, 1e6 + 0.9, True), (1e6, 1e6 + 1.1, False)],
)
def test_tolerance_is_absolute_and_relative(side: float, value: float, holds: bool) -> None:
    assert check(program([1], upper=side), VariableValues({"x0": value})).ok is holds
    assert check(program([1], [[1]], [-inf], [side], upper=inf), VariableValues({"x0": value})).ok is holds


@pytest.mark.parametrize(("value", "holds"), [(2 + 9e-7, True), (2 + 2e-6, False)])
def test_integrality_tolerance(value: float, holds: bool) -> None:
    assert check(program([1], integer=True), VariableValues({"x0": value})).ok is holds


@pytest.mark.parametrize(
    ("order", "weights", "values", "amount"),
    [
        (1, (1, 2, 3), (0, 5, 0), 0.0),
        (1, (1, 2, 3), (2, 5, 1), 2.0),
        (2, (1, 2, 3), (2, 5, 0), 0.0),
        (2, (1, 2, 3), (2, 0, 5), 2.0),
        (2, (1, 3, 2), (2, 0, 5), 0.0),
        (2, (3, 2, 1), (1, 2, 3), 1.0),
        (2, (1, 2, 3), (0, 0, 0), 0.0),
    ],
)
def test_ordered_sets(order: int, weights: Any, values: Any, amount: float) -> None:
    instance = program([0, 0, 0], ordered_sets=(SpecialOrderedSet(order, (0, 1, 2), weights),))
    amounts = [v[2] for v in found(instance, **{f"x{j}": float(v) for j, v in enumerate(values)})]
    assert amounts == ([amount] if amount else [])


def test_inactive_indicator_does_not_count() -> None:
    instance = program([1, 1], upper=[1, 9], integer=True, indicators=(Indicator(0, False, (1,), (2.0,), 4.0, 6.0),))
    assert found(instance, x0=1.0, x1=9.0) == []
    assert found(instance, x0=0.0, x1=9.0) == [("indicator", "indicator 0 of variable x0", 12.0)]
    assert found(instance, x0=0.0, x1=1.0) == [("indicator", "indicator 0 of variable x0", 2.0)]


@given(st.integers(1, 5).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 10**6))))
@hypothesis_settings(max_examples=40, deadline=None)
def test_objective_is_that_of_dense_algebra(size_and_seed: tuple[int, int]) -> None:
    size, seed = size_and_seed
    rng = np.random.default_rng(seed)
    half = rng.integers(-3, 4, (size, size)).astype(float)
    quadratic, cost, point = half + half.T, rng.normal(size=size), rng.normal(size=size)
    instance = program(cost.tolist(), hessian=triangle(quadratic.tolist()), offset=2.5)
    assert objective(instance, point) == pytest.approx(2.5 + cost @ point + point @ quadratic @ point / 2)


@given(st.integers(0, 10**6))
@hypothesis_settings(max_examples=50, deadline=None)
def test_rows_are_those_of_dense_algebra(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-2, 3, (3, 4)).astype(float)
    low = rng.integers(-4, 1, 3).astype(float)
    high = low + rng.integers(0, 5, 3).astype(float)
    point = rng.integers(0, 4, 4).astype(float)
    instance = program([0] * 4, matrix, low, high)
    activity = matrix @ point
    expected = [f"row r{i}" for i in np.flatnonzero((activity < low) | (activity > high))]
    assert sorted(v[1] for v in found(instance, **{f"x{j}": v for j, v in enumerate(point)})) == expected
