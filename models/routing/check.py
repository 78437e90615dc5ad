"""The independent check of routes, from the instance's data alone; and why an instance has no routes at all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from apportion.instances.routing import Routes, VehicleRouting
from apportion.models.verdict import TOLERANCE, Verdict, Violation


@dataclass(frozen=True)
class RouteTimes:
    """What happens on one route: when service begins at each stop (the last is the depot), and what it adds up to."""

    begins: tuple[float, ...]
    distance: float
    duration: float
    waiting: float
    load: float


def follow(instance: VehicleRouting, route: tuple[int, ...]) -> RouteTimes:
    """Drive ``route`` as early as possible, waiting where a window is not open yet; windows missed do not stop it.

    >>> corner = np.array([[0.0, 3, 4], [3, 0, 5], [4, 5, 0]])
    >>> follow(VehicleRouting.capacitated("corner", corner, [0, 1, 1], 2), (1, 2)).distance
    12.0
    """
    time = float(instance.ready[0])
    begins: list[float] = []
    distance = waiting = 0.0
    here = 0
    for stop in (*route, 0):
        leaves = time if here == 0 else time + float(instance.service[here])
        arrives = leaves + float(instance.duration[here, stop])
        time = arrives if stop == 0 else max(arrives, float(instance.ready[stop]))
        waiting += time - arrives
        distance += float(instance.distance[here, stop])
        begins.append(time)
        here = stop
    load = sum(float(instance.demand[client]) for client in route)
    return RouteTimes(tuple(begins), distance, time - float(instance.ready[0]), waiting, load)


def check(instance: VehicleRouting, plan: Routes) -> Verdict:
    """Verify that each client is served once, within capacity, windows, depot hours and fleet; recompute the distance.

    Measures: ``routes`` in use, ``distance``, ``duration`` (of all routes, each from the depot's opening), ``waiting``,
    and ``largest load``.
    """
    violations = _visits(instance, plan)
    used = [route for route in plan.routes if route]
    if instance.num_vehicles is not None and len(used) > instance.num_vehicles:
        violations.append(Violation("num_vehicles", "fleet", len(used) - instance.num_vehicles, "routes"))
    driven: list[RouteTimes] = []
    for number, route in enumerate(plan.routes, 1):
        known = tuple(client for client in route if 1 <= client <= instance.num_clients)
        if not known:
            continue
        times = follow(instance, known)
        driven.append(times)
        violations += _on_route(instance, known, times, f"route {number}")
    distance = sum(times.distance for times in driven)
    measures = {
        "routes": float(len(used)),
        "distance": distance,
        "duration": sum(times.duration for times in driven),
        "waiting": sum(times.waiting for times in driven),
        "largest load": max((times.load for times in driven), default=0.0),
    }
    return Verdict(distance, instance.sense, tuple(violations), measures)


def _visits(instance: VehicleRouting, plan: Routes) -> list[Violation]:
    visits = Counter(client for route in plan.routes for client in route)
    strangers = sorted(client for client in visits if not 1 <= client <= instance.num_clients)
    found = [Violation("unknown_client", f"client {client}", visits[client], "visits") for client in strangers]
    for client in range(1, instance.num_clients + 1):
        if visits[client] != 1:
            rule = "unserved" if visits[client] == 0 else "served_twice"
            found.append(Violation(rule, f"client {client}", abs(visits[client] - 1), "visits"))
    return found


def _on_route(instance: VehicleRouting, route: tuple[int, ...], times: RouteTimes, place: str) -> list[Violation]:
    found: list[Violation] = []
    over = times.load - instance.capacity
    if over > TOLERANCE * max(1.0, instance.capacity):
        found.append(Violation("capacity", place, over, "demand"))
    for stop, begins in zip((*route, 0), times.begins, strict=True):
        late = begins - float(instance.due[stop])
        if late > TOLERANCE * max(1.0, abs(float(instance.due[stop]))):
            rule = "time_window" if stop else "depot_closes"
            found.append(Violation(rule, f"{place}, client {stop}" if stop else place, late, "time"))
    return found


def impossible(instance: VehicleRouting) -> tuple[str, ...]:
    """Reasons, each a proof, why no plan can exist: clients that no vehicle can serve, or a fleet that is too small.

    An empty tuple means that none of these simple reasons applies, not that a plan exists.
    """
    reasons: list[str] = []
    slack = TOLERANCE * max(1.0, instance.capacity)
    for client in np.flatnonzero(instance.demand > instance.capacity + slack).tolist():
        demand, capacity = instance.demand[client], instance.capacity
        reasons.append(f"client {client} asks for {demand:g}, a vehicle carries {capacity:g}")
    for client, arrives, back in _unreachable(instance):
        if arrives > instance.due[client]:
            reasons.append(
                f"client {client} closes at {instance.due[client]:g}, no vehicle is there before {arrives:g}"
            )
        else:
            reasons.append(
                f"from client {client} no vehicle is back before {back:g}, the depot closes at {instance.due[0]:g}"
            )
    fleet = instance.num_vehicles
    if fleet is not None and instance.demand.sum() > fleet * (instance.capacity + slack):
        carried = fleet * instance.capacity
        reasons.append(f"the clients ask for {instance.demand.sum():g}, {fleet} vehicles carry {carried:g}")
    return tuple(reasons)


def _unreachable(instance: VehicleRouting) -> list[tuple[int, float, float]]:
    """Clients whose window no vehicle can meet on the quickest way there, or not be home in time afterwards."""
    if not instance.has_time_windows:
        return []
    to_client, to_depot = _quickest(instance)
    found = []
    for client in range(1, instance.num_clients + 1):
        begins = max(float(instance.ready[0]) + to_client[client], float(instance.ready[client]))
        back = begins + float(instance.service[client]) + to_depot[client]
        for reached, closes in ((begins, instance.due[client]), (back, instance.due[0])):
            if reached - closes > TOLERANCE * max(1.0, abs(closes)):
                found.append((client, begins, back))
                break
    return found


def _quickest(instance: VehicleRouting) -> tuple[list[float], list[float]]:
    """Shortest travel times from and to the depot, through other locations where that is quicker (Bellman-Ford)."""
    quickest = []
    for matrix in (instance.duration, instance.duration.T):
        times = matrix[0].copy()
        for _ in range(len(times)):
            better = np.minimum(times, (times[:, None] + matrix).min(axis=0))
            if np.array_equal(better, times):
                break
            times = better
        quickest.append(times.tolist())
    return quickest[0], quickest[1]
