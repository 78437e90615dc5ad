"""The method "heuristics" of programs: the portfolio finds a start, then works beside HiGHS and feeds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import Self

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.solvers.advisor import Advisor
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.backends.highs import Highs
from apportion.solvers.events import Monitor
from apportion.solvers.heuristics.arrays import Problem, expressible, problem_of
from apportion.solvers.heuristics.portfolio import Portfolio
from apportion.solvers.options import SolveOptions
from apportion.solvers.program import _decide, _start, _whole, solve_program
from apportion.solvers.result import Answer
from apportion.solvers.status import Bounds, Status

DEFAULT_EFFORT = 200_000_000
_MOST_SHARE = 0.2
_LEAST_SHARE = 0.03
_DECAY = 0.9
_LEAST_TURN_S = 0.01
_MOST_TURN_S = 0.3
_CLEARLY = 1e-9


def find_start(
    program: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    effort: int = DEFAULT_EFFORT,
) -> Floats | None:
    """Look for a good feasible point of ``program`` with the heuristics alone.

    Parameters
    ----------
    program
        Any program; one with ordered sets, indicators or a quadratic objective gives None.
    options
        The seed and the thread count of HiGHS in this process.
    monitor
        Hears every incumbent and says when to stop.
    effort
        Nonzeros to touch before it ends: a measure of work that does not depend on the machine.

    Returns
    -------
    Floats or None
        Values of shape (n,), feasible within 1e-6, or None when none was found. None proves nothing.
    """
    if not expressible(program):
        return None
    portfolio = _portfolio(program, problem_of(program), options, monitor)
    for _ in portfolio.work():
        if monitor.should_stop or portfolio.effort >= effort:
            break
    return portfolio.best


def solve_with_heuristics(
    instance: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,
) -> Answer[VariableValues]:
    """Solve a program with HiGHS and the heuristics together; bounds come from HiGHS only.

    The heuristics work alone first. With one thread they then use a share of HiGHS's time, in its callbacks; with more
    they have a thread of their own and HiGHS one less. Programs that they cannot express, and those without integers,
    go to the default method.
    """
    if not expressible(instance) or not instance.integer.any() or options.backend not in (None, "highs"):
        return solve_program(instance, options, monitor, advisor)
    feeder = Feeder(instance, options, monitor)
    start = _start(instance, options, monitor, advisor)
    if start is not None and np.isfinite(start).all():
        feeder.heard(start)
    best = feeder.begin(DEFAULT_EFFORT)
    backend = Highs(feeder)
    fewer = options if options.threads == 1 else options.with_(threads=options.threads - 1)
    with feeder:
        native = backend.run(instance, fewer, monitor, start if best is None else best)
    native = _best_of(instance, native, feeder)
    if native.status is Status.INFEASIBLE_OR_UNBOUNDED:
        native = _decide(instance, backend, fewer, monitor, native)
    if native.values is not None:
        native = replace(native, values=_whole(instance, native.values, fewer, monitor))
    return Answer(
        status=native.status,
        bounds=native.bounds,
        plan=None if native.values is None else VariableValues.from_array(instance, native.values),
        limit=native.limit,
        counts={**native.counts, "heuristic incumbents": feeder.num_found},
        native_status=f"heuristics and highs: {native.native_status}",
        extras={"heuristics_cpu_s": feeder.spent_s},
        native=native,
    )


def _best_of(program: MixedIntegerProgram, native: BackendAnswer, feeder: Feeder) -> BackendAnswer:
    """The heuristics' incumbent in HiGHS's answer when HiGHS stopped early with a worse one or with none."""
    values, primal = feeder.best, feeder.objective
    sign = program.sense.sign
    early = native.status in (Status.FEASIBLE, Status.NO_SOLUTION)
    if values is None or not early or sign * primal >= sign * native.bounds.primal:
        return native
    dual = native.bounds.dual
    return replace(native, status=Status.FEASIBLE, values=values, bounds=Bounds(primal, dual))


class Feeder:
    """The portfolio as HiGHS's companion, in HiGHS's callbacks or in a thread of its own."""

    def __init__(self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor) -> None:
        self._alone = options.threads > 1
        self._portfolio = _portfolio(program, problem_of(program), options, monitor)
        self._work: Iterator[None] = self._portfolio.work()
        self._cost = program.sense.sign * program.cost
        self._known = inf
        self._stopped = threading.Event()
        self._monitor = monitor
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._share = _MOST_SHARE
        self._spent_s = 0.0
        self._first_s = 0.0
        self._began_s = time.thread_time()
        self._sign, self._offset = program.sense.sign, program.offset

    @property
    def best(self) -> Floats | None:
        """The heuristics' incumbent, shape (n,), or None."""
        return self._portfolio.best

    @property
    def objective(self) -> float:
        """Its objective in the program's sense, infinite on the bad side without one."""
        return self._sign * self._portfolio.objective + self._offset

    @property
    def num_found(self) -> int:
        """How many incumbents the heuristics found."""
        return self._portfolio.num_found

    @property
    def spent_s(self) -> float:
        """CPU seconds of the heuristics."""
        return self._first_s + self._spent_s

    def begin(self, effort: int) -> Floats | None:
        """Work alone until ``effort`` is spent or the relaxation has been dived into; return the incumbent."""
        portfolio = self._portfolio
        began = time.thread_time()
        for _ in self._work:
            if self._monitor.should_stop or portfolio.guided or portfolio.effort >= effort:
                break
        self._first_s = time.thread_time() - began
        self._known = min(self._known, portfolio.objective)
        return portfolio.best

    def __enter__(self) -> Self:
        self._began_s = time.thread_time()
        if self._alone:
            self._thread = threading.Thread(target=self._work_alone, name="apportion-heuristics", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _work_alone(self) -> None:
        began = time.thread_time()
        try:
            for _ in self._work:
                self._spent_s = time.thread_time() - began
                if self._stopped.is_set() or self._monitor.should_stop:
                    return
        except BaseException as error:  # noqa: BLE001 raised again by __exit__
            self._error = error

    def heard(self, values: Floats) -> None:
        """Take an incumbent of HiGHS over as the point that local search goes on from."""
        self._known = min(self._known, float(self._cost @ values))
        self._portfolio.offer(values)

    def turn(self) -> None:
        """Work for a moment when less than the share of the time has been used; the share falls while nothing helps."""
        if self._alone:
            return
        began = time.thread_time()
        allowed = self._share * (began - self._began_s) - self._spent_s
        if allowed < _LEAST_TURN_S:
            return
        before = self._portfolio.objective
        until = began + min(allowed, _MOST_TURN_S)
        for _ in self._work:
            if time.thread_time() >= until or self._monitor.should_stop:
                break
        self._spent_s += time.thread_time() - began
        better = self._portfolio.objective < min(before, self._known)
        self._share = _MOST_SHARE if better else max(_LEAST_SHARE, _DECAY * self._share)

    def offer(self) -> Floats | None:
        """The incumbent of the portfolio when HiGHS does not know of anything as good."""
        portfolio = self._portfolio
        values, objective = portfolio.best, portfolio.objective
        if values is None or objective >= self._known - _CLEARLY * max(
            1.0, abs(self._known) if self._known < inf else 1.0
        ):
            return None
        self._known = objective
        return values


def _portfolio(program: MixedIntegerProgram, problem: Problem, options: SolveOptions, monitor: Monitor) -> Portfolio:
    sign, offset = program.sense.sign, program.offset

    def found(_values: Floats, cost: float, letter: str) -> None:
        monitor.incumbent(sign * cost + offset, letter)

    return Portfolio(problem, options.seed, found)
