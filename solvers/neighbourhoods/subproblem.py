"""The program near an incumbent as a program of its own: fixed columns leave, and rows that they empty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns
from apportion.solvers.neighbourhoods.situation import Positions, Restriction, Structure


@dataclass(frozen=True, eq=False)
class SubProgram:
    """A smaller program and the way back.

    ``columns`` are the columns of the whole program that it keeps; ``start`` is the incumbent in them, or None when
    the incumbent is no plan of it.
    """

    program: MixedIntegerProgram
    columns: Positions
    start: Floats | None
    incumbent: Floats

    def lifted(self, values: Floats) -> Floats:
        """A point of the whole program, shape (n,), from one of the smaller; integers rounded."""
        whole = self.incumbent.copy()
        values = values.copy()
        values[self.program.integer] = np.rint(values[self.program.integer])
        whole[self.columns] = values
        return whole


def restricted(
    program: MixedIntegerProgram, structure: Structure, incumbent: Floats, restriction: Restriction
) -> SubProgram:
    """Remove the integer columns that ``restriction`` keeps at ``incumbent``, then the rows without entries."""
    free = np.where(program.integer, restriction.free, True)
    columns = np.flatnonzero(free).astype(np.int64)
    fixed = np.where(free, 0.0, incumbent)
    activity = structure.columns @ fixed
    inside = structure.columns[:, columns].tocsr()
    rows = np.flatnonzero(np.diff(inside.indptr) > 0)
    matrix = inside[rows]
    row_lower, row_upper = (program.row_lower - activity)[rows], (program.row_upper - activity)[rows]
    cost, offset = program.cost[columns], program.offset + float(program.cost @ fixed)
    sense, start = program.sense, incumbent[columns]
    near = _distance(program, columns, incumbent)
    if restriction.radius is not None:
        matrix = scipy.sparse.vstack((matrix, scipy.sparse.csr_array(near[None, :])), format="csr")
        already = float(np.minimum(near, 0.0).sum())
        row_lower, row_upper = np.append(row_lower, -np.inf), np.append(row_upper, restriction.radius + already)
    if restriction.step is not None:
        sign = sense.sign
        best = sign * (float(cost @ start)) - restriction.step
        matrix = scipy.sparse.vstack((matrix, scipy.sparse.csr_array((sign * cost)[None, :])), format="csr")
        row_lower, row_upper = np.append(row_lower, -np.inf), np.append(row_upper, best)
        cost, offset, sense = near, -float(np.minimum(near, 0.0).sum()), Sense.MINIMISE
    by_columns = scipy.sparse.csc_array(matrix)
    by_columns.sort_indices()
    smaller = MixedIntegerProgram(
        name=f"{program.name} nearby",
        sense=sense,
        cost=np.asarray(cost, np.float64),
        matrix=SparseColumns(
            by_columns.indptr.astype(np.int32), by_columns.indices.astype(np.int32), by_columns.data.astype(np.float64)
        ),
        row_lower=row_lower,
        row_upper=row_upper,
        lower=program.lower[columns],
        upper=program.upper[columns],
        integer=program.integer[columns],
        offset=offset,
    )
    return SubProgram(smaller, columns, start if restriction.step is None else None, incumbent)


def _distance(program: MixedIntegerProgram, columns: Positions, incumbent: Floats) -> Floats:
    """Coefficients of the Hamming distance to ``incumbent`` over the binaries: 1 where it is 0, -1 where it is 1."""
    binary = program.integer & (program.lower == 0.0) & (program.upper == 1.0)
    return np.where(binary, np.where(incumbent > 0.5, -1.0, 1.0), 0.0)[columns]
