"""The driver around the compiled search: arrays in, plans out, and a cooling schedule for any budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apportion.instances.routing import Routes, VehicleRouting
from apportion.solvers.routing import kernels
from apportion.solvers.routing.kernels import ABSENT, Data, Floats, Ints, State

NUM_NEIGHBOURS = 100
GRANULAR = 40
_WAITING = 0.2
_SCALES = (1.0, 10.0)


def scale_of(instance: VehicleRouting) -> float:
    """The factor that makes every distance a whole number, so that sums are exact; 0 when there is none."""
    for scale in _SCALES:
        scaled = instance.distance * scale
        if np.abs(scaled - np.rint(scaled)).max(initial=0.0) < 1e-7 and scaled.max(initial=0.0) < 2**40:
            return scale
    return 0.0


def nearest(apart: Floats, count: int) -> Ints:
    """For each location the ``count`` clients that are least ``apart``; shape (n + 1, count).

    >>> nearest(np.array([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]]), 5).tolist()
    [[1, 2], [2, 2], [1, 1]]
    """
    size = len(apart)
    count = min(count, size - 1)
    neighbours = np.zeros((size, count), np.int32)
    for location in range(size):
        order = np.argsort(apart[location, 1:], kind="stable") + 1
        order = order[order != location][:count]
        neighbours[location, : len(order)] = order
        neighbours[location, len(order) :] = order[-1] if len(order) else location
    return neighbours


def _unease(instance: VehicleRouting) -> Floats:
    """How badly two clients go one after the other, in the better order: distance, waiting, and being too late.

    After Vidal, Crainic, Gendreau, Prins (2013), A hybrid genetic algorithm with adaptive diversity management for a
    large class of vehicle routing problems with time-windows, Computers & Operations Research 40(1), 475-489.
    """
    if not instance.has_time_windows:
        return instance.distance + instance.distance.T
    takes = instance.service[:, None] + instance.duration
    waits = np.maximum(0.0, instance.ready[None, :] - takes - instance.due[:, None])
    late = np.maximum(0.0, instance.ready[:, None] + takes - instance.due[None, :])
    unease = instance.distance + _WAITING * waits + late
    return np.minimum(unease, unease.T)


@dataclass(frozen=True, eq=False)
class Search:
    """One run of ruin and recreate. Distances inside are those of the instance times ``scale``."""

    data: Data
    state: State
    scale: float

    @classmethod
    def begin(cls, instance: VehicleRouting, seed: int) -> Search:
        """Arrays for ``instance`` with nobody served yet."""
        exact = scale_of(instance)
        scale = exact or 1.0

        def scaled(values: Floats) -> Floats:
            return np.rint(values * scale) if exact else np.array(values, np.float64, order="C")

        # fresh arrays: read-only ones would have every kernel compiled a second time
        distance = scaled(instance.distance)
        same = instance.duration is instance.distance
        hours = [scale * values for values in (instance.ready, instance.due, instance.service)]
        data = Data(
            distance=distance,
            duration=distance if same else np.array(instance.duration * scale, order="C"),
            facts=np.array([instance.demand, *hours]),
            neighbours=nearest(instance.distance + instance.distance.T, NUM_NEIGHBOURS),
            beside=nearest(_unease(instance), GRANULAR),
            capacity=float(instance.capacity),
            timed=instance.has_time_windows,
        )
        return cls(data, _empty_state(instance, seed), scale)

    @property
    def num_absent(self) -> int:
        """How many clients the best routes leave out; 0 makes them a plan."""
        return int(self.state.totals[kernels.BEST_ABSENT])

    @property
    def best(self) -> float:
        """The distance of the best routes, in the instance's own unit."""
        return float(self.state.totals[kernels.BEST]) / self.scale

    @property
    def average_edge(self) -> float:
        """The distance per client of the best routes, in the unit of the search: the scale of temperatures."""
        return float(self.state.totals[kernels.BEST]) / float(max(1, self.state.nodes.shape[1] - 1))

    @property
    def iterations(self) -> int:
        """Iterations done."""
        return int(self.state.counters[kernels.ITERATION])

    def place(self, plan: Routes | None, order: Ints, seeds: int = 0) -> None:
        """Begin with the routes of ``plan`` (one that passes the check) and insert who is left in ``order``.

        The first ``seeds`` of these get routes of their own as long as there are vehicles.
        """
        data, state = self.data, self.state
        for route, clients in enumerate(clients for clients in plan.routes if clients) if plan else ():
            state.nodes[kernels.SEQUENCE, : len(clients)] = clients
            arrays = data.facts, state.nodes, state.fleet
            kernels.write_route(*arrays, state.load, route, kernels.SEQUENCE, 0, len(clients))
            kernels.refresh_times(data.duration, *arrays, state.times, route)
        free = np.flatnonzero(state.fleet[kernels.SIZE, :-1] == 0)[::-1]
        state.fleet[kernels.FREE, : len(free)] = free
        state.counters[kernels.NUM_FREE] = len(free)
        kernels.construct(self.data, self.state, order, seeds)

    def run(self, iterations: int, temperature: float, cooling: float, opening: float) -> float:
        """A chunk of iterations; return the temperature after it."""
        return float(kernels.improve(self.data, self.state, iterations, temperature, cooling, opening))

    def restart(self) -> None:
        """Go on from the best routes."""
        kernels.recover_best(self.data, self.state)

    def current(self) -> list[tuple[int, ...]]:
        """The routes as they are now, not the best; they may leave clients out."""
        succ, routes = self.state.nodes[kernels.SUCC].tolist(), []
        for first in self.state.fleet[kernels.FIRST, :-1].tolist():
            route, client = [], first
            while client != 0:
                route.append(client)
                client = succ[client]
            if route:
                routes.append(tuple(route))
        return routes

    def plan(self) -> Routes:
        """The best routes, by their first client."""
        routes = []
        for first in sorted(self.state.fleet[kernels.BEST_FIRST, :-1].tolist()):
            route: list[int] = []
            client = first
            while client != 0:
                route.append(client)
                client = int(self.state.nodes[kernels.BEST_SUCC, client])
            if route:
                routes.append(tuple(route))
        return Routes(tuple(routes))


def construction_order(instance: VehicleRouting) -> Ints:
    """Who is inserted first: with windows those that close early, otherwise those far from the depot."""
    key = instance.due if instance.has_time_windows else -instance.distance[0]
    order = np.argsort(key[1:], kind="stable") + 1
    return order.astype(np.int32)


def _empty_state(instance: VehicleRouting, seed: int) -> State:
    size = instance.num_clients + 1
    routes = max(1, min(instance.num_clients, instance.num_vehicles or instance.num_clients))
    nodes = np.zeros((9, size), np.int32)
    nodes[kernels.ROUTE] = ABSENT
    return State(
        nodes=nodes,
        fleet=np.zeros((8, routes + 1), np.int32),
        load=np.zeros(routes + 1),
        times=np.zeros((2, size)),
        keys=np.zeros(size),
        random=np.random.SeedSequence(seed).generate_state(1, np.uint64) | np.uint64(1),
        totals=np.zeros(3),
        counters=np.zeros(4, np.int64),
    )
