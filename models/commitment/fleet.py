"""The numbers of all thermal units side by side, in the terms of the formulation: output counts from the minimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.instances.commitment import ThermalUnit, UnitCommitment, marginal_costs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Fleet:
    """Arrays of shape (units,) unless said otherwise.

    ``span`` is the range of output above ``power_min``. ``first_hour`` and ``last_hour`` are the most of output plus
    reserve above the minimum in the first and the last hour of a run, ``last_hour_power`` of output alone; a ramp that
    binds sooner is already in them, and none exceeds ``span``. ``held_on`` and ``held_off`` are the hours that the
    initial state still binds; ``initially_above`` is the output above the minimum before the first hour.
    """

    power_min: Floats
    span: Floats
    ramp_up: Floats
    ramp_down: Floats
    first_hour: Floats
    last_hour: Floats
    last_hour_power: Floats
    min_up: Ints
    min_down: Ints
    must_run: Bools
    initially_on: Bools
    initially_above: Floats
    initially_off_h: Ints
    held_on: Ints
    held_off: Ints
    cost_at_min: Floats
    cold_start: Floats

    @property
    def num_units(self) -> int:
        """How many there are."""
        return len(self.span)

    @classmethod
    def of(cls, instance: UnitCommitment) -> Fleet:
        """Collect the units of an instance."""
        power_min = _floats(instance, "power_min_mw")
        span = _floats(instance, "power_max_mw") - power_min
        ramp_up, ramp_down = _floats(instance, "ramp_up_mw"), _floats(instance, "ramp_down_mw")
        startup = _floats(instance, "startup_limit_mw") - power_min
        shutdown = _floats(instance, "shutdown_limit_mw") - power_min
        last_hour = np.minimum(shutdown, span)
        on = _hours(instance, "initially_on").astype(np.bool_)
        up, down = (np.maximum(_hours(instance, name), 1) for name in ("min_up_h", "min_down_h"))
        been_on, been_off = _hours(instance, "initial_up_h"), _hours(instance, "initial_down_h")
        return cls(
            power_min=power_min,
            span=span,
            ramp_up=ramp_up,
            ramp_down=ramp_down,
            first_hour=np.minimum(np.minimum(startup, ramp_up), span),
            last_hour=last_hour,
            last_hour_power=np.minimum(last_hour, ramp_down),
            min_up=up,
            min_down=down,
            must_run=_hours(instance, "must_run").astype(np.bool_),
            initially_on=on,
            initially_above=np.where(on, np.clip(_floats(instance, "initial_power_mw") - power_min, 0.0, span), 0.0),
            initially_off_h=been_off,
            held_on=np.where(on, np.maximum(up - been_on, 0), 0),
            held_off=np.where(on, 0, np.maximum(down - been_off, 0)),
            cost_at_min=np.array([unit.production[0].cost for unit in instance.thermal], dtype=np.float64),
            cold_start=np.array([unit.startup[-1].cost for unit in instance.thermal], dtype=np.float64),
        )


def _floats(instance: UnitCommitment, name: str) -> Floats:
    return np.array([getattr(unit, name) for unit in instance.thermal], dtype=np.float64)


def _hours(instance: UnitCommitment, name: str) -> Ints:
    return np.array([getattr(unit, name) for unit in instance.thermal], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Segments:
    """The pieces of the cost curves of those units that have several: shape (segments,).

    ``lower`` and ``upper`` are output above the minimum, ``slope`` the cost per MW of the piece.
    """

    unit: Ints
    lower: Floats
    upper: Floats
    slope: Floats

    @classmethod
    def of(cls, instance: UnitCommitment) -> Segments:
        """Collect the segments in the order of the units."""
        curves = [(g, unit) for g, unit in enumerate(instance.thermal) if len(unit.production) > 2]
        rows = [
            (g, before.power_mw - unit.power_min_mw, after.power_mw - unit.power_min_mw, slope)
            for g, unit in curves
            for before, after, slope in zip(
                unit.production, unit.production[1:], marginal_costs(unit).tolist(), strict=False
            )
        ]
        table = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
        return cls(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], table[:, 3])


def single_slopes(instance: UnitCommitment) -> Floats:
    """Cost per MW of the units with one segment, shape (units,); 0 for the others, whose segments bear it."""
    return np.array([_only_slope(unit) for unit in instance.thermal], dtype=np.float64)


def _only_slope(unit: ThermalUnit) -> float:
    return float(marginal_costs(unit)[0]) if len(unit.production) == 2 else 0.0


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of a stop and a later start that are warmer than a cold start, shape (matches,).

    ``stop`` is -1 where the unit was off before the first period. ``saving`` is what the start costs less than the
    coldest category.
    """

    unit: Ints
    stop: Ints
    start: Ints
    saving: Floats

    @classmethod
    def of(cls, instance: UnitCommitment, fleet: Fleet) -> Matches:
        """All pairs within the horizon and those that reach back before it."""
        periods = instance.num_periods
        pieces = []
        for g, unit in enumerate(instance.thermal):
            savings = _savings_by_hours_off(unit, periods + int(fleet.initially_off_h[g]))
            if len(savings) <= fleet.min_down[g]:
                continue
            hours = np.arange(int(fleet.min_down[g]), len(savings))
            hours = hours[savings[hours] > 0.0]
            stop, off = np.meshgrid(np.arange(periods), hours, indexing="ij")
            start = stop + off
            inside = start < periods
            pieces.append((g, stop[inside], start[inside], savings[off[inside]]))
            if not fleet.initially_on[g]:
                first = hours - fleet.initially_off_h[g]
                first = first[(first >= 0) & (first < periods)]
                pieces.append((g, np.full(len(first), -1), first, savings[first + fleet.initially_off_h[g]]))
        unit_of = [np.full(len(stop), g, dtype=np.int64) for g, stop, _, _ in pieces]
        empty: list[Ints] = [np.zeros(0, np.int64)]
        return cls(
            np.concatenate(unit_of or empty),
            np.concatenate([stop for _, stop, _, _ in pieces] or empty),
            np.concatenate([start for _, _, start, _ in pieces] or empty),
            np.concatenate([saving for _, _, _, saving in pieces] or [np.zeros(0)]),
        )


def _savings_by_hours_off(unit: ThermalUnit, most_hours: int) -> Floats:
    """What a start after 0, 1, 2, ... hours off saves against the coldest, as long as it saves anything."""
    cold = unit.startup[-1].cost
    warm = [category for category in unit.startup if category.cost < cold]
    if not warm:
        return np.zeros(0)
    end = min(next(category.lag_h for category in unit.startup if category.cost >= cold), most_hours)
    savings = np.zeros(end)
    for category in warm:
        savings[category.lag_h :] = cold - category.cost
    savings[: warm[0].lag_h] = cold - warm[0].cost
    return savings
