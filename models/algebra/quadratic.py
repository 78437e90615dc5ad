"""Products of linear expressions, for quadratic objectives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import ModelError
from apportion.instances.program import Floats, Ints
from apportion.models.algebra.expressions import LinearExpression, aligned, constant_expression, same_model
from apportion.models.algebra.terms import Positions, gather_runs, merged, run_starts


@dataclass(frozen=True, eq=False)
class QuadraticExpression:
    """A linear expression plus products of pairs of variables, element by element.

    Product ``k`` is ``coefficients[k] * x[first[k]] * x[second[k]]`` in the element at flat position
    ``elements[k]``; all four arrays have shape (p,).
    """

    __array_ufunc__ = None
    __array_priority__ = 2000.0
    __hash__ = None  # type: ignore[assignment]

    linear: LinearExpression
    elements: Positions
    first: Ints
    second: Ints
    coefficients: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, as NumPy's."""
        return self.linear.shape

    def described(self) -> str:
        """What an error calls this expression."""
        return f"quadratic {self.linear.described()}"

    def sum(self, axis: int | Sequence[int] | None = None) -> QuadraticExpression:
        """Sum over one axis, several, or all of them (the default)."""
        linear = self.linear.sum(axis)
        axes = range(len(self.shape)) if axis is None else [axis] if isinstance(axis, int | np.integer) else axis
        summed = {int(a) % len(self.shape) for a in axes}
        position = np.unravel_index(self.elements, self.shape) if self.shape else ()
        kept = tuple(index for a, index in enumerate(position) if a not in summed)
        elements = np.ravel_multi_index(kept, linear.shape) if kept else np.zeros_like(self.elements)
        return QuadraticExpression(linear, elements, self.first, self.second, self.coefficients)

    def value_at(self, point: Floats) -> Floats:
        """The value of each element when column ``j`` is ``point[j]``."""
        total = np.array(self.linear.constant, dtype=np.float64)
        for part in self.linear.parts:
            columns, coefficients = part.flat()
            element = np.repeat(np.arange(total.size), part.counts.ravel())
            total += np.bincount(element, coefficients * point[columns], total.size).reshape(total.shape)
        products = self.coefficients * point[self.first] * point[self.second]
        return np.asarray(total + np.bincount(self.elements, products, total.size).reshape(total.shape))

    def __neg__(self) -> QuadraticExpression:
        return self * -1.0

    def _rearranged(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> QuadraticExpression:
        """Index or broadcast the elements, products and all."""
        linear = self.linear._rearranged(change)
        source = np.asarray(change(np.arange(self.linear.size).reshape(self.shape))).ravel()
        order = np.argsort(self.elements, kind="stable")
        counts = np.bincount(self.elements, minlength=self.linear.size)
        taken = counts[source]
        index = order[gather_runs(run_starts(counts)[source], taken)]
        elements = np.repeat(np.arange(linear.size), taken)
        return QuadraticExpression(linear, elements, self.first[index], self.second[index], self.coefficients[index])

    def __getitem__(self, key: Any) -> QuadraticExpression:
        return self._rearranged(lambda a: a[key])

    def broadcast_to(self, shape: tuple[int, ...]) -> QuadraticExpression:
        """Repeat along new or unit axes."""
        return self if shape == self.shape else self._rearranged(lambda a: np.broadcast_to(a, shape))

    def _common_shape(self, other: tuple[int, ...]) -> tuple[int, ...]:
        try:
            return np.broadcast_shapes(self.shape, other)
        except ValueError as error:
            raise ModelError(f"{self.described()}: shapes {self.shape} and {other} do not align") from error

    def __add__(self, other: Any) -> QuadraticExpression:
        addend = as_quadratic(other, self)
        shape = self._common_shape(addend.shape)
        left, right = self.broadcast_to(shape), addend.broadcast_to(shape)
        return QuadraticExpression(
            left.linear + right.linear,
            np.concatenate((left.elements, right.elements)),
            np.concatenate((left.first, right.first)),
            np.concatenate((left.second, right.second)),
            np.concatenate((left.coefficients, right.coefficients)),
        )

    __radd__ = __add__

    def __sub__(self, other: Any) -> QuadraticExpression:
        return self + (-other if isinstance(other, QuadraticExpression | LinearExpression) else -np.asarray(other))

    def __rsub__(self, other: Any) -> QuadraticExpression:
        return (-self).__add__(other)

    def __mul__(self, other: Any) -> QuadraticExpression:
        if isinstance(other, LinearExpression | QuadraticExpression):
            raise ModelError(f"{self.described()}: products of three variables are not quadratic")
        factor = constant_expression(other, self).constant
        whole = self.broadcast_to(self._common_shape(factor.shape))
        scale = np.broadcast_to(factor, whole.shape)
        coefficients = whole.coefficients * scale.ravel()[whole.elements]
        return QuadraticExpression(whole.linear._scaled(scale), whole.elements, whole.first, whole.second, coefficients)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> QuadraticExpression:
        return self * (1.0 / np.asarray(other, dtype=np.float64))

    def __le__(self, other: Any) -> Any:
        raise ModelError(f"{self.described()}: only the objective may be quadratic")

    __ge__ = __le__
    __eq__ = __le__


def as_quadratic(value: Any, beside: QuadraticExpression | str) -> QuadraticExpression:
    """Numbers or a linear expression as a quadratic one without products."""
    if isinstance(value, QuadraticExpression):
        return value
    linear = value if isinstance(value, LinearExpression) else constant_expression(value, beside)
    none = np.zeros(0, np.int32)
    return QuadraticExpression(linear, np.zeros(0, np.int64), none, none, np.zeros(0))


def product(left: LinearExpression, right: LinearExpression) -> QuadraticExpression | LinearExpression:
    """``left * right`` element by element; still linear when one of them is a constant."""
    left, right = aligned(left, right)
    if not left.parts:
        return right._scaled(left.constant)
    if not right.parts:
        return left._scaled(right.constant)
    model = same_model(left, right)
    cross = left._scaled(right.constant) + right._scaled(left.constant)
    linear = LinearExpression(model, cross.parts, left.constant * right.constant)
    ours, theirs = merged(left.parts, left.shape), merged(right.parts, right.shape)
    elements = np.repeat(np.arange(left.size, dtype=np.int64), ours.counts.ravel())
    repeats = theirs.counts.ravel()[elements]
    outer = np.repeat(np.arange(len(elements)), repeats)
    inner = gather_runs(run_starts(theirs.counts).ravel()[elements], repeats)
    return QuadraticExpression(
        linear,
        elements[outer],
        ours.columns[outer],
        theirs.columns[inner],
        ours.coefficients[outer] * theirs.coefficients[inner],
    )
