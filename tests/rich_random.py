"""Small rich routing instances of every kind, and their optima by enumeration through the check alone."""

from __future__ import annotations

from itertools import permutations, product
from math import inf
from typing import Any

import numpy as np

from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting, VehicleType
from apportion.instances.rich_rules import MEASURES, Balance, Break, Lock, Traffic
from apportion.models.rich_routing.check import check, drive

FEATURES = ("fleet", "depots", "windows", "pairs", "backhauls", "prizes", "groups", "reloads", "skills", "clock")
TIMED = ("late", "overtime", "breaks", "traffic", "balance", "locks")


def random_rich(seed: int, clients: int, features: frozenset[str]) -> RichRouting:
    """Whole numbers; every client alone fits some vehicle, yet there need not be a plan."""
    random = np.random.default_rng(seed)
    depots = 2 if "depots" in features else 1
    size = depots + clients
    points = random.integers(0, 30, (size, 2)).astype(np.float64)
    distance = np.rint(np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)))
    more: dict[str, Any] = {}
    demand = np.zeros((size, 1))
    demand[depots:, 0] = random.integers(1, 6, clients)
    if "windows" in features:
        ready, service = np.zeros(size), np.zeros(size)
        ready[depots:] = random.integers(0, 60, clients)
        service[depots:] = random.integers(0, 5, clients)
        due = np.full(size, inf)
        due[depots:] = ready[depots:] + random.integers(20, 90, clients)
        more |= {"ready": ready, "due": due, "service": service}
    if "pairs" in features and clients >= 2:
        half = clients // 2
        pairs = tuple((depots + 2 * k, depots + 2 * k + 1) for k in range(half))
        shipment = np.zeros((size, 1))
        for origin, destination in pairs:
            shipment[origin], shipment[destination] = demand[origin], -demand[origin]
            demand[origin] = demand[destination] = 0
        more |= {"pairs": pairs, "shipment": shipment}
    elif "groups" in features and clients >= 3:
        more["groups"] = ((depots, depots + 1),)
    if "backhauls" in features and "pairs" not in features:
        pickup = np.zeros((size, 1))
        some = slice(depots + clients // 2 + 1, None)
        pickup[some], demand[some] = demand[some], 0
        more["pickup"] = pickup
    if "prizes" in features and "pairs" not in features:
        prize = np.full(size, inf)
        prize[depots + 1 :: 2] = random.integers(1, 40, len(prize[depots + 1 :: 2]))
        more["prize"] = prize
    more |= _timed(random, depots, size, features)
    if "reloads" in features:
        more["release"] = np.concatenate([np.zeros(depots), random.integers(0, 30, clients)]).astype(np.float64)
    return RichRouting.simple(
        f"rich-{seed}",
        distance,
        _vehicles(random, depots, size, features),
        num_depots=depots,
        delivery=demand,
        coordinates=points,
        **more,
    )


def _timed(random: np.random.Generator, depots: int, size: int, features: frozenset[str]) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if "late" in features:
        late = np.zeros(size)
        late[depots:] = random.integers(0, 4, size - depots)
        more |= {"late_cost": late, "soft_due": random.integers(5, 60, size).astype(np.float64)}
    if "traffic" in features:
        profile = random.integers(0, 2, (size, size)) if random.random() < 0.5 else None
        slow = (1.0, 0.4, 1.3)
        speeds = (slow,) if profile is None else (slow, (0.8, 1.5, 0.7))
        more["traffic"] = Traffic((0.0, 20.0, 55.0), speeds, profile)
    if "balance" in features:
        measure = MEASURES[int(random.integers(len(MEASURES)))]
        more["balance"] = Balance(measure, 0.5, float(random.integers(0, 2)))  # type: ignore[arg-type]
    if "locks" in features and not features & {"pairs", "groups", "skills"} and size - depots >= 3:
        lock = Lock(0, (depots + 2,), float(random.integers(0, 5)), float(random.integers(0, 40)))
        more["locks"] = (lock,)
    return more


def _vehicles(random: np.random.Generator, depots: int, size: int, features: frozenset[str]) -> list[VehicleType]:
    kinds = 2 if features & {"fleet", "depots", "skills"} else 1
    vehicles = []
    for kind in range(kinds):
        given: dict[str, Any] = {"start": kind % depots, "end": kind % depots}
        if "fleet" in features:
            given |= {"fixed_cost": float(random.integers(0, 20)), "distance_cost": float(random.integers(1, 3))}
        if "reloads" in features:
            given |= {"reload": 0, "most_reloads": 2, "due": 400.0}
        elif "clock" in features:
            given |= {"time_cost": 0.5, "most_duration": 150.0, "most_distance": 140.0}
        if "overtime" in features:
            given |= {"overtime_after": float(random.integers(20, 80)), "overtime_cost": 2.0}
        if "breaks" in features:
            given["breaks"] = (Break(10.0, 40.0, 6.0), Break(60.0, 75.0, 4.0))[: 1 + kind]
        if "skills" in features and kind == 0:
            given["serves"] = frozenset(range(depots, size, 2))
        vehicles.append(VehicleType(int(random.integers(2, 4)), (float(random.integers(8, 14)),), **given))
    return vehicles


def optimum(instance: RichRouting) -> float:
    """The least cost of any plan (without reloads) by trying all; for at most four clients."""
    clients = list(range(instance.num_depots, instance.num_locations))
    used = [(kind, number) for kind, v in enumerate(instance.vehicles) for number in range(min(v.count, len(clients)))]
    cheapest: dict[tuple[int, frozenset[int]], float] = {}
    best = inf
    for where in product(range(-1, len(used)), repeat=len(clients)):
        cost, served = 0.0, [c for c, w in zip(clients, where, strict=True) if w >= 0]
        left = [c for c in clients if c not in served]
        for number, (kind, _) in enumerate(used):
            mine = frozenset(c for c, w in zip(clients, where, strict=True) if w == number)
            if mine:
                if (kind, mine) not in cheapest:
                    cheapest[kind, mine] = _best_order(instance, kind, mine)
                cost += cheapest[kind, mine]
        grouped = {c for group in instance.groups for c in group}
        if any(not instance.is_optional[c] and c not in grouped for c in left):
            continue
        if any(sum(c in served for c in group) != 1 for group in instance.groups):
            continue
        best = min(best, cost + sum(float(instance.prize[c]) for c in left if instance.is_optional[c]))
    return best


def _best_order(instance: RichRouting, kind: int, clients: frozenset[int]) -> float:
    least = inf
    rules = {"unserved", "group_unserved", "group_served_twice"}
    for order in permutations(clients):
        route = RichRoute(kind, order)
        verdict = check(instance, RichRoutes((route,)))
        if all(violation.rule in rules for violation in verdict.violations):
            least = min(least, drive(instance, route).cost)
    return least
