"""One instance of a batch: which files, under what name and key, and the way from the file to a row of the ledger."""

from __future__ import annotations

import glob
import gzip
import hashlib
import json
import os
import re
import sys
import tempfile
import threading
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from apportion.instances.core import Instance, Plan
from apportion.instances.errors import (
    ApportionError,
    BackendMissingError,
    CapabilityError,
    InstanceError,
    OptionError,
    PlanError,
)
from apportion.instances.files import content_hash, stem, write_text
from apportion.instances.formats import FORMATS
from apportion.instances.plans import SOLUTION_FORMATS, read_plan, write_plan
from apportion.instances.program import MixedIntegerProgram
from apportion.instances.reading import format_named, read
from apportion.ledger import BAD_FILE, INTERNAL, MISSING_BACKEND, NO_PLAN, USAGE, Row, exit_code_of
from apportion.report import plain, result_to_dict
from apportion.solvers.advisor import Advisor
from apportion.solvers.events import Event, EventKind, Listener
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance

STDIN = "-"
PLAN_SUFFIX = ".plan.json"
REJECTED_SUFFIX = ".rejected.json"
PICTURES = "pictures"
DEBUG_VARIABLE = "APPORTION_DEBUG"

_GENERIC_SUFFIXES = frozenset({".json", ".csv", ".txt"})
_HEAD = 4096
_MOST_HISTORY = 300
_HASH_DIGITS = 16


@dataclass(frozen=True)
class Task:
    """One instance to solve. ``key`` says what it is and how it is solved; ``out`` is the folder for its files.

    ``plan_path`` is where the plan goes when the caller named a file; by default ``out/<name>.plan.json``.
    """

    index: int
    name: str
    path: Path
    key: str
    options: SolveOptions
    method: str | None = None
    format: str | None = None
    companions: Mapping[str, Path] = field(default_factory=dict)
    start: Path | None = None
    advisor: Path | None = None
    out: Path | None = None
    plan_path: Path | None = None


def exit_code_of_error(error: BaseException) -> int:
    """The exit code that an error of ours stands for; 70 for everything unexpected."""
    if isinstance(error, InstanceError | PlanError):
        return BAD_FILE
    if isinstance(error, BackendMissingError | CapabilityError):
        return MISSING_BACKEND
    return USAGE if isinstance(error, OptionError) else INTERNAL


# Which files


def expand(files: Sequence[str], format_name: str | None = None, leave_out: Path | None = None) -> list[Path]:
    """Files as they are; directories and globs as the instance files in them, sorted, each once.

    Parameters
    ----------
    files
        Paths, glob patterns and ``-``.
    format_name
        Take the files of this format from directories.
    leave_out
        A folder of results that is not searched.
    """
    found: dict[Path, Path] = {}
    for given in files:
        for path in _expanded(given, format_name, leave_out):
            found.setdefault(path if str(path) == STDIN else path.resolve(), path)
    return list(found.values())


def _expanded(given: str, format_name: str | None, leave_out: Path | None) -> list[Path]:
    path = Path(given)
    if str(path) == STDIN or path.is_file():
        return [path]
    if path.is_dir():
        inside = [p for p in _walk(path, leave_out) if _is_instance(p, format_name)]
        if not inside:
            raise OptionError(f"{given} holds no file in a known format\nMaybe name the files, or --format")
        return inside
    if glob.has_magic(given):
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 (Path.glob refuses absolute patterns)
        if not matches:
            raise OptionError(f"{given} matches no file")
        return [p for match in matches for p in _expanded(match, format_name, leave_out) if _may_be_instance(p)]
    return [path]


def _walk(folder: Path, leave_out: Path | None) -> list[Path]:
    """Files below ``folder`` in a fixed order; neither hidden ones nor folders of results."""
    if leave_out is not None and leave_out.exists() and folder.samefile(leave_out) and any(folder.glob("ledger*")):
        return []
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            is_results = any(path.glob("ledger*.jsonl"))
            found.extend([] if is_results else _walk(path, leave_out))
        elif path.is_file():
            found.append(path)
    return found


