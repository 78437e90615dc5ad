"""Exact arithmetic on programs: a plan re-checked without any rounding.

A double is a whole number times a power of two, so every figure of a program is a rational number. Sums and products
of these are formed here on whole numbers of any length: nothing is rounded before the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import Fault, PlanError
from apportion.instances.program import Floats, Indicator, MixedIntegerProgram, SparseColumns, SpecialOrderedSet

Whole = NDArray[Any]
"""Python's whole numbers of any length, in an object array."""
Positions = NDArray[np.int64]

_MANTISSA_BITS = 53
_MOST_SHOWN = 20


@dataclass(frozen=True, eq=False)
class Dyadic:
    """An array of exact numbers ``numerators[i] * 2 ** exponents[i]``."""

    numerators: Whole
    exponents: Positions

    @classmethod
    def of(cls, values: Floats) -> Dyadic:
        """The exact values of finite doubles, numerators odd or zero so that products stay short."""
        mantissas, powers = np.frexp(np.asarray(values, np.float64))
        whole = (mantissas * 2.0**_MANTISSA_BITS).astype(np.int64)
        exponents = powers.astype(np.int64) - _MANTISSA_BITS
        lowest = np.where(whole == 0, 1, whole & -whole)
        trailing = (np.frexp(lowest.astype(np.float64))[1] - 1).astype(np.int64)
        exponents = np.where(whole == 0, 0, exponents + trailing)
        return cls((whole >> trailing).astype(object), exponents)

    def __getitem__(self, where: Any) -> Dyadic:
        return Dyadic(self.numerators[where], self.exponents[where])

    def __mul__(self, other: Dyadic) -> Dyadic:
        return Dyadic(self.numerators * other.numerators, self.exponents + other.exponents)

    def __neg__(self) -> Dyadic:
        return Dyadic(-self.numerators, self.exponents)

    def sums(self, groups: Positions, size: int) -> Dyadic:
        """Add the entries of each group ``0 .. size - 1``; a group without entries is zero."""
        totals = np.zeros(size, object)
        if not len(groups):
            return Dyadic(totals, np.zeros(size, np.int64))
        low = int(self.exponents.min())
        shifted = self.numerators << (self.exponents - low).astype(object)
        order = np.argsort(groups, kind="stable")
        sorted_groups = groups[order]
        first = np.flatnonzero(np.r_[True, np.diff(sorted_groups) != 0])
        totals[sorted_groups[first]] = np.add.reduceat(shifted[order], first)
        return Dyadic(totals, np.full(size, low, np.int64))

    def total(self) -> Fraction:
        """The sum of all entries."""
        return self.sums(np.zeros(len(self.numerators), np.int64), 1).fraction(0)

    def fraction(self, position: int) -> Fraction:
        """One entry as a fraction."""
        numerator, exponent = int(self.numerators[position]), int(self.exponents[position])
        return Fraction(numerator << exponent) if exponent >= 0 else Fraction(numerator, 1 << -exponent)

    @staticmethod
    def joined(parts: Sequence[Dyadic]) -> Dyadic:
        """Several arrays as one."""
        return Dyadic(np.concatenate([p.numerators for p in parts]), np.concatenate([p.exponents for p in parts]))


@dataclass(frozen=True)
class ExactViolation:
    """One broken row, bound or integrality: by how much exactly, and that divided by ``max(1, |side|)``."""

    rule: str
    place: str
    amount: Fraction
    relative: float

    def __str__(self) -> str:
        return f"{self.rule} {self.place}: off by {as_float(self.amount):.6g}"


@dataclass(frozen=True)
class ExactCheck:
    """What the exact check of a plan found.

    ``violations`` holds the worst ones, largest relative amount first; ``num_violations`` counts all of them.
    """

    objective: Fraction
    violations: tuple[ExactViolation, ...]
    num_violations: int

    @property
    def exactly_feasible(self) -> bool:
        """Whether nothing at all is violated, not even in the last digit."""
        return not self.num_violations

    @property
    def largest(self) -> float:
        """The largest violation divided by ``max(1, |side|)``; 0 when there is none."""
        return self.violations[0].relative if self.violations else 0.0

    def within(self, tolerance: float) -> bool:
        """Whether every violation is at most ``tolerance`` times ``max(1, |side|)``."""
        return self.largest <= tolerance


def check_exactly(program: MixedIntegerProgram, values: Floats) -> ExactCheck:
    """Check a plan in exact arithmetic against rows, bounds, integrality, ordered sets and indicators.

    Parameters
    ----------
    program
        Its figures are taken as the doubles that they are: 0.1 is 3602879701896397 / 2**55.
    values
        Shape (n,), finite.

    Raises
    ------
    PlanError
        When ``values`` has another shape or holds NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from apportion.instances.core import Sense
    >>> matrix = SparseColumns(np.array([0, 1]), np.array([0]), np.array([3.0]))
    >>> one = np.ones(1)
    >>> program = MixedIntegerProgram("third", Sense.MINIMISE, one, matrix, one, one, 0 * one, one, one == 0)
    >>> check_exactly(program, one / 3).violations[0].amount
    Fraction(1, 18014398509481984)
    """
    values = _checked_values(program, values)
    exact = Dyadic.of(values)
    found = [
        *_row_violations(program, exact),
        *_bound_violations(program, values),
        *_integrality_violations(program, values),
        *[v for k, one in enumerate(program.ordered_sets) if (v := _ordered_set_violation(k, one, values))],
        *[v for k, one in enumerate(program.indicators) if (v := _indicator_violation(program, k, one, values))],
    ]
    found.sort(key=lambda violation: -violation.relative)
    return ExactCheck(exact_objective(program, values), tuple(found[:_MOST_SHOWN]), len(found))


