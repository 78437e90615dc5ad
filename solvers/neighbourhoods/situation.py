"""What a neighbourhood may look at, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from apportion.instances.program import Floats, MixedIntegerProgram

Mask = NDArray[np.bool_]
Positions = NDArray[np.int64]

_SAME = 1e-6


@dataclass(frozen=True, eq=False)
class Root:
    """The optimum of the linear relaxation: values and reduced costs (n,), objective."""

    values: Floats
    reduced_costs: Floats
    objective: float


class Structure:
    """The matrix of a program by columns and by rows, and its integer columns."""

    def __init__(self, program: MixedIntegerProgram) -> None:
        matrix = program.matrix
        shape = (program.num_rows, program.num_columns)
        self.columns = scipy.sparse.csc_array((matrix.values, matrix.rows, matrix.starts), shape=shape)
        self.rows = self.columns.tocsr()
        self.integers: Positions = np.flatnonzero(program.integer & (program.lower < program.upper)).astype(np.int64)

    def columns_of_row(self, row: int) -> Positions:
        """The columns with an entry in ``row``."""
        starts = self.rows.indptr
        return np.asarray(self.rows.indices[starts[row] : starts[row + 1]], np.int64)

    def rows_of_column(self, column: int) -> Positions:
        """The rows with an entry in ``column``."""
        starts = self.columns.indptr
        return np.asarray(self.columns.indices[starts[column] : starts[column + 1]], np.int64)


@dataclass(frozen=True, eq=False)
class Situation:
    """The search at one moment.

    ``incumbent`` (n,) is feasible with whole integers; ``pool`` holds other feasible points, the newest last; ``open``
    (n,) marks the integer columns that an improvement can need, as far as reduced costs tell; ``size`` is how many
    integer columns should be free.
    """

    program: MixedIntegerProgram
    structure: Structure
    incumbent: Floats
    objective: float
    pool: tuple[Floats, ...]
    root: Root | None
    open: Mask
    size: int
    rng: np.random.Generator

    def differs(self, other: Floats) -> Mask:
        """The integer columns in which the incumbent and ``other`` (n,) differ."""
        return np.asarray(self.program.integer & (np.abs(self.incumbent - other) > _SAME), np.bool_)

    def trimmed(self, mask: Mask) -> Mask:
        """At most ``size`` of the columns of ``mask``, drawn at random."""
        where = np.flatnonzero(mask)
        if len(where) <= self.size:
            return mask
        kept = np.zeros_like(mask)
        kept[self.rng.choice(where, self.size, replace=False)] = True
        return kept

    def grown(self, mask: Mask) -> Mask:
        """``mask`` with open columns added up to ``size``: first those that the relaxation holds least firmly."""
        missing = self.size - int(mask.sum())
        others = np.flatnonzero(self.open & ~mask)
        if missing <= 0 or not len(others):
            return self.trimmed(mask)
        firmness = self.rng.random(len(others))
        if self.root is not None:
            firmness *= np.abs(self.root.reduced_costs[others]) + _SAME
        grown = mask.copy()
        grown[others[np.argsort(firmness, kind="stable")[:missing]]] = True
        return grown


@dataclass(frozen=True, eq=False)
class Restriction:
    """The program near the incumbent: integer columns outside ``free`` (n,) stay at its values.

    ``radius`` limits in how many binary columns the answer may differ; ``step`` asks for the nearest point whose
    objective is better by at least that much, in place of the best.
    """

    free: Mask
    radius: float | None = None
    step: float | None = None


class Neighbourhood(Protocol):
    """A neighbourhood that a problem declares, such as the columns of one day, route, node or unit."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        ...

    def free(self, incumbent: Floats, rng: np.random.Generator) -> Mask:
        """Which integer columns, shape (n,), may leave their values in ``incumbent``."""
        ...


class Piece(Protocol):
    """A neighbourhood of any program."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        ...

    def restrict(self, situation: Situation) -> Restriction | None:
        """The columns to free, or None when it has nothing to say now."""
        ...