def _may_be_instance(path: Path) -> bool:
    return not path.name.endswith((PLAN_SUFFIX, REJECTED_SUFFIX))


def _is_instance(path: Path, format_name: str | None) -> bool:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if not _may_be_instance(path):
        return False
    if format_name is not None:
        return suffix in format_named(format_name).suffixes
    fitting = [f for f in FORMATS if suffix in f.suffixes]
    if not fitting:
        return False
    return suffix not in _GENERIC_SUFFIXES or any(f.sniff(_head(path)) for f in fitting)


def _head(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            content = gzip.GzipFile(fileobj=stream).read(_HEAD) if zipped else stream.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        return ""
    return content.decode("utf-8", errors="replace").removeprefix("\ufeff")


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each file by which its results are called: the stem, longer where two would be the same.

    >>> names_of([Path("a/x.vrp"), Path("b/x.vrp"), Path("y.mps")])
    ['a-x', 'b-x', 'y']
    """
    names = [stem(path) for path in paths]
    for longer in (_stem_in_folder, _name_in_folder):
        counts = Counter(names)
        names = [longer(p) if counts[name] > 1 else name for p, name in zip(paths, names, strict=True)]
    taken: set[str] = set()
    for position, name in enumerate(names):
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}-{number}", number + 1
        taken.add(unique)
        names[position] = unique
    return names


def _stem_in_folder(path: Path) -> str:
    return f"{path.parent.name}-{stem(path)}"


def _name_in_folder(path: Path) -> str:
    return f"{path.parent.name}-{path.name}"


def key_of(path: Path, options: SolveOptions, settings: Mapping[str, Any], files: Sequence[Path] = ()) -> str:
    """``<hash of the instance file>-<hash of everything that says how to solve it>``.

    ``settings`` are further choices, ``files`` further inputs, which count by their content.
    """
    described = {**asdict(options), **settings, "files": [_hash_of(file) for file in files]}
    text = json.dumps(described, sort_keys=True, default=str)
    how = hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{_hash_of(path)}-{how}"


def _hash_of(path: Path) -> str:
    if str(path) == STDIN:
        return f"stdin{time.time_ns():x}"
    try:
        return content_hash(path)
    except OSError:
        return "unreadable"


# From the file to the row


def run_task(task: Task, listener: Listener | None, cancelled: threading.Event) -> Row:
    """Read, solve, check and write one instance. Every error becomes a row; nothing is raised.

    Files are written only for a checked plan, each at once, so that a failed run leaves older ones as they are.
    """
    history = History(listener)
    try:
        return _run(task, history, cancelled)
    except ApportionError as error:
        return _failed(task, exit_code_of_error(error), str(error))
    except MemoryError:
        return _failed(task, NO_PLAN, "ran out of memory")
    except Exception as error:  # noqa: BLE001 (the boundary of a task: one bad instance never ends a batch)
        where = keep_traceback(task.out)
        return _failed(task, INTERNAL, f"internal error: {type(error).__name__}: {error}; the traceback is in {where}")


def _failed(task: Task, exit_code: int, reason: str) -> Row:
    return Row(task.name, str(task.path), task.key, exit_code, reason)


def _run(task: Task, history: History, cancelled: threading.Event) -> Row:
    began = time.perf_counter()
    instance = read(task.path, task.format, **task.companions)
    read_s = time.perf_counter() - began
    _require_writable(task, instance)
    options = task.options
    if task.start is not None:
        options = options.with_(start=read_plan(task.start, instance))
    advisor, method = _advised(task, instance)
    result = solve_instance(
        instance, options, method=method, listener=history, advisor=advisor, cancelled=cancelled, read_s=read_s
    )
    data = result_to_dict(result, with_plan=False)
    files, picture = _write(task, instance, result, history)
    code = exit_code_of(data)
    reason = data["message"] if code >= MISSING_BACKEND else ""
    return Row(task.name, str(task.path), task.key, code, reason, data, files, picture, tuple(history.points))


def _advised(task: Task, instance: Instance) -> tuple[Advisor | None, str | None]:
    """The advisor of the task, and the method: that which takes such advice, unless the caller chose one."""
    if task.advisor is None:
        return None, task.method
    from apportion.learned.advisors.loading import load_advisor

    advisor, method = load_advisor(task.advisor)
    return advisor, task.method or (method if isinstance(instance, MixedIntegerProgram) else None)


def _require_writable(task: Task, instance: Instance) -> None:
    """Before any work: whether the plan can be written where the caller wants it."""
    path = task.plan_path
    if path is None or str(path) == "-" or path.name.removesuffix(".gz").endswith(".json"):
        return
    suffix = SOLUTION_FORMATS.get(instance.problem, ("",))[0]
    if Path(path.name.removesuffix(".gz")).suffix != suffix:
        raise OptionError(f"{instance.problem} has no solution file like {path.name!r}\nMaybe a .json file")


def _write(task: Task, instance: Instance, result: Result[Any], history: History) -> tuple[tuple[str, ...], str]:
    """Write the plan, the field's own solution file and the picture; return their names."""
    if result.plan is None:
        if task.out is not None and result.rejected_plan is not None:
            name = f"{task.name}{REJECTED_SUFFIX}"
            write_plan(result.rejected_plan, task.out / name, instance)
            return (name,), ""
        return (), ""
    if task.plan_path is not None:
        write_plan(result.plan, task.plan_path, instance)
        sys.stdout.flush()
    if task.out is None:
        return (() if task.plan_path is None else (str(task.plan_path),)), ""
    names = [f"{task.name}{PLAN_SUFFIX}"]
    if instance.problem in SOLUTION_FORMATS:
        names.append(f"{task.name}{SOLUTION_FORMATS[instance.problem][0]}")
    for name in names:
        write_plan(result.plan, task.out / name, instance)
    return tuple(names), _draw(task, task.out, instance, result.plan, history)


def _draw(task: Task, out: Path, instance: Instance, plan: Plan, history: History) -> str:
    from apportion.pictures import picture

    try:
        spec = picture(instance, plan)
    except Exception as error:  # noqa: BLE001 (a picture that cannot be drawn must not cost a checked plan)
        where = keep_traceback(out)
        history.log(f"no picture: {type(error).__name__}: {error}; the traceback is in {where}")
        return ""
    if spec is None:
        return ""
    name = f"{PICTURES}/{task.name}.vl.json"
    write_text(out / name, json.dumps(spec) + "\n")
    return name


class History:
    """Passes events on and remembers how the bounds came closer, thinned to a few hundred points."""

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self.points: list[tuple[float, float | str, float | str]] = []
        self._last: Event | None = None

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self._last = event
        if event.kind in (EventKind.INCUMBENT, EventKind.BOUND, EventKind.END):
            primal, dual = event.bounds.primal, event.bounds.dual
            self.points.append((round(event.time_s, 4), plain(primal), plain(dual)))
            if len(self.points) > _MOST_HISTORY:
                del self.points[1:-1:2]
        if self._listener is not None:
            self._listener(event)

    def log(self, message: str) -> None:
        """Say something after the end."""
        if self._listener is not None and self._last is not None:
            self._listener(Event(EventKind.LOG, self._last.time_s, self._last.bounds, message=message))


def keep_traceback(folder: Path | None = None) -> Path:
    """Write the traceback of the error at hand to a file of its own and return where it is."""
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exc()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(prefix="apportion-error-", suffix=".txt", dir=folder)
    with os.fdopen(handle, "w") as stream:
        traceback.print_exc(file=stream)
    return Path(path)


def is_plan_envelope(path: Path) -> bool:
    """Whether a JSON file is a plan as :func:`~apportion.instances.plans.write_plan` writes it."""
    head = _head(path)
    return re.match(r'\s*\{\s*"problem"\s*:\s*"[^"]*",\s*"instance"\s*:\s*"', head) is not None and '"plan"' in head
