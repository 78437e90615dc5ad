"""Why rich routes cannot exist, in the words of the data."""

from __future__ import annotations

from apportion.instances.core import Plan
from apportion.instances.rich_routing import RichRoutes, RichRouting
from apportion.models.explaining import Diagnosis, Explanation, Finding
from apportion.models.rich_routing.reasons import impossible
from apportion.models.rich_routing.unserved import why_unserved


def explain_rich_routing(instance: RichRouting, _options: object = None, plan: Plan | None = None) -> Explanation:
    """Screen who may serve and can carry each client. Nothing found does not mean that there is a plan.

    With ``plan``, say of each client that it leaves out why.

    Examples
    --------
    >>> import numpy as np
    >>> from apportion.instances.rich_routing import VehicleType
    >>> line = np.ones((2, 2))
    >>> instance = RichRouting.simple("line", line, [VehicleType(1, (1.0,))], delivery=[[0], [3]])
    >>> print(explain_rich_routing(instance))
    line is infeasible: no plan keeps all its rules.
    <BLANKLINE>
      client 1 asks for more than any vehicle that may serve it carries
    """
    findings = tuple(Finding(reason) for reason in impossible(instance))
    if findings:
        return Explanation(instance.name, Diagnosis.INFEASIBLE, findings)
    notes = ("Checked: demands against the capacity of the vehicles that may serve them.",)
    left = why_unserved(instance, plan) if isinstance(plan, RichRoutes) else ()
    found = tuple(Finding(str(one), f"client {one.clients[0]}", blocking=False) for one in left)
    return Explanation(instance.name, Diagnosis.SOLVABLE, found, notes=notes)
