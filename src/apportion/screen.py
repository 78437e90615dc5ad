"""What a person sees while instances are solved: lines in a log, or bars on a terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, Self

from apportion.ledger import Row
from apportion.report import TABLE_HEADING, block, event_line, number, percent, report_rows, seconds, status_text
from apportion.solvers.events import Event, EventKind
from apportion.tasks import Task

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

LINE_PAUSE_S = 1.0
INCUMBENT_PAUSE_S = 0.05

NOTE = "  {source}: {message}"
ROW_LINE = "[{done}/{total}] {name}: {text}"


class Screen(Protocol):
    """A listener with a beginning and an end."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        ...

    def event(self, task: Task, event: Event) -> None:
        """Show an event."""
        ...

    def row(self, task: Task, row: Row) -> None:
        """Show how an instance ended."""
        ...


def row_text(row: Row) -> str:
    """How an instance ended, in one line."""
    if row.result is None:
        return row.reason
    result = row.result
    parts = [status_text(result["status"], result["limit"])]
    if isfinite(float(result["primal"])):
        parts.append(f"{number(float(result['primal']))}, bound {number(float(result['dual']))}")
        parts.append(f"gap {percent(float(result['gap']))}")
    if row.reason:
        parts.append(row.reason)
    timings = result["timings"]
    parts.append(seconds(sum(timings[f"{stage}_s"] for stage in ("read", "build", "solve", "check"))))
    return ", ".join(parts)


def report_text(row: Row, places: list[Path]) -> str:
    """The closing block of one instance."""
    return block([*report_rows(row.result or {}), *[("written", str(place)) for place in places]])


class _Base:
    """A lock, because events come from other threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Quiet(_Base):
    """Shows nothing."""

    def event(self, task: Task, event: Event) -> None:
        """Show nothing."""

    def row(self, task: Task, row: Row) -> None:
        """Show nothing."""


class TableScreen(_Base):
    """The log of one solve: a table that grows with incumbents and bounds, and notes between its lines.

    With ``verbose`` the solver's own log is shown too.
    """

    def __init__(self, stream: IO[str], *, verbose: bool = False) -> None:
        super().__init__()
        self._stream = stream
        self._verbose = verbose
        self._last_s = -LINE_PAUSE_S
        self._shown = ""

    def event(self, task: Task, event: Event) -> None:  # noqa: ARG002
        """Show a line, unless one was shown just now."""
        with self._lock:
            if event.kind is EventKind.START:
                self._stream.write(TABLE_HEADING + "\n")
            elif event.kind is EventKind.LOG:
                if self._verbose or not event.letter:
                    self._stream.write(NOTE.format(source=event.letter or "note", message=event.message) + "\n")
            elif event.kind is EventKind.END:
                self._line(event, always=True)
            else:
                pause = INCUMBENT_PAUSE_S if event.kind is EventKind.INCUMBENT else LINE_PAUSE_S
                self._line(event, always=event.time_s - self._last_s >= pause)
            self._stream.flush()

    def _line(self, event: Event, *, always: bool) -> None:
        text = event_line(event)
        known = isfinite(event.bounds.primal) or isfinite(event.bounds.dual) or event.nodes
        if always and known and text != self._shown:
            self._stream.write(text + "\n")
            self._last_s, self._shown = event.time_s, text

    def row(self, task: Task, row: Row) -> None:
        """The report follows when the table is closed."""


class LinesScreen(_Base):
    """The log of a batch: one line per instance that ended, and the notes of each."""

    def __init__(self, stream: IO[str], total: int) -> None:
        super().__init__()
        self._stream = stream
        self._total = total
        self._done = 0

    def event(self, task: Task, event: Event) -> None:
        """Show notes only."""
        if event.kind is EventKind.LOG and not event.letter:
            self._write(f"{task.name}: {event.message}")

    def row(self, task: Task, row: Row) -> None:
        """Show how an instance ended."""
        with self._lock:
            self._done += 1
        self._write(ROW_LINE.format(done=self._done, total=self._total, name=task.name, text=row_text(row)))

    def _write(self, line: str) -> None:
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


class LiveScreen(_Base):
    """Bars on a terminal: one for the batch, one for each instance at work, with its objective and gap."""

    def __init__(self, console: Console, total: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        super().__init__()
        self._bars: dict[int, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._whole = self._progress.add_task("batch", total=total, text=f"0 of {total}")
        self._total = total
        self._done = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def event(self, task: Task, event: Event) -> None:
        """Move the bar of an instance."""
        with self._lock:
            bar = self._bars.get(task.index)
            if bar is None:
                limit = task.options.time_limit_s
                total = limit if isfinite(limit) else None
                bar = self._bars[task.index] = self._progress.add_task(task.name, total=total, text="reading")
            if event.kind is EventKind.LOG and not event.letter:
                self._progress.console.print(f"{task.name}: {event.message}", markup=False, highlight=False)
            bounds = event.bounds
            text = f"{number(bounds.primal)}, gap {percent(bounds.gap)}" if isfinite(bounds.primal) else "searching"
            self._progress.update(bar, completed=event.time_s, text=text)

    def row(self, task: Task, row: Row) -> None:
        """Take the bar away and leave a line."""
        with self._lock:
            self._done += 1
            bar = self._bars.pop(task.index, None)
            if bar is not None:
                self._progress.remove_task(bar)
            self._progress.update(self._whole, completed=self._done, text=f"{self._done} of {self._total}")
            line = ROW_LINE.format(done=self._done, total=self._total, name=task.name, text=row_text(row))
            style = {0: "green", 1: "yellow", 3: "yellow"}.get(row.exit_code, "red")
            self._progress.console.print(line, style=style, markup=False, highlight=False)


def many(*listeners: Callable[[Task, Event], None]) -> Callable[[Task, Event], None]:
    """One listener that tells several."""

    def tell(task: Task, event: Event) -> None:
        for listener in listeners:
            listener(task, event)

    return tell
