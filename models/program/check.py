"""The independent check of a program's plan: plain arrays, no solver and no modelling layer.

Tolerances
----------
A bound or a row side ``b`` may be passed by ``1e-6 * max(1, |b|)``; a row also by ``1e-12`` of the sum of its terms'
sizes, which is what adding them in double precision loses. An integer may lie ``1e-6`` from a whole number. In an
ordered set a value counts as nonzero beyond ``1e-6``. An indicator's row counts when its column rounds to the active
value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from apportion.instances.program import Floats, Indicator, MixedIntegerProgram, SpecialOrderedSet, VariableValues
from apportion.models.verdict import TOLERANCE, Verdict, Violation

_ROUNDING = 1e-12


def check(program: MixedIntegerProgram, plan: VariableValues) -> Verdict:
    """Verify ``plan`` against the bounds, rows, integrality, ordered sets and indicators of ``program``.

    Returns
    -------
    Verdict
        The objective recomputed with its offset and quadratic part, every violation with the name of its column, row
        or set, and the measures ``rows`` and ``columns``.

    Raises
    ------
    PlanError
        When the plan names a variable that the program lacks.
    """
    values = plan.to_array(program)
    violations = _not_numbers(program, values)
    if not violations:
        violations = [
            *_bounds(program, values),
            *_integrality(program, values),
            *_rows(program, values),
            *_ordered_sets(program, values),
            *_indicators(program, values),
        ]
    measures = {"columns": float(program.num_columns), "rows": float(program.num_rows)}
    return Verdict(objective(program, values), program.sense, tuple(violations), measures)


def objective(program: MixedIntegerProgram, values: Floats) -> float:
    """``offset + cost.x + x.Q.x / 2`` at ``values``, shape (n,)."""
    total = program.offset + float(program.cost @ values)
    if program.hessian is None:
        return total
    hessian = program.hessian
    columns = np.repeat(np.arange(program.num_columns), np.diff(hessian.starts))
    weights = np.where(hessian.rows == columns, 0.5, 1.0)
    return total + float(np.sum(weights * hessian.values * values[hessian.rows] * values[columns]))


def _not_numbers(program: MixedIntegerProgram, values: Floats) -> list[Violation]:
    bad = np.flatnonzero(~np.isfinite(values))
    return [Violation("finite value", f"variable {program.column_name(int(j))}", float(values[j])) for j in bad]


def _bounds(program: MixedIntegerProgram, values: Floats) -> list[Violation]:
    below = _excess(program.lower - values, program.lower)
    above = _excess(values - program.upper, program.upper)
    return [
        *_named("lower bound", "variable", below, program.column_name),
        *_named("upper bound", "variable", above, program.column_name),
    ]


def _integrality(program: MixedIntegerProgram, values: Floats) -> list[Violation]:
    distance = np.where(program.integer, np.abs(values - np.round(values)), 0.0)
    distance[distance <= TOLERANCE] = 0.0
    return _named("integrality", "variable", distance, program.column_name)


def _rows(program: MixedIntegerProgram, values: Floats) -> list[Violation]:
    matrix = program.matrix
    terms = matrix.values * np.repeat(values, np.diff(matrix.starts))
    activity = np.bincount(matrix.rows, weights=terms, minlength=program.num_rows)
    sizes = np.bincount(matrix.rows, weights=np.abs(terms), minlength=program.num_rows)
    rounding = np.asarray(_ROUNDING * sizes, np.float64)
    below = _excess(program.row_lower - activity, program.row_lower, rounding)
    above = _excess(activity - program.row_upper, program.row_upper, rounding)
    return [
        *_named("row lower side", "row", below, program.row_name),
        *_named("row upper side", "row", above, program.row_name),
    ]


def _ordered_sets(program: MixedIntegerProgram, values: Floats) -> list[Violation]:
    found = []
    for position, ordered in enumerate(program.ordered_sets):
        amount = _set_excess(ordered, values)
        if amount > TOLERANCE:
            first = program.column_name(ordered.columns[0])
            place = f"set {position} that begins with {first}"
            found.append(Violation(f"special ordered set of type {ordered.order}", place, amount))
    return found


def _set_excess(ordered: SpecialOrderedSet, values: Floats) -> float:
    """The least that must vanish for the set to hold: the largest size outside the best run of ``order`` columns."""
    ranked = np.argsort(np.asarray(ordered.weights), kind="stable")
    sizes = np.abs(values[np.asarray(ordered.columns, np.int64)[ranked]])
    outside = [
        float(np.concatenate((sizes[:first], sizes[first + ordered.order :])).max(initial=0.0))
        for first in range(max(1, len(sizes) - ordered.order + 1))
    ]
    return min(outside)


def _indicators(program: MixedIntegerProgram, values: Floats) -> list[Violation]:
    found = []
    for position, indicator in enumerate(program.indicators):
        if (values[indicator.column] > 0.5) == indicator.active:
            amount = _indicator_excess(indicator, values)
            if amount > 0.0:
                place = f"indicator {position} of variable {program.column_name(indicator.column)}"
                found.append(Violation("indicator", place, amount))
    return found


def _indicator_excess(indicator: Indicator, values: Floats) -> float:
    terms = np.asarray(indicator.coefficients) * values[np.asarray(indicator.columns, np.int64)]
    activity, rounding = float(terms.sum()), _ROUNDING * np.abs(terms).sum()
    sides = np.array([indicator.lower, indicator.upper])
    passed = np.array([indicator.lower - activity, activity - indicator.upper])
    return float(_excess(passed, sides, np.array([rounding, rounding])).max())


def _excess(passed: Floats, side: Floats, rounding: Floats | float = 0.0) -> Floats:
    """How far each side is passed; zero within the tolerance and where there is no side."""
    finite = np.isfinite(side)
    allowed = TOLERANCE * np.maximum(1.0, np.where(finite, np.abs(side), 0.0)) + rounding
    return np.where(passed > allowed, passed, 0.0)


def _named(rule: str, kind: str, amounts: NDArray[np.float64], name_of: Callable[[int], str]) -> list[Violation]:
    return [Violation(rule, f"{kind} {name_of(int(i))}", float(amounts[i])) for i in np.flatnonzero(amounts)]
