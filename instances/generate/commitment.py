"""Seeded days of unit commitment: a mixed fleet, a load with a morning and an evening peak, wind and sun."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apportion.instances.commitment import (
    Floats,
    ProductionPoint,
    RenewableUnit,
    StartupCategory,
    ThermalUnit,
    UnitCommitment,
)
from apportion.instances.errors import OptionError

_MOST_UNITS = 10**5
_MOST_PERIODS = 24 * 366


@dataclass(frozen=True)
class _Kind:
    """A technology: ranges of size (MW), marginal cost per MWh, and how nimble it is."""

    label: str
    size: tuple[float, float]
    least: float
    cost: tuple[float, float]
    ramp: float
    min_up_h: tuple[int, int]
    min_down_h: tuple[int, int]
    start_per_mw: float
    categories: int


_KINDS = (
    _Kind("coal", (200.0, 400.0), 0.40, (18.0, 24.0), 0.30, (6, 9), (5, 8), 70.0, 3),
    _Kind("gas", (120.0, 300.0), 0.45, (26.0, 34.0), 0.50, (4, 6), (3, 5), 45.0, 2),
    _Kind("steam", (30.0, 90.0), 0.40, (35.0, 48.0), 0.70, (2, 4), (2, 3), 30.0, 3),
    _Kind("peaker", (20.0, 60.0), 0.40, (55.0, 90.0), 2.00, (1, 1), (1, 1), 6.0, 1),
)


def generate_commitment(
    seed: int = 0,
    units: int = 12,
    periods: int = 24,
    renewables: int = 2,
    reserve_share: float = 0.05,
) -> UnitCommitment:
    """Generate a day that can be met: the fleet has a third more capacity than the peak.

    Parameters
    ----------
    seed
        Same seed, same instance.
    units, periods, renewables
        How many thermal units, hours and renewable units.
    reserve_share
        Spinning reserve as a share of the load.

    Examples
    --------
    >>> generate_commitment(seed=3, units=5, periods=12).summary()["thermal units"]
    5
    """
    _require(1 <= units <= _MOST_UNITS, "units", units, f"must lie in 1..{_MOST_UNITS}")
    _require(1 <= periods <= _MOST_PERIODS, "periods", periods, f"must lie in 1..{_MOST_PERIODS}")
    _require(0 <= renewables <= _MOST_UNITS, "renewables", renewables, f"must lie in 0..{_MOST_UNITS}")
    _require(0.0 <= reserve_share <= 0.2, "reserve_share", reserve_share, "must lie in 0..0.2")
    random = np.random.default_rng(seed)
    kinds = [_KINDS[min(int(k), len(_KINDS) - 1)] for k in np.sort(random.permutation(units) * len(_KINDS) / units)]
    sizes = [round(float(random.uniform(*kind.size))) for kind in kinds]
    peak = sum(sizes) / 1.33
    demand = np.round(peak * _load_shape(random, periods), 2)
    running = _initially_running(sizes, float(demand[0]) * (1.0 + reserve_share))
    thermal = tuple(
        _unit(random, f"{kind.label}-{number + 1}", kind, float(size), running[number])
        for number, (kind, size) in enumerate(zip(kinds, sizes, strict=True))
    )
    return UnitCommitment(
        name=f"commitment-{units}x{periods}-s{seed}",
        demand_mw=demand,
        reserve_mw=np.round(reserve_share * demand, 2),
        thermal=thermal,
        renewable=tuple(_renewable(random, number, 0.08 * peak, periods) for number in range(renewables)),
    )


def _require(holds: bool, name: str, value: object, message: str) -> None:
    if not holds:
        raise OptionError(f"{name} {message}, got {value!r}")


def _load_shape(random: np.random.Generator, periods: int) -> Floats:
    """Share of the peak in each hour, starting at midnight, between 0.55 and 1."""
    hour = np.arange(periods) % 24
    morning = np.exp(-(((hour - 9.0) / 3.5) ** 2))
    evening = np.exp(-(((hour - 19.0) / 3.0) ** 2))
    shape = 0.62 + 0.25 * morning + 0.36 * evening + random.normal(0.0, 0.01, periods)
    return np.asarray(np.clip(shape, 0.55, 1.0))


def _initially_running(sizes: list[int], load_mw: float) -> list[float]:
    """The share of its size that each unit gives before the first hour, the cheap ones first; 0 is off."""
    shares, capacity = [0.0] * len(sizes), 0.0
    chosen = 0
    while chosen < len(sizes) and capacity < load_mw * 1.05:
        capacity += sizes[chosen]
        chosen += 1
    for number in range(chosen):
        shares[number] = min(1.0, load_mw / capacity)
    return shares


def _unit(random: np.random.Generator, name: str, kind: _Kind, size: float, share: float) -> ThermalUnit:
    least = round(kind.least * size)
    ramp = float(np.ceil(kind.ramp * (size - least)))
    min_up = int(random.integers(kind.min_up_h[0], kind.min_up_h[1] + 1))
    min_down = int(random.integers(kind.min_down_h[0], kind.min_down_h[1] + 1))
    on = share > 0.0
    edge = float(min(size, least + ramp / 2.0))
    return ThermalUnit(
        name=name,
        power_min_mw=float(least),
        power_max_mw=size,
        ramp_up_mw=ramp,
        ramp_down_mw=ramp,
        startup_limit_mw=edge,
        shutdown_limit_mw=edge,
        min_up_h=min_up,
        min_down_h=min_down,
        initially_on=on,
        initial_power_mw=round(max(float(least), share * size), 2) if on else 0.0,
        initial_up_h=int(random.integers(1, 2 * min_up + 1)) if on else 0,
        initial_down_h=0 if on else int(random.integers(1, 3 * min_down + 1)),
        startup=_categories(kind, size, min_down),
        production=_curve(random, kind, float(least), size),
    )


def _categories(kind: _Kind, size: float, min_down: int) -> tuple[StartupCategory, ...]:
    cold = kind.start_per_mw * size
    lags = [min_down, 2 * min_down + 1, 4 * min_down + 2][: kind.categories]
    shares = [0.6, 0.8, 1.0][3 - kind.categories :]
    return tuple(StartupCategory(lag, round(share * cold, 2)) for lag, share in zip(lags, shares, strict=True))


def _curve(random: np.random.Generator, kind: _Kind, least: float, size: float) -> tuple[ProductionPoint, ...]:
    """Three segments with rising marginal cost, after a cost at the minimum that is a little dearer per MWh."""
    base = float(random.uniform(*kind.cost))
    power = [round(least + share * (size - least), 2) for share in (0.0, 0.4, 0.75, 1.0)]
    cost = [1.15 * base * least]
    for factor, before, after in zip((1.0, 1.06, 1.15), power, power[1:], strict=False):
        cost.append(cost[-1] + factor * base * (after - before))
    return tuple(ProductionPoint(mw, round(price, 2)) for mw, price in zip(power, cost, strict=True))


def _renewable(random: np.random.Generator, number: int, size: float, periods: int) -> RenewableUnit:
    hour = np.arange(periods)
    if number % 2 == 0:
        steps = random.normal(0.0, 0.12, periods).cumsum()
        available, label = np.clip(0.45 + steps - steps.mean(), 0.0, 1.0), "wind"
    else:
        available, label = np.clip(np.sin((hour % 24 - 6.0) / 12.0 * np.pi), 0.0, 1.0), "solar"
    return RenewableUnit(f"{label}-{number + 1}", np.zeros(periods), np.round(size * available, 2))
