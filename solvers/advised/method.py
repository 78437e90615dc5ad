"""The method "advised" of programs: a plan by advice on integer columns, and a proof that trusts none of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import isfinite

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.solvers.advised.probing import Box, Effort, Prover, positions
from apportion.solvers.advisor import Advice, Advisor
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.backends.proof import settle
from apportion.solvers.branching.incumbent import Incumbent
from apportion.solvers.branching.reduction import unreduced
from apportion.solvers.branching.relaxation import Ended
from apportion.solvers.events import Monitor
from apportion.solvers.heuristics.arrays import expressible
from apportion.solvers.neighbourhoods.budget import Budget
from apportion.solvers.options import SolveOptions
from apportion.solvers.program import solve_program, start_values
from apportion.solvers.result import Answer
from apportion.solvers.status import Bounds, Limit, Status

_SHARE_OF_GAP = 0.1
_SHARES = (1.0, 0.9, 0.7, 0.4)
"""How much of the advice to fix; the next share follows when a program has no plan."""


@dataclass(frozen=True)
class AdvisedSettings:
    """How far to trust advice.

    ``shares`` of the advised columns are fixed one after the other until there is a plan; ``effort`` limits the probes.
    """

    shares: tuple[float, ...] = _SHARES
    effort: Effort = field(default_factory=Effort)


def solve_with_advice(
    instance: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,
    *,
    settings: AdvisedSettings | None = None,
) -> Answer[VariableValues]:
    """Solve a program with an advisor that says which values integer columns take; the bound is of the whole program.

    The advised columns are fixed and the rest is solved: a plan. Then the relaxation of the whole program excludes what
    cannot be better than the plan by more than ``options.gap``: by reduced costs, and by linear programs in which one
    advised column must differ. What is left is solved as a program of its own. Wrong advice costs time, never truth.

    Without advice, and for programs with ordered sets, indicators or a quadratic objective, the default method works.

    Parameters
    ----------
    instance, options, monitor
        As for every method.
    advisor
        ``fix`` holds the advice, the most certain column first; ``options`` count unless the caller chose a backend;
        ``start`` and ``hint`` are used as everywhere.
    settings
        How far to trust it.
    """
    advice = advisor.advise(instance) if advisor is not None else Advice()
    if advice.options and options.backend is None:
        options = options.with_(**advice.options)
        monitor.log(f"advised options: {', '.join(f'{name}={value}' for name, value in advice.options.items())}")
    columns = _usable(instance, advice)
    if not columns or not expressible(instance) or options.backend not in (None, "highs"):
        return solve_program(instance, options, monitor, _Given(advice))
    start = start_values(instance, options, monitor, _Given(advice))
    native = _Run(instance, options, monitor, settings or AdvisedSettings()).solve(columns, start)
    if native is None:
        return solve_program(instance, options, monitor, _Given(advice))
    return Answer(
        status=native.status,
        bounds=native.bounds,
        plan=None if native.values is None else VariableValues.from_array(instance, native.values),
        limit=native.limit,
        counts=native.counts,
        native_status=native.native_status,
        native=native,
    )


class _Given:
    """Advice that is there already."""

    def __init__(self, advice: Advice) -> None:
        self._advice = advice

    def advise(self, instance: object) -> Advice:
        """See :class:`Advisor`."""
        del instance
        return self._advice


def _usable(program: MixedIntegerProgram, advice: Advice) -> list[tuple[int, float]]:
    """The advised columns that are there, integer, and whose value is a whole number within its bounds."""
    usable = []
    for column, value in advice.fix.items():
        if not 0 <= column < program.num_columns or not program.integer[column] or not isfinite(value):
            continue
        if value == round(value) and program.lower[column] <= value <= program.upper[column]:
            usable.append((int(column), float(value)))
    return usable


class _Part(Budget):
    """A monitor of a program that holds every plan better than ``floor``: its plans count, its bound up to there."""

    def __init__(self, around: Monitor, program: MixedIntegerProgram, floor: float) -> None:
        super().__init__(around, program.sense)
        self._whole, self._floor = around, floor

    def incumbent(self, objective: float, letter: str = "H", message: str = "") -> bool:
        """Report it to the whole as well."""
        self._whole.incumbent(objective, letter, message)
        return super().incumbent(objective, letter, message)

    def bound(self, dual: float, message: str = "") -> bool:
        """Report to the whole what is true there."""
        sign = self.sense.sign
        self._whole.bound(sign * min(sign * dual, sign * self._floor), message)
        return super().bound(dual, message)

    def node(self, nodes: int) -> None:
        """Report to the whole."""
        self._whole.node(nodes)


class _Run:
    def __init__(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, settings: AdvisedSettings
    ) -> None:
        self._program, self._options, self._monitor, self._settings = program, options, monitor, settings
        self._whole = unreduced(program)
        self._incumbent = Incumbent(program, self._whole, options.gap, monitor)
        self._counts = {"advised": 0, "fixed": 0, "probes": 0, "pruned": 0, "nodes": 0}

    def solve(self, columns: Sequence[tuple[int, float]], start: Floats | None) -> BackendAnswer | None:
        """Plan, exclude, solve what is left; None when the relaxation has no optimum in time."""
        if start is not None and np.isfinite(start).all():
            self._incumbent.adopt(start, "S")
        self._counts["advised"] = len(columns)
        prover = Prover(self._whole.problem, self._options.seed, self._monitor)
        if prover.root() is not Ended.OPTIMAL:
            return None
        self._monitor.bound(self._incumbent.claim(self._incumbent.round_up(prover.box.root)))
        self._plan_by(columns)
        places = positions(self._whole.problem, np.array([column for column, _ in columns], np.int64))
        advised = [(int(place), value) for place, (_, value) in zip(places, columns, strict=True)]
        box = prover.shrink(advised, self._incumbent.cutoff, self._settings.effort)
        self._counts |= {"fixed": box.num_fixed, "probes": box.probes, "pruned": box.by_probe}
        return self._rest(box)

    def _plan_by(self, columns: Sequence[tuple[int, float]]) -> None:
        """Fix as many of ``columns`` as leave a plan."""
        program, options = self._program, self._options
        for count in _sizes(len(columns), self._settings.shares):
            if self._monitor.should_stop:
                return
            lower, upper = program.lower.copy(), program.upper.copy()
            for column, value in columns[:count]:
                lower[column] = upper[column] = value
            part = replace(program, lower=lower, upper=upper)
            fine = options.with_(gap=_SHARE_OF_GAP * options.gap, start=None)
            answer = backend_named("highs").run(part, fine, Budget(self._monitor, program.sense))
            if answer.values is not None and self._incumbent.adopt(answer.values, "H"):
                return

    def _rest(self, box: Box) -> BackendAnswer:
        """Solve what ``box`` leaves."""
        program, incumbent, monitor = self._program, self._incumbent, self._monitor
        claimed = incumbent.claim(incumbent.round_up(incumbent.cutoff))
        if box.empty:
            monitor.bound(claimed)
            return self._answer(claimed, None, "relaxation")
        part = self._inside(box)
        options = self._options.with_(start=None)
        answer = backend_named("highs").run(part, options, _Part(monitor, program, claimed), incumbent.values)
        if answer.values is not None:
            incumbent.adopt(answer.values, "T")
        self._counts["nodes"] = answer.counts.get("nodes", 0)
        if incumbent.values is None:
            return answer
        sign = program.sense.sign
        dual = answer.bounds.dual
        if answer.status is Status.INFEASIBLE:
            dual = claimed  # nothing in the box is better, and the start of HiGHS may lie outside
        monitor.bound(sign * min(sign * dual, sign * claimed))
        return self._answer(monitor.bounds.dual, answer.limit, answer.native_status)

    def _inside(self, box: Box) -> MixedIntegerProgram:
        program = self._program
        lower, upper = program.lower.copy(), program.upper.copy()
        lower[program.integer], upper[program.integer] = box.lower, box.upper
        return replace(program, lower=lower, upper=upper)

    def _answer(self, dual: float, limit: Limit | None, native: str) -> BackendAnswer:
        bounds = Bounds(self._incumbent.objective, dual)
        status, other = settle(Status.OPTIMAL, limit, bounds, self._options.gap)
        limit = None if status is Status.OPTIMAL else limit or other or Limit.OTHER
        return BackendAnswer(
            status, bounds, limit, self._incumbent.values, None, None, self._counts, f"advised: {native}"
        )


def _sizes(size: int, shares: Sequence[float]) -> Iterator[int]:
    counts = [round(share * size) for share in shares]
    yield counts[0]
    yield from (smaller for larger, smaller in pairwise(counts) if 0 < smaller < larger)
