"""The method: relax, with flow rows added as they break; fix what is settled; solve the rest; neighbourhoods; proof.

1. The linear relaxation is solved and its flows screened until no limit breaks, with all lines and after every outage.
   Its value is a bound whatever rows are still missing: a model with fewer rows is a relaxation.
2. What the relaxation has at 0 or 1, together with the periods around it, is fixed; HiGHS solves the rest. The states
   it finds get their exact dispatch, with rows added until no flow breaks: that is a plan.
3. Neighbourhoods of the best plan (windows of time, groups of units that the relaxation is unsure of) while the gap is
   open and they help.
4. The full program, without the states that reduced costs exclude, proves or improves; rounds go on while its plans
   break limits that it does not have yet.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Sense
from apportion.instances.program import MixedIntegerProgram
from apportion.instances.security_commitment import SecurityConstrainedCommitment
from apportion.instances.security_plan import SecureCommitment
from apportion.models.security_commitment.arrays import formulate
from apportion.models.security_commitment.decode import decode
from apportion.models.security_commitment.flows import FlowRows
from apportion.models.security_commitment.formulation import SecureFormulation
from apportion.models.security_commitment.network import network_of, rows_named
from apportion.solvers.advisor import Advice, Advisor
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.backends.registry import backend_named
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.security_commitment.relaxation import Relaxation, Relaxed
from apportion.solvers.security_commitment.screening import Screen
from apportion.solvers.status import Bounds, Limit, Status

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

GUARDS = (2, 1, 0)
"""Periods to both sides that have to agree, from the most cautious."""
NODES = 2000
"""Branch-and-bound nodes of one restricted program."""
NEIGHBOURHOODS = 24
"""Most neighbourhoods; they end sooner after :data:`PATIENCE` that bring little of what is missing."""
PATIENCE = 3
_LITTLE = 0.2
_WHOLE = 1e-6
_MOST_FINAL_ROUNDS = 20


def commit_securely(
    instance: SecurityConstrainedCommitment, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[SecureCommitment]:
    """Solve a security-constrained commitment.

    ``advisor`` may give a start, states to try first, and names of flow rows
    (:func:`~apportion.models.security_commitment.network.row_name`) to put in before the first solve.
    """
    began = time.perf_counter()
    advice = advisor.advise(instance) if advisor is not None else Advice()
    formulation = formulate(instance)
    program = formulation.model.compile()
    rows = FlowRows(formulation, network_of(instance))
    rows.add(rows_named(instance, list(advice.put_in)))
    screen = Screen(rows.network, instance.num_periods)
    build_s = time.perf_counter() - began
    search = _Search(formulation, program, rows, Relaxation(program, rows, screen, monitor), options, monitor)
    if np.any(program.lower > program.upper + _WHOLE):
        return search.answer(build_s, Status.INFEASIBLE)
    relaxed = search.relax()
    if relaxed is None:
        return search.answer(build_s, Status.INFEASIBLE if search.relaxation.infeasible else Status.NO_SOLUTION)
    for start in (advice.start, options.start):
        if isinstance(start, SecureCommitment):
            search.adopt(start.aligned_to(instance).committed)
    search.dive(relaxed)
    search.improve(relaxed)
    status = search.finish(relaxed)
    return search.answer(build_s, status)


def settled(commit: Floats, guard: int) -> Bools:
    """Which unit-periods of a relaxed ``commit`` are 0 or 1 together with ``guard`` periods to both sides."""
    periods = np.arange(commit.shape[1])
    near = [commit[:, np.clip(periods + shift, 0, periods[-1])] for shift in range(-guard, guard + 1)]
    agreed: Bools = (np.max(near, axis=0) < _WHOLE) | (np.min(near, axis=0) > 1.0 - _WHOLE)
    return agreed


@dataclass
class _SubMonitor(Monitor):
    """The clock of one program of the search.

    Its plans may break limits that it does not have, so they are not news; its bounds are only where ``whole`` is set.
    """

    parent: Monitor | None = None
    enough: float = -inf

    @property
    def should_stop(self) -> bool:
        """Also when the caller stops, or a plan is as good as needed, or none here can beat the best."""
        if self.parent is None or super().should_stop:
            return super().should_stop
        own, whole = self.bounds, self.parent.bounds
        return self.parent.should_stop or own.primal <= self.enough or own.dual >= whole.primal


@dataclass
class _Search:
    """One solve: the program, the rows met so far, and the best states with their dispatch."""

    formulation: SecureFormulation
    program: MixedIntegerProgram
    rows: FlowRows
    relaxation: Relaxation
    options: SolveOptions
    monitor: Monitor
    best: Relaxed | None = None
    limit: Limit | None = None
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def commit_columns(self) -> Ints:
        """Columns of the states, shape (units, periods)."""
        block = self.formulation.model.variables["commit"]
        return np.arange(block.first, block.last).reshape(block.shape)

    @property
    def gap_is_open(self) -> bool:
        """Whether more has to be proven or found."""
        return self.monitor.bounds.gap > self.options.gap and not self.monitor.should_stop

    def _commit(self, values: Floats) -> Floats:
        return values[self.commit_columns]

    def relax(self) -> Relaxed | None:
        """Solve the relaxation with screening; its value is a bound."""
        found = self.relaxation.solve()
        if found is not None:
            self.monitor.bound(found.objective, "relaxation")
            self.monitor.log(f"{len(self.rows.rows)} flow rows after the relaxation")
        return found

    def adopt(self, committed: Bools) -> bool:
        """Take over states, with the best dispatch for them; False when they allow none or are no better."""
        return self._dispatch(self.commit_columns.ravel(), committed.ravel().astype(np.float64), "S")

    def _dispatch(self, columns: Ints, states: Floats, letter: str) -> bool:
        before = len(self.rows.rows)
        found = self.relaxation.dispatch(columns, states)
        if len(self.rows.rows) > before:
            self.monitor.log(f"{len(self.rows.rows) - before} flow rows more for a plan")
        whole = self.program.integer
        if found is None or np.any(
            np.abs(found.values[: len(whole)] - np.round(found.values[: len(whole)]))[whole] > 1e-5
        ):
            return False
        if self.best is not None and found.objective >= self.best.objective:
            return False
        self.best = found
        self.monitor.incumbent(found.objective, letter)
        return True

    def _is_whole(self, values: Floats) -> bool:
        """Whether all integer columns are: storage states may be left open when units alone are given."""
        integers = values[np.flatnonzero(self.program.integer)]
        return bool((np.abs(integers - np.round(integers)) < 1e-5).all())

    def _run(self, fixed: Bools, values: Floats, gap: float, enough: float, share: float) -> BackendAnswer:
        """Solve with the ``fixed`` states, shape (units, periods), as ``values`` (of the states) has them."""
        lower, upper = np.array(self.program.lower), np.array(self.program.upper)
        columns = self.commit_columns[fixed]
        lower[columns] = np.maximum(lower[columns], np.round(values[fixed]))
        upper[columns] = np.minimum(upper[columns], np.round(values[fixed]))
        restricted = self.rows.program(replace(self.program, lower=lower, upper=np.maximum(lower, upper)))
        nodes = min(NODES, self.options.node_limit or NODES)
        limit = share * self.monitor.remaining_s if isfinite(self.monitor.remaining_s) else inf
        monitor = _SubMonitor(Sense.MINIMISE, None, limit, parent=self.monitor, enough=enough)
        options = self.options.with_(gap=gap, node_limit=nodes)
        return self._backend(restricted, options, monitor)

    def _backend(self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor) -> BackendAnswer:
        answer = backend_named(self.options.backend or "highs").run(program, options, monitor, self._start(program))
        for name, count in answer.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        return answer

    def _start(self, program: MixedIntegerProgram) -> Floats | None:
        """The best values, where a program allows them; overloads that came later are left to the solver."""
        if self.best is None:
            return None
        values = np.full(program.num_columns, np.nan)
        known = self.best.values[: program.num_columns]
        values[: len(known)] = known
        inside = (known >= program.lower[: len(known)] - _WHOLE) & (known <= program.upper[: len(known)] + _WHOLE)
        return values if bool(inside.all()) else None

    def _enough(self, share: float) -> float:
        """An objective that closes the gap with some room for the exact dispatch."""
        dual = self.monitor.bounds.dual
        return dual + share * self.options.gap * abs(dual)

    def _take(self, answer: BackendAnswer, letter: str) -> bool:
        if answer.values is None:
            return False
        integers = np.flatnonzero(self.program.integer)
        return self._dispatch(integers, np.round(answer.values[integers]), letter)

    def dive(self, relaxed: Relaxed) -> None:
        """Fix what the relaxation is sure of and solve the rest, with less fixed until there is a plan."""
        commit = self._commit(relaxed.values)
        for guard in reversed(GUARDS):
            if not self.gap_is_open:
                return
            answer = self._run(settled(commit, guard), commit, self.options.gap / 4.0, self._enough(0.5), 0.5)
            if self._take(answer, "R") or (answer.values is not None and self.best is not None):
                return

    def improve(self, relaxed: Relaxed) -> None:
        """Neighbourhoods of the best plan while they help."""
        random = np.random.default_rng(self.options.seed)
        commit = self._commit(relaxed.values)
        unsure = ~settled(commit, 0)
        idle = 0
        for k in range(NEIGHBOURHOODS):
            if self.best is None or not self.gap_is_open or idle >= PATIENCE:
                return
            before = self.best.objective
            free = self._neighbourhood(k, unsure, commit, random)
            answer = self._run(~free, self._commit(self.best.values), self.options.gap / 10.0, -inf, 0.1)
            self._take(answer, "L")
            # what the plan is short of: the rest is for the bound to give
            missing = before - self._enough(1.0)
            idle = 0 if before - self.best.objective > _LITTLE * missing else idle + 1

    def _neighbourhood(self, k: int, unsure: Bools, commit: Floats, random: np.random.Generator) -> Bools:
        """States to set free: first those where the relaxation disagrees, then windows and groups of units in turn."""
        units, periods = unsure.shape
        now = commit if self.best is None else self._commit(self.best.values)
        differ = np.abs(now - commit) > 0.05
        if k == 0:
            near = [np.roll(differ | unsure, shift, axis=1) for shift in range(-2, 3)]
            return np.asarray(np.any(near, axis=0))
        free = np.zeros(unsure.shape, np.bool_)
        if k % 2:
            length = max(2, periods // 4)
            begin = int(random.integers(0, max(1, periods - length + 1)))
            free[:, begin : begin + length] = True
            return free
        weight = 0.02 + (differ | unsure).mean(axis=1)
        count = min(units, max(5, units // 6))
        free[random.choice(units, count, replace=False, p=weight / weight.sum())] = True
        return free

    def finish(self, relaxed: Relaxed) -> Status | None:
        """Prove or improve with the full program; None when it decides nothing."""
        for _ in range(_MOST_FINAL_ROUNDS):
            if not self.gap_is_open:
                return None
            whole = self.rows.program(self._narrowed(relaxed))
            answer = self._backend(whole, self.options, self._whole_monitor())
            if answer.status is Status.INFEASIBLE:
                return None if self._excluded_all() else Status.INFEASIBLE
            self._claim(answer.bounds.dual)
            before = len(self.rows.rows)
            self._take(answer, "T")
            self.limit = answer.limit
            if len(self.rows.rows) == before or answer.limit is not None:
                return None
        return None

    def _excluded_all(self) -> bool:
        """Nothing is better than the best plan: then that is optimal."""
        if self.best is None:
            return False
        self.monitor.bound(self.best.objective, "no better state is left")
        return True

    def _claim(self, dual: float) -> None:
        """A bound of the narrowed program holds for all plans that are better than the best."""
        known = self.best.objective if self.best is not None else inf
        self.monitor.bound(min(dual, known), "full program")

    def _whole_monitor(self) -> _SubMonitor:
        def forward(event: Event) -> None:
            if event.kind is EventKind.BOUND:
                self._claim(event.bounds.dual)

        return _SubMonitor(
            Sense.MINIMISE, forward, self.monitor.remaining_s, parent=self.monitor, enough=self._enough(0.9)
        )

    def _narrowed(self, relaxed: Relaxed) -> MixedIntegerProgram:
        """The program without the states whose reduced costs put them beyond the best plan."""
        if self.best is None:
            return self.program
        room = self.best.objective - relaxed.objective + 1e-9 * abs(self.best.objective)
        columns = self.commit_columns.ravel()
        price, value = relaxed.reduced_costs[columns], relaxed.values[columns]
        lower, upper = np.array(self.program.lower), np.array(self.program.upper)
        # a state at its lower bound with a price above the room cannot rise, one at its upper bound not fall
        upper[columns[(price > room) & (value < _WHOLE)]] = 0.0
        lower[columns[(price < -room) & (value > 1.0 - _WHOLE)]] = 1.0
        fixed = np.mean(lower[columns] == upper[columns])
        self.monitor.log(f"reduced costs leave {1.0 - fixed:.1%} of the states open")
        return replace(self.program, lower=lower, upper=np.maximum(lower, upper))

    def answer(self, build_s: float, status: Status | None) -> Answer[SecureCommitment]:
        """Decode the best values and say what is proven."""
        counts = {**self.counts, "flow rows": len(self.rows.rows), "linear programs": self.relaxation.solves}
        stopped = Limit.INTERRUPTED if self.monitor.cancelled.is_set() else None
        stopped = stopped or (Limit.TIME if self.monitor.remaining_s <= 0.0 else self.limit or Limit.OTHER)
        dual = self.monitor.bounds.dual
        if self.best is None:
            if status is Status.INFEASIBLE:
                return Answer(Status.INFEASIBLE, Bounds(inf, inf), build_s=build_s, counts=counts)
            return Answer(Status.NO_SOLUTION, Bounds(inf, dual), limit=stopped, build_s=build_s, counts=counts)
        objective = self.best.objective
        bounds = Bounds(objective, min(dual, objective))
        proven = bounds.gap <= self.options.gap
        plan = decode(self.formulation, self.best.values[: self.program.num_columns])
        status = Status.OPTIMAL if proven else Status.FEASIBLE
        return Answer(status, bounds, plan, None if proven else stopped, build_s, counts)
