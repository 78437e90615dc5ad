"""The one question behind every conflict: whether some rows and bounds can hold together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns
from apportion.models.program.exact import columns_of
from apportion.models.verdict import TOLERANCE
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status

Positions = NDArray[np.int64]

_SHARE = 0.2
_LEAST_S = 0.2


@dataclass(frozen=True)
class Budget:
    """Time for a whole explanation, of which a single question may take a share."""

    options: SolveOptions
    limit_s: float
    started: float = field(default_factory=time.perf_counter)

    @property
    def remaining_s(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self.limit_s - (time.perf_counter() - self.started))

    @property
    def spent(self) -> bool:
        """Whether the time is up."""
        return self.remaining_s <= 0.0

    def run(self, program: MixedIntegerProgram, backend: str, share: float = 1.0) -> BackendAnswer:
        """Solve within a share of what is left."""
        limit = inf if self.limit_s == inf else max(_LEAST_S, share * self.remaining_s)
        monitor = Monitor(program.sense, None, limit)
        plain = replace(self.options, start=None, backend=None, time_limit_s=limit)
        return backend_named(backend).run(program, plain, monitor)


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows and columns of a program, and their numbers in it."""

    program: MixedIntegerProgram
    rows: Positions
    columns: Positions

    def elements(self, rows: Positions, columns: Positions, num_rows: int) -> Positions:
        """Rows and columns of the part as elements of the whole, whose rows are ``num_rows``."""
        return np.concatenate((self.rows[rows], num_rows + self.columns[columns]))


class Feasibility:
    """Asks a backend whether a subset of the rows and of the bounds can hold.

    Elements ``0 .. m - 1`` are rows, ``m + j`` the bounds of column ``j``. Integrality, ordered sets, indicators and
    the bounds of binary columns always hold. Points that were found before answer later questions without a solve.
    """

    def __init__(self, program: MixedIntegerProgram, budget: Budget, backend: str) -> None:
        zero = np.zeros(program.num_columns)
        self.program = replace(
            program, sense=Sense.MINIMISE, cost=zero, offset=0.0, hessian=None, row_names=(), column_names=()
        )
        self.num_solves = 0
        self.num_undecided = 0
        self._budget, self._backend = budget, backend
        self._held: list[NDArray[np.bool_]] = []
        binary = program.integer & (program.lower >= 0) & (program.upper <= 1)
        self.droppable = ~binary & (np.isfinite(program.lower) | np.isfinite(program.upper))

    @property
    def elements(self) -> Positions:
        """Everything that can be left out."""
        bounds = self.program.num_rows + np.flatnonzero(self.droppable)
        return np.concatenate((np.arange(self.program.num_rows), bounds))

    def conflict(self, kept: Positions) -> bool:
        """Whether it is proven that ``kept`` cannot hold together; False also when the time is up."""
        if any(held[kept].all() for held in self._held):
            return False
        if self._budget.spent:
            self.num_undecided += 1
            return False
        self.num_solves += 1
        part = self.part(kept)
        answer = self._budget.run(part.program, self._backend, _SHARE)
        if answer.values is not None:
            values = np.clip(0.0, self.program.lower, self.program.upper)
            values[part.columns] = answer.values
            self._held.append(self._what_holds(values))
            return False
        if answer.status is not Status.INFEASIBLE:
            self.num_undecided += 1
        return answer.status is Status.INFEASIBLE

    def part(self, kept: Positions) -> Part:
        """The program with only ``kept`` of its rows and droppable bounds, and the columns in those rows."""
        program = self.program
        m = program.num_rows
        row_kept = np.zeros(m, np.bool_)
        row_kept[kept[kept < m]] = True
        free = self.droppable.copy()
        free[kept[kept >= m] - m] = False
        entries, columns_at = row_kept[program.matrix.rows], columns_of(program.matrix)
        used = np.ones(program.num_columns, np.bool_)
        if not (program.ordered_sets or program.indicators):
            used = np.bincount(columns_at[entries], minlength=program.num_columns) > 0
        columns = np.flatnonzero(used)
        place = np.cumsum(row_kept) - 1
        counts = np.bincount(columns_at[entries], minlength=program.num_columns)[columns]
        reduced = replace(
            program,
            cost=program.cost[columns],
            matrix=SparseColumns(
                np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
                place[program.matrix.rows[entries]].astype(np.int32),
                program.matrix.values[entries],
            ),
            row_lower=program.row_lower[row_kept],
            row_upper=program.row_upper[row_kept],
            lower=np.where(free, -inf, program.lower)[columns],
            upper=np.where(free, inf, program.upper)[columns],
            integer=program.integer[columns],
        )
        return Part(reduced, np.flatnonzero(row_kept), columns)

    def _what_holds(self, values: Floats) -> NDArray[np.bool_]:
        """Which rows and bounds a point satisfies."""
        program = self.program
        products = program.matrix.values * values[columns_of(program.matrix)]
        activity = np.bincount(program.matrix.rows, products, program.num_rows)
        rows = _inside(activity.astype(np.float64), program.row_lower, program.row_upper)
        return np.concatenate((rows, _inside(values, program.lower, program.upper)))


def _inside(values: Floats, lower: Floats, upper: Floats) -> NDArray[np.bool_]:
    low = np.where(np.isfinite(lower), lower - TOLERANCE * np.maximum(1.0, np.abs(lower)), lower)
    high = np.where(np.isfinite(upper), upper + TOLERANCE * np.maximum(1.0, np.abs(upper)), upper)
    return np.asarray((values >= low) & (values <= high))
