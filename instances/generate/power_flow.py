"""Seeded networks for optimal power flow: a ring of towns with chords, plants of several kinds, perhaps batteries."""

from __future__ import annotations

import numpy as np

from apportion.instances.errors import OptionError
from apportion.instances.power_flow import Branches, Buses, Floats, Generators, Ints, OptimalPowerFlow, StorageUnits

_MOST_BUSES = 20_000
_MOST_PERIODS = 24 * 366
_BASE_MVA = 100.0
_RESERVE = 1.6
_KINDS = ((0.004, 16.0, 24.0), (0.010, 26.0, 36.0), (0.020, 40.0, 60.0))
"""Quadratic cost, and the range of the linear one, of coal, gas and oil."""


def generate_power_flow(seed: int = 0, buses: int = 12, periods: int = 1, storage: int = 0) -> OptimalPowerFlow:
    """Generate a network that can serve its load, with some of its lines near their limits.

    Parameters
    ----------
    seed
        Same seed, same instance.
    buses, periods, storage
        How many buses, hours and batteries.

    Examples
    --------
    >>> generate_power_flow(seed=3, buses=6).summary()["buses"]
    6
    """
    _require(2 <= buses <= _MOST_BUSES, "buses", buses, f"must lie in 2..{_MOST_BUSES}")
    _require(1 <= periods <= _MOST_PERIODS, "periods", periods, f"must lie in 1..{_MOST_PERIODS}")
    _require(0 <= storage <= buses, "storage", storage, f"must lie in 0..{buses}")
    random = np.random.default_rng(seed)
    plants = np.sort(random.choice(buses, size=max(2, buses // 3), replace=False))
    load = np.round(random.uniform(20.0, 90.0, buses) * (random.random(buses) < 0.8), 1)
    load[plants[0]] = max(load[plants[0]], 20.0)
    profile = _day(periods)[:, None] * np.clip(random.normal(1.0, 0.02, (periods, buses)), 0.9, 1.1)
    load_mw = np.round(profile * load, 2)
    branches = _lines(random, buses, float(load.sum()))
    return OptimalPowerFlow(
        name=f"power-{buses}x{periods}-s{seed}",
        base_mva=_BASE_MVA,
        buses=_towns(buses, int(plants[0])),
        branches=branches,
        generators=_plants(random, plants, float(load_mw.sum(axis=1).max())),
        load_mw=load_mw,
        load_mvar=np.round(0.25 * load_mw, 2),
        storage=_batteries(random, storage, buses, float(load.sum())),
    )


def _require(holds: bool, name: str, value: object, message: str) -> None:
    if not holds:
        raise OptionError(f"{name} {message}, got {value!r}")


def _day(periods: int) -> Floats:
    """Share of the peak by hour from midnight; a single period is the peak."""
    if periods == 1:
        return np.ones(1)
    hour = np.arange(periods) % 24
    evening, morning = np.exp(-(((hour - 19.0) / 3.5) ** 2)), np.exp(-(((hour - 9.0) / 3.5) ** 2))
    return np.asarray(0.6 + 0.4 * evening + 0.25 * morning)


def _towns(buses: int, reference: int) -> Buses:
    flat = np.ones(buses)
    return Buses(
        names=tuple(f"bus-{k + 1}" for k in range(buses)),
        voltage_min=0.94 * flat,
        voltage_max=1.06 * flat,
        shunt_mw=0.0 * flat,
        shunt_mvar=0.0 * flat,
        reference=np.arange(buses) == reference,
        area=np.ones(buses, np.int64),
    )


def _lines(random: np.random.Generator, buses: int, total: float) -> Branches:
    """A ring, and a chord for every third bus; rates fall with the length of the line."""
    ring = [(k, (k + 1) % buses) for k in range(buses if buses > 2 else 1)]
    chords = []
    for k in range(0, buses, 3):
        other = int(random.integers(buses))
        if (other - k) % buses not in (0, 1, buses - 1):
            chords.append((k, other))
    ends: Ints = np.array(ring + chords, np.int64)
    length = random.uniform(0.5, 1.5, len(ends))
    names = [f"{f + 1}-{t + 1}" for f, t in ends.tolist()]
    names = [name if name not in names[:k] else f"{name}#{k}" for k, name in enumerate(names)]
    wide = 360.0 * np.ones(len(ends))
    return Branches(
        names=tuple(names),
        from_bus=ends[:, 0],
        to_bus=ends[:, 1],
        resistance=np.round(0.004 * length, 5),
        reactance=np.round(0.04 * length, 5),
        charging=np.round(0.02 * length, 5),
        tap=np.ones(len(ends)),
        shift_deg=np.zeros(len(ends)),
        rate_mva=np.round(np.maximum(40.0, 0.5 * total / np.sqrt(length))).astype(np.float64),
        angle_min_deg=np.where(np.arange(len(ends)) % 2 == 0, -30.0, -wide),
        angle_max_deg=np.where(np.arange(len(ends)) % 2 == 0, 30.0, wide),
    )


def _plants(random: np.random.Generator, at: Ints, peak: float) -> Generators:
    count = len(at)
    share = random.uniform(0.7, 1.3, count)
    size = np.round(_RESERVE * peak * share / share.sum())
    kind = np.arange(count) % len(_KINDS)
    linear = np.array([random.uniform(_KINDS[k][1], _KINDS[k][2]) for k in kind])
    return Generators(
        names=tuple(f"plant-{k + 1}" for k in range(count)),
        bus=at,
        power_min_mw=np.zeros(count),
        power_max_mw=size,
        reactive_min_mvar=np.round(-0.6 * size),
        reactive_max_mvar=np.round(0.8 * size),
        cost_quadratic=np.array([_KINDS[k][0] for k in kind]),
        cost_linear=np.asarray(np.round(linear, 2), np.float64),
        cost_constant=np.zeros(count),
        curves=((),) * count,
        ramp_mw_h=np.full(count, np.inf),
    )


def _batteries(random: np.random.Generator, units: int, buses: int, total: float) -> StorageUnits:
    size = np.round(random.uniform(0.03, 0.06, units) * total, 1)
    return StorageUnits(
        names=tuple(f"battery-{k + 1}" for k in range(units)),
        bus=np.sort(random.choice(buses, size=units, replace=False)),
        energy_min_mwh=0.1 * size,
        energy_max_mwh=4.0 * size,
        charge_max_mw=size,
        discharge_max_mw=size,
        charge_efficiency=np.full(units, 0.95),
        discharge_efficiency=np.full(units, 0.93),
        initial_mwh=2.0 * size,
        final_min_mwh=2.0 * size,
    )
