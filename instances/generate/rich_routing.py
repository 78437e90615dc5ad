"""Seeded days of a mixed fleet: several depots, windows, optional clients, and whatever rules are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from apportion.instances.errors import OptionError
from apportion.instances.program import Floats
from apportion.instances.rich_routing import RichRouting, VehicleType
from apportion.instances.rich_rules import Balance, Break, Traffic
from apportion.instances.routing import MOST_CLIENTS, Rounding, euclidean

_SIDE = 100.0
_DAY = 480.0
_RUSH = (0.0, 60.0, 150.0, 360.0, 450.0)
_SPEEDS = (1.0, 0.6, 1.0, 0.7, 1.0)
FEATURES = ("pairs", "prizes", "skills", "late", "overtime", "breaks", "traffic", "balance")


def generate_rich_routing(
    seed: int = 0, *, clients: int = 60, depots: int = 2, types: int = 2, features: str = "prizes,late,overtime"
) -> RichRouting:
    """Generate an instance: same arguments, same bytes. Every client alone can be served by some vehicle.

    Parameters
    ----------
    seed
        Of everything random.
    clients
        How many, in a square of 100 by 100 whose unit takes a minute; the day has 480.
    depots, types
        Types of vehicles differ in capacity and cost and are spread over the depots.
    features
        Names of ``FEATURES`` separated by commas: ``pairs`` (a third of the clients), ``prizes`` (a fifth is optional),
        ``skills`` (the first type may not serve all), ``late`` (soft windows), ``overtime``, ``breaks``, ``traffic``
        (two rush hours) and ``balance`` (of the number of stops).

    Raises
    ------
    OptionError
        When an argument is out of its range.

    Examples
    --------
    >>> generate_rich_routing(1, clients=8).num_clients
    8
    """
    asked = frozenset(filter(None, features.split(",")))
    if not 1 <= clients <= MOST_CLIENTS - depots:
        raise OptionError(f"clients must lie in 1..{MOST_CLIENTS - depots}, got {clients}")
    if depots < 1 or types < 1:
        raise OptionError(f"depots and types must be at least 1, got {depots} and {types}")
    if asked - set(FEATURES):
        raise OptionError(f"no feature is called {min(asked - set(FEATURES))!r}\nMaybe one of {', '.join(FEATURES)}")
    random, size = np.random.default_rng(seed), depots + clients
    points = np.round(random.uniform(0.0, _SIDE, (size, 2)), 1)
    demand, ready, due, service = (np.zeros(size) for _ in range(4))
    demand[depots:], service[depots:] = random.integers(1, 10, clients), random.integers(3, 10, clients)
    middle = random.uniform(180.0, _DAY - 180.0, clients)
    ready[depots:], due[:depots] = np.round(middle - 60.0), _DAY
    due[depots:] = ready[depots:] + random.integers(60, 120, clients)
    more = _rules(random, asked, depots, size, due)
    delivery = demand[:, None].copy()
    for origin, destination in more.get("pairs", ()):
        more["shipment"][origin], more["shipment"][destination] = demand[origin], -demand[origin]
        delivery[[origin, destination]] = 0.0
    return RichRouting.simple(
        f"rich-n{clients}-s{seed}",
        euclidean(points, Rounding.TRUNCATE_1_DECIMAL),
        _fleet(random, asked, depots, types, size, float(demand.sum())),
        num_depots=depots,
        delivery=delivery,
        ready=ready,
        service=service,
        coordinates=points,
        rounding=Rounding.TRUNCATE_1_DECIMAL,
        **more,
    )


def _rules(random: np.random.Generator, asked: frozenset[str], depots: int, size: int, due: Floats) -> dict[str, Any]:
    """What belongs to clients and to the whole day; ``due`` goes in and out."""
    more: dict[str, Any] = {"due": due}
    num_pairs = (size - depots) // 6 if "pairs" in asked else 0
    if num_pairs:
        more["pairs"] = tuple((depots + 2 * k, depots + 2 * k + 1) for k in range(num_pairs))
        more["shipment"] = np.zeros((size, 1))
        for origin, destination in more["pairs"]:
            due[destination] = max(due[destination], min(_DAY - 150.0, due[origin] + 150.0))
    if "prizes" in asked:
        prize = np.full(size, np.inf)
        free = np.arange(depots + 2 * num_pairs, size)
        some = random.choice(free, len(free) // 5, replace=False)
        prize[some] = random.integers(5, 40, len(some))
        more["prize"] = prize
    if "late" in asked:
        more["soft_due"] = due.copy()
        more["late_cost"] = np.where(np.arange(size) < depots, 0.0, 0.5)
        due[depots:] = np.minimum(due[depots:] + 30.0, _DAY - 150.0)
        due[depots:] = np.maximum(due[depots:], more["soft_due"][depots:])
    if "traffic" in asked:
        more["traffic"] = Traffic(_RUSH, (_SPEEDS,))
    if "balance" in asked:
        more["balance"] = Balance("stops", range_cost=1.0)
    return more


def _fleet(
    random: np.random.Generator, asked: frozenset[str], depots: int, types: int, size: int, demand: float
) -> list[VehicleType]:
    fleet = []
    for number in range(max(types, depots)):
        capacity = float(40 + 20 * (number % types))
        given: dict[str, Any] = {"start": number % depots, "end": number % depots, "due": _DAY}
        given |= {"fixed_cost": capacity / 2.0, "distance_cost": 1.0 + 0.25 * (number % types), "time_cost": 0.1}
        if "overtime" in asked:
            given |= {"overtime_after": _DAY - 60.0, "overtime_cost": 1.0}
        if "breaks" in asked:
            given["breaks"] = (Break(180.0, 300.0, 30.0),)
        if "skills" in asked and number == 0 and max(types, depots) > 1:
            given["serves"] = frozenset(range(depots, size)) - {
                int(c) for c in random.integers(depots, size, size // 5)
            }
        count = max(2, int(np.ceil(3.0 * demand / capacity / max(types, depots))))
        fleet.append(VehicleType(count, (capacity,), **given))
    return fleet
