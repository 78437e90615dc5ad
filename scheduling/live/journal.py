"""The write-ahead journal: what was decided, why, and what became of it. SQLite in WAL mode.

The cluster is the truth; the journal is for people and for the moment after a crash. When it cannot be written (a full
disk), entries are kept in memory, the loop goes on, and writing is tried again with every round.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from apportion.instances.errors import ApportionError
from apportion.scheduling.live.adapter import Action, Outcome, Verb

KEPT_S = 14 * 86_400.0
"""Entries older than this are deleted when the journal is opened."""
_IN_MEMORY = 20_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    number INTEGER PRIMARY KEY,
    at_s REAL NOT NULL,
    round INTEGER NOT NULL,
    verb TEXT NOT NULL,
    job TEXT NOT NULL,
    generation INTEGER NOT NULL,
    nodes TEXT NOT NULL,
    gpus TEXT NOT NULL,
    reason TEXT NOT NULL,
    status TEXT,
    answer TEXT
);
CREATE INDEX IF NOT EXISTS entry_open ON entry (number) WHERE status IS NULL;
CREATE INDEX IF NOT EXISTS entry_job ON entry (job);
"""


class JournalError(ApportionError, RuntimeError):
    """The journal cannot be opened, or another scheduler holds it."""


@dataclass(frozen=True)
class Entry:
    """One line of the journal; ``status`` is None while nobody knows what became of the action."""

    number: int
    at_s: float
    round: int
    action: Action
    status: str | None = None
    answer: str | None = None


@dataclass
class _Pending:
    number: int
    at_s: float
    round: int
    action: Action
    status: str | None = None
    answer: str | None = None


