"""A program most of whose states are fixed, made small in numpy before a solver sees it.

General presolve looks for much that is not there and pays for it on the two long rows of each hour; these few rules,
on whole arrays, leave little: bounds that rows imply, rows that bounds imply, columns that nothing holds off an end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PASSES = 12
_TIGHT = 1e-9
_CONTRADICTION = 1e-6
_ALMOST = 1e-6


@dataclass(frozen=True, eq=False)
class Shrunk:
    """``program`` has the columns ``kept``, shape (k,), of the original; ``values``, shape (n,), holds the others'."""

    program: MixedIntegerProgram
    kept: Ints
    values: Floats

    def restored(self, values: Floats) -> Floats:
        """Values of all columns of the original from those of ``program``."""
        whole = self.values.copy()
        whole[self.kept] = values
        return whole

    def reduced(self, values: Floats) -> Floats:
        """Values of the columns that are left."""
        return np.clip(values[self.kept], self.program.lower, self.program.upper)


def shrink(program: MixedIntegerProgram) -> Shrunk:
    """Fix columns and drop rows without losing every optimum; what cannot be shrunk is returned as it is.

    Examples
    --------
    >>> from apportion.instances.generate.commitment import generate_commitment
    >>> from apportion.models.commitment.arrays import formulate
    >>> program = formulate(generate_commitment(seed=1, units=3, periods=6)).model.compile()
    >>> shrink(program).program.num_rows < program.num_rows
    True
    """
    finite = np.isfinite(program.lower).all() and np.isfinite(program.upper).all()
    if not finite or program.sense is not Sense.MINIMISE or program.hessian is not None:
        return _as_it_is(program)
    work = _Work(program)
    for _ in range(PASSES):
        if work.contradicts:
            return _as_it_is(program)
        if not work.tighten():
            break
    return work.result()


def _as_it_is(program: MixedIntegerProgram) -> Shrunk:
    return Shrunk(program, np.arange(program.num_columns), np.array(program.lower))


class _Work:
    """Bounds that only shrink, and rows that only go."""

    def __init__(self, program: MixedIntegerProgram) -> None:
        self._program = program
        matrix = program.matrix
        columns = np.repeat(np.arange(program.num_columns), np.diff(matrix.starts))
        self._rows, self._columns = np.asarray(matrix.rows, np.int64), columns
        self._values = np.asarray(matrix.values)
        self._lower, self._upper = self._whole(np.array(program.lower), np.array(program.upper))
        self._active = np.ones(program.num_rows, np.bool_)
        self._scale = 1.0 + np.maximum(_finite(program.row_lower), _finite(program.row_upper))
        self.contradicts = bool(np.any(self._lower > self._upper))

    def _whole(self, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        """Bounds, of integer columns rounded inwards."""
        integer = self._program.integer
        least, most = np.ceil(lower - _ALMOST), np.floor(upper + _ALMOST)
        return np.where(integer, least, lower), np.where(integer, most, upper)

    def _sums(self, entries: Floats) -> Floats:
        return np.asarray(np.bincount(self._rows, entries, minlength=self._program.num_rows), np.float64)

    def tighten(self) -> bool:
        """One pass over all rules; whether anything changed."""
        values, rows, columns = self._values, self._rows, self._columns
        low, high = self._lower[columns] * values, self._upper[columns] * values
        least, most = np.minimum(low, high), np.maximum(low, high)
        row_least, row_most = self._sums(least), self._sums(most)
        below, above = self._program.row_lower, self._program.row_upper
        holds_up = self._active & (row_least < below - _TIGHT * self._scale)
        holds_down = self._active & (row_most > above + _TIGHT * self._scale)
        dropped = self._active & ~holds_up & ~holds_down
        self._active &= ~dropped
        fixed_before = self._lower == self._upper
        # how far an entry may rise above its least, or fall below its most, in its row
        room_down = np.where(holds_down[rows], (above - row_least)[rows], np.inf)
        room_up = np.where(holds_up[rows], (row_most - below)[rows], np.inf)
        self.contradicts = bool(np.any(np.minimum(room_down, room_up) < -_CONTRADICTION * self._scale[rows]))
        rise, fall = np.maximum(room_down, 0.0) / np.abs(values), np.maximum(room_up, 0.0) / np.abs(values)
        up = np.where(values > 0.0, rise, fall)
        down = np.where(values > 0.0, fall, rise)
        new_upper, new_lower = self._upper.copy(), self._lower.copy()
        np.minimum.at(new_upper, columns, self._lower[columns] + up)
        np.maximum.at(new_lower, columns, self._upper[columns] - down)
        new_lower, new_upper = self._whole(new_lower, new_upper)
        alone = (self._sums((~fixed_before[columns]).astype(np.float64)) < 1.5)[rows] & ~fixed_before[columns]
        self._take_over(columns[alone], new_lower, new_upper)
        closed = ~fixed_before & (new_upper - new_lower <= _TIGHT * (1.0 + np.abs(new_lower)))
        self._fix(closed, np.clip(new_lower, self._lower, self._upper))
        self._fix_free(holds_up, holds_down)
        return bool(dropped.any() or np.any((self._lower == self._upper) & ~fixed_before))

    def _take_over(self, columns: Ints, new_lower: Floats, new_upper: Floats) -> None:
        """Bounds of columns that are alone in a row become their own."""
        columns = columns[new_lower[columns] <= new_upper[columns]]
        self._lower[columns], self._upper[columns] = new_lower[columns], new_upper[columns]

    def _fix(self, which: Bools, values: Floats) -> None:
        integer = self._program.integer & which
        values = np.where(integer, np.rint(values), values)
        self._lower[which] = self._upper[which] = values[which]

    def _fix_free(self, holds_up: Bools, holds_down: Bools) -> None:
        """Columns that gain nothing by leaving an end, and that no row holds off it."""
        values, rows, columns = self._values, self._rows, self._columns
        positive = values > 0.0
        count, cost = self._program.num_columns, self._program.cost
        no_rise = np.bincount(columns[np.where(positive, holds_down[rows], holds_up[rows])], minlength=count)
        no_fall = np.bincount(columns[np.where(positive, holds_up[rows], holds_down[rows])], minlength=count)
        loose = self._lower < self._upper
        self._fix(loose & (cost <= 0.0) & (no_rise == 0), self._upper)
        self._fix(loose & (self._lower < self._upper) & (cost >= 0.0) & (no_fall == 0), self._lower)

    def result(self) -> Shrunk:
        """The program that is left."""
        program = self._program
        fixed = self._lower == self._upper
        kept, rows = np.flatnonzero(~fixed), np.flatnonzero(self._active)
        shape = (program.num_rows, program.num_columns)
        matrix = sparse.csc_array((self._values, (self._rows, self._columns)), shape=shape)
        settled = np.where(fixed, self._lower, 0.0)
        given = (matrix @ settled)[rows]
        left = sparse.csc_array(matrix[:, kept][rows, :])
        left.sort_indices()
        small = replace(
            program,
            cost=program.cost[kept],
            matrix=SparseColumns(left.indptr.astype(np.int32), left.indices.astype(np.int32), left.data),
            row_lower=program.row_lower[rows] - given,
            row_upper=program.row_upper[rows] - given,
            lower=self._lower[kept],
            upper=self._upper[kept],
            integer=program.integer[kept],
            offset=program.offset + float(program.cost @ settled),
            column_names=(),
            row_names=(),
        )
        return Shrunk(small, kept, settled)


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), np.abs(values), 0.0)
