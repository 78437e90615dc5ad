"""The method "portfolio" of programs: HiGHS, CP-SAT and SCIP race, share what they find and stop each other.

The solvers are ranked by the shape of the program. The favourite begins at once in a thread of this process, and HiGHS
does so beside another favourite, since it ends most small programs at once. After a head start the others begin in
processes of their own; those beyond the cores yield, and the ranks are corrected while they run. Incumbents travel with
their values and pass the independent check before anyone else hears of them; bounds are merged here. CP-SAT takes no
incumbents while it runs; the two others do.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite
from multiprocessing.connection import Pipe, wait
from typing import Any

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.models.program.check import check, objective
from apportion.solvers.advisor import Advisor
from apportion.solvers.backends import BACKENDS, backend_named, refusal
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.backends.registry import is_installed
from apportion.solvers.contestants import Racer, spawned
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.program import infeasible_or_unbounded, solve_program, start_values, with_whole_numbers
from apportion.solvers.racer import ANSWER, BOUND, FAILED, INCUMBENT, LOG, NODE, STOP, Task, race
from apportion.solvers.ranking import ranked
from apportion.solvers.result import Answer
from apportion.solvers.status import Bounds, Limit, Status

_HEAD_START_S = 0.1
_ALWAYS_HERE = "highs"
_LOOK_EVERY_S = 0.05
_GRACE_S = 2.0
_PATIENT = 15
_MOST_PATIENT = 19
_RANK_EVERY_S = 5.0
_CLEARLY = 0.8
_ABSOLUTE = 1e-6
_ORDER = ("highs", "scip", "cp-sat")


def solve_with_portfolio(
    instance: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,
) -> Answer[VariableValues]:
    """Race every installed backend that can express the program.

    ``options.threads`` counts for each racer. Racers beyond the cores that this process may use yield to the others.
    With cores for one racer only, with ``options.deterministic`` and with ``options.node_limit`` the favourite runs
    alone: the backend that :func:`~apportion.solvers.ranking.ranked` puts first, told from the program and nothing
    else. A program without integers, one that a single backend can express and a chosen ``options.backend`` go to the
    default method.
    """
    names = [name for name in _ORDER if not refusal(instance, name) and is_installed(name)]
    if options.backend or len(names) < 2 or not instance.is_mixed_integer:
        return solve_program(instance, options, monitor, advisor)
    names = ranked(instance, names)
    repeatable = options.deterministic or options.node_limit is not None
    if repeatable or _cores() < 2 * options.threads:
        why = (
            "a race does not repeat exactly" if repeatable else f"no cores for two racers of {options.threads} threads"
        )
        monitor.log(f"{names[0]} runs alone: {why}")
        return solve_program(instance, options.with_(backend=names[0]), monitor, advisor)
    start = start_values(instance, options, monitor, advisor)
    contest = Race(instance, options, monitor)
    if start is not None and np.isfinite(start).all():
        contest.take("start", start)
    native = contest.run(names, start)
    if native.status is Status.INFEASIBLE_OR_UNBOUNDED:
        native = infeasible_or_unbounded(instance, backend_named(names[0]), options, monitor, native)
    return Answer(
        status=native.status,
        bounds=native.bounds,
        plan=None if native.values is None else VariableValues.from_array(instance, native.values),
        limit=native.limit,
        counts=native.counts,
        native_status=native.native_status,
        extras=contest.cpu_seconds(),
        native=native,
    )


class Race:
    """Starts racers, merges what they claim, and ends them."""

    def __init__(self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor) -> None:
        self._program = program
        self._options = options.with_(start=None)
        self._monitor = monitor
        self._sign = program.sense.sign
        self._best: Floats | None = None
        self._objective = Bounds.unknown(program.sense).primal
        self._verdict: BackendAnswer | None = None
        self._caught: list[str] = []
        self._next_look = inf
        self._began_cpu_s = time.process_time()
        self.racers: list[Racer] = []

    def run(self, names: Sequence[str], start: Floats | None) -> BackendAnswer:
        """Race the backends called ``names``, the first at once; return the merged answer."""
        try:
            here = [name for name in names if name in (names[0], _ALWAYS_HERE)]
            for name in here:
                self._add_thread(name, start)
            head_start = time.perf_counter() + _HEAD_START_S
            waiting = [name for name in names if name not in here]
            while not self._decided():
                if waiting and (time.perf_counter() >= head_start or not self._running()):
                    self._add_processes(waiting, start)
                    waiting = []
                if not self._running() and not waiting:
                    break
                self._listen(_LOOK_EVERY_S)
                self._rank_again()
            self._stop()
        finally:
            for racer in self.racers:
                racer.tell(STOP)
            for racer in self.racers:
                racer.end()
        return self._answer()

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds of each racer in a process of its own, and of this process since the race began."""
        spent = {f"{racer.name}_cpu_s": racer.cpu_s for racer in self.racers if racer.process is not None}
        return {"own_process_cpu_s": time.process_time() - self._began_cpu_s, **spent}

    def _running(self) -> list[Racer]:
        return [racer for racer in self.racers if racer.running]

    def _decided(self) -> bool:
        return self._monitor.should_stop or self._verdict is not None or self._proven()

    def _proven(self) -> bool:
        bounds = self._bounds()
        return bounds.gap <= self._options.gap or abs(bounds.primal - bounds.dual) <= _ABSOLUTE

    def _bounds(self) -> Bounds:
        claims = [racer.bounds.dual for racer in self.racers if racer.trusted]
        dual = self._sign * max((self._sign * claim for claim in claims), default=-np.inf)
        return Bounds(self._objective, dual)

    def _rank_again(self) -> None:
        """Let a process that works without patience step back when a patient one has closed clearly more of the gap.

        Priorities may only fall: the one that falls behind becomes still more patient than the other.
        """
        now = time.perf_counter()
        if now < self._next_look:
            return
        self._next_look = now + _RANK_EVERY_S
        racing = [racer for racer in self._running() if racer.process is not None]
        patience = {racer.name: racer.patience for racer in racing}
        for behind in racing:
            for one in racing:
                if patience[one.name] > patience[behind.name] and self._ahead(one, behind):
                    behind.step_back(_MOST_PATIENT)
                    self._monitor.log(f"{one.name} closes the gap sooner: {behind.name} steps back")
                    break

    def _ahead(self, one: Racer, other: Racer) -> bool:
        mine, theirs = (Bounds(self._objective, racer.bounds.dual).gap for racer in (one, other))
        return one.trusted and mine < _CLEARLY * theirs

    def _task(self, name: str, start: Floats | None, patience: int) -> Task:
        known = start if self._best is None else self._best
        with_log = self._monitor.listener is not None
        home = BACKENDS[name].home
        return Task(home, self._program, self._options, known, self._monitor.remaining_s, with_log, patience)

    def _add_thread(self, name: str, start: Floats | None) -> None:
        ours, theirs = Pipe()
        task = self._task(name, start, 0)

        def work() -> None:
            try:
                race(task, theirs, lambda: None)
            finally:
                theirs.close()

        racer = Racer(name, ours, Bounds.unknown(self._program.sense))
        racer.thread = threading.Thread(target=work, name=f"apportion-race-{name}", daemon=True)
        self.racers.append(racer)
        racer.thread.start()

    def _add_processes(self, names: Sequence[str], start: Floats | None) -> None:
        """A fresh interpreter each: the caller's main module is not run again there."""
        for name in names:
            patience = 0 if (len(self.racers) + 1) * self._options.threads <= _cores() else _PATIENT
            self.racers.append(spawned(name, self._program))
            self.racers[-1].patience = patience
            self.racers[-1].give(self._task(name, start, patience))
        self._next_look = time.perf_counter() + _RANK_EVERY_S
        self._monitor.log(f"the race begins: {', '.join(racer.name for racer in self.racers)}")

    def _listen(self, seconds: float) -> None:
        running = self._running()
        for ready in wait([racer.connection for racer in running], seconds):
            racer = next(racer for racer in running if racer.connection is ready)
            try:
                while racer.running and racer.connection.poll():
                    self._hear(racer, *racer.connection.recv())
            except (EOFError, OSError):
                self._lost(racer)

    def _lost(self, racer: Racer) -> None:
        racer.running = False
        if racer.answer is None:
            self._monitor.log(f"{racer.name} is out of the race: it crashed ({racer.last_words()})")

    def _hear(self, racer: Racer, kind: str, *content: Any) -> None:
        if kind == INCUMBENT:
            self.take(racer.name, content[0])
        elif kind == BOUND:
            self._claim(racer, float(content[0]))
        elif kind == NODE:
            racer.nodes = int(content[0])
            self._monitor.node(sum(one.nodes for one in self.racers))
        elif kind == LOG:
            self._monitor.log(str(content[0]), str(content[1]) or racer.name)
        elif kind == FAILED:
            racer.running = False
            self._monitor.log(f"{racer.name} is out of the race: {content[0]}")
        elif kind == ANSWER:
            self._finish(racer, content[0])

    def take(self, name: str, values: Floats) -> bool:
        """Check a point; when it holds and is better, tell the caller and the other racers."""
        point = np.array(values, np.float64)
        if point.shape != (self._program.num_columns,) or not np.isfinite(point).all():
            return self._distrust(name, "no point of this program")
        point[self._program.integer] = np.rint(point[self._program.integer])
        value = objective(self._program, point)
        if self._best is not None and self._sign * value >= self._sign * self._objective:
            return False
        verdict = check(self._program, VariableValues.from_array(self._program, point))
        if not verdict.ok:
            point = with_whole_numbers(self._program, np.array(values, np.float64), self._options, self._monitor)
            verdict = check(self._program, VariableValues.from_array(self._program, point))
            value = verdict.objective
        if not verdict.ok:
            return self._distrust(name, f"a point that fails the check: {verdict.violations[0]}")
        if self._best is not None and self._sign * value >= self._sign * self._objective:
            return False
        self._best, self._objective = point, value
        self._monitor.incumbent(value, "S" if name == "start" else "H", name)
        for racer in self.racers:
            self._believe(racer)
            if racer.running and racer.name != name:
                racer.tell(INCUMBENT, point)
        return True

    def _distrust(self, name: str, why: str) -> bool:
        self._caught.append(name)
        self._monitor.log(f"{name} offers {why}: left out")
        return False

    def _claim(self, racer: Racer, dual: float) -> None:
        if racer.trusted and isfinite(dual) and self._sign * dual > self._sign * racer.bounds.dual:
            racer.bounds = Bounds(racer.bounds.primal, dual)
            if self._believe(racer):
                self._monitor.bound(dual, racer.name)

    def _believe(self, racer: Racer) -> bool:
        """A bound beyond a checked point is a lie, and so may be all that this racer says of bounds."""
        claims = Bounds(self._objective, racer.bounds.dual)
        if racer.trusted and isfinite(self._objective) and claims.contradict(self._program.sense):
            racer.trusted = False
            self._monitor.log(f"{racer.name} claims the bound {racer.bounds.dual:g} beyond a checked point: left out")
        return racer.trusted

    def _finish(self, racer: Racer, answer: BackendAnswer) -> None:
        racer.running, racer.answer = False, answer
        if answer.values is not None:
            self.take(racer.name, answer.values)
        if answer.status is Status.OPTIMAL and racer.name in self._caught:
            racer.trusted = False  # whoever calls a broken point optimal has proven nothing
        self._claim(racer, answer.bounds.dual)
        if answer.status is Status.INFEASIBLE and self._best is not None:
            racer.trusted = False
            self._monitor.log(f"{racer.name} claims infeasible beside a checked point: left out")
        elif answer.status in (Status.INFEASIBLE, Status.UNBOUNDED, Status.INFEASIBLE_OR_UNBOUNDED):
            self._verdict = answer

    def _stop(self) -> None:
        """Ask all to stop and hear their last words, for a short while."""
        if self._verdict is not None or self._proven():
            return
        until = time.perf_counter() + _GRACE_S
        while self._running() and time.perf_counter() < until:
            for racer in self._running():
                racer.tell(STOP)
            self._listen(_LOOK_EVERY_S)

    def _answer(self) -> BackendAnswer:
        bounds, counts = self._bounds(), {"nodes": sum(racer.nodes for racer in self.racers)}
        words = "; ".join(
            f"{racer.name}: {racer.answer.native_status if racer.answer else 'stopped'}" for racer in self.racers
        )
        if self._verdict is not None and (self._best is None or self._verdict.status is not Status.INFEASIBLE):
            return replace(self._verdict, counts=counts, native_status=words)
        if self._best is not None and self._proven():
            return BackendAnswer(Status.OPTIMAL, bounds, None, self._best, counts=counts, native_status=words)
        status = Status.NO_SOLUTION if self._best is None else Status.FEASIBLE
        return BackendAnswer(status, bounds, self._limit(), self._best, counts=counts, native_status=words)

    def _limit(self) -> Limit:
        if self._monitor.cancelled.is_set():
            return Limit.INTERRUPTED
        if self._monitor.should_stop:
            return Limit.TIME
        limits = [racer.answer.limit for racer in self.racers if racer.answer and racer.answer.limit]
        return limits[-1] if limits else Limit.OTHER


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
