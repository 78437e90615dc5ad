"""Seeded series of programs with one structure and the numbers of a day: the ground for learning from yesterday.

A series has a ``base`` seed, which draws what stays (places, capacities, costs), and a ``seed`` for each day, which
draws what changes (demands). Columns and rows mean the same on every day.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apportion.instances.errors import OptionError
from apportion.instances.generate.benchmark_programs import facility_program, network_program
from apportion.instances.program import MixedIntegerProgram


def facility_day(
    seed: int = 0,
    customers: int = 100,
    facilities: int = 60,
    ratio: float = 5.0,
    spread: float = 0.2,
    base: int = 0,
) -> MixedIntegerProgram:
    """Capacitated facility location on one map; each customer's demand lies within ``spread`` of its usual one.

    >>> first, second = facility_day(1, customers=9, facilities=4), facility_day(2, customers=9, facilities=4)
    >>> bool((first.cost[:4] == second.cost[:4]).all()), bool((first.cost[4:] == second.cost[4:]).all())
    (True, False)
    """
    random, day = np.random.default_rng(base), np.random.default_rng((base, seed))
    usual = random.integers(5, 36, customers).astype(np.float64)
    capacity = random.integers(10, 161, facilities).astype(np.float64)
    fixed = np.round(random.uniform(0, 90, facilities) + random.uniform(100, 110, facilities) * np.sqrt(capacity))
    capacity = np.ceil(capacity * ratio * usual.sum() / capacity.sum())
    where, place = random.random((customers, 2)), random.random((facilities, 2))
    distance = np.sqrt(((where[:, None] - place[None]) ** 2).sum(axis=2))
    demand = np.round(usual * day.uniform(1.0 - spread, 1.0 + spread, customers), 2)
    cost = np.concatenate((fixed, np.round(10 * demand[:, None] * distance, 2).ravel()))
    name = f"facility-day-{customers}x{facilities}-b{base}-s{seed}"
    return facility_program(name, capacity, demand, cost, single=False)


def network_day(
    seed: int = 0, nodes: int = 20, arcs: int = 100, commodities: int = 20, spread: float = 0.2, base: int = 0
) -> MixedIntegerProgram:
    """Fixed-charge network design on one set of arcs; what each commodity carries lies within ``spread`` of the usual.

    >>> network_day(1, nodes=5, arcs=9, commodities=2).num_columns
    27
    """
    random, day = np.random.default_rng(base), np.random.default_rng((base, seed))
    ring = np.column_stack((np.arange(nodes), (np.arange(nodes) + 1) % nodes))
    tail = random.integers(0, nodes, max(0, arcs - nodes))
    head = (tail + random.integers(1, nodes, len(tail))) % nodes
    arc = np.concatenate((ring, np.column_stack((tail, head))))
    source = random.integers(0, nodes, commodities)
    target = (source + random.integers(1, nodes, commodities)) % nodes
    usual = random.integers(5, 31, commodities).astype(np.float64)
    capacity = random.integers(40, 121, len(arc)).astype(np.float64)
    capacity[:nodes] = 2.0 * usual.sum()
    unit = random.integers(1, 11, len(arc)).astype(np.float64)
    unit[:nodes] += 10
    fixed = random.integers(50, 301, len(arc)).astype(np.float64)
    amount = np.round(usual * day.uniform(1.0 - spread, 1.0 + spread, commodities), 2)
    name = f"network-day-{nodes}x{len(arc)}x{commodities}-b{base}-s{seed}"
    return network_program(name, nodes, arc, unit, capacity, fixed, source, target, amount)


SERIES: dict[str, Callable[..., MixedIntegerProgram]] = {"facility-day": facility_day, "network-day": network_day}
"""Series -> its generator, called with ``seed`` (the day), ``base`` and sizes by keyword."""


def series_program(series: str, seed: int = 0, **sizes: float) -> MixedIntegerProgram:
    """The program of day ``seed`` in ``series``; the same arguments give the same program."""
    if series not in SERIES:
        raise OptionError(f"no series of programs is called {series!r}\nMaybe one of {', '.join(SERIES)}")
    return SERIES[series](seed=seed, **sizes)
