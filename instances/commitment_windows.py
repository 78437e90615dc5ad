"""Consecutive windows of unit commitment: cut an instance, carry the state of the fleet over, join the plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from apportion.instances.commitment import Bools, Commitment, Floats, RenewableUnit, ThermalUnit, UnitCommitment
from apportion.instances.errors import OptionError
from apportion.instances.validation import FaultList

_DUST_MW = 1e-7
"""Outputs this near to a limit of their unit are on it: an instance takes no output beyond its limits."""


@dataclass(frozen=True, eq=False)
class FleetState:
    """How the thermal units stand after some hours; arrays of shape (units,).

    ``hours`` is how long each has been on, or off; ``power_mw`` and ``reserve_mw`` are those of the last hour.

    Examples
    --------
    >>> from apportion.instances.generate.commitment import generate_commitment
    >>> day = generate_commitment(seed=1, units=3, periods=6)
    >>> FleetState.before(day).continued(day, first=2, length=4).num_periods
    4
    """

    on: Bools
    hours: np.ndarray[tuple[int], np.dtype[np.int64]]
    power_mw: Floats
    reserve_mw: Floats

    @classmethod
    def before(cls, instance: UnitCommitment) -> Self:
        """The state before the first hour. No reserve is known to be held there."""
        units = instance.thermal
        return cls(
            np.array([unit.initially_on for unit in units], dtype=np.bool_),
            np.array([unit.initial_up_h if unit.initially_on else unit.initial_down_h for unit in units], np.int64),
            np.array([unit.initial_power_mw for unit in units], dtype=np.float64),
            np.zeros(len(units)),
        )

    def after(self, plan: Commitment) -> Self:
        """The state when ``plan`` has been carried out from this one."""
        if not plan.num_periods:
            return self
        states = np.concatenate([self.on[:, None], plan.committed], axis=1)
        same = states == states[:, -1:]
        # the run at the end reaches back to the last hour in the other state; without one, to before the plan
        length = np.where(same.all(axis=1), plan.num_periods + self.hours, np.argmin(same[:, ::-1], axis=1))
        return type(self)(
            np.array(plan.committed[:, -1]),
            length.astype(np.int64),
            np.array(plan.power_mw[:, -1]),
            np.array(plan.reserve_mw[:, -1]),
        )

    def continued(self, instance: UnitCommitment, first: int, length: int, name: str = "") -> UnitCommitment:
        """The hours ``first`` to ``first + length`` of ``instance``, for its units as they stand in this state."""
        hours = slice(first, first + length)
        thermal = tuple(self._unit(unit, g) for g, unit in enumerate(instance.thermal))
        renewable = tuple(
            RenewableUnit(unit.name, unit.power_min_mw[hours], unit.power_max_mw[hours]) for unit in instance.renewable
        )
        label = name or f"{instance.name}, hours {first + 1} to {first + length}"
        return UnitCommitment(label, instance.demand_mw[hours], instance.reserve_mw[hours], thermal, renewable)

    def _unit(self, unit: ThermalUnit, g: int) -> ThermalUnit:
        hours = int(self.hours[g])
        if not self.on[g]:
            return replace(unit, initially_on=False, initial_power_mw=0.0, initial_up_h=0, initial_down_h=hours)
        power = _without_dust(float(self.power_mw[g]), unit)
        least = unit.min_up_h
        if power + float(self.reserve_mw[g]) > unit.shutdown_limit_mw + _DUST_MW and hours >= least:
            # The hour before a stop limits output and reserve together, and an instance knows of no reserve before its
            # first hour. A stop at once would break that limit: the unit is held on for one hour more.
            least = max(unit.min_up_h, 2)
            hours = least - 1
        return replace(
            unit, initially_on=True, initial_power_mw=power, initial_up_h=hours, initial_down_h=0, min_up_h=least
        )


def _without_dust(power: float, unit: ThermalUnit) -> float:
    inside = min(max(power, unit.power_min_mw), unit.power_max_mw)
    for limit in (unit.power_min_mw, unit.shutdown_limit_mw, unit.power_max_mw):
        if abs(inside - limit) <= _DUST_MW:
            return limit
    return inside


def hours_of(plan: Commitment, first: int, length: int) -> Commitment:
    """The hours ``first`` to ``first + length`` of a plan."""
    hours = slice(first, first + length)
    return replace(
        plan,
        committed=plan.committed[:, hours],
        power_mw=plan.power_mw[:, hours],
        reserve_mw=plan.reserve_mw[:, hours],
        renewable_mw=plan.renewable_mw[:, hours],
    )


def joined_plan(plans: Sequence[Commitment]) -> Commitment:
    """Plans of the same units, one after the other."""
    return replace(
        plans[0],
        committed=np.concatenate([plan.committed for plan in plans], axis=1),
        power_mw=np.concatenate([plan.power_mw for plan in plans], axis=1),
        reserve_mw=np.concatenate([plan.reserve_mw for plan in plans], axis=1),
        renewable_mw=np.concatenate([plan.renewable_mw for plan in plans], axis=1),
    )


def joined(instances: Sequence[UnitCommitment], hours_each: int | None = None, name: str = "") -> UnitCommitment:
    """One horizon out of instances that follow each other, such as the files of consecutive days.

    Parameters
    ----------
    instances
        In order. The units and their initial states are those of the first.
    hours_each
        Take only so many hours of each but the last: files of 48 hours that begin 24 hours after each other overlap.
    name
        What to call it.

    Raises
    ------
    OptionError
        Without an instance, and when ``hours_each`` is longer than one of them.
    InstanceError
        When the units differ in more than their initial states.
    """
    if not instances:
        raise OptionError("there is nothing to join\nMaybe name at least one instance")
    lengths = [instance.num_periods for instance in instances]
    if hours_each is not None:
        if not 1 <= hours_each <= min(lengths):
            raise OptionError(f"hours of each must lie in 1..{min(lengths)}, got {hours_each}")
        lengths[:-1] = [hours_each] * (len(instances) - 1)
    first = instances[0]
    faults = FaultList(name or first.name)
    for other in instances[1:]:
        _require_same_units(faults, first, other)
    faults.raise_if_any()
    rows = [{unit.name: unit for unit in instance.renewable} for instance in instances]

    def whole(series: Sequence[Floats]) -> Floats:
        return np.concatenate([values[:length] for values, length in zip(series, lengths, strict=True)])

    renewable = tuple(
        RenewableUnit(
            unit.name,
            whole([row[unit.name].power_min_mw for row in rows]),
            whole([row[unit.name].power_max_mw for row in rows]),
        )
        for unit in first.renewable
    )
    demand, reserve = whole([i.demand_mw for i in instances]), whole([i.reserve_mw for i in instances])
    return UnitCommitment(name or first.name, demand, reserve, first.thermal, renewable)


def _require_same_units(faults: FaultList, first: UnitCommitment, other: UnitCommitment) -> None:
    mine, theirs = ({_timeless(unit) for unit in instance.thermal} for instance in (first, other))
    for unit in sorted(mine ^ theirs, key=lambda unit: unit.name)[:3]:
        message = f"is not the same unit as in {first.name}"
        faults.add(f"{other.name}: {unit.name}", message, hint="join instances of one fleet")
    if set(first.renewable_names) != set(other.renewable_names):
        faults.add(other.name, f"has other renewable units than {first.name}")


def _timeless(unit: ThermalUnit) -> ThermalUnit:
    """The unit without its initial state."""
    return replace(unit, initially_on=False, initial_power_mw=0.0, initial_up_h=0, initial_down_h=1)
