"""Many instances in worker processes: hard limits, events on their way to one screen, an orderly end on Ctrl-C.

Nothing that workers share has a lock, because a worker may be killed at any moment. Their events come through one pipe
as whole lines shorter than ``PIPE_BUF``, which the kernel never mixes. They learn that they should stop from the end
of another pipe, which also ends when this process dies.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import FrameType, TracebackType
from typing import Any, Self

from pebble import ProcessExpired, ProcessPool

from apportion.instances.core import Json
from apportion.ledger import INTERNAL, NO_PLAN, Row
from apportion.report import event_to_dict
from apportion.solvers.events import Event, EventKind, Listener
from apportion.solvers.status import Bounds
from apportion.tasks import Task, run_task

INTERRUPT_GRACE_S = 30.0
"""How long workers may take to stop and write their incumbents before they are killed."""

NOT_BEGUN = "interrupted before it began"
_POLL_S = 0.1
_SAME_SIGNAL_S = 0.5
_LOST_S = 3.0
_MOST_MESSAGE = 400
_NODE_PAUSE_S = 0.2

EventListener = Callable[[Task, Event], None]


class Interruption:
    """Turns the first SIGINT or SIGTERM into a request to stop; the second one kills.

    ``number`` is 0, or the signal that came; the loop that owns this looks at it. (The handler takes no lock: it runs
    in the middle of whatever the main thread does.) A second signal within half a second is the same one twice, as
    ``timeout`` sends it.
    """

    def __init__(self) -> None:
        self.number = 0
        self.before_death: Callable[[], None] = lambda: None
        self._came = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, 0 when nothing came."""
        return 128 + self.number if self.number else 0

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self.number:
            self.number, self._came = number, time.monotonic()
            return
        if time.monotonic() - self._came < _SAME_SIGNAL_S:
            return
        self.before_death()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def run_alone(task: Task, listener: Listener | None, interruption: Interruption) -> Row:
    """Solve one instance in a thread of this process, so that signals are heard while a solver computes."""
    cancelled = threading.Event()

    def watch() -> None:
        if interruption.number:
            cancelled.set()

    return _in_thread(task, listener, cancelled, watch)


def _in_thread(task: Task, listener: Listener | None, cancelled: threading.Event, watch: Callable[[], None]) -> Row:
    rows: list[Row] = []
    solver = threading.Thread(
        target=lambda: rows.append(run_task(task, listener, cancelled)), name=task.name, daemon=True
    )
    solver.start()
    while solver.is_alive():
        solver.join(_POLL_S)
        watch()
    return rows[0]


# In a worker


@dataclass
class _Worker:
    """What a worker process knows: where its events go, and whether it should stop."""

    events: Connection
    lifeline: Connection
    cancelled: threading.Event = field(default_factory=threading.Event)
    busy: bool = False

    def send(self, line: Json) -> None:
        """One whole line at once; without a parent there is nobody to tell, and no reason to go on."""
        try:
            os.write(self.events.fileno(), json.dumps(line).encode() + b"\n")
        except OSError:
            self.cancelled.set()

    def watch(self) -> None:
        """Wait for the end of the lifeline."""
        select.select([self.lifeline.fileno()], [], [])
        self.cancelled.set()

    def on_terminate(self, _number: int, _frame: FrameType | None) -> None:
        """Stop softly when there is something to save."""
        if not self.busy:
            os._exit(0)
        self.cancelled.set()


_worker: _Worker | None = None


def _begin(events: Connection, lifeline: Connection, memory_limit_bytes: int) -> None:
    global _worker  # noqa: PLW0603 (one per process, set once as it starts)
    if memory_limit_bytes:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (memory_limit_bytes, most))
    _worker = _Worker(events, lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _worker.on_terminate)
    threading.Thread(target=_worker.watch, name="lifeline", daemon=True).start()


def _work(task: Task) -> Json | None:
    """Run one task in a worker; None when it was told to stop before it began."""
    worker = _worker
    if worker is None or worker.cancelled.is_set():
        return None
    worker.busy = True
    worker.send({"task": task.index, "pid": os.getpid()})
    row = _in_thread(task, _Sender(worker, task), worker.cancelled, lambda: None)
    worker.busy = False
    return row.to_dict()


