"""A pure-integer program as a CP-SAT model, with fractional coefficients made whole without a false claim.

Every row and the objective is multiplied by a whole number that makes its coefficients whole. Where a small common
denominator does so, the row is the same row. Otherwise the coefficients are rounded at a scale so fine that the row can
be off by no more than a tenth of the tolerance of the check, and it is widened by just that much: the model then
never cuts off a plan of the program, and never admits one that the check would refuse. A row for which no scale is
fine enough within 62 bits is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, inf, isfinite, lcm
from typing import Any

import numpy as np

from apportion.instances.errors import CapabilityError
from apportion.instances.program import MixedIntegerProgram

_LARGEST = 2**62
_FLOAT_ERROR = Fraction(1, 10**12)
_ALLOWED = 1e-7
_FURTHER_STEPS = 12


@dataclass(frozen=True)
class ScaledRow:
    """``lower <= coefficients . x <= upper`` in whole numbers, ``scale`` times the row it stands for.

    ``least`` and ``most`` bound ``coefficients . x - scale * row . x`` over the box: both zero when it is exact.
    """

    coefficients: tuple[int, ...]
    scale: int
    least: Fraction
    most: Fraction


@dataclass(frozen=True)
class CpSatProgram:
    """The model and the way back: ``objective = sense * value / scale + offset``, off by ``objective_slack`` at most.

    ``model`` is an ``ortools.sat.python.cp_model.CpModel`` whose variables are the columns in order.
    """

    model: Any
    objective_scale: int
    objective_slack: float


def to_cp_sat(program: MixedIntegerProgram, scale: int = 10**6) -> CpSatProgram:
    """Build the CP-SAT model of a program whose columns are all integer and bounded.

    Parameters
    ----------
    program
        Without ordered sets or a quadratic objective.
    scale
        The largest common denominator that counts as exact, and the first scale tried for other coefficients.

    Raises
    ------
    CapabilityError
        Names the column or row that CP-SAT cannot express.
    """
    from ortools.sat.python import cp_model

    box = _box(program)
    model = cp_model.CpModel()
    proto = model.proto
    for column, (low, high) in enumerate(box):
        variable = proto.variables.add()
        variable.name = program.column_name(column)
        variable.domain.extend([low, high])
    _add_rows(program, box, proto, scale)
    _add_indicators(program, box, proto, scale)
    objective_scale, slack = _add_objective(program, box, proto, scale)
    return CpSatProgram(model, objective_scale, slack)


def _box(program: MixedIntegerProgram) -> list[tuple[int, int]]:
    box = []
    for column in range(program.num_columns):
        low, high = float(program.lower[column]), float(program.upper[column])
        name = program.column_name(column)
        if not program.integer[column]:
            raise CapabilityError(f"cp-sat cannot express the continuous variable {name}\nMaybe backend 'highs'")
        if not (isfinite(low) and isfinite(high)):
            raise CapabilityError(f"cp-sat needs finite bounds, variable {name} has none\nMaybe backend 'highs'")
        box.append((ceil(low - 1e-6), floor(high + 1e-6)))
        if max(-box[-1][0], box[-1][1]) >= _LARGEST // 4:
            raise CapabilityError(f"cp-sat cannot express the bounds of variable {name}\nMaybe backend 'highs'")
    return box


def _add_rows(program: MixedIntegerProgram, box: list[tuple[int, int]], proto: Any, scale: int) -> None:
    columns, values, starts = _by_rows(program)
    whole = values == np.round(values)
    for row in range(program.num_rows):
        begin, end = starts[row], starts[row + 1]
        lower, upper = float(program.row_lower[row]), float(program.row_upper[row])
        where = f"row {program.row_name(row)}"
        terms = _Terms(where, columns[begin:end].tolist(), values[begin:end].tolist(), bool(whole[begin:end].all()))
        _add_linear(proto, terms, box, lower, upper, scale)


@dataclass(frozen=True)
class _Terms:
    """A row to be made whole: where it stands, its columns and its coefficients."""

    where: str
    columns: Sequence[int]
    coefficients: Sequence[float]
    whole: bool


def _by_rows(program: MixedIntegerProgram) -> tuple[Any, Any, Any]:
    matrix = program.matrix
    columns = np.repeat(np.arange(program.num_columns), np.diff(matrix.starts))
    order = np.argsort(matrix.rows, kind="stable")
    starts = np.concatenate(([0], np.cumsum(np.bincount(matrix.rows, minlength=program.num_rows))))
    return columns[order], matrix.values[order], starts


def _add_linear(
    proto: Any,
    terms: _Terms,
    box: list[tuple[int, int]],
    lower: float,
    upper: float,
    scale: int,
    literal: int | None = None,
) -> None:
    if lower == -inf and upper == inf:
        return
    sides = [abs(side) for side in (lower, upper) if isfinite(side)]
    scaled = scaled_row(terms.where, terms.columns, terms.coefficients, box, scale, _ALLOWED * max(1.0, *sides))
    low, high = _widened(scaled, lower, upper)
    constraint = proto.constraints.add()
    if low > high:  # no whole number lies between: an empty domain is not allowed, a false clause is
        if literal is None:
            constraint.bool_or.literals.extend([])
        else:
            constraint.bool_or.literals.extend([-literal - 1])
        return
    if literal is not None:
        constraint.enforcement_literal.extend([literal])
    constraint.linear.vars.extend(list(terms.columns))
    constraint.linear.coeffs.extend(list(scaled.coefficients))
    constraint.linear.domain.extend([low, high])


def _widened(scaled: ScaledRow, lower: float, upper: float) -> tuple[int, int]:
    """Whole sides that admit all that the row admits."""
    low, high = -_LARGEST, _LARGEST
    if isfinite(lower):
        side = scaled.scale * Fraction(lower)
        low = ceil(side + scaled.least - _hair(side))
    if isfinite(upper):
        side = scaled.scale * Fraction(upper)
        high = floor(side + scaled.most + _hair(side))
    return max(low, -_LARGEST), min(high, _LARGEST)


def _hair(side: Fraction) -> Fraction:
    """What a decimal such as 0.3 is off by as a float."""
    return abs(side) * _FLOAT_ERROR


def scaled_row(
    where: str,
    columns: Sequence[int],
    coefficients: Sequence[float],
    box: list[tuple[int, int]],
    scale: int,
    allowed: float,
) -> ScaledRow:
    """Make ``coefficients`` whole: exactly when a common denominator up to ``scale`` does, else finely enough.

    ``allowed`` is how far the row may be off in its own units.
    """
    exact = _common_denominator(coefficients, scale)
    if exact is not None:
        whole = tuple(round(Fraction(value) * exact) for value in coefficients)
        _require_room(where, whole, columns, box)
        return ScaledRow(whole, exact, Fraction(0), Fraction(0))
    for step in range(_FURTHER_STEPS):
        finer = scale * 10**step
        whole = tuple(round(Fraction(value) * finer) for value in coefficients)
        least, most = _error(coefficients, whole, finer, columns, box)
        if most - least <= Fraction(allowed) * finer:
            _require_room(where, whole, columns, box)
            return ScaledRow(whole, finer, least, most)
    raise CapabilityError(f"cp-sat cannot scale {where} to whole numbers without changing it\nMaybe backend 'highs'")


def _common_denominator(coefficients: Sequence[float], most: int) -> int | None:
    common = 1
    for value in coefficients:
        nearest = Fraction(value).limit_denominator(most)
        if abs(nearest - Fraction(value)) > abs(Fraction(value)) * _FLOAT_ERROR:
            return None
        common = lcm(common, nearest.denominator)
        if common > most:
            return None
    return common


def _error(
    coefficients: Sequence[float],
    whole: Sequence[int],
    scale: int,
    columns: Sequence[int],
    box: list[tuple[int, int]],
) -> tuple[Fraction, Fraction]:
    least = most = Fraction(0)
    for value, rounded, column in zip(coefficients, whole, columns, strict=True):
        off = rounded - Fraction(value) * scale
        ends = (off * box[column][0], off * box[column][1])
        least += min(ends)
        most += max(ends)
    return least, most


def _require_room(where: str, whole: Sequence[int], columns: Sequence[int], box: list[tuple[int, int]]) -> None:
    largest = sum(
        abs(value) * max(abs(box[column][0]), abs(box[column][1]), 1)
        for value, column in zip(whole, columns, strict=True)
    )
    if largest >= _LARGEST:
        raise CapabilityError(f"cp-sat cannot hold {where} in 64-bit numbers\nMaybe backend 'highs'")


def _add_indicators(program: MixedIntegerProgram, box: list[tuple[int, int]], proto: Any, scale: int) -> None:
    for position, indicator in enumerate(program.indicators):
        if not (box[indicator.column][0] >= 0 and box[indicator.column][1] <= 1):
            name = program.column_name(indicator.column)
            raise CapabilityError(f"indicator {position} needs a binary variable, {name} is not one")
        literal = indicator.column if indicator.active else -indicator.column - 1
        terms = _Terms(f"indicator {position}", indicator.columns, indicator.coefficients, whole=False)
        _add_linear(proto, terms, box, indicator.lower, indicator.upper, scale, literal)


def _add_objective(
    program: MixedIntegerProgram, box: list[tuple[int, int]], proto: Any, scale: int
) -> tuple[int, float]:
    used = np.flatnonzero(program.cost)
    if not len(used):
        return 1, 0.0
    columns, costs = used.tolist(), program.cost[used].tolist()
    size = float(np.abs(program.cost[used]).max())
    scaled = scaled_row("the objective", columns, costs, box, scale, 1e-9 * max(1.0, size))
    sign = program.sense.sign
    proto.objective.vars.extend(columns)
    proto.objective.coeffs.extend([sign * value for value in scaled.coefficients])
    proto.objective.scaling_factor = sign / scaled.scale
    proto.objective.offset = sign * program.offset * scaled.scale
    return scaled.scale, float((scaled.most - scaled.least) / scaled.scale)
