"""Bounds of linear relaxations that hold whatever the rounding of the solver was."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, inf, nextafter

import numpy as np

from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns
from apportion.models.program.exact import Dyadic, Positions, as_float, columns_of


@dataclass(frozen=True, eq=False)
class LagrangianBound:
    """A bound of the relaxation as an exact number; None when missing bounds of ``open_columns`` make it infinite."""

    value: Fraction | None
    open_columns: Positions


def safe_dual_bound(
    program: MixedIntegerProgram,
    row_duals: Floats,
    lower: Floats | None = None,
    upper: Floats | None = None,
) -> LagrangianBound:
    """A bound of the linear relaxation from any row duals, in exact arithmetic.

    For every ``y``, weak duality gives ``c.x >= sum_i y_i * side_i + sum_j d_j * bound_j`` with ``d = c - A'y`` and
    the cheapest side of each row and column. Rounding in ``y`` costs tightness and never truth (Neumaier and
    Shcherbina 2004; here the sums are exact instead of rounded outwards). Duals that price a side which is not there
    are set to zero first.

    Parameters
    ----------
    program
        A linear objective; integrality is not used.
    row_duals
        Shape (m,), d objective / d right-hand side, from whatever source.
    lower, upper
        Bounds to use instead of the program's, such as implied ones, shape (n,).
    """
    sign = program.sense.sign
    lower, upper = (program.lower if lower is None else lower), (program.upper if upper is None else upper)
    prices = _projected(sign * np.asarray(row_duals, np.float64), program.row_lower, program.row_upper)
    reduced = _reduced_costs(program, prices, sign)
    positive, negative = reduced.numerators > 0, reduced.numerators < 0
    open_columns = np.flatnonzero((positive & ~np.isfinite(lower)) | (negative & ~np.isfinite(upper)))
    if len(open_columns):
        return LagrangianBound(None, open_columns)
    sides = np.where(positive, lower, np.where(negative, upper, 0.0))
    priced = np.flatnonzero(prices)
    row_sides = np.where(prices > 0.0, program.row_lower, program.row_upper)[priced]
    used = np.flatnonzero((positive | negative) & (sides != 0.0))
    terms = [Dyadic.of(prices[priced]) * Dyadic.of(row_sides), reduced[used] * Dyadic.of(sides[used])]
    total = Dyadic.joined(terms).total()
    return LagrangianBound(sign * total + Fraction(program.offset), open_columns)


def objective_step(program: MixedIntegerProgram) -> Fraction | None:
    """The largest number of which every feasible objective, less the offset, is a whole multiple; None if unknown.

    Only columns that must be integer may have a cost.
    """
    priced = np.flatnonzero(program.cost)
    quadratic = program.hessian is not None and program.hessian.num_nonzeros > 0
    if quadratic or not len(priced) or not program.integer[priced].all():
        return None
    exact = Dyadic.of(program.cost[priced])
    low = int(exact.exponents.min())
    step = 0
    for numerator, exponent in zip(exact.numerators, exact.exponents, strict=True):
        step = gcd(step, int(numerator) << int(exponent - low))
    return Fraction(step) * Fraction(2) ** low


def rounded_to_step(program: MixedIntegerProgram, bound: Fraction) -> Fraction:
    """The nearest objective that the program can have at all, on the safe side of ``bound``."""
    step = objective_step(program)
    if step is None:
        return bound
    sign = program.sense.sign
    steps = sign * (bound - Fraction(program.offset)) / step
    return sign * Fraction(-((-steps.numerator) // steps.denominator)) * step + Fraction(program.offset)


def outward(bound: Fraction, sense: Sense) -> float:
    """The nearest double that is no stronger than ``bound``."""
    near = as_float(bound)
    if near in (inf, -inf):
        weaker = near == -sense.sign * inf
        return near if weaker else nextafter(near, 0.0)
    if sense.sign * (Fraction(near) - bound) <= 0:
        return near
    return nextafter(near, -sense.sign * inf)


def implied_bounds(
    program: MixedIntegerProgram, columns: Positions, most_entries: int = 200_000
) -> tuple[Floats, Floats]:
    """Bounds that the rows imply for ``columns``, rounded outwards: valid for every feasible plan.

    A few rounds of interval arithmetic on fractions over the rows that hold ``columns``; stops after looking at
    ``most_entries`` entries. Returns lower and upper bounds for all columns, shape (n,).
    """
    lower, upper = program.lower.copy(), program.upper.copy()
    by_row = _Rows(program.matrix, program.num_rows)
    budget, changed = most_entries, True
    while changed and budget > 0:
        changed = False
        for column in columns:
            start, end = program.matrix.starts[column : column + 2]
            for row in program.matrix.rows[start:end]:
                budget -= by_row.length(int(row))
                if budget <= 0 or (np.isfinite(lower[column]) and np.isfinite(upper[column])):
                    break
                changed |= _tighten(program, by_row, int(row), int(column), lower, upper)
    return lower, upper


class _Rows:
    """The same matrix by rows."""

    def __init__(self, matrix: SparseColumns, num_rows: int) -> None:
        order = np.argsort(matrix.rows, kind="stable")
        self.columns = columns_of(matrix)[order]
        self.values = matrix.values[order]
        self.starts = np.concatenate(([0], np.cumsum(np.bincount(matrix.rows, minlength=num_rows))))

    def length(self, row: int) -> int:
        return int(self.starts[row + 1] - self.starts[row])

    def entries(self, row: int) -> tuple[Positions, Floats]:
        where = slice(self.starts[row], self.starts[row + 1])
        return self.columns[where], self.values[where]


def _tighten(program: MixedIntegerProgram, by_row: _Rows, row: int, column: int, lower: Floats, upper: Floats) -> bool:
    """Improve the infinite bounds of ``column`` by one row; whether one became finite."""
    columns, values = by_row.entries(row)
    own = columns == column
    factor = sum((Fraction(v) for v in values[own]), Fraction(0))
    if not factor:
        return False
    least, most = Fraction(0), Fraction(0)
    bounded_below = bounded_above = True
    for k, value in zip(columns[~own].tolist(), values[~own].tolist(), strict=True):
        low, high = (lower[k], upper[k]) if value > 0 else (upper[k], lower[k])
        bounded_below &= bool(np.isfinite(low)) or value == 0
        bounded_above &= bool(np.isfinite(high)) or value == 0
        least += Fraction(value) * Fraction(float(low)) if bounded_below and value else 0
        most += Fraction(value) * Fraction(float(high)) if bounded_above and value else 0
    changed = False
    ends = (
        (program.row_upper[row], bounded_below, least, factor > 0),
        (program.row_lower[row], bounded_above, most, factor < 0),
    )
    for side, bounded, rest, is_upper in ends:
        if not (np.isfinite(side) and bounded):
            continue
        limit = (Fraction(side) - rest) / factor
        if is_upper and np.isposinf(upper[column]):
            upper[column], changed = outward(limit, Sense.MAXIMISE), True
        if not is_upper and np.isneginf(lower[column]):
            lower[column], changed = outward(limit, Sense.MINIMISE), True
    return changed


def _projected(prices: Floats, row_lower: Floats, row_upper: Floats) -> Floats:
    """Prices without those on a side that is infinite, and without what is not a number."""
    priced = np.where(np.isfinite(prices), prices, 0.0)
    absent = ((priced > 0.0) & ~np.isfinite(row_lower)) | ((priced < 0.0) & ~np.isfinite(row_upper))
    return np.where(absent, 0.0, priced)


def _reduced_costs(program: MixedIntegerProgram, prices: Floats, sign: int) -> Dyadic:
    columns, rows = columns_of(program.matrix), program.matrix.rows
    used = prices[rows] != 0.0
    products = Dyadic.of(program.matrix.values[used]) * Dyadic.of(prices)[rows[used]]
    terms = Dyadic.joined([Dyadic.of(sign * program.cost), -products])
    groups = np.concatenate((np.arange(program.num_columns, dtype=np.int64), columns[used]))
    return terms.sums(groups, program.num_columns)
