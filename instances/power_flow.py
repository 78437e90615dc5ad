"""Optimal power flow: which generator gives how much so that a network serves its load at least cost.

Power is in MW and MVAr, energy in MWh, angles in degrees; impedances and voltages are per unit on ``base_mva``.
The meaning of each number is that of MATPOWER's case format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Sense
from apportion.instances.islands import islands_of
from apportion.instances.validation import FaultList

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
CostCurve = tuple[tuple[float, float], ...]
"""Points (MW, cost per hour) of a convex piecewise linear cost; empty for a polynomial one."""

MOST_POWER = 1e7
MOST_COST = 1e12
MOST_IMPEDANCE = 1e6
FULL_CIRCLE_DEG = 360.0
_CONVEX = 1e-6
_MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class Buses:
    """The nodes of a network; all arrays have shape (buses,).

    Parameters
    ----------
    names
        Unique.
    voltage_min, voltage_max
        Limits of the voltage magnitude, per unit, positive.
    shunt_mw, shunt_mvar
        What a shunt consumes in MW and injects in MVAr at a voltage of 1.
    reference
        Buses whose angle is 0: one in each island.
    area
        A number that groups buses; nothing depends on it.
    """

    names: tuple[str, ...]
    voltage_min: Floats
    voltage_max: Floats
    shunt_mw: Floats
    shunt_mvar: Floats
    reference: Bools
    area: Ints

    def __len__(self) -> int:
        """How many there are."""
        return len(self.names)


@dataclass(frozen=True, eq=False)
class Branches:
    """Lines and transformers in service; all arrays have shape (branches,).

    Parameters
    ----------
    names
        Unique.
    from_bus, to_bus
        Positions of the two ends among the buses.
    resistance, reactance, charging
        Per unit; ``charging`` is the total of the line.
    tap, shift_deg
        Ratio (1 for a line) and phase shift of an ideal transformer at the ``from`` end.
    rate_mva
        Most apparent power at either end; infinite for no limit.
    angle_min_deg, angle_max_deg
        Limits of the angle at ``from`` minus the angle at ``to``; -360 and 360 for none.
    """

    names: tuple[str, ...]
    from_bus: Ints
    to_bus: Ints
    resistance: Floats
    reactance: Floats
    charging: Floats
    tap: Floats
    shift_deg: Floats
    rate_mva: Floats
    angle_min_deg: Floats
    angle_max_deg: Floats

    def __len__(self) -> int:
        """How many there are."""
        return len(self.names)


@dataclass(frozen=True, eq=False)
class Generators:
    """Generators in service; all arrays have shape (generators,).

    Parameters
    ----------
    names
        Unique.
    bus
        Position of the bus.
    power_min_mw, power_max_mw, reactive_min_mvar, reactive_max_mvar
        Limits of the output; a negative minimum makes a load that can be served in part.
    cost_quadratic, cost_linear, cost_constant
        Cost per hour of ``p`` MW: ``quadratic p^2 + linear p + constant``, convex.
    curves
        A piecewise linear cost instead, for those generators that have one.
    ramp_mw_h
        Most change of output per hour from one period to the next; infinite for no limit.
    """

    names: tuple[str, ...]
    bus: Ints
    power_min_mw: Floats
    power_max_mw: Floats
    reactive_min_mvar: Floats
    reactive_max_mvar: Floats
    cost_quadratic: Floats
    cost_linear: Floats
    cost_constant: Floats
    curves: tuple[CostCurve, ...]
    ramp_mw_h: Floats

    def __len__(self) -> int:
        """How many there are."""
        return len(self.names)


@dataclass(frozen=True, eq=False)
class StorageUnits:
    """Batteries and their like; all arrays have shape (units,).

    Parameters
    ----------
    names
        Unique.
    bus
        Position of the bus.
    energy_min_mwh, energy_max_mwh
        Limits of what is stored at the end of each period.
    charge_max_mw, discharge_max_mw
        Limits of the power taken from and given to the bus; never both at once.
    charge_efficiency, discharge_efficiency
        Share of the power taken that is stored, and of the energy drawn that reaches the bus.
    initial_mwh, final_min_mwh
        Stored before the first period; at least stored after the last.
    """

    names: tuple[str, ...]
    bus: Ints
    energy_min_mwh: Floats
    energy_max_mwh: Floats
    charge_max_mw: Floats
    discharge_max_mw: Floats
    charge_efficiency: Floats
    discharge_efficiency: Floats
    initial_mwh: Floats
    final_min_mwh: Floats

    def __len__(self) -> int:
        """How many there are."""
        return len(self.names)

    @classmethod
    def none(cls) -> Self:
        """No storage at all."""
        empty = np.zeros(0)
        return cls((), np.zeros(0, np.int64), *(empty,) * 8)


@dataclass(frozen=True, eq=False)
class OptimalPowerFlow:
    """Serve the load of a network at least cost, in one period or several.

    Parameters
    ----------
    name
        What to call it.
    base_mva
        Power of one per unit.
    buses, branches, generators, storage
        The network and what is connected to it.
    load_mw, load_mvar
        Load by period and bus, shape (periods, buses).
    available_mw
        What wind and sun leave of each generator's maximum, shape (periods, generators); None when nothing is lost.
    period_h
        Length of a period in hours.

    Raises
    ------
    InstanceError
        With every fault found: shapes, numbers out of range, minima above maxima, buses that are not there, islands
        without a generator or a reference.
    """

    problem: ClassVar[str] = "optimal-power-flow"
    name: str
    base_mva: float
    buses: Buses
    branches: Branches
    generators: Generators
    load_mw: Floats
    load_mvar: Floats
    storage: StorageUnits = field(default_factory=StorageUnits.none)
    available_mw: Floats | None = None
    period_h: float = 1.0

    def __post_init__(self) -> None:
        """Check everything once; the arrays become read-only."""
        faults = FaultList(self.name or "optimal power flow")
        checked = _checked(self, faults)
        faults.raise_if_any()
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def sense(self) -> Sense:
        """Cost is to be low."""
        return Sense.MINIMISE

    @property
    def num_periods(self) -> int:
        """How many periods are planned."""
        return len(self.load_mw)

    @cached_property
    def most_mw(self) -> Floats:
        """The most that each generator can give, shape (periods, generators)."""
        most = np.broadcast_to(self.generators.power_max_mw, (self.num_periods, len(self.generators)))
        return np.array(most) if self.available_mw is None else np.minimum(most, self.available_mw)

    @cached_property
    def islands(self) -> Ints:
        """The island of each bus, counted from 0, shape (buses,)."""
        return islands_of(len(self.buses), self.branches.from_bus, self.branches.to_bus)

    def window(self, first: int, periods: int, initial_mwh: Floats, final_min_mwh: Floats) -> OptimalPowerFlow:
        """The same network in ``periods`` periods from ``first`` on, with another state of its storage."""
        span = slice(first, first + periods)
        return replace(
            self,
            name=f"{self.name}[{first}:{first + periods}]",
            load_mw=self.load_mw[span],
            load_mvar=self.load_mvar[span],
            available_mw=None if self.available_mw is None else self.available_mw[span],
            storage=replace(self.storage, initial_mwh=initial_mwh, final_min_mwh=final_min_mwh),
        )

    def summary(self) -> dict[str, object]:
        """What it is in a few figures."""
        totals = self.load_mw.sum(axis=1)
        return {
            "buses": len(self.buses),
            "branches": len(self.branches),
            "generators": len(self.generators),
            "storage units": len(self.storage),
            "periods": self.num_periods,
            "islands": int(self.islands.max()) + 1,
            "load, least and most (MW)": (round(float(totals.min()), 3), round(float(totals.max()), 3)),
            "capacity (MW)": round(float(self.generators.power_max_mw.sum()), 3),
            "stored at most (MWh)": round(float(self.storage.energy_max_mwh.sum()), 3),
        }


_LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    "buses": {
        "voltage_min": (1e-3, 10.0),
        "voltage_max": (1e-3, 10.0),
        "shunt_mw": (-MOST_POWER, MOST_POWER),
        "shunt_mvar": (-MOST_POWER, MOST_POWER),
    },
    "branches": {
        "resistance": (-MOST_IMPEDANCE, MOST_IMPEDANCE),
        "reactance": (-MOST_IMPEDANCE, MOST_IMPEDANCE),
        "charging": (-MOST_IMPEDANCE, MOST_IMPEDANCE),
        "tap": (1e-3, 1e3),
        "shift_deg": (-FULL_CIRCLE_DEG, FULL_CIRCLE_DEG),
        "rate_mva": (0.0, np.inf),
        "angle_min_deg": (-FULL_CIRCLE_DEG, FULL_CIRCLE_DEG),
        "angle_max_deg": (-FULL_CIRCLE_DEG, FULL_CIRCLE_DEG),
    },
    "generators": {
        "power_min_mw": (-MOST_POWER, MOST_POWER),
        "power_max_mw": (-MOST_POWER, MOST_POWER),
        "reactive_min_mvar": (-MOST_POWER, MOST_POWER),
        "reactive_max_mvar": (-MOST_POWER, MOST_POWER),
        "cost_quadratic": (0.0, MOST_COST),
        "cost_linear": (-MOST_COST, MOST_COST),
        "cost_constant": (-MOST_COST, MOST_COST),
        "ramp_mw_h": (0.0, np.inf),
    },
    "storage": {
        "energy_min_mwh": (0.0, MOST_POWER),
        "energy_max_mwh": (0.0, MOST_POWER),
        "charge_max_mw": (0.0, MOST_POWER),
        "discharge_max_mw": (0.0, MOST_POWER),
        "charge_efficiency": (1e-3, 1.0),
        "discharge_efficiency": (1e-3, 1.0),
        "initial_mwh": (0.0, MOST_POWER),
        "final_min_mwh": (0.0, MOST_POWER),
    },
}
"""Table -> column -> least and most; where infinity is the most, it is allowed and means no limit."""

_ORDERED = (
    ("buses", "voltage_min", "voltage_max"),
    ("branches", "angle_min_deg", "angle_max_deg"),
    ("generators", "power_min_mw", "power_max_mw"),
    ("generators", "reactive_min_mvar", "reactive_max_mvar"),
    ("storage", "energy_min_mwh", "energy_max_mwh"),
    ("storage", "energy_min_mwh", "initial_mwh"),
    ("storage", "initial_mwh", "energy_max_mwh"),
    ("storage", "final_min_mwh", "energy_max_mwh"),
)
"""Columns of which the first must nowhere exceed the second."""


def _checked(instance: OptimalPowerFlow, faults: FaultList) -> dict[str, object]:
    """Record all that is wrong; return the fields with their arrays read-only."""
    tables = {
        "buses": _table(faults, "buses", instance.buses),
        "branches": _table(faults, "branches", instance.branches),
        "generators": _table(faults, "generators", instance.generators),
        "storage": _table(faults, "storage", instance.storage),
    }
    for name, low, high in (("base_mva", 1e-6, MOST_POWER), ("period_h", 1e-6, 1e6)):
        value = getattr(instance, name)
        fits = isinstance(value, int | float) and low <= value <= high
        faults.require(fits, name, f"must be a number from {low:g} to {high:g}", value)
    periods = len(instance.load_mw) if np.ndim(instance.load_mw) == 2 else 0
    faults.require(periods >= 1, "load_mw", "must have one row per period, at least one", np.shape(instance.load_mw))
    shape = (periods, len(instance.buses))

    def power(name: str, value: Floats, size: tuple[int, int]) -> Floats:
        array = faults.array(name, value, shape=size, lower=-MOST_POWER, upper=MOST_POWER)
        return array.astype(np.float64, copy=False)

    loads = {name: power(name, getattr(instance, name), shape) for name in ("load_mw", "load_mvar")}
    available = instance.available_mw
    if available is not None:
        available = power("available_mw", available, (periods, len(instance.generators)))
    if not faults.faults:
        _check_relations(tables, faults)
    if not faults.faults:
        _check_generators(instance.generators, faults)
        _check_available(instance.generators, available, faults)
        _check_islands(instance, faults)
    return {**tables, **loads, "available_mw": available}


def _table(faults: FaultList, prefix: str, table: Buses | Branches | Generators | StorageUnits) -> object:
    size = len(table.names)
    faults.unique(f"{prefix}.names", table.names)
    for position in [k for k, name in enumerate(table.names) if not isinstance(name, str) or not name][:_MOST_NAMED]:
        faults.add(f"{prefix}.names[{position}]", "must be a name", table.names[position])
    if prefix in {"buses", "generators"}:
        faults.require(size >= 1, prefix, "must hold at least one row")
    changes: dict[str, object] = {"names": tuple(table.names)}
    for column, (low, high) in _LIMITS[prefix].items():
        unlimited = bool(np.isinf(high))
        changes[column] = faults.array(
            f"{prefix}.{column}",
            getattr(table, column),
            shape=(size,),
            lower=low,
            upper=high,
            allow_infinite=unlimited,
        )
    for column in ("bus", "from_bus", "to_bus", "area", "reference"):
        if hasattr(table, column):
            dtype = np.bool_ if column == "reference" else np.int64
            name = f"{prefix}.{column}"
            changes[column] = faults.array(name, getattr(table, column), shape=(size,), dtype=dtype)
    if isinstance(table, Generators):
        faults.require(len(table.curves) == size, "generators.curves", f"must have {size} entries", len(table.curves))
        changes["curves"] = tuple(tuple((float(x), float(y)) for x, y in curve) for curve in table.curves)
    return replace(table, **changes)  # type: ignore[arg-type]


def _check_relations(tables: dict[str, object], faults: FaultList) -> None:
    for table, smaller, larger in _ORDERED:
        low, high = getattr(tables[table], smaller), getattr(tables[table], larger)
        for k in np.flatnonzero(low > high)[:_MOST_NAMED]:
            message = f"must be at most the {larger} of {high[k]:g}"
            faults.add(f"{table}.{smaller}[{k}]", message, float(low[k]), "the two are exchanged")
    size = len(tables["buses"])  # type: ignore[arg-type]
    places = (("branches", "from_bus"), ("branches", "to_bus"), ("generators", "bus"), ("storage", "bus"))
    for table, column in places:
        bus = getattr(tables[table], column)
        for k in np.flatnonzero((bus < 0) | (bus >= size))[:_MOST_NAMED]:
            faults.add(f"{table}.{column}[{k}]", f"must be a bus, 0 to {size - 1}", int(bus[k]))
    branches = tables["branches"]
    assert isinstance(branches, Branches)  # noqa: S101 for the type checker
    for k in np.flatnonzero(branches.from_bus == branches.to_bus)[:_MOST_NAMED]:
        faults.add(f"branches.to_bus[{k}]", "must be another bus than from_bus", int(branches.to_bus[k]))
    for k in np.flatnonzero(branches.reactance == 0.0)[:_MOST_NAMED]:
        hint = "merge the two buses, or 1e-4 for a very short line"
        faults.add(f"branches.reactance[{k}]", "must not be zero", 0.0, hint)
    for k in np.flatnonzero(branches.rate_mva == 0.0)[:_MOST_NAMED]:
        faults.add(f"branches.rate_mva[{k}]", "must be positive", 0.0, "infinity for a branch without limit")


def _check_generators(generators: Generators, faults: FaultList) -> None:
    for k, curve in enumerate(generators.curves):
        if not curve:
            continue
        points = np.array(curve)
        place = f"generators.curves[{k}]"
        polynomial = generators.cost_quadratic[k], generators.cost_linear[k], generators.cost_constant[k]
        faults.require(not any(polynomial), place, "comes with a polynomial cost", polynomial, "set that to zero")
        if len(curve) < 2 or not np.isfinite(points).all() or (np.diff(points[:, 0]) <= 0.0).any():
            faults.add(place, "must have two or more points with rising MW", curve)
            continue
        slopes = np.diff(points[:, 1]) / np.diff(points[:, 0])
        falls = np.diff(slopes) < -_CONVEX * max(1.0, float(np.abs(slopes).max()))
        if falls.any():
            hint = "its lower convex envelope"
            faults.add(place, "must be convex: its cost per MW falls", slopes.tolist(), hint)


def _check_available(generators: Generators, available: Floats | None, faults: FaultList) -> None:
    if available is None:
        return
    for t, k in np.argwhere(available < generators.power_min_mw)[:_MOST_NAMED]:
        message = f"must be at least the minimum output of {generators.power_min_mw[k]:g}"
        faults.add(f"available_mw[{t},{k}]", message, float(available[t, k]))


def _check_islands(instance: OptimalPowerFlow, faults: FaultList) -> None:
    buses, load = instance.buses, np.asarray(instance.load_mw)
    island = islands_of(len(buses), np.asarray(instance.branches.from_bus), np.asarray(instance.branches.to_bus))
    sources = np.zeros(int(island.max()) + 1, np.int64)
    np.add.at(sources, island[np.asarray(instance.generators.bus)], 1)
    references = np.bincount(island, weights=np.asarray(buses.reference), minlength=len(sources))
    for k in np.flatnonzero(sources == 0)[:_MOST_NAMED]:
        members = np.flatnonzero(island == k)
        most = float(load[:, members].sum(axis=1).max())
        message = f"belong to an island without a generator, with a load of {most:g} MW"
        hint = "take the buses out, or a branch to them is out of service by mistake"
        faults.add(_listed(buses.names, members), message, hint=hint)
    for k in np.flatnonzero((references == 0) & (sources > 0))[:_MOST_NAMED]:
        message = "belong to an island without a reference bus"
        members = np.flatnonzero(island == k)
        faults.add(_listed(buses.names, members), message, hint="make the bus of its largest generator the reference")
    for k in np.flatnonzero(references > 1)[:_MOST_NAMED]:
        members = np.flatnonzero((island == k) & np.asarray(buses.reference))
        faults.add(_listed(buses.names, members), "are several references of one island", hint="keep one of them")


def _listed(names: Sequence[str], members: Ints) -> str:
    shown = ", ".join(names[int(k)] for k in members[:_MOST_NAMED])
    more = f" and {len(members) - _MOST_NAMED} more" if len(members) > _MOST_NAMED else ""
    return f"{'buses' if len(members) > 1 else 'bus'} {shown}{more}"
