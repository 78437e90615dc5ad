"""Trust: what a solver's answer is worth once its plan and its bound are checked in exact arithmetic.

:func:`certify` needs no second solve of the whole problem: it checks the plan exactly and makes the bound of the root
relaxation safe. :func:`verify` solves again with another backend and names every contradiction.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from math import inf, isfinite
from typing import Any

import numpy as np

from apportion.instances.core import Sense
from apportion.instances.errors import CapabilityError, PlanError
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.models.program.exact import ExactCheck, as_float, check_exactly
from apportion.models.program.safe_bound import outward, rounded_to_step
from apportion.models.verdict import TOLERANCE
from apportion.solvers.backends import BACKENDS, backend_named, refusal
from apportion.solvers.backends.base import Backend, BackendAnswer
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Result
from apportion.solvers.root_bounds import prove_infeasible, root_bound
from apportion.solvers.status import Bounds, Status

_CLAIM_TOLERANCE = 1e-5


class Proof(StrEnum):
    """What a claim rests on."""

    EXACT = "proven in exact arithmetic"
    SOLVER = "claimed by the solver"
    NOTHING = "nothing"


@dataclass(frozen=True, eq=False)
class Claim:
    """What a solver says: its status, its bounds and its plan as values by column, shape (n,)."""

    source: str
    status: Status
    bounds: Bounds
    values: Floats | None = None
    row_duals: Floats | None = None

    @classmethod
    def of(cls, program: MixedIntegerProgram, found: Claim | BackendAnswer | Result[Any], source: str = "") -> Claim:
        """Take the claim out of a backend's answer or of a result."""
        if isinstance(found, Claim):
            return found
        if isinstance(found, BackendAnswer):
            return cls(source or "the solver", found.status, found.bounds, found.values, found.row_duals)
        plan: VariableValues | None = found.plan if found.plan is not None else found.rejected_plan
        values = None if plan is None else plan.to_array(program)
        named = source or found.native_status.partition(":")[0] or found.method
        duals = getattr(found.native, "row_duals", None)
        return cls(named, found.status, found.bounds, values, duals)


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is certain about an answer, and what remains the solver's word.

    Parameters
    ----------
    claim
        What was certified.
    sense
        Of the program.
    plan
        The exact check of the plan, None without a plan.
    rounded
        Whether integer columns were rounded to whole numbers before the check.
    root_bound
        The bound of the linear relaxation, safe in exact arithmetic; infinite when there is none.
    infeasible
        Whether a weighted sum of the rows proves in exact arithmetic that there is no plan.
    contradictions
        What in the claim cannot be true, in words.
    cpu_s
        CPU seconds that the certificate took.
    """

    claim: Claim
    sense: Sense
    plan: ExactCheck | None
    rounded: bool
    root_bound: float
    infeasible: bool
    contradictions: tuple[str, ...]
    cpu_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts the claim. It does not mean that all of it is proven."""
        return not self.contradictions

    @property
    def objective(self) -> Fraction | None:
        """The exact objective of the plan."""
        return None if self.plan is None else self.plan.objective

    @property
    def proven(self) -> Bounds:
        """What holds in exact arithmetic: the primal side only for a plan that violates nothing at all."""
        unknown = Bounds.unknown(self.sense)
        exact = self.plan is not None and self.plan.exactly_feasible
        primal = outward(self.plan.objective, _flipped(self.sense)) if self.plan and exact else unknown.primal
        return Bounds(primal, self.root_bound)

    @property
    def bound_rests_on(self) -> Proof:
        """What the claimed bound (or the claim that there is no plan) rests on."""
        if self.claim.status is Status.INFEASIBLE:
            return Proof.EXACT if self.infeasible else Proof.SOLVER
        claimed, sign = self.claim.bounds.dual, self.sense.sign
        if not isfinite(claimed):
            return Proof.NOTHING
        slack = TOLERANCE * max(1.0, abs(claimed))
        return Proof.EXACT if sign * (claimed - self.root_bound) <= slack else Proof.SOLVER

    def __str__(self) -> str:
        lines = [self._plan_line(), self._bound_line()]
        lines += [f"CONTRADICTION: {what}" for what in self.contradictions]
        return "\n".join(line for line in lines if line)

    def _plan_line(self) -> str:
        if self.plan is None:
            return "plan: none"
        value = f"objective {as_float(self.plan.objective):.12g}"
        if self.plan.exactly_feasible:
            after = " once its integers are rounded" if self.rounded else ""
            return f"plan: feasible in exact arithmetic{after}, {value}"
        worst = self.plan.violations[0]
        kept = "within" if self.plan.within(TOLERANCE) else "NOT within"
        return f"plan: {kept} {TOLERANCE:g} in exact arithmetic (worst: {worst}), {value}"

    def _bound_line(self) -> str:
        source, rests = self.claim.source, self.bound_rests_on
        if self.claim.status is Status.INFEASIBLE:
            return f"no plan: {'proven in exact arithmetic' if rests is Proof.EXACT else f'claimed by {source}'}"
        root = f"{self.root_bound:.12g} proven in exact arithmetic (root relaxation)"
        if rests is Proof.EXACT:
            return f"bound: {root}"
        known = f"; {root}" if isfinite(self.root_bound) else "; nothing is proven in exact arithmetic"
        if rests is Proof.NOTHING:
            return f"bound: none claimed by {source}{known}"
        return f"bound: {self.claim.bounds.dual:.12g} claimed by {source}{known}"


