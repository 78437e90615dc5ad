"""Nonlinear programs made of many small equal elements, with exact derivatives.

Rows are a sparse linear part plus a sparse sum of element outputs; an element is a function of a few columns, the same
for thousands of branches. CasADi differentiates one element; gathering and adding up are sparse products. Building the
derivatives so takes 0.05 s where those of one large expression take seconds. This is the partial separability of
Griewank and Toint, "On the unconstrained optimization of partially separable functions", 1982.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.errors import BackendMissingError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Matrix = sparse.csr_array


@dataclass(frozen=True, eq=False)
class Elements:
    """Equal functions of a few columns each.

    Parameters
    ----------
    function
        Takes the list of an element's columns and that of its parameters (CasADi scalars), returns its outputs.
    columns
        Shape (inputs, elements); the columns of one element are distinct.
    parameters
        Shape (parameters, elements).
    scatter
        What each output adds to each row, shape (rows, elements * outputs), the outputs of an element side by side.
    """

    function: Callable[[list[Any], list[Any]], list[Any]]
    columns: Ints
    parameters: Floats
    scatter: Matrix


@dataclass(frozen=True, eq=False)
class NonlinearProgram:
    """Minimise ``constant + linear x + quadratic x^2`` over boxes and ``row_lower <= rows <= row_upper``.

    ``matrix`` is the linear part of the rows; ``families`` says where each family of rows lies.
    """

    lower: Floats
    upper: Floats
    constant: float
    linear: Floats
    quadratic: Floats
    matrix: Matrix
    row_lower: Floats
    row_upper: Floats
    elements: tuple[Elements, ...]
    families: dict[str, slice]

    def functions(self) -> dict[str, Any]:
        """CasADi's ``x``, ``f``, ``g`` and functions of their derivatives ``grad_f``, ``jac_g``, ``hess_lag``."""
        ca = casadi()
        size, height = len(self.lower), len(self.row_lower)
        x, nothing = ca.MX.sym("x", size), ca.MX.sym("p", 0)
        price, prices = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", height)
        parts = [_Differentiated(one, x) for one in self.elements]
        rows = as_dm(self.matrix) @ x
        for part in parts:
            rows += part.rows
        slope = ca.DM(self.linear) + 2.0 * ca.DM(self.quadratic) * x
        cost = self.constant + ca.dot(ca.DM(self.linear), x) + ca.dot(ca.DM(self.quadratic), x**2)
        jacobian = _assembled([*(part.jacobian for part in parts), _constant_entries(self.matrix)], (height, size))
        diagonal = np.flatnonzero(self.quadratic)
        curved = ca.DM(2.0 * self.quadratic[diagonal]) * price
        hessian = _assembled(
            [*(part.hessian(prices) for part in parts), _at_once(diagonal, diagonal, curved)], (size, size)
        )
        return {
            "x": x,
            "f": cost,
            "g": rows,
            "grad_f": ca.Function("grad_f", [x, nothing], [cost, slope]),
            "jac_g": ca.Function("jac_g", [x, nothing], [rows, jacobian]),
            "hess_lag": ca.Function("hess_lag", [x, nothing, price, prices], [hessian]),
        }


Entries = tuple[Ints, Ints, Floats, Ints, Any]
"""Row, column, factor and position of each entry, in a CasADi vector of values."""


def _at_once(rows: Ints, columns: Ints, values: Any) -> Entries:
    return rows, columns, np.ones(len(rows)), np.arange(len(rows)), values


class _Differentiated:
    """A family of elements applied to the columns ``x``."""

    def __init__(self, elements: Elements, x: Any) -> None:
        ca = casadi()
        inputs, count = elements.columns.shape
        self._inputs, self._count, self._elements = inputs, count, elements
        symbols = ca.SX.sym("v", inputs)
        parameters = ca.SX.sym("c", len(elements.parameters))
        outputs = ca.vertcat(*elements.function(ca.vertsplit(symbols), ca.vertsplit(parameters)))
        self._outputs = int(outputs.numel())
        prices = ca.SX.sym("l", self._outputs)
        self._upper = np.triu_indices(inputs)
        full = ca.densify(ca.hessian(ca.dot(prices, outputs), symbols)[0])
        second = ca.vertcat(*(full[i, j] for i, j in zip(*(side.tolist() for side in self._upper), strict=True)))
        self._at = ca.reshape(x[elements.columns.T.ravel().tolist()], inputs, count)
        self._with = ca.DM(elements.parameters)
        value = ca.Function("value", [symbols, parameters], [outputs]).map(count)
        first = ca.Function("first", [symbols, parameters], [ca.densify(ca.jacobian(outputs, symbols))]).map(count)
        self._second = ca.Function("second", [symbols, parameters, prices], [second]).map(count)
        self.rows = as_dm(elements.scatter) @ ca.vec(value(self._at, self._with))
        self.jacobian = self._first_entries(ca.vec(first(self._at, self._with)))

    def _first_entries(self, values: Any) -> Entries:
        """Row r gets ``scatter[r, output] * d output / d input`` in the column of each input."""
        scatter = sparse.coo_array(self._elements.scatter)
        element, output = np.divmod(scatter.col.astype(np.int64), self._outputs)
        each = np.arange(self._inputs)
        position = (element * self._outputs * self._inputs + output)[:, None] + each * self._outputs
        rows = np.repeat(scatter.row.astype(np.int64), self._inputs)
        columns = self._elements.columns[:, element].T.ravel()
        return rows, columns, np.repeat(scatter.data, self._inputs), position.ravel(), values

    def hessian(self, prices: Any) -> Entries:
        """The upper triangle of the outputs' Hessian, weighted by what ``prices`` of the rows make of each output."""
        ca = casadi()
        by_output = ca.reshape(as_dm(Matrix(self._elements.scatter.T)) @ prices, self._outputs, self._count)
        values = ca.vec(self._second(self._at, self._with, by_output))
        one, other = (self._elements.columns[side].T.ravel() for side in self._upper)
        return _at_once(np.minimum(one, other), np.maximum(one, other), values)


