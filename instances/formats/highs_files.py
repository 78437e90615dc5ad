"""HiGHS as the reader and writer of MPS and LP files, silenced, its complaints turned into faults."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highspy
import numpy as np

from apportion.instances.core import Sense
from apportion.instances.errors import Fault, InstanceError
from apportion.instances.program import MixedIntegerProgram, SparseColumns
from apportion.instances.validation import FaultList

_PLACE = re.compile(r"--> .*?:(\d+):(\d+)")
_HELP = re.compile(r"= help: (.*)")
_MOST_COMPLAINTS = 10
_PARSER_ERROR = "Parser error reading"


@dataclass(frozen=True)
class _Complaint:
    """What HiGHS said about a file, with its place where it gave one."""

    is_error: bool
    text: str

    def fault(self) -> Fault:
        place, advice = _PLACE.search(self.text), _HELP.search(self.text)
        message = self.text.splitlines()[0].removeprefix("ERROR:").removeprefix("WARNING:").strip()
        where = f"line {place.group(1)}, column {place.group(2)}" if place else ""
        return Fault(where, message, hint=advice.group(1) if advice else "")


def quiet_solver() -> Any:
    """A solver that prints neither banner nor log."""
    solver = highspy._core._Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("log_to_console", False)
    return solver


def read_with_highs(text: str, suffix: str, source: str, name: str, fixed: bool = False) -> MixedIntegerProgram:
    """Let HiGHS parse ``text``.

    Parameters
    ----------
    text
        The content of the file.
    suffix
        ``".mps"`` or ``".lp"``.
    source, name
        What errors call the file, and what the program is called.
    fixed
        Read MPS by the columns of the punched card, for names with spaces.

    Raises
    ------
    InstanceError
        When HiGHS refuses the file, leaves a part of it out, or reads what a program cannot hold.
    """
    solver = quiet_solver()
    complaints: list[_Complaint] = []
    _listen(solver, complaints)
    if fixed:
        solver.setOptionValue("mps_parser_type_free", False)
    with tempfile.TemporaryDirectory(prefix="apportion-") as folder:
        file = Path(folder) / f"model{suffix}"
        file.write_text(text, encoding="utf-8", errors="replace")
        status = solver.readModel(str(file))
    solver.stopCallback(highspy.cb.HighsCallbackType.kCallbackLogging)
    refused = status == highspy.HighsStatus.kError
    bad = [c for c in complaints if (c.is_error and _PARSER_ERROR not in c.text) or " ignored" in c.text]
    if refused or bad:
        faults = [c.fault() for c in bad[:_MOST_COMPLAINTS]]
        raise InstanceError(source, faults or [Fault("", "cannot be parsed by HiGHS, which gives no reason")])
    try:
        return _program_of(solver, source, name)
    except UnicodeDecodeError as error:
        raise InstanceError(source, [Fault("", "cuts a name in the middle of a character")]) from error


def _listen(solver: Any, complaints: list[_Complaint]) -> None:
    kinds = highspy._core.HighsLogType

    def heard(_kind: int, message: str, out: Any, _back: Any, _data: object) -> None:
        if out.log_type in (kinds.kError, kinds.kWarning):
            complaints.append(_Complaint(out.log_type == kinds.kError, message))

    solver.setOptionValue("output_flag", True)
    solver.setCallback(heard, None)
    solver.startCallback(highspy.cb.HighsCallbackType.kCallbackLogging)


def _program_of(solver: Any, source: str, name: str) -> MixedIntegerProgram:
    lp = solver.getLp()
    faults = FaultList(source)
    cost = np.array(lp.col_cost_, np.float64)
    columns, rows = _names(lp.col_names_, lp.num_col_, "x"), _names(lp.row_names_, lp.num_row_, "r")
    faults.unique("variables", columns)
    faults.unique("constraints", rows)
    for j in np.flatnonzero(~np.isfinite(cost)).tolist():
        faults.add(f"variable {columns[j]}", "its cost must be a finite number below 1e20", float(cost[j]))
    integer = np.zeros(lp.num_col_, np.bool_)
    for j, kind in enumerate(lp.integrality_):
        integer[j] = kind == highspy.HighsVarType.kInteger
        if kind not in (highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous):
            message = "is semi-continuous, which is not supported"
            faults.add(f"variable {columns[j]}", message, hint="write it with a binary variable and two rows")
    lower, upper = np.array(lp.col_lower_, np.float64), np.array(lp.col_upper_, np.float64)
    row_lower, row_upper = np.array(lp.row_lower_, np.float64), np.array(lp.row_upper_, np.float64)
    _check_bounds(faults, "variable", columns, lower, upper)
    _check_bounds(faults, "constraint", rows, row_lower, row_upper)
    matrix = lp.a_matrix_
    coefficients = np.array(matrix.value_, np.float64)
    faults.require(bool(np.all(np.isfinite(coefficients))), "matrix", "a coefficient is not a finite number")
    faults.require(bool(np.isfinite(lp.offset_)), "objective", "its constant is not a finite number", lp.offset_)
    faults.raise_if_any()
    return MixedIntegerProgram(
        name=name,
        sense=Sense.MAXIMISE if lp.sense_ == highspy.ObjSense.kMaximize else Sense.MINIMISE,
        cost=cost,
        matrix=SparseColumns(
            np.array(matrix.start_, np.int32)[: lp.num_col_ + 1], np.array(matrix.index_, np.int32), coefficients
        ),
        row_lower=row_lower,
        row_upper=row_upper,
        lower=lower,
        upper=upper,
        integer=integer,
        offset=float(lp.offset_),
        hessian=_hessian_of(solver.getModel().hessian_, lp.num_col_, source),
        column_names=columns,
        row_names=rows,
    )


def _names(names: Iterable[str], count: int, letter: str) -> tuple[str, ...]:
    found = tuple(names)
    return found if len(found) == count else tuple(f"{letter}{k}" for k in range(count))


def _check_bounds(faults: FaultList, kind: str, names: tuple[str, ...], lower: Any, upper: Any) -> None:
    for j in np.flatnonzero((lower > upper) | (lower == np.inf) | (upper == -np.inf)).tolist():
        hint = "the file means a lower bound of -inf; then say so" if lower[j] == 0 > upper[j] else ""
        faults.add(f"{kind} {names[j]}", "its bounds cross", (float(lower[j]), float(upper[j])), hint)


def _hessian_of(hessian: Any, num_columns: int, source: str) -> SparseColumns | None:
    """The lower triangle without the zeros that HiGHS puts on the diagonal; None when nothing is left."""
    values = np.array(hessian.value_, np.float64)
    if hessian.dim_ == 0 or not values.any():
        return None
    if not np.all(np.isfinite(values)):
        raise InstanceError(source, [Fault("quadratic objective", "a coefficient is not a finite number")])
    starts = np.array(hessian.start_, np.int64)
    column = np.repeat(np.arange(hessian.dim_), np.diff(starts))
    kept = np.flatnonzero(values)
    counts = np.bincount(column[kept], minlength=num_columns)
    rows = np.array(hessian.index_, np.int32)[kept]
    return SparseColumns(np.concatenate(([0], np.cumsum(counts))).astype(np.int32), rows, values[kept])


def write_with_highs(program: MixedIntegerProgram, suffix: str, columns: tuple[str, ...], rows: tuple[str, ...]) -> str:
    """Let HiGHS write ``program`` with the names given.

    Raises
    ------
    InstanceError
        For what the format cannot hold (ordered sets, indicators), or when HiGHS refuses.
    """
    faults = FaultList(program.name)
    advice = "write a .json plan or solve it with a backend that takes them"
    faults.require(not program.ordered_sets, "ordered_sets", f"cannot be written to {suffix} files", hint=advice)
    faults.require(not program.indicators, "indicators", f"cannot be written to {suffix} files", hint=advice)
    faults.raise_if_any()
    solver = quiet_solver()
    passed = solver.passModel(_lp_of(program, columns, rows))
    hessian = program.hessian
    if hessian is not None and hessian.num_nonzeros and passed != highspy.HighsStatus.kError:
        triangular = int(highspy.HessianFormat.kTriangular)
        passed = solver.passHessian(
            program.num_columns, hessian.num_nonzeros, triangular, hessian.starts[:-1], hessian.rows, hessian.values
        )
    with tempfile.TemporaryDirectory(prefix="apportion-") as folder:
        file = Path(folder) / f"model{suffix}"
        written = solver.writeModel(str(file)) if passed != highspy.HighsStatus.kError else passed
        if written == highspy.HighsStatus.kError:
            raise InstanceError(program.name, [Fault("", f"HiGHS cannot write it as a {suffix} file")])
        return file.read_text(encoding="utf-8")


def _lp_of(program: MixedIntegerProgram, columns: tuple[str, ...], rows: tuple[str, ...]) -> Any:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = program.num_columns, program.num_rows
    lp.sense_ = highspy.ObjSense.kMinimize if program.sense is Sense.MINIMISE else highspy.ObjSense.kMaximize
    lp.offset_, lp.model_name_ = program.offset, "_".join(program.name.split()) or "program"
    # a fractional bound of an integer column would be ignored on reading
    lp.col_cost_ = program.cost
    lp.col_lower_ = np.where(program.integer, np.ceil(program.lower), program.lower)
    lp.col_upper_ = np.where(program.integer, np.floor(program.upper), program.upper)
    lp.row_lower_, lp.row_upper_ = program.row_lower, program.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = program.num_columns, program.num_rows
    lp.a_matrix_.start_, lp.a_matrix_.index_ = program.matrix.starts, program.matrix.rows
    lp.a_matrix_.value_ = program.matrix.values
    if program.integer.any():
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(flag)] for flag in program.integer]
    lp.col_names_, lp.row_names_ = list(columns), list(rows)
    return lp


def usable_names(names: Iterable[str], letter: str, forbidden: re.Pattern[str]) -> tuple[str, ...]:
    """``names`` with forbidden characters replaced by ``_``; plain numbered ones where that makes two alike."""
    replaced = tuple(forbidden.sub("_", name) for name in names)
    if len(set(replaced)) == len(replaced) and all(replaced):
        return replaced
    return tuple(f"{letter}{k}" for k in range(len(replaced)))