class _Sender:
    """Sends the events of one task; of those that only count nodes, a few per second."""

    def __init__(self, worker: _Worker, task: Task) -> None:
        self._worker = worker
        self._task = task
        self._last_node_s = 0.0

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if event.kind is EventKind.NODE:
            if event.time_s - self._last_node_s < _NODE_PAUSE_S:
                return
            self._last_node_s = event.time_s
        line = event_to_dict(event, "")
        line["message"] = event.message[:_MOST_MESSAGE]
        self._worker.send({"task": self._task.index, **line})


# In the parent


def run_batch(
    tasks: Sequence[Task],
    *,
    jobs: int,
    hard_limit_s: float,
    interruption: Interruption,
    memory_limit_gib: float = 0.0,
    on_event: EventListener | None = None,
    on_row: Callable[[Task, Row], None] | None = None,
) -> list[Row]:
    """Solve ``tasks`` in ``jobs`` worker processes and return a row for each, in their order.

    Parameters
    ----------
    tasks
        Their indices differ.
    jobs
        How many run at the same time.
    hard_limit_s
        Seconds after which a worker is killed; it has three more to write what it holds.
    interruption
        Ends the batch early: running tasks stop and write their incumbents, the others get a row that says so.
    memory_limit_gib
        The most memory of a worker; 0 for no limit. Who asks for more gets a row that says so.
    on_event
        Called with each event, from a thread of its own.
    on_row
        Called with each row as soon as it is there.
    """
    listeners = (on_event or (lambda _t, _e: None), on_row or (lambda _t, _r: None))
    batch = _Batch(hard_limit_s, memory_limit_gib, interruption, *listeners)
    with batch:
        remaining = list(tasks)
        while remaining:
            for suspect in batch.run(remaining, jobs):
                batch.run([suspect], 1, last_chance=True)
            remaining = [task for task in tasks if task.index not in batch.rows]
    return [batch.rows[task.index] for task in tasks]


