"""The independent check of a commitment: every rule of the instance, unit by unit and hour by hour, in MW and hours.

It shares nothing with the formulation: states come from the plan's on/off table, start-up costs from the hours a unit
was really off, production costs from its cost curve.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.instances.commitment import Commitment, ThermalUnit, UnitCommitment
from apportion.instances.core import Sense
from apportion.models.verdict import TOLERANCE, Verdict, Violation

Floats = NDArray[np.float64]


def check(instance: UnitCommitment, plan: Commitment) -> Verdict:
    """Verify ``plan`` and recompute its cost.

    Parameters
    ----------
    instance
        The data.
    plan
        A plan for the same units; its rows may come in another order.

    Returns
    -------
    Verdict
        Hours count from 1 in the places. ``measures`` holds the start-up and the production cost, starts and stops,
        the unit-hours on, the reserve held and the renewable energy that is not used.

    Raises
    ------
    PlanError
        When the plan speaks of other units or another number of hours.
    """
    plan = plan.aligned_to(instance)
    violations = [*_check_system(instance, plan), *_check_renewables(instance, plan)]
    startup_cost = production_cost = 0.0
    starts = stops = 0
    for g, unit in enumerate(instance.thermal):
        schedule = _Schedule(unit, plan.committed[g], plan.power_mw[g], plan.reserve_mw[g])
        violations.extend(_check_unit(schedule))
        startup_cost += sum(_start_cost(unit, off_h) for off_h in schedule.hours_off_before_starts())
        production_cost += _production_cost(schedule)
        starts += len(schedule.starts)
        stops += len(schedule.stops)
    available = sum(float(unit.power_max_mw.sum()) for unit in instance.renewable)
    measures = {
        "start-up cost": startup_cost,
        "production cost": production_cost,
        "starts": float(starts),
        "stops": float(stops),
        "unit-hours on": float(plan.committed.sum()),
        "reserve held (MWh)": float(plan.reserve_mw.sum()),
        "curtailed (MWh)": max(0.0, round(available - float(plan.renewable_mw.sum()), 6)),
    }
    return Verdict(startup_cost + production_cost, Sense.MINIMISE, tuple(violations), measures)


@dataclass(frozen=True)
class _Schedule:
    """One unit's rows of the plan."""

    unit: ThermalUnit
    on: NDArray[np.bool_]
    power: Floats
    reserve: Floats

    @property
    def on_before(self) -> NDArray[np.bool_]:
        """Whether it is on in the hour before each."""
        return np.concatenate([[self.unit.initially_on], self.on[:-1]])

    @property
    def starts(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.on & ~self.on_before)

    @property
    def stops(self) -> NDArray[np.int64]:
        """Hours that are the first off."""
        return np.flatnonzero(~self.on & self.on_before)

    def hours_off_before_starts(self) -> list[int]:
        """For each start, how many hours the unit has been off."""
        lengths = []
        for start in self.starts:
            earlier = self.stops[self.stops < start]
            lengths.append(int(start - earlier[-1]) if len(earlier) else self.unit.initial_down_h + int(start))
        return lengths

    def hours_on_before_stops(self) -> list[int]:
        """For each stop, how many hours the unit has been on."""
        lengths = []
        for stop in self.stops:
            earlier = self.starts[self.starts < stop]
            lengths.append(int(stop - earlier[-1]) if len(earlier) else self.unit.initial_up_h + int(stop))
        return lengths


def _start_cost(unit: ThermalUnit, off_h: int) -> float:
    """The cost of the coldest category whose lag has passed."""
    reached = [category.cost for category in unit.startup if category.lag_h <= off_h]
    return reached[-1] if reached else unit.startup[0].cost


def _production_cost(schedule: _Schedule) -> float:
    power = [point.power_mw for point in schedule.unit.production]
    cost = [point.cost for point in schedule.unit.production]
    return float(np.interp(schedule.power[schedule.on], power, cost).sum())


