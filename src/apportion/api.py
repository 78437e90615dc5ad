"""The face: ``solve`` for anything that can be solved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from apportion.instances.core import Instance
from apportion.instances.errors import OptionError
from apportion.instances.reading import read
from apportion.solvers.events import Listener
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance


def solve(
    problem: object,
    *,
    method: str | None = None,
    listener: Listener | None = None,
    **options: Any,
) -> Result[Any]:
    """Solve ``problem`` and check the plan independently.

    Parameters
    ----------
    problem
        An instance, or the path of an instance file.
    method
        A method of that problem; its default when None.
    listener
        Called with every event of the solve.
    **options
        Fields of :class:`~apportion.solvers.options.SolveOptions`.
    """
    chosen = SolveOptions.build(**options)
    if isinstance(problem, str | Path):
        began = time.perf_counter()
        instance = read(problem)
        read_s = time.perf_counter() - began
        return solve_instance(instance, chosen, method=method, listener=listener, read_s=read_s)
    if isinstance(problem, Instance):
        return solve_instance(problem, chosen, method=method, listener=listener)
    raise OptionError(f"cannot solve a {type(problem).__name__}")
