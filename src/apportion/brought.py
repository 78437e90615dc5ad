"""Models that users bring: written with the array layer, Pyomo or OR-Tools. Recognised without importing any."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from apportion.instances.constraint_model import ConstraintModel
from apportion.instances.core import Instance
from apportion.instances.errors import ModelError
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.models.constraint_model.check import NOT_CHECKED
from apportion.solvers.advisor import Advice, Advisor
from apportion.solvers.events import Listener
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance

_KINDS = (
    ("apportion.models.algebra", "Model", "array"),
    ("pyomo.", "BlockData", "pyomo"),
    ("pyomo.", "_BlockData", "pyomo"),
    ("ortools.sat.", "CpModel", "cp-sat"),
    ("ortools.math_opt.", "Model", "mathopt"),
)
"""Start of a module, class in it, and what a model with that class among its bases is."""


@dataclass(frozen=True)
class ModelResult(Result[VariableValues]):
    """The result of an array model, with its answer by block.

    Examples
    --------
    >>> import apportion
    >>> model = apportion.Model("bakery")
    >>> cakes = model.add_variables("cakes", shape=2, upper=5)
    >>> oven = model.add_constraints("oven", cakes.sum() <= 7)
    >>> model.maximise((cakes * [3.0, 2.0]).sum())
    >>> result = apportion.solve(model)
    >>> result.value("cakes").tolist(), result.dual("oven").tolist()
    ([5.0, 2.0], 2.0)
    """

    model: Any = None

    def value(self, block: str) -> Floats:
        """The values of a block of variables in its own shape.

        Raises
        ------
        ModelError
            When there is no plan or no such block.
        """
        if self.plan is None:
            raise ModelError(f"values of {block!r}: there is no plan, the status is {self.status}")
        return self._block(block, self.model.split(self.plan.to_array(self.model.compile(names=True))), "variables")

    def dual(self, block: str) -> Floats:
        """The duals of a block of constraints: d objective / d right-hand side."""
        return self._block(block, self.model.split_rows(self._prices("row_duals", block)), "constraints")

    def reduced_cost(self, block: str) -> Floats:
        """The reduced costs of a block of variables: d objective / d bound."""
        return self._block(block, self.model.split(self._prices("reduced_costs", block)), "variables")

    def _prices(self, name: str, block: str) -> Floats:
        prices: Floats | None = None if self.plan is None else getattr(self.native, name, None)
        if prices is None:
            message = f"{name.replace('_', ' ')} of {block!r}: there are none"
            raise ModelError(f"{message}\nMaybe an LP solved to optimality by backend 'highs'")
        return prices

    @staticmethod
    def _block(block: str, found: Mapping[str, Floats], kind: str) -> Floats:
        if block not in found:
            raise ModelError(f"{kind} {block!r}: no such block\nMaybe one of {', '.join(found)}")
        return found[block]


@dataclass(frozen=True)
class Settings:
    """What the caller of ``solve`` asked for, handed on as one."""

    options: SolveOptions
    method: str | None = None
    listener: Listener | None = None
    advisor: Advisor | None = None
    cancelled: threading.Event | None = None

    def run(self, instance: Instance, build_s: float = 0.0) -> Result[Any]:
        """Solve ``instance`` and count ``build_s`` as time spent on building."""
        result = solve_instance(
            instance,
            self.options,
            method=self.method,
            listener=self.listener,
            advisor=self.advisor,
            cancelled=self.cancelled,
        )
        timings = replace(result.timings, build_s=result.timings.build_s + build_s)
        return replace(result, timings=timings)


def kind_of(problem: object) -> str | None:
    """``"array"``, ``"pyomo"``, ``"cp-sat"`` or ``"mathopt"``; None for what is none of them.

    Only names are looked at, so nothing is imported: a user who has such a model has imported its library.
    """
    for base in type(problem).__mro__:
        for module, name, kind in _KINDS:
            if base.__name__ == name and base.__module__.startswith(module):
                return kind
    return None


def solve_brought(problem: Any, kind: str, settings: Settings, start: Any) -> Result[Any]:
    """Solve a model of the given kind; ``start`` is what its kind understands."""
    if kind == "cp-sat":
        return _solve_cp_sat(problem, settings)
    from apportion.models.algebra import Model

    began = time.perf_counter()
    if kind == "array":
        return solve_model(problem, settings, start, began)
    if kind == "mathopt":
        return solve_model(Model.from_mathopt(problem), settings, start, began)
    taken = Model.from_pyomo(problem)
    result = solve_model(taken, settings, start, began)
    if result.plan is not None:
        native = result.native
        taken.load(result.plan.to_array(taken.compile(names=True)), native.row_duals, native.reduced_costs)
    return result


def solve_model(model: Any, settings: Settings, start: Mapping[str, ArrayLike] | None, began: float) -> ModelResult:
    """Solve an array model; ``start`` maps blocks of variables to arrays, NaN or absent where unknown.

    ``began`` is the clock (``time.perf_counter``) when building began.
    """
    program = model.compile(names=True)
    if start is not None:
        settings = _with_start(program, model.pack(start), settings)
    result = settings.run(program, time.perf_counter() - began)
    given = {each.name: getattr(result, each.name) for each in fields(result)}
    return ModelResult(**given, model=model)


def _with_start(program: MixedIntegerProgram, values: Floats, settings: Settings) -> Settings:
    """A complete start is checked like any other; a partial one is advice that the backend completes."""
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == program.num_columns:
        plan = VariableValues.from_array(program, values)
        return replace(settings, options=settings.options.with_(start=plan))
    return replace(settings, advisor=_Hint(dict(zip(known.tolist(), values[known].tolist(), strict=True))))


@dataclass(frozen=True)
class _Hint:
    """An advisor that knows some of the values."""

    values: Mapping[int, float]

    def advise(self, _instance: Instance) -> Advice:
        """The values that the user gave."""
        return Advice(hint=self.values)


def _solve_cp_sat(model: Any, settings: Settings) -> Result[Any]:
    result = settings.run(ConstraintModel(model))
    measures = {} if result.verdict is None else result.verdict.measures
    skipped = [f"{name} ({count:g})" for name, count in measures.items() if name.startswith(NOT_CHECKED)]
    return replace(result, message="; ".join(filter(None, [result.message, *skipped])))
