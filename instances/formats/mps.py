"""MPS, the oldest format of linear programs, and the solution files of HiGHS that go with it.

HiGHS reads and writes; a scan before it finds what HiGHS would silently take for something else. Quadratic
objectives (``QUADOBJ``, ``QMATRIX``), ranges, integer markers and bounds of every kind are understood; ordered
sets, indicators, cones and semi-continuous variables are refused.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from apportion.instances.errors import Fault, InstanceError, PlanError
from apportion.instances.formats.mps_syntax import scan
from apportion.instances.program import MixedIntegerProgram, VariableValues

if TYPE_CHECKING:
    from apportion.instances.reading import Source

_BLANK = re.compile(r"\s")
_STATUS_LINES = {"Feasible", "Infeasible", "None"}


def parse(text: str, source: Source) -> MixedIntegerProgram:
    """Read an MPS file, free or fixed; extra rows of type N are left out."""
    found = scan(text, str(source.path))
    from apportion.instances.formats.highs_files import read_with_highs

    program = read_with_highs(text, ".mps", str(source.path), source.name, found.fixed)
    sizes = (program.num_rows, program.num_columns)
    if sizes != (found.num_constraints, len(found.columns)):
        expected = f"{found.num_constraints} rows and {len(found.columns)} columns"
        raise InstanceError(str(source.path), [Fault("", f"has {expected}, HiGHS reads another number", sizes)])
    return program


def render(program: MixedIntegerProgram) -> str:
    """Write an MPS file. Blanks in names become ``_``; rows without bounds become type N and are lost on reading."""
    from apportion.instances.formats.highs_files import usable_names, write_with_highs

    columns = usable_names(map(program.column_name, range(program.num_columns)), "x", _BLANK)
    rows = usable_names(map(program.row_name, range(program.num_rows)), "r", _BLANK)
    return write_with_highs(program, ".mps", columns, rows)


def parse_plan(text: str, program: MixedIntegerProgram) -> VariableValues:
    """Read the primal values of a solution file as HiGHS writes it (``# Columns n`` and a name and value a line).

    Raises
    ------
    PlanError
        When there is no primal part, a value is not a number, or a name belongs to no variable.
    """
    lines = text.splitlines()
    first = next((k for k, line in enumerate(lines) if line.startswith("# Columns")), None)
    if first is None:
        raise PlanError(program.name, [Fault("", "has no line '# Columns n' of a HiGHS solution file")])
    try:
        count = int(lines[first].split()[2])
    except (IndexError, ValueError) as error:
        raise PlanError(program.name, [Fault(f"line {first + 1}", "must be '# Columns n'", lines[first])]) from error
    known = {program.column_name(j) for j in range(program.num_columns)}
    values: dict[str, float] = {}
    faults: list[Fault] = []
    for number, line in enumerate(lines[first + 1 : first + 1 + max(count, 0)], first + 2):
        name, _, word = line.strip().rpartition(" ")
        fault = _plan_fault(name.strip(), word, known, values)
        if fault:
            faults.append(Fault(f"line {number}", fault, line))
        else:
            values[name.strip()] = float(word)
    if not faults and len(values) != count:
        faults.append(Fault(f"line {len(lines)}", f"{count} columns are announced, {len(values)} are there"))
    if faults:
        raise PlanError(program.name, faults[:10])
    return VariableValues({name: value for name, value in values.items() if value != 0.0})


def _plan_fault(name: str, word: str, known: set[str], values: dict[str, float]) -> str:
    try:
        finite = math.isfinite(float(word))
    except ValueError:
        finite = False
    if not finite:
        return "must be a name and a finite number"
    if name not in known:
        return "names no variable of this program"
    return "gives a variable twice" if name in values else ""


def render_plan(program: MixedIntegerProgram, plan: VariableValues) -> str:
    """Write a solution file in the layout of HiGHS, with objective, columns and rows."""
    values = plan.to_array(program)
    matrix = program.matrix
    column = np.repeat(np.arange(program.num_columns), np.diff(matrix.starts))
    rows = np.bincount(matrix.rows, matrix.values * values[column], program.num_rows)
    objective = program.offset + float(program.cost @ values) + _quadratic_part(program, values)
    lines = ["Model status", "Unknown", "", "# Primal solution values", "Feasible", f"Objective {objective:.17g}"]
    lines.append(f"# Columns {program.num_columns}")
    lines += [f"{program.column_name(j)} {float(values[j]):.17g}" for j in range(program.num_columns)]
    lines.append(f"# Rows {program.num_rows}")
    lines += [f"{program.row_name(i)} {float(rows[i]):.17g}" for i in range(program.num_rows)]
    return "\n".join([*lines, "", "# Dual solution values", "None", "", "# Basis", "HiGHS v1", "None", ""])


def _quadratic_part(program: MixedIntegerProgram, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    if program.hessian is None:
        return 0.0
    second, entries = program.hessian.rows, program.hessian.values
    first = np.repeat(np.arange(program.num_columns), np.diff(program.hessian.starts))
    weights = np.where(first == second, 0.5, 1.0)
    return float(np.sum(weights * entries * values[first] * values[second]))
