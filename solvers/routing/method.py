"""Vehicle routing: greedy construction, ruin and recreate under annealing, and a lower bound in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite

from apportion.instances.routing import Routes, VehicleRouting
from apportion.models.checking import check
from apportion.models.routing.check import impossible
from apportion.solvers.advisor import Advisor
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.routing import kernels
from apportion.solvers.routing.annealing import kernels as annealing
from apportion.solvers.routing.bounding.edges import ways_bound
from apportion.solvers.routing.bounds import Effort, prove, share_of_time, whole
from apportion.solvers.routing.pool import RoutePool
from apportion.solvers.routing.search import Search, construction_order
from apportion.solvers.status import Bounds, Limit, Status

COLD = 0.02
"""The last temperature of a cycle, in average distances per client."""
HOT, HOTTEST, HOT_AT, HOT_POWER = 1.2, 1.6, 800.0, 0.25
"""The first temperature: HOT for HOT_AT iterations per client, more for longer cycles."""
OPENING = 0.03
"""How often an iteration sends its first client on a route of its own, before this is adapted."""
POLISH_SHARE = 0.15
"""The part of a cycle's time for set partitioning over the routes seen."""
MOST_CLIENTS_POLISHED, LONGEST_ROUTES_POLISHED = 300, 12.5
POLISHED_CHUNK_S = 0.02
"""Seconds between snapshots of the routes where they are kept."""
BOUND_PER_CLIENT_S = 0.2
"""With so many seconds for each client half of the bound's share of the time is spent, with fewer less."""
LEAST_BOUND_S, LEAST_BOUND_SHARE = 0.5, 0.1
"""But so many seconds, and this share, are never refused to it."""
WARM_UP = 0.05
"""The part of a budget that is spent before the bound, which gains from a good plan."""
CHUNK_S = 0.1
"""Seconds between looks at the clock."""
CYCLE_PER_CLIENT = 4000
"""Iterations of a cycle with a time limit, which allows several; at most twice as many."""
ITERATIONS_PER_CLIENT = 900
"""Iterations of a cycle without any limit."""
_LEAST_ITERATIONS = 20_000
_LEAST_SHARE = 0.02
_REST, _WARM = 0.5, 0.1
"""A cycle shorter than this part of a full one, after the first, stays near the best plan: its first temperature."""
_CHUNK_ITERATIONS = 1000
_IDLE_CYCLES = 2


