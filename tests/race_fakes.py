"""Backends that misbehave, for races: found by name in the processes of racers too."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.solvers.backends.base import BackendAnswer, Capabilities
from apportion.solvers.backends.companion import Companion
from apportion.solvers.backends.highs import Highs
from apportion.solvers.backends.registry import BACKENDS
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Bounds, Limit, Status


class Waiter:
    """Finds nothing until it is told to stop; passes its partner's point on at the end."""

    name = "waiter"
    capabilities: Capabilities = BACKENDS["highs"].capabilities

    def __init__(self, companion: Companion | None = None) -> None:
        self.companion = companion

    def run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        values = None
        while not monitor.should_stop:
            time.sleep(0.02)
            offered = self.companion.offer() if self.companion is not None else None
            values = values if offered is None else offered
        unknown = Bounds.unknown(program.sense)
        native = "had an offer" if values is not None else "had none"
        return BackendAnswer(Status.NO_SOLUTION, unknown, Limit.INTERRUPTED, native_status=native)


class Worker(Waiter):
    """HiGHS by another name."""

    def run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        return Highs(self.companion).run(program, options, monitor, start)


class Modest(Worker):
    """Tells what it found and then waits without a bound."""

    def run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        silent = Monitor(program.sense)
        Highs(self.companion).run(program, options, silent, start)
        return Waiter.run(self, program, options, monitor, start)


class Crasher(Waiter):
    """Ends its process at once."""

    def run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        os._exit(17)


class Deaf(Waiter):
    """Never stops."""

    def run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        while True:
            time.sleep(1.0)


class Liar(Waiter):
    """Claims that the upper bounds are the optimum."""

    def run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        values = np.array(program.upper, np.float64)
        value = float(program.cost @ values)
        if self.companion is not None:
            self.companion.heard(values)
        return BackendAnswer(Status.OPTIMAL, Bounds(value, value), None, values)


class Denier(Waiter):
    """Claims that there is no plan."""

    def run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        return BackendAnswer(Status.INFEASIBLE, Bounds.unknown(program.sense))


class Boaster(Waiter):
    """HiGHS with a bound far beyond its optimum."""

    def run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        answer = Highs(self.companion).run(program, options, Monitor(program.sense), start)
        dual = answer.bounds.primal + program.sense.sign * 100.0
        return replace(answer, bounds=Bounds(answer.bounds.primal, dual))
