"""Why a secure commitment is impossible: periods and buses first, then the rules of the model that conflict."""

from __future__ import annotations

from dataclasses import replace

from apportion.instances.core import Plan
from apportion.instances.security_commitment import SecurityConstrainedCommitment
from apportion.models.explaining import Diagnosis, Explanation
from apportion.models.program.groups import groups_of_model
from apportion.models.security_commitment.arrays import formulate
from apportion.models.security_commitment.screens import screen_islands
from apportion.solvers.options import SolveOptions


def explain_secure_commitment(
    instance: SecurityConstrainedCommitment, options: SolveOptions | None = None, _plan: Plan | None = None
) -> Explanation:
    """Name the periods and buses that cannot be served; when there are none, explain the model without flow limits."""
    findings = screen_islands(instance)
    if findings:
        return Explanation(instance.name, Diagnosis.INFEASIBLE, findings)
    from apportion.solvers.explain import explain_program

    model = formulate(instance).model
    explained = explain_program(model.compile(names=True), options, groups=groups_of_model(model))
    return replace(explained, name=instance.name)
