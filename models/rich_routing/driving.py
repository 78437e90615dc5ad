"""Driving a route of a rich plan stop by stop, from the instance's data alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

import numpy as np

from apportion.instances.rich_routing import RichRoute, RichRouting, VehicleType
from apportion.instances.rich_rules import Lock, Traffic
from apportion.models.verdict import TOLERANCE


@dataclass
class Visit:
    """One leg and the stop at its end: when service begins, when the vehicle is free to leave, and the load then."""

    stop: int
    left: float
    begins: float
    leaves: float
    rest: int | None = None


@dataclass
class Driven:
    """What happens on one route; times are those of leaving as early as possible, ``duration`` of the best start."""

    distance: float = 0.0
    duration: float = 0.0
    cost: float = 0.0
    lateness: float = 0.0
    overtime: float = 0.0
    load: float = 0.0
    late: list[tuple[int, float]] = field(default_factory=list)
    over: float = 0.0
    breaks: list[tuple[int, float]] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)


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


def lock_of(instance: RichRouting, route: RichRoute) -> Lock | None:
    """The lock that this route begins with, or None."""
    for lock in instance.locks:
        if lock.vehicle == route.vehicle and lock.stops == route.stops[: len(lock.stops)]:
            return lock
    return None


def arrives(traffic: Traffic | None, way: tuple[int, int], leaves: float, takes: float) -> float:
    """When the end of a way is reached: hour by hour at the speed of the hour.

    >>> arrives(Traffic((0.0, 10.0), ((1.0, 0.5),)), (0, 1), 8.0, 4.0)
    14.0
    """
    if traffic is None or takes == inf:
        return leaves + takes
    speeds = _speeds(traffic, way)
    edges = [*traffic.times[1:], inf]
    clock, rest = leaves, takes
    for speed, edge in zip(speeds, edges, strict=True):
        if clock >= edge:
            continue
        if rest <= speed * (edge - clock):
            return clock + rest / speed
        rest -= speed * (edge - clock)
        clock = edge
    raise AssertionError("the last hour has no end")


def latest_departure(traffic: Traffic | None, way: tuple[int, int], arrival: float, takes: float) -> float:
    """The latest time to enter a way whose end must be reached by ``arrival``.

    >>> latest_departure(Traffic((0.0, 10.0), ((1.0, 0.5),)), (0, 1), 14.0, 4.0)
    8.0
    """
    if traffic is None:
        return arrival - takes
    speeds = _speeds(traffic, way)
    edges = [-inf, *traffic.times[1:]]
    clock, rest = arrival, takes
    for speed, edge in zip(reversed(speeds), reversed(edges), strict=True):
        if clock <= edge:
            continue
        if rest <= speed * (clock - edge):
            return clock - rest / speed
        rest -= speed * (clock - edge)
        clock = edge
    raise AssertionError("the first hour has no beginning")


def _speeds(traffic: Traffic, way: tuple[int, int]) -> tuple[float, ...]:
    return traffic.speeds[0 if traffic.profile is None else int(traffic.profile[way])]


def drive(instance: RichRouting, route: RichRoute) -> Driven:
    """Drive a route as early as possible, then as late as the rules allow, to find its shortest duration."""
    vehicle, lock = instance.vehicles[route.vehicle], lock_of(instance, route)
    driven, settled = Driven(), 0 if lock is None else len(lock.stops)
    trips = trips_of(instance, route)
    depots = [vehicle.start, *(stop for stop in route.stops if stop < instance.num_depots), vehicle.end]
    past = () if lock is None else lock.stops
    ready_from = [max([0.0, *(float(instance.release[c]) for c in trip if c not in past)]) for trip in trips]
    begin = vehicle.ready if lock is None or lock.begin is None else lock.begin
    if lock is not None and ready_from[0] > begin:
        driven.late.append((vehicle.start, ready_from[0] - begin))
    begin = max(begin, ready_from[0])
    clock = begin
    for trip, (leaves, comes), release in zip(trips, pairwise(depots), ready_from, strict=True):
        clock, here = max(clock, release), leaves
        for stop in (*trip, comes):
            driven.distance += float(instance.distance[here, stop])
            visit = _leg(instance, vehicle, route, driven, (here, stop), clock)
            driven.visits.append(visit)
            clock, here = visit.leaves, stop
            if lock is not None and lock.leaves is not None and len(driven.visits) == settled:
                clock = visit.leaves = max(clock, lock.leaves)
        driven.over = max(driven.over, _over(instance, vehicle, trip))
    late_begin = len(trips) == 1 and lock is None
    driven.duration = clock - (_latest_begin(instance, vehicle, driven, begin) if late_begin else begin)
    _count(instance, vehicle, driven, settled)
    return driven


def _leg(
    instance: RichRouting, vehicle: VehicleType, route: RichRoute, driven: Driven, way: tuple[int, int], clock: float
) -> Visit:
    """Drive one way, with the break that the plan puts there."""
    number, stop = len(driven.visits), way[1]
    reached, rest = arrives(instance.traffic, way, clock, float(instance.duration[way])), None
    if number in route.breaks and route.breaks.index(number) < len(vehicle.breaks):
        rest = route.breaks.index(number)
        planned = vehicle.breaks[rest]
        if clock - planned.latest > TOLERANCE * max(1.0, planned.latest):
            driven.breaks.append((rest, clock - planned.latest))
        reached = max(reached, planned.earliest) + planned.length
    if stop < instance.num_depots:
        return Visit(stop, clock, reached, reached, rest)
    begins = max(reached, float(instance.ready[stop]))
    return Visit(stop, clock, begins, begins + float(instance.service[stop]), rest)


def _count(instance: RichRouting, vehicle: VehicleType, driven: Driven, settled: int) -> None:
    """Lateness, overtime, load and cost of a route that was driven."""
    for visit in driven.visits[settled:]:
        is_client = visit.stop >= instance.num_depots
        closes = float(instance.due[visit.stop]) if is_client else vehicle.due
        if visit.begins - closes > TOLERANCE * max(1.0, abs(closes)):
            driven.late.append((visit.stop, visit.begins - closes))
        if is_client and instance.late_cost[visit.stop] > 0:
            soft = max(0.0, visit.begins - float(instance.soft_due[visit.stop]))
            driven.lateness += float(instance.late_cost[visit.stop]) * soft
    driven.overtime = vehicle.overtime_cost * max(0.0, driven.visits[-1].begins - vehicle.overtime_after)
    clients = [visit.stop for visit in driven.visits if visit.stop >= instance.num_depots]
    gain = instance.pickup[clients, 0] + instance.shipment[clients, 0]
    driven.load = float(instance.delivery[clients, 0].sum() + np.maximum(gain, 0.0).sum())
    driven.cost = vehicle.fixed_cost + vehicle.distance_cost * driven.distance + vehicle.time_cost * driven.duration
    driven.cost += driven.lateness + driven.overtime


def _latest_begin(instance: RichRouting, vehicle: VehicleType, driven: Driven, begin: float) -> float:
    """The latest departure that makes no service later than its soft window or leaving at once allows."""
    latest = driven.visits[-1].begins
    for position in range(len(driven.visits) - 1, -1, -1):
        visit = driven.visits[position]
        here = driven.visits[position - 1].stop if position else vehicle.start
        takes = float(instance.duration[here, visit.stop])
        if visit.rest is not None:
            planned = vehicle.breaks[visit.rest]
            latest = latest_departure(instance.traffic, (here, visit.stop), latest - planned.length, takes)
            latest = min(latest, planned.latest)
        else:
            latest = latest_departure(instance.traffic, (here, visit.stop), latest, takes)
        if position:
            due = float(instance.due[here])
            if instance.late_cost[here] > 0:
                due = min(due, float(instance.soft_due[here]))
            latest = min(latest - float(instance.service[here]), max(due, driven.visits[position - 1].begins))
    return max(begin, latest)


def _over(instance: RichRouting, vehicle: VehicleType, trip: list[int]) -> float:
    """By how much the load of a trip exceeds the capacity at its worst."""
    load = instance.delivery[trip].sum(axis=0)
    worst = load - np.array(vehicle.capacity)
    for stop in trip:
        load = load - instance.delivery[stop] + instance.pickup[stop] + instance.shipment[stop]
        worst = np.maximum(worst, load - np.array(vehicle.capacity))
    return float(worst.max())
