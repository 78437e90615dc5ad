"""A strict look at the lines of an MPS file before HiGHS reads it.

HiGHS takes text for zero, makes columns out of misspelt names and drops entries of unknown rows. This scan
finds such lines, with their numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from apportion.instances.validation import FaultList

_SECTIONS = ("NAME", "OBJSENSE", "ROWS", "COLUMNS", "RHS", "RANGES", "BOUNDS", "QUADOBJ", "QMATRIX", "ENDATA")
_UNSUPPORTED = {
    "SOS": "special ordered sets",
    "SOS1": "special ordered sets",
    "SOS2": "special ordered sets",
    "SETS": "special ordered sets",
    "CSECTION": "cones",
    "QCMATRIX": "quadratic constraints",
    "QSECTION": "quadratic sections by row",
    "INDICATORS": "indicator constraints",
    "GENCONS": "general constraints",
    "PWLOBJ": "piecewise-linear objectives",
    "LAZYCONS": "lazy constraints",
    "USERCUTS": "user cuts",
    "OBJNAME": "a choice among objectives",
}
_SENSES = {"MIN", "MAX", "MINIMIZE", "MAXIMIZE", "MINIMISE", "MAXIMISE"}
_WITHOUT_VALUE = {"FR", "MI", "PL", "BV"}
_WITH_VALUE = {"UP", "LO", "FX", "LI", "UI"}
_FIELDS = ((1, 3), (4, 12), (14, 22), (24, 36), (39, 47), (49, 61))
_LARGEST = 1e20
_MOST_FAULTS = 20
_MOST_SHOWN = 40


class _TooManyFaultsError(Exception):
    """Enough is enough: the rest of the file need not be looked at."""


@dataclass
class MpsScan:
    """What was found: whether the card layout is used, and how large the program is."""

    fixed: bool = False
    rows: dict[str, str] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)

    @property
    def num_constraints(self) -> int:
        """Rows that constrain: all but those of type N."""
        return sum(kind != "N" for kind in self.rows.values())


def scan(text: str, source: str) -> MpsScan:
    """Check every line of ``text``; raise :class:`InstanceError` with the lines that are wrong."""
    lines = text.splitlines()
    scanner = _Scanner(FaultList(source), MpsScan(_has_spaced_names(lines)))
    try:
        scanner.run(lines)
    except _TooManyFaultsError:
        scanner.faults.add("", f"more than {_MOST_FAULTS} faults: the rest is left out")
    scanner.faults.raise_if_any()
    return scanner.found


def _has_spaced_names(lines: list[str]) -> bool:
    """Whether names of rows hold spaces, which only the card layout can carry."""
    inside = False
    for line in lines:
        if line[:1].strip() and line[0] != "*":
            if inside:
                return False
            inside = line.split()[0].upper() == "ROWS"
        elif inside and line[:1] != "*" and len(line.split()) > 2:
            return True
    return False


class _Scanner:
    """Walks the lines, one method for each section."""

    def __init__(self, faults: FaultList, found: MpsScan) -> None:
        self.faults = faults
        self.found = found
        self.section = ""
        self.seen: set[str] = set()
        self.line = 0
        self.column = ""
        self.entries: set[str] = set()
        self.set_names: dict[str, str] = {}
        self.given: set[tuple[str, ...]] = set()
        self.methods: dict[str, Callable[[list[str]], None]] = {
            "OBJSENSE": self.sense,
            "ROWS": self.row,
            "COLUMNS": self.entry,
            "RHS": self.right_hand_side,
            "RANGES": self.right_hand_side,
            "BOUNDS": self.bound,
            "QUADOBJ": self.quadratic,
            "QMATRIX": self.quadratic,
        }

    def fault(self, message: str, value: object = None, hint: str = "") -> None:
        """Record a fault at the present line."""
        shown = value[:_MOST_SHOWN] if isinstance(value, str) else value
        self.faults.add(f"line {self.line}", message, shown, hint)
        if len(self.faults.faults) >= _MOST_FAULTS:
            raise _TooManyFaultsError

    def run(self, lines: list[str]) -> None:
        """Check all lines up to ENDATA."""
        for number, line in enumerate(lines, 1):
            if not line.strip() or line[0] == "*":
                continue
            self.line = number
            if "\0" in line:
                self.fault("holds a zero byte")
            if line[0] not in " \t":
                self.header(line.split())
                if self.section == "ENDATA":
                    break
            else:
                self.data(line)
        self.line = len(lines)
        if self.section != "ENDATA":
            self.fault("the file ends without ENDATA", hint="it is truncated")
        for needed in ("ROWS", "COLUMNS"):
            if needed not in self.seen:
                self.fault(f"there is no section {needed}")

    def header(self, words: list[str]) -> None:
        """Enter a section."""
        section = words[0].upper()
        if section in _UNSUPPORTED:
            self.fault(f"{_UNSUPPORTED[section]} (section {section}) are not supported in MPS files")
        elif section not in _SECTIONS:
            self.fault("is not a section of an MPS file", words[0], f"one of {', '.join(_SECTIONS)}")
        elif words[0] != section:
            self.fault("names of sections are written in capitals", words[0])
        elif section in self.seen:
            self.fault(f"repeats the section {section}")
        if section == "COLUMNS" and "ROWS" not in self.seen:
            self.fault("COLUMNS comes before ROWS")
        if section in ("RHS", "RANGES", "BOUNDS", "QUADOBJ", "QMATRIX") and "COLUMNS" not in self.seen:
            self.fault(f"{section} comes before COLUMNS")
        if section == "OBJSENSE" and len(words) > 1:
            self.sense(words[1:])
        self.section = section
        self.seen.add(section)

    def data(self, line: str) -> None:
        """Check a line inside a section."""
        method = self.methods.get(self.section)
        if method is None:
            if self.section in _SECTIONS or not self.section:
                self.fault("stands in no section that has lines", line.strip())
            return
        spaced = self.found.fixed and self.section != "OBJSENSE"
        method([w for w in (line[a:b].strip() for a, b in _FIELDS) if w] if spaced else line.split())

    def sense(self, words: list[str]) -> None:
        """``MAX`` or ``MIN``."""
        if len(words) != 1 or words[0].upper() not in _SENSES:
            self.fault("the sense is MIN or MAX", " ".join(words))

    def row(self, words: list[str]) -> None:
        """``type name``."""
        if len(words) != 2:
            self.fault("a row has a type and a name", " ".join(words))
            return
        kind, name = words
        if kind not in ("N", "L", "G", "E"):
            self.fault("the type of a row is N, L, G or E", kind)
        if name in self.found.rows:
            self.fault("repeats the name of a row", name)
        self.found.rows[name] = kind

    def entry(self, words: list[str]) -> None:
        """``column row value [row value]``, or a marker."""
        if len(words) == 3 and words[1] == "'MARKER'":
            if words[2] not in ("'INTORG'", "'INTEND'"):
                self.fault("a marker is 'INTORG' or 'INTEND'", words[2])
            return
        if len(words) not in (3, 5):
            self.fault("needs a column and one or two pairs of a row and a number", " ".join(words))
            return
        if words[0] != self.column:
            if words[0] in self.found.columns:
                self.fault("returns to a column that ended before", words[0])
            self.column = words[0]
            self.found.columns.add(words[0])
            self.entries = set()
        for name, value in zip(words[1::2], words[2::2], strict=True):
            if name not in self.found.rows:
                self.fault("names no row", name)
            if name in self.entries:
                self.fault(f"gives column {words[0]} a second entry in row", name)
            self.entries.add(name)
            self.number(value, largest=_LARGEST)

    def right_hand_side(self, words: list[str]) -> None:
        """``[set] row value [row value]``."""
        if not 2 <= len(words) <= 5:
            self.fault("needs one or two pairs of a row and a number", " ".join(words))
            return
        pairs = words[len(words) % 2 :]
        self.one_set(words[0] if len(words) % 2 else "")
        for name, value in zip(pairs[::2], pairs[1::2], strict=True):
            if name not in self.found.rows:
                self.fault("names no row", name)
            self.once(self.section, name)
            self.number(value)

    def bound(self, words: list[str]) -> None:
        """``type [set] column [value]``."""
        kind = words[0].upper()
        if kind in ("SC", "SI"):
            self.fault("semi-continuous variables are not supported", hint="a binary variable and two rows")
            return
        if kind not in _WITH_VALUE | _WITHOUT_VALUE or kind != words[0]:
            self.fault("the type of a bound is UP LO FX FR MI PL BV LI or UI", words[0])
            return
        rest = words[1:]
        if kind in _WITHOUT_VALUE and len(rest) in (1, 2):
            name, value = rest[-1], None
        elif len(rest) in (2, 3):
            name, value = rest[-2], rest[-1]
        else:
            self.fault("needs a type, a column and, for most types, a number", " ".join(words))
            return
        self.one_set(rest[0] if len(rest) > 1 + (value is not None) else "")
        if name not in self.found.columns:
            self.fault("names no column", name)
        self.once("BOUNDS", kind, name)
        if value is not None:
            self.number(value, whole=kind in ("LI", "UI"))

    def quadratic(self, words: list[str]) -> None:
        """``column column value``."""
        if len(words) != 3:
            self.fault("needs two columns and a number", " ".join(words))
            return
        for name in words[:2]:
            if name not in self.found.columns:
                self.fault("names no column", name)
        self.once(self.section, *words[:2])
        self.number(words[2], largest=_LARGEST)

    def one_set(self, name: str) -> None:
        """Alternative sets of right-hand sides or bounds in one file are refused."""
        first = self.set_names.setdefault(self.section, name)
        if first != name:
            self.fault(f"is of another set than {first!r}", name, "keep one set of each kind in the file")

    def once(self, *key: str) -> None:
        """The same thing must not be said twice."""
        if key in self.given:
            self.fault(f"is given twice in {key[0]}", " ".join(key[1:]))
        self.given.add(key)

    def number(self, word: str, largest: float = math.inf, whole: bool = False) -> None:
        """A number that Python and C read alike."""
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if -largest < value < largest and not whole and "_" not in word:
            return
        value = math.nan if "_" in word else value
        if math.isnan(value):
            self.fault("is not a number", word)
        elif abs(value) >= largest < math.inf:
            self.fault(f"must be below {largest:g}", word)
        elif whole and value % 1.0 != 0.0:
            self.fault("must be a whole number", word)
