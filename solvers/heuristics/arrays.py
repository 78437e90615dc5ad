"""A program as the kernels read it: minimised, by rows and by columns, infinities and integer bounds made regular."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from apportion.instances.program import Floats, MixedIntegerProgram

Ints = NDArray[np.int64]
Booleans = NDArray[np.bool_]

FEASIBILITY_TOLERANCE = 1e-6
_INFINITE = 1e20
_ROUNDING = 1e-6


class Problem(NamedTuple):
    """``minimise cost.x`` over two-sided rows; ``n`` columns, ``m`` rows, ``k`` nonzeros.

    ``cost``, ``lower``, ``upper``, ``integer`` have shape (n,), ``row_lower`` and ``row_upper`` (m,). Column ``j`` has
    ``col_starts[j]:col_starts[j + 1]`` of ``col_rows`` and ``col_values``, row ``i`` likewise. No entry is zero or
    repeated, integer bounds are whole, infinite bounds are ``inf``.
    """

    cost: Floats
    lower: Floats
    upper: Floats
    integer: Booleans
    row_lower: Floats
    row_upper: Floats
    col_starts: Ints
    col_rows: Ints
    col_values: Floats
    row_starts: Ints
    row_columns: Ints
    row_values: Floats

    @property
    def num_columns(self) -> int:
        """How many variables there are."""
        return len(self.cost)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.row_lower)

    @property
    def num_nonzeros(self) -> int:
        """How many entries the matrix has."""
        return len(self.col_values)

    def activity(self, values: Floats) -> Floats:
        """The rows' values at ``values`` (shape (n,)), shape (m,)."""
        shape = (self.num_rows, self.num_columns)
        matrix = scipy.sparse.csr_array((self.row_values, self.row_columns, self.row_starts), shape=shape)
        return np.asarray(matrix @ values, np.float64)

    def violation(self, values: Floats) -> float:
        """The largest amount by which ``values`` breaks a bound, a row or integrality; infinite for NaN."""
        if not np.isfinite(values).all():
            return np.inf
        activity = self.activity(values)
        parts = (
            self.lower - values,
            values - self.upper,
            self.row_lower - activity,
            activity - self.row_upper,
            np.abs(values - np.rint(values))[self.integer],
        )
        return max((float(part.max()) for part in parts if len(part)), default=0.0)

    def with_bounds(self, lower: Floats, upper: Floats) -> Problem:
        """The same program in a smaller box."""
        return self._replace(lower=lower, upper=upper)


def expressible(program: MixedIntegerProgram) -> bool:
    """Whether the kernels can express ``program``: no ordered sets, indicators or quadratic objective."""
    quadratic = program.hessian is not None and program.hessian.num_nonzeros > 0
    return not (quadratic or program.ordered_sets or program.indicators)


def problem_of(program: MixedIntegerProgram) -> Problem:
    """Normalise ``program``; the objective is minimised without its offset."""
    matrix = program.matrix
    shape = (program.num_rows, program.num_columns)
    columns = scipy.sparse.csc_array((matrix.values, matrix.rows, matrix.starts), shape=shape, copy=True)
    columns.sum_duplicates()
    columns.eliminate_zeros()
    rows = columns.tocsr()
    rows.sort_indices()
    lower, upper = _infinities(program.lower), _infinities(program.upper)
    return Problem(
        cost=np.ascontiguousarray(program.sense.sign * program.cost),
        lower=np.where(program.integer, np.ceil(lower - _ROUNDING), lower),
        upper=np.where(program.integer, np.floor(upper + _ROUNDING), upper),
        integer=np.array(program.integer, np.bool_),
        row_lower=_infinities(program.row_lower),
        row_upper=_infinities(program.row_upper),
        col_starts=columns.indptr.astype(np.int64),
        col_rows=columns.indices.astype(np.int64),
        col_values=columns.data.astype(np.float64),
        row_starts=rows.indptr.astype(np.int64),
        row_columns=rows.indices.astype(np.int64),
        row_values=rows.data.astype(np.float64),
    )


def _infinities(bounds: Floats) -> Floats:
    regular = np.array(bounds, np.float64)
    regular[regular >= _INFINITE] = np.inf
    regular[regular <= -_INFINITE] = -np.inf
    return regular


def start_values(problem: Problem) -> Floats:
    """The value of each column that is nearest zero, shape (n,)."""
    return np.clip(np.zeros(problem.num_columns), problem.lower, problem.upper)


def objective_step(problem: Problem) -> float:
    """The least by which two different integer points can differ in cost, or 0 when nothing is known."""
    used = problem.cost != 0.0
    costs = problem.cost[used]
    whole = len(costs) > 0 and bool(problem.integer[used].all()) and bool((costs == np.rint(costs)).all())
    if not whole or float(np.abs(costs).max()) > 2**31:
        return 0.0
    return float(np.gcd.reduce(np.abs(costs).astype(np.int64)))
