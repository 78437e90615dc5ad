from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.core import Sense
from apportion.instances.errors import PlanError
from apportion.instances.program import Indicator, MixedIntegerProgram, SpecialOrderedSet
from apportion.models.program.exact import Dyadic, check_exactly
from apportion.models.program.safe_bound import (
    implied_bounds,
    objective_step,
    outward,
    rounded_to_step,
    safe_dual_bound,
)
from tiny_programs import FIGURES, dense_of, exact_integer, exact_relaxation, make_program, objective_of, tiny_programs

DOUBLES = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(st.lists(DOUBLES, min_size=1, max_size=20), st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_sums_and_products_are_exact(values: list[float], size: int) -> None:
    exact = Dyadic.of(np.array(values))
    groups = np.arange(len(values)) % size
    squares = (exact * exact).sums(groups, size)
    for group in range(size):
        expected = sum((Fraction(v) ** 2 for v in values[group::size]), Fraction(0))
        assert squares.fraction(group) == expected
    assert (-exact).total() == -sum((Fraction(v) for v in values), Fraction(0))


@given(tiny_programs(integer=True), st.data())
@settings(max_examples=50, deadline=None)
def test_check_agrees_with_fractions(program: MixedIntegerProgram, data: st.DataObject) -> None:
    values = np.array([data.draw(FIGURES) for _ in range(program.num_columns)])
    check = check_exactly(program, values)
    point = [Fraction(v) for v in values]
    assert check.objective == objective_of(program, point)
    amounts = [abs(x - round(x)) for x in point]
    sides = [*zip(point, program.lower, program.upper, strict=True)]
    for k, row in enumerate(dense_of(program)):
        activity = sum((a * x for a, x in zip(row, point, strict=True)), Fraction(0))
        sides.append((activity, program.row_lower[k], program.row_upper[k]))
    for value, low, up in sides:
        amounts.append(Fraction(low) - value if np.isfinite(low) else Fraction(0))
        amounts.append(value - Fraction(up) if np.isfinite(up) else Fraction(0))
    broken = sorted(amount for amount in amounts if amount > 0)
    assert check.num_violations == len(broken)
    assert sorted(v.amount for v in check.violations) == broken
    assert check.exactly_feasible is not bool(broken)


def test_a_violation_in_the_last_digit_is_seen() -> None:
    program = make_program([[0.1, 0.2]], [-np.inf], [0.3], [1, 1], [0, 0], [1, 1], row_names=("sum",))
    check = check_exactly(program, np.ones(2))
    assert not check.exactly_feasible
    assert check.within(1e-15)
    assert check.violations[0].amount == Fraction(0.1) + Fraction(0.2) - Fraction(0.3)
    assert str(check.violations[0]).startswith("row sum: off by 2.77")


def test_quadratic_objective_sets_and_indicators() -> None:
    plain = make_program([], [], [], [1, 0, 0], [0, 0, 0], [9, 9, 9])
    hessian = make_program([[2, 0, 0], [1, 4, 0], [0, 0, 0]], [0] * 3, [0] * 3, [0] * 3, [0] * 3, [0] * 3).matrix
    program = MixedIntegerProgram(
        "all",
        plain.sense,
        plain.cost,
        plain.matrix,
        plain.row_lower,
        plain.row_upper,
        plain.lower,
        plain.upper,
        plain.integer,
        hessian=hessian,
        ordered_sets=(SpecialOrderedSet(2, (0, 1, 2), (1.0, 2.0, 3.0)),),
        indicators=(Indicator(0, True, (1, 2), (1.0, 1.0), 1.0, 2.0),),
    )
    check = check_exactly(program, np.array([1.0, 0.0, 3.0]))
    # x0 + (2 x0^2 + 2 x0 x1 + 4 x1^2) / 2
    assert check.objective == 2
    assert {str(v) for v in check.violations} == {"ordered set 0: off by 1", "indicator 0 of x0: off by 1"}
    assert check_exactly(program, np.array([1.0, 2.0, 0.0])).exactly_feasible
    assert check_exactly(program, np.array([1.0, 2.0, 0.0])).objective == 12


@pytest.mark.parametrize("values", [[np.nan, 1.0], [np.inf, 1.0], [1.0]])
def test_what_is_no_plan_is_refused(values: list[float]) -> None:
    program = make_program([[1, 1]], [0], [1], [1, 1], [0, 0], [1, 1])
    with pytest.raises(PlanError, match=r"finite|shape"):
        check_exactly(program, np.array(values))


def test_a_lower_side_of_plus_infinity_cannot_be_met() -> None:
    program = make_program([[1]], [np.inf], [np.inf], [1], [0], [1])
    assert check_exactly(program, np.ones(1)).largest == np.inf


@given(tiny_programs(), st.data())
@settings(max_examples=50, deadline=None)
def test_any_duals_give_a_valid_bound(program: MixedIntegerProgram, data: st.DataObject) -> None:
    duals = np.array(
        [data.draw(FIGURES) * data.draw(DOUBLES.filter(lambda v: abs(v) < 1e6)) for _ in range(program.num_rows)]
    )
    bound = safe_dual_bound(program, duals).value
    optimum = exact_relaxation(program)
    assert bound is not None
    if optimum is not None:
        assert program.sense.sign * (bound - optimum) <= 0


@given(tiny_programs(integer=True))
@settings(max_examples=50, deadline=None)
def test_objectives_are_multiples_of_the_step(program: MixedIntegerProgram) -> None:
    step, optimum = objective_step(program), exact_integer(program)
    if step is not None and optimum is not None:
        assert ((optimum - Fraction(program.offset)) / step).denominator == 1
        assert rounded_to_step(program, optimum) == optimum
        weaker = optimum - program.sense.sign * step / 3
        assert rounded_to_step(program, weaker) == optimum


def test_a_missing_bound_makes_it_infinite_and_is_named() -> None:
    program = make_program([[1, 1]], [1], [np.inf], [1, 1], [0, -np.inf], [np.inf, np.inf])
    assert safe_dual_bound(program, np.array([1.0])).value == 1
    found = safe_dual_bound(program, np.array([1.0 - 1e-12]))
    assert found.value is None
    assert found.open_columns.tolist() == [1]


def test_duals_on_a_missing_side_are_projected() -> None:
    program = make_program([[1]], [-np.inf], [4], [1], [0], [9])
    assert safe_dual_bound(program, np.array([5.0])).value == 0
    assert safe_dual_bound(program, np.array([np.nan])).value == 0


def test_implied_bounds_are_outward_and_valid() -> None:
    # 3 x + y <= 1, y >= 0 implies x <= 1/3; x - z == 0 passes it on
    program = make_program([[3, 1, 0], [1, 0, -1]], [-np.inf, 0], [1, 0], [0] * 3, [0, 0, 0], [np.inf, 5, np.inf])
    lower, upper = implied_bounds(program, np.array([0, 2]))
    assert lower.tolist() == [0, 0, 0]
    assert Fraction(upper[0]) >= Fraction(1, 3) >= Fraction(np.nextafter(upper[0], 0))
    assert upper[2] >= upper[0]
    assert upper[2] - upper[0] < 1e-15


@given(st.fractions(), st.sampled_from(list(Sense)))
@settings(max_examples=50, deadline=None)
def test_outward_never_claims_more(bound: Fraction, sense: Sense) -> None:
    rounded = Fraction(outward(bound, sense))
    assert sense.sign * (rounded - bound) <= 0
    assert abs(rounded - bound) <= abs(bound) * Fraction(2) ** -51


def test_outward_beyond_the_largest_double() -> None:
    huge = Fraction(10) ** 400
    assert outward(huge, Sense.MAXIMISE) == np.inf
    assert outward(huge, Sense.MINIMISE) == np.finfo(float).max
    assert outward(-huge, Sense.MINIMISE) == -np.inf
