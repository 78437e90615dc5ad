"""Advice without a net: what the relaxation says, what every earlier day says, what the nearest days say.

These are the baselines beside every net: one that does not beat them is of no use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apportion.instances.core import Instance
from apportion.instances.program import MixedIntegerProgram
from apportion.learned.graphs import Floats, root_point
from apportion.learned.memory import Memory
from apportion.solvers.advisor import Advice
from apportion.solvers.heuristics.arrays import expressible, problem_of

_WHOLE = 1e-6


def advice_of(program: MixedIntegerProgram, values: Floats, confidence: Floats, least: float) -> Advice:
    """Fix the integer columns whose ``confidence`` is at least ``least``, the most certain first.

    ``values`` and ``confidence`` have one entry per integer column, in their order; no number counts as no confidence.
    """
    columns = np.flatnonzero(program.integer)
    trusted = np.where(np.isfinite(confidence) & np.isfinite(values), confidence, -1.0)
    order = np.argsort(-trusted, kind="stable")
    kept = order[trusted[order] >= least]
    return Advice(fix={int(columns[k]): float(np.rint(values[k])) for k in kept})


def _program(instance: Instance) -> MixedIntegerProgram | None:
    usable = isinstance(instance, MixedIntegerProgram) and expressible(instance) and bool(instance.integer.any())
    return instance if isinstance(instance, MixedIntegerProgram) and usable else None


@dataclass(frozen=True)
class RelaxationAdvisor:
    """Fix what the optimum of the relaxation leaves whole, the largest reduced cost first."""

    seed: int = 0

    def advise(self, instance: Instance) -> Advice:
        """See :class:`~apportion.solvers.advisor.Advisor`."""
        program = _program(instance)
        root = None if program is None else root_point(problem_of(program), self.seed)
        if program is None or root is None:
            return Advice()
        values, costs = root.values[program.integer], np.abs(root.reduced_costs[program.integer])
        whole = np.abs(values - np.rint(values)) <= _WHOLE
        return advice_of(program, values, np.where(whole, 1.0 + costs, -1.0), 0.0)


@dataclass(frozen=True)
class UnanimousAdvisor:
    """Fix the columns that had one value on every day that is remembered."""

    memory: Memory

    def advise(self, instance: Instance) -> Advice:
        """See :class:`~apportion.solvers.advisor.Advisor`; no advice on another structure."""
        program = _program(instance)
        if program is None or not self.memory.knows(program):
            return Advice()
        values = self.memory.values
        agreed = (np.abs(values - values[0]) <= _WHOLE).all(0)
        return advice_of(program, values[0], np.where(agreed, 1.0, -1.0), 0.0)


@dataclass(frozen=True)
class NearestAdvisor:
    """Fix the columns on which the nearest ``days`` agree, those that all days agree on first."""

    memory: Memory
    days: int = 5

    def advise(self, instance: Instance) -> Advice:
        """See :class:`~apportion.solvers.advisor.Advisor`; no advice on another structure."""
        program = _program(instance)
        if program is None or not self.memory.knows(program):
            return Advice()
        near = self.memory.values[self.memory.nearest(program, self.days)]
        agreed = (np.abs(near - near[0]) <= _WHOLE).all(0)
        always = 1.0 / (1.0 + self.memory.values.std(0))
        return advice_of(program, near[0], np.where(agreed, always, -1.0), 0.0)
