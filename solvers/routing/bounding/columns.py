"""The set-covering bound of vehicle routing by column generation over ng-routes, on HiGHS.

A column is a route from the depot and back within capacity and windows that may come back to a client after leaving its
ng-set (Baldacci, Mingozzi, Roberti 2011). The master covers every client at least once within the fleet. At any duals
the sum of the duals less what the best routes with different last clients could gain is a true bound when pricing was
exact and complete (Lasdon 1970), so stopping early still leaves a proof. Capacitated routing without windows uses the
load as the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import highspy
import numpy as np

from apportion.instances.program import Floats
from apportion.instances.routing import Routes, VehicleRouting
from apportion.solvers.backends.simplex import must, quiet_lp, solved
from apportion.solvers.routing.bounding import kernels
from apportion.solvers.routing.bounding.kernels import Ints

NG_SIZE = 8
_MOST_LABELS = 1_500_000
_BUCKETS = 512
_CHUNK = 4_000
_LEAST_GAIN = 1e-6
_SMOOTHING = 0.7
_INFINITE = highspy.kHighsInf


@dataclass(frozen=True, eq=False)
class Network:
    """What labelling walks on: arcs from each location to clients, and one clock per location.

    ``takes`` (n + 1, n + 1) is what the clock advances from row to column; ``ready`` and ``due`` (n + 1,) bound it.
    """

    cost: Floats
    takes: Floats
    ready: Floats
    due: Floats
    demand: Floats
    capacity: float
    starts: Ints
    ends: Ints
    near: Ints
    near_position: np.ndarray[tuple[int, int], np.dtype[np.int8]]

    @classmethod
    def of(cls, instance: VehicleRouting, ng_size: int = NG_SIZE) -> Network:
        """The network of ``instance``; arcs that capacity or windows forbid are left out."""
        size = instance.num_clients + 1
        # fresh arrays: read-only ones would have every kernel compiled a second time
        demand = np.array(instance.demand)
        capacity = float(instance.capacity) * (1.0 + 1e-9) + 1e-9
        if instance.has_time_windows:
            takes = instance.service[:, None] + instance.duration
            takes[0] = instance.duration[0]
            ready = np.array(instance.ready)
            due = instance.due + 1e-9 * np.maximum(1.0, np.abs(instance.due))
        else:
            takes = np.tile(demand, (size, 1))
            ready, due = np.zeros(size), np.full(size, capacity)
        fits = ready[:, None] + takes <= due[None, :]
        fits &= demand[:, None] + demand[None, :] <= capacity
        np.fill_diagonal(fits, False)
        fits[:, 0] = False
        starts = np.concatenate([[0], np.cumsum(fits.sum(axis=1))]).astype(np.int32)
        ends = np.nonzero(fits)[1].astype(np.int32)
        near = _near(instance.distance, ng_size)
        position = np.full((size, size), -1, np.int8)
        for place in range(near.shape[1] - 1, -1, -1):
            position[np.arange(1, size), near[1:, place]] = place
        return cls(
            np.array(instance.distance, order="C"), takes, ready, due, demand, capacity, starts, ends, near, position
        )


def _near(distance: Floats, ng_size: int) -> Ints:
    """The ng-set of each client: itself first, then the nearest."""
    size = len(distance)
    apart = (distance + distance.T)[:, 1:].copy()
    apart[np.arange(1, size), np.arange(size - 1)] = -1.0
    count = min(ng_size, size - 1)
    return (np.argsort(apart, axis=1, kind="stable")[:, :count] + 1).astype(np.int32)


@dataclass(eq=False)
class Labelling:
    """The work arrays of one pricing run, made once."""

    network: Network
    most_labels: int = _MOST_LABELS
    extended: int = 0
    labels: Ints = field(init=False)
    amounts: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Room for the labels."""
        self.labels = np.zeros((6, self.most_labels), np.int32)
        self.amounts = np.zeros((3, self.most_labels))

    def cheapest(
        self, duals: Floats, care: int, should_stop: Callable[[], bool]
    ) -> tuple[bool, Floats, list[tuple[int, ...]]]:
        """Price routes at ``duals`` (n + 1,), the fleet's at 0.

        Returns
        -------
        complete
            Whether every route was considered (False unless ``care`` is EXACT).
        costs
            The least reduced cost of a route that ends at each client, shape (n + 1,), infinite where there is none.
        routes
            Those with a negative reduced cost, cheapest first.
        """
        net = self.network
        size = len(net.demand)
        reduced = net.cost - duals[None, :]
        reduced[:, 0] = net.cost[:, 0]
        reduced[0] -= duals[0]
        best_cost, best_label = np.full(size, np.inf), np.full(size, kernels.NONE, np.int32)
        at_node = np.full(size, kernels.NONE, np.int32)
        bucket_first = np.full(_BUCKETS, kernels.NONE, np.int32)
        bucket_last = np.full(_BUCKETS, kernels.NONE, np.int32)
        progress = np.array([1, 0, kernels.NONE, 0], np.int64)
        self.labels[:, 0] = 0
        self.labels[[kernels.PARENT, kernels.NEXT_IN_BUCKET, kernels.NEXT_AT_NODE], 0] = kernels.NONE
        self.amounts[:, 0] = net.ready[0], 0.0, 0.0
        bucket_first[0] = bucket_last[0] = 0
        latest = float(np.max(net.due[1:][np.isfinite(net.due[1:])], initial=net.ready[0] + 1.0))
        width = (latest - float(net.ready[0])) / _BUCKETS
        state = kernels.PAUSED
        while state == kernels.PAUSED and not should_stop():
            state = kernels.extend_labels(
                net.starts,
                net.ends,
                reduced,
                net.takes,
                net.ready,
                net.due,
                net.demand,
                net.capacity,
                net.near,
                net.near_position,
                care,
                self.labels,
                self.amounts,
                at_node,
                bucket_first,
                bucket_last,
                width,
                best_cost,
                best_label,
                progress,
                _CHUNK,
            )
        self.extended += int(progress[kernels.NUM_EXTENDED])
        return care == kernels.EXACT and state == kernels.FINISHED, best_cost, self._routes(best_cost, best_label)

    def _routes(self, best_cost: Floats, best_label: Ints) -> list[tuple[int, ...]]:
        stops = np.zeros(4096, np.int32)
        routes = []
        for client in np.argsort(best_cost):
            if best_cost[client] >= -_LEAST_GAIN:
                break
            count = kernels.trace_back(self.labels, int(best_label[client]), stops)
            routes.append(tuple(stops[:count][::-1].tolist()))
        return routes