def certify(
    program: MixedIntegerProgram,
    found: Claim | BackendAnswer | Result[Any],
    *,
    source: str = "",
    options: SolveOptions | None = None,
) -> Certificate:
    """Check an answer in exact arithmetic.

    The plan is checked exactly; integer columns are rounded first when that helps. The bound of the root relaxation is
    recomputed exactly from the duals of the answer, or from those of one LP solve. A tree search leaves nothing that
    could be checked: what it proves beyond the root stays the solver's word, and the certificate says so.

    Parameters
    ----------
    program
        What was solved.
    found
        An answer of a backend, a result of ``solve``, or a claim.
    source
        Who claims it, for the sentences.
    options
        Limits, threads and seed of the LP solve.

    Examples
    --------
    >>> import apportion
    >>> model = apportion.Model("shelf")
    >>> box = model.add_variables("box", shape=3, upper=1, integer=True)
    >>> fits = model.add_constraints("weight", 3 * box[0] + 4 * box[1] + 5 * box[2] <= 8)
    >>> model.maximise(4 * box[0] + 5 * box[1] + 6 * box[2])
    >>> program = model.compile()
    >>> print(certify(program, apportion.solve(program)))
    plan: feasible in exact arithmetic, objective 10
    bound: 10 proven in exact arithmetic (root relaxation)
    """
    began = time.process_time()
    options = options or SolveOptions()
    claim = Claim.of(program, found, source)
    contradictions: list[str] = []
    plan, rounded = _checked_plan(program, claim, contradictions)
    infeasible = claim.status in (Status.INFEASIBLE, Status.INFEASIBLE_OR_UNBOUNDED) and prove_infeasible(
        program, options
    )
    bound = -program.sense.sign * inf
    if not infeasible:
        exact = root_bound(program, claim.row_duals, options)
        if exact is not None:
            bound = outward(rounded_to_step(program, exact), program.sense)
    contradictions += _contradictions_within(program.sense, claim, plan, bound)
    return Certificate(
        claim=claim,
        sense=program.sense,
        plan=plan,
        rounded=rounded,
        root_bound=bound,
        infeasible=infeasible,
        contradictions=tuple(contradictions),
        cpu_s=time.process_time() - began,
    )


