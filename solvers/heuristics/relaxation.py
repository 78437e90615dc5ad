"""Linear programs inside the heuristics: the relaxation as a guide, the best continuous values for fixed integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from apportion.instances.program import Floats
from apportion.solvers.backends.simplex import must, quiet_lp
from apportion.solvers.heuristics.arrays import FEASIBILITY_TOLERANCE, Problem

_FEASIBILITY = 1e-9


@dataclass(frozen=True, eq=False)
class Relaxed:
    """The optimum of a relaxation: values and reduced costs (n,), cost without the offset, simplex iterations."""

    values: Floats
    reduced_costs: Floats
    objective: float
    iterations: int


class Relaxation:
    """The program without integrality in HiGHS, warm from one solve to the next; limited by iterations, not time."""

    def __init__(self, problem: Problem, seed: int = 0) -> None:
        self._problem = problem
        self._solver = _solver(problem, seed)
        self.iterations = 0

    def solve(self, lower: Floats, upper: Floats, max_iterations: int) -> Relaxed | None:
        """The optimum in the box ``lower..upper`` (both (n,)), or None when it is not found."""
        columns = np.arange(self._problem.num_columns, dtype=np.int32)
        solver = self._solver
        solver.changeColsBounds(len(columns), columns, lower, np.maximum(lower, upper))
        solver.setOptionValue("simplex_iteration_limit", max_iterations)
        solver.run()
        info = solver.getInfo()
        self.iterations = max(0, int(info.simplex_iteration_count))
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        solution = solver.getSolution()
        values = np.clip(np.array(solution.col_value, np.float64), lower, upper)
        reduced = np.array(solution.col_dual, np.float64)
        return Relaxed(values, reduced, float(info.objective_function_value), self.iterations)

    def complete(self, values: Floats, max_iterations: int) -> Floats | None:
        """The cheapest feasible point whose integers are those of ``values``, shape (n,), or None."""
        problem = self._problem
        whole = np.rint(values)
        lower = np.where(problem.integer, whole, problem.lower)
        upper = np.where(problem.integer, whole, problem.upper)
        relaxed = self.solve(lower, upper, max_iterations)
        if relaxed is None:
            return None
        point = np.where(problem.integer, whole, relaxed.values)
        return point if problem.violation(point) <= FEASIBILITY_TOLERANCE else None


def _solver(problem: Problem, seed: int) -> Any:
    solver = quiet_lp()
    for name, value in (
        ("presolve", "choose"),
        ("random_seed", seed),
        ("primal_feasibility_tolerance", _FEASIBILITY),
    ):
        must(solver.setOptionValue(name, value))
    solver.passModel(
        problem.num_columns,
        problem.num_rows,
        problem.num_nonzeros,
        0,
        int(highspy.MatrixFormat.kColwise),
        int(highspy.HessianFormat.kTriangular),
        1,
        0.0,
        problem.cost,
        problem.lower,
        np.maximum(problem.lower, problem.upper),
        problem.row_lower,
        np.maximum(problem.row_lower, problem.row_upper),
        problem.col_starts.astype(np.int32),
        problem.col_rows.astype(np.int32),
        problem.col_values,
        np.zeros(1, np.int32),
        np.zeros(0, np.int32),
        np.zeros(0),
        np.zeros(problem.num_columns, np.int32),
    )
    return solver