class Journal:
    """Records decisions before they are carried out.

    Parameters
    ----------
    path
        The file; None keeps entries in memory only.

    Raises
    ------
    JournalError
        When the file is no journal, cannot be opened, or another process has it open.

    Examples
    --------
    >>> journal = Journal(None)
    >>> numbers = journal.intend(1, 0.0, [Action(Verb.START, "7", 0, ("a100-1",), text="fits")])
    >>> journal.open_entries()[0].action.key
    'start 7.0 a100-1'
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.trouble = ""
        self._lock: IO[str] | None = None
        self._database: sqlite3.Connection | None = None
        self._unwritten: deque[_Pending] = deque(maxlen=_IN_MEMORY)
        self._next = 1
        if path is not None:
            self._lock = _locked(path)
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            self._database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.executescript(_SCHEMA)
            (last,) = self._database.execute("SELECT coalesce(max(number), 0) FROM entry").fetchone()
        except sqlite3.Error as error:
            self.close()
            raise JournalError(f"{path}: {error}\nMaybe name another file with --journal") from error
        self._next = int(last) + 1

    def close(self) -> None:
        """Close the file and give up the lock."""
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def forget_before(self, at_s: float) -> None:
        """Delete entries older than ``at_s``."""
        self._attempt([("DELETE FROM entry WHERE at_s < ? AND status IS NOT NULL", (at_s,))])

    def intend(self, round_number: int, at_s: float, actions: Sequence[Action]) -> list[int]:
        """Write down what is about to be done, in one transaction; returns the numbers of the entries."""
        entries = [_Pending(self._next + i, at_s, round_number, action) for i, action in enumerate(actions)]
        self._next += len(entries)
        self._write(entries)
        return [entry.number for entry in entries]

    def record(self, numbers: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        """Write down what became of it."""
        waiting = {entry.number: entry for entry in self._unwritten}
        statements: list[tuple[str, tuple[object, ...]]] = []
        for number, outcome in zip(numbers, outcomes, strict=True):
            if number in waiting:
                waiting[number].status, waiting[number].answer = str(outcome.status), outcome.text
            else:
                statement = "UPDATE entry SET status = ?, answer = ? WHERE number = ?"
                statements.append((statement, (str(outcome.status), outcome.text, number)))
        if self._database is not None and (statements or self._unwritten):
            self._flush(statements)

    def entries(self, job: str | None = None, most: int = 1000) -> list[Entry]:
        """The newest entries, oldest first, perhaps of one job."""
        where, values = ("WHERE job = ?", (job,)) if job is not None else ("", ())
        found = self._select(f"{where} ORDER BY number DESC LIMIT {int(most)}", values)
        memory = [_frozen(entry) for entry in self._unwritten if job in (None, entry.action.job)]
        return sorted([*found, *memory], key=lambda entry: entry.number)[-most:]

    def open_entries(self) -> list[Entry]:
        """Actions of which nobody knows what became of them: after a crash, those that were under way."""
        found = self._select("WHERE status IS NULL ORDER BY number", ())
        return [*found, *(_frozen(entry) for entry in self._unwritten if entry.status is None)]

    def _select(self, tail: str, values: tuple[object, ...]) -> list[Entry]:
        if self._database is None:
            return []
        columns = "number, at_s, round, verb, job, generation, nodes, gpus, reason, status, answer"
        try:
            rows = self._database.execute(f"SELECT {columns} FROM entry {tail}", values).fetchall()  # noqa: S608
        except sqlite3.Error as error:
            self.trouble = str(error)
            return []
        return [_entry(row) for row in rows]

    def _write(self, entries: Sequence[_Pending]) -> None:
        self._unwritten.extend(entries)
        if self._database is not None:
            self._flush([])

    def _flush(self, statements: list[tuple[str, tuple[object, ...]]]) -> None:
        """Everything that memory still holds, then ``statements``; what fails stays in memory."""
        inserts = [("INSERT INTO entry VALUES (?,?,?,?,?,?,?,?,?,?,?)", _row(entry)) for entry in self._unwritten]
        if self._attempt([*inserts, *statements]):
            self._unwritten.clear()

    def _attempt(self, statements: Sequence[tuple[str, tuple[object, ...]]]) -> bool:
        database = self._database
        if database is None:
            return False
        try:
            database.execute("BEGIN IMMEDIATE")
            for statement, values in statements:
                database.execute(statement, values)
            database.execute("COMMIT")
        except sqlite3.Error as error:
            self.trouble = str(error)
            if database.in_transaction:
                database.rollback()
            return False
        self.trouble = ""
        return True


def _locked(path: Path) -> IO[str]:
    """An exclusive lock that dies with the process: two schedulers never share a journal."""
    try:
        lock = Path(f"{path}.lock").open("w", encoding="utf-8")  # noqa: SIM115 (held until the journal is closed)
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}\nMaybe name another file with --journal") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        message = f"{path}: another scheduler has this journal open"
        raise JournalError(f"{message}\nMaybe stop it first, or name another file with --journal") from error
    return lock


def _row(entry: _Pending) -> tuple[object, ...]:
    action = entry.action
    gpus = ";".join(",".join(map(str, numbers)) for numbers in action.gpus)
    where = (",".join(action.nodes), gpus, action.text, entry.status, entry.answer)
    return (entry.number, entry.at_s, entry.round, str(action.verb), action.job, action.generation, *where)


def _entry(row: Sequence[object]) -> Entry:
    number, at_s, round_number, verb, job, generation, nodes, gpus, reason, status, answer = map(str, row)
    placed = tuple(nodes.split(",")) if nodes else ()
    numbers = tuple(tuple(int(n) for n in part.split(",") if n) for part in gpus.split(";")) if gpus else ()
    action = Action(Verb(verb), job, int(generation), placed, numbers, reason)
    known = row[9] is not None
    return Entry(
        int(number), float(at_s), int(round_number), action, status if known else None, answer if known else None
    )


def _frozen(entry: _Pending) -> Entry:
    return Entry(entry.number, entry.at_s, entry.round, entry.action, entry.status, entry.answer)
