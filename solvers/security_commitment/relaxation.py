"""The linear relaxation with the flow rows met so far, kept warm in HiGHS: bounds, dispatch of given states, prices."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from apportion.instances.program import MixedIntegerProgram
from apportion.models.security_commitment.decode import injections
from apportion.models.security_commitment.flows import FlowRows, WrittenRow, entries_of
from apportion.solvers.backends.simplex import must, quiet_lp, solved
from apportion.solvers.events import Monitor
from apportion.solvers.security_commitment.screening import Screen

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MOST_ROUNDS = 500


@dataclass(frozen=True, eq=False)
class Relaxed:
    """An optimum of the relaxation: of the program's columns then the overloads, with reduced costs.

    ``complete`` says that no flow limit is broken; without it the objective is a bound all the same.
    """

    objective: float
    values: Floats
    reduced_costs: Floats
    row_duals: Floats
    complete: bool


class Relaxation:
    """One LP in HiGHS that grows with the flow rows."""

    def __init__(self, program: MixedIntegerProgram, rows: FlowRows, screen: Screen, monitor: Monitor) -> None:
        self.program = program
        self.rows = rows
        self.screen = screen
        self.monitor = monitor
        self.solves = 0
        self.infeasible = False
        self._written = 0
        self._overloads = 0
        self._lp: Any = quiet_lp()
        must(self._lp.setOptionValue("presolve", "choose"))
        must(self._lp.setOptionValue("small_matrix_value", 1e-12))
        self._pass()

    def _pass(self) -> None:
        program = self.program
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = program.num_columns, program.num_rows
        lp.col_cost_, lp.offset_ = program.cost, program.offset
        lp.col_lower_, lp.col_upper_ = program.lower, np.maximum(program.lower, program.upper)
        lp.row_lower_, lp.row_upper_ = program.row_lower, program.row_upper
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_ = program.matrix.starts
        lp.a_matrix_.index_ = program.matrix.rows
        lp.a_matrix_.value_ = program.matrix.values
        must(self._lp.passModel(lp))

    def _extend(self) -> None:
        """Hand over overload columns and rows that are new."""
        rows = self.rows
        for k in range(self._overloads, len(rows.overloads)):
            must(self._lp.addCol(rows.penalty(k), 0.0, inf, 0, np.zeros(0, np.int32), np.zeros(0)))
        self._overloads = len(rows.overloads)
        for written in rows.rows[self._written :]:
            for columns, factors, lower, upper in entries_of(written, self.program.num_columns):
                must(self._lp.addRow(lower, upper, len(columns), columns.astype(np.int32), factors))
        self._written = len(rows.rows)

    def solve(self, most_rounds: int = _MOST_ROUNDS) -> Relaxed | None:
        """Solve and add broken rows until there are none, or time or rounds are up; None without an optimum."""
        found: Relaxed | None = None
        for _ in range(most_rounds):
            self._extend()
            if not solved(self._lp, self.monitor.remaining_s):
                self.infeasible = self._lp.getModelStatus() == highspy.HighsModelStatus.kInfeasible
                return None if self.infeasible else found
            self.solves += 1
            found = self._read(complete=False)
            broken = self.broken(found.values)
            fresh: list[WrittenRow] = self.rows.add(broken)
            if not fresh:
                return self._read(complete=True)
            if self.monitor.should_stop:
                break
        return found

    def _read(self, complete: bool) -> Relaxed:
        solution = self._lp.getSolution()
        return Relaxed(
            float(self._lp.getInfo().objective_function_value),
            np.array(solution.col_value),
            np.array(solution.col_dual),
            np.array(solution.row_dual),
            complete,
        )

    def broken(self, values: Floats, per_period: int | None = None) -> list[Any]:
        """The flow rows that a point breaks beyond what it pays for."""
        formulation, network = self.rows.formulation, self.rows.network
        net = injections(formulation, values)
        paid = np.zeros(network.limit.shape)
        for k, (line, period) in enumerate(self.rows.overloads):
            at = self.program.num_columns + k
            paid[period, network.place[line]] = values[at] if at < len(values) else 0.0
        return self.screen.broken(net, paid) if per_period is None else self.screen.broken(net, paid, per_period)

    def dispatch(self, columns: NDArray[np.int64], states: Floats) -> Relaxed | None:
        """The best of everything else when ``columns`` have given values; then the bounds are put back."""
        index = columns.astype(np.int32)
        lower, upper = self.program.lower[columns], np.maximum(self.program.lower, self.program.upper)[columns]
        if np.any(states < lower - 1e-9) or np.any(states > upper + 1e-9):
            return None
        was = self.infeasible
        must(self._lp.changeColsBounds(len(index), index, states, states))
        found = self.solve()
        must(self._lp.changeColsBounds(len(index), index, lower, upper))
        self.infeasible = was
        return found if found is not None and found.complete else None
