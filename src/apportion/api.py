"""The face: ``solve`` for anything that can be solved."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apportion.brought import ModelResult, Settings, kind_of, solve_brought
from apportion.instances.core import Instance
from apportion.instances.errors import OptionError
from apportion.instances.reading import read
from apportion.solvers.advisor import Advisor
from apportion.solvers.events import Listener
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance

__all__ = ["ModelResult", "solve"]


def solve(
    problem: object,
    *,
    method: str | None = None,
    listener: Listener | None = None,
    advisor: Advisor | None = None,
    cancelled: threading.Event | None = None,
    **options: Any,
) -> Result[Any]:
    """Solve ``problem`` and check the plan independently.

    Parameters
    ----------
    problem
        An instance, the path of an instance file, an array :class:`~apportion.models.algebra.Model`, a Pyomo model
        (values, and duals where it has the suffixes, are loaded back), a CP-SAT ``CpModel`` or a MathOpt ``Model``.
    method
        A method of that problem; its default when None.
    listener
        Called with every event of the solve.
    advisor
        Advice that may be wrong.
    cancelled
        Setting it stops the solve, which keeps what it has.
    **options
        Fields of :class:`~apportion.solvers.options.SolveOptions`. For an array model ``start`` may also map names
        of blocks to arrays, NaN where unknown.

    Returns
    -------
    Result
        A :class:`~apportion.brought.ModelResult` for array, Pyomo and MathOpt models.

    Raises
    ------
    OptionError
        For a problem of a kind that cannot be solved, and for unknown options or values out of range.
    """
    blocks = options.pop("start") if isinstance(options.get("start"), Mapping) else None
    chosen = SolveOptions.build(**options)
    settings = Settings(chosen, method, listener, advisor, cancelled)
    kind = kind_of(problem)
    if blocks is not None and kind in (None, "cp-sat"):
        raise OptionError(f"start maps blocks of an array model, and this is a {type(problem).__name__}\nMaybe a plan")
    if kind is not None:
        return solve_brought(problem, kind, settings, blocks)
    if isinstance(problem, str | Path):
        return _solve_file(problem, settings)
    if isinstance(problem, Instance):
        return settings.run(problem)
    advice = "Maybe an instance, a file, or a model of apportion, Pyomo, CP-SAT or MathOpt"
    raise OptionError(f"cannot solve a {type(problem).__name__}\n{advice}")


def _solve_file(path: str | Path, settings: Settings) -> Result[Any]:
    began = time.perf_counter()
    instance = read(path)
    read_s = time.perf_counter() - began
    return solve_instance(
        instance,
        settings.options,
        method=settings.method,
        listener=settings.listener,
        advisor=settings.advisor,
        cancelled=settings.cancelled,
        read_s=read_s,
    )
