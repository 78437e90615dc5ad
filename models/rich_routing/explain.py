"""Why rich routes cannot exist, in the words of the data."""

from __future__ import annotations

from apportion.instances.core import Plan
from apportion.instances.rich_routing import RichRouting
from apportion.models.explaining import Diagnosis, Explanation, Finding
from apportion.models.rich_routing.reasons import impossible


def explain_rich_routing(instance: RichRouting, _options: object = None, _plan: Plan | None = None) -> Explanation:
    """Screen who may serve and can carry each client. Nothing found does not mean that there is a plan.

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
    return Explanation(instance.name, Diagnosis.SOLVABLE, (), notes=notes)
