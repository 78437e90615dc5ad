"""Rich vehicle routing: greedy construction, then ruin and recreate under annealing in cycles."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from apportion.instances.rich_routing import RichRoutes, RichRouting
from apportion.models.checking import check
from apportion.models.rich_routing.reasons import impossible
from apportion.solvers.advisor import Advisor
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.rich_routing import kernels
from apportion.solvers.rich_routing.bounds import assignment_bound
from apportion.solvers.rich_routing.search import RichSearch
from apportion.solvers.rich_routing.segments.kernels import FAMILY, NONE
from apportion.solvers.status import Bounds, Limit, Status

HOT, COLD = 1.0, 0.01
"""First and last temperature of a cycle, in average distances (times their cost) per client."""
MILD, FEW = 0.3, 50
"""The first temperature when there are only so FEW iterations for each client."""
OPENING, OPENING_OF_MIXED_FLEETS = 0.1, 0.4
"""How often an iteration sends its first request on a route of its own."""
CHUNK_S = 0.15
ITERATIONS_PER_REQUEST = 300
_LEAST_ITERATIONS = 5_000
_CHUNK_ITERATIONS = 200
_IDLE_CYCLES = 2
_EARLY = 0.1


def route_rich(
    instance: RichRouting, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> Answer[RichRoutes]:
    """Solve ``instance``; the bound is that of an assignment of successors.

    With a time limit the cooling fits the time that is left. With ``node_limit``, or without any limit, it goes by
    iterations and repeats exactly; without any limit it ends (``Limit.METHOD``) when two cycles find nothing better.
    """
    reasons = impossible(instance)
    if reasons:
        return Answer.nothing(instance.sense, Status.INFEASIBLE, native_status="; ".join(reasons))
    if instance.num_clients == 0:
        return Answer(Status.OPTIMAL, Bounds(0.0, 0.0), RichRoutes(()), native_status="there are no clients")
    return _Run(instance, options, monitor).solve(advisor)


@dataclass(eq=False)
class _Run:
    instance: RichRouting
    options: SolveOptions
    monitor: Monitor

    def solve(self, advisor: Advisor | None) -> Answer[RichRoutes]:
        if not kernels.improve.signatures:
            self.monitor.log("loading the compiled kernels; the first run on a machine compiles them, about 45 s")
        if self.instance.locks and not RichSearch.empty(self.instance, 0, with_neighbours=False).restart():
            said = "a route under way cannot be finished within the rules"
            return Answer.nothing(self.instance.sense, Status.NO_SOLUTION, Limit.METHOD, native_status=said)
        self.search = RichSearch.begin(self.instance, self.options.seed, self._start(advisor))
        mixed = bool((self.search.arrays.kinds[:, FAMILY] != NONE).any())
        self.opening = OPENING_OF_MIXED_FLEETS if mixed else OPENING
        build_s = self.monitor.elapsed_s
        if not self.monitor.should_stop:
            self.monitor.bound(assignment_bound(self.instance), "assignment")
        self._report("construction")
        by_work = self.options.node_limit is not None or self.options.deterministic
        by_time = isfinite(self.options.time_limit_s) and not by_work
        limit = self._by_time() if by_time else self._by_iterations()
        return self._answer(limit, build_s)

    def _start(self, advisor: Advisor | None) -> RichRoutes | None:
        start = self.options.start
        if start is None and advisor is not None:
            start = advisor.advise(self.instance).start
        if not isinstance(start, RichRoutes):
            return None
        verdict = check(self.instance, start)
        if not verdict.ok:
            self.monitor.log(f"the advice to start with is rejected: {verdict.violations[0]}")
            return None
        return start

    def _report(self, message: str = "") -> None:
        if self.search.num_absent == 0:
            self.monitor.incumbent(self.search.best, "H" if message else "L", message)

    def _by_time(self) -> Limit:
        """One cycle of cooling that ends with the time."""
        begun = now = self.monitor.elapsed_s
        whole = max(1e-6, self.monitor.remaining_s)
        iterations, hot = 10, MILD
        while not self.monitor.should_stop:
            # until everybody is served the scale of the costs is not known
            edge = self.search.average_edge
            done = min(1.0, (now - begun) / whole)
            if done < _EARLY:
                hot = self._first_temperature(self.search.iterations / max(done, 1e-9))
            cooling = (COLD / hot) ** (min(1.0 - done, CHUNK_S / whole) / iterations)
            self.search.run(iterations, edge * hot * (COLD / hot) ** done, cooling, self.opening)
            self._report()
            took = max(self.monitor.elapsed_s - now, 1e-6)
            now = self.monitor.elapsed_s
            wanted = min(CHUNK_S, max(0.01, whole / 20.0))
            iterations = max(1, min(4 * iterations, int(iterations * wanted / took)))
        return Limit.TIME

    def _first_temperature(self, iterations: float) -> float:
        return HOT if iterations > FEW * self.instance.num_clients else MILD

    def _by_iterations(self) -> Limit:
        budget = self.options.node_limit
        cycle = max(_LEAST_ITERATIONS, ITERATIONS_PER_REQUEST * self.instance.num_clients)
        if budget is not None:
            self._cool(budget)
            return Limit.ITERATIONS
        idle = 0
        while idle < _IDLE_CYCLES and not self.monitor.should_stop:
            before = self.search.best
            self._cool(cycle)
            idle = idle + 1 if self.search.best == before else 0
        return Limit.METHOD

    def _cool(self, iterations: int) -> None:
        if iterations <= 0:
            return
        self.search.restart()
        hot = self._first_temperature(iterations)
        cooling = (COLD / hot) ** (1.0 / iterations)
        temperature = self.search.average_edge * hot
        done = 0
        while done < iterations and not self.monitor.should_stop:
            chunk = min(_CHUNK_ITERATIONS, iterations - done)
            temperature = self.search.run(chunk, temperature, cooling, self.opening)
            done += chunk
            self._report()

    def _answer(self, limit: Limit, build_s: float) -> Answer[RichRoutes]:
        counts = {"iterations": self.search.iterations}
        if self.monitor.cancelled.is_set():
            limit = Limit.INTERRUPTED
        elif self.monitor.should_stop:
            limit = Limit.TIME
        dual = self.monitor.bounds.dual
        if self.search.num_absent:
            left = f"{self.search.num_absent} requests found no place"
            return Answer(Status.NO_SOLUTION, Bounds.unknown(self.instance.sense), None, limit, build_s, counts, left)
        plan = self.search.plan()
        extras = {"routes": float(len(plan.routes))}
        return Answer(Status.FEASIBLE, Bounds(self.search.best, dual), plan, limit, build_s, counts, "", extras)
