"""Cuts from the capacity that each hour needs, sharper than the units' own rules can be.

What the units can give in an hour covers demand and reserve less all renewables. A unit that has just started, or is
about to stop, gives less than one in the midst of its run; so the row is a knapsack in numbers of units: settled,
started ``i`` hours ago, stopping next. Mixed-integer rounding of it (Marchand and Wolsey, "Aggregation and mixed
integer rounding to solve MIPs", Oper. Res. 49(3), 2001) gives inequalities in states and starts alone, which prices
can carry to the units: the bound is that of the units' convex hulls together with the cuts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.models.commitment.screens import most_power
from apportion.solvers.commitment.prices import UnitPricing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DIVISORS = (1.0, 2.0, 4.0)
"""The row is divided by the capacities that fractional units have, over each of these."""

PER_HOUR = 2
LEAST_FRACTION, MOST_FRACTION = 0.02, 0.999
"""Fractional parts of the right-hand side outside of these give weak or fragile cuts."""

_VIOLATED = 1e-3
_WHOLE = 1e-6
_CLEAR = 1e-4
_SAFE = 1e-9


@dataclass(frozen=True, eq=False)
class Cover:
    """``(on * commit).sum() + (start * starts).sum() >= least``, arrays of shape (units, periods)."""

    on: Floats
    start: Floats
    least: float

    def slack(self, commit: Floats, start: Floats) -> float:
        """By how much it holds; negative where it does not."""
        return float((self.on * commit).sum() + (self.start * start).sum() - self.least)


@dataclass(frozen=True, eq=False)
class _Hour:
    """The knapsack of an hour: one entry for units that have started ``i`` hours ago, or stop next, one for the rest.

    ``unit``, ``gives`` (MW each), ``lost`` (against the unit at its best; of the rest what one that is off gives
    less), ``hour`` of the start or stop; ``rest`` and ``stops`` mark the kind of the entry.
    """

    needed: float
    best: Floats
    unit: Ints
    gives: Floats
    lost: Floats
    hour: Ints
    rest: Bools
    stops: Bools


class Covers:
    """Finds cuts that a mix of schedules violates."""

    def __init__(self, pricing: UnitPricing) -> None:
        self._count = pricing.count
        self._initially = pricing.fleet.initially_on * pricing.count
        self._shape = pricing.can_on.shape
        self._hours = [_hour(pricing, best, t) for t, best in enumerate(_best(pricing).T)]

    def violated(self, commit: Floats, start: Floats) -> list[Cover]:
        """The cuts that numbers of running and starting units, shape (units, periods), violate most, by hour."""
        before = np.column_stack((self._initially, commit[:, :-1]))
        stop = before - commit + start
        found: list[Cover] = []
        for t in range(self._shape[1]):
            made = self._of_hour(t, commit, start, stop)
            found += [cover for cover in made if cover.slack(commit, start) < -_CLEAR]
        return found

    def _of_hour(self, t: int, commit: Floats, start: Floats, stop: Floats) -> Iterator[Cover]:
        hour = self._hours[t]
        number = np.where(hour.stops, stop[hour.unit, hour.hour], start[hour.unit, hour.hour])
        number[hour.rest] = 0.0
        passing_by = np.bincount(hour.unit, number, minlength=self._shape[0])
        number[hour.rest] = (commit[:, t] - passing_by)[hour.unit[hour.rest]]
        missing = np.where(hour.rest, (self._count - commit[:, t])[hour.unit], number)
        number, missing = np.maximum(number, 0.0), np.maximum(missing, 0.0)
        share = commit[:, t] / self._count
        open_rest = hour.rest & (share[hour.unit] > _CLEAR) & (share[hour.unit] < 1.0 - _CLEAR)
        passing = ~hour.rest & (number > _CLEAR)
        sizes = np.concatenate((hour.gives[open_rest], hour.gives[passing], hour.lost[passing]))
        sizes = np.unique(np.round(sizes[sizes > 1e-3], 6))
        made = [
            _rounded(hour, self._count, from_full, number, missing, size / divisor)
            for from_full in (share > 0.5, share >= 1.0 - _WHOLE, share > _WHOLE)
            for size in sizes
            for divisor in DIVISORS
        ]
        # cuts of the same violation are nearly always the same cut
        apart = {round(cut.violation, 6): cut for cut in made if cut is not None}
        best = sorted(apart.values(), key=lambda cut: -cut.violation)[:PER_HOUR]
        if best:
            best[:0] = self._flipped(hour, share, number, missing, best[0])
        for cut in best[:PER_HOUR]:
            yield self._written(t, hour, cut)

    def _flipped(self, hour: _Hour, share: Floats, number: Floats, missing: Floats, cut: _Cut) -> list[_Cut]:
        """A better cut, by counting one unit after another from the other end."""
        best = cut
        for k in np.argsort(np.abs(share - 0.5), kind="stable"):
            if not _CLEAR < share[k] < 1.0 - _CLEAR:
                break
            from_full = best.from_full.copy()
            from_full[k] = ~from_full[k]
            other = _rounded(hour, self._count, from_full, number, missing, cut.divisor)
            if other is not None and other.violation > best.violation + _SAFE:
                best = other
        return [best] if best is not cut else []

    def _written(self, t: int, hour: _Hour, cut: _Cut) -> Cover:
        """The cut in states and starts; a stop is a state that a start does not explain."""
        on, start = np.zeros(self._shape), np.zeros(self._shape)
        rest = np.zeros(self._shape[0])
        rest[hour.unit[hour.rest]] = cut.weight[hour.rest]
        on[:, t] = np.where(cut.from_full, -rest, rest)
        net = cut.weight - np.where(cut.from_full, 0.0, rest)[hour.unit]
        begun = ~hour.rest & ~hour.stops
        np.add.at(start, (hour.unit[begun], hour.hour[begun]), net[begun])
        units = hour.unit[hour.stops]
        np.add.at(on, (units, np.full(len(units), t)), net[hour.stops])
        if len(units):
            np.add.at(on, (units, np.full(len(units), t + 1)), -net[hour.stops])
            np.add.at(start, (units, np.full(len(units), t + 1)), net[hour.stops])
        least = cut.least - float((rest * self._count)[cut.from_full].sum())
        return Cover(on * cut.scale, start * cut.scale, least * cut.scale - _SAFE)


@dataclass(frozen=True, eq=False)
class _Cut:
    """``weight @ entries >= least``, the entries of units in ``from_full`` counted down from all of them at their best.

    ``scale`` brings it back to MW.
    """

    violation: float
    weight: Floats
    least: float
    scale: float
    divisor: float
    from_full: Bools


def _rounded(
    hour: _Hour, count: Floats, from_full: Bools, number: Floats, missing: Floats, divisor: float
) -> _Cut | None:
    """Mixed-integer rounding of the row divided by ``divisor``; None when it cuts nothing off."""
    down = from_full[hour.unit]
    size = np.where(down, -hour.lost, hour.gives) / divisor
    value = np.where(down, missing, number)
    right = (hour.needed - float((hour.best * count)[from_full].sum())) / divisor
    fraction = right - np.floor(right)
    if not LEAST_FRACTION <= fraction <= MOST_FRACTION:
        return None
    whole = np.floor(size + _SAFE)
    weight = whole + np.minimum(np.maximum(size - whole, 0.0), fraction) / fraction
    least = float(np.ceil(right))
    violation = least - float(weight @ value)
    if violation * fraction <= _VIOLATED:
        return None
    scale = fraction * divisor
    return _Cut(violation * scale, weight, least, scale, divisor, from_full)


def _best(pricing: UnitPricing) -> Floats:
    """The most that each unit can give in each hour, shape (units, periods)."""
    fleet, periods = pricing.fleet, pricing.instance.num_periods
    reach = [most_power(unit, periods) for unit in pricing.instance.thermal]
    reached = np.array(reach, dtype=np.float64).reshape(fleet.num_units, periods)
    return np.minimum(reached, (fleet.power_min + fleet.span)[:, None])


def _hour(pricing: UnitPricing, best: Floats, t: int) -> _Hour:
    fleet, instance = pricing.fleet, pricing.instance
    rows: list[tuple[int, float, int, bool, bool]] = []
    for k, most in enumerate(best.tolist()):
        first, rise, shortest = fleet.power_min[k] + fleet.first_hour[k], fleet.ramp_up[k], int(fleet.min_up[k])
        young = 0
        while young < min(shortest, t + 1) and first + young * rise < most - _WHOLE:
            rows.append((k, float(first + young * rise), t - young, False, False))
            young += 1
        last = float(fleet.power_min[k] + fleet.last_hour[k])
        # a run may not be both as young as that and about to end
        if t + 1 < instance.num_periods and last < most - _WHOLE and young < shortest:
            rows.append((k, last, t + 1, False, True))
        rows.append((k, most, t, True, False))
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 5)
    unit, rest = table[:, 0].astype(np.int64), table[:, 3] > 0.5
    return _Hour(
        float(instance.demand_mw[t] + instance.reserve_mw[t] - pricing.most_renewable[t]),
        best,
        unit,
        table[:, 1],
        best[unit] - np.where(rest, 0.0, table[:, 1]),
        table[:, 2].astype(np.int64),
        rest,
        table[:, 4] > 0.5,
    )
