"""The answer of optimal power flow: outputs, voltages, storage and prices, period by period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Json
from apportion.instances.errors import Fault, PlanError
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.validation import FaultList

Floats = NDArray[np.float64]
_MOST_FAULTS = 5


class Physics(StrEnum):
    """The laws that a plan claims to keep; the check holds it to them."""

    AC = "ac"
    """Kirchhoff's laws with voltages and reactive power."""
    DC = "dc"
    """Voltages of 1 and no losses; susceptance x / (r^2 + x^2), taps and shifts left out (as PowerModels)."""
    DC_MATPOWER = "dc-matpower"
    """Voltages of 1 and no losses; susceptance 1 / (x tap), with shifts (as MATPOWER)."""
    DISPATCH = "dispatch"
    """No network: each island is one bus."""


_BY_BUS = ("voltage", "angle_deg", "price_mwh")
_BY_GENERATOR = ("power_mw", "reactive_mvar")
_BY_STORAGE = ("charge_mw", "discharge_mw", "energy_mwh")
_TABLES = {
    **dict.fromkeys(_BY_BUS, "bus_names"),
    **dict.fromkeys(_BY_GENERATOR, "generator_names"),
    **dict.fromkeys(_BY_STORAGE, "storage_names"),
}


@dataclass(frozen=True, eq=False)
class PowerFlowPlan:
    """What each generator and storage unit does, and the state of the network.

    Parameters
    ----------
    physics
        The laws that it keeps.
    bus_names, generator_names, storage_names
        The columns of the arrays.
    power_mw, reactive_mvar
        Output, shape (periods, generators); reactive output is 0 unless the physics is AC.
    voltage, angle_deg
        Shape (periods, buses); 1 and 0 where the physics has none.
    charge_mw, discharge_mw, energy_mwh
        Power taken, power given, and what is stored at the end of the period, shape (periods, storage units).
    price_mwh
        What one MWh more at each bus would cost, shape (periods, buses); NaN when the method knows none.
    """

    problem: ClassVar[str] = "optimal-power-flow"
    physics: Physics
    bus_names: tuple[str, ...]
    generator_names: tuple[str, ...]
    storage_names: tuple[str, ...]
    power_mw: Floats
    reactive_mvar: Floats
    voltage: Floats
    angle_deg: Floats
    charge_mw: Floats
    discharge_mw: Floats
    energy_mwh: Floats
    price_mwh: Floats

    def __post_init__(self) -> None:
        """Check shapes and numbers; the arrays become read-only."""
        faults = FaultList("power flow plan")
        periods = len(self.power_mw) if np.ndim(self.power_mw) == 2 else 0
        for name, names in _TABLES.items():
            shape = (periods, len(getattr(self, names)))
            value = getattr(self, name)
            if name == "price_mwh":
                missing = np.shape(value) == shape and bool(np.isnan(value).all())
                if missing:
                    object.__setattr__(self, name, _frozen(np.full(shape, np.nan)))
                    continue
            object.__setattr__(self, name, faults.array(name, value, shape=shape))
        for names in ("bus_names", "generator_names", "storage_names"):
            faults.unique(names, getattr(self, names))
        if faults.faults:
            raise PlanError(faults.source, faults.faults)

    def __eq__(self, other: object) -> bool:
        """Equal names and equal numbers."""
        if not isinstance(other, PowerFlowPlan):
            return NotImplemented
        for one in fields(self):
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            if not np.array_equal(mine, theirs, equal_nan=one.name == "price_mwh"):
                return False
        return True

    __hash__ = None  # type: ignore[assignment]

    @property
    def num_periods(self) -> int:
        """How many periods it covers."""
        return int(self.power_mw.shape[0])

    @property
    def has_prices(self) -> bool:
        """Whether the method that made it knew prices."""
        return bool(np.isfinite(self.price_mwh).all())

    def to_dict(self) -> Json:
        """JSON-ready data: one row per generator, bus and unit under its name."""
        data: Json = {"physics": str(self.physics), "periods": self.num_periods}
        for name, names in _TABLES.items():
            if name == "price_mwh" and not self.has_prices:
                data[name] = None
                continue
            data[name] = dict(zip(getattr(self, names), getattr(self, name).T.tolist(), strict=True))
        return data

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Rebuild from :meth:`to_dict`; raise :class:`PlanError` with all that is wrong."""
        faults: list[Fault] = []
        periods = data.get("periods")
        if type(periods) is not int or not 1 <= periods <= 10**6:
            raise PlanError("plan", [Fault("periods", "must be a whole number from 1 to 1000000", periods)])
        known = [str(one) for one in Physics]
        if data.get("physics") not in known:
            raise PlanError("plan", [Fault("physics", f"must be one of {', '.join(known)}", data.get("physics"))])
        names: dict[str, tuple[str, ...]] = {}
        arrays: dict[str, Floats] = {}
        for table, group in _TABLES.items():
            rows = data.get(table)
            if table == "price_mwh" and rows is None:
                arrays[table] = np.full((periods, len(names.get("bus_names", ()))), np.nan)
                continue
            arrays[table], columns = _array(rows, table, periods, faults)
            if names.setdefault(group, columns) != columns and not faults:
                faults.append(Fault(table, "must have the same names in the same order as the tables before"))
        if faults:
            raise PlanError("plan", faults)
        values: dict[str, Any] = {**names, **arrays}
        return cls(Physics(data["physics"]), **values)

    def aligned_to(self, instance: OptimalPowerFlow) -> Self:
        """The same plan with its columns in the instance's order; raise :class:`PlanError` if it is for another."""
        faults: list[Fault] = []
        pairs = (
            ("bus_names", instance.buses.names),
            ("generator_names", instance.generators.names),
            ("storage_names", instance.storage.names),
        )
        for group, theirs in pairs:
            mine = getattr(self, group)
            faults.extend(Fault(group, "names nothing of this instance", n) for n in _beyond(mine, theirs))
            faults.extend(Fault(group, "lacks a name of this instance", n) for n in _beyond(theirs, mine))
        if self.num_periods != instance.num_periods:
            faults.append(Fault("periods", f"must be the {instance.num_periods} of the instance", self.num_periods))
        if faults:
            raise PlanError(instance.name, faults)
        if all(getattr(self, group) == theirs for group, theirs in pairs):
            return self
        order = {group: _order(getattr(self, group), theirs) for group, theirs in pairs}
        values: dict[str, Any] = {name: getattr(self, name)[:, order[group]] for name, group in _TABLES.items()}
        values.update(pairs)
        return type(self)(self.physics, **values)


def _frozen(array: Floats) -> Floats:
    array.setflags(write=False)
    return array


def _order(mine: Sequence[str], theirs: Sequence[str]) -> list[int]:
    position = {name: k for k, name in enumerate(mine)}
    return [position[name] for name in theirs]


def _beyond(names: Sequence[str], known: Sequence[str]) -> list[str]:
    return sorted(set(names) - set(known))[:_MOST_FAULTS]


def _array(rows: object, table: str, periods: int, faults: list[Fault]) -> tuple[Floats, tuple[str, ...]]:
    if not isinstance(rows, dict):
        faults.append(Fault(table, "must map names to lists of numbers", rows))
        return np.zeros((periods, 0)), ()
    for name, row in rows.items():
        if not isinstance(row, list) or len(row) != periods or not all(_is_number(value) for value in row):
            faults.append(Fault(f"{table}.{name}", f"must be a list of {periods} finite numbers", row))
    if faults:
        return np.zeros((periods, len(rows))), tuple(rows)
    columns = np.array(list(rows.values()), np.float64).reshape(len(rows), periods)
    return np.ascontiguousarray(columns.T), tuple(rows)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300
