"""Linear expressions as arrays: NumPy's indexing, broadcasting and sums over decision variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from apportion.instances.errors import ModelError
from apportion.instances.program import Floats, Ints
from apportion.models.algebra.terms import Terms, merged

if TYPE_CHECKING:
    from apportion.models.algebra.model import Model
    from apportion.models.algebra.relations import Relation

_MOST_PARTS = 64
_quietly = partial(np.errstate, invalid="ignore", over="ignore")
"""What is not finite is reported by name when it reaches a constraint or the objective, not by a warning here."""


class _Described(Protocol):
    def described(self) -> str: ...


class LinearExpression:
    """An array whose elements are linear expressions of a model's variables.

    It behaves as a NumPy array does: basic and integer and boolean indexing, ``None`` for a new axis,
    broadcasting, ``sum``, ``reshape``, ``T``, ``matrix @ expression``. Comparisons make constraints.
    Instances are never changed; every operation returns a new one.
    """

    __array_ufunc__ = None  # NumPy and SciPy then leave every operator to us
    __array_priority__ = 1000.0
    __hash__ = None  # type: ignore[assignment]  # == makes a constraint

    def __init__(self, model: Model | None, parts: Sequence[Terms], constant: Floats) -> None:
        self.model = model
        self.parts = tuple(parts)
        self.constant = constant

    # shape

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, as NumPy's."""
        return self.constant.shape

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return self.constant.ndim

    @property
    def size(self) -> int:
        """How many elements there are."""
        return self.constant.size

    @property
    def T(self) -> LinearExpression:  # noqa: N802
        """The axes in reverse order."""
        return self._rearranged(lambda a: a.T)

    def _rearranged(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> LinearExpression:
        try:
            constant = np.asarray(change(self.constant))
        except ValueError as error:
            raise ModelError(f"{self.described()}: {error}") from error
        return LinearExpression(self.model, [part.rearranged(change) for part in self.parts], constant)

    def __getitem__(self, key: Any) -> LinearExpression:
        return self._rearranged(lambda a: a[key])

    def __iter__(self) -> Iterator[LinearExpression]:
        if not self.ndim:
            raise TypeError("iteration over a scalar expression")
        return (self[position] for position in range(self.shape[0]))

    def reshape(self, *shape: int | tuple[int, ...]) -> LinearExpression:
        """The same elements in C order with another shape; one length may be -1."""
        wanted = shape[0] if len(shape) == 1 else shape
        return self._rearranged(lambda a: a.reshape(wanted))  # type: ignore[arg-type]

    def ravel(self) -> LinearExpression:
        """The same elements along one axis, in C order."""
        return self._rearranged(np.ravel)

    def transpose(self, *axes: int) -> LinearExpression:
        """The axes in the order given, reversed by default."""
        return self._rearranged(lambda a: a.transpose(*axes))

    def broadcast_to(self, shape: tuple[int, ...]) -> LinearExpression:
        """Repeat along new or unit axes, without copying."""
        if shape == self.shape:
            return self
        return self._rearranged(lambda a: np.broadcast_to(a, shape))

    # arithmetic

    def __neg__(self) -> LinearExpression:
        return self._scaled(np.broadcast_to(-1.0, self.shape))

    def __pos__(self) -> LinearExpression:
        return self

    def _scaled(self, factor: Floats) -> LinearExpression:
        with _quietly():
            parts, constant = [part.scaled(factor) for part in self.parts], factor * self.constant
        return LinearExpression(self.model, parts, constant)

    def __add__(self, other: Any) -> LinearExpression:
        addend = self._operand(other)
        if addend is None:
            return NotImplemented
        left, right = aligned(self, addend)
        model = same_model(left, right)
        parts = left.parts + right.parts
        if len(parts) > _MOST_PARTS:
            parts = (merged(parts, left.shape),)
        with _quietly():
            constant = np.asarray(left.constant + right.constant)
        return LinearExpression(model, parts, constant)

    __radd__ = __add__

    def __sub__(self, other: Any) -> LinearExpression:
        subtrahend = self._operand(other)
        return NotImplemented if subtrahend is None else self + (-subtrahend)

    def __rsub__(self, other: Any) -> LinearExpression:
        minuend = self._operand(other)
        return NotImplemented if minuend is None else minuend + (-self)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, LinearExpression):
            from apportion.models.algebra.quadratic import product

            return product(cast("Any", self), cast("Any", other))
        factor = self._operand(other)
        if factor is None:
            return NotImplemented
        left, right = aligned(self, factor)
        return left._scaled(right.constant)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> LinearExpression:
        divisor = self._operand(other)
        if divisor is None or isinstance(other, LinearExpression):
            return NotImplemented
        if np.any(divisor.constant == 0.0):
            raise ModelError(f"{self.described()}: division by zero")
        left, right = aligned(self, divisor)
        return left._scaled(1.0 / right.constant)

    def __pow__(self, exponent: int) -> Any:
        if exponent != 2:
            raise ModelError(f"{self.described()}: power {exponent!r}\nMaybe 2, or another variable for the term")
        from apportion.models.algebra.quadratic import product

        return product(cast("Any", self), cast("Any", self))

    def _operand(self, other: Any) -> LinearExpression | None:
        """Return ``other`` as an expression, or None where another class must decide."""
        if isinstance(other, LinearExpression):
            return other
        if hasattr(other, "__array_ufunc__") and other.__array_ufunc__ is None:
            return None
        return constant_expression(other, self)

    # reductions and products

    def sum(self, axis: int | Sequence[int] | None = None) -> LinearExpression:
        """Sum over one axis, several, or all of them (the default)."""
        axes = range(self.ndim) if axis is None else [axis] if isinstance(axis, int | np.integer) else axis
        try:
            chosen = [int(np.arange(self.ndim)[a]) for a in axes]
        except IndexError as error:
            raise ModelError(f"{self.described()}: no axis {axis} in shape {self.shape}") from error
        if len(set(chosen)) != len(chosen):
            raise ModelError(f"{self.described()}: sum over the same axis twice, {axis}")
        constant = np.asarray(self.constant.sum(axis=tuple(chosen)))
        return LinearExpression(self.model, [part.summed(chosen) for part in self.parts], constant)

    def __rmatmul__(self, matrix: Any) -> LinearExpression:
        """``matrix @ self`` with a sparse or dense matrix of shape (k, n) and self of shape (n,) or (n, t)."""
        if self.ndim not in (1, 2):
            raise ModelError(f"{self.described()}: matrix @ expression needs one or two axes, got {self.shape}")
        rows, is_vector = _as_matrix(matrix, self)
        if rows.shape[1] != self.shape[0]:
            raise ModelError(f"{self.described()}: matrix {rows.shape} @ expression {self.shape} do not align")
        tall = self.reshape(self.shape[0], self.size // self.shape[0] if self.shape[0] else prod(self.shape[1:]))
        constant = np.asarray(rows @ tall.constant)
        full = LinearExpression(self.model, [part.multiplied(rows) for part in tall.parts], constant)
        return full.reshape((() if is_vector else rows.shape[:1]) + self.shape[1:])

    def __matmul__(self, other: Any) -> Any:
        """``self @ matrix`` over the last axis; the product of two vectors of variables is quadratic."""
        if isinstance(other, LinearExpression):
            if self.ndim != 1 or other.ndim != 1:
                raise ModelError(f"{self.described()}: expression @ expression needs two vectors")
            return (self * other).sum()
        if not self.ndim:
            raise ModelError(f"{self.described()}: a scalar has no @")
        rows, is_vector = _as_matrix(other, self)
        across = rows if is_vector else sparse.csr_array(rows.T)
        front = self._rearranged(lambda a: np.moveaxis(a, -1, 0))
        flat = front.reshape((self.shape[-1], prod(self.shape[:-1])))
        result = (across @ flat).reshape(across.shape[:1] + self.shape[:-1])
        turned = result._rearranged(lambda a: np.moveaxis(a, 0, -1))
        return turned[..., 0] if is_vector else turned

    # comparisons

    def __le__(self, other: Any) -> Relation:
        return self._related(other, -np.inf, 0.0)

    def __ge__(self, other: Any) -> Relation:
        return self._related(other, 0.0, np.inf)

    def __eq__(self, other: object) -> Relation:  # type: ignore[override]
        return self._related(other, 0.0, 0.0)

    def __ne__(self, other: object) -> bool:
        raise ModelError(f"{self.described()}: != is no constraint\nMaybe a binary variable and two inequalities")

    def _related(self, other: Any, lower: float, upper: float) -> Relation:
        from apportion.models.algebra.relations import Relation

        difference = self - other
        return Relation(difference, lower, upper)

    # looking inside

    def blocks(self) -> list[str]:
        """The names of the variable blocks that appear, in the order of the model."""
        if self.model is None:
            return []
        used = np.zeros(self.model.num_columns, np.bool_)
        for part in self.parts:
            used[part.flat()[0]] = True
        return self.model.block_names_of(np.flatnonzero(used).astype(np.int32))

    def described(self) -> str:
        """What an error calls this expression: the blocks in it."""
        names = ", ".join(repr(name) for name in self.blocks())
        return f"expression of {names}" if names else "constant"

    def columns(self) -> Ints:
        """The column of each element when every element is one variable, in this expression's shape.

        Raises
        ------
        ModelError
            When some element is not a plain variable.
        """
        plain = len(self.parts) == 1 and bool(np.all(self.parts[0].counts == 1)) and not np.any(self.constant)
        if plain:
            columns, coefficients = self.parts[0].flat()
            if np.all(coefficients == 1.0):
                return columns.reshape(self.shape)
        raise ModelError(f"{self.described()}: plain variables are needed here, not expressions of them")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.described()}, shape {self.shape}>"

    def __bool__(self) -> bool:
        raise ModelError(f"{self.described()}: has no truth value")


