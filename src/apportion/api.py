"""The face: ``solve`` for anything that can be solved."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apportion.brought import ModelResult, Settings, kind_of, solve_brought
from apportion.instances.constraint_model import ConstraintModel
from apportion.instances.core import Instance, Plan
from apportion.instances.errors import OptionError
from apportion.instances.reading import read
from apportion.models.explaining import Explanation
from apportion.solvers.advisor import Advisor
from apportion.solvers.events import Listener
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance

if TYPE_CHECKING:
    from apportion.models.algebra import Model

__all__ = ["ModelResult", "explain", "solve"]


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
        Fields of :class:`~apportion.solvers.options.SolveOptions`; ``verify=True`` asks for a second solve by another
        backend. For an array model ``start`` may also map names
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


def explain(
    problem: object,
    *,
    groups: Mapping[str, Iterable[int]] | None = None,
    weights: Mapping[str, float] | None = None,
    plan: Plan | None = None,
    **options: Any,
) -> Explanation:
    """Explain ``problem``: why there is no plan, why there is no bound, or what its limits are worth.

    Parameters
    ----------
    problem
        What :func:`solve` takes. The blocks of an array model are its groups, and the components of a Pyomo model.
    groups, weights
        For programs: name -> row numbers, and the price of one unit of change by group.
    plan
        A plan to explain.
    **options
        Fields of :class:`~apportion.solvers.options.SolveOptions`; without a time limit 60 s.

    Raises
    ------
    OptionError
        When nothing explains such a problem, and for unknown options.

    Examples
    --------
    >>> import apportion
    >>> model = apportion.Model("bakery")
    >>> cakes = model.add_variables("cakes", upper=5)
    >>> oven = model.add_constraints("oven", 2 * cakes <= 7)
    >>> model.maximise(3 * cakes)
    >>> print(apportion.explain(model))
    bakery is solvable as far as these checks go.
    <BLANKLINE>
    Around the optimum of 10.5:
      one unit more of oven (limit 7) changes the objective by +1.5; holds from -0 to 10
      cakes = 3.5 stays while its cost of 3 lies in -0 to inf
    """
    from apportion.solvers.explain import explain as explain_instance

    return explain_instance(
        explainable(problem), groups=groups, weights=weights, plan=plan, options=SolveOptions.build(**options)
    )


def explainable(problem: object) -> object:
    """What ``problem`` is to the explainers: files are read, and models of other libraries become ours."""
    match kind_of(problem):
        case "pyomo":
            return _model_class().from_pyomo(problem).compile(names=True)
        case "mathopt":
            return _model_class().from_mathopt(problem).compile(names=True)
        case "cp-sat":
            return ConstraintModel(problem)
        case _:
            return read(problem) if isinstance(problem, str | Path) else problem


def _model_class() -> type[Model]:
    from apportion.models.algebra import Model

    return Model


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
