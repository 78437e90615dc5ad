"""The independent check of rich routes, from the instance's data alone: each route is driven stop by stop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting, VehicleType
from apportion.models.verdict import TOLERANCE, Verdict, Violation


@dataclass
class Driven:
    """What happens on one route."""

    distance: float = 0.0
    duration: float = 0.0
    cost: float = 0.0
    late: list[tuple[int, float]] = field(default_factory=list)
    over: float = 0.0


def trips_of(instance: RichRouting, route: RichRoute) -> list[list[int]]:
    """The clients between two visits to a depot.

    >>> line = np.ones((3, 3)) - np.eye(3)
    >>> trips_of(RichRouting.simple("line", line, [VehicleType(1, (1.0,))]), RichRoute(0, (1, 0, 2)))
    [[1], [2]]
    """
    trips: list[list[int]] = [[]]
    for stop in route.stops:
        if stop < instance.num_depots:
            trips.append([])
        else:
            trips[-1].append(stop)
    return trips


def drive(instance: RichRouting, route: RichRoute) -> Driven:
    """Drive a route as early as possible, then as late as that still allows, to find its shortest duration."""
    vehicle = instance.vehicles[route.vehicle]
    driven = Driven()
    depots = [vehicle.start, *(stop for stop in route.stops if stop < instance.num_depots), vehicle.end]
    trips = trips_of(instance, route)
    ready_from = [max([0.0, *(float(instance.release[c]) for c in trip)]) for trip in trips]
    clock = max(vehicle.ready, ready_from[0])
    arrivals: list[float] = []
    begin = clock
    for trip, (leaves, comes), release in zip(trips, pairwise(depots), ready_from, strict=True):
        clock, here = max(clock, release), leaves
        for stop in (*trip, comes):
            is_client = stop >= instance.num_depots
            driven.distance += float(instance.distance[here, stop])
            clock += float(instance.duration[here, stop])
            if is_client:
                clock = max(clock, float(instance.ready[stop]))
            closes = float(instance.due[stop]) if is_client else vehicle.due
            if clock - closes > TOLERANCE * max(1.0, abs(closes)):
                driven.late.append((stop, clock - closes))
            arrivals.append(clock)
            clock += float(instance.service[stop]) if is_client else 0.0
            here = stop
        driven.over = max(driven.over, _over(instance, vehicle, trip))
    driven.duration = (
        clock - _latest_begin(instance, vehicle, trips[0], begin, clock) if len(trips) == 1 else (clock - begin)
    )
    driven.cost = vehicle.fixed_cost + vehicle.distance_cost * driven.distance + vehicle.time_cost * driven.duration
    return driven


def _latest_begin(instance: RichRouting, vehicle: VehicleType, trip: list[int], begin: float, end: float) -> float:
    """The latest departure that is still back at ``end`` and late nowhere (or no later than without waiting)."""
    latest, after = end, vehicle.end
    for stop in reversed(trip):
        latest -= float(instance.duration[stop, after]) + float(instance.service[stop])
        latest = min(latest, float(instance.due[stop]))
        after = stop
    return max(begin, latest - float(instance.duration[vehicle.start, after]))


def _over(instance: RichRouting, vehicle: VehicleType, trip: list[int]) -> float:
    """By how much the load of a trip exceeds the capacity at its worst."""
    load = instance.delivery[trip].sum(axis=0)
    worst = load - np.array(vehicle.capacity)
    for stop in trip:
        load = load - instance.delivery[stop] + instance.pickup[stop] + instance.shipment[stop]
        worst = np.maximum(worst, load - np.array(vehicle.capacity))
    return float(worst.max())


def check(instance: RichRouting, plan: RichRoutes) -> Verdict:
    """Verify visits, groups, pairs, loads, windows, shifts, limits, skills, reloads and the fleet; add up the cost.

    Measures: ``routes``, ``distance``, ``duration``, ``cost of routes`` and ``prizes left``.
    """
    violations = _visits(instance, plan) + _fleet(instance, plan)
    driven: list[Driven] = []
    for number, route in enumerate(plan.routes, 1):
        if not route.stops or not 0 <= route.vehicle < len(instance.vehicles):
            continue
        if not all(0 <= stop < instance.num_locations for stop in route.stops):
            continue
        result = drive(instance, route)
        driven.append(result)
        violations += _on_route(instance, route, result, f"route {number}")
    served = {stop for route in plan.routes for stop in route.stops}
    left = [client for client in np.flatnonzero(instance.is_optional).tolist() if client not in served]
    prizes = float(instance.prize[left].sum())
    cost = sum(result.cost for result in driven)
    measures = {
        "routes": float(len(driven)),
        "distance": sum(result.distance for result in driven),
        "duration": sum(result.duration for result in driven),
        "cost of routes": cost,
        "prizes left": prizes,
    }
    return Verdict(cost + prizes, instance.sense, tuple(violations), measures)


def _visits(instance: RichRouting, plan: RichRoutes) -> list[Violation]:
    """Every client that must be served is, none twice; of each group exactly one; pairs both or neither."""
    visits = Counter(stop for route in plan.routes for stop in route.stops if stop >= instance.num_depots)
    strangers = [stop for route in plan.routes for stop in route.stops if not 0 <= stop < instance.num_locations]
    found = [Violation("unknown_client", f"location {stop}", 1, "visits") for stop in sorted(set(strangers))]
    grouped = {client for group in instance.groups for client in group}
    optional = instance.is_optional
    for client in range(instance.num_depots, instance.num_locations):
        if visits[client] > 1:
            found.append(Violation("served_twice", f"client {client}", visits[client] - 1, "visits"))
        if visits[client] == 0 and not optional[client] and client not in grouped:
            found.append(Violation("unserved", f"client {client}", 1, "visits"))
    for number, group in enumerate(instance.groups, 1):
        served = sum(visits[client] > 0 for client in group)
        if served != 1:
            rule = "group_unserved" if served == 0 else "group_served_twice"
            found.append(Violation(rule, f"group {number}", abs(served - 1), "visits"))
    found += [
        Violation("pair_split", f"clients {origin} and {destination}", 1, "visits")
        for origin, destination in instance.pairs
        if (visits[origin] > 0) != (visits[destination] > 0)
    ]
    return found


def _fleet(instance: RichRouting, plan: RichRoutes) -> list[Violation]:
    found: list[Violation] = []
    used = Counter(route.vehicle for route in plan.routes if route.stops)
    for kind, count in sorted(used.items()):
        if not 0 <= kind < len(instance.vehicles):
            found.append(Violation("unknown_vehicle", f"vehicle type {kind}", count, "routes"))
        elif count > instance.vehicles[kind].count:
            over = count - instance.vehicles[kind].count
            found.append(Violation("fleet", f"vehicle type {kind}", over, "routes"))
    return found


def _on_route(instance: RichRouting, route: RichRoute, driven: Driven, place: str) -> list[Violation]:
    vehicle = instance.vehicles[route.vehicle]
    found = [
        Violation("time_window" if stop >= instance.num_depots else "shift", f"{place}, stop {stop}", late, "time")
        for stop, late in driven.late
    ]
    if driven.over > TOLERANCE * max(1.0, *vehicle.capacity):
        found.append(Violation("capacity", place, driven.over, "load"))
    for rule, value, most in (
        ("duration", driven.duration, vehicle.most_duration),
        ("distance", driven.distance, vehicle.most_distance),
    ):
        if value - most > TOLERANCE * max(1.0, most):
            found.append(Violation(rule, place, value - most, "time" if rule == "duration" else "distance"))
    if not np.isfinite(driven.distance):
        found.append(Violation("forbidden_way", place, 1, "ways"))
    return found + _rules(instance, route, place)


def _rules(instance: RichRouting, route: RichRoute, place: str) -> list[Violation]:
    """Reloads, skills, the order of pairs and of backhauls."""
    vehicle, found = instance.vehicles[route.vehicle], []
    reloads = [stop for stop in route.stops if stop < instance.num_depots]
    if any(stop != vehicle.reload for stop in reloads) or len(reloads) > vehicle.most_reloads:
        found.append(Violation("reload", place, len(reloads), "reloads"))
    clients = [stop for stop in route.stops if stop >= instance.num_depots]
    if vehicle.serves is not None:
        wrong = [client for client in clients if client not in vehicle.serves]
        found += [Violation("skill", f"{place}, client {client}", 1, "visits") for client in wrong]
    trips = trips_of(instance, route)
    where = {client: (trip, place) for trip, some in enumerate(trips) for place, client in enumerate(some)}
    for origin, destination in instance.pairs:
        if origin in where or destination in where:
            (trip, first), (other, second) = where.get(origin, (-1, 0)), where.get(destination, (-2, 0))
            if trip != other or first >= second:
                found.append(Violation("pair_order", f"{place}, clients {origin} and {destination}", 1, "visits"))
    if instance.backhauls_last:
        takes = [bool(instance.pickup[client].any()) for client in clients]
        if takes != sorted(takes) or (takes and takes[0]):
            found.append(Violation("backhaul_order", place, 1, "routes"))
    return found
