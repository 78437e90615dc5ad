"""Methods of programs that lie in a way that agrees with itself: only a second solve catches them."""

from __future__ import annotations

from typing import Any

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.solvers.backends import BACKENDS
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.status import Bounds, Status


def false_optimum(program: MixedIntegerProgram, *_others: Any) -> Answer[VariableValues]:
    """All zero, and a bound that says nothing is better."""
    plan = VariableValues.from_array(program, np.zeros(program.num_columns))
    return Answer(Status.OPTIMAL, Bounds(program.offset, program.offset), plan, native_status="highs: Optimal")


def false_infeasible(program: MixedIntegerProgram, *_others: Any) -> Answer[VariableValues]:
    """No plan, it says."""
    return Answer.nothing(program.sense, Status.INFEASIBLE, native_status="highs: Infeasible")


def false_unbounded(program: MixedIntegerProgram, *_others: Any) -> Answer[VariableValues]:
    """No bound, it says."""
    return Answer.nothing(program.sense, Status.UNBOUNDED, native_status="highs: Unbounded")


class Failing:
    """A backend that ends with an error."""

    name = "cp-sat"
    capabilities = BACKENDS["cp-sat"].capabilities

    def run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        """Fail."""
        return BackendAnswer(Status.ERROR, Bounds.unknown(program.sense), native_status="broken")