class Columns:
    """The master and its columns. :meth:`improve` makes the bound better until it converges or is stopped."""

    def __init__(self, instance: VehicleRouting, plan: Routes | None = None) -> None:
        self._instance = instance
        self._size = instance.num_clients + 1
        self._labelling = Labelling(Network.of(instance))
        self._fleet = float(min(instance.num_vehicles or instance.num_clients, instance.num_clients))
        self._known: set[tuple[int, ...]] = set()
        self._lp = quiet_lp()
        self.bound = 0.0
        self.rounds = 0
        self.converged = False
        self._begin(plan)

    @property
    def num_columns(self) -> int:
        """Routes in the master."""
        return len(self._known)

    @property
    def num_labels(self) -> int:
        """Labels extended so far, a measure of the work done."""
        return self._labelling.extended

    def _begin(self, plan: Routes | None) -> None:
        """Row 0 is the fleet, row i covers client i; a dear column covers each client alone whatever happens."""
        size = self._size
        lower, upper = np.ones(size), np.full(size, _INFINITE)
        lower[0], upper[0] = -_INFINITE, self._fleet
        nothing = np.zeros(0, np.int32)
        must(self._lp.addRows(size, lower, upper, 0, np.zeros(size, np.int32), nothing, np.zeros(0)))
        dear = 3.0 * float(self._instance.distance.max()) + 1.0
        clients = np.arange(1, size, dtype=np.int32)
        count = size - 1
        cost, zero, high = np.full(count, dear), np.zeros(count), np.full(count, _INFINITE)
        starts = np.arange(count, dtype=np.int32)
        must(self._lp.addCols(count, cost, zero, high, count, starts, clients, np.ones(count)))
        if plan is not None:
            self._add(list(plan.routes))

    def _add(self, routes: list[tuple[int, ...]]) -> int:
        fresh = [route for route in dict.fromkeys(routes) if route and route not in self._known]
        self._known.update(fresh)
        starts, rows, values, costs = [0], [np.zeros(0, np.int32)], [np.zeros(0)], []
        for route in fresh:
            stops = np.array((0, *route, 0))
            costs.append(float(self._instance.distance[stops[:-1], stops[1:]].sum()))
            clients, visits = np.unique(stops[:-1], return_counts=True)
            rows.append(clients.astype(np.int32))
            values.append(visits.astype(np.float64))
            starts.append(starts[-1] + len(clients))
        if fresh:
            count, high = len(fresh), np.full(len(fresh), _INFINITE)
            first = np.array(starts[:-1], np.int32)
            indices, entries = np.concatenate(rows), np.concatenate(values)
            must(self._lp.addCols(count, np.array(costs), np.zeros(count), high, len(indices), first, indices, entries))
        return len(fresh)

    def improve(self, seconds_left: Callable[[], float], on_bound: Callable[[float], object], most_labels: int) -> None:
        """Generate columns, quickly while that helps and then exactly; ``on_bound`` hears of each better bound."""

        def should_stop() -> bool:
            return seconds_left() <= 0.0

        care = kernels.BY_TIME
        centre: Floats | None = None
        while not self.converged and not should_stop() and self.num_labels < most_labels:
            duals = self._duals(seconds_left())
            if duals is None:
                return
            self.rounds += 1
            if care < kernels.EXACT:
                found = self._add(self._price(duals, care, should_stop)[1])
                care += found == 0
                continue
            smooth = duals if centre is None else _SMOOTHING * centre + (1.0 - _SMOOTHING) * duals
            bound, routes, complete = self._price(smooth, care, should_stop)
            if bound > self.bound:
                self.bound, centre = bound, smooth
                on_bound(bound)
            if self._add(routes):
                care = kernels.BY_LOAD
            elif smooth is not duals:
                centre = None
            else:
                self.converged = complete
                return

    def _duals(self, seconds: float) -> Floats | None:
        if not solved(self._lp, seconds):
            return None
        duals = np.array(self._lp.getSolution().row_dual)
        duals[1:] = np.maximum(0.0, duals[1:])
        duals[0] = min(0.0, duals[0])
        return duals

    def _price(
        self, duals: Floats, care: int, should_stop: Callable[[], bool]
    ) -> tuple[float, list[tuple[int, ...]], bool]:
        """The true bound at ``duals`` (minus infinity unless pricing was complete), and routes that pay."""
        complete, costs, routes = self._labelling.cheapest(duals, care, should_stop)
        if not complete:
            return -np.inf, routes, False
        # each route of a plan ends at another client, so no plan gains more than the best of each
        gains = np.sort(np.minimum(0.0, costs[1:] + duals[0]))[: int(self._fleet)]
        return float(duals[1:].sum() + gains.sum()), routes, True
