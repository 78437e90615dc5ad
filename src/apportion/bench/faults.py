"""A backend that lies, to measure and to test what catches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from apportion.instances.errors import BackendError
from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer, Capabilities
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Bounds, Status

Lie = Callable[[MixedIntegerProgram, BackendAnswer], BackendAnswer]


@dataclass(frozen=True)
class FaultyBackend:
    """HiGHS, whose answer goes through ``lie`` before anyone sees it."""

    lie: Lie
    name: str = "faulty"

    @property
    def capabilities(self) -> Capabilities:
        """Those of HiGHS."""
        return backend_named("highs").capabilities

    def run(
        self,
        program: MixedIntegerProgram,
        options: SolveOptions,
        monitor: Monitor,
        start: Floats | None = None,
    ) -> BackendAnswer:
        """Solve with HiGHS and lie about it."""
        return self.lie(program, backend_named("highs").run(program, options, monitor, start))


def _values(answer: BackendAnswer) -> Floats:
    if answer.values is None:
        raise BackendError("a lie needs an answer with a plan")
    return answer.values


def worse_plan(program: MixedIntegerProgram, values: Floats) -> Floats:
    """Another plan, worse than ``values``: all zeros, for programs in which that is feasible and worth nothing."""
    if program.sense.sign * float(program.cost @ values) >= 0:
        raise BackendError("nothing is as good as this plan")
    return np.zeros(program.num_columns)


def bound_too_strong(program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """The bound lies beyond the plan."""
    beyond = answer.bounds.primal + program.sense.sign * 1.0
    return replace(answer, bounds=Bounds(answer.bounds.primal, beyond))


def early_optimum(program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """A worse plan with a bound that makes it look optimal: consistent in itself."""
    values = worse_plan(program, _values(answer))
    return replace(answer, values=values, bounds=Bounds(program.offset, program.offset), row_duals=None)


def infeasible_point(program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """The plan breaks a row, and its objective is told as it is."""
    values = np.where(program.integer, program.upper, _values(answer))
    objective = float(program.cost @ values) + program.offset
    return replace(answer, values=values, bounds=Bounds(objective, objective))


def fractional_point(program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """The plan is not whole."""
    values = _values(answer) / 2 + 0.001
    objective = float(program.cost @ values) + program.offset
    return replace(answer, values=values, bounds=Bounds(objective, answer.bounds.dual))


def false_infeasible(program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """Claims that a feasible program has no plan."""
    return replace(answer, status=Status.INFEASIBLE, values=None, bounds=Bounds.unknown(program.sense))


def false_unbounded(program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """Claims that a bounded program has no bound."""
    return replace(answer, status=Status.UNBOUNDED, values=None, bounds=Bounds.unknown(program.sense))


def swapped_sense(program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """The bound on the wrong side: what was minus infinity is plus infinity."""
    return replace(answer, bounds=Bounds(answer.bounds.primal, program.sense.sign * inf))


def negated_bounds(_program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """A maximisation reported as the minimisation that was solved inside."""
    return replace(answer, bounds=Bounds(-answer.bounds.primal, -answer.bounds.dual))


def false_objective(program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """The plan is worth less than the objective that is claimed."""
    values = worse_plan(program, _values(answer))
    return replace(answer, values=values)


def no_plan(_program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """Claims an optimum and returns nothing."""
    return replace(answer, values=None)


def not_a_number(_program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """NaN in the plan."""
    return replace(answer, values=np.full_like(_values(answer), np.nan))


def wrong_length(_program: MixedIntegerProgram, answer: BackendAnswer) -> BackendAnswer:
    """A plan for another program."""
    return replace(answer, values=_values(answer)[:-1])


LIES: dict[str, Lie] = {
    lie.__name__: lie
    for lie in (
        bound_too_strong,
        early_optimum,
        infeasible_point,
        fractional_point,
        false_infeasible,
        false_unbounded,
        swapped_sense,
        negated_bounds,
        false_objective,
        no_plan,
        not_a_number,
        wrong_length,
    )
}
ONLY_BY_VERIFYING = {"early_optimum", "false_infeasible"}
"""Lies that agree with themselves: a certificate labels them as the solver's word, a second solve catches them."""
