"""Seeded networks with a day to plan: a ring with chords, units and loads at its buses, outages, a store, reserves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apportion.instances.commitment import UnitCommitment
from apportion.instances.errors import OptionError
from apportion.instances.generate.commitment import generate_commitment
from apportion.instances.security_commitment import (
    Bus,
    Contingency,
    Line,
    PriceSensitiveLoad,
    ProfiledUnit,
    ReserveKind,
    ReserveProduct,
    SecurityConstrainedCommitment,
    SitedUnit,
    Storage,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MOST_BUSES = 500


def generate_security_commitment(
    seed: int = 0,
    buses: int = 12,
    units: int = 8,
    periods: int = 24,
    stores: int = 1,
    tightness: float = 1.1,
) -> SecurityConstrainedCommitment:
    """Generate a day on a network whose lines bind; overloads and load not served cost a penalty, so it has a plan.

    Parameters
    ----------
    seed
        Same seed, same instance.
    buses, units, periods, stores
        How many buses (at least 3), thermal units, hours and storage units.
    tightness
        Limits of lines against the flows of a dispatch in proportion to capacity: below 1 they bind, well above not.

    Examples
    --------
    >>> generate_security_commitment(seed=2, buses=6, units=4, periods=6).summary()["contingencies"]
    9
    """
    if not 3 <= buses <= _MOST_BUSES:
        raise OptionError(f"buses must lie in 3..{_MOST_BUSES}, got {buses!r}")
    if not 0 <= stores <= buses:
        raise OptionError(f"stores must lie in 0..{buses}, got {stores!r}")
    if not 0.0 < tightness < 100.0:
        raise OptionError(f"tightness must lie between 0 and 100, got {tightness!r}")
    day = generate_commitment(seed=seed, units=units, periods=periods, renewables=1)
    random = np.random.default_rng(seed + 1)
    share = random.dirichlet(np.full(buses, 2.0))
    load = np.round(share[:, None] * day.demand_mw, 3)
    names = [f"bus-{number + 1}" for number in range(buses)]
    places = random.integers(0, buses, units)
    ends = _ends(random, buses)
    susceptance = np.round(random.uniform(5.0, 30.0, len(ends)), 3)
    limits = _limits(day, load, places, ends, susceptance, tightness)
    lines = _lines(names, ends, susceptance, limits, periods)
    store_places = random.permutation(buses)[:stores]
    wind = day.renewable[0]
    return SecurityConstrainedCommitment(
        name=f"security-{buses}x{units}x{periods}-s{seed}",
        period_h=1.0,
        buses=tuple(Bus(name, row) for name, row in zip(names, load, strict=True)),
        thermal=tuple(SitedUnit(unit, names[int(at)]) for unit, at in zip(day.thermal, places, strict=True)),
        lines=lines,
        contingencies=tuple(Contingency(f"out-{line.name}", (line.name,)) for line in lines),
        profiled=(ProfiledUnit(wind.name, names[0], wind.power_min_mw, wind.power_max_mw, np.full(periods, 1.0)),),
        storage=tuple(_store(number, names[int(at)], periods) for number, at in enumerate(store_places)),
        loads=(PriceSensitiveLoad("flexible-1", names[-1], np.full(periods, 10.0), np.full(periods, 28.0)),),
        reserves=(
            ReserveProduct("spinning", ReserveKind.SPINNING, day.reserve_mw, day.unit_names, shortfall_penalty=1100.0),
        ),
        curtailment_penalty=np.full(periods, 1000.0),
        surplus_penalty=np.full(periods, 1000.0),
    )


def _ends(random: np.random.Generator, buses: int) -> list[tuple[int, int]]:
    """A ring, so that no outage splits the network, and half as many chords."""
    ring = [(bus, (bus + 1) % buses) for bus in range(buses)]
    known = {tuple(sorted(pair)) for pair in ring}
    wanted = buses // 2
    for _ in range(20 * wanted):
        if len(known) >= buses + wanted:
            break
        a, b = sorted(int(bus) for bus in random.choice(buses, 2, replace=False))
        if (a, b) not in known:
            known.add((a, b))
            ring.append((a, b))
    return ring


def _limits(
    day: UnitCommitment, load: Floats, places: Ints, ends: list[tuple[int, int]], susceptance: Floats, tightness: float
) -> tuple[Floats, Floats]:
    """Limits from the largest flows when all units give the same share of their capacity, with and without outages."""
    size = np.zeros(len(load))
    np.add.at(size, places, [unit.power_max_mw for unit in day.thermal])
    net = size[:, None] / size.sum() * load.sum(axis=0) - load
    drop = np.zeros((len(ends), len(load)))
    for number, (a, b) in enumerate(ends):
        drop[number, a], drop[number, b] = 1.0, -1.0
    flow_of = susceptance[:, None] * drop
    response = flow_of @ np.linalg.pinv(drop.T @ flow_of)
    flow, transfer = response @ net, response @ drop.T
    after = np.abs(flow).max(axis=1)
    for out in range(len(ends)):
        moved = np.abs(flow + np.outer(transfer[:, out] / (1.0 - transfer[out, out]), flow[out])).max(axis=1)
        moved[out] = 0.0
        after = np.maximum(after, moved)
    limit = np.round(np.maximum(tightness * np.abs(flow).max(axis=1), 20.0), 2)
    return limit, np.round(np.maximum(tightness * after, limit), 2)


def _lines(
    names: list[str], ends: list[tuple[int, int]], susceptance: Floats, limits: tuple[Floats, Floats], periods: int
) -> tuple[Line, ...]:
    def line(number: int) -> Line:
        a, b = ends[number]
        limit, emergency = (np.full(periods, most[number]) for most in limits)
        penalty = np.full(periods, 5000.0)
        return Line(f"line-{number + 1}", names[a], names[b], float(susceptance[number]), limit, emergency, penalty)

    return tuple(line(number) for number in range(len(ends)))


def _store(number: int, bus: str, periods: int) -> Storage:
    def same(value: float) -> Floats:
        return np.full(periods, value)

    return Storage(
        name=f"store-{number + 1}",
        bus=bus,
        level_min_mwh=same(0.0),
        level_max_mwh=same(80.0),
        initial_mwh=40.0,
        last_min_mwh=40.0,
        last_max_mwh=80.0,
        charge_min_mw=same(0.0),
        charge_max_mw=same(20.0),
        discharge_min_mw=same(0.0),
        discharge_max_mw=same(20.0),
        charge_efficiency=same(0.95),
        discharge_efficiency=same(0.95),
        loss=same(0.001),
        charge_cost=same(0.2),
        discharge_cost=same(0.2),
        simultaneous=np.zeros(periods, np.bool_),
    )
