"""Why a commitment is impossible: hours first, then the rules of the model that conflict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apportion.instances.commitment import UnitCommitment
from apportion.instances.core import Plan
from apportion.models.commitment.arrays import formulate
from apportion.models.commitment.screens import screen_hours
from apportion.models.explaining import Diagnosis, Explanation
from apportion.models.program.groups import groups_of_model
from apportion.solvers.options import SolveOptions


def explain_commitment(
    instance: UnitCommitment, options: SolveOptions | None = None, _plan: Plan | None = None
) -> Explanation:
    """Name the hours that cannot be served; when there are none, explain the mathematical model.

    A relaxation changes demand and reserve alone.
    """
    findings = screen_hours(instance)
    if findings:
        return Explanation(instance.name, Diagnosis.INFEASIBLE, findings)
    from apportion.solvers.explain import explain_program

    model = formulate(instance).model
    program = model.compile(names=True)
    # implied by the rows that stay, and in the way of changing demand or reserve
    row_lower = program.row_lower.copy()
    row_lower[model.constraints["capacity"].rows] = -np.inf
    groups = [group for group in groups_of_model(model) if group.name != "capacity"]
    weights = {group.name: np.inf for group in groups if group.name not in _MAY_CHANGE}
    explained = explain_program(replace(program, row_lower=row_lower), options, groups=groups, weights=weights)
    return replace(explained, name=instance.name)


_MAY_CHANGE = ("demand", "reserve")
