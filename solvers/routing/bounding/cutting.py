"""Price and cut: the bound of column generation, tightened until it meets the best plan or nothing more is found.

Rounds of four steps: column generation to convergence; fixing of the arcs that no better plan can use; all routes of
better plans listed once there are few enough, from which the best plan follows; else capacity and subset-row cuts.
At any duals the Lagrangian bound is true when pricing was complete, so stopping early still leaves a proof.

References
----------
Wentges, P. (1997). Weighted Dantzig-Wolfe decomposition for linear mixed-integer programming. International
Transactions in Operational Research 4(2), 151-162.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np

from apportion.instances.routing import Routes, VehicleRouting
from apportion.solvers.events import Monitor
from apportion.solvers.routing.bounding.labelling import kernels as labels
from apportion.solvers.routing.bounding.master import Duals, Master
from apportion.solvers.routing.bounding.partition import Partition
from apportion.solvers.routing.bounding.pricing import LEAST_GAIN, MOST_LABELS, Network, Pricing
from apportion.solvers.routing.bounding.rows import Row, capacity_cuts, triple_cuts

MOST_ENUMERATED = 100_000
_SMOOTHING = 0.6
_MOST_CAPACITY_CUTS = 100
_MOST_TRIPLES = 30
_MOST_PER_CLIENT = 5
_GAP_TO_ENUMERATE = 0.012
"""The gap from which on 100 clients' routes are listed; fewer clients allow more."""
_GAP_TO_RETRY = 0.75
_GAP_TO_FIX = 0.75
_LEAST_SIDE_S = 5.0
_IDLE_GAIN = 0.01
_MOST_IDLE = 3
_MOST_COLUMNS = 12_000
_MANY_CUTS = 150


