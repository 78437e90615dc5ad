"""The LP format of CPLEX: a program as one would write it on paper. HiGHS reads and writes.

HiGHS's dialect has no ``-2 <= x + y <= 8`` (write two rows) and no ordered sets or indicators.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from apportion.instances.errors import Fault, InstanceError
from apportion.instances.program import MixedIntegerProgram

if TYPE_CHECKING:
    from apportion.instances.reading import Source

_UNUSABLE = re.compile(r"[^A-Za-z0-9_.#$!,(){}]")
_BAD_START = re.compile(r"^(?:[0-9.]|[eE](?=[0-9.+-]|$)|$)")
_KEYWORDS = re.compile(
    r"^(?:max(?:imi[sz]e|imum)?|min(?:imi[sz]e|imum)?|st|s\.t\.?|such|subject|bounds?|bin(?:ary|aries)?|gen(?:erals?)?|"
    r"int(?:egers?)?|semi.*|sos[12]?|end|free|inf(?:inity)?|nan)$",
    re.IGNORECASE,
)
_OBJECTIVE = re.compile(r"^ obj:", re.MULTILINE)


def parse(text: str, source: Source) -> MixedIntegerProgram:
    """Read an LP file; errors name line and column."""
    from apportion.instances.formats.highs_files import read_with_highs

    program = read_with_highs(text, ".lp", str(source.path), source.name)
    if not program.num_columns:
        raise InstanceError(str(source.path), [Fault("", "has no variables", hint="it is truncated, or no LP file")])
    return program


def render(program: MixedIntegerProgram) -> str:
    """Write an LP file. ``commit[3,7]`` becomes ``commit(3,7)``; a ranged row becomes two rows."""
    from apportion.instances.formats.highs_files import write_with_highs

    columns = _names([program.column_name(j) for j in range(program.num_columns)], "x")
    rows = _names([program.row_name(i) for i in range(program.num_rows)], "r")
    text = write_with_highs(program, ".lp", columns, rows)
    return _with_unused(text, program, columns)


def _with_unused(text: str, program: MixedIntegerProgram, columns: tuple[str, ...]) -> str:
    """Mention the columns that appear in no row and have no cost, which HiGHS would leave out."""
    used = program.cost != 0.0
    used |= np.diff(program.matrix.starts) > 0
    if program.hessian is not None:
        used[program.hessian.rows] = True
        used |= np.diff(program.hessian.starts) > 0
    idle = "".join(f" + 0 {columns[j]}" for j in np.flatnonzero(~used))
    return _OBJECTIVE.sub(lambda match: match.group(0) + idle, text, count=1) if idle else text


def _names(names: list[str], letter: str) -> tuple[str, ...]:
    usable = [_UNUSABLE.sub("_", name.replace("[", "(").replace("]", ")")) for name in names]
    awkward = any(_BAD_START.match(name) or _KEYWORDS.match(name) for name in usable)
    if awkward or len(set(usable)) != len(usable):
        return tuple(f"{letter}{k}" for k in range(len(names)))
    return tuple(usable)
