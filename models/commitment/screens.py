"""Hours that no commitment can serve, from the data alone."""

from __future__ import annotations

import numpy as np

from apportion.instances.commitment import Floats, ThermalUnit, UnitCommitment
from apportion.models.explaining import Finding
from apportion.models.verdict import TOLERANCE


def screen_hours(instance: UnitCommitment) -> tuple[Finding, ...]:
    """Hours in which demand and reserve exceed what can run, or what has to run exceeds demand.

    Each finding is a proof that there is no plan; none does not mean that there is one. Units count with what they can
    reach by then from their initial state: ramps, minimum stops, start-up limits.
    """
    periods = instance.num_periods
    most = np.zeros(periods)
    least = np.zeros(periods)
    for unit in instance.thermal:
        most += most_power(unit, periods)
        least += least_power(unit, periods)
    renewable_most = np.sum([r.power_max_mw for r in instance.renewable] or [np.zeros(periods)], axis=0)
    renewable_least = np.sum([r.power_min_mw for r in instance.renewable] or [np.zeros(periods)], axis=0)
    return (*_short(instance, most, renewable_most), *_surplus(instance, least, renewable_least))


def _short(instance: UnitCommitment, most: Floats, renewable: Floats) -> list[Finding]:
    demand, reserve = instance.demand_mw, instance.reserve_mw
    missing = np.maximum(demand - renewable, 0.0) + reserve - most
    found = []
    for t in np.flatnonzero(missing > TOLERANCE * np.maximum(1.0, demand)):
        text = (
            f"hour {t + 1}: demand {demand[t]:g} MW and reserve {reserve[t]:g} MW, but thermal units can give at most "
            f"{most[t]:g} MW by then and renewables {renewable[t]:g} MW: {missing[t]:g} MW are missing"
        )
        found.append(Finding(text, f"hour {t + 1}", float(missing[t])))
    return found


def _surplus(instance: UnitCommitment, least: Floats, renewable: Floats) -> list[Finding]:
    surplus = least + renewable - instance.demand_mw
    found = []
    for t in np.flatnonzero(surplus > TOLERANCE * np.maximum(1.0, instance.demand_mw)):
        text = (
            f"hour {t + 1}: units that have to run give at least {least[t]:g} MW and renewables {renewable[t]:g} MW, "
            f"but demand is {instance.demand_mw[t]:g} MW: {surplus[t]:g} MW too much"
        )
        found.append(Finding(text, f"hour {t + 1}", float(surplus[t])))
    return found


def most_power(unit: ThermalUnit, periods: int) -> Floats:
    """The most output plus reserve in each hour that the initial state leaves within reach, shape (periods,)."""
    hours = np.arange(periods)
    on = unit.initially_on
    first_start = max(1, unit.min_down_h) if on else max(0, unit.min_down_h - unit.initial_down_h)
    reached = (unit.initial_power_mw + unit.ramp_up_mw * (hours + 1.0)) * on
    after = hours - first_start
    started = np.where(after >= 0, max(unit.startup_limit_mw, unit.power_min_mw) + unit.ramp_up_mw * after, 0.0)
    return np.asarray(np.minimum(unit.power_max_mw, np.maximum(reached, started)), np.float64)


def least_power(unit: ThermalUnit, periods: int) -> Floats:
    """The least output in the hours in which the unit has to be on, 0 in the others, shape (periods,)."""
    hours = np.arange(periods)
    forced = np.full(periods, unit.must_run)
    if unit.initially_on:
        forced |= hours < unit.min_up_h - unit.initial_up_h
    falling = unit.initial_power_mw - unit.ramp_down_mw * (hours + 1.0) if unit.initially_on else np.zeros(periods)
    # a unit that must run stays on from the start, so ramps bind it; others are bound while they are forced
    return np.where(forced, np.maximum(unit.power_min_mw, falling), 0.0)