def constant_expression(value: ArrayLike, beside: _Described | str) -> LinearExpression:
    """Numbers as an expression without variables; an error names what stands ``beside`` them."""
    try:
        array = np.array(value, dtype=np.float64)  # a copy: the caller may go on writing into the original
    except (TypeError, ValueError) as error:
        where = beside if isinstance(beside, str) else beside.described()
        raise ModelError(f"{where}: cannot be combined with {type(value).__name__}") from error
    return LinearExpression(None, (), array)


def aligned(left: LinearExpression, right: LinearExpression) -> tuple[LinearExpression, LinearExpression]:
    """Broadcast both to one shape."""
    if left.shape == right.shape:
        return left, right
    try:
        shape = np.broadcast_shapes(left.shape, right.shape)
    except ValueError as error:
        shapes = f"shapes {left.shape} and {right.shape} do not align"
        hint = "index with None to say which axes belong together, as in x[:, None]"
        raise ModelError(f"{left.described()} and {right.described()}: {shapes}\nMaybe {hint}") from error
    return left.broadcast_to(shape), right.broadcast_to(shape)


def same_model(*expressions: LinearExpression) -> Model | None:
    """The one model that the expressions speak of, None for constants."""
    model: Model | None = None
    for expression in expressions:
        if expression.model is None or expression.model is model:
            continue
        if model is not None:
            message = f"belongs to model {expression.model.name!r}, the other side to {model.name!r}"
            raise ModelError(f"{expression.described()}: {message}")
        model = expression.model
    return model


