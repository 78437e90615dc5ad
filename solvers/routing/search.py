"""The driver around the compiled search: arrays in, plans out, and a cooling schedule for any budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apportion.instances.routing import Rounding, Routes, VehicleRouting
from apportion.solvers.routing import kernels
from apportion.solvers.routing.annealing import kernels as annealing
from apportion.solvers.routing.kernels import Data, Floats, Ints, State
from apportion.solvers.routing.savings import kernels as savings

NUM_NEIGHBOURS = 100
GRANULAR = 100
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
        duration = distance if same else np.array(instance.duration * scale, order="C")
        beside = nearest(_unease(instance), GRANULAR)
        into = np.take_along_axis(distance.T, beside, axis=1)
        data = Data(
            distance=distance,
            duration=duration,
            around=nearest(instance.distance + instance.distance.T, NUM_NEIGHBOURS),
            beside=beside,
            into=np.ascontiguousarray(into),
            into_time=np.ascontiguousarray(np.take_along_axis(duration.T, beside, axis=1)),
            capacity=float(instance.capacity),
            timed=instance.has_time_windows,
            metric=instance.coordinates is not None and instance.rounding is not Rounding.NONE,
        )
        return cls(data, _empty_state(instance, scale, seed), scale)

    def merged(self, instance: VehicleRouting) -> Routes:
        """Routes by savings: a plan, unless there are more than the fleet allows; those with the most clients first."""
        data, n = self.data, instance.num_clients
        tails, heads = data.beside[1:].ravel(), np.repeat(np.arange(1, n + 1, dtype=np.int32), data.beside.shape[1])
        saved = data.distance[tails, 0] + data.distance[0, heads] - data.into[1:].ravel()
        order = np.argsort(-saved, kind="stable")
        order = order[saved[order] > 0.0]
        state = _empty_state(instance, self.scale, 1, n)
        both_ways = not data.timed and instance.is_symmetric
        kernels.clear(state)
        savings.merge(data, state, tails[order], heads[order], both_ways)
        routes = Search(data, state, self.scale).current()
        return Routes(tuple(sorted(routes, key=lambda route: (-len(route), route))))

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
        return float(self.state.totals[kernels.BEST]) / float(max(1, self.state.nodes.shape[0] - 1))

    @property
    def iterations(self) -> int:
        """Iterations done."""
        return int(self.state.counters[kernels.ITERATION])

    def place(self, plan: Routes | None, order: Ints, seeds: int = 0) -> None:
        """Begin with the routes of ``plan`` (one that passes the check) and insert who is left in ``order``.

        The first ``seeds`` of these get routes of their own as long as there are vehicles.
        """
        kernels.clear(self.state)
        routes = [clients for clients in plan.routes if clients] if plan else []
        for route, clients in enumerate(routes[: len(self.state.fleet)]):
            for client in clients:
                kernels.append(self.data, self.state, client, route)
        kernels.count_absent(self.data, self.state)
        annealing.construct(self.data, self.state, order, seeds)

    def run(self, iterations: int, temperature: float, cooling: float, opening: float) -> float:
        """A chunk of iterations; return the temperature after it."""
        return float(annealing.improve(self.data, self.state, iterations, temperature, cooling, opening))

    def restart(self) -> None:
        """Go on from the best routes."""
        kernels.recover_best(self.data, self.state)

    def current(self) -> list[tuple[int, ...]]:
        """The routes as they are now, not the best; they may leave clients out."""
        used = self.state.lists[kernels.SLOTS, : self.state.counters[kernels.NUM_USED]]
        firsts = self.state.fleet[used, kernels.FIRST].tolist()
        return _followed(firsts, self.state.nodes[:, kernels.SUCC].tolist())

    def plan(self) -> Routes:
        """The best routes, by their first client."""
        firsts = self.state.lists[kernels.BEST_FIRST, : len(self.state.fleet)].tolist()
        return Routes(tuple(_followed(sorted(firsts), self.state.lists[kernels.BEST_SUCC].tolist())))


def _followed(firsts: list[int], succ: list[int]) -> list[tuple[int, ...]]:
    """The chains that begin at ``firsts``; 0 begins none."""
    routes = []
    for first in firsts:
        route, client = [], first
        while client != 0:
            route.append(client)
            client = succ[client]
        if route:
            routes.append(tuple(route))
    return routes


def construction_order(instance: VehicleRouting) -> Ints:
    """Who is inserted first: with windows those that close early, otherwise those far from the depot."""
    key = instance.due if instance.has_time_windows else -instance.distance[0]
    order = np.argsort(key[1:], kind="stable") + 1
    return order.astype(np.int32)


def _empty_state(instance: VehicleRouting, scale: float, seed: int, most: int | None = None) -> State:
    size = instance.num_clients + 1
    routes = max(1, min(instance.num_clients, most or instance.num_vehicles or instance.num_clients))
    nodes = np.zeros((size, 4), np.int32)
    nodes[:, kernels.ROUTE] = kernels.ABSENT
    facts = np.zeros((size, 8))
    hours = [scale * values for values in (instance.ready, instance.due, instance.service)]
    facts[:, [kernels.READY, kernels.DUE, kernels.SERVICE, kernels.DEMAND]] = np.array([*hours, instance.demand]).T
    facts[0, [kernels.EARLY, kernels.LATE, kernels.SERVICE]] = hours[0][0], hours[1][0], 0.0
    totals = np.zeros(kernels.NUM_TOTALS)
    totals[[kernels.GAIN, kernels.GAIN_OPENING, kernels.GAIN_CLOSING]] = annealing.FIRST_GAIN
    return State(
        nodes=nodes,
        facts=facts,
        fleet=np.zeros((routes, 6), np.int32),
        load=np.zeros(routes),
        lists=np.zeros((kernels.NUM_LISTS, max(size, routes) + 1), np.int32),
        keys=np.zeros(size),
        random=np.random.SeedSequence(seed).generate_state(1, np.uint64) | np.uint64(1),
        totals=totals,
        counters=np.zeros(kernels.NUM_COUNTERS, np.int64),
    )
