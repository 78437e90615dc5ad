"""Unit commitment: which thermal units run in which hour, and how much each of them produces.

The words and the meaning of each number are those of the pglib-uc library; a period lasts one hour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Json, Sense
from apportion.instances.errors import Fault, PlanError
from apportion.instances.validation import FaultList

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Place = Callable[[str, str, str], str]

MOST_POWER_MW = 1e7
MOST_COST = 1e12
MOST_HOURS = 10**6
PERIOD_H = 1.0
"""Length of a period in hours."""

_RELATIVE = 1e-6


@dataclass(frozen=True)
class StartupCategory:
    """A start that follows at least ``lag_h`` hours off, and less than the next category's, costs ``cost``."""

    lag_h: int
    cost: float


@dataclass(frozen=True)
class ProductionPoint:
    """Running for an hour at ``power_mw`` costs ``cost``; between two points the cost is linear."""

    power_mw: float
    cost: float


@dataclass(frozen=True)
class ThermalUnit:
    """A unit that is on or off.

    Parameters
    ----------
    name
        Unique among all units.
    power_min_mw, power_max_mw
        Output while on.
    ramp_up_mw, ramp_down_mw
        Most change of output (above the minimum) from one hour to the next; reserve counts upwards.
    startup_limit_mw, shutdown_limit_mw
        Most output plus reserve in the first and in the last hour of a run.
    min_up_h, min_down_h
        Shortest run, shortest stop.
    initially_on, initial_power_mw, initial_up_h, initial_down_h
        State in the hour before the first, and for how many hours it has lasted.
    startup
        Categories from hottest to coldest.
    production
        Points of the hourly cost from ``power_min_mw`` to ``power_max_mw``, convex.
    must_run
        Whether it has to be on in every period.
    """

    name: str
    power_min_mw: float
    power_max_mw: float
    ramp_up_mw: float
    ramp_down_mw: float
    startup_limit_mw: float
    shutdown_limit_mw: float
    min_up_h: int
    min_down_h: int
    initially_on: bool
    initial_power_mw: float
    initial_up_h: int
    initial_down_h: int
    startup: tuple[StartupCategory, ...]
    production: tuple[ProductionPoint, ...]
    must_run: bool = False


@dataclass(frozen=True, eq=False)
class RenewableUnit:
    """A source that gives anything between two profiles, shape (periods,), at no cost."""

    name: str
    power_min_mw: Floats
    power_max_mw: Floats


def _plain_place(kind: str, unit: str, field_name: str) -> str:
    return f"{kind}[{unit}].{field_name}" if unit else kind


@dataclass(frozen=True, eq=False)
class UnitCommitment:
    """Meet the demand of each hour at least cost, with spinning reserve to spare.

    Parameters
    ----------
    name
        What to call it.
    demand_mw, reserve_mw
        Load and spinning reserve required, shape (periods,).
    thermal, renewable
        The units.

    Raises
    ------
    InstanceError
        With every fault found: shapes, numbers out of range, contradictions between limits and initial state.
    """

    problem: ClassVar[str] = "unit-commitment"
    name: str
    demand_mw: Floats
    reserve_mw: Floats
    thermal: tuple[ThermalUnit, ...]
    renewable: tuple[RenewableUnit, ...] = ()

    def __post_init__(self) -> None:
        """Check everything once; the arrays become read-only."""
        faults = FaultList(self.name or "unit commitment")
        demand, reserve, renewable = collect_faults(
            faults, self.demand_mw, self.reserve_mw, self.thermal, self.renewable, _plain_place
        )
        faults.raise_if_any()
        object.__setattr__(self, "demand_mw", demand)
        object.__setattr__(self, "reserve_mw", reserve)
        object.__setattr__(self, "renewable", renewable)
        object.__setattr__(self, "thermal", tuple(self.thermal))

    @property
    def sense(self) -> Sense:
        """Cost is to be low."""
        return Sense.MINIMISE

    @property
    def num_periods(self) -> int:
        """How many hours are planned."""
        return len(self.demand_mw)

    @property
    def num_units(self) -> int:
        """How many thermal units there are."""
        return len(self.thermal)

    @property
    def unit_names(self) -> tuple[str, ...]:
        """Names of the thermal units, in order."""
        return tuple(unit.name for unit in self.thermal)

    @property
    def renewable_names(self) -> tuple[str, ...]:
        """Names of the renewable units, in order."""
        return tuple(unit.name for unit in self.renewable)

    def summary(self) -> dict[str, object]:
        """What it is in a few figures."""
        return {
            "periods": self.num_periods,
            "thermal units": self.num_units,
            "must-run units": sum(unit.must_run for unit in self.thermal),
            "units on at the start": sum(unit.initially_on for unit in self.thermal),
            "start-up categories": sum(len(unit.startup) for unit in self.thermal),
            "renewable units": len(self.renewable),
            "thermal capacity (MW)": round(sum(unit.power_max_mw for unit in self.thermal), 3),
            "demand, least and most (MW)": (float(self.demand_mw.min()), float(self.demand_mw.max())),
            "reserve, most (MW)": float(self.reserve_mw.max()),
            "renewable energy (MWh)": round(float(sum(unit.power_max_mw.sum() for unit in self.renewable)), 3),
        }


