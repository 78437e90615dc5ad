"""Explain anything: why there is no plan, why there is no bound, what the limits are worth; in sentences."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import cast

import numpy as np

from apportion.instances.core import Instance, Plan
from apportion.instances.errors import Fault, OptionError, PlanError
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.models.algebra import Model
from apportion.models.checking import check
from apportion.models.explaining import Conflict, Diagnosis, Explanation
from apportion.models.program.groups import Group, groups_of_model, groups_of_program
from apportion.models.program.screens import Screened, screen
from apportion.solvers.backends import BACKENDS, refusal
from apportion.solvers.backends.registry import is_installed
from apportion.solvers.explaining.conflicts import find_conflict
from apportion.solvers.explaining.feasibility import Budget, Feasibility
from apportion.solvers.explaining.rays import find_ray
from apportion.solvers.explaining.relaxation import find_relaxation
from apportion.solvers.explaining.sensitivity import find_sensitivity
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status

DEFAULT_LIMIT_S = 60.0
EXPLAINERS: dict[str, str] = {
    "mixed-integer-program": "apportion.solvers.explain:explain_program",
    "constraint-model": "apportion.solvers.explaining.constraint_models:explain_constraint_model",
    "cluster-placement": "apportion.models.cluster.explain:explain_placement",
    "fleet-allocation": "apportion.solvers.allocation.explain:explain_allocation",
    "vehicle-routing": "apportion.models.routing.explain:explain_routing",
    "rich-routing": "apportion.models.rich_routing.explain:explain_rich_routing",
    "unit-commitment": "apportion.solvers.commitment.explain:explain_commitment",
    "security-constrained-commitment": "apportion.solvers.security_commitment.explain:explain_secure_commitment",
    "optimal-power-flow": "apportion.solvers.power_flow.explain:explain_power_flow",
}
"""Problem -> ``module:function`` called with the instance, ``options`` and ``plan``."""

_PREFERENCE = ("highs", "scip", "cp-sat")
_MOST_VIOLATIONS = 10


def explain(
    problem: object,
    *,
    groups: Mapping[str, Iterable[int]] | None = None,
    weights: Mapping[str, float] | None = None,
    plan: Plan | None = None,
    options: SolveOptions | None = None,
) -> Explanation:
    """Explain a model or an instance of any problem.

    Parameters
    ----------
    problem
        A :class:`~apportion.models.algebra.Model`, whose blocks are the groups, or any instance.
    groups
        For a program: name -> row numbers. By default ``supply[3]`` belongs to ``supply``.
    weights
        For a program: the price of one unit of change by group, for the cheapest relaxation; infinite for what must
        not change.
    plan
        A plan to explain: what it violates, what its limits are worth, why tasks wait.
    options
        Limits, threads and seed; without a time limit 60 s.

    Raises
    ------
    OptionError
        When nothing explains such a problem.

    Examples
    --------
    >>> import apportion
    >>> model = apportion.Model("depot")
    >>> ship = model.add_variables("ship", shape=2)
    >>> supply = model.add_constraints("supply", ship.sum() <= 30)
    >>> demand = model.add_constraints("demand", ship >= [20, 22.5])
    >>> print(explain(model))
    depot is infeasible: no plan keeps all its rules.
    <BLANKLINE>
    These cannot hold together:
      supply:
        supply: ship[0] + ship[1] <= 30
      demand:
        demand[0]: ship[0] >= 20
        demand[1]: ship[1] >= 22.5
    None of them can be left out. Found by an IIS of the linear relaxation; a weighted sum of them is false in exact
    arithmetic.
    <BLANKLINE>
    The least change that makes a plan possible (total 12.5):
      ...
    """
    options = options or SolveOptions()
    if isinstance(problem, Model):
        rows = None if groups is not None else groups_of_model(problem)
        program = problem.compile(names=True)
        return explain_program(
            program, options, plan, groups=rows or groups_of_program(program, groups), weights=weights
        )
    if isinstance(problem, MixedIntegerProgram):
        named = groups_of_program(problem, groups)
        return explain_program(problem, options, plan, groups=named, weights=weights)
    if isinstance(problem, Instance) and problem.problem in EXPLAINERS:
        if groups is not None or weights is not None:
            raise OptionError(f"groups and weights explain programs, not {problem.problem}")
        module, _, function = EXPLAINERS[problem.problem].partition(":")
        explainer = getattr(importlib.import_module(module), function)
        return cast("Explanation", explainer(problem, options, plan))
    kind = problem.problem if isinstance(problem, Instance) else type(problem).__name__
    raise OptionError(f"nothing explains a {kind}\nMaybe one of {', '.join(EXPLAINERS)}")


def explain_text(problem: object, *, plan: Plan | None = None, options: SolveOptions | None = None) -> str:
    """The explanation in sentences, after what the independent check says about ``plan``."""
    lines: list[str] = []
    if plan is not None and isinstance(problem, Instance):
        verdict = check(problem, plan)
        lines = [f"The plan keeps every rule; its objective is {verdict.objective:g}."]
        if not verdict.ok:
            shown = [f"  {violation}" for violation in verdict.violations[:_MOST_VIOLATIONS]]
            rest = len(verdict.violations) - len(shown)
            lines = ["The plan breaks rules:", *shown, *([f"  and {rest} more"] if rest else [])]
            plan = None
        lines.append("")
    return "\n".join([*lines, str(explain(problem, plan=plan, options=options))])


def explain_program(
    program: MixedIntegerProgram,
    options: SolveOptions | None = None,
    plan: Plan | None = None,
    *,
    groups: Sequence[Group] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Explanation:
    """Explain a program: see :func:`explain`. ``groups`` are made from names when None."""
    options = options or SolveOptions()
    limit = options.time_limit_s if isfinite(options.time_limit_s) else DEFAULT_LIMIT_S
    budget = Budget(options, limit)
    named = groups_of_program(program) if groups is None else list(groups)
    backend = _backend(program, options)
    values = _values(program, plan)
    screened = screen(program)
    if screened.findings:
        return _infeasible(program, named, budget, backend, weights, screened)
    if values is not None:
        return _solvable(program, named, budget, values)
    answer = budget.run(program, backend, _SOLVE_SHARE)
    match answer.status:
        case Status.INFEASIBLE:
            return _infeasible(program, named, budget, backend, weights, screened)
        case Status.UNBOUNDED | Status.INFEASIBLE_OR_UNBOUNDED:
            return _unbounded(program, named, budget, backend, weights, screened)
        case _ if answer.values is not None:
            return _solvable(program, named, budget, answer.values)
        case _:
            return _undecided(program, named, budget, backend, weights, screened)


_SOLVE_SHARE = 0.3


def _backend(program: MixedIntegerProgram, options: SolveOptions) -> str:
    if options.backend is not None:
        return options.backend
    able = [name for name in _PREFERENCE if is_installed(name) and not refusal(program, name)]
    return able[0] if able else next(iter(BACKENDS))


def _values(program: MixedIntegerProgram, plan: Plan | None) -> Floats | None:
    if plan is None:
        return None
    if not isinstance(plan, VariableValues):
        raise PlanError(program.name, [Fault("plan", "is not a plan for mixed-integer-program", plan.problem)])
    return plan.to_array(program)


def _infeasible(
    program: MixedIntegerProgram,
    groups: Sequence[Group],
    budget: Budget,
    backend: str,
    weights: Mapping[str, float] | None,
    screened: Screened,
) -> Explanation:
    """The conflict and the cheapest relaxation; when bounds cross, the findings say it all."""
    notes: list[str] = []
    crossed = bool((program.lower > program.upper).any() or (program.row_lower > program.row_upper).any())
    conflict: Conflict | None = None
    relaxation = None
    if not crossed:
        within = _elements(program, screened)
        conflict = find_conflict(
            program, groups, replace(budget, limit_s=budget.limit_s * _CONFLICT_SHARE), backend, within
        )
        if conflict is None and not screened.findings:
            notes.append("No smaller conflict was found within the time.")
        relaxation = find_relaxation(program, groups, budget, backend, weights)
        if relaxation is None:
            notes.append("No change of limits was found that makes a plan possible.")
    return Explanation(program.name, Diagnosis.INFEASIBLE, screened.findings, conflict, relaxation, notes=tuple(notes))


_CONFLICT_SHARE = 0.7


def _elements(program: MixedIntegerProgram, screened: Screened) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
    """What the first finding rests on, as elements; None when it rests on nothing that can be left out."""
    if not screened.findings:
        return None
    binary = program.integer & (program.lower >= 0) & (program.upper <= 1)
    droppable = ~binary & (np.isfinite(program.lower) | np.isfinite(program.upper))
    columns = screened.columns[0]
    return np.concatenate((screened.rows[0], program.num_rows + columns[droppable[columns]]))


def _unbounded(
    program: MixedIntegerProgram,
    groups: Sequence[Group],
    budget: Budget,
    backend: str,
    weights: Mapping[str, float] | None,
    screened: Screened,
) -> Explanation:
    asked = Feasibility(program, budget, backend)
    if asked.conflict(asked.elements):
        return _infeasible(program, groups, budget, backend, weights, screened)
    ray = find_ray(program, budget)
    notes = []
    if asked.num_undecided:
        notes.append("The time was up before a plan was found: the direction says nothing if there is none.")
    if ray is None:
        notes.append("No direction was found along which the objective improves for ever.")
        return Explanation(program.name, Diagnosis.UNDECIDED, notes=tuple(notes))
    diagnosis = Diagnosis.UNDECIDED if asked.num_undecided else Diagnosis.UNBOUNDED
    return Explanation(program.name, diagnosis, ray=ray, notes=tuple(notes))


def _undecided(
    program: MixedIntegerProgram,
    groups: Sequence[Group],
    budget: Budget,
    backend: str,
    weights: Mapping[str, float] | None,
    screened: Screened,
) -> Explanation:
    """The solve did not end: a conflict of the relaxation may still be found."""
    conflict = find_conflict(program, groups, budget, backend)
    if conflict is not None:
        relaxation = find_relaxation(program, groups, budget, backend, weights)
        return Explanation(program.name, Diagnosis.INFEASIBLE, screened.findings, conflict, relaxation)
    return Explanation(program.name, Diagnosis.UNDECIDED)


def _solvable(program: MixedIntegerProgram, groups: Sequence[Group], budget: Budget, values: Floats) -> Explanation:
    sensitivity = find_sensitivity(program, groups, budget, values)
    notes = () if sensitivity else (_NO_SENSITIVITY,)
    return Explanation(program.name, Diagnosis.SOLVABLE, sensitivity=sensitivity, notes=notes)


_NO_SENSITIVITY = (
    "No duals and ranges: they exist for linear objectives without ordered sets and indicators, when a plan is known."
)
