"""Unit commitment: relax for a bound, fix what the relaxation is sure of for a plan, solve in full to close the gap."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.models.commitment.alike import Alike
from apportion.models.commitment.arrays import Formulation, decode, formulate
from apportion.models.commitment.fleet import Fleet
from apportion.solvers.advisor import Advice, Advisor
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.commitment.counts import Counted, Part, losses
from apportion.solvers.commitment.hull import Hull, PriceSearch, best_prices
from apportion.solvers.commitment.prices import UnitPricing
from apportion.solvers.commitment.shrink import shrink
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.solve import limit_reached
from apportion.solvers.status import Bounds, Limit, Status

GUARDS_H = (1, 4, 8)
"""Hours to both sides on which the relaxation must agree before a state is fixed; the next when one is infeasible."""

SUBPROBLEM_NODES = 500
SUBPROBLEM_SHARE = 0.25
SUBPROBLEM_MOST_S = 60.0
SMALL = 1000
"""Unit-hours below which the full program follows at once on the first restricted one."""

FAIR = 5e-3
"""A gap at which the first restricted program ends when it cannot close the whole gap anyway."""

LARGE = 2000
"""Unit-hours from which prices are searched for instead of solving the linear relaxation."""

MANY = 10_000
"""Integer columns from which the gap between prices and plans is expected to be small: a plan before any cuts."""

ROOMS = (1e-4, 3e-4, 1e-3, 3e-3, inf)
"""How much a state may cost, as a fraction of the bound, to be left open in one program after the other."""

HULL_TOLERANCE = 1e-4
"""How far the price search may stay below the best bound that prices can prove, as a fraction."""

_WHOLE = 1e-6
_ALMOST = 0.99
"""A restricted program closes a little more than the gap, for the dispatch in full to be as good."""


def commit(
    instance: UnitCommitment, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[Commitment]:
    """Solve ``instance``.

    Days with few unit-hours:

    1. The linear relaxation gives the first bound.
    2. Every unit-hour that the relaxation puts at 0 or 1 together with its neighbour hours is fixed there; the small
       program that is left gives the first plan.
    3. While the gap is open, those states are freed again to which the relaxation is indifferent, and the larger
       program that is left is solved from that plan on.

    Days with many:

    1. Prices on demand, reserve and cuts give the bound (:mod:`apportion.solvers.commitment.hull`).
    2. Programs in numbers of like units give plans, first near the mix of schedules at these prices, then without the
       states that prices exclude by some room; these also raise the bound (:mod:`apportion.solvers.commitment.counts`).

    While the gap is open, the full program goes on from the best plan, without the states that no better plan can have.

    Of an advisor it uses ``start`` and ``fix``; neither can make a bound wrong.
    """
    began = time.perf_counter()
    formulation = formulate(instance)
    search = _Search(formulation, formulation.model.compile(), options, monitor)
    build_s = time.perf_counter() - began
    advice = advisor.advise(instance) if advisor is not None else Advice()
    for plan in (options.start, advice.start):
        if isinstance(plan, Commitment):
            search.adopt(plan)
    many = instance.num_units * instance.num_periods >= LARGE
    last = search.by_prices(advice) if many else search.by_relaxation(advice)
    if last is None and search.gap_is_open and not monitor.should_stop:
        last = search.finish()
    return search.answer(build_s, last or BackendAnswer(Status.NO_SOLUTION, Bounds.unknown(Sense.MINIMISE)))


@dataclass(frozen=True, eq=False)
class Guide:
    """What a relaxation says of the states, shape (units, periods).

    ``commit`` lies between 0 and 1; ``indifferent`` marks where the other state would cost nothing more.
    """

    commit: Floats
    indifferent: NDArray[np.bool_]


def settled(commit: Floats, guard_h: int) -> NDArray[np.bool_]:
    """Which unit-hours of a relaxed ``commit`` are 0 or 1 together with ``guard_h`` hours to both sides."""
    hours = np.arange(commit.shape[1])
    near = [commit[:, np.clip(hours + shift, 0, hours[-1])] for shift in range(-guard_h, guard_h + 1)]
    agreed: NDArray[np.bool_] = (np.max(near, axis=0) < _WHOLE) | (np.min(near, axis=0) > 1.0 - _WHOLE)
    return agreed


def indifferent(price: Floats, commit: Floats, fleet: Fleet) -> NDArray[np.bool_]:
    """Which unit-hours lie in a stretch, long enough for a run or a stop, whose reduced costs ``price`` are all zero.

    There the relaxation has no opinion: the unit could as well be in the other state.
    """
    free = np.zeros(commit.shape, np.bool_)
    for shortest, relevant in ((fleet.min_up, commit < 0.5), (fleet.min_down, commit > 0.5)):
        for length in np.unique(shortest):
            units = np.flatnonzero(shortest == length)
            zero = np.abs(price[units]) <= _WHOLE
            free[units] |= relevant[units] & _in_long_stretch(zero, min(int(length), commit.shape[1]))
    return free


def _in_long_stretch(marks: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Which entries of each row lie in ``length`` marked ones in a row."""
    windows = np.lib.stride_tricks.sliding_window_view(marks, length, axis=1).all(axis=2)
    num_windows = marks.shape[1] - length + 1
    within = np.zeros(marks.shape, np.bool_)
    for shift in range(length):
        within[:, shift : shift + num_windows] |= windows
    return within


