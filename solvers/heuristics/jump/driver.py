"""Feasibility Jump from Python."""

from __future__ import annotations

import numpy as np

from apportion.instances.program import Floats
from apportion.solvers.heuristics.arrays import Problem, start_values
from apportion.solvers.heuristics.jump import kernels
from apportion.solvers.heuristics.jump.kernels import Jumps

_PULL = 1e-6


class FeasibilityJump:
    """A search for a feasible point that goes on where the last chunk ended.

    Parameters
    ----------
    problem
        The program; no bound of it may cross another.
    values
        Where to begin, shape (n,); nearest zero when None.
    seed
        Same seed, start and effort, same point.
    """

    def __init__(self, problem: Problem, values: Floats | None = None, seed: int = 0) -> None:
        self._problem = problem
        self._jumps = _jumps_of(problem, seed)
        self._pull = _PULL / max(1.0, float(np.abs(problem.cost).max(initial=0.0)))
        self.restart(start_values(problem) if values is None else values)

    def restart(self, values: Floats) -> None:
        """Begin anew from ``values`` with equal weights."""
        problem, jumps = self._problem, self._jumps
        inside = np.clip(values, problem.lower, problem.upper)
        jumps.values[:] = np.where(problem.integer, np.rint(inside), inside)
        kernels.reset(problem, jumps, self._pull)

    @property
    def values(self) -> Floats:
        """A copy of the current point, shape (n,)."""
        return self._jumps.values.copy()

    @property
    def num_broken(self) -> int:
        """How many rows the current point breaks."""
        return int(self._jumps.counters[kernels.BROKEN])

    @property
    def effort(self) -> int:
        """Nonzeros touched so far."""
        return int(self._jumps.counters[kernels.EFFORT])

    def run(self, effort: int) -> bool:
        """Go on for ``effort`` nonzeros; return whether every row is met."""
        return bool(kernels.jump_chunk(self._problem, self._jumps, self._pull, effort))


def _jumps_of(problem: Problem, seed: int) -> Jumps:
    columns, rows = problem.num_columns, problem.num_rows
    longest = int(np.diff(problem.col_starts).max(initial=0))
    counters = np.zeros(5, np.int64)
    counters[kernels.RANDOM] = seed % 2147483646 + 1
    return Jumps(
        values=np.zeros(columns),
        jump=np.zeros(columns),
        score=np.zeros(columns),
        activity=np.zeros(rows),
        weight=np.ones(rows),
        broken=np.zeros(rows, np.int64),
        broken_at=np.full(rows, -1, np.int64),
        good=np.zeros(columns, np.int64),
        good_at=np.full(columns, -1, np.int64),
        binary=problem.integer & (problem.upper - problem.lower == 1.0),
        breaks=np.zeros(2 * longest + 2),
        slopes=np.zeros(2 * longest + 2),
        counters=counters,
    )
