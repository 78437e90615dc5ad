"""The independent check of rich routes, from the instance's data alone: each route is driven stop by stop."""

from __future__ import annotations

from collections import Counter

import numpy as np

from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting
from apportion.models.rich_routing.driving import Driven, drive, lock_of, trips_of
from apportion.models.verdict import TOLERANCE, Verdict, Violation

__all__ = ["check", "drive"]


def check(instance: RichRouting, plan: RichRoutes) -> Verdict:
    """Verify visits, groups, pairs, loads, windows, shifts, limits, skills, reloads, breaks, locks and the fleet.

    Measures: ``routes``, ``distance``, ``duration``, ``cost of routes`` and ``prizes left``, and where the instance
    has them ``cost of lateness``, ``cost of overtime`` and ``cost of unbalance``.
    """
    violations = _visits(instance, plan) + _fleet(instance, plan) + _locks(instance, plan)
    driven: list[Driven] = []
    lengths: list[int] = []
    for number, route in enumerate(plan.routes, 1):
        if not route.stops or not 0 <= route.vehicle < len(instance.vehicles):
            continue
        if not all(0 <= stop < instance.num_locations for stop in route.stops):
            continue
        result = drive(instance, route)
        driven.append(result)
        lengths.append(len(route.stops))
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
    unequal = _unbalance(instance, driven, lengths)
    lateness, overtime = sum(result.lateness for result in driven), sum(result.overtime for result in driven)
    measures |= {"cost of lateness": lateness} if (instance.late_cost > 0).any() else {}
    measures |= {"cost of overtime": overtime} if any(v.overtime_cost > 0 for v in instance.vehicles) else {}
    measures |= {"cost of unbalance": unequal} if instance.balance is not None else {}
    return Verdict(cost + prizes + unequal, instance.sense, tuple(violations), measures)


def _unbalance(instance: RichRouting, driven: list[Driven], lengths: list[int]) -> float:
    """The price of the longest route and of the range, by the measure of the instance."""
    if instance.balance is None or not driven:
        return 0.0
    measure = instance.balance.measure
    values = [float(n) for n in lengths] if measure == "stops" else [float(getattr(d, measure)) for d in driven]
    return instance.balance.longest_cost * max(values) + instance.balance.range_cost * (max(values) - min(values))


def _locks(instance: RichRouting, plan: RichRoutes) -> list[Violation]:
    """Each route under way goes on from where it is."""
    found = [lock_of(instance, route) for route in plan.routes]
    return [
        Violation("lock", f"locks[{number}] of vehicle type {lock.vehicle}", 1, "routes")
        for number, lock in enumerate(instance.locks)
        if lock not in found
    ]


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


def violations_of(instance: RichRouting, route: RichRoute) -> list[Violation]:
    """What one route breaks by itself."""
    return _on_route(instance, route, drive(instance, route), "route")


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
    found += [Violation("break", f"{place}, break {number + 1}", late, "time") for number, late in driven.breaks]
    found += _breaks(instance, route, driven, place)
    if not np.isfinite(driven.distance):
        found.append(Violation("forbidden_way", place, 1, "ways"))
    return found + _rules(instance, route, place)


def _breaks(instance: RichRouting, route: RichRoute, driven: Driven, place: str) -> list[Violation]:
    """Breaks come in order, one between two services; one that is left out was not yet due at the end."""
    planned, taken = instance.vehicles[route.vehicle].breaks, route.breaks
    in_order = list(taken) == sorted(set(taken)) and all(0 <= number <= len(route.stops) for number in taken)
    if not in_order or len(taken) > len(planned):
        return [Violation("break_order", place, 1, "breaks")]
    ends = driven.visits[-1].begins
    return [
        Violation("break", f"{place}, break {number + 1}", ends - planned[number].latest, "time")
        for number in range(len(taken), len(planned))
        if ends - planned[number].latest > TOLERANCE * max(1.0, planned[number].latest)
    ]


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
