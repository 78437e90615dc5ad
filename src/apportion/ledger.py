"""The record of a batch: one JSON line per instance that ended, keyed so that a batch resumes after any death."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from apportion.instances.core import Json
from apportion.solvers.result import Agreement
from apportion.solvers.status import Limit, Status

PLAN_CHECKED, NO_PLAN, USAGE, INFEASIBLE, BAD_FILE, MISSING_BACKEND, FAILED_CHECK, INTERNAL = 0, 1, 2, 3, 4, 5, 6, 70
"""Exit codes; a batch returns the largest that applies."""

_RETRIED = frozenset({MISSING_BACKEND, INTERNAL})


@dataclass(frozen=True)
class Row:
    """How one instance ended.

    ``key`` is the hash of the instance's file and of the options; ``result`` the JSON form of the result without its
    plan, or None when there is none, and then ``reason`` says why; ``files`` are the names of what was written.
    """

    name: str
    file: str
    key: str
    exit_code: int
    reason: str = ""
    result: Json | None = None
    files: tuple[str, ...] = ()
    picture: str = ""
    history: tuple[tuple[float, float | str, float | str], ...] = field(default=())

    @property
    def identity(self) -> tuple[str, str]:
        """What makes it the same row: equal files under two names are two rows."""
        return (self.key, self.name)

    @property
    def is_final(self) -> bool:
        """Whether a resumed batch may skip this instance: nothing interrupted it, and trying again is in vain."""
        if self.exit_code in _RETRIED or (self.result is None and self.exit_code == NO_PLAN):
            return False
        return self.result is None or self.result["limit"] != Limit.INTERRUPTED

    def to_dict(self) -> Json:
        """JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Json) -> Row:
        """Rebuild from :meth:`to_dict`; raise KeyError, TypeError or ValueError when it cannot be."""
        values = {**data, "files": tuple(data["files"]), "history": tuple(tuple(h) for h in data["history"])}
        row = cls(**values)
        if not (isinstance(row.key, str) and isinstance(row.exit_code, int)):
            raise TypeError("a row needs a key and an exit code")
        return row


def exit_code_of(result: Json) -> int:
    """The exit code of one result in its JSON form."""
    status = result["status"]
    if Status(status).has_plan:
        return PLAN_CHECKED
    if status == Status.NO_SOLUTION:
        return NO_PLAN
    if status == Status.ERROR:
        opinion = result.get("second_opinion")
        if opinion is not None and opinion["agreement"] == Agreement.CONTRADICTED:
            return FAILED_CHECK
        verdict = result["verdict"]
        return FAILED_CHECK if verdict is not None and result["message"] else INTERNAL
    return INFEASIBLE


class Ledger:
    """An append-only file of rows that survives being killed in the middle of a line.

    Each row is one ``write`` of one whole line, flushed to the disk; a line that cannot be read is passed over, and
    the next row begins on a line of its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> dict[tuple[str, str], Row]:
        """The last row of each identity, in the order of the file."""
        return _rows_of([self.path])

    def append(self, row: Row) -> None:
        """Add one row."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(row.to_dict(), allow_nan=False).encode() + b"\n"
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.lseek(handle, 0, os.SEEK_END)
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            _write_all(handle, b"\n" + line if torn else line)
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_all(handle: int, content: bytes) -> None:
    while content:
        content = content[os.write(handle, content) :]


def rows_in(folder: Path) -> dict[tuple[str, str], Row]:
    """The last row of each identity over every ledger of a folder: shards write one each."""
    return _rows_of(sorted(folder.glob("ledger*.jsonl")))


def _rows_of(paths: Iterable[Path]) -> dict[tuple[str, str], Row]:
    found: dict[tuple[str, str], Row] = {}
    for path in paths:
        if not path.exists():
            continue
        for line in path.read_bytes().split(b"\n"):
            row = _row_of(line)
            if row is not None:
                found.pop(row.identity, None)
                found[row.identity] = row
    return found


def _row_of(line: bytes) -> Row | None:
    try:
        data: Any = json.loads(line)
        return Row.from_dict(data)
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError):
        return None
