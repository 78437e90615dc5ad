"""The independent check of a CP-SAT model's plan: every constraint evaluated as its documentation defines it.

The model is read through its protocol buffer alone; no solver is asked and none is imported.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from apportion.instances.constraint_model import ConstraintModel, WholeNumbers, has_field
from apportion.instances.errors import Fault, PlanError
from apportion.models.constraint_model.rules import RULES
from apportion.models.constraint_model.values import Values, in_domain
from apportion.models.verdict import Verdict, Violation

NOT_CHECKED = "not checked: "
"""Prefix of the measures that count constraints of a kind that this check does not know."""


def check(instance: ConstraintModel, plan: WholeNumbers) -> Verdict:
    """Verify ``plan`` against every domain and constraint of the model and recompute its objective.

    A constraint of a kind that is not known is counted in the measure ``"not checked: <kind>"``.

    Raises
    ------
    PlanError
        When the plan has another number of values than the model has variables.
    """
    proto = instance.proto
    if len(plan.values) != len(proto.variables):
        fault = Fault("values", f"must be {len(proto.variables)}, one for each variable", len(plan.values))
        raise PlanError(instance.name, [fault])
    values = Values(proto, plan.values)
    violations, unknown = _constraints(proto, values)
    violations = [*_domains(proto, plan.values), *violations, *_objective_domain(proto, values)]
    measures = {"variables": float(len(proto.variables)), "constraints": float(len(proto.constraints))}
    measures |= {f"{NOT_CHECKED}{kind}": float(count) for kind, count in sorted(unknown.items())}
    return Verdict(_objective(proto, values), instance.sense, tuple(violations), measures)


def _domains(proto: Any, values: tuple[int, ...]) -> list[Violation]:
    return [
        Violation("domain", f"variable {variable.name or position}", float(values[position]))
        for position, variable in enumerate(proto.variables)
        if not in_domain(values[position], variable.domain)
    ]


def _constraints(proto: Any, values: Values) -> tuple[list[Violation], Counter[str]]:
    violations, unknown = [], Counter[str]()
    for position, constraint in enumerate(proto.constraints):
        kind = _kind(constraint)
        if kind is None:
            unknown["unknown kind"] += 1
        elif all(values.literal(literal) for literal in constraint.enforcement_literal):
            amount = RULES[kind](values, getattr(constraint, kind))
            if amount:
                place = f"constraint {constraint.name or position}"
                violations.append(Violation(kind.replace("_", " "), place, float(amount)))
    return violations, unknown


def _kind(constraint: Any) -> str | None:
    """The kind of a constraint; None when it is none that is known. An empty constraint holds."""
    for kind in RULES:
        if has_field(constraint, kind):
            return kind
    return None


def _objective(proto: Any, values: Values) -> float:
    if has_field(proto, "floating_point_objective"):
        given = proto.floating_point_objective
        return float(given.offset) + sum(
            float(weight) * values.variable(position) for position, weight in zip(given.vars, given.coeffs, strict=True)
        )
    if not has_field(proto, "objective"):
        return 0.0
    given = proto.objective
    return float((given.scaling_factor or 1.0) * (_inner_objective(given, values) + given.offset))


def _inner_objective(given: Any, values: Values) -> int:
    return sum(weight * values.variable(position) for position, weight in zip(given.vars, given.coeffs, strict=True))


def _objective_domain(proto: Any, values: Values) -> list[Violation]:
    if not has_field(proto, "objective") or not len(proto.objective.domain):
        return []
    inner = _inner_objective(proto.objective, values)
    return [] if in_domain(inner, proto.objective.domain) else [Violation("domain", "objective", float(inner))]