@dataclass(frozen=True, eq=False)
class Verification:
    """What a second solve says about a claim.

    ``confirmed`` means that the second backend proved the same; without it and without contradictions the second
    solve only found nothing against the claim.
    """

    claim: Claim
    second: Claim
    contradictions: tuple[str, ...]
    confirmed: bool

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts the claim."""
        return not self.contradictions

    def __str__(self) -> str:
        if self.contradictions:
            return "\n".join(f"CONTRADICTION: {what}" for what in self.contradictions)
        if self.confirmed:
            return f"{self.second.source} confirms {self.claim.source}: {self.second.status}"
        return f"{self.second.source} finds nothing against {self.claim.source} ({self.second.status})"


def verify(
    program: MixedIntegerProgram,
    found: Claim | BackendAnswer | Result[Any],
    *,
    source: str = "",
    backend: str | Backend | None = None,
    options: SolveOptions | None = None,
    cancelled: threading.Event | None = None,
) -> Verification:
    """Solve again with another backend and compare the claims.

    Parameters
    ----------
    program
        What was solved.
    found
        The answer to verify.
    source
        Who claims it.
    backend
        The second backend; by default the first that is installed, is not ``source`` and can express the program.
    options
        Limits of the second solve.
    cancelled
        Setting it stops the second solve.

    Raises
    ------
    CapabilityError
        When no other backend can express the program.
    """
    options = options or SolveOptions()
    claim = Claim.of(program, found, source)
    other = second_backend(program, claim.source) if backend is None else backend
    solver = backend_named(other) if isinstance(other, str) else other
    monitor = Monitor(program.sense, None, options.time_limit_s, cancelled or threading.Event())
    answer = solver.run(program, replace(options, start=None, backend=None), monitor)
    second = Claim.of(program, answer, solver.name)
    return compare(program, claim, second)


def compare(program: MixedIntegerProgram, first: Claim, second: Claim) -> Verification:
    """Name every pair of statements of two claims that cannot both be true; plans count when they pass the check."""
    found: list[str] = []
    checks = [_checked_plan(program, claim, found)[0] for claim in (first, second)]
    for claim, check in zip((first, second), checks, strict=True):
        found += _contradictions_within(program.sense, claim, check, -program.sense.sign * inf)
    for (mine, _), (theirs, their_check) in (
        ((first, checks[0]), (second, checks[1])),
        ((second, checks[1]), (first, checks[0])),
    ):
        found += _contradictions_between(program.sense, mine, theirs, their_check)
    same = not found and first.status is second.status and _proves(second)
    if same and first.status is Status.OPTIMAL:
        same = not _beyond(program.sense, first.bounds.primal, second.bounds.primal) and not _beyond(
            program.sense, second.bounds.primal, first.bounds.primal
        )
    return Verification(first, second, tuple(dict.fromkeys(found)), same)


def _proves(claim: Claim) -> bool:
    return claim.status in (Status.OPTIMAL, Status.INFEASIBLE, Status.UNBOUNDED)


def second_backend(program: MixedIntegerProgram, first: str) -> str:
    """The first installed backend that can express ``program`` and is not named in ``first``.

    Raises
    ------
    CapabilityError
        When there is none.
    """
    from apportion.solvers.backends.registry import is_installed

    for name in BACKENDS:
        if name not in first and is_installed(name) and not refusal(program, name):
            return name
    raise CapabilityError(f"no backend besides {first} can express {program.name!r}\nMaybe install another")


def _checked_plan(
    program: MixedIntegerProgram, claim: Claim, contradictions: list[str]
) -> tuple[ExactCheck | None, bool]:
    """The exact check of the plan of a claim, and whether its integers were rounded for it."""
    who = claim.source
    if claim.values is None:
        if claim.status.has_plan:
            contradictions.append(f"{who} claims {claim.status} and gives no plan")
        return None, False
    try:
        check = check_exactly(program, claim.values)
    except PlanError as error:
        contradictions.append(f"{who} gives a plan that is none: {error.faults[0]}")
        return None, False
    if not check.exactly_feasible and program.integer.any():
        whole = np.where(program.integer, np.rint(claim.values), claim.values)
        again = check_exactly(program, whole)
        if not np.array_equal(whole, claim.values) and again.largest <= check.largest:
            return again, True
    if not check.within(TOLERANCE):
        message = f"{who} gives a plan that breaks {check.violations[0]}"
        contradictions.append(f"{message} ({check.num_violations} violations in all)")
    return check, False


def _contradictions_within(sense: Sense, claim: Claim, plan: ExactCheck | None, safe_bound: float) -> list[str]:
    """What a claim says against itself, against its own plan, and against a proven bound."""
    found, who, bounds = [], claim.source, claim.bounds
    objective = None if plan is None else as_float(plan.objective)
    if claim.status is Status.ERROR:
        found.append(f"{who} ended with an error")
    if plan is not None and not claim.status.has_plan and claim.status is not Status.ERROR:
        found.append(f"{who} claims {claim.status} and gives a plan")
    told = objective is not None and isfinite(bounds.primal)
    if objective is not None and told and abs(bounds.primal - objective) > _CLAIM_TOLERANCE * max(1.0, abs(objective)):
        found.append(f"{who} claims an objective of {bounds.primal:.9g}, its plan has {objective:.9g}")
    best = bounds.primal if objective is None else objective
    if isfinite(best) and _beyond(sense, bounds.dual, best):
        found.append(f"{who} claims the bound {bounds.dual:.9g}, beyond its own plan of {best:.9g}")
    if claim.status is Status.OPTIMAL and not isfinite(bounds.dual):
        found.append(f"{who} claims an optimum and no bound")
    if isfinite(safe_bound):
        if objective is not None and _beyond(sense, safe_bound, objective):
            found.append(
                f"{who} has a plan of {objective:.9g}, better than {safe_bound:.9g}, which is proven impossible"
            )
        if claim.status is Status.UNBOUNDED:
            found.append(f"{who} claims unbounded, but {safe_bound:.9g} is proven to be a bound")
    return found


def _contradictions_between(sense: Sense, mine: Claim, theirs: Claim, their_plan: ExactCheck | None) -> list[str]:
    """What ``mine`` says that a plan or a proof of ``theirs`` denies."""
    found = []
    plan = their_plan is not None and their_plan.within(TOLERANCE)
    if plan and their_plan is not None:
        objective = as_float(their_plan.objective)
        if mine.status is Status.INFEASIBLE:
            found.append(f"{mine.source} claims infeasible, {theirs.source} has a checked plan of {objective:.9g}")
        if _beyond(sense, mine.bounds.dual, objective):
            plan_words = f"{theirs.source} has a checked plan of {objective:.9g}"
            found.append(f"{mine.source} claims the bound {mine.bounds.dual:.9g}, {plan_words}")
    if mine.status is Status.UNBOUNDED and isfinite(theirs.bounds.dual):
        found.append(f"{mine.source} claims unbounded, {theirs.source} claims the bound {theirs.bounds.dual:.9g}")
    if mine.status is Status.UNBOUNDED and theirs.status is Status.INFEASIBLE:
        found.append(f"{mine.source} claims unbounded, {theirs.source} claims infeasible")
    return found


def _beyond(sense: Sense, bound: float, objective: float) -> bool:
    """Whether a dual bound denies that there is a plan of ``objective``, by more than tolerances explain."""
    if bound == -sense.sign * inf or not isfinite(objective):
        return False
    return sense.sign * (bound - objective) > _CLAIM_TOLERANCE * max(1.0, abs(objective))


def _flipped(sense: Sense) -> Sense:
    return Sense.MAXIMISE if sense is Sense.MINIMISE else Sense.MINIMISE
