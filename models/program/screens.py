"""What rules a program out at a glance: bounds that leave no value, a row that its variables cannot meet."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.models.explaining import Finding
from apportion.models.program.exact import columns_of

Positions = NDArray[np.int64]

_TOLERANCE = 1e-6
_MOST_FINDINGS = 20
_LARGEST_WHOLE = 2.0**52


@dataclass(frozen=True, eq=False)
class Screened:
    """Findings, and for each the rows and the columns whose bounds it rests on."""

    findings: tuple[Finding, ...]
    rows: tuple[Positions, ...]
    columns: tuple[Positions, ...]


def screen(program: MixedIntegerProgram) -> Screened:
    """Look at each column and each row by itself. Nothing found does not mean that there is a plan."""
    found = [*_crossed_columns(program), *_crossed_rows(program)]
    if not found:
        found = [*_out_of_reach(program), *_indivisible(program)]
    found = found[:_MOST_FINDINGS]
    return Screened(tuple(f for f, _, _ in found), tuple(r for _, r, _ in found), tuple(c for _, _, c in found))


Entry = tuple[Finding, Positions, Positions]
_NONE = np.zeros(0, np.int64)


def _crossed_columns(program: MixedIntegerProgram) -> list[Entry]:
    lower, upper = program.lower, program.upper
    found: list[Entry] = []
    with np.errstate(invalid="ignore"):
        empty = lower > upper + _TOLERANCE * np.maximum(1.0, np.minimum(np.abs(lower), np.abs(upper)))
        holes = program.integer & ~empty & (np.ceil(lower - _TOLERANCE) > np.floor(upper + _TOLERANCE))
    empty |= np.isposinf(lower) | np.isneginf(upper)
    for j in np.flatnonzero(empty | holes):
        kind = "whole number" if holes[j] else "value"
        name = program.column_name(int(j))
        text = f"{name} has no {kind} between its lower bound {lower[j]:g} and its upper bound {upper[j]:g}"
        found.append((Finding(text, name, float(lower[j] - upper[j])), _NONE, np.array([j])))
    return found


def _crossed_rows(program: MixedIntegerProgram) -> list[Entry]:
    lower, upper = program.row_lower, program.row_upper
    empty = lower > upper + _TOLERANCE * np.maximum(1.0, np.minimum(np.abs(lower), np.abs(upper)))
    empty |= np.isposinf(lower) | np.isneginf(upper)
    found: list[Entry] = []
    for i in np.flatnonzero(empty):
        name = program.row_name(int(i))
        text = f"{name} must be at least {lower[i]:g} and at most {upper[i]:g}"
        found.append((Finding(text, name, float(lower[i] - upper[i])), np.array([i]), _NONE))
    return found


def reach(program: MixedIntegerProgram) -> tuple[Floats, Floats]:
    """The least and the most that each row can be within the bounds of its columns, shape (m,) each."""
    columns, rows, values = columns_of(program.matrix), program.matrix.rows, program.matrix.values
    used = values != 0.0
    columns, rows, values = columns[used], rows[used], values[used]
    upwards = values > 0.0
    with np.errstate(over="ignore"):
        least = values * np.where(upwards, program.lower[columns], program.upper[columns])
        most = values * np.where(upwards, program.upper[columns], program.lower[columns])
    size = program.num_rows
    return np.bincount(rows, least, size).astype(np.float64), np.bincount(rows, most, size).astype(np.float64)


def _out_of_reach(program: MixedIntegerProgram) -> list[Entry]:
    least, most = reach(program)
    short = program.row_lower - most
    excess = least - program.row_upper
    found: list[Entry] = []
    for amount, side, limit, words in (
        (short, program.row_lower, most, ("at least", "at most")),
        (excess, program.row_upper, least, ("at most", "at least")),
    ):
        with np.errstate(invalid="ignore"):
            broken = np.isfinite(amount) & (amount > _TOLERANCE * np.maximum(1.0, np.abs(side)))
        for i in np.flatnonzero(broken):
            name = program.row_name(int(i))
            text = (
                f"{name} must be {words[0]} {side[i]:g}, and within the bounds of its variables it is "
                f"{words[1]} {limit[i]:g}: {amount[i]:g} are missing"
            )
            found.append((Finding(text, name, float(amount[i])), np.array([i]), _columns_in(program, int(i))))
    return found


def _columns_in(program: MixedIntegerProgram, row: int) -> Positions:
    return np.unique(columns_of(program.matrix)[program.matrix.rows == row])


def _indivisible(program: MixedIntegerProgram) -> list[Entry]:
    """Equations between whole numbers whose right-hand side their common divisor does not divide."""
    matrix = program.matrix
    columns = columns_of(matrix)
    whole = (matrix.values == np.rint(matrix.values)) & (np.abs(matrix.values) < _LARGEST_WHOLE)
    fit = np.ones(program.num_rows, np.bool_)
    fit[matrix.rows[~(program.integer[columns] & whole)]] = False
    fit &= (program.row_lower == program.row_upper) & (np.abs(program.row_lower) < _LARGEST_WHOLE)
    kept = fit[matrix.rows] & (matrix.values != 0.0)
    divisors = np.zeros(program.num_rows, np.int64)
    np.gcd.at(divisors, matrix.rows[kept], np.abs(matrix.values[kept]).astype(np.int64))
    found: list[Entry] = []
    for i in np.flatnonzero(divisors > 1):
        side, divisor = float(program.row_lower[i]), int(divisors[i])
        if side != round(side) or gcd(int(side), divisor) != divisor:
            name = program.row_name(int(i))
            text = f"{name}: its left side is a multiple of {divisor} for whole numbers and must be {side:g}"
            found.append((Finding(text, name, 0.0), np.array([i]), _NONE))
    return found
