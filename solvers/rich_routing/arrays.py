"""From an instance to the arrays of the compiled search."""

from __future__ import annotations

import numpy as np

from apportion.instances.rich_routing import RichRouting
from apportion.instances.rich_rules import Traffic
from apportion.solvers.rich_routing.segments.kernels import (
    DISTANCE,
    DURATION,
    EARLIEST,
    FIXED,
    HOME,
    KIND,
    LATEST,
    LOAD,
    LOADS,
    LOCATION,
    LOCKED,
    NONE,
    PER_DISTANCE,
    PER_TIME,
    RELEASE,
    REQUEST,
    ROUTE,
    SCRATCH_ROWS,
    TIME,
    Flags,
    Floats,
    Ints,
)
from apportion.solvers.rich_routing.state import (
    ALONE,
    ALTERNATIVES,
    BALANCED,
    FIRST_MEMBER,
    IS_TIMED,
    NUM_DEPOTS,
    NUM_RELOADS,
    PAIR,
    Arrays,
)
from apportion.solvers.rich_routing.timetable.kernels import Timetable

Requests = list[tuple[int, tuple[int, ...]]]
NUM_NEIGHBOURS = 100
MOST_RELOAD_NODES = 2000
_WAITING = 0.2
_NO_LIMIT = 1e15
"""Stands for infinity in the kernels, whose sums must stay numbers."""
_MEASURES = {"distance": DISTANCE, "duration": TIME, "load": LOAD, "stops": -1}


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
    least = unease[:, depots:]
    if count < least.shape[1]:
        some = np.argpartition(least, count, axis=1)[:, :count]
    else:
        some = np.broadcast_to(np.arange(least.shape[1]), least.shape).copy()
    some.sort(axis=1)
    order = np.argsort(np.take_along_axis(least, some, axis=1), axis=1, kind="stable")
    return (np.take_along_axis(some, order, axis=1) + depots).astype(np.int64)[:, :count].copy()


def requests_of(instance: RichRouting) -> Requests:
    """What is served as one: groups, pairs, and each other client alone; what is settled is no request.

    >>> from apportion.instances.rich_routing import VehicleType
    >>> line = np.ones((4, 4))
    >>> requests_of(RichRouting.simple("line", line, [VehicleType(1, (1.0,))], groups=((1, 3),)))
    [(1, (1, 3)), (0, (2,))]
    """
    settled = {stop for lock in instance.locks for stop in lock.stops}
    requests: Requests = [(ALTERNATIVES, group) for group in instance.groups if not settled & set(group)]
    requests += [(PAIR, pair) for pair in instance.pairs if not settled & set(pair)]
    taken = {client for _, members in requests for client in members} | settled
    taken |= {client for group in instance.groups for client in group}
    clients = range(instance.num_depots, instance.num_locations)
    return requests + [(ALONE, (client,)) for client in clients if client not in taken]


def arrays_of(instance: RichRouting, requests: Requests, seed: int, num_neighbours: int) -> Arrays:
    """All arrays, with empty routes."""
    near = np.zeros((instance.num_locations, 1), np.int64)
    locks = [sum(lock.vehicle == kind for lock in instance.locks) for kind in range(len(instance.vehicles))]
    counts = [min(v.count, len(requests) + held) for v, held in zip(instance.vehicles, locks, strict=True)]
    bases = np.cumsum([0, *counts])
    fleet = _fleet(instance)
    reloads = [v.most_reloads if v.reload is not None else 0 for v in instance.vehicles]
    num_reloads = min(MOST_RELOAD_NODES, instance.num_clients + len(instance.locks), int(sum(np.diff(bases) * reloads)))
    families = _families(instance)
    kinds = [
        [0 if v.reload is None else v.reload, most, bases[kind], bases[kind + 1], families[kind]]
        for kind, (v, most) in enumerate(zip(instance.vehicles, reloads, strict=True))
    ]
    num_slots, size = int(bases[-1]), instance.num_locations
    num_nodes, most = size + num_reloads + 2 * num_slots, size + num_reloads + 2
    width = max(most, num_slots) + len(requests) + 4
    seg, nodes, slots = _nodes(instance, requests, bases, num_reloads)
    table, keys = _requests(instance, requests, fleet)
    balance, counters = instance.balance, np.zeros(8, np.int64)
    counters[NUM_RELOADS], counters[NUM_DEPOTS] = num_reloads, instance.num_depots
    by_clock = balance is not None and balance.measure == "duration" and num_reloads > 0
    counters[IS_TIMED] = instance.is_timed or by_clock
    counters[BALANCED] = balance is not None
    weights = [0.0, 0.0, 0.0]
    if balance is not None:
        weights = [balance.longest_cost, balance.range_cost, float(_MEASURES[balance.measure])]
    return Arrays(
        ways=_ways(instance),
        seg=seg,
        fleet=fleet,
        kinds=np.array(kinds, np.int64),
        serves=_serves(instance),
        near=neighbours(instance, num_neighbours) if num_neighbours else near,
        nodes=nodes,
        slots=slots,
        facts=np.zeros((num_slots, 8)),
        requests=table,
        keys=keys,
        sequence=np.zeros((num_slots, most), np.int64),
        best=np.zeros((num_slots, most), np.int64),
        rows=np.zeros((7, width), np.int64),
        found=np.zeros(8, np.int64),
        values=np.zeros(width),
        random=np.random.SeedSequence(seed).generate_state(1, np.uint64) | np.uint64(1),
        totals=np.zeros(3),
        counters=counters,
        weights=np.array(weights),
        timetable=_timetable(instance, num_nodes, most + 2, instance.is_timed or by_clock),
    )