class _Batch:
    """The state of one batch in the parent."""

    def __init__(
        self,
        hard_limit_s: float,
        memory_limit_gib: float,
        interruption: Interruption,
        on_event: EventListener,
        on_row: Callable[[Task, Row], None],
    ) -> None:
        self.rows: dict[int, Row] = {}
        self._hard_limit_s = hard_limit_s
        self._memory_limit_bytes = int(memory_limit_gib * 2**30)
        self._interruption = interruption
        self._on_event = on_event
        self._on_row = on_row
        self._context = multiprocessing.get_context("spawn")
        self._tasks: dict[int, Task] = {}
        self._pids: dict[int, int] = {}
        self._missing_since: dict[int, float] = {}

    def __enter__(self) -> Self:
        self._events, self._events_end = self._context.Pipe(duplex=False)
        self._lifeline_end, self._lifeline = self._context.Pipe(duplex=False)
        self._reader = threading.Thread(target=self._read_events, name="events", daemon=True)
        self._reader.start()
        self._stopping_since = 0.0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in (self._lifeline, self._lifeline_end, self._events_end):
            end.close()
        self._reader.join(2.0)
        self._events.close()

    def run(self, tasks: Sequence[Task], jobs: int, *, last_chance: bool = False) -> list[Task]:
        """Run tasks in one pool. When the pool breaks, return the unfinished tasks that had begun.

        With ``last_chance`` the one task that breaks its pool gets a row that says so.
        """
        self._tasks.update({task.index: task for task in tasks})
        pool = ProcessPool(
            jobs,
            initializer=_begin,
            initargs=(self._events_end, self._lifeline_end, self._memory_limit_bytes),
            context=self._context,
        )
        self._interruption.before_death = lambda: _kill(pool)
        limit = self._hard_limit_s if self._hard_limit_s < threading.TIMEOUT_MAX else None
        futures: dict[Future[Any], Task] = {pool.schedule(_work, args=(task,), timeout=limit): task for task in tasks}
        try:
            while futures:
                done, _ = wait(futures, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                broken = [future for future in done if isinstance(_error_of(future), BrokenProcessPool)]
                for future in done.difference(broken):
                    task = futures.pop(future)
                    self._finish(task, self._row_of(task, future))
                if broken:
                    return self._after_break(list(futures.values()), last_chance)
                self._look_after(futures, pool)
        finally:
            self._interruption.before_death = lambda: None
            if self._stopping_since or futures:
                _kill(pool)
            pool.stop()
            pool.join()
        return []

    def _after_break(self, unfinished: list[Task], last_chance: bool) -> list[Task]:
        if last_chance:
            for task in unfinished:
                self._finish(task, _row(task, INTERNAL, "its worker process dies before it can say why"))
        return [task for task in unfinished if task.index in self._pids and task.index not in self.rows] or unfinished

    def _look_after(self, futures: dict[Future[Any], Task], pool: ProcessPool) -> None:
        """Pass an interruption on, and find tasks whose worker is gone without the pool knowing."""
        if self._interruption.number and not self._stopping_since:
            self._stopping_since = time.monotonic()
            self._lifeline.close()
            for future in [f for f in futures if not f.running() and f.cancel()]:
                task = futures.pop(future)
                self._finish(task, _row(task, NO_PLAN, NOT_BEGUN))
        if self._stopping_since and time.monotonic() - self._stopping_since > INTERRUPT_GRACE_S:
            _kill(pool)
            for task in futures.values():
                self._finish(task, _row(task, NO_PLAN, f"did not stop within {INTERRUPT_GRACE_S:g} s and was killed"))
            futures.clear()
        for future, task in list(futures.items()):
            if self._is_lost(task) and not future.done():
                futures.pop(future)
                self._finish(task, _row(task, INTERNAL, "its worker process died"))

    def _is_lost(self, task: Task) -> bool:
        pid = self._pids.get(task.index)
        if pid is None or _alive(pid):
            self._missing_since.pop(task.index, None)
            return False
        return time.monotonic() - self._missing_since.setdefault(task.index, time.monotonic()) > _LOST_S

    def _row_of(self, task: Task, future: Future[Any]) -> Row:
        error = _error_of(future)
        if error is None:
            data = future.result()
            return _row(task, NO_PLAN, NOT_BEGUN) if data is None else Row.from_dict(data)
        if isinstance(error, TimeoutError):
            return _row(task, NO_PLAN, f"killed at the hard limit of {self._hard_limit_s:g} s")
        if isinstance(error, CancelledError):
            return _row(task, NO_PLAN, NOT_BEGUN)
        if isinstance(error, ProcessExpired):
            return _row(task, INTERNAL, _death(error.exitcode))
        return _row(task, INTERNAL, f"internal error: {type(error).__name__}: {error}")

    def _finish(self, task: Task, row: Row) -> None:
        self.rows[task.index] = row
        self._on_row(task, row)

    def _read_events(self) -> None:
        rest = b""
        while chunk := _read(self._events):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, line: Json) -> None:
        task = self._tasks[line["task"]]
        if "pid" in line:
            self._pids[task.index] = line["pid"]
            return
        bounds = Bounds(float(line["primal"]), float(line["dual"]))
        kind = EventKind(line["event"])
        self._on_event(task, Event(kind, line["time_s"], bounds, line["letter"], line["nodes"], line["message"]))


def _row(task: Task, exit_code: int, reason: str) -> Row:
    return Row(task.name, str(task.path), task.key, exit_code, reason)


def _error_of(future: Future[Any]) -> BaseException | None:
    try:
        return future.exception(timeout=0)
    except CancelledError as error:
        return error


def _read(pipe: Connection) -> bytes:
    with suppress(OSError):
        return os.read(pipe.fileno(), 1 << 16)
    return b""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _kill(pool: ProcessPool) -> None:
    """Kill every worker at once; pebble would wait three seconds for each."""
    for process in list(pool._pool_manager.worker_manager.workers.values()):
        with suppress(OSError, ValueError):
            process.kill()


def _death(exit_code: int) -> str:
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        advice = "\nMaybe it ran out of memory" if -exit_code in (signal.SIGKILL, signal.SIGABRT) else ""
        return f"its worker process died of {name}{advice}"
    return f"its worker process ended with code {exit_code}"