def _constant_entries(matrix: Matrix) -> Entries:
    entries = sparse.coo_array(matrix)
    return _at_once(entries.row.astype(np.int64), entries.col.astype(np.int64), casadi().DM(entries.data))


def _assembled(parts: list[Entries], shape: tuple[int, int]) -> Any:
    """The sparse matrix of all entries, those at the same place added up."""
    ca = casadi()
    parts = [part for part in parts if len(part[0])]
    rows, columns, factors = (np.concatenate([part[k] for part in parts]) for k in range(3))
    lengths = [int(part[4].numel()) for part in parts]
    firsts = np.concatenate(([0], np.cumsum(lengths)))
    source = np.concatenate([part[3] + first for part, first in zip(parts, firsts, strict=False)])
    place, target = np.unique(columns * shape[0] + rows, return_inverse=True)
    column, row = np.divmod(place, shape[0])
    starts = np.concatenate(([0], np.cumsum(np.bincount(column, minlength=shape[1]))))
    pattern = ca.Sparsity(shape[0], shape[1], starts.tolist(), row.tolist())
    gather = Matrix((factors, (target.ravel(), source)), shape=(len(place), int(firsts[-1])))
    values = as_dm(gather) @ ca.vertcat(*(part[4] for part in parts))
    return ca.MX(pattern, ca.densify(values))


@dataclass(eq=False)
class Families:
    """Rows collected family by family; each has a linear part over all columns."""

    size: int
    _parts: list[Matrix] = field(default_factory=list)
    _lower: list[Floats] = field(default_factory=list)
    _upper: list[Floats] = field(default_factory=list)
    slices: dict[str, slice] = field(default_factory=dict)
    height: int = 0

    def add(self, name: str, lower: Floats, upper: Floats, matrix: Matrix | None = None) -> slice:
        """Add a family with its limits and its linear part, none by default; return where its rows lie."""
        count = len(lower)
        self._parts.append(Matrix((count, self.size)) if matrix is None else matrix)
        self._lower.append(np.asarray(lower, np.float64))
        self._upper.append(np.asarray(upper, np.float64))
        self.slices[name] = slice(self.height, self.height + count)
        self.height += count
        return self.slices[name]

    def finished(self) -> tuple[Matrix, Floats, Floats]:
        """The linear part of all rows, and their limits."""
        return Matrix(sparse.vstack(self._parts)), np.concatenate(self._lower), np.concatenate(self._upper)


def scattered(height: int, count: int, outputs: int, places: list[tuple[int, Ints, Ints, Floats]]) -> Matrix:
    """The scatter of elements from places ``(output, elements, rows, factors)``, shape (height, count * outputs)."""
    rows = np.concatenate([place[2] for place in places])
    columns = np.concatenate([place[1] * outputs + place[0] for place in places])
    values = np.concatenate([place[3] for place in places])
    return Matrix((values, (rows, columns)), shape=(height, count * outputs))


def casadi() -> Any:
    """The CasADi module.

    Raises
    ------
    BackendMissingError
        When it is not installed.
    """
    if not find_spec("casadi"):
        raise BackendMissingError("casadi is not installed\nMaybe pip install 'apportion[power]', or method 'dc'")
    import casadi as module

    return module


def as_dm(matrix: sparse.csr_array) -> Any:
    """A SciPy matrix as CasADi's."""
    ca = casadi()
    csc = sparse.csc_array(matrix)
    csc.sum_duplicates()
    csc.sort_indices()
    pattern = ca.Sparsity(csc.shape[0], csc.shape[1], csc.indptr.tolist(), csc.indices.tolist())
    return ca.DM(pattern, csc.data)