def _fleet(instance: RichRouting) -> Floats:
    rows = []
    for v in instance.vehicles:
        costs = v.fixed_cost, v.distance_cost, v.time_cost
        limits = v.ready, v.due, v.most_duration, v.most_distance, v.overtime_after, v.overtime_cost
        rows.append([*costs, *limits, *v.capacity])
    return np.asarray(np.minimum(np.array(rows), _NO_LIMIT), np.float64)


def _families(instance: RichRouting) -> list[int]:
    """A number shared by types that differ in capacity and cost only, NONE for those that are alone or special."""
    known: dict[object, int] = {}
    found = []
    for v in instance.vehicles:
        plain = v.serves is None and v.reload is None and not v.breaks and v.time_cost == v.overtime_cost == 0.0
        kind = (v.start, v.end, v.ready, v.due, v.most_duration, v.most_distance) if plain else object()
        found.append(known.setdefault(kind, len(known)))
    return [NONE if instance.is_timed or found.count(number) == 1 else number for number in found]


def _serves(instance: RichRouting) -> Flags:
    serves = np.ones((len(instance.vehicles), instance.num_locations), np.bool_)
    for kind, vehicle in enumerate(instance.vehicles):
        if vehicle.serves is not None:
            serves[kind] = False
            serves[kind, list(vehicle.serves)] = True
    return serves


def _ways(instance: RichRouting) -> Floats:
    """Distance, the shortest duration at any hour, and with traffic the duration at speed 1."""
    if instance.traffic is None:
        return np.array([instance.distance, instance.duration])
    fastest = np.array([max(speeds) for speeds in instance.traffic.speeds])
    profile = instance.traffic.profile
    at_best = instance.duration / (fastest[0] if profile is None else fastest[profile])
    return np.array([instance.distance, at_best, instance.duration])


def _requests(instance: RichRouting, requests: Requests, fleet: Floats) -> tuple[Ints, Floats]:
    """The table of requests, and the price and the orders of insertion."""
    far = np.where(np.isfinite(instance.distance), instance.distance, 0.0).max(initial=0.0)
    large = 10.0 * float((2.0 * far * fleet[:, PER_DISTANCE] + fleet[:, FIXED]).max() + 1.0)
    large += 1000.0 * float(fleet[:, PER_TIME].max())
    optional = instance.is_optional
    table = np.zeros((len(requests), FIRST_MEMBER + max([len(m) for _, m in requests], default=1)), np.int64)
    price = np.zeros(len(requests))
    for number, (mode, members) in enumerate(requests):
        must = mode != ALONE or not optional[members[0]]
        table[number, :FIRST_MEMBER] = len(members), mode, must, NONE, 0
        table[number, FIRST_MEMBER : FIRST_MEMBER + len(members)] = members
        price[number] = large if must else instance.prize[members[0]]
    first = table[:, FIRST_MEMBER]
    loaded = (instance.delivery + instance.pickup + np.abs(instance.shipment)).sum(axis=1)
    due = np.minimum(np.minimum(instance.due, instance.soft_due), _NO_LIMIT)
    apart = np.where(np.isfinite(instance.distance[0]), instance.distance[0], far)
    keys = (price, -loaded[first], -apart[first], apart[first], due[first], due[first] - instance.ready[first])
    return table, np.array([*keys, instance.ready[first], -price]).T.copy()


