"""The driver around the compiled search: requests and arrays in, plans out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting
from apportion.solvers.rich_routing import kernels
from apportion.solvers.rich_routing.kernels import ALONE, ALTERNATIVES, PAIR, Data, State
from apportion.solvers.rich_routing.segments.kernels import KIND, LOADS, LOCATION, NONE, REQUEST, ROUTE, Ints

NUM_NEIGHBOURS = 100
MOST_RELOAD_NODES = 2000
_WAITING = 0.2
_NO_LIMIT = 1e15
"""Stands for infinity in the kernels, whose sums must stay numbers."""


def neighbours(instance: RichRouting, count: int) -> Ints:
    """For each location the ``count`` clients that go best beside it: distance, waiting, and being too late."""
    takes = instance.service[:, None] + instance.duration
    with np.errstate(invalid="ignore"):
        waits = np.maximum(0.0, instance.ready[None, :] - takes - instance.due[:, None])
        late = np.maximum(0.0, instance.ready[:, None] + takes - instance.due[None, :])
        unease = instance.distance + _WAITING * np.nan_to_num(waits) + np.nan_to_num(late, posinf=_NO_LIMIT)
    unease = np.minimum(unease, unease.T)
    np.fill_diagonal(unease, np.inf)
    depots = instance.num_depots
    count = min(count, max(1, instance.num_clients - 1))
    order = np.argsort(unease[:, depots:], axis=1, kind="stable")[:, :count]
    return (order + depots).astype(np.int32)


def requests_of(instance: RichRouting) -> list[tuple[int, tuple[int, ...]]]:
    """What is served as one: groups, pairs, and each other client alone.

    >>> from apportion.instances.rich_routing import VehicleType
    >>> line = np.ones((4, 4))
    >>> requests_of(RichRouting.simple("line", line, [VehicleType(1, (1.0,))], groups=((1, 3),)))
    [(1, (1, 3)), (0, (2,))]
    """
    requests: list[tuple[int, tuple[int, ...]]] = [(ALTERNATIVES, group) for group in instance.groups]
    requests += [(PAIR, pair) for pair in instance.pairs]
    taken = {client for _, members in requests for client in members}
    clients = range(instance.num_depots, instance.num_locations)
    return requests + [(ALONE, (client,)) for client in clients if client not in taken]


@dataclass(frozen=True, eq=False)
class RichSearch:
    """One run of ruin and recreate."""

    instance: RichRouting
    data: Data
    state: State

    @classmethod
    def begin(cls, instance: RichRouting, seed: int) -> RichSearch:
        """Arrays for ``instance`` with nobody served yet."""
        requests = requests_of(instance)
        bases = np.cumsum([0, *(min(v.count, len(requests)) for v in instance.vehicles)])
        data = _data(instance, requests, bases)
        search = cls(instance, data, _state(instance, data, requests, seed))
        for slot in range(int(bases[-1])):
            kernels.renew(data, search.state, slot)
        order = np.argsort(data.keys[:, 3] if np.isfinite(instance.due).any() else data.keys[:, 1], kind="stable")
        kernels.construct(data, search.state, order.astype(np.int32))
        return search

    @property
    def num_absent(self) -> int:
        """How many requests that must be served the best routes leave out; 0 makes them a plan."""
        return int(self.state.counters[kernels.BEST_REQUIRED_ABSENT])

    @property
    def best(self) -> float:
        """The cost of the best routes, with a large price for each request that must be served and is not."""
        return float(self.state.totals[kernels.BEST])

    @property
    def average_edge(self) -> float:
        """The cost of the best routes for each client they serve, without fixed costs: the scale of temperatures."""
        served = int((self.state.best_length > 0).sum()) + int(self.state.best_length.sum())
        kinds = self.state.slots[:, KIND]
        used = self.state.facts[:, 0] * self.data.fleet[kinds, 1] * (self.state.best_length > 0)
        return float(used.sum()) / max(1, served)

    @property
    def iterations(self) -> int:
        """Iterations done."""
        return int(self.state.counters[kernels.ITERATION])

    def run(self, iterations: int, temperature: float, cooling: float, opening: float) -> float:
        """A chunk of iterations; return the temperature after it."""
        return float(kernels.improve(self.data, self.state, iterations, temperature, cooling, opening))

    def restart(self) -> None:
        """Go on from the best routes."""
        kernels.recover_best(self.data, self.state)

    def place(self, plan: RichRoutes) -> None:
        """Begin with the routes of ``plan``, which passes the check."""
        state = self.state
        state.best_length[:] = 0
        used = [0] * len(self.instance.vehicles)
        free_reload = self.instance.num_locations
        for route in (route for route in plan.routes if route.stops):
            slot = int(self.data.kinds[route.vehicle, 2]) + used[route.vehicle]
            used[route.vehicle] += 1
            state.best_length[slot] = len(route.stops)
            for place, stop in enumerate(route.stops):
                node = stop
                if stop < self.instance.num_depots:
                    node, free_reload = free_reload, free_reload + 1
                state.best[slot, place] = node
        self.restart()
        kernels.remember(state)

    def plan(self) -> RichRoutes:
        """The best routes, by vehicle and first client."""
        state, routes = self.state, []
        for slot in np.flatnonzero(state.best_length).tolist():
            nodes = state.best[slot, : state.best_length[slot]]
            stops = tuple(int(stop) for stop in state.nodes[nodes, LOCATION])
            routes.append(RichRoute(int(state.slots[slot, KIND]), stops))
        return RichRoutes(tuple(sorted(routes, key=lambda route: (route.vehicle, route.stops))))


def _data(instance: RichRouting, requests: list[tuple[int, tuple[int, ...]]], bases: Ints) -> Data:
    size, vehicles = instance.num_locations, instance.vehicles
    fleet = np.array(
        [
            [
                *(v.fixed_cost, v.distance_cost, v.time_cost, v.ready, v.due, v.most_duration, v.most_distance),
                *v.capacity,
            ]
            for v in vehicles
        ]
    )
    fleet = np.minimum(fleet, _NO_LIMIT)
    reloads = [v.most_reloads if v.reload is not None else 0 for v in vehicles]
    kinds = np.array(
        [
            [0 if v.reload is None else v.reload, reload, bases[kind], bases[kind + 1]]
            for kind, (v, reload) in enumerate(zip(vehicles, reloads, strict=True))
        ],
        np.int32,
    )
    serves = np.ones((len(vehicles), size), np.bool_)
    for kind, vehicle in enumerate(vehicles):
        if vehicle.serves is not None:
            serves[kind] = False
            serves[kind, list(vehicle.serves)] = True
    members = np.zeros((len(requests), max(len(m) for _, m in requests)), np.int32)
    for number, (_, some) in enumerate(requests):
        members[number, : len(some)] = some
    far = np.where(np.isfinite(instance.distance), instance.distance, 0.0).max()
    large = 10.0 * float((2.0 * far * fleet[:, 1] + fleet[:, 0]).max() + 1.0) + 1000.0 * float(fleet[:, 2].max())
    optional = instance.is_optional
    required = np.array([kind != ALONE or not optional[some[0]] for kind, some in requests])
    price = np.array(
        [large if must else instance.prize[some[0]] for must, (_, some) in zip(required, requests, strict=True)]
    )
    first = members[:, 0]
    loaded = instance.delivery + instance.pickup + np.abs(instance.shipment)
    due = np.minimum(instance.due, _NO_LIMIT)
    apart = np.where(np.isfinite(instance.distance[0]), instance.distance[0], far)
    keys = (-loaded[first].sum(axis=1), -apart[first], apart[first], due[first], due[first] - instance.ready[first])
    extra = (instance.ready[first], -price)
    num_reloads = min(MOST_RELOAD_NODES, instance.num_clients, int(sum(np.diff(bases) * reloads)))
    return Data(
        distance=np.array(instance.distance, order="C"),
        duration=np.array(instance.duration, order="C"),
        fleet=fleet,
        kinds=kinds,
        serves=serves,
        near=neighbours(instance, NUM_NEIGHBOURS),
        members=members,
        what=np.array([[len(some), kind] for kind, some in requests], np.int32),
        price=price,
        required=required,
        keys=np.array([*keys, *extra]).T.copy(),
        sizes=np.array([size, num_reloads, bases[-1], instance.num_depots], np.int64),
    )


def _state(instance: RichRouting, data: Data, requests: list[tuple[int, tuple[int, ...]]], seed: int) -> State:
    size, num_reloads, num_slots = (int(value) for value in data.sizes[:3])
    loads = instance.delivery.shape[1]
    num_nodes, most = size + num_reloads + 2 * num_slots, size + num_reloads + 2
    atoms = np.zeros((num_nodes, LOADS + 3 * loads))
    atoms[:size, 0] = instance.service
    atoms[:size, 1] = instance.ready
    atoms[:size, 2] = np.minimum(instance.due, _NO_LIMIT)
    atoms[:size, 3] = instance.release
    for load in range(loads):
        gain = instance.pickup[:, load] + instance.shipment[:, load]
        atoms[:size, LOADS + 3 * load] = instance.delivery[:, load]
        atoms[:size, LOADS + 3 * load + 1] = gain
        atoms[:size, LOADS + 3 * load + 2] = np.maximum(instance.delivery[:, load], gain)
    atoms[size : size + num_reloads, 1] = -_NO_LIMIT
    nodes = np.full((num_nodes, 4), NONE, np.int32)
    nodes[:size, LOCATION] = np.arange(size)
    for number, (_, some) in enumerate(requests):
        nodes[list(some), REQUEST] = number
    slots = np.zeros((num_slots, 4), np.int32)
    for kind, vehicle in enumerate(instance.vehicles):
        for slot in range(data.kinds[kind, 2], data.kinds[kind, 3]):
            slots[slot, KIND] = kind
            start = size + num_reloads + 2 * slot
            nodes[start, LOCATION], nodes[start + 1, LOCATION] = vehicle.start, vehicle.end
            atoms[start : start + 2, 1] = vehicle.ready
            atoms[start : start + 2, 2] = min(vehicle.due, _NO_LIMIT)
    depots = {vehicle.reload for vehicle in instance.vehicles if vehicle.reload is not None}
    nodes[size : size + num_reloads, LOCATION] = min(depots, default=0)
    nodes[:, ROUTE] = NONE
    width = max(most, num_slots) + len(requests) + 4
    return State(
        atoms=atoms,
        before=np.zeros_like(atoms),
        after=np.zeros_like(atoms),
        work=np.zeros((5, atoms.shape[1])),
        nodes=nodes,
        slots=slots,
        facts=np.zeros((num_slots, 5)),
        sequence=np.zeros((num_slots, most), np.int32),
        best=np.zeros((num_slots, most), np.int32),
        best_length=np.zeros(num_slots, np.int32),
        at=np.full(len(requests), NONE, np.int32),
        rows=np.zeros((8, width), np.int32),
        found=np.zeros(8, np.int32),
        values=np.zeros(width),
        saved_cost=np.zeros(num_slots + 1),
        random=np.random.SeedSequence(seed).generate_state(1, np.uint64) | np.uint64(1),
        totals=np.zeros(2),
        counters=np.zeros(4, np.int64),
    )