def collect_faults(
    faults: FaultList,
    demand_mw: Floats,
    reserve_mw: Floats,
    thermal: Sequence[ThermalUnit],
    renewable: Sequence[RenewableUnit],
    place: Place,
) -> tuple[Floats, Floats, tuple[RenewableUnit, ...]]:
    """Record all that is wrong, and return the arrays checked and read-only.

    ``place(kind, unit, field)`` says where a fault lies; kinds are ``demand_mw``, ``reserve_mw`` (then unit and field
    are empty), ``thermal`` and ``renewable``. A reader passes one that speaks the words of its file.
    """
    demand = _profile(faults, place("demand_mw", "", ""), demand_mw, None)
    faults.require(len(demand) >= 1, place("demand_mw", "", ""), "must have at least one period")
    shape = (len(demand),)
    reserve = _profile(faults, place("reserve_mw", "", ""), reserve_mw, shape)
    names = [("thermal", unit.name) for unit in thermal] + [("renewable", unit.name) for unit in renewable]
    _check_names(faults, names, place)
    faults.require(len(names) >= 1, place("thermal", "", ""), "must hold at least one unit")
    for unit in thermal:
        _check_unit(faults, unit, place)
    checked = tuple(_checked_renewable(faults, unit, shape, place) for unit in renewable)
    return demand, reserve, checked


def _profile(faults: FaultList, name: str, values: Floats, shape: tuple[int, ...] | None) -> Floats:
    checked = faults.array(name, values, shape=shape, lower=0.0, upper=MOST_POWER_MW)
    if checked.ndim != 1:
        faults.add(name, "must be a list of numbers, one per period", checked.shape)
        return np.zeros(0)
    return checked.astype(np.float64, copy=False)


def _check_names(faults: FaultList, names: Sequence[tuple[str, str]], place: Place) -> None:
    seen: set[str] = set()
    for kind, name in names:
        faults.require(bool(name), place(kind, name, "name"), "must not be empty")
        faults.require(name not in seen, place(kind, name, "name"), "is the name of another unit", name)
        seen.add(name)


def _checked_renewable(faults: FaultList, unit: RenewableUnit, shape: tuple[int, ...], place: Place) -> RenewableUnit:
    least_place = place("renewable", unit.name, "power_min_mw")
    least = _profile(faults, least_place, unit.power_min_mw, shape)
    most = _profile(faults, place("renewable", unit.name, "power_max_mw"), unit.power_max_mw, shape)
    if least.shape == most.shape:
        for t in np.flatnonzero(least > most)[:3]:
            faults.add(f"{least_place}[{t}]", f"must be at most the maximum of {most[t]:g}", float(least[t]))
    return RenewableUnit(unit.name, least, most)


