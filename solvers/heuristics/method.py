"""The method "heuristics" of programs: the portfolio finds a start, then works beside HiGHS and feeds it.

Another backend gets the start alone, as its hint.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from math import inf
from typing import Self

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.solvers.advisor import Advisor
from apportion.solvers.backends import backend_named, require
from apportion.solvers.backends.base import Backend, BackendAnswer
from apportion.solvers.backends.highs import Highs
from apportion.solvers.events import Monitor
from apportion.solvers.heuristics.arrays import Problem, expressible, problem_of
from apportion.solvers.heuristics.portfolio import Portfolio
from apportion.solvers.options import SolveOptions
from apportion.solvers.program import infeasible_or_unbounded, solve_program, start_values, with_whole_numbers
from apportion.solvers.result import Answer
from apportion.solvers.status import Bounds, Status

DEFAULT_EFFORT = 200_000_000
_MOST_SHARE = 0.2
_LEAST_SHARE = 0.03
_DECAY = 0.9
_LEAST_TURN_S = 0.01
_MOST_TURN_S = 0.3
_CLEARLY = 1e-9
_TURN_EFFORT = 200_000
_TURN_EFFORT_PER_ENTRY = 50


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
    they have a thread of their own and HiGHS one less. ``deterministic`` counts their work instead of the clock.
    CP-SAT and SCIP cannot be fed while they run: they get the incumbent as a hint, which is their cutoff once they have
    checked it. Programs that the heuristics cannot express, and those without integers, go to the default method.
    """
    if not expressible(instance) or not instance.integer.any():
        return solve_program(instance, options, monitor, advisor)
    if options.backend not in (None, "highs"):
        require(instance, backend_named(options.backend))
    feeder = Feeder(instance, options, monitor)
    start = start_values(instance, options, monitor, advisor)
    if start is not None and np.isfinite(start).all():
        feeder.heard(start)
    best = feeder.begin(DEFAULT_EFFORT)
    backend: Backend = Highs(feeder)
    fewer = options if options.threads == 1 else options.with_(threads=options.threads - 1)
    beside: AbstractContextManager[object] = feeder
    if options.backend not in (None, "highs"):
        backend, fewer, beside = backend_named(options.backend), options, nullcontext()
    with beside:
        native = backend.run(instance, fewer, monitor, start if best is None else best)
    native = _best_of(instance, native, feeder)
    if native.status is Status.INFEASIBLE_OR_UNBOUNDED:
        native = infeasible_or_unbounded(instance, backend, fewer, monitor, native)
    if native.values is not None:
        native = replace(native, values=with_whole_numbers(instance, native.values, fewer, monitor))
    return Answer(
        status=native.status,
        bounds=native.bounds,
        plan=None if native.values is None else VariableValues.from_array(instance, native.values),
        limit=native.limit,
        counts={**native.counts, "heuristic incumbents": feeder.num_found},
        native_status=f"heuristics and {backend.name}: {native.native_status}",
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
        self._counted = options.deterministic
        self._effort = _TURN_EFFORT + _TURN_EFFORT_PER_ENTRY * program.matrix.num_nonzeros
        self._alone = options.threads > 1 and not self._counted
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
        if self._alone or self._counted:
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
        self._weigh(before)

    def _counted_turn(self) -> None:
        """Touch a fixed number of nonzeros, fewer while nothing helps: HiGHS asks for offers at repeatable moments."""
        began, before = time.thread_time(), self._portfolio.objective
        until = self._portfolio.effort + int(self._effort * self._share / _MOST_SHARE)
        for _ in self._work:
            if self._portfolio.effort >= until or self._monitor.should_stop:
                break
        self._spent_s += time.thread_time() - began
        self._weigh(before)

    def _weigh(self, before: float) -> None:
        """Give the heuristics their full share again when they found something, else less."""
        better = self._portfolio.objective < min(before, self._known)
        self._share = _MOST_SHARE if better else max(_LEAST_SHARE, _DECAY * self._share)

    def offer(self) -> Floats | None:
        """The incumbent of the portfolio when HiGHS does not know of anything as good."""
        if self._counted:
            self._counted_turn()
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
