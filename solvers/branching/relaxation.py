"""The linear program of a node in HiGHS: bounds changed in place, the basis kept or put back, dual simplex."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from math import inf, isfinite
from typing import Any

import highspy
import numpy as np
import scipy.sparse

from apportion.solvers.backends.simplex import must, quiet_lp
from apportion.solvers.branching.protocol import Floats, Ints
from apportion.solvers.heuristics.arrays import Problem

_FEASIBILITY = 1e-7
_UNLIMITED = 2**31 - 1
_Native = highspy.HighsModelStatus


class Ended(Enum):
    """How a linear program ended."""

    OPTIMAL = auto()
    INFEASIBLE = auto()
    BEYOND = auto()
    """Its dual objective passed the cutoff."""
    SHORT = auto()
    """The iteration limit came first."""
    STOPPED = auto()
    """The time was up."""
    UNBOUNDED = auto()
    FAILED = auto()


_ENDED = {
    _Native.kOptimal: Ended.OPTIMAL,
    _Native.kInfeasible: Ended.INFEASIBLE,
    _Native.kObjectiveBound: Ended.BEYOND,
    _Native.kIterationLimit: Ended.SHORT,
    _Native.kTimeLimit: Ended.STOPPED,
    _Native.kUnbounded: Ended.UNBOUNDED,
    _Native.kModelEmpty: Ended.OPTIMAL,
}


@dataclass(frozen=True, eq=False)
class Rows:
    """Further rows: ``matrix`` has shape (r, n), ``lower`` and ``upper`` (r,)."""

    matrix: scipy.sparse.csr_array
    lower: Floats
    upper: Floats

    @classmethod
    def none(cls, num_columns: int) -> Rows:
        """No rows."""
        return cls(scipy.sparse.csr_array((0, num_columns)), np.zeros(0), np.zeros(0))

    def __len__(self) -> int:
        return len(self.lower)

    def kept(self, which: Ints) -> Rows:
        """The rows at the positions ``which``."""
        return Rows(scipy.sparse.csr_array(self.matrix[which]), self.lower[which], self.upper[which])


class Relaxation:
    """One LP for the whole tree: the program with its integers relaxed, and the cuts.

    Parameters
    ----------
    problem, cuts
        Rows of the program, then the cuts.
    seed, seconds
        Of HiGHS; ``seconds`` is counted over all runs together.
    """

    def __init__(self, problem: Problem, cuts: Rows, seed: int, seconds: float) -> None:
        self._lp = quiet_lp()
        self._columns = np.flatnonzero(problem.integer).astype(np.int32)
        self._lower, self._upper = problem.lower[self._columns], problem.upper[self._columns]
        self._basis: Any = None
        self._limits = (inf, _UNLIMITED)
        self.iterations = 0
        self.solves = 0
        for name, value in (("random_seed", seed), ("primal_feasibility_tolerance", _FEASIBILITY)):
            must(self._lp.setOptionValue(name, value))
        if isfinite(seconds):
            must(self._lp.setOptionValue("time_limit", seconds))
        _pass(self._lp, problem, cuts)

    @property
    def objective(self) -> float:
        """Of the last run."""
        return float(self._lp.getObjectiveValue())

    def basis(self) -> Any:
        """A copy of the basis of the last run, an object of HiGHS."""
        self._basis = self._lp.getBasis()
        return self._basis

    def solution(self) -> tuple[Floats, Floats, Floats]:
        """Values (n,), reduced costs (n,) and row duals (m + cuts,) of the last run."""
        solution = self._lp.getSolution()
        return np.array(solution.col_value), np.array(solution.col_dual), np.array(solution.row_dual)

    def move(self, lower: Floats, upper: Floats) -> None:
        """Set the bounds of the integer columns, given in their order."""
        changed = np.flatnonzero((lower != self._lower) | (upper != self._upper))
        if len(changed):
            self._lp.changeColsBounds(len(changed), self._columns[changed], lower[changed], upper[changed])
            self._lower[changed], self._upper[changed] = lower[changed], upper[changed]

    def solve(self, basis: Any, cutoff: float, iterations: int = 0) -> Ended:
        """Solve from ``basis`` (None: from where it is), until the objective passes ``cutoff``."""
        if basis is not None and basis is not self._basis:
            self._lp.setBasis(basis)
        self._basis = None
        self._limit(cutoff, iterations or _UNLIMITED)
        ended = self._run()
        if ended is Ended.FAILED:
            self._lp.clearSolver()
            ended = self._run()
        return ended

    def probe(self, position: int, lower: float, upper: float, basis: Any, cutoff: float, iterations: int) -> Ended:
        """Solve with other bounds for one integer column, then put these and the basis back."""
        column = int(self._columns[position])
        self._lp.changeColBounds(column, lower, upper)
        ended = self.solve(basis, cutoff, iterations)
        self._objective = self.objective
        self._lp.changeColBounds(column, float(self._lower[position]), float(self._upper[position]))
        return ended

    @property
    def probed_objective(self) -> float:
        """Of the last probe."""
        return self._objective

    def _limit(self, cutoff: float, iterations: int) -> None:
        if self._limits != (cutoff, iterations):
            self._lp.setOptionValue("objective_bound", cutoff)
            self._lp.setOptionValue("simplex_iteration_limit", iterations)
            self._limits = (cutoff, iterations)

    def _run(self) -> Ended:
        self._lp.run()
        self.solves += 1
        self.iterations += max(0, int(self._lp.getInfoValue("simplex_iteration_count")[1]))
        return _ENDED.get(self._lp.getModelStatus(), Ended.FAILED)


def _pass(lp: Any, problem: Problem, cuts: Rows) -> None:
    shape = (problem.num_rows, problem.num_columns)
    rows = scipy.sparse.csr_array((problem.row_values, problem.row_columns, problem.row_starts), shape=shape)
    matrix = scipy.sparse.vstack((rows, cuts.matrix), format="csc") if len(cuts) else rows.tocsc()
    returned = lp.passModel(
        problem.num_columns,
        problem.num_rows + len(cuts),
        matrix.nnz,
        0,
        int(highspy.MatrixFormat.kColwise),
        int(highspy.HessianFormat.kTriangular),
        1,
        0.0,
        problem.cost,
        problem.lower,
        np.maximum(problem.lower, problem.upper),
        np.concatenate((problem.row_lower, cuts.lower)),
        np.maximum(np.concatenate((problem.row_lower, cuts.lower)), np.concatenate((problem.row_upper, cuts.upper))),
        matrix.indptr.astype(np.int32),
        matrix.indices.astype(np.int32),
        matrix.data.astype(np.float64),
        np.zeros(1, np.int32),
        np.zeros(0, np.int32),
        np.zeros(0),
        np.zeros(problem.num_columns, np.int32),
    )
    must(returned)
