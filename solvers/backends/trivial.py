"""Programs that need no solver: without columns, or with a bound that contradicts itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.status import Bounds, Status

_EMPTY_RANGE = 1e-9


def trivial_answer(program: MixedIntegerProgram) -> BackendAnswer | None:
    """Answer a program that has no columns or an empty range; None when a solver is needed."""
    conflict = empty_range(program)
    if conflict:
        return BackendAnswer(Status.INFEASIBLE, Bounds.unknown(program.sense), native_status=conflict)
    if program.num_columns:
        return None
    duals = np.zeros(program.num_rows)
    bounds = Bounds(program.offset, program.offset)
    return BackendAnswer(Status.OPTIMAL, bounds, None, np.zeros(0), duals, np.zeros(0), {}, "no columns")


def empty_range(program: MixedIntegerProgram) -> str:
    """Name the first column or row whose bounds leave no value, or an empty string."""
    column = _first_empty(program.lower, program.upper, program.integer)
    if column is not None:
        name = program.column_name(column)
        return f"variable {name} has no value between {program.lower[column]:g} and {program.upper[column]:g}"
    row = _first_empty(program.row_lower, program.row_upper)
    if row is not None:
        name = program.row_name(row)
        return f"row {name} has no value between {program.row_lower[row]:g} and {program.row_upper[row]:g}"
    return _empty_rows(program, program.row_name)


def _first_empty(lower: Floats, upper: Floats, integer: np.ndarray | None = None) -> int | None:
    slack = _EMPTY_RANGE * np.maximum(1.0, np.minimum(np.abs(lower), np.abs(upper)))
    finite = np.isfinite(slack)
    crossed = lower > upper + np.where(finite, slack, 0.0)
    impossible = crossed | np.isposinf(lower) | np.isneginf(upper)
    if integer is not None:
        tolerance = 1e-6
        with np.errstate(invalid="ignore"):
            impossible |= integer & (np.ceil(lower - tolerance) > np.floor(upper + tolerance))
    where = np.flatnonzero(impossible)
    return int(where[0]) if len(where) else None


def _empty_rows(program: MixedIntegerProgram, name_of: Callable[[int], str]) -> str:
    """A row without entries whose range leaves out zero."""
    if not program.num_rows:
        return ""
    used = np.zeros(program.num_rows, np.bool_)
    used[program.matrix.rows[program.matrix.values != 0.0]] = True
    broken = ~used & ((program.row_lower > _EMPTY_RANGE) | (program.row_upper < -_EMPTY_RANGE))
    where = np.flatnonzero(broken)
    if not len(where):
        return ""
    row = int(where[0])
    return (
        f"row {name_of(row)} has no entries and must lie between {program.row_lower[row]:g} "
        f"and {program.row_upper[row]:g}"
    )
