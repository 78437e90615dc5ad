"""Why a commitment is impossible: hours first, then the rules of the model that conflict."""

from __future__ import annotations

from dataclasses import replace

from apportion.instances.commitment import UnitCommitment
from apportion.instances.core import Plan
from apportion.models.commitment.arrays import formulate
from apportion.models.commitment.screens import screen_hours
from apportion.models.explaining import Diagnosis, Explanation
from apportion.solvers.options import SolveOptions


def explain_commitment(
    instance: UnitCommitment, options: SolveOptions | None = None, _plan: Plan | None = None
) -> Explanation:
    """Name the hours that cannot be served; when there are none, explain the mathematical model."""
    findings = screen_hours(instance)
    if findings:
        return Explanation(instance.name, Diagnosis.INFEASIBLE, findings)
    from apportion.solvers.explain import explain

    return replace(explain(formulate(instance).model, options=options), name=instance.name)
