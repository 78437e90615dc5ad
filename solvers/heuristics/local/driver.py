"""Local search from Python: an incumbent that chunks of effort improve."""

from __future__ import annotations

from math import inf, isfinite

import numpy as np

from apportion.instances.program import Floats
from apportion.solvers.heuristics.arrays import FEASIBILITY_TOLERANCE, Problem, objective_step, start_values
from apportion.solvers.heuristics.local import kernels
from apportion.solvers.heuristics.local.kernels import Search

_LEAST_SHARE = 1e-5
_PATIENCE = 60
_LONGEST_CHAIN = 5


class LocalSearch:
    """A search with weights that goes on where the last chunk ended and keeps its incumbent.

    Parameters
    ----------
    problem
        The program; no bound of it may cross another.
    values
        Where to begin, shape (n,); nearest zero when None.
    seed
        Same seed, start and efforts, same incumbents.
    """

    def __init__(self, problem: Problem, values: Floats | None = None, seed: int = 0) -> None:
        self._problem = problem
        self._search = _search_of(problem, seed)
        self._work = np.zeros((2 + _LONGEST_CHAIN, 4))
        self._least = objective_step(problem)
        self._idle = 0
        self.restart(start_values(problem) if values is None else values)

    @property
    def objective(self) -> float:
        """The cost of the incumbent as minimised, without the offset; infinite when there is none."""
        return float(self._search.scalars[kernels.BEST])

    @property
    def best(self) -> Floats | None:
        """A copy of the incumbent, shape (n,), or None."""
        return self._search.best.copy() if isfinite(self.objective) else None

    @property
    def values(self) -> Floats:
        """A copy of the current point, shape (n,)."""
        return self._search.values.copy()

    @property
    def num_broken(self) -> int:
        """How many rows the current point breaks."""
        return int(self._search.counters[kernels.BROKEN])

    @property
    def effort(self) -> int:
        """Nonzeros touched so far."""
        return int(self._search.counters[kernels.EFFORT])

    def restart(self, values: Floats) -> None:
        """Go on from ``values`` with equal weights; the incumbent stays."""
        problem, search = self._problem, self._search
        inside = np.clip(values, problem.lower, problem.upper)
        search.values[:] = np.where(problem.integer, np.rint(inside), inside)
        search.weight[:] = 1.0
        search.scalars[kernels.OBJECTIVE_WEIGHT] = 1.0
        search.up_from[:] = 0
        search.down_from[:] = 0
        self._idle = 0
        kernels.recompute(problem, search)

    def accept(self, values: Floats) -> bool:
        """Take a feasible point from elsewhere as the incumbent if it is better, and go on from there."""
        values = np.where(self._problem.integer, np.rint(values), values)
        cost = float(self._problem.cost @ values)
        if cost >= self.objective or self._problem.violation(values) > FEASIBILITY_TOLERANCE:
            return False
        search = self._search
        search.best[:] = values
        search.scalars[kernels.BEST] = cost
        search.scalars[kernels.STEP] = max(self._step, _LEAST_SHARE * abs(cost), 1e-9)
        self.restart(values)
        return True

    @property
    def _step(self) -> float:
        return self._least * (1.0 - 1e-6)

    def run(self, effort: int) -> bool:
        """Go on for ``effort`` nonzeros; return whether a better incumbent was found.

        After many chunks without one it goes back to the incumbent with equal weights.
        """
        share = 0.0 if self._least else _LEAST_SHARE
        found = kernels.search_chunk(self._problem, self._search, self._work, self._step, share, effort)
        self._idle = 0 if found else self._idle + 1
        if self._idle > _PATIENCE and self.objective < inf:
            self.restart(self._search.best)
        return bool(found)


def _search_of(problem: Problem, seed: int) -> Search:
    columns, rows = problem.num_columns, problem.num_rows
    counters = np.zeros(6, np.int64)
    counters[kernels.RANDOM] = seed % 2147483646 + 1
    dearest_first = np.argsort(-np.abs(problem.cost), kind="stable")
    return Search(
        values=np.zeros(columns),
        activity=np.zeros(rows),
        weight=np.ones(rows),
        broken=np.zeros(rows, np.int64),
        position=np.full(rows, -1, np.int64),
        up_from=np.zeros(columns, np.int64),
        down_from=np.zeros(columns, np.int64),
        best=np.zeros(columns),
        priced=dearest_first[problem.cost[dearest_first] != 0.0].astype(np.int64),
        scalars=np.array([0.0, inf, 0.0, 1.0]),
        counters=counters,
    )
