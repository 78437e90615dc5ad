"""Vehicle routing: greedy construction, ruin and recreate under annealing, and a lower bound in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite

from apportion.instances.program import Ints
from apportion.instances.routing import Routes, VehicleRouting
from apportion.models.checking import check
from apportion.models.routing.check import impossible
from apportion.solvers.advisor import Advisor
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.routing import kernels
from apportion.solvers.routing.bounding.edges import ways_bound
from apportion.solvers.routing.bounds import Effort, prove, whole
from apportion.solvers.routing.pool import RoutePool
from apportion.solvers.routing.search import Search, construction_order
from apportion.solvers.status import Bounds, Limit, Status

HOT, HOT_WITH_WINDOWS, COLD = 0.3, 1.0, 0.003
"""First (without and with windows) and last temperature of a cycle, in average distances per client."""
OPENING = 0.05
"""How often an iteration sends its first client on a route of its own."""
OPENING_WITH_WINDOWS, OPENING_LONG = 0.1, 0.3
"""The same with time windows; and where capacity would allow long routes, so that the shortest plan has many more."""
LONG_ROUTES = 20.0
POLISH_SHARE = 0.15
"""The part of a cycle's time for set partitioning over the routes seen."""
MOST_CLIENTS_POLISHED = 300
POLISHED_CHUNK_S = 0.02
"""Seconds between snapshots of the routes where they are kept."""
BOUND_SHARE = 0.25
"""The part of a time limit that goes into the lower bound."""
WARM_UP = 0.1
"""The part of a budget that is spent before the bound, which gains from a good plan."""
CHUNK_S = 0.15
"""Seconds between looks at the clock."""
ITERATIONS_PER_CLIENT = 900
_LEAST_ITERATIONS = 20_000
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
        if not kernels.improve.signatures:
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

    @property
    def _opening(self) -> float:
        if not self.instance.has_time_windows:
            return OPENING
        is_long = self.instance.num_clients > LONG_ROUTES * self.instance.least_vehicles
        return OPENING_LONG if is_long else OPENING_WITH_WINDOWS

    @property
    def _hot(self) -> float:
        return HOT_WITH_WINDOWS if self.instance.has_time_windows else HOT

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
        """With windows, first as many routes as there may be, which the search then merges; else as few as it takes."""
        order = construction_order(self.instance)
        seeds = (self.instance.num_clients if self.instance.has_time_windows and start is None else 0, 0)
        search = self._constructed(start, order, seeds[0])
        if search.num_absent and seeds[0] != seeds[1]:
            search = self._constructed(start, order, seeds[1])
        return search

    def _constructed(self, start: Routes | None, order: Ints, seeds: int) -> Search:
        search = Search.begin(self.instance, self.options.seed)
        search.place(start, order, seeds)
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
        self._counts |= prove(self.instance, plan, self.monitor, effort, self._proven)

    def _by_time(self) -> Limit:
        """Warm up, prove, then cycles of cooling that end with the time."""
        left = self.monitor.remaining_s
        self._cool_by_time(WARM_UP * left, COLD * 3.0)
        if not self._finished():
            self._prove(Effort(BOUND_SHARE * left, most_rounds=10_000, most_pivots=10**9, most_labels=10**9))
        left = self.monitor.remaining_s
        rate = (self._work + self.search.iterations) / max(self._searched_s, 1e-9)
        cycles = max(1, int(left * rate / (ITERATIONS_PER_CLIENT * max(100, self.instance.num_clients))))
        for cycle in range(cycles):
            if self._finished():
                break
            share = POLISH_SHARE if self._polishes else 0.0
            self._begin_anew(cycle)
            self._cool_by_time((1.0 - share) * self.monitor.remaining_s / (cycles - cycle), self._hot)
            self._settle()
            self._polish(share * self.monitor.remaining_s / (cycles - cycle))
        return Limit.TIME

    _searched_s = 0.0

    @property
    def _polishes(self) -> bool:
        """Windows and short routes: set partitioning over the routes seen pays there, and fresh starts do."""
        few = self.instance.num_clients <= MOST_CLIENTS_POLISHED
        return few and self.instance.has_time_windows

    def _begin_anew(self, cycle: int) -> None:
        """Every other cycle of a small instance starts from nothing; the better search goes on."""
        if cycle % 2 == 0 or not self._polishes or self.search.num_absent:
            return
        self._kept, self._work = self.search, self._work + self.search.iterations
        fresh = Search.begin(self.instance, self.options.seed + cycle)
        fresh.place(None, construction_order(self.instance), self.instance.num_clients)
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
            self._work += self.search.iterations
            self.search = self._constructed(better, construction_order(self.instance), 0)
            self._report("set partitioning")

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
            self.search.run(iterations, edge * hot * (COLD / hot) ** done, cooling, self._opening)
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
        self._cool_by_count(warm_up, COLD * 3.0)
        if not self._finished():
            self._prove(Effort())
        idle = 0
        for number, length in enumerate(lengths):
            before = self.search.best, self.search.num_absent
            self._begin_anew(number)
            self._cool_by_count(length - (warm_up if budget is not None else 0), self._hot)
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
            temperature = self.search.run(chunk, temperature, cooling, self._opening)
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
