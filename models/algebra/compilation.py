"""From blocks to columns: one sparse matrix, one Hessian, no loop over rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns
from apportion.models.algebra.blocks import Constraints
from apportion.models.algebra.expressions import LinearExpression
from apportion.models.algebra.quadratic import QuadraticExpression, as_quadratic

_INT32 = 2**31


def joined(arrays: Sequence[NDArray[np.float64] | NDArray[np.bool_]]) -> Floats:
    """Flatten and join as floats, also when there are none."""
    whole = np.empty(sum(array.size for array in arrays))
    first = 0
    for array in arrays:
        whole[first : first + array.size].reshape(array.shape)[...] = array
        first += array.size
    return whole


def constraint_matrix(blocks: Sequence[Constraints], num_columns: int) -> SparseColumns:
    """All rows of all blocks by columns; repeated entries are added, zeros dropped."""
    num_rows = blocks[-1].last if blocks else 0
    num_nonzeros = sum(len(block.columns) for block in blocks)
    ends = np.zeros(num_rows + 1, np.int32 if num_nonzeros < _INT32 else np.int64)
    for block in blocks:
        ends[block.first + 1 : block.last + 1] = block.counts
    np.cumsum(ends, out=ends)
    columns = np.concatenate([block.columns for block in blocks]) if blocks else np.zeros(0, np.int32)
    values = joined([block.coefficients for block in blocks])
    parts: Any = (values, columns, ends)
    return _by_columns(sparse.csr_array(parts, shape=(num_rows, num_columns)))


def _by_columns(matrix: Any) -> SparseColumns:
    by_column = matrix.tocsc()
    by_column.sum_duplicates()
    if not np.all(by_column.data):
        by_column.eliminate_zeros()
    return SparseColumns(
        by_column.indptr.astype(np.int32, copy=False), by_column.indices.astype(np.int32, copy=False), by_column.data
    )


def linear_cost(objective: QuadraticExpression, num_columns: int) -> Floats:
    """The linear coefficients of a scalar objective, shape (num_columns,)."""
    cost = np.zeros(num_columns)
    for part in objective.linear.parts:
        columns, coefficients = part.flat()
        cost += np.bincount(columns, weights=coefficients, minlength=num_columns)
    return cost


def hessian(objective: QuadraticExpression, num_columns: int) -> SparseColumns | None:
    """The lower triangle of Q in ``x.Q.x / 2``, None when the objective is linear."""
    if not objective.coefficients.any():
        return None
    row = np.maximum(objective.first, objective.second)
    column = np.minimum(objective.first, objective.second)
    values = objective.coefficients * np.where(row == column, 2.0, 1.0)
    found = _by_columns(sparse.coo_array((values, (row, column)), shape=(num_columns, num_columns)))
    return found if found.num_nonzeros else None


def objective_of(program: MixedIntegerProgram, columns: LinearExpression) -> QuadraticExpression:
    """The objective of a program as an expression of its columns."""
    linear = (columns * program.cost).sum() + program.offset
    if program.hessian is None:
        return as_quadratic(linear, "objective")
    values, second = program.hessian.values, program.hessian.rows
    first = np.repeat(np.arange(program.num_columns, dtype=np.int32), np.diff(program.hessian.starts))
    coefficients = values * np.where(first == second, 0.5, 1.0)
    return QuadraticExpression(linear, np.zeros(len(first), np.int64), first, second, coefficients)


def constraints_of(program: MixedIntegerProgram) -> Constraints:
    """The rows of a program as one block."""
    matrix = program.matrix
    shape = (program.num_rows, program.num_columns)
    rows = sparse.csc_array((matrix.values, matrix.rows, matrix.starts), shape=shape).tocsr()
    return Constraints(
        name="rows",
        shape=(program.num_rows,),
        first=0,
        lower=program.row_lower,
        upper=program.row_upper,
        counts=np.diff(rows.indptr).astype(np.int64),
        columns=rows.indices.astype(np.int32, copy=False),
        coefficients=rows.data,
        element_names=program.row_names,
    )
