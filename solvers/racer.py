"""One solver of a race: it tells what it finds through a pipe, hears what the others find, and stops when told to.

A process of its own runs this module with the number of an inherited socket; the portfolio's leader runs
:func:`race` in a thread. Messages are tuples whose first entry is their kind.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from multiprocessing.connection import Connection
from typing import Any, cast

import numpy as np

from apportion.instances.errors import ApportionError
from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.solvers.backends.base import Backend
from apportion.solvers.backends.companion import Companion
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.options import SolveOptions

INCUMBENT, BOUND, NODE, LOG, ANSWER, FAILED, STOP = "incumbent", "bound", "node", "log", "answer", "failed", "stop"
_BETTER = 1e-9


@dataclass(frozen=True, eq=False)
class Task:
    """What a racer is asked to do: ``home`` is ``module:class`` of the backend, ``patience`` its niceness."""

    home: str
    program: MixedIntegerProgram
    options: SolveOptions
    start: Floats | None
    time_limit_s: float
    with_log: bool
    patience: int = 0


class Partner:
    """Passes incumbents between a solver and the pipe; see :class:`~apportion.solvers.backends.companion.Companion`."""

    def __init__(self, program: MixedIntegerProgram, tell: Callable[..., None]) -> None:
        self._cost, self._sign = program.sense.sign * program.cost, program.sense.sign
        self._tell = tell
        self._known = inf
        self._waiting: Floats | None = None

    def heard(self, values: Floats) -> None:
        """The solver has a new incumbent."""
        if len(values) == len(self._cost):
            self._known = min(self._known, float(self._cost @ values))
            self._tell(INCUMBENT, values)

    def turn(self) -> None:
        """There is nothing to do beside the solver."""

    def receive(self, values: Floats) -> None:
        """Another racer has a checked incumbent."""
        self._waiting = values

    def offer(self) -> Floats | None:
        """What another racer found, when it is better than all that this one has."""
        values, self._waiting = self._waiting, None
        if values is None or float(self._cost @ values) >= self._known - _BETTER * max(1.0, abs(self._known)):
            return None
        self._known = float(self._cost @ values)
        return values


def race(task: Task, connection: Connection, on_orphaned: Callable[[], None]) -> None:
    """Solve the task and tell everything through ``connection``; ``on_orphaned`` is called when nobody listens.

    Whoever sees the pipe end without an ANSWER or FAILED knows that this racer crashed.
    """
    lock = threading.Lock()

    def tell(kind: str, *content: object) -> None:
        try:
            with lock:
                connection.send((kind, *content))
        except (OSError, ValueError):
            on_orphaned()

    program = task.program
    partner = Partner(program, tell)
    monitor = Monitor(program.sense, _Teller(tell, task.with_log), task.time_limit_s)
    listening = threading.Thread(target=_hear, args=(connection, partner, monitor, on_orphaned), daemon=True)
    listening.start()
    try:
        answer = _backend(task.home, partner).run(program, task.options, monitor, task.start)
        tell(ANSWER, answer)
    except ApportionError as error:
        tell(FAILED, str(error))


class _Teller:
    """Sends on what a monitor hears; incumbents go through the partner, with their values."""

    def __init__(self, tell: Callable[..., None], with_log: bool) -> None:
        self._tell = tell
        self._with_log = with_log

    def __call__(self, event: Event) -> None:
        if event.kind is EventKind.BOUND:
            self._tell(BOUND, event.bounds.dual)
        elif event.kind is EventKind.NODE:
            self._tell(NODE, event.nodes)
        elif event.kind is EventKind.LOG and self._with_log:
            self._tell(LOG, event.message, event.letter)


def _hear(connection: Connection, partner: Partner, monitor: Monitor, on_orphaned: Callable[[], None]) -> None:
    while True:
        try:
            kind, *content = connection.recv()
        except (EOFError, OSError, TypeError):
            on_orphaned()
            return
        if kind == STOP:
            monitor.cancel()
        elif kind == INCUMBENT:
            partner.receive(np.array(content[0], np.float64))


def _backend(home: str, companion: Companion) -> Backend:
    module, _, name = home.partition(":")
    make: Any = getattr(importlib.import_module(module), name)
    return cast("Backend", make(companion))


def main() -> None:
    """Take part in the race of the process that holds the other end of the socket in the first argument."""
    connection = Connection(int(sys.argv[1]))
    task: Task = connection.recv()
    os.nice(task.patience)

    def die() -> None:
        os._exit(1)

    race(task, connection, die)
    os._exit(0)


if __name__ == "__main__":
    main()
