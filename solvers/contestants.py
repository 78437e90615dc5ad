"""One side of a race as its organiser sees it: a thread of this process or a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.racer import Task
from apportion.solvers.status import Bounds

_LEADER_GRACE_S = 10.0


@dataclass(eq=False)
class Racer:
    """One side of the race as its organiser sees it."""

    name: str
    connection: Connection
    bounds: Bounds
    process: subprocess.Popen[bytes] | None = None
    thread: threading.Thread | None = None
    said: IO[bytes] | None = None
    answer: BackendAnswer | None = None
    running: bool = True
    trusted: bool = True
    nodes: int = 0
    patience: int = 0
    cpu_s: float = 0.0

    def __post_init__(self) -> None:
        """Nothing is being sent."""
        self._sending = threading.Lock()
        self._giving: threading.Thread | None = None

    def tell(self, *message: object) -> None:
        """Send a message; a racer that is gone is noticed when it is read."""
        if self._sending.acquire(blocking=False):
            try:
                self._send(message)
            finally:
                self._sending.release()

    def _send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except (OSError, ValueError):
            return

    def give(self, task: Task) -> None:
        """Send the task, from a thread: a large one fills the pipe until the new interpreter is up and reads."""
        self._giving = threading.Thread(target=self._give, args=(task,), daemon=True)
        self._giving.start()

    def _give(self, task: Task) -> None:
        with self._sending:
            self._send(task)

    def step_back(self, patience: int) -> None:
        """Lower the priority of the process; a process that is gone has none."""
        self.patience = patience
        if self.process is None or not hasattr(os, "setpriority"):
            return
        for thread in _threads_of(self.process.pid):
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, thread, patience)

    def end(self) -> None:
        """Leave no process behind, whatever it is doing; the leader's thread gets time to stop."""
        if self.process is not None:
            self.process.kill()
            before = _cpu_of_children()
            self.process.wait()
            self.cpu_s = _cpu_of_children() - before
        if self._giving is not None:
            self._giving.join()
        if self.thread is not None:
            self.thread.join(_LEADER_GRACE_S)
        self.connection.close()
        if self.said is not None:
            self.said.close()

    def last_words(self) -> str:
        """The last line that a process wrote to its error stream, or its exit code."""
        if self.process is None or self.said is None:
            return "no reason given"
        code = self.process.wait()
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {code}"


def spawned(name: str, program: MixedIntegerProgram) -> Racer:
    """A racer in a new interpreter with the same import path."""
    ours, theirs = socket.socketpair()
    said = tempfile.TemporaryFile()  # noqa: SIM115 closed by Racer.end
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "apportion.solvers.racer", str(theirs.fileno())]
    process = subprocess.Popen(
        command,
        env=environment,
        pass_fds=(theirs.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
    )
    theirs.close()
    connection = Connection(ours.detach())
    return Racer(name, connection, Bounds.unknown(program.sense), process=process, said=said)


def _cpu_of_children() -> float:
    """CPU seconds of the processes that this one started and has seen end; 0 where the system does not tell."""
    times = os.times()
    return times.children_user + times.children_system


def _threads_of(process: int) -> list[int]:
    """The threads that have priorities of their own, as on Linux, or else the process."""
    try:
        return [int(thread.name) for thread in Path(f"/proc/{process}/task").iterdir()]
    except OSError:
        return [process]