def _exceeding(rule: str, where: str, excess: Floats, first_hour: int = 1) -> Iterator[Violation]:
    """A violation for each hour in which ``excess`` (MW) is more than rounding."""
    for t in np.flatnonzero(~(excess <= TOLERANCE)):
        place = f"{where}, hour {t + first_hour}" if where else f"hour {t + first_hour}"
        yield Violation(rule, place, float(excess[t]), "MW")


def _check_system(instance: UnitCommitment, plan: Commitment) -> Iterator[Violation]:
    supply = plan.power_mw.sum(axis=0) + plan.renewable_mw.sum(axis=0)
    yield from _exceeding("power balance", "", np.abs(supply - instance.demand_mw))
    yield from _exceeding("reserve", "", instance.reserve_mw - plan.reserve_mw.sum(axis=0))


def _check_renewables(instance: UnitCommitment, plan: Commitment) -> Iterator[Violation]:
    for row, unit in zip(plan.renewable_mw, instance.renewable, strict=True):
        yield from _exceeding("renewable minimum", unit.name, unit.power_min_mw - row)
        yield from _exceeding("renewable maximum", unit.name, row - unit.power_max_mw)


def _check_unit(schedule: _Schedule) -> Iterator[Violation]:
    yield from _check_states(schedule)
    yield from _check_limits(schedule)
    yield from _check_ramps(schedule)
    yield from _check_first_and_last_hours(schedule)


def _check_states(schedule: _Schedule) -> Iterator[Violation]:
    unit = schedule.unit
    if unit.must_run:
        for t in np.flatnonzero(~schedule.on):
            yield Violation("must run", f"{unit.name}, hour {t + 1}", 1.0, "h")
    for stop, hours in zip(schedule.stops, schedule.hours_on_before_stops(), strict=True):
        if hours < unit.min_up_h:
            yield Violation("minimum up time", f"{unit.name}, hour {stop + 1}", float(unit.min_up_h - hours), "h")
    for start, hours in zip(schedule.starts, schedule.hours_off_before_starts(), strict=True):
        if hours < unit.min_down_h:
            yield Violation("minimum down time", f"{unit.name}, hour {start + 1}", float(unit.min_down_h - hours), "h")


def _check_limits(schedule: _Schedule) -> Iterator[Violation]:
    unit, on, power, reserve = schedule.unit, schedule.on, schedule.power, schedule.reserve
    yield from _exceeding("output while off", unit.name, np.where(on, 0.0, np.abs(power)))
    yield from _exceeding("reserve while off", unit.name, np.where(on, 0.0, np.abs(reserve)))
    yield from _exceeding("negative reserve", unit.name, np.where(on, -reserve, 0.0))
    yield from _exceeding("minimum output", unit.name, np.where(on, unit.power_min_mw - power, 0.0))
    yield from _exceeding("maximum output", unit.name, np.where(on, power + reserve - unit.power_max_mw, 0.0))


def _check_ramps(schedule: _Schedule) -> Iterator[Violation]:
    """Ramps bind the output above the minimum, which is 0 while off; reserve has to be within reach upwards."""
    unit = schedule.unit
    above = np.where(schedule.on, schedule.power - unit.power_min_mw, 0.0)
    initially_above = unit.initial_power_mw - unit.power_min_mw if unit.initially_on else 0.0
    before = np.concatenate([[initially_above], above[:-1]])
    yield from _exceeding("ramp up", unit.name, above + schedule.reserve - before - unit.ramp_up_mw)
    yield from _exceeding("ramp down", unit.name, before - above - unit.ramp_down_mw)


def _check_first_and_last_hours(schedule: _Schedule) -> Iterator[Violation]:
    unit = schedule.unit
    full = schedule.power + schedule.reserve
    for start in schedule.starts:
        excess = full[start] - unit.startup_limit_mw
        yield from _exceeding("start-up limit", unit.name, np.array([excess]), int(start) + 1)
    for stop in schedule.stops:
        last = full[stop - 1] if stop else unit.initial_power_mw
        excess = last - unit.shutdown_limit_mw
        yield from _exceeding("shut-down limit", unit.name, np.array([excess]), int(stop))