_NUMBERS = {
    "power_min_mw": (0.0, MOST_POWER_MW),
    "power_max_mw": (0.0, MOST_POWER_MW),
    "ramp_up_mw": (0.0, MOST_POWER_MW),
    "ramp_down_mw": (0.0, MOST_POWER_MW),
    "startup_limit_mw": (0.0, MOST_POWER_MW),
    "shutdown_limit_mw": (0.0, MOST_POWER_MW),
    "initial_power_mw": (0.0, MOST_POWER_MW),
    "min_up_h": (0, MOST_HOURS),
    "min_down_h": (0, MOST_HOURS),
    "initial_up_h": (0, MOST_HOURS),
    "initial_down_h": (0, MOST_HOURS),
}


def _check_unit(faults: FaultList, unit: ThermalUnit, place: Place) -> None:
    def where(field_name: str) -> str:
        return place("thermal", unit.name, field_name)

    sound = True
    for name, (lower, upper) in _NUMBERS.items():
        value = getattr(unit, name)
        fits = lower <= value <= upper  # false for NaN
        sound = sound and fits
        faults.require(fits, where(name), f"must be a number from {lower:g} to {upper:g}", value)
    if not sound:
        return
    faults.require(
        unit.power_min_mw <= unit.power_max_mw,
        where("power_min_mw"),
        f"must be at most the maximum of {unit.power_max_mw:g}",
        unit.power_min_mw,
        "the two are exchanged",
    )
    _check_initial_state(faults, unit, where)
    _check_startup(faults, unit, where)
    _check_production(faults, unit, where)


def _check_initial_state(faults: FaultList, unit: ThermalUnit, where: Callable[[str], str]) -> None:
    if unit.initially_on:
        slack = _RELATIVE * max(1.0, unit.power_max_mw)
        inside = unit.power_min_mw - slack <= unit.initial_power_mw <= unit.power_max_mw + slack
        span = f"{unit.power_min_mw:g} to {unit.power_max_mw:g}"
        faults.require(
            inside, where("initial_power_mw"), f"must lie in {span} as the unit is on", unit.initial_power_mw
        )
        message = "must be at least 1 as the unit is on"
        faults.require(unit.initial_up_h >= 1, where("initial_up_h"), message, unit.initial_up_h)
        message = "must be 0 as the unit is on"
        faults.require(unit.initial_down_h == 0, where("initial_down_h"), message, unit.initial_down_h)
        return
    message = "must be 0 as the unit is off"
    faults.require(unit.initial_power_mw == 0.0, where("initial_power_mw"), message, unit.initial_power_mw)
    faults.require(unit.initial_up_h == 0, where("initial_up_h"), message, unit.initial_up_h)
    message = "must be at least 1 as the unit is off"
    faults.require(unit.initial_down_h >= 1, where("initial_down_h"), message, unit.initial_down_h)
    able = not unit.must_run or unit.initial_down_h >= unit.min_down_h
    message = f"contradicts a minimum stop of {unit.min_down_h} h of which {unit.initial_down_h} h have passed"
    faults.require(able, where("must_run"), message, unit.must_run, "the unit should be on at the start")


def _check_startup(faults: FaultList, unit: ThermalUnit, where: Callable[[str], str]) -> None:
    if not unit.startup:
        faults.add(where("startup"), "must hold at least one category")
        return
    sound = True
    for s, category in enumerate(unit.startup):
        fits = 0 <= category.lag_h <= MOST_HOURS
        faults.require(fits, where(f"startup[{s}].lag_h"), f"must lie in 0..{MOST_HOURS}", category.lag_h)
        priced = 0.0 <= category.cost <= MOST_COST
        faults.require(priced, where(f"startup[{s}].cost"), f"must be a number from 0 to {MOST_COST:g}", category.cost)
        sound = sound and fits and priced
    if not sound:
        return
    for s in range(1, len(unit.startup)):
        before, category = unit.startup[s - 1], unit.startup[s]
        message = f"must be more than the {before.lag_h} h of the category before"
        faults.require(category.lag_h > before.lag_h, where(f"startup[{s}].lag_h"), message, category.lag_h)
        message = f"must be at least the {before.cost:g} of the hotter category before"
        faults.require(category.cost >= before.cost, where(f"startup[{s}].cost"), message, category.cost)
    first = unit.startup[0].lag_h
    message = f"must be at most the minimum stop of {unit.min_down_h} h: a start sooner would have no category"
    faults.require(first <= max(1, unit.min_down_h), where("startup[0].lag_h"), message, first)