def _nodes(instance: RichRouting, requests: Requests, bases: Ints, num_reloads: int) -> tuple[Floats, Ints, Ints]:
    """Segments of single nodes, the nodes and the slots."""
    size, loads, num_slots = instance.num_locations, instance.delivery.shape[1], int(bases[-1])
    num_nodes = size + num_reloads + 2 * num_slots
    seg = np.zeros((3 * num_nodes + SCRATCH_ROWS, LOADS + 3 * loads))
    gain = instance.pickup + instance.shipment
    seg[:size, DURATION], seg[:size, EARLIEST] = instance.service, instance.ready
    seg[:size, LATEST], seg[:size, RELEASE] = np.minimum(instance.due, _NO_LIMIT), instance.release
    seg[:size, LOADS::3], seg[:size, LOADS + 1 :: 3] = instance.delivery, gain
    seg[:size, LOADS + 2 :: 3] = np.maximum(instance.delivery, gain)
    seg[size : size + num_reloads, EARLIEST] = -_NO_LIMIT
    nodes = np.full((num_nodes, 5), NONE, np.int64)
    nodes[:size, LOCATION] = np.arange(size)
    for number, (_, some) in enumerate(requests):
        nodes[list(some), REQUEST] = number
    slots = np.zeros((num_slots, 7), np.int64)
    for kind, vehicle in enumerate(instance.vehicles):
        mine = np.arange(bases[kind], bases[kind + 1])
        slots[mine, KIND] = kind
        starts = size + num_reloads + 2 * mine
        nodes[starts, LOCATION], nodes[starts + 1, LOCATION] = vehicle.start, vehicle.end
        for ends in (starts, starts + 1):
            seg[ends, EARLIEST], seg[ends, LATEST] = vehicle.ready, min(vehicle.due, _NO_LIMIT)
    depots = {vehicle.reload for vehicle in instance.vehicles if vehicle.reload is not None}
    nodes[size : size + num_reloads, LOCATION] = min(depots, default=0)
    nodes[:, ROUTE] = NONE
    _settle(instance, bases, seg, nodes, slots)
    return seg, nodes, slots


def _settle(instance: RichRouting, bases: Ints, seg: Floats, nodes: Ints, slots: Ints) -> None:
    """Routes under way: the first slots of their types; windows of what is settled no longer matter."""
    used = [0] * len(instance.vehicles)
    partner = dict(instance.pairs)
    for lock in instance.locks:
        slot = int(bases[lock.vehicle]) + used[lock.vehicle]
        used[lock.vehicle] += 1
        slots[slot, LOCKED] = len(lock.stops)
        start = len(nodes) - 2 * (len(slots) - slot)
        begin = instance.vehicles[lock.vehicle].ready if lock.begin is None else lock.begin
        seg[start, EARLIEST] = seg[start, LATEST] = begin
        clients = [stop for stop in lock.stops if stop >= instance.num_depots]
        seg[clients, LATEST], seg[clients, RELEASE] = _NO_LIMIT, 0.0
        if lock.leaves is not None and lock.stops[-1] >= instance.num_depots:
            last = lock.stops[-1]
            seg[last, EARLIEST] = max(seg[last, EARLIEST], lock.leaves - seg[last, DURATION])
        for client in clients:
            if client in partner and partner[client] not in lock.stops:
                nodes[partner[client], HOME] = slot


def _timetable(instance: RichRouting, num_nodes: int, width: int, is_timed: bool) -> Timetable:
    size, traffic = instance.num_locations, instance.traffic
    soft = np.zeros((num_nodes, 2))
    soft[:, 0] = _NO_LIMIT
    soft[:size, 0], soft[:size, 1] = np.minimum(instance.soft_due, _NO_LIMIT), instance.late_cost
    most = max(len(vehicle.breaks) for vehicle in instance.vehicles)
    breaks = np.full((len(instance.vehicles), most, 3), -1.0)
    for kind, vehicle in enumerate(instance.vehicles):
        for number, rest in enumerate(vehicle.breaks):
            breaks[kind, number] = rest.earliest, rest.latest, rest.length
    several = traffic is not None and traffic.profile is not None and len(traffic.speeds) > 1
    profile = np.zeros((1, 1), np.int64)
    if several and traffic is not None:
        profile = np.array(traffic.profile, np.int64)
    return Timetable(
        soft=soft,
        clocks=_clocks(traffic),
        profile=profile,
        breaks=breaks,
        trace=np.zeros((4, most + 1, width if is_timed else 1)),
        out=np.zeros(2),
    )


def _clocks(traffic: Traffic | None) -> Floats:
    """For each profile the times, the way done by then at the speeds before, and the speeds."""
    if traffic is None:
        return np.zeros((1, 3, 0))
    times, speeds = np.array(traffic.times), np.array(traffic.speeds)
    done = np.concatenate([np.zeros((len(speeds), 1)), np.cumsum(speeds[:, :-1] * np.diff(times), axis=1)], axis=1)
    return np.stack([np.broadcast_to(times, speeds.shape), done, speeds], axis=1).copy()
