"""The rows and bounds of a program in groups that a modeller thinks in, and rules written out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import ModelError
from apportion.instances.program import MixedIntegerProgram
from apportion.models.algebra import Model

Positions = NDArray[np.int64]

_INDEX = re.compile(r"[\[(].*$")
_MOST_TERMS = 6


@dataclass(frozen=True, eq=False)
class Group:
    """Some rows, or the bounds of some columns, under one name. Binary variables' bounds belong to no group."""

    name: str
    rows: Positions
    columns: Positions


def groups_of_model(model: Model) -> list[Group]:
    """One group for each block of constraints, and one for the bounds of each block of variables."""
    none = np.zeros(0, np.int64)
    groups = [Group(name, np.arange(b.first, b.last), none) for name, b in model.constraints.items()]
    blocks = {name: np.arange(b.first, b.last) for name, b in model.variables.items()}
    return [*groups, *bound_groups(model.compile(), blocks)]


def groups_of_program(program: MixedIntegerProgram, rows: Mapping[str, Iterable[int]] | None = None) -> list[Group]:
    """Groups from ``rows`` (name -> row numbers), or from names: ``supply[3]`` belongs to ``supply``.

    Rows that ``rows`` leaves out make a group of their own, and so does each row without an index in its name.

    Raises
    ------
    ModelError
        When ``rows`` names a row that is not there, or one twice.
    """
    if rows is None:
        by_name = _by_prefix([program.row_name(i) for i in range(program.num_rows)])
    else:
        by_name = _checked(program, rows)
    none = np.zeros(0, np.int64)
    columns = _by_prefix([program.column_name(j) for j in range(program.num_columns)])
    return [*(Group(name, where, none) for name, where in by_name.items()), *bound_groups(program, columns)]


def bound_groups(program: MixedIntegerProgram, blocks: Mapping[str, Positions]) -> list[Group]:
    """Groups of the bounds that can be left out: finite ones of columns that are not binary."""
    binary = program.integer & (program.lower >= 0) & (program.upper <= 1)
    bounded = ~binary & (np.isfinite(program.lower) | np.isfinite(program.upper))
    none = np.zeros(0, np.int64)
    kept = {name: columns[bounded[columns]] for name, columns in blocks.items()}
    return [Group(f"bounds of {name}", none, columns) for name, columns in kept.items() if len(columns)]


def _by_prefix(names: list[str]) -> dict[str, Positions]:
    found: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        found.setdefault(_INDEX.sub("", name) or name, []).append(position)
    return {name: np.array(where, np.int64) for name, where in found.items()}


def _checked(program: MixedIntegerProgram, rows: Mapping[str, Iterable[int]]) -> dict[str, Positions]:
    groups = {name: np.array(list(where), np.int64) for name, where in rows.items()}
    taken = np.zeros(program.num_rows, np.int64)
    for name, where in groups.items():
        if len(where) and (where.min() < 0 or where.max() >= program.num_rows):
            raise ModelError(f"group {name!r}: row numbers must lie in 0..{program.num_rows - 1}")
        np.add.at(taken, where, 1)
    if taken.max(initial=0) > 1:
        raise ModelError(f"groups: row {program.row_name(int(taken.argmax()))} is in two of them")
    rest = np.flatnonzero(taken == 0)
    return {**groups, "other rows": rest} if len(rest) else groups


class Writer:
    """Writes rows and bounds of a program as a modeller would."""

    def __init__(self, program: MixedIntegerProgram) -> None:
        self._program = program
        matrix = program.matrix
        order = np.argsort(matrix.rows, kind="stable")
        columns = np.repeat(np.arange(program.num_columns), np.diff(matrix.starts))
        self._columns, self._values = columns[order], matrix.values[order]
        self._starts = np.concatenate(([0], np.cumsum(np.bincount(matrix.rows, minlength=program.num_rows))))

    def row(self, row: int) -> str:
        """``supply[3]: 2 ship[3,0] + ship[3,1] <= 30``."""
        program, where = self._program, slice(self._starts[row], self._starts[row + 1])
        terms = list(zip(self._values[where], self._columns[where], strict=True))
        shown = [_term(float(value), program.column_name(int(j))) for value, j in terms[:_MOST_TERMS]]
        text = " ".join(shown).removeprefix("+ ") or "0"
        if len(terms) > _MOST_TERMS:
            text += f" + ... ({len(terms)} terms)"
        return f"{program.row_name(row)}: {_ranged(text, program.row_lower[row], program.row_upper[row])}"

    def bounds(self, column: int) -> str:
        """``0 <= ship[3,1] <= 12``."""
        program = self._program
        return _ranged(program.column_name(column), program.lower[column], program.upper[column])


def _term(value: float, name: str) -> str:
    size = "" if abs(value) == 1.0 else f"{abs(value):g} "
    return f"{'-' if value < 0 else '+'} {size}{name}"


def _ranged(text: str, lower: float, upper: float) -> str:
    if lower == upper:
        return f"{text} = {lower:g}"
    low = f"{lower:g} <= " if np.isfinite(lower) and np.isfinite(upper) else ""
    if low or np.isfinite(upper):
        return f"{low}{text} <= {upper:g}"
    return f"{text} >= {lower:g}" if np.isfinite(lower) else f"{text} is free"