@dataclass
class _SubMonitor(Monitor):
    """The clock of a restricted program: its plans count for the whole, its bounds only up to ``reach``."""

    parent: Monitor | None = None
    gap: float = 0.0
    enough: float = 0.0
    reach: float = -inf

    @property
    def should_stop(self) -> bool:
        """Also when the caller stops, a plan is good enough for the whole, or no plan here can be and one is fair.

        The last: this program's own bound shows that the gap stays open, and its own gap is at most ``enough``.
        """
        if self.parent is None or super().should_stop:
            return super().should_stop
        whole = max(self.parent.bounds.dual, min(self.bounds.dual, self.reach))
        best = min(self.parent.bounds.primal, self.bounds.primal)
        closed = isfinite(best) and best - whole <= _ALMOST * self.gap * abs(best)
        ceiling = max(whole, self.reach)
        hopeless = self.bounds.dual - ceiling > self.gap * abs(ceiling)
        return self.parent.should_stop or closed or (hopeless and self.bounds.gap <= self.enough)


@dataclass
class _Search:
    """One solve: the program and the best values so far."""

    formulation: Formulation
    program: MixedIntegerProgram
    options: SolveOptions
    monitor: Monitor
    values: Floats | None = None
    objective: float = inf
    finished: bool = False
    hull: Hull | None = None
    counts: dict[str, int] = field(default_factory=dict)

    @cached_property
    def alike(self) -> Alike:
        """The kinds of units."""
        return Alike.of(self.formulation.instance)

    @cached_property
    def pricing(self) -> UnitPricing:
        """The kinds of units, ready to be priced."""
        return UnitPricing(self.alike.instance, self.alike.count)

    @property
    def gap_is_open(self) -> bool:
        """Whether more has to be proven or found."""
        return self.monitor.bounds.gap > self.options.gap

    def _run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        answer = backend_named(self.options.backend or "highs").run(program, options, monitor, start)
        for name, count in answer.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        return answer

    def _run_small(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        """:meth:`_run` for a program with many fixed columns; only values, bounds and status are of the original.

        On large fleets the presolve of HiGHS costs more than it saves once the fixed columns are gone.
        """
        small = shrink(program)
        presolve = options.highs.presolve and self.program.integer.sum() < MANY
        quick = options.with_(highs=replace(options.highs, presolve=presolve))
        begin = None if start is None else small.reduced(start)
        answer = self._run(small.program, quick, monitor, begin)
        values = None if answer.values is None else small.restored(answer.values)
        return replace(answer, values=values, row_duals=None, reduced_costs=None)

    def _keep(self, values: Floats, objective: float, letter: str) -> None:
        if objective < self.objective:
            self.values, self.objective = values, objective
        self.monitor.incumbent(objective, letter)

    def relax(self) -> BackendAnswer:
        """Solve the linear relaxation; its value is a bound."""
        relaxed = self.program.relaxed()
        quiet = Monitor(Sense.MINIMISE, None, self.monitor.remaining_s, self.monitor.cancelled)
        answer = self._run(relaxed, self.options, quiet)
        self.monitor.bound(answer.bounds.dual, "relaxation")
        return answer

    def guide_of(self, relaxation: BackendAnswer) -> Guide | None:
        """What the linear relaxation says of the states; None when it is not solved."""
        if relaxation.status is not Status.OPTIMAL or relaxation.values is None or relaxation.reduced_costs is None:
            return None
        split = self.formulation.model.split
        commit, price = (split(values)["commit"] for values in (relaxation.values, relaxation.reduced_costs))
        return Guide(commit, indifferent(price, commit, self.formulation.fleet))

    def by_relaxation(self, advice: Advice) -> BackendAnswer | None:
        """Bound and plans from the linear relaxation; an answer when that ends the search."""
        last = self.relax()
        guide = self.guide_of(last)
        if guide is None:
            return last
        self.dive(guide, advice)
        return None

    def by_prices(self, advice: Advice) -> BackendAnswer | None:
        """Bound and plans from prices; an answer when they prove that there is no commitment."""
        prices = PriceSearch(self.pricing, self.monitor, HULL_TOLERANCE)
        self.hull = prices.converge()
        if self.hull.infeasible:
            return BackendAnswer(Status.INFEASIBLE, Bounds(inf, inf))
        if advice.fix:
            self._solve_restricted(self._shares(self.hull), settled(self._shares(self.hull), GUARDS_H[0]), advice)
        if self.program.integer.sum() >= MANY:
            self._explore(Counted.of(self.alike, self.hull), self.hull, near_only=True)
        if self.gap_is_open and not self.monitor.should_stop:
            self.hull = prices.strengthen()
            self._explore(Counted.of(self.alike, self.hull), self.hull)
        return None

    def _shares(self, hull: Hull) -> Floats:
        """How much of each unit-hour is on in the best mix, shape (units, periods)."""
        share = np.zeros((self.formulation.fleet.num_units, hull.share.shape[1]))
        for k, members in enumerate(self.alike.members):
            share[list(members)] = hull.share[k] / len(members)
        return share

    def _explore(self, counted: Counted, hull: Hull, *, near_only: bool = False) -> None:
        """Search parts of the program in numbers, from small to large, until the gap is closed."""
        values = self._try(counted, counted.near(hull, 0), None, FAIR)
        loss = losses(self.pricing, hull)
        for room in () if near_only else ROOMS:
            if not self.gap_is_open or self.monitor.should_stop:
                return
            part = counted.within(hull, loss, room * abs(hull.bound), values)
            found = self._try(counted, part, values, FAIR)
            values = values if found is None else found

    def _try(self, counted: Counted, part: Part, start: Floats | None, enough: float) -> Floats | None:
        """Search a part; its plan is dispatched in full. Return its values."""
        self.monitor.log(f"a program with {part.open_share:.1%} of the states open")
        monitor = self._sub_monitor(enough, part.reach, forward=False)
        answer = self._run_small(part.program, self._subproblem_options(), monitor, start)
        proven = inf if answer.status is Status.INFEASIBLE else answer.bounds.dual
        self.monitor.bound(min(proven, part.reach), "states that prices exclude left out")
        if answer.values is None:
            return None
        states = counted.alike.spread(counted.running(answer.values))
        dispatched = self.dispatch(states) if states is not None else None
        if dispatched is None or dispatched.values is None:
            self.monitor.log("numbers of like units that do not come apart into schedules")
        else:
            self._keep(dispatched.values, dispatched.bounds.primal, "R")
        return answer.values

    def narrowed(self) -> MixedIntegerProgram:
        """The full program without the states that no plan better than the best one can have."""
        if not isfinite(self.objective):
            return self.program
        if self.hull is None:
            self.hull = best_prices(self.pricing, self.monitor, HULL_TOLERANCE)
        room = self.objective - self.hull.bound + _WHOLE * abs(self.objective)
        excluded = losses(self.pricing, self.hull) > room
        never_off, never_on = np.zeros((2, *self.formulation.shape), np.bool_)
        for k, members in enumerate(self.alike.members):
            never_off[list(members)], never_on[list(members)] = excluded[:, k]
        columns = self.formulation.model.split(np.arange(self.program.num_columns, dtype=np.float64))["commit"]
        lower, upper = np.array(self.program.lower), np.array(self.program.upper)
        lower[columns[never_off].astype(np.int64)] = 1.0
        upper[columns[never_on].astype(np.int64)] = 0.0
        self.monitor.log(f"prices exclude {np.mean(never_off | never_on):.1%} of the states")
        return replace(self.program, lower=lower, upper=upper)

    def dispatch(self, committed: NDArray[np.bool_]) -> BackendAnswer:
        """Solve for everything but the states, which are given: a linear program, exact to its tolerance."""
        fleet = self.formulation.fleet
        before = np.concatenate([fleet.initially_on[:, None], committed[:, :-1]], axis=1)
        states = {"commit": committed, "start": committed & ~before, "stop": ~committed & before}
        fixed = self.formulation.model.pack({name: state.astype(np.float64) for name, state in states.items()})
        given = np.isfinite(fixed)
        lower, upper = np.where(given, fixed, self.program.lower), np.where(given, fixed, self.program.upper)
        # the states must respect what the instance forbids: a plan that does not is infeasible here
        if np.any(lower < self.program.lower) or np.any(upper > self.program.upper):
            return BackendAnswer(Status.INFEASIBLE, Bounds.unknown(Sense.MINIMISE))
        program = replace(self.program.relaxed(), lower=lower, upper=upper)
        return self._run_small(program, self.options, Monitor(Sense.MINIMISE))

    def adopt(self, plan: Commitment) -> None:
        """Take over a plan's states, with the best dispatch for them."""
        committed = plan.aligned_to(self.formulation.instance).committed
        answer = self.dispatch(committed)
        if answer.values is None:
            self.monitor.log("the start is left out: its states allow no dispatch")
            return
        self._keep(answer.values, answer.bounds.primal, "S")

    def dive(self, guide: Guide, advice: Advice) -> None:
        """Fix what the relaxation is sure of, or an advisor knows, and solve the rest; first with most fixed."""
        commit = guide.commit
        if advice.fix:
            self._solve_restricted(commit, settled(commit, GUARDS_H[0]), advice)
        for guard in GUARDS_H:
            found = self._solve_restricted(commit, settled(commit, guard), Advice(), FAIR)
            if found or self.monitor.should_stop:
                break
        if commit.size < SMALL or self.monitor.should_stop or not self.gap_is_open:
            return
        self._solve_restricted(commit, settled(commit, GUARDS_H[0]) & ~guide.indifferent, Advice())

    def _solve_restricted(self, commit: Floats, sure: NDArray[np.bool_], advice: Advice, enough: float = 0.0) -> bool:
        """Solve with the ``sure`` states fixed where the relaxation has them; return whether there is a plan."""
        columns = self.formulation.model.split(np.arange(self.program.num_columns, dtype=np.float64))["commit"]
        lower, upper = np.array(self.program.lower), np.array(self.program.upper)
        lower[columns[sure & (commit > 0.5)].astype(np.int64)] = 1.0
        upper[columns[sure & (commit < 0.5)].astype(np.int64)] = 0.0
        for column, value in advice.fix.items():
            if self.program.integer[column] and self.program.lower[column] <= value <= self.program.upper[column]:
                lower[column] = upper[column] = round(value)
        restricted = replace(self.program, lower=lower, upper=np.maximum(lower, upper))
        answer = self._run(restricted, self._subproblem_options(), self._sub_monitor(enough), self._start(restricted))
        if answer.values is None:
            return False
        self._keep(answer.values, answer.bounds.primal, "R")
        return True

    def _subproblem_options(self) -> SolveOptions:
        nodes = min(SUBPROBLEM_NODES, self.options.node_limit or SUBPROBLEM_NODES)
        return self.options.with_(gap=self.options.gap / 2.0, node_limit=nodes)

    def _sub_monitor(self, enough: float, reach: float = -inf, *, forward: bool = True) -> _SubMonitor:
        limit = inf if self.options.deterministic else SUBPROBLEM_MOST_S
        remaining = self.monitor.remaining_s
        limit = min(limit, SUBPROBLEM_SHARE * remaining) if isfinite(remaining) else limit

        def hear(event: Event) -> None:
            if event.kind is EventKind.INCUMBENT and forward:
                self.monitor.incumbent(event.bounds.primal, event.letter, "with agreed states fixed")
            elif event.kind is EventKind.LOG:
                self.monitor.log(event.message, event.letter)

        gap = self.options.gap
        return _SubMonitor(Sense.MINIMISE, hear, limit, parent=self.monitor, gap=gap, enough=enough, reach=reach)

    def _start(self, program: MixedIntegerProgram) -> Floats | None:
        """The best values, where a program allows them."""
        if self.values is None:
            return None
        inside = np.all((self.values >= program.lower - _WHOLE) & (self.values <= program.upper + _WHOLE))
        return self.values if inside else None

    def finish(self) -> BackendAnswer:
        """Solve the full program from the best values on."""
        answer = self._run(self.narrowed(), self.options, self.monitor, self.values)
        if answer.values is not None:
            self._keep(answer.values, answer.bounds.primal, "T")
        self.monitor.bound(answer.bounds.dual, "full program")
        self.finished = answer.status is Status.OPTIMAL
        return answer

    def answer(self, build_s: float, last: BackendAnswer) -> Answer[Commitment]:
        """Decode the best values and say what is proven; ``last`` tells why the search ended."""
        stopped = last.limit or (limit_reached(self.monitor) if self.monitor.should_stop else Limit.OTHER)
        dual = self.monitor.bounds.dual
        if self.values is None:
            status = Status.NO_SOLUTION if last.status.has_plan else last.status
            if status is Status.INFEASIBLE_OR_UNBOUNDED:
                status = Status.INFEASIBLE  # every column is bounded
            limit = stopped if status is Status.NO_SOLUTION else None
            return Answer(status, Bounds(inf, dual), None, limit, build_s, self.counts, last.native_status)
        exact = self.dispatch(self.formulation.model.split(self.values)["commit"] > 0.5)
        values = self.values if exact.values is None else exact.values
        objective = self.objective if exact.values is None else exact.bounds.primal
        bounds = Bounds(objective, dual)
        proven = self.finished or bounds.gap <= self.options.gap or dual >= objective
        status = Status.OPTIMAL if proven else Status.FEASIBLE
        plan = decode(self.formulation, values)
        return Answer(status, bounds, plan, None if proven else stopped, build_s, self.counts, last.native_status)
