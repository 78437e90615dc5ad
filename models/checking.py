"""The independent check of any plan, chosen by the kind of problem."""

from __future__ import annotations

import importlib
from typing import cast

from apportion.instances.core import Instance, Plan
from apportion.instances.errors import Fault, PlanError
from apportion.models.verdict import Verdict

CHECKS: dict[str, str] = {
    "mixed-integer-program": "apportion.models.program.check",
    "constraint-model": "apportion.models.constraint_model.check",
    "cluster-placement": "apportion.models.cluster.check",
    "fleet-allocation": "apportion.models.allocation.check",
    "vehicle-routing": "apportion.models.routing.check",
    "rich-routing": "apportion.models.rich_routing.check",
    "unit-commitment": "apportion.models.commitment.check",
    "security-constrained-commitment": "apportion.models.security_commitment.check",
    "optimal-power-flow": "apportion.models.power_flow.check",
}
"""Problem -> the module whose ``check(instance, plan)`` verifies a plan from the instance's data alone."""


def check(instance: Instance, plan: Plan) -> Verdict:
    """Verify ``plan`` against ``instance`` from the data alone and recompute its objective.

    Parameters
    ----------
    instance
        Any instance.
    plan
        A plan of the same problem.

    Returns
    -------
    Verdict
        Every violation by name and amount, the objective, and further measures.

    Raises
    ------
    PlanError
        When the plan belongs to another problem.
    """
    if instance.problem != plan.problem:
        raise PlanError(instance.name, [Fault("plan", f"is not a plan for {instance.problem}", plan.problem)])
    module = importlib.import_module(CHECKS[instance.problem])
    return cast("Verdict", module.check(instance, plan))
