"""Plans on disk: one JSON envelope for all problems, and each field's own solution file."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, cast

from apportion.instances.core import Instance, Plan
from apportion.instances.errors import Fault, InstanceError, OptionError, PlanError
from apportion.instances.files import read_text, write_text

PLANS: dict[str, tuple[str, str]] = {
    "mixed-integer-program": ("apportion.instances.program", "VariableValues"),
    "constraint-model": ("apportion.instances.constraint_model", "WholeNumbers"),
    "cluster-placement": ("apportion.instances.cluster", "Placement"),
    "fleet-allocation": ("apportion.instances.fleet", "FleetShares"),
    "vehicle-routing": ("apportion.instances.routing", "Routes"),
    "rich-routing": ("apportion.instances.rich_routing", "RichRoutes"),
    "unit-commitment": ("apportion.instances.commitment", "Commitment"),
    "security-constrained-commitment": ("apportion.instances.security_plan", "SecureCommitment"),
    "optimal-power-flow": ("apportion.instances.power_plan", "PowerFlowPlan"),
}
"""Problem -> module and class of its plan."""

SOLUTION_FORMATS: dict[str, tuple[str, str]] = {
    "vehicle-routing": (".sol", "apportion.instances.formats.vrplib"),
    "rich-routing": (".sol", "apportion.instances.formats.vrplib_rich"),
    "mixed-integer-program": (".sol", "apportion.instances.formats.mps"),
}
"""Problem -> suffix of the field's own solution file and the module with ``parse_plan`` and ``render_plan``."""


def write_plan(plan: Plan, path: str | Path, instance: Instance) -> None:
    """Write ``plan``: ``.json`` is the envelope, another suffix the field's own solution file."""
    where = Path(path)
    if where.name.removesuffix(".gz").endswith(".json") or str(where) == "-":
        envelope = {"problem": plan.problem, "instance": instance.name, "plan": plan.to_dict()}
        write_text(where, json.dumps(envelope, indent=1) + "\n")
        return
    write_text(where, cast("str", _solution_module(plan.problem, where).render_plan(instance, plan)))


def read_plan(path: str | Path, instance: Instance) -> Plan:
    """Read a plan for ``instance``; raise :class:`PlanError` with place and reason when it cannot be."""
    where = Path(path)
    try:
        text = read_text(where)
    except InstanceError as error:
        raise PlanError(error.source, error.faults) from error
    is_json = text.lstrip().startswith("{") or where.name.removesuffix(".gz").endswith(".json")
    try:
        if is_json:
            return _from_envelope(text, where, instance)
        return cast("Plan", _solution_module(instance.problem, where).parse_plan(text, instance))
    except PlanError as error:
        raise PlanError(str(where), error.faults) from error


def _solution_module(problem: str, path: Path) -> Any:
    if problem not in SOLUTION_FORMATS:
        raise OptionError(f"{problem} has no solution file of its own, got {path.name!r}\nMaybe a .json file")
    return importlib.import_module(SOLUTION_FORMATS[problem][1])


def _from_envelope(text: str, path: Path, instance: Instance) -> Plan:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(str(path), [Fault("", f"is not JSON: {error}")]) from error
    if not isinstance(data, dict):
        raise PlanError(str(path), [Fault("", "must be a JSON object with a problem and a plan")])
    problem = data.get("problem")
    if problem != instance.problem or not isinstance(data.get("plan"), dict):
        raise PlanError(str(path), [Fault("problem", f"must be {instance.problem!r} with a plan", problem)])
    module, name = PLANS[instance.problem]
    plan_class = getattr(importlib.import_module(module), name)
    return cast("Plan", plan_class.from_dict(data["plan"]))
