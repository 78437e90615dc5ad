"""Tiny routing instances and their optima by enumeration, sharing nothing with the solver."""

from __future__ import annotations

from itertools import combinations, pairwise, permutations
from math import inf

import numpy as np
from hypothesis import strategies as st

from apportion.instances.routing import VehicleRouting


def route_is_feasible(instance: VehicleRouting, route: tuple[int, ...]) -> bool:
    if sum(instance.demand[client] for client in route) > instance.capacity:
        return False
    time, here = float(instance.ready[0]), 0
    for stop in (*route, 0):
        time += (float(instance.service[here]) if here else 0.0) + float(instance.duration[here, stop])
        if stop:
            time = max(time, float(instance.ready[stop]))
        if time > instance.due[stop]:
            return False
        here = stop
    return True


def route_distance(instance: VehicleRouting, route: tuple[int, ...]) -> float:
    stops = (0, *route, 0)
    return float(sum(instance.distance[a, b] for a, b in pairwise(stops)))


def best_route(instance: VehicleRouting, clients: tuple[int, ...]) -> float:
    feasible = (p for p in permutations(clients) if route_is_feasible(instance, p))
    return min((route_distance(instance, route) for route in feasible), default=inf)


def optimum(instance: VehicleRouting) -> float:
    """The least distance over all partitions into routes; infinite when there is none."""
    clients = range(1, instance.num_clients + 1)
    cost = {frozenset(group): best_route(instance, group) for size in clients for group in combinations(clients, size)}
    most = instance.num_vehicles or instance.num_clients
    known: dict[tuple[frozenset[int], int], float] = {}

    def least(left: frozenset[int], vehicles: int) -> float:
        if not left:
            return 0.0
        if vehicles == 0:
            return inf
        key = (left, vehicles)
        if key not in known:
            first = min(left)
            known[key] = min(
                value + least(left - group, vehicles - 1)
                for group, value in cost.items()
                if first in group and group <= left
            )
        return known[key]

    return least(frozenset(clients), most)


def random_instance(seed: int, clients: int, *, timed: bool, symmetric: bool = True) -> VehicleRouting:
    """Whole-number instances, some of them without any plan."""
    random = np.random.default_rng(seed)
    size = clients + 1
    points = random.integers(0, 30, (size, 2))
    distance = np.rint(np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)))
    if not symmetric:
        distance = distance + random.integers(0, 8, (size, size))
        np.fill_diagonal(distance, 0)
    demand = np.concatenate([[0], random.integers(0, 8, clients)]).astype(np.float64)
    capacity = float(random.integers(8, 20))
    ready, due, service = np.zeros(size), np.full(size, np.inf), np.zeros(size)
    if timed:
        service[1:] = random.integers(0, 6, clients)
        horizon = float(random.integers(90, 160))
        ready[1:] = random.integers(0, 50, clients)
        due[1:] = np.minimum(horizon, ready[1:] + random.integers(5, 70, clients))
        due[0] = horizon
    vehicles = int(random.integers(2, clients + 1)) if random.random() < 0.5 and clients > 1 else None
    return VehicleRouting(
        f"tiny-{seed}", distance, distance, demand, capacity, ready, due, service, num_vehicles=vehicles
    )


tiny = st.builds(
    random_instance,
    st.integers(0, 10**6),
    st.integers(1, 5),
    timed=st.booleans(),
    symmetric=st.booleans(),
)