def concatenate(expressions: Sequence[LinearExpression | ArrayLike], axis: int = 0) -> LinearExpression:
    """Join expressions along an existing axis, as :func:`numpy.concatenate` does."""
    pieces = [e if isinstance(e, LinearExpression) else constant_expression(e, "concatenate") for e in expressions]
    model = same_model(*pieces)
    try:
        constant = np.concatenate([piece.constant for piece in pieces], axis=axis)
    except ValueError as error:
        names = "; ".join(piece.described() for piece in pieces)
        raise ModelError(f"concatenate {names}: {error}") from error
    pools = [merged(piece.parts, piece.shape) for piece in pieces]
    first = np.cumsum([0, *(len(pool.columns) for pool in pools)])
    starts = np.concatenate([pool.starts + offset for pool, offset in zip(pools, first, strict=False)], axis=axis)
    counts = np.concatenate([pool.counts for pool in pools], axis=axis)
    columns = np.concatenate([pool.columns for pool in pools])
    coefficients = np.concatenate([pool.coefficients for pool in pools])
    terms = Terms(columns, coefficients, starts, counts)
    return LinearExpression(model, (terms,) if len(columns) else (), constant)


def _as_matrix(matrix: Any, beside: LinearExpression) -> tuple[Any, bool]:
    """A finite CSR matrix, and whether a vector was given (then it has one row)."""
    is_vector = False
    given: Any = matrix
    if not sparse.issparse(given):
        given = constant_expression(given, beside).constant
        if given.ndim not in (1, 2):
            raise ModelError(f"{beside.described()}: @ needs a vector or a matrix, got shape {given.shape}")
        is_vector = given.ndim == 1
        given = np.atleast_2d(given)
    build: Any = sparse.csr_array
    rows = build(given, dtype=np.float64)
    if not np.all(np.isfinite(rows.data)):
        raise ModelError(f"{beside.described()}: the matrix of @ holds an entry that is not a finite number")
    return rows, is_vector