def route(
    instance: VehicleRouting, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[Routes]:
    """Solve ``instance``.

    With a time limit the cooling fits the time that is left, at the speed that is measured. With ``node_limit``, or
    without any limit, it goes by iterations and repeats exactly; without any limit it ends (``Limit.METHOD``) when two
    cycles of cooling in a row find nothing better. ``node_limit`` counts iterations.
    """
    reasons = impossible(instance)
    if reasons:
        return Answer.nothing(instance.sense, Status.INFEASIBLE, native_status="; ".join(reasons))
    if instance.num_clients == 0:
        return Answer(Status.OPTIMAL, Bounds(0.0, 0.0), Routes(()), native_status="there are no clients")
    return _Run(instance, options, monitor).solve(advisor)


@dataclass(eq=False)
class _Run:
    """One solve: the search and what limits it."""

    instance: VehicleRouting
    options: SolveOptions
    monitor: Monitor

    def solve(self, advisor: Advisor | None) -> Answer[Routes]:
        self.monitor.bound(whole(self.instance, ways_bound(self.instance)))
        if not annealing.improve.signatures:
            self.monitor.log("loading the compiled kernels; the first run on a machine compiles them, about 20 s")
        self.search = self._construct(self._start(advisor))
        build_s = self.monitor.elapsed_s
        self._report("construction")
        self._counts: dict[str, int] = {}
        self._pool = RoutePool(self.instance)
        self._kept: Search | None = None
        self._work = 0
        limit = self._by_time() if self._goes_by_time() else self._by_iterations()
        return self._answer(limit, build_s)

    def _hot(self, iterations: float) -> float:
        """The first temperature of a cycle of so many iterations: a short one must not lose what there is."""
        each = iterations / float(max(1, self.instance.num_clients))
        return float(min(HOTTEST, max(3.0 * COLD, HOT * (each / HOT_AT) ** HOT_POWER)))

    def _goes_by_time(self) -> bool:
        by_work = self.options.node_limit is not None or self.options.deterministic
        return isfinite(self.options.time_limit_s) and not by_work

    def _start(self, advisor: Advisor | None) -> Routes | None:
        """A plan to begin with: the caller's, or the advisor's when it passes the check."""
        start = self.options.start
        if start is None and advisor is not None:
            start = advisor.advise(self.instance).start
        if not isinstance(start, Routes):
            return None
        verdict = check(self.instance, start)
        if not verdict.ok:
            self.monitor.log(f"the advice to start with is rejected: {verdict.violations[0]}")
            return None
        return start

    def _construct(self, start: Routes | None) -> Search:
        """Routes by savings; when the fleet is too small for all of them, the longest and insertion of the rest."""
        search = Search.begin(self.instance, self.options.seed)
        plan = search.merged(self.instance) if start is None else start
        return self._constructed(plan, search)

    def _constructed(self, plan: Routes | None, search: Search | None = None) -> Search:
        search = search or Search.begin(self.instance, self.options.seed)
        search.place(plan, construction_order(self.instance))
        return search

    def _proven(self) -> bool:
        bounds = Bounds(self.search.best, self.monitor.bounds.dual)
        return self.search.num_absent == 0 and bounds.gap <= self.options.gap

    def _finished(self) -> bool:
        return self.monitor.should_stop or self._proven()

    def _report(self, message: str = "") -> None:
        if self.search.num_absent == 0:
            self.monitor.incumbent(self.search.best, "H" if message else "L", message)

    def _look(self) -> None:
        """Between chunks: report, and keep the routes for later."""
        self._report()
        if self._polishes:
            self._pool.add(self.search.current())

    def _prove(self, effort: Effort) -> None:
        plan = self.search.plan() if self.search.num_absent == 0 else None
        self._counts |= prove(self.instance, plan, self.monitor, effort, self._proven, self._adopt)

    def _adopt(self, plan: Routes) -> None:
        """Go on from a plan that the proof found."""
        self._take(plan, "price and cut")

    def _take(self, plan: Routes, message: str = "set partitioning") -> None:
        """Go on from a better plan."""
        self._work += self.search.iterations
        self.search = self._constructed(plan)
        self._report(message)

    def _by_time(self) -> Limit:
        """Warm up, prove, then cycles of cooling that end with the time."""
        left = self.monitor.remaining_s
        self._cool_by_time(WARM_UP * left, 2.0 * COLD)
        if not self._finished():
            share = share_of_time(self.instance, left) * left / (left + BOUND_PER_CLIENT_S * self.instance.num_clients)
            seconds = max(share * left, min(LEAST_BOUND_S, LEAST_BOUND_SHARE * left))
            self._prove(Effort(seconds, most_rounds=10_000, most_pivots=10**9, most_labels=10**9))
        per_cycle = CYCLE_PER_CLIENT * max(100, self.instance.num_clients)
        cycle, least = 0, _LEAST_SHARE * self.monitor.remaining_s
        while not self._finished():
            rate = (self._work + self.search.iterations) / max(self._searched_s, 1e-9)
            left = self.monitor.remaining_s
            slot = left / max(1, int(left * rate / per_cycle))
            cools = (1.0 - POLISH_SHARE) * slot if self._polishes and slot > least else slot
            is_rest = cycle > 0 and slot * rate < _REST * per_cycle
            self._begin_anew(0 if is_rest else cycle)
            self._cool_by_time(cools, _WARM if is_rest else self._hot(slot * rate))
            self._settle()
            self._polish(slot - cools)
            cycle += 1
        return Limit.TIME

    _searched_s = 0.0

    @property
    def _polishes(self) -> bool:
        """Few clients and short routes: set partitioning over the routes seen pays there, and fresh starts do."""
        clients, routes = self.instance.num_clients, int(self.search.state.counters[kernels.NUM_USED])
        return clients <= min(MOST_CLIENTS_POLISHED, LONGEST_ROUTES_POLISHED * routes)

    def _begin_anew(self, cycle: int) -> None:
        """Every other cycle of a small instance starts from nothing; the better search goes on."""
        if cycle % 2 == 0 or not self._polishes or self.search.num_absent:
            return
        self._kept, self._work = self.search, self._work + self.search.iterations
        fresh = Search.begin(self.instance, self.options.seed + cycle)
        fresh.place(fresh.merged(self.instance), construction_order(self.instance))
        self.search = fresh

    def _settle(self) -> None:
        """Go on with the better of two searches."""
        kept, self._kept = self._kept, None
        if kept is not None and (self.search.num_absent > 0 or kept.best <= self.search.best):
            self._work += self.search.iterations - kept.iterations
            self.search = kept

    def _polish(self, seconds: float) -> None:
        if not self._polishes or self._finished() or self.search.num_absent:
            return
        best = self.search.plan()
        self._pool.add(list(best.routes))
        better = self._pool.polished(best, min(seconds, self.monitor.remaining_s), self.options, self.monitor)
        if better is not None:
            self._take(better)

    def _cool_by_time(self, seconds: float, hot: float) -> None:
        """One cycle from ``hot`` to COLD, spread over ``seconds`` of wall clock."""
        self.search.restart()
        edge = self.search.average_edge
        begun = now = self.monitor.elapsed_s
        iterations = 100
        while now - begun < seconds and not self._finished():
            done = (now - begun) / seconds
            step = min(1.0 - done, CHUNK_S / seconds)
            cooling = (COLD / hot) ** (step / iterations)
            self.search.run(iterations, edge * hot * (COLD / hot) ** done, cooling, OPENING)
            self._look()
            took = max(self.monitor.elapsed_s - now, 1e-6)
            self._searched_s += took
            now = self.monitor.elapsed_s
            wanted = min(POLISHED_CHUNK_S if self._polishes else CHUNK_S, max(0.01, seconds / 20.0))
            iterations = max(1, min(4 * iterations, int(iterations * wanted / took)))

    def _by_iterations(self) -> Limit:
        """The same by counts of iterations, so that a seed repeats exactly."""
        budget = self.options.node_limit
        cycle = max(_LEAST_ITERATIONS, ITERATIONS_PER_CLIENT * self.instance.num_clients)
        lengths = iter((budget,)) if budget is not None else _endless(cycle)
        warm_up = int(WARM_UP * (cycle if budget is None else budget))
        self._cool_by_count(warm_up, 2.0 * COLD)
        if not self._finished():
            self._prove(Effort())
        idle = 0
        for number, length in enumerate(lengths):
            before = self.search.best, self.search.num_absent
            self._begin_anew(number)
            self._cool_by_count(length - (warm_up if budget is not None else 0), self._hot(length))
            self._settle()
            self._polish(inf)
            idle = idle + 1 if (self.search.best, self.search.num_absent) == before else 0
            if self._finished() or idle >= _IDLE_CYCLES:
                break
        return Limit.METHOD if budget is None else Limit.ITERATIONS

    def _cool_by_count(self, iterations: int, hot: float) -> None:
        if iterations <= 0:
            return
        self.search.restart()
        cooling = (COLD / hot) ** (1.0 / iterations)
        temperature = self.search.average_edge * hot
        done = 0
        while done < iterations and not self._finished():
            chunk = min(_CHUNK_ITERATIONS, iterations - done)
            temperature = self.search.run(chunk, temperature, cooling, OPENING)
            done += chunk
            self._look()

    def _answer(self, limit: Limit, build_s: float) -> Answer[Routes]:
        dual = self.monitor.bounds.dual
        counts = {"iterations": self._work + self.search.iterations, **self._counts}
        if self.monitor.cancelled.is_set():
            limit = Limit.INTERRUPTED
        elif self.monitor.should_stop:
            limit = Limit.TIME
        if self.search.num_absent:
            left = f"{self.search.num_absent} clients found no place"
            return Answer(Status.NO_SOLUTION, Bounds(inf, dual), None, limit, build_s, counts, left)
        bounds = Bounds(self.search.best, min(dual, self.search.best))
        plan = self.search.plan()
        extras = {"routes": float(len(plan.routes))}
        if self._proven():
            return Answer(Status.OPTIMAL, bounds, plan, None, build_s, counts, "bound met", extras)
        return Answer(Status.FEASIBLE, bounds, plan, limit, build_s, counts, "", extras)


def _endless(length: int) -> Iterator[int]:
    while True:
        yield length