def exact_objective(program: MixedIntegerProgram, values: Floats) -> Fraction:
    """``offset + cost.x + x.Q.x / 2`` as a fraction."""
    exact = Dyadic.of(values)
    total = Fraction(program.offset) + (Dyadic.of(program.cost) * exact).total()
    if program.hessian is None or not program.hessian.num_nonzeros:
        return total
    rows, columns = program.hessian.rows, columns_of(program.hessian)
    products = Dyadic.of(program.hessian.values) * exact[rows] * exact[columns]
    diagonal = rows == columns
    return total + products[~diagonal].total() + products[diagonal].total() / 2


def exact_activity(program: MixedIntegerProgram, exact: Dyadic) -> Dyadic:
    """The value of each row at ``exact``, shape (m,)."""
    columns = columns_of(program.matrix)
    used = (exact.numerators[columns] != 0) & (program.matrix.values != 0.0)
    products = Dyadic.of(program.matrix.values[used]) * exact[columns[used]]
    return products.sums(program.matrix.rows[used].astype(np.int64), program.num_rows)


def _checked_values(program: MixedIntegerProgram, values: Floats) -> Floats:
    array = np.asarray(values, np.float64)
    if array.shape != (program.num_columns,):
        fault = Fault("values", f"must have shape ({program.num_columns},)", array.shape)
        raise PlanError(program.name, [fault])
    broken = np.flatnonzero(~np.isfinite(array))
    if len(broken):
        faults = [Fault(program.column_name(int(j)), "must be a finite number", float(array[j])) for j in broken[:5]]
        raise PlanError(program.name, faults)
    return array


def columns_of(matrix: SparseColumns) -> Positions:
    """The column of each entry."""
    return np.repeat(np.arange(len(matrix.starts) - 1, dtype=np.int64), np.diff(matrix.starts))


def _row_violations(program: MixedIntegerProgram, exact: Dyadic) -> list[ExactViolation]:
    activity = exact_activity(program, exact)
    return _side_violations("row", program.row_name, activity, program.row_lower, program.row_upper)


def _side_violations(rule: str, name: Any, exact: Dyadic, lower: Floats, upper: Floats) -> list[ExactViolation]:
    """Entries outside their range; an infinite side on the wrong end cannot be met at all."""
    found: list[ExactViolation] = []
    for side, direction in ((lower, 1), (upper, -1)):
        impossible = np.flatnonzero(side == direction * inf)
        found += [ExactViolation(rule, name(int(i)), Fraction(2) ** 1024, inf) for i in impossible]
        where = np.flatnonzero(np.isfinite(side))
        limit, entry = Dyadic.of(direction * side[where]), exact[where]
        both = Dyadic.joined([limit, entry if direction < 0 else -entry])
        short = both.sums(np.tile(np.arange(len(where), dtype=np.int64), 2), len(where))
        for k in np.flatnonzero(short.numerators > 0):
            position = int(where[k])
            found.append(_violation(rule, name(position), short.fraction(int(k)), float(side[position])))
    return found


def _bound_violations(program: MixedIntegerProgram, values: Floats) -> list[ExactViolation]:
    """Doubles compare exactly, so only the columns outside their bounds need more."""
    outside = np.flatnonzero((values < program.lower) | (values > program.upper))

    def name(position: int) -> str:
        return program.column_name(int(outside[position]))

    return _side_violations("bound", name, Dyadic.of(values[outside]), program.lower[outside], program.upper[outside])


def _violation(rule: str, place: str, amount: Fraction, side: float = 0.0) -> ExactViolation:
    return ExactViolation(rule, place, amount, as_float(amount / max(Fraction(1), abs(Fraction(side)))))


def as_float(number: Fraction) -> float:
    """The nearest double, infinite beyond the largest."""
    try:
        return float(number)
    except OverflowError:
        return inf if number > 0 else -inf


def _integrality_violations(program: MixedIntegerProgram, values: Floats) -> list[ExactViolation]:
    broken = np.flatnonzero(program.integer & (values != np.rint(values)))
    exact = [Fraction(float(values[j])) for j in broken]
    return [
        _violation("integrality", program.column_name(int(j)), abs(v - round(v)))
        for j, v in zip(broken, exact, strict=True)
    ]


def _ordered_set_violation(number: int, one: SpecialOrderedSet, values: Floats) -> ExactViolation | None:
    """The least that would have to vanish: everything outside the best run of ``order`` neighbours."""
    order = np.argsort(one.weights, kind="stable")
    sizes = [abs(Fraction(float(values[one.columns[k]]))) for k in order]
    kept = max((sum(sizes[k : k + one.order], Fraction(0)) for k in range(len(sizes))), default=Fraction(0))
    amount = sum(sizes, Fraction(0)) - kept
    return _violation("ordered set", str(number), amount) if amount else None


def _indicator_violation(
    program: MixedIntegerProgram, number: int, one: Indicator, values: Floats
) -> ExactViolation | None:
    if bool(values[one.column] > 0.5) != one.active:
        return None
    terms = zip(one.coefficients, one.columns, strict=True)
    activity = sum((Fraction(a) * Fraction(float(values[j])) for a, j in terms), Fraction(0))
    short = Fraction(one.lower) - activity if np.isfinite(one.lower) else Fraction(0)
    excess = activity - Fraction(one.upper) if np.isfinite(one.upper) else Fraction(0)
    amount = max(short, excess)
    place = f"{number} of {program.column_name(one.column)}"
    return _violation("indicator", place, amount, one.lower if short >= excess else one.upper) if amount > 0 else None