def _check_production(faults: FaultList, unit: ThermalUnit, where: Callable[[str], str]) -> None:
    if not unit.production:
        faults.add(where("production"), "must hold at least one point")
        return
    sound = True
    for k, point in enumerate(unit.production):
        fits = 0.0 <= point.power_mw <= MOST_POWER_MW
        message = f"must be a number from 0 to {MOST_POWER_MW:g}"
        faults.require(fits, where(f"production[{k}].power_mw"), message, point.power_mw)
        priced = -MOST_COST <= point.cost <= MOST_COST
        message = f"must be a number from {-MOST_COST:g} to {MOST_COST:g}"
        faults.require(priced, where(f"production[{k}].cost"), message, point.cost)
        sound = sound and fits and priced
    for k in range(1, len(unit.production)):
        before, power = unit.production[k - 1].power_mw, unit.production[k].power_mw
        rises = power > before
        sound = sound and rises
        message = f"must be more than the {before:g} of the point before"
        faults.require(rises, where(f"production[{k}].power_mw"), message, power)
    if sound:
        _check_cost_curve(faults, unit, where)


def _check_cost_curve(faults: FaultList, unit: ThermalUnit, where: Callable[[str], str]) -> None:
    slack = _RELATIVE * max(1.0, unit.power_max_mw)
    last = len(unit.production) - 1
    ends = ((0, "minimum", unit.power_min_mw), (last, "maximum", unit.power_max_mw))
    for k, word, expected in ends:
        power = unit.production[k].power_mw
        message = f"must equal the {word} output of {expected:g}"
        faults.require(abs(power - expected) <= slack, where(f"production[{k}].power_mw"), message, power)
    slopes = marginal_costs(unit)
    if len(slopes) < 2:
        return
    drop = np.diff(slopes) < -_RELATIVE * max(1.0, float(np.abs(slopes).max()))
    for k in np.flatnonzero(drop)[:3]:
        message = f"makes the cost per MW fall from {slopes[k]:g}: the curve must be convex"
        hint = "its lower convex envelope, which is what linear models price"
        faults.add(where(f"production[{k + 2}].cost"), message, float(slopes[k + 1]), hint)


def marginal_costs(unit: ThermalUnit) -> Floats:
    """Cost per MW of each segment between two production points."""
    power = np.array([point.power_mw for point in unit.production])
    cost = np.array([point.cost for point in unit.production])
    return np.diff(cost) / np.diff(power)