class PriceAndCut:
    """The master, its cuts and the network that is left.

    Parameters
    ----------
    instance
        The problem.
    plan
        The best plan known, or None.
    unit
        Two plans differ in length by at least this, if at all; 0 when nothing is known.
    """

    def __init__(
        self, instance: VehicleRouting, plan: Routes | None = None, unit: float = 0.0, most_labels: int = MOST_LABELS
    ) -> None:
        self._instance = instance
        self._unit = unit
        self._pricing = Pricing(Network.of(instance), most_labels)
        self._master = Master(instance)
        self.plan = plan
        self.length = inf
        self.bound = 0.0
        self.settled = False
        """Whether ``plan`` is proven to be the best, or no plan exists."""
        self.rounds = 0
        self._duals: Duals | None = None
        self._fixed_at = inf
        self._listed_at = inf
        if plan is not None:
            self.length = sum(self._master.length(route) for route in plan.routes)
            self._master.add_routes(list(plan.routes))
        if instance.least_vehicles > 1:
            inside = np.arange(self._master.size) > 0
            self._master.add_rows([Row(inside, None, float(instance.least_vehicles))])

    @property
    def num_columns(self) -> int:
        """Routes in the master."""
        return len(self._master.routes)

    @property
    def num_labels(self) -> int:
        """Labels extended so far, a measure of the work done."""
        return self._pricing.num_labels

    @property
    def num_cuts(self) -> int:
        """Cuts in the master."""
        return len(self._master.rows)

    @property
    def _cutoff(self) -> float:
        """A plan longer than this is no better than the one that is known."""
        return self.length - max(0.999 * self._unit, 1e-9 * self.length) if self.length < inf else inf

    def improve(
        self,
        seconds_left: Callable[[], float],
        on_bound: Callable[[float], object],
        most_labels: int,
        monitor: Monitor,
    ) -> None:
        """Make the bound better until it is settled, nothing more helps, or time or labels are spent."""
        self._seconds_left, self._on_bound, self._most_labels = seconds_left, on_bound, most_labels
        idle, before = 0, -inf
        while self._converge():
            self.rounds += 1
            self._read_plan()
            if self._meets() or self._list_routes(monitor, self._gap_to_enumerate):
                return
            gap = self._cutoff - before if self._cutoff < inf else 0.05 * self.bound
            idle = idle + 1 if self.bound - before < _IDLE_GAIN * gap else 0
            before = self.bound
            if idle >= _MOST_IDLE or not self._cut():
                self._list_routes(monitor, inf)
                return

    @property
    def _gap_to_enumerate(self) -> float:
        return _GAP_TO_ENUMERATE * max(1.0, (100.0 / max(1, self._instance.num_clients)) ** 2)

    def _read_plan(self) -> None:
        """The plan that the program over routes is, when it happens to be one."""
        routes, values = self._master.route_flows()
        visited = sorted(client for route in routes for client in route)
        if np.abs(values - 1.0).max(initial=0.0) > 1e-6 or visited != list(range(1, self._master.size)):
            return
        length = sum(self._master.length(route) for route in routes)
        if length < self.length and len(routes) <= self._master.fleet:
            self.plan, self.length = Routes(tuple(sorted(routes))), length

    def _should_stop(self) -> bool:
        return self._seconds_left() <= 0.0 or self.num_labels >= self._most_labels

    def _meets(self) -> bool:
        """Whether no better plan is left."""
        if self.bound > self._cutoff:
            self.bound = self.length
            self.settled = True
            self._on_bound(self.bound)
        return self.settled

    def _hear(self, bound: float) -> None:
        if bound > self.bound:
            self.bound = bound
            if bound <= self._cutoff:
                self._on_bound(bound)

    def _converge(self) -> bool:
        """Generate columns, quickly while that helps and then exactly; whether nothing more pays."""
        care, point = labels.BY_CLOCK, None
        while not self._should_stop():
            duals = self._master.solve(self._seconds_left())
            if duals is None:
                return False
            smooth = point is not None and care < labels.EXACT
            point = duals.towards(point, _SMOOTHING) if smooth and point is not None else duals
            found = self._pricing.cheapest(self._master.prices(point), care, self._should_stop)
            added = self._master.add_routes(found.routes)
            if care == labels.EXACT:
                if not found.complete:
                    return False
                self._pricing.balance()
                self._hear(self._master.bound(duals, found.gains) - LEAST_GAIN * self._master.fleet)
                if added == 0 or self.bound > self._cutoff:
                    self._duals = duals
                    return True
                care = labels.BY_LOAD
            elif added == 0:
                care += not smooth
                point = None
        return False

    def _limited(self, share: float) -> Callable[[], bool]:
        """A stop for a side step, which may not take long beside the rest of the time."""
        left = self._seconds_left()
        most = max(_LEAST_SIDE_S, share * left) if left < inf else inf
        return lambda: self._should_stop() or left - self._seconds_left() > most

    def _fix_arcs(self) -> bool:
        """Forbid the arcs that no better plan uses; whether that could be told."""
        gap = self._cutoff - self.bound
        if self._duals is None or gap > _GAP_TO_FIX * self._fixed_at:
            return False
        prices = self._master.prices(self._duals)
        kept = self._pricing.arcs_below(prices, gap + LEAST_GAIN, self._limited(0.1))
        self._fixed_at = gap
        if kept is None:
            return False
        network = self._pricing.network
        network.allow(network.arcs & kept)
        self._master.allow(network.arcs)
        return True

    def _list_routes(self, monitor: Monitor, most_gap: float) -> bool:
        """Fix arcs; then list the routes of better plans, when there are few, and settle it with them."""
        gap = self._cutoff - self.bound
        if self._cutoff == inf or self._duals is None:
            return False
        self._fix_arcs()
        if gap > most_gap * self.bound or gap > (_GAP_TO_RETRY if most_gap < inf else 0.999) * self._listed_at:
            return False
        prices = self._master.prices(self._duals)
        stop = self._limited(0.2)
        routes = self._pricing.enumerate(prices, gap + LEAST_GAIN, MOST_ENUMERATED, stop)
        self._listed_at = gap
        if routes is None:
            return False
        monitor.log(f"{len(routes)} routes can be part of a better plan")
        partition = Partition(self._instance, routes, self._master.rows, self._cutoff)
        self.settled = partition.close(self._seconds_left, self._hear, monitor)
        if partition.plan is not None:
            self.plan = partition.plan
            self.length = sum(self._master.length(route) for route in partition.plan.routes)
        if self.settled:
            self.bound = self.length
            self._on_bound(self.bound)
        return True

    def _cut(self) -> bool:
        """Add violated cuts; without windows, capacity cuts as long as there are any. Whether there were some."""
        master = self._master
        routes, values = master.route_flows()
        rows: list[Row] = []
        if self._instance.capacity > 0:
            rows = capacity_cuts(self._instance, routes, values, _MOST_CAPACITY_CUTS)
        if len(rows) < 5 or self._instance.has_time_windows:
            known = {
                frozenset(np.flatnonzero(row.inside).tolist()): row for row in master.rows if row.memory is not None
            }
            rows += triple_cuts(master.size, routes, values, known, _MOST_TRIPLES, _MOST_PER_CLIENT)
        if rows:
            self._drop_idle()
            master.add_rows(rows)
        return bool(rows)

    def _drop_idle(self) -> None:
        """Take out cuts that do not bind, once there are many, and routes that cost too much, once there are many."""
        if self._duals is None:
            return
        master = self._master
        if len(master.routes) > _MOST_COLUMNS:
            reduced = master.reduced(self._duals)
            limit = np.partition(reduced, _MOST_COLUMNS // 2)[_MOST_COLUMNS // 2]
            master.drop_routes((reduced > max(limit, LEAST_GAIN)) & (master.values < LEAST_GAIN))
        if len(master.rows) > _MANY_CUTS:
            idle = np.abs(self._duals.cuts) < 1e-9
            master.drop_rows(np.flatnonzero(idle).tolist())
        self._duals = None
