"""What ``apportion solve`` does between its flags and its exit code."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import IO

from apportion.batch import NOT_BEGUN, Interruption, run_alone, run_batch
from apportion.flags import SolveFlags
from apportion.instances.errors import OptionError
from apportion.instances.files import write_text
from apportion.ledger import Ledger, Row, rows_in
from apportion.report import event_to_dict, header, percent, seconds
from apportion.screen import LinesScreen, LiveScreen, Quiet, Screen, TableScreen, many, report_text
from apportion.solvers.events import Event
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import versions
from apportion.summary import summary_csv, summary_json, summary_table, summary_text
from apportion.tasks import PLAN_SUFFIX, STDIN, Task, expand, key_of, names_of

RESULTS = Path("results")
_STDOUT = Path("-")


@dataclass(frozen=True)
class Destination:
    """Where results go: a folder, or one file for one plan (``-`` is standard output), or nowhere."""

    folder: Path | None = None
    plan: Path | None = None


def solve_files(files: Sequence[str], flags: SolveFlags) -> int:
    """Solve ``files`` and return the exit code."""
    tasks, destination = tasks_of(files, flags)
    whole = list(tasks)
    kept: dict[int, Row] = {}
    if flags.resume:
        if destination.folder is None:
            raise OptionError("--resume needs the folder of the batch\nMaybe --out results")
        kept = _kept(tasks, destination.folder)
        tasks = [task for task in tasks if task.index not in kept]
    log = _log(flags)
    log.write(opening(whole, flags, len(whole) - len(tasks)))
    with ExitStack() as stack:
        screen = stack.enter_context(_screen(tasks, flags, log))
        listener = many(screen.event)
        if flags.events is not None:
            listener = many(screen.event, _events_file(flags.events, stack))
        interruption = stack.enter_context(Interruption())
        keep = _keeper(destination.folder, flags.shard)

        def ended(task: Task, row: Row) -> None:
            keep(row)
            screen.row(task, row)

        solved = _solve(tasks, flags, interruption, listener, ended)
    rows = [solved.get(task.index) or kept[task.index] for task in whole]
    _close(rows, destination, flags, log)
    return interruption.exit_code or max((row.exit_code for row in rows), default=0)


def tasks_of(files: Sequence[str], flags: SolveFlags) -> tuple[list[Task], Destination]:
    """Every instance to solve with its name, key and options."""
    options = SolveOptions.build(
        time_limit_s=flags.time_limit,
        gap=flags.gap,
        threads=flags.threads,
        seed=flags.seed,
        backend=flags.backend,
        deterministic=flags.deterministic,
        node_limit=flags.node_limit,
        verify=flags.verify,
    )
    _require_positive("--jobs", flags.jobs)
    _require_positive("--hard-limit", flags.hard_limit)
    _require_positive("--memory-limit", flags.memory_limit)
    paths = expand(files, flags.format, flags.out or RESULTS)
    if len(paths) > 1 and Path(STDIN) in paths:
        raise OptionError("standard input is one instance\nMaybe name files only")
    destination = _destination(flags.out, len(paths))
    companions = {} if flags.nodes is None else {"nodes": flags.nodes}
    tasks = []
    for index, (path, name) in enumerate(zip(paths, names_of(paths), strict=True)):
        start = _start(flags.start, name, len(paths))
        inputs = [*companions.values(), *(given for given in (start, flags.advisor) if given is not None)]
        key = key_of(path, options, {"method": flags.method, "format": flags.format}, inputs)
        tasks.append(
            Task(
                index=index,
                name=name,
                path=path,
                key=key,
                options=options,
                method=flags.method,
                format=flags.format,
                companions=companions,
                start=start,
                advisor=flags.advisor,
                out=destination.folder,
                plan_path=destination.plan,
            )
        )
    return _shard(tasks, flags.shard), destination


def _require_positive(name: str, value: float | None) -> None:
    if value is not None and not value > 0:
        raise OptionError(f"{name} must be positive, got {value!r}")


def _destination(out: Path | None, count: int) -> Destination:
    if out is None and count == 1:
        return Destination(plan=None if sys.stdout.isatty() else _STDOUT)
    folder = out if out is not None else RESULTS
    if folder == _STDOUT or folder.name.removesuffix(".gz").endswith((".json", ".sol")):
        if count > 1:
            raise OptionError(f"--out {folder} holds one plan and there are {count} instances\nMaybe a folder")
        return Destination(plan=folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--out {folder} cannot be a folder: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise OptionError(f"--out {folder} cannot be written to")
    return Destination(folder=folder)


def _start(start: Path | None, name: str, count: int) -> Path | None:
    if start is None:
        return None
    if start.is_dir():
        inside = start / f"{name}{PLAN_SUFFIX}"
        return inside if inside.exists() else None
    if count > 1:
        raise OptionError(f"--start {start} is one plan and there are {count} instances\nMaybe a folder of plans")
    return start


def _shard(tasks: list[Task], shard: str | None) -> list[Task]:
    if shard is None:
        return tasks
    part, _, parts = shard.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise OptionError(f"--shard must be i/n with 1 <= i <= n, got {shard!r}")
    return [task for task in tasks if task.index % int(parts) == int(part) - 1]


def _kept(tasks: Sequence[Task], folder: Path) -> dict[int, Row]:
    """What the ledger has of these tasks, as far as it is final and its files are still there."""
    known = rows_in(folder)
    return {
        task.index: row
        for task in tasks
        if (row := known.get((task.key, task.name))) is not None
        and row.is_final
        and all((folder / name).exists() for name in row.files)
    }


def _suffix_of(shard: str | None) -> str:
    return "" if shard is None else f".{shard.replace('/', 'of')}"


def _keeper(folder: Path | None, shard: str | None) -> Callable[[Row], None]:
    if folder is None:
        return lambda _row: None
    ledger = Ledger(folder / f"ledger{_suffix_of(shard)}.jsonl")

    def keep(row: Row) -> None:
        if row.reason != NOT_BEGUN:
            ledger.append(row)

    return keep


def _solve(
    tasks: Sequence[Task],
    flags: SolveFlags,
    interruption: Interruption,
    on_event: Callable[[Task, Event], None],
    on_row: Callable[[Task, Row], None],
) -> dict[int, Row]:
    if not tasks:
        return {}
    if len(tasks) == 1 and flags.hard_limit is None and flags.memory_limit is None:
        task = tasks[0]
        row = run_alone(task, lambda event: on_event(task, event), interruption)
        on_row(task, row)
        return {task.index: row}
    rows = run_batch(
        tasks,
        jobs=min(jobs_of(flags), len(tasks)),
        hard_limit_s=hard_limit_of(flags),
        memory_limit_gib=flags.memory_limit or 0.0,
        interruption=interruption,
        on_event=on_event,
        on_row=on_row,
    )
    return {task.index: row for task, row in zip(tasks, rows, strict=True)}


def jobs_of(flags: SolveFlags) -> int:
    """How many instances are solved at the same time."""
    return flags.jobs or max(1, len(os.sched_getaffinity(0)) // flags.threads)


def hard_limit_of(flags: SolveFlags) -> float:
    """Seconds after which the worker of an instance is killed."""
    solves = 3 if flags.verify else 2
    return flags.hard_limit if flags.hard_limit is not None else solves * flags.time_limit + 60


def opening(tasks: Sequence[Task], flags: SolveFlags, num_kept: int) -> str:
    """The opening of the log: all that is needed to reproduce it."""
    known = versions()
    if len(tasks) == 1:
        what = f"{tasks[0].path}, sha256 {tasks[0].key.partition('-')[0]}"
    else:
        what = f"{len(tasks)} files" + (f", {num_kept} of them already in the ledger" if num_kept else "")
    limits = f"time {seconds(flags.time_limit)}, gap {percent(flags.gap)}"
    if flags.node_limit is not None:
        limits += f", nodes {flags.node_limit}"
    if flags.memory_limit is not None:
        limits += f", memory {flags.memory_limit:g} GiB"
    if len(tasks) > 1 or flags.hard_limit is not None:
        hard = hard_limit_of(flags)
        limits += f", killed after {seconds(hard)}" if isfinite(hard) else ""
    search = f"seed {flags.seed}, threads {flags.threads}"
    if len(tasks) > 1:
        search += f", {min(jobs_of(flags), len(tasks))} at the same time"
    return header(
        [
            ("apportion", ", ".join([known.pop("apportion", "?"), *(f"{name} {v}" for name, v in known.items())])),
            ("instances" if len(tasks) > 1 else "instance", what),
            ("limits", limits),
            ("search", search),
            ("flags", _changed(flags)),
        ]
    )


def _changed(flags: SolveFlags) -> str:
    """The flags that differ from their defaults, as one would type them."""
    changed = []
    for each in fields(flags):
        value = getattr(flags, each.name)
        if value != each.default:
            name = f"--{each.name.replace('_', '-')}"
            changed.append(name if value is True else f"--no-{each.name}" if value is False else f"{name} {value}")
    return " ".join(changed)


def _log(flags: SolveFlags) -> IO[str]:
    return io.StringIO() if flags.quiet else sys.stderr


def _screen(tasks: Sequence[Task], flags: SolveFlags, log: IO[str]) -> Screen:
    if flags.quiet:
        return Quiet()
    if len(tasks) <= 1:
        return TableScreen(log, verbose=flags.verbose)
    if log.isatty():
        from rich.console import Console

        return LiveScreen(Console(stderr=True), len(tasks))
    return LinesScreen(log, len(tasks))


def _events_file(path: Path, stack: ExitStack) -> Callable[[Task, Event], None]:
    """A listener that writes each event as a JSON line at once."""
    if path == _STDOUT:
        stream: IO[str] = sys.stdout
    else:
        try:
            stream = stack.enter_context(path.open("w"))
        except OSError as error:
            raise OptionError(f"--events {path} cannot be written: {error.strerror}") from error
    lock = threading.Lock()

    def write(task: Task, event: Event) -> None:
        with lock:
            stream.write(json.dumps(event_to_dict(event, task.name), allow_nan=False) + "\n")
            stream.flush()

    return write


def _close(rows: Sequence[Row], destination: Destination, flags: SolveFlags, log: IO[str]) -> None:
    """The report of one instance, or the summary of several, and the files of a folder."""
    folder = destination.folder
    if len(rows) == 1 and rows[0].result is not None:
        places = [Path(name) if folder is None else folder / name for name in rows[0].files if name != "-"]
        log.write("\n" + report_text(rows[0], places))
        if destination == Destination() and rows[0].exit_code == 0:
            log.write("The plan was not kept.\nMaybe --out plan.json\n")
    for row in rows:
        if row.reason and (flags.quiet or len(rows) == 1):
            sys.stderr.write(f"apportion: {row.name}: {row.reason}\n")
    if folder is None:
        return
    suffix = _suffix_of(flags.shard)
    write_text(folder / f"summary{suffix}.json", summary_json(rows))
    write_text(folder / f"summary{suffix}.csv", summary_csv(rows))
    if sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        console.print(summary_table(rows, console.width))
    else:
        sys.stdout.write(summary_text(rows))
    if len(rows) > 1 and flags.shard is None and flags.page:
        from apportion.page import write_page

        log.write(f"written to {folder}, with {write_page(folder, rows)}\n")
