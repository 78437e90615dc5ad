"""Why a constraint model has no plan: CP-SAT's assumptions name groups, and what they name is solved again alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite
from typing import Any

import numpy as np

from apportion.instances.constraint_model import ConstraintModel
from apportion.instances.core import Plan, Sense
from apportion.instances.errors import ModelError
from apportion.models.explaining import Conflict, ConflictPart, Diagnosis, Explanation, Finding
from apportion.solvers.backends import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.explaining.conflicts import quickxplain
from apportion.solvers.explaining.feasibility import Budget, Positions
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status

DEFAULT_LIMIT_S = 60.0
_ENFORCEABLE = ("linear", "bool_or", "bool_and")
_KINDS = (
    *_ENFORCEABLE,
    *("at_most_one", "exactly_one", "bool_xor", "int_div", "int_mod", "int_prod", "lin_max", "all_diff", "element"),
    *("circuit", "routes", "table", "automaton", "inverse", "reservoir", "interval", "no_overlap", "no_overlap_2d"),
    "cumulative",
)
_INDEX = re.compile(r"[\[(].*$")
_MOST_TERMS = 6
_SHARE = 0.2


def explain_constraint_model(
    instance: ConstraintModel,
    options: SolveOptions | None = None,
    _plan: Plan | None = None,
    *,
    groups: Mapping[str, Iterable[int]] | None = None,
) -> Explanation:
    """Explain a ``CpModel``: the conflict when it is infeasible.

    Parameters
    ----------
    instance
        The model; it is not changed.
    options
        Limits, threads and seed; without a time limit 60 s.
    groups
        Name -> constraint numbers; by default ``hours[3]`` belongs to ``hours``, and a constraint without a name is its
        own group. Intervals and the domains of variables always hold.

    Raises
    ------
    ModelError
        When ``groups`` names a constraint that is not there, or one twice.
    """
    options = options or SolveOptions()
    limit = options.time_limit_s if isfinite(options.time_limit_s) else DEFAULT_LIMIT_S
    asked = _Subsets(instance.model, Budget(options, limit))
    named = _named(instance.proto, groups)
    everything = np.concatenate([*named.values(), np.zeros(0, np.int64)])
    status = asked.status(everything)
    if status.has_plan:
        return Explanation(instance.name, Diagnosis.SOLVABLE)
    if status is not Status.INFEASIBLE:
        return Explanation(instance.name, Diagnosis.UNDECIDED)
    conflict = _conflict(instance.model, asked, named)
    findings = () if conflict.parts else (Finding("the domains of its variables and its intervals alone have no plan"),)
    return Explanation(instance.name, Diagnosis.INFEASIBLE, findings, conflict if conflict.parts else None)


class _Subsets:
    """Asks CP-SAT about the model with some of its constraints emptied; numbers stay, so references hold."""

    def __init__(self, model: Any, budget: Budget) -> None:
        self._model, self._budget = model, budget
        self.num_solves = 0
        self.num_undecided = 0

    def conflict(self, kept: Positions) -> bool:
        """Whether it is proven that ``kept`` cannot hold together."""
        if self._budget.spent:
            self.num_undecided += 1
            return False
        status = self.status(kept, _SHARE)
        self.num_undecided += status is not Status.INFEASIBLE and not status.has_plan
        return status is Status.INFEASIBLE

    def status(self, kept: Positions, share: float = 1.0) -> Status:
        """What CP-SAT says about ``kept`` alone."""
        from apportion.solvers.backends.cp_sat import solve_cp_model

        self.num_solves += 1
        model = _satisfaction(self._model)
        wanted = set(kept.tolist())
        for number, constraint in enumerate(model.Proto().constraints):
            if number not in wanted and not constraint.has_interval():
                constraint.copy_from(type(constraint)())
        limit = max(0.1, share * self._budget.remaining_s)
        options = replace(self._budget.options, start=None, backend=None, time_limit_s=limit)
        return solve_cp_model(model, options, Monitor(Sense.MINIMISE, None, limit)).status

    def named_by_assumptions(self, named: Mapping[str, Positions]) -> list[str]:
        """The groups that CP-SAT says suffice and those whose constraints take no literal; all when it says nothing."""
        from ortools.sat.python import cp_model

        model = _satisfaction(self._model)
        constraints = model.Proto().constraints
        literals: dict[int, str] = {}
        kept = []
        for name, where in named.items():
            if not all(_kind(constraints[int(i)]) in _ENFORCEABLE for i in where):
                kept.append(name)
                continue
            literal = model.new_bool_var("")
            literals[literal.index] = name
            for i in where:
                constraints[int(i)].enforcement_literal.append(literal.index)
            model.Proto().assumptions.append(literal.index)
        self.num_solves += 1
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = self._budget.options.seed
        solver.parameters.catch_sigint_signal = False
        if self._budget.limit_s < inf:
            solver.parameters.max_time_in_seconds = max(0.1, self._budget.remaining_s * 0.5)
        if solver.solve(model) != cp_model.INFEASIBLE:
            return list(named)
        core = {literals[i] for i in solver.sufficient_assumptions_for_infeasibility() if i in literals}
        return [name for name in named if name in core or name in kept]


def _satisfaction(model: Any) -> Any:
    """A copy without its objective, hint and assumptions."""
    backend_named("cp-sat")
    copy = model.clone()
    copy.clear_objective()
    copy.clear_hints()
    copy.clear_assumptions()
    copy.Proto().clear_floating_point_objective()
    return copy


def _conflict(model: Any, asked: _Subsets, named: Mapping[str, Positions]) -> Conflict:
    """Groups by assumptions, verified alone; then groups and single constraints by QuickXplain."""
    chosen = asked.named_by_assumptions(named)
    if not asked.conflict(_joined(named[name] for name in chosen)):
        chosen = list(named)
    core = quickxplain(asked, [named[name] for name in chosen])
    members = [np.array([element]) for unit in core for element in unit]
    if len(members) > len(core):
        asked.num_undecided = 0
        core = quickxplain(asked, members)
    kept = _joined(core)
    undecided = asked.num_undecided
    alone = asked.conflict(kept)
    proto = model.Proto()
    parts = []
    for name, where in named.items():
        mine = where[np.isin(where, kept)]
        if len(mine):
            parts.append(ConflictPart(name, tuple(_written(proto, int(i)) for i in np.sort(mine))))
    return Conflict(
        parts=tuple(parts),
        minimal=undecided == 0,
        needs_integers=False,
        method="assumption literals and a deletion filter",
        proof="solved alone they are infeasible" if alone else "the solve of them alone did not end in time",
        num_solves=asked.num_solves,
        rows=tuple(int(e) for e in np.sort(kept)),
    )


def _named(proto: Any, groups: Mapping[str, Iterable[int]] | None) -> dict[str, Positions]:
    size = len(proto.constraints)
    free = [i for i in range(size) if _kind(proto.constraints[i]) not in ("", "interval")]
    found: dict[str, list[int]] = {}
    if groups is None:
        for i in free:
            name = proto.constraints[i].name
            key = _INDEX.sub("", name) or name or f"{_kind(proto.constraints[i])} (constraint {i})"
            found.setdefault(key, []).append(i)
        return {name: np.array(where, np.int64) for name, where in found.items()}
    taken: set[int] = set()
    for name, where in groups.items():
        found[name] = list(where)
        for i in found[name]:
            if not 0 <= i < size or i in taken:
                what = "is in two of them" if i in taken else f"does not lie in 0..{size - 1}"
                raise ModelError(f"group {name!r}: constraint {i} {what}")
            taken.add(i)
    rest = [i for i in free if i not in taken]
    if rest:
        found["other constraints"] = rest
    return {name: np.array([i for i in where if i in set(free)], np.int64) for name, where in found.items()}


def _kind(constraint: Any) -> str:
    return next((kind for kind in _KINDS if getattr(constraint, f"has_{kind}")()), "")


def _written(proto: Any, number: int) -> str:
    constraint = proto.constraints[number]
    label = f"{constraint.name}: " if constraint.name else ""
    writer = _WRITERS.get(_kind(constraint))
    text = writer(proto, constraint) if writer else f"{_kind(constraint)} (constraint {number})"
    when = " and ".join(_literal(proto, literal) for literal in constraint.enforcement_literal)
    return f"{label}{text}{f', if {when}' if when else ''}"


def _written_linear(proto: Any, constraint: Any) -> str:
    linear = constraint.linear
    terms = [
        f"{'-' if weight < 0 else '+'} {'' if abs(weight) == 1 else f'{abs(weight)} '}{_variable(proto, at)}"
        for at, weight in zip(linear.vars, linear.coeffs, strict=True)
    ]
    text = " ".join(terms[:_MOST_TERMS]).removeprefix("+ ") or "0"
    text += f" + ... ({len(terms)} terms)" if len(terms) > _MOST_TERMS else ""
    ends = list(linear.domain)
    if len(ends) == 2:
        low, high = (end if abs(end) < _INFINITE else None for end in ends)
        if low == high and low is not None:
            return f"{text} = {low}"
        left = f"{low} <= " if low is not None and high is not None else ""
        return f"{left}{text} <= {high}" if high is not None else f"{text} >= {low}"
    spans = [f"{a}..{b}" if a != b else f"{a}" for a, b in zip(ends[::2], ends[1::2], strict=True)]
    return f"{text} in {', '.join(spans)}"


_INFINITE = 2**62


def _written_clause(word: str, field: str) -> Callable[[Any, Any], str]:
    def write(proto: Any, constraint: Any) -> str:
        literals = list(getattr(constraint, field).literals)
        shown = ", ".join(_literal(proto, literal) for literal in literals[:_MOST_TERMS])
        return f"{word} {shown}{', ...' if len(literals) > _MOST_TERMS else ''}"

    return write


_WRITERS: dict[str, Callable[[Any, Any], str]] = {
    "linear": _written_linear,
    "bool_or": _written_clause("one of", "bool_or"),
    "bool_and": _written_clause("all of", "bool_and"),
    "at_most_one": _written_clause("at most one of", "at_most_one"),
    "exactly_one": _written_clause("exactly one of", "exactly_one"),
}


def _variable(proto: Any, at: int) -> str:
    return str(proto.variables[at].name or f"x{at}")


def _literal(proto: Any, literal: int) -> str:
    return _variable(proto, literal) if literal >= 0 else f"not {_variable(proto, -literal - 1)}"


def _joined(units: Iterable[Positions] | Sequence[Positions]) -> Positions:
    return np.concatenate([*units, np.zeros(0, np.int64)])
