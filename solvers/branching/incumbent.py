"""The best solution so far, in the original program, and what it says about the rest of the tree."""

from __future__ import annotations

from math import ceil, inf, isfinite

import numpy as np

from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.branching.protocol import Floats
from apportion.solvers.branching.reduction import Reduced
from apportion.solvers.events import Monitor
from apportion.solvers.heuristics.arrays import FEASIBILITY_TOLERANCE, objective_step, problem_of

_SAME = 1e-9
_WHOLE = 1e-6
_MARGIN = 1e-4


class Incumbent:
    """Keeps the best feasible point.

    Attributes
    ----------
    values
        Of the original program, shape (n,), or None.
    primal
        Its cost as the reduced program minimises it, without the offset; infinite without one.
    cutoff
        What a node must stay below to be worth anything.
    """

    def __init__(self, program: MixedIntegerProgram, reduced: Reduced, gap: float, monitor: Monitor) -> None:
        self._program, self._reduced, self._gap, self._monitor = program, reduced, gap, monitor
        self._original = problem_of(program)
        self._step = objective_step(reduced.problem)
        self.values: Floats | None = None
        self.primal = self.cutoff = inf
        self.found = 0

    @property
    def objective(self) -> float:
        """In the program's own sense; infinite on the bad side without one."""
        return self.claim(self.primal)

    def claim(self, cost: float) -> float:
        """A cost of the reduced program in the terms of the original."""
        return self._program.sense.sign * (cost + self._reduced.offset)

    def round_up(self, bound: float) -> float:
        """The least cost that a solution can have when its cost is at least ``bound``."""
        if self._step == 0.0 or not isfinite(bound):
            return bound
        return max(bound, ceil(bound / self._step - _WHOLE) * self._step)

    def offer(self, values: Floats, letter: str) -> bool:
        """Take a point of the reduced program when it is feasible in both; whether it is."""
        problem = self._reduced.problem
        point = np.where(problem.integer, np.rint(values), np.clip(values, problem.lower, problem.upper))
        if problem.violation(point) > FEASIBILITY_TOLERANCE:
            return False
        return self.adopt(self._reduced.restore(point), letter)

    def adopt(self, values: Floats, letter: str) -> bool:
        """Take a point of the original program when it is feasible; whether it is."""
        original = self._original
        point = np.where(original.integer, np.rint(values), np.clip(values, original.lower, original.upper))
        if original.violation(point) > FEASIBILITY_TOLERANCE:
            return False
        cost = float(original.cost @ point) + self._program.sense.sign * self._program.offset - self._reduced.offset
        if cost < self.primal - _SAME * max(1.0, abs(cost)) or self.values is None:
            self.values, self.primal = point, cost
            self.found += 1
            self.cutoff = self._cutoff()
            self._monitor.incumbent(self.objective, letter)
        return True

    def _cutoff(self) -> float:
        primal = self.primal
        allowed = max(self._gap * abs(self.objective), _SAME * max(1.0, abs(primal)))
        if self._step == 0.0:
            return primal - allowed
        better = (ceil(primal / self._step - _WHOLE) - 1 + _MARGIN) * self._step
        return min(better, primal - allowed)