@dataclass(frozen=True, eq=False)
class Commitment:
    """The answer: for each unit and hour whether it is on, what it produces, what it holds in reserve.

    Parameters
    ----------
    unit_names, renewable_names
        The rows of the arrays.
    committed
        On or off, shape (units, periods).
    power_mw, reserve_mw
        Output and spinning reserve, shape (units, periods).
    renewable_mw
        Output used, shape (renewable units, periods).
    """

    problem: ClassVar[str] = "unit-commitment"
    unit_names: tuple[str, ...]
    renewable_names: tuple[str, ...]
    committed: Bools
    power_mw: Floats
    reserve_mw: Floats
    renewable_mw: Floats

    def __post_init__(self) -> None:
        """Check shapes; the arrays become read-only."""
        faults = FaultList("commitment")
        periods = np.shape(self.committed)[-1] if np.ndim(self.committed) == 2 else 0
        shapes = {
            "committed": (len(self.unit_names), periods),
            "power_mw": (len(self.unit_names), periods),
            "reserve_mw": (len(self.unit_names), periods),
            "renewable_mw": (len(self.renewable_names), periods),
        }
        for name, shape in shapes.items():
            dtype = np.bool_ if name == "committed" else np.float64
            object.__setattr__(self, name, faults.array(name, getattr(self, name), shape=shape, dtype=dtype))
        faults.unique("unit_names", (*self.unit_names, *self.renewable_names))
        if faults.faults:
            raise PlanError(faults.source, faults.faults)

    def __eq__(self, other: object) -> bool:
        """Equal names and equal numbers."""
        if not isinstance(other, Commitment):
            return NotImplemented
        mine, theirs = ([getattr(plan, field.name) for field in fields(self)] for plan in (self, other))
        return all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))

    __hash__ = None  # type: ignore[assignment]

    @property
    def num_periods(self) -> int:
        """How many hours it covers."""
        return int(self.committed.shape[1])

    def to_dict(self) -> Json:
        """JSON-ready data: one row per unit under its name."""
        return {
            "committed": _by_name(self.unit_names, self.committed.astype(int)),
            "power_mw": _by_name(self.unit_names, self.power_mw),
            "reserve_mw": _by_name(self.unit_names, self.reserve_mw),
            "renewable_mw": _by_name(self.renewable_names, self.renewable_mw),
            "periods": self.num_periods,
        }

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Rebuild from :meth:`to_dict`; raise :class:`PlanError` with all that is wrong."""
        faults: list[Fault] = []
        periods = data.get("periods")
        if type(periods) is not int or not 0 <= periods <= MOST_HOURS:
            raise PlanError("plan", [Fault("periods", f"must be a whole number from 0 to {MOST_HOURS}", periods)])
        tables = {key: _table(data, key, periods, faults) for key in ("committed", "power_mw", "reserve_mw")}
        renewable = _table(data, "renewable_mw", periods, faults)
        names = tuple(tables["committed"])
        for key in ("power_mw", "reserve_mw"):
            if tables[key].keys() != tables["committed"].keys() and not faults:
                faults.append(Fault(key, "must have the same units as committed"))
        faults.extend(
            Fault(f"committed.{name}", "must hold only 0 and 1")
            for name, row in tables["committed"].items()
            if any(value not in (0, 1) for value in row)
        )
        if faults:
            raise PlanError("plan", faults)
        return cls(
            names,
            tuple(renewable),
            _stacked(tables["committed"], names, periods).astype(np.bool_),
            _stacked(tables["power_mw"], names, periods),
            _stacked(tables["reserve_mw"], names, periods),
            _stacked(renewable, tuple(renewable), periods),
        )

    def aligned_to(self, instance: UnitCommitment) -> Self:
        """The same plan with its rows in the instance's order; raise :class:`PlanError` if it is for other units."""
        faults = [
            *_missing("committed", self.unit_names, instance.unit_names),
            *_missing("renewable_mw", self.renewable_names, instance.renewable_names),
        ]
        if self.num_periods != instance.num_periods:
            faults.append(Fault("periods", f"must be the {instance.num_periods} of the instance", self.num_periods))
        if faults:
            raise PlanError(instance.name, faults)
        units = [self.unit_names.index(name) for name in instance.unit_names]
        renewables = [self.renewable_names.index(name) for name in instance.renewable_names]
        return type(self)(
            instance.unit_names,
            instance.renewable_names,
            self.committed[units],
            self.power_mw[units],
            self.reserve_mw[units],
            self.renewable_mw[renewables],
        )


def _by_name(names: Sequence[str], rows: NDArray[Any]) -> dict[str, list[float]]:
    return dict(zip(names, rows.tolist(), strict=True))


def _stacked(table: Mapping[str, list[float]], names: Sequence[str], periods: int) -> Floats:
    return np.array([table[name] for name in names], dtype=np.float64).reshape(len(names), periods)


def _table(data: Json, key: str, periods: int, faults: list[Fault]) -> dict[str, list[float]]:
    rows = data.get(key)
    if not isinstance(rows, dict):
        faults.append(Fault(key, "must map unit names to lists of numbers", rows))
        return {}
    good: dict[str, list[float]] = {}
    for name, row in rows.items():
        if not isinstance(row, list) or len(row) != periods or not all(_is_number(value) for value in row):
            faults.append(Fault(f"{key}.{name}", f"must be a list of {periods} finite numbers", row))
        else:
            good[str(name)] = [float(value) for value in row]
    return good


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_COST


def _missing(place: str, mine: Sequence[str], theirs: Sequence[str]) -> list[Fault]:
    unknown = sorted(set(mine) - set(theirs))
    absent = sorted(set(theirs) - set(mine))
    return [Fault(place, "names no unit of this instance", name) for name in unknown[:5]] + [
        Fault(place, "lacks a unit of this instance", name) for name in absent[:5]
    ]
