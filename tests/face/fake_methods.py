"""Methods that misbehave on purpose; ``fake_driver.py`` registers them for programs."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, NoReturn

import numpy as np

from apportion.instances.errors import BackendMissingError
from apportion.instances.program import MixedIntegerProgram, VariableValues
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.solve import limit_reached
from apportion.solvers.status import Bounds, Limit, Status

NAMES = (
    "segfault",
    "segfault_at_once",
    "overrun",
    "anytime",
    "wrong",
    "boom",
    "missing",
    "nothing",
    "mixed",
    "picky",
    "interrupts",
    "hungry",
)


def _plan(program: MixedIntegerProgram, value: float) -> VariableValues:
    return VariableValues.from_array(program, np.full(program.num_columns, value))


def segfault(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> NoReturn:
    time.sleep(0.3)
    segfault_at_once(program, options, monitor)


def segfault_at_once(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> NoReturn:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)
    raise AssertionError


def overrun(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> NoReturn:
    while True:
        time.sleep(0.1)


def anytime(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> Answer[VariableValues]:
    """Hold the plan that is all zero, and wait until told to stop."""
    monitor.incumbent(0.0, "H")
    while not monitor.should_stop:
        time.sleep(0.02)
    plan = _plan(program, 0.0)
    return Answer(Status.FEASIBLE, Bounds(0.0, float("inf")), plan, limit_reached(monitor))


def wrong(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> Answer[VariableValues]:
    return Answer(Status.OPTIMAL, Bounds(12.0, 12.0), _plan(program, 1.0))


def boom(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> NoReturn:
    raise ZeroDivisionError("a bug")


def missing(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> NoReturn:
    raise BackendMissingError("gone is not installed\nMaybe pip install gone")


def nothing(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> Answer[VariableValues]:
    return Answer.nothing(program.sense, Status.NO_SOLUTION, Limit.TIME)


def mixed(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> Answer[VariableValues]:
    """Whatever the name of the program asks for, otherwise the real method."""
    from apportion.solvers.program import solve_program

    behaviour = globals().get(program.name.partition("-")[0])
    if behaviour is not None and behaviour is not mixed:
        answer: Answer[VariableValues] = behaviour(program, options, monitor)
        return answer
    return solve_program(program, options, monitor)


def picky(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> Answer[VariableValues]:
    """Kill the whole batch, parent first, once a file called ``now`` lies in the folder; otherwise solve."""
    from pathlib import Path

    if program.name == "last" and Path("now").exists():
        ledger, until = Path("results/ledger.jsonl"), time.monotonic() + 30.0
        while not (ledger.exists() and ledger.read_bytes().endswith(b"\n")) and time.monotonic() < until:
            time.sleep(0.02)  # the row of the one before is on its way through the parent
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    return mixed(program, options, monitor)


def interrupts(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> Answer[VariableValues]:
    """Press Ctrl-C at the process that is measured, then wait like ``anytime``."""
    os.kill(os.getpid(), signal.SIGINT)
    return anytime(program, options, monitor)


def hungry(program: Any, options: SolveOptions, monitor: Monitor, advisor: Any = None) -> Answer[VariableValues]:
    """Ask for four GiB at once, then be content."""
    block = np.ones(2**29)
    return Answer(Status.FEASIBLE, Bounds(0.0, float("inf")), _plan(program, 0.0 * block[0]), Limit.METHOD)
