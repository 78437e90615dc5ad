"""The method "lns" of programs: large-neighbourhood search in turns with one exact run of HiGHS."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.solvers.advisor import Advisor
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.backends.highs import Highs
from apportion.solvers.events import Monitor
from apportion.solvers.heuristics.arrays import expressible
from apportion.solvers.heuristics.method import find_start
from apportion.solvers.neighbourhoods.search import Limits, Search
from apportion.solvers.neighbourhoods.situation import Neighbourhood
from apportion.solvers.options import SolveOptions
from apportion.solvers.program import infeasible_or_unbounded, solve_program, start_values, with_whole_numbers
from apportion.solvers.result import Answer
from apportion.solvers.status import Bounds, Status

_HEAD_START_S = 1.5
_PATIENCE_S = 3.0
_START_EFFORT = 60_000_000
_FIRST_SHARE = 0.5
_MOST_SHARE = 0.8
_LEAST_SHARE = 0.15
_DECAY = 0.9
_YIELD = 0.7
_ROUND_S = 1.0
_ROUND_PER_ROOT = 2.0
_LONGEST_ROUND_S = 6.0
_ROUND_SHARE = 0.05
_LEAST_ROUND_S = 0.2
_ROOT_S = 10.0
_REPEATABLE_ROUNDS = 16
_REPEATABLE_NODES = 20


def solve_with_neighbourhoods(
    instance: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,
    declared: Sequence[Neighbourhood] = (),
) -> Answer[VariableValues]:
    """Solve a program with HiGHS and large-neighbourhood search; bounds come from HiGHS on the whole program only.

    HiGHS works alone until it has an incumbent and the bound of its root. From then on it pauses in its callbacks for
    a share of the CPU time, in which small programs near the incumbent are solved; the share falls while they do not
    help. With ``options.node_limit`` or ``options.deterministic`` a fixed number of rounds comes before the exact run
    instead, each limited by nodes, so that the solve repeats exactly.

    Parameters
    ----------
    instance
        Any program. One without integers, or with ordered sets, indicators or a quadratic objective, goes to the
        default method.
    options
        As for every method.
    monitor
        Hears one stream.
    advisor
        A start, as in the default method.
    declared
        Neighbourhoods that the problem declares.
    """
    if not expressible(instance) or not instance.integer.any() or options.backend not in (None, "highs"):
        return solve_program(instance, options, monitor, advisor)
    search = Search(instance, options, monitor, declared)
    start = start_values(instance, options, monitor, advisor)
    if start is not None and np.isfinite(start).all():
        search.adopt(start)
    turns = Turns(instance, options, monitor, search)
    repeatable = options.node_limit is not None or options.deterministic
    if repeatable:
        search_before(instance, options, monitor, search)
    backend = Highs() if repeatable else Highs(turns)
    native = backend.run(instance, options, monitor, start if search.incumbent is None else search.incumbent)
    turns.close()
    if native.status is Status.INFEASIBLE_OR_UNBOUNDED:
        native = infeasible_or_unbounded(instance, Highs(), options, monitor, native)
    if native.values is not None:
        native = replace(native, values=with_whole_numbers(instance, native.values, options, monitor))
    native = _better_of(instance, native, search)
    if search.rounds:
        monitor.log(f"neighbourhoods: {search.wins} of {search.rounds} rounds improved ({search.summary()})")
    return Answer(
        status=native.status,
        bounds=native.bounds,
        plan=None if native.values is None else VariableValues.from_array(instance, native.values),
        limit=native.limit,
        counts={**native.counts, "rounds": search.rounds, "improving rounds": search.wins},
        native_status=f"neighbourhoods and highs: {native.native_status}",
        extras={"neighbourhoods_cpu_s": turns.spent_s},
        native=native,
    )


def search_before(program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, search: Search) -> None:
    """A start and a fixed number of rounds, limited by work and never by the clock."""
    if search.incumbent is None:
        values = find_start(program, options, monitor, _START_EFFORT)
        if values is not None:
            search.adopt(values)
    if search.incumbent is None or options.node_limit == 0:
        return
    search.relax(np.inf)
    for _ in range(_REPEATABLE_ROUNDS):
        if monitor.should_stop or search.finished:
            return
        search.improve(Limits(np.inf, _REPEATABLE_NODES))


def _better_of(program: MixedIntegerProgram, native: BackendAnswer, search: Search) -> BackendAnswer:
    """The search's incumbent in place of HiGHS's when it is better; what HiGHS proves stays."""
    if search.incumbent is None or native.status not in (Status.OPTIMAL, Status.FEASIBLE, Status.NO_SOLUTION):
        return native
    sign = program.sense.sign
    if sign * search.objective >= sign * native.bounds.primal:
        return native
    status = Status.FEASIBLE if native.status is Status.NO_SOLUTION else native.status
    bounds = Bounds(search.objective, native.bounds.dual)
    return replace(native, status=status, values=search.incumbent, bounds=bounds)


class Turns:
    """The search as HiGHS's companion: it works while HiGHS waits in a callback.

    Attributes
    ----------
    share
        The share of the CPU time that the search may use now.
    spent_s
        CPU seconds that it has used.
    """

    def __init__(self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, search: Search) -> None:
        self._program = program
        self._options = options
        self._monitor = monitor
        self._search = search
        self._began_s = time.process_time()
        self.share = _FIRST_SHARE
        self._waiting: list[Floats] = []
        self._known = search.objective
        self._start_tried = False
        self._busy = threading.Lock()
        self.spent_s = 0.0
        most = _ROUND_SHARE * options.time_limit_s if isfinite(options.time_limit_s) else _ROUND_S
        self._round_s = float(np.clip(most, _LEAST_ROUND_S, _ROUND_S))

    def heard(self, values: Floats) -> None:
        """HiGHS has an incumbent: look at it in the next turn."""
        self._waiting.append(values)

    def turn(self) -> None:
        """Work for a round when less than the share of the CPU time has been used."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            self._take_turn()
        finally:
            self._busy.release()

    def _take_turn(self) -> None:
        began = time.process_time()
        elapsed = began - self._began_s
        if elapsed < _HEAD_START_S or self._monitor.should_stop:
            return
        self.hear()
        search = self._search
        if search.incumbent is None:
            if elapsed >= _PATIENCE_S and not self._start_tried:
                self._start_tried = True
                self._look_for_start()
                self.spent_s += time.process_time() - began
            return
        if search.finished or not isfinite(self._monitor.bounds.dual):
            return
        if self.share * elapsed - self.spent_s < self._round_s / 2:
            return
        if not search.relaxed:
            search.relax(_ROOT_S)
            root_s = time.process_time() - began
            self._round_s = max(self._round_s, min(_LONGEST_ROUND_S, _ROUND_PER_ROOT * root_s))
        improved = search.improve(Limits(self._round_s))
        spent = time.process_time() - began
        fading = _DECAY ** min(1.0, spent / self._round_s)
        self.share = _MOST_SHARE if improved else max(_LEAST_SHARE, fading * self.share)
        self.spent_s += spent

    def hear(self) -> None:
        """Check and take what HiGHS found; where it improves by itself it gets more of the time."""
        while self._waiting:
            values = self._waiting.pop(0)
            self._known = self._best_known(float(self._program.cost @ values) + self._program.offset)
            better = self._search.adopt(values)
            if not better and not self._waiting:
                better = self._search.adopt(with_whole_numbers(self._program, values, self._options, self._monitor))
            if better and self._search.rounds:
                self.share = max(_LEAST_SHARE, _YIELD * self.share)

    def _best_known(self, objective: float) -> float:
        sign = self._program.sense.sign
        return sign * min(sign * self._known, sign * objective)

    def _look_for_start(self) -> None:
        values = find_start(self._program, self._options, self._monitor, _START_EFFORT)
        if values is not None:
            self._search.adopt(values)

    def offer(self) -> Floats | None:
        """The incumbent of the search when HiGHS knows of nothing as good."""
        search, sign = self._search, self._program.sense.sign
        if search.incumbent is None or sign * (self._known - search.objective) <= 1e-9 * max(
            1.0, abs(search.objective)
        ):
            return None
        self._known = search.objective
        return search.incumbent

    def close(self) -> None:
        """The run has ended: forget what waits, the answer has the best of it."""
        self._waiting.clear()
