"""Elastic programs: every row and bound may be broken at a price, so there is always a plan and it says what to pay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Elastic:
    """A program with slack columns appended, and what each slack stands for.

    ``rows[k]`` is the row that slack ``num_columns + k`` moves by ``directions[k]`` (+1 lifts its activity, so it
    stands for a lower side that is missed). Bounds that may be broken have become rows: those from ``num_rows`` on
    belong to ``columns``.
    """

    program: MixedIntegerProgram
    num_columns: int
    num_rows: int
    rows: Positions
    directions: Positions
    columns: Positions

    def slacks(self, values: Floats) -> Floats:
        """The signed amount by which each row's activity is helped, shape (rows of the elastic program,)."""
        moved = self.directions * values[self.num_columns :]
        return np.asarray(np.bincount(self.rows, moved, self.program.num_rows), np.float64)


def elastic_program(
    program: MixedIntegerProgram,
    row_weights: Floats,
    column_weights: Floats | None = None,
) -> Elastic:
    """Let rows and bounds be broken at ``weight`` per unit and minimise what that costs.

    Parameters
    ----------
    program
        Its own objective is left out. Integrality stays.
    row_weights
        Shape (m,); infinite for a row that must hold.
    column_weights
        Shape (n,); infinite, as by default, for a column whose bounds must hold.
    """
    n = program.num_columns
    weights = np.full(n, np.inf) if column_weights is None else column_weights
    bounded = np.isfinite(program.lower) | np.isfinite(program.upper)
    columns = np.flatnonzero(np.isfinite(weights) & bounded)
    opened = _with_bounds_as_rows(program, columns)
    all_weights = np.concatenate((row_weights, weights[columns]))
    soft = np.isfinite(all_weights)
    lifts = np.flatnonzero(soft & np.isfinite(opened.row_lower))
    drops = np.flatnonzero(soft & np.isfinite(opened.row_upper))
    rows = np.concatenate((lifts, drops))
    directions = np.concatenate((np.ones(len(lifts), np.int64), -np.ones(len(drops), np.int64)))
    matrix = opened.matrix
    added = len(rows)
    elastic = MixedIntegerProgram(
        name=f"elastic {program.name}",
        sense=Sense.MINIMISE,
        cost=np.concatenate((np.zeros(n), all_weights[rows])),
        matrix=SparseColumns(
            np.concatenate((matrix.starts, matrix.starts[-1] + np.arange(1, added + 1))).astype(np.int32),
            np.concatenate((matrix.rows, rows)).astype(np.int32),
            np.concatenate((matrix.values, directions.astype(np.float64))),
        ),
        row_lower=opened.row_lower,
        row_upper=opened.row_upper,
        lower=np.concatenate((opened.lower, np.zeros(added))),
        upper=np.concatenate((opened.upper, np.full(added, np.inf))),
        integer=np.concatenate((opened.integer, np.zeros(added, np.bool_))),
        ordered_sets=program.ordered_sets,
        indicators=program.indicators,
    )
    return Elastic(elastic, n, program.num_rows, rows, directions, columns)


def _with_bounds_as_rows(program: MixedIntegerProgram, columns: Positions) -> MixedIntegerProgram:
    """The same program with the bounds of ``columns`` written as rows behind the others."""
    if not len(columns):
        return replace(program, row_names=(), column_names=(), hessian=None)
    m, n = program.num_rows, program.num_columns
    old, extra = program.matrix, np.zeros(n, np.int64)
    extra[columns] = 1
    counts = np.diff(old.starts) + extra
    starts = np.concatenate(([0], np.cumsum(counts)))
    last = starts[1:][columns] - 1
    mine = np.ones(int(starts[-1]), np.bool_)
    mine[last] = False
    rows, values = np.empty(len(mine), np.int32), np.ones(len(mine))
    rows[mine], values[mine] = old.rows, old.values
    rows[last] = m + np.arange(len(columns))
    lower, upper = program.lower.copy(), program.upper.copy()
    lower[columns], upper[columns] = -np.inf, np.inf
    return replace(
        program,
        matrix=SparseColumns(starts.astype(np.int32), rows, values),
        row_lower=np.concatenate((program.row_lower, program.lower[columns])),
        row_upper=np.concatenate((program.row_upper, program.upper[columns])),
        lower=lower,
        upper=upper,
        hessian=None,
        row_names=(),
        column_names=(),
    )
