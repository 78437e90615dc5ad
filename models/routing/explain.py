"""Why routes cannot exist, in the words of the data."""

from __future__ import annotations

import numpy as np

from apportion.instances.core import Plan
from apportion.instances.routing import VehicleRouting
from apportion.models.explaining import Diagnosis, Explanation, Finding
from apportion.models.routing.check import impossible
from apportion.models.verdict import TOLERANCE


def explain_routing(instance: VehicleRouting, _options: object = None, _plan: Plan | None = None) -> Explanation:
    """Screen demands, windows and the fleet. Nothing found does not mean that there is a plan.

    Examples
    --------
    >>> import numpy as np
    >>> corner = np.array([[0.0, 3, 4], [3, 0, 5], [4, 5, 0]])
    >>> instance = VehicleRouting.capacitated("corner", corner, demand=[0, 3, 1], capacity=2)
    >>> print(explain_routing(instance))
    corner is infeasible: no plan keeps all its rules.
    <BLANKLINE>
      client 1 asks for 3, a vehicle carries 2
    """
    findings = [Finding(reason) for reason in impossible(instance)]
    if not findings:
        findings = _too_many_large(instance)
    diagnosis = Diagnosis.INFEASIBLE if any(f.blocking for f in findings) else Diagnosis.SOLVABLE
    notes = ["Checked: demands against capacity, windows against the quickest way, the fleet against the total demand."]
    if instance.num_vehicles is not None:
        used = instance.demand.sum() / (instance.num_vehicles * instance.capacity) if instance.capacity else np.inf
        notes.append(f"The demand fills {used:.1%} of the {instance.num_vehicles} vehicles.")
    shown = () if diagnosis is Diagnosis.INFEASIBLE else tuple(notes)
    return Explanation(instance.name, diagnosis, tuple(findings), notes=shown)


def _too_many_large(instance: VehicleRouting) -> list[Finding]:
    """Clients that ask for more than half a vehicle each need one of their own."""
    large = int((instance.demand > instance.capacity / 2 + TOLERANCE * max(1.0, instance.capacity)).sum())
    if instance.num_vehicles is None or large <= instance.num_vehicles:
        return []
    text = f"{large} clients ask for more than half a vehicle each: no two share one, and there are"
    return [Finding(f"{text} {instance.num_vehicles} vehicles", "fleet", float(large - instance.num_vehicles))]
