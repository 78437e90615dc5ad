"""The restricted master: a linear program that keeps its basis while columns are added."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import highspy
import numpy as np

from apportion.solvers.backends.simplex import must, quiet_lp
from apportion.solvers.columns.bounds import signed
from apportion.solvers.columns.formulation import Column, Duals, Floats, Formulation

_MISSING = 1e-7


@dataclass(frozen=True, eq=False)
class MasterSolution:
    """The optimum over the columns so far. ``missing`` is how far the rows are from being met without penalty."""

    objective: float
    values: Floats
    duals: Duals
    block_duals: Floats
    missing: float


class RestrictedMaster:
    """The master over the columns known so far; artificial columns pay ``penalty`` for each unit a row is missed."""

    def __init__(self, formulation: Formulation, columns: Iterable[Column] = ()) -> None:
        self.formulation = formulation
        self.columns: list[Column] = []
        self.penalty = formulation.penalty
        self.cost_weight = 1.0
        self._known: set[tuple[int, bytes, bytes]] = set()
        self._lp = quiet_lp()
        self._add_rows()
        self._artificial = self._add_artificial()
        self.add(columns)

    def _add_rows(self) -> None:
        form = self.formulation
        lower = np.concatenate((form.row_lower, form.block_least))
        upper = np.concatenate((form.row_upper, form.block_most))
        count = len(lower)
        none = np.zeros(0, np.int32)
        must(self._lp.addRows(count, lower, upper, 0, np.zeros(count, np.int32), none, np.zeros(0)))

    def _add_artificial(self) -> int:
        """One column for each way in which a row can be missed."""
        form = self.formulation
        lower = np.concatenate((form.row_lower, np.where(form.block_least > 0, form.block_least, -np.inf)))
        upper = np.concatenate((form.row_upper, np.full(form.num_blocks, np.inf)))
        under = np.flatnonzero(np.isfinite(lower) & (lower > 0))
        over = np.flatnonzero(np.isfinite(upper))
        under = np.union1d(under, np.flatnonzero(np.isfinite(lower) & np.isfinite(upper)))
        rows = np.concatenate((under, over)).astype(np.int32)
        values = np.concatenate((np.ones(len(under)), -np.ones(len(over))))
        count = len(rows)
        cost = np.full(count, self.penalty)
        starts = np.arange(count, dtype=np.int32)
        if count:
            must(self._lp.addCols(count, cost, np.zeros(count), np.full(count, np.inf), count, starts, rows, values))
        return count

    def add(self, columns: Iterable[Column]) -> int:
        """Add those that are new; return how many were."""
        fresh = []
        for column in columns:
            key = column.key
            if key not in self._known:
                self._known.add(key)
                fresh.append(column)
        if not fresh:
            return 0
        base = self.formulation.num_rows
        rows = np.concatenate([np.append(c.rows, base + c.block) for c in fresh]).astype(np.int32)
        values = np.concatenate([np.append(c.values, 1.0) for c in fresh])
        lengths = np.array([len(c.rows) + 1 for c in fresh])
        starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int32)
        cost = np.array([self.cost_weight * c.cost for c in fresh])
        count = len(fresh)
        upper = np.full(count, np.inf)
        must(self._lp.addCols(count, cost, np.zeros(count), upper, len(rows), starts, rows, values))
        self.columns += fresh
        return count

    def weigh(self, cost_weight: float, penalty: float) -> None:
        """Change the weight of the costs (0 looks for feasibility alone) and the penalty of the artificial columns."""
        self.cost_weight, self.penalty = cost_weight, penalty
        own = np.array([cost_weight * c.cost for c in self.columns])
        cost = np.concatenate((np.full(self._artificial, penalty), own))
        if len(cost):
            must(self._lp.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost))

    def solve(self) -> MasterSolution | None:
        """The optimum and its prices; None when HiGHS stops without one."""
        must(self._lp.run())
        if self._lp.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        solution = self._lp.getSolution()
        values = np.maximum(np.array(solution.col_value, np.float64), 0.0)
        duals = np.array(solution.row_dual, np.float64)
        rows = self.formulation.num_rows
        artificial = values[: self._artificial]
        return MasterSolution(
            objective=float(self._lp.getInfo().objective_function_value),
            values=values[self._artificial :],
            duals=Duals(signed(self.formulation, duals[:rows]), self.cost_weight),
            block_duals=duals[rows:],
            missing=float(artificial.sum()) if artificial.max(initial=0.0) > _MISSING else 0.0,
        )
