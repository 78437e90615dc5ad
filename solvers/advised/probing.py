"""Integer columns that must take their advised value in every plan better than a cutoff, by linear programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from apportion.solvers.branching.protocol import Floats, Ints
from apportion.solvers.branching.relaxation import Ended, Relaxation, Rows
from apportion.solvers.events import Monitor
from apportion.solvers.heuristics.arrays import Problem

_WHOLE = 1e-6
_LEAST_ITERATIONS = 200
_PRUNED = (Ended.BEYOND, Ended.INFEASIBLE)


@dataclass(frozen=True)
class Effort:
    """How much to spend on probes, in simplex iterations of the root relaxation.

    ``each`` limits one probe and ``all_of_them`` their sum; ``failures`` in a row end the probing.
    """

    each: float = 1.0
    all_of_them: float = 15.0
    failures: int = 12


@dataclass
class Box:
    """Bounds of the integer columns, in their order, that hold for every plan better than the cutoff.

    ``root`` is the objective of the relaxation in the box, minimised, without the offset of the program. ``empty``
    says that no plan is better than the cutoff.
    """

    lower: Floats
    upper: Floats
    root: float = -np.inf
    empty: bool = False
    by_cost: int = 0
    by_probe: int = 0
    probes: int = 0

    @property
    def num_fixed(self) -> int:
        """How many columns are left with one value."""
        return int((self.lower == self.upper).sum())


class Prover:
    """The relaxation of a program, and what it excludes.

    Reduced-cost fixing and probing with a cutoff: the region that a probe excludes lies within the box that the probes
    before it left, so the regions excluded and the last box cover the space.
    """

    def __init__(self, problem: Problem, seed: int, monitor: Monitor) -> None:
        self._problem, self._monitor = problem, monitor
        self._columns = np.flatnonzero(problem.integer)
        self._relaxation = Relaxation(problem, Rows.none(problem.num_columns), seed, monitor.remaining_s)
        self._box = Box(problem.lower[self._columns].copy(), problem.upper[self._columns].copy())
        self._root_iterations = 0
        self._values = np.zeros(problem.num_columns)
        self._basis: Any = None

    @property
    def box(self) -> Box:
        """What is known so far."""
        return self._box

    def root(self) -> Ended:
        """Solve the root relaxation."""
        ended = self._relaxation.solve(None, np.inf)
        self._root_iterations = max(_LEAST_ITERATIONS, self._relaxation.iterations)
        if ended is Ended.OPTIMAL:
            self._box.root = self._relaxation.objective
            self._basis = self._relaxation.basis()
        return ended

    def shrink(self, advised: Sequence[tuple[int, float]], cutoff: float, effort: Effort) -> Box:
        """Exclude what cannot be better than ``cutoff``: first by reduced costs, then by probing ``advised``.

        Parameters
        ----------
        advised
            Positions among the integer columns and their advised values, the most certain first.
        cutoff
            Minimised, without the offset.
        effort
            How much to spend.
        """
        if self._box.root >= cutoff:
            self._box.empty = True
        if not isfinite(cutoff) or self._box.empty:
            return self._box
        self._fix_by_costs(cutoff)
        self._probe_all(advised, cutoff, effort)
        return self._box

    def _fix_by_costs(self, cutoff: float) -> None:
        """Tighten bounds by the reduced costs of the relaxation that was solved last."""
        values, costs, _ = self._relaxation.solution()
        self._values = values
        box, values, costs = self._box, values[self._columns], costs[self._columns]
        room = cutoff - self._box.root
        before = box.num_fixed
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.floor(room / np.abs(costs) + _WHOLE)
        up = (costs > _WHOLE) & (values <= box.lower + _WHOLE) & np.isfinite(steps)
        box.upper[up] = np.minimum(box.upper[up], box.lower[up] + steps[up])
        down = (costs < -_WHOLE) & (values >= box.upper - _WHOLE) & np.isfinite(steps)
        box.lower[down] = np.maximum(box.lower[down], box.upper[down] - steps[down])
        box.by_cost += box.num_fixed - before
        self._relaxation.move(box.lower, box.upper)

    def _probe_all(self, advised: Sequence[tuple[int, float]], cutoff: float, effort: Effort) -> None:
        most = effort.all_of_them * self._root_iterations + self._relaxation.iterations
        failures = 0
        for position, value in advised:
            if failures >= effort.failures or self._relaxation.iterations > most or self._monitor.should_stop:
                return
            box = self._box
            if box.lower[position] == box.upper[position] or not box.lower[position] <= value <= box.upper[position]:
                continue
            if self._excludes_rest(position, value, cutoff, int(effort.each * self._root_iterations)):
                failures = 0
                box.lower[position] = box.upper[position] = value
                box.by_probe += 1
                if not self._follow(position, value, cutoff):
                    return
            else:
                failures += 1

    def _excludes_rest(self, position: int, value: float, cutoff: float, iterations: int) -> bool:
        """Whether neither side of ``value`` holds a plan better than ``cutoff``."""
        low, high = self._box.lower[position], self._box.upper[position]
        sides = [(low, value - 1.0)] if value > low else []
        sides += [(value + 1.0, high)] if value < high else []
        for lower, upper in sides:
            self._box.probes += 1
            ended = self._relaxation.probe(position, lower, upper, self._basis, cutoff, iterations)
            beyond = ended is Ended.OPTIMAL and self._relaxation.probed_objective >= cutoff
            if ended not in _PRUNED and not beyond:
                return False
        return True

    def _follow(self, position: int, value: float, cutoff: float) -> bool:
        """Move the relaxation into the smaller box; False when it proves the box empty or cannot go on."""
        moved = abs(self._values[self._columns[position]] - value) > _WHOLE
        self._relaxation.move(self._box.lower, self._box.upper)
        if not moved:
            return True
        ended = self._relaxation.solve(self._basis, cutoff)
        if ended in _PRUNED or (ended is Ended.OPTIMAL and self._relaxation.objective >= cutoff):
            self._box.empty = True
        if self._box.empty or ended is not Ended.OPTIMAL:
            return False
        self._box.root = max(self._box.root, self._relaxation.objective)
        self._basis = self._relaxation.basis()
        self._fix_by_costs(cutoff)
        return True


def positions(problem: Problem, columns: Ints) -> Ints:
    """Where each of ``columns`` stands among the integer columns, -1 where it is continuous."""
    among = np.full(problem.num_columns, -1, np.int64)
    integer = np.flatnonzero(problem.integer)
    among[integer] = np.arange(len(integer))
    return np.asarray(among[columns], np.int64)
