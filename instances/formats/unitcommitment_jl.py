"""UnitCommitment.jl: the JSON files of Argonne's package, versions 0.1 to 0.4, one scenario.

The keys are described in ``docs/src/guides/format.md`` of ANL-CEEESA/UnitCommitment.jl. Costs and ramps there are per
time step, times are in hours. What that package repairs with a warning is repaired here too: start-up delays and costs
that do not rise, cost curves that are not convex (a segment cheaper than the one before costs as much), a start-up
limit below the minimum output.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from apportion.instances.commitment import ProductionPoint, StartupCategory, ThermalUnit
from apportion.instances.errors import Fault, InstanceError
from apportion.instances.security_commitment import (
    FREE,
    Bus,
    Contingency,
    Line,
    PriceSensitiveLoad,
    ProfiledUnit,
    ReserveKind,
    ReserveProduct,
    SecurityConstrainedCommitment,
    SitedUnit,
    Storage,
)
from apportion.instances.validation import FaultList

if TYPE_CHECKING:
    from apportion.instances.reading import Source

Floats = NDArray[np.float64]

_UNLIMITED = 1e6
_NO_LINE_LIMIT = 1e8
_MOST_PERIODS = 10**5
_MOST_FAULTS = 100
_NEWEST = (0, 4)
_KEYS = {
    "buses": "Buses",
    "thermal": "Generators",
    "profiled": "Generators",
    "lines": "Transmission lines",
    "contingencies": "Contingencies",
    "storage": "Storage units",
    "loads": "Price-sensitive loads",
    "reserves": "Reserves",
    "bus": "Bus",
    "load_mw": "Load (MW)",
    "from_bus": "Source bus",
    "to_bus": "Target bus",
    "susceptance": "Susceptance (S)",
    "limit_mw": "Normal flow limit (MW)",
    "emergency_limit_mw": "Emergency flow limit (MW)",
    "overload_penalty": "Flow limit penalty ($/MW)",
    "units": "Reserve eligibility",
    "requirement_mw": "Amount (MW)",
    "shortfall_penalty": "Shortfall penalty ($/MW)",
    "fixed_commitment": "Commitment status",
    "demand_mw": "Demand (MW)",
    "revenue": "Revenue ($/MW)",
    "ramp_up_mw": "Ramp up limit (MW)",
    "ramp_down_mw": "Ramp down limit (MW)",
    "startup_limit_mw": "Startup limit (MW)",
    "shutdown_limit_mw": "Shutdown limit (MW)",
    "min_up_h": "Minimum uptime (h)",
    "min_down_h": "Minimum downtime (h)",
    "initial_power_mw": "Initial power (MW)",
    "initially_on": "Initial status (h)",
    "initial_up_h": "Initial status (h)",
    "initial_down_h": "Initial status (h)",
    "level_min_mwh": "Minimum level (MWh)",
    "level_max_mwh": "Maximum level (MWh)",
    "initial_mwh": "Initial level (MWh)",
    "last_min_mwh": "Last period minimum level (MWh)",
    "last_max_mwh": "Last period maximum level (MWh)",
    "charge_min_mw": "Minimum charge rate (MW)",
    "charge_max_mw": "Maximum charge rate (MW)",
    "discharge_min_mw": "Minimum discharge rate (MW)",
    "discharge_max_mw": "Maximum discharge rate (MW)",
    "charge_efficiency": "Charge efficiency",
    "discharge_efficiency": "Discharge efficiency",
    "loss": "Loss factor",
    "charge_cost": "Charge cost ($/MW)",
    "discharge_cost": "Discharge cost ($/MW)",
    "simultaneous": "Allow simultaneous charging and discharging",
    "curtailment_penalty": "Parameters.Power balance penalty ($/MW)",
}
"""Our field -> the key in the file."""


def place(kind: str, name: str, field_name: str) -> str:
    """Say where a fault lies in the words of the file."""
    head, _, index = field_name.partition("[")
    if head == "production":
        words = "Production cost curve ($)" if index.endswith("cost") else "Production cost curve (MW)"
    elif head == "startup":
        words = "Startup costs ($)" if index.endswith("cost") else "Startup delays (h)"
    elif kind == "contingencies":
        words = "Affected lines" if head == "lines" else head
    else:
        words = _KEYS.get(head, head)
    position = f"[{index.partition(']')[0]}]" if index else ""
    return ".".join(part for part in (_KEYS.get(kind, kind), name, words) if part) + position


def parse(text: str, source: Source) -> SecurityConstrainedCommitment:
    """Read a UnitCommitment.jl file.

    Raises
    ------
    InstanceError
        With every fault found, each at its path such as ``Generators.g1.Ramp up limit (MW)``.
    """
    where = str(source.path)
    reader = _Reader(_load(text, where), FaultList(where))
    parts = reader.parts()
    if reader.faults.faults:
        raise InstanceError(where, reader.faults.faults[:_MOST_FAULTS])
    try:
        return SecurityConstrainedCommitment(name=source.name, place=place, **parts)
    except InstanceError as error:
        raise InstanceError(where, error.faults[:_MOST_FAULTS]) from error


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys came twice."""

    repeated: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        found.repeated = tuple(sorted({key for key in keys if keys.count(key) > 1}))
    return found


def _load(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        hint = "the file is cut off" if error.pos >= len(text.rstrip()) - 1 else ""
        raise InstanceError(where, [Fault(at, f"is not JSON: {error.msg}", hint=hint)]) from error
    except (RecursionError, ValueError) as error:
        raise InstanceError(where, [Fault("", f"is not JSON that can be read: {error}")]) from error


class _Reader:
    """The sections of a file, one after another; what is wrong goes to ``faults`` and a harmless value stands in."""

    def __init__(self, data: Any, faults: FaultList) -> None:
        self.data = data
        self.faults = faults
        self.periods = 1
        self.per_hour = 1
        self.version: tuple[int, int] | None = None

    def parts(self) -> dict[str, Any]:
        """All that an instance consists of, by field."""
        if not isinstance(self.data, dict):
            self.faults.add("", "must be a JSON object", type(self.data).__name__)
            return {}
        for path in _repeated_keys(self.data, ""):
            self.faults.add(path, "appears twice in the same object")
        parameters = self._section("Parameters")
        self._clock(parameters)
        if self.faults.faults:
            return {}
        penalty = self._series(parameters, "Parameters", "Power balance penalty ($/MW)", 1000.0)
        buses = tuple(
            Bus(name, self._series(item, f"Buses.{name}", "Load (MW)")) for name, item in self._items("Buses")
        )
        self.faults.require("Generators" in self.data, "Generators", "is missing")
        self.faults.require("Buses" in self.data, "Buses", "is missing")
        thermal, profiled = self._generators()
        return {
            "period_h": 1.0 / self.per_hour,
            "buses": buses,
            "thermal": thermal,
            "profiled": profiled,
            "lines": tuple(self._line(name, item) for name, item in self._items("Transmission lines")),
            "contingencies": tuple(self._contingency(name, item) for name, item in self._items("Contingencies")),
            "storage": tuple(self._storage(name, item) for name, item in self._items("Storage units")),
            "loads": tuple(self._load(name, item) for name, item in self._items("Price-sensitive loads")),
            "reserves": self._reserves(parameters),
            "curtailment_penalty": penalty,
        }

    def _section(self, key: str) -> Mapping[str, Any]:
        value = self.data.get(key)
        if value is None:
            self.faults.require(key != "Parameters", key, "is missing")
            return {}
        if not isinstance(value, dict):
            self.faults.add(key, "must be an object", type(value).__name__)
            return {}
        return value

    def _items(self, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for name, item in self._section(key).items():
            if isinstance(item, dict):
                yield name, item
            else:
                self.faults.add(f"{key}.{name}", "must be an object", type(item).__name__)

    def _clock(self, parameters: Mapping[str, Any]) -> None:
        version = parameters.get("Version")
        if version is not None:
            numbers = str(version).split(".")[:2]
            if all(part.isdigit() and len(part) < 4 for part in numbers) and len(numbers) == 2:
                self.version = (int(numbers[0]), int(numbers[1]))
            known = self.version is not None and self.version <= _NEWEST
            self.faults.require(known, "Parameters.Version", "must be at most 0.4", version, "a newer reader is needed")
        keys = ("Time horizon (h)", "Time horizon (min)", "Time (h)")
        key = next((key for key in keys if key in parameters), keys[0])
        length, minutes = parameters.get(key), parameters.get("Time step (min)", 60)
        whole = _is_number(minutes) and minutes > 0 and 60 % minutes == 0
        self.faults.require(whole, "Parameters.Time step (min)", "must be a divisor of 60", minutes)
        periods = 0.0
        if _is_number(length) and _is_number(minutes) and whole:
            periods = length / minutes if key.endswith("(min)") else length * (60 / minutes)
            self.per_hour = int(60 // minutes)
        fits = float(periods).is_integer() and 1 <= periods <= _MOST_PERIODS
        message = f"must make a whole number of time steps from 1 to {_MOST_PERIODS}"
        self.faults.require(fits or not whole, f"Parameters.{key}", message, length)
        if fits:
            self.periods = int(periods)

    def _number(self, item: Mapping[str, Any], where: str, key: str, default: float | None = None) -> float:
        value = item.get(key)
        if value is None and default is not None:
            return default
        if not _is_number(value):
            message = "is missing" if value is None else "must be a finite number"
            self.faults.add(f"{where}.{key}", message, value)
            return 0.0
        return float(value)

    def _text(self, item: Mapping[str, Any], where: str, key: str) -> str:
        value = item.get(key)
        if not isinstance(value, str):
            self.faults.add(f"{where}.{key}", "is missing" if value is None else "must be a name", value)
            return ""
        return value

    def _series(self, item: Mapping[str, Any], where: str, key: str, default: float | None = None) -> Floats:
        """A number for all periods or a list with one for each."""
        value = item.get(key)
        if value is None and default is not None:
            return np.full(self.periods, default)
        if _is_number(value):
            return np.full(self.periods, float(value))
        if not isinstance(value, list):
            self.faults.add(f"{where}.{key}", "is missing" if value is None else "must be a number or a list", value)
        elif len(value) != self.periods:
            hint = "hours are missing or the horizon is wrong"
            self.faults.add(f"{where}.{key}", f"must have {self.periods} numbers, one per period", len(value), hint)
        elif not all(_is_number(number) for number in value):
            bad = next(t for t, number in enumerate(value) if not _is_number(number))
            self.faults.add(f"{where}.{key}[{bad}]", "must be a finite number", value[bad])
        else:
            return np.array(value, dtype=np.float64)
        return np.zeros(self.periods)

    def _flags(self, item: Mapping[str, Any], where: str, key: str, default: bool) -> NDArray[np.bool_]:
        value = item.get(key, default)
        values = value if isinstance(value, list) else [value] * self.periods
        if len(values) != self.periods or not all(isinstance(flag, bool) for flag in values):
            self.faults.add(f"{where}.{key}", f"must be true or false, or a list of {self.periods}", value)
            return np.zeros(self.periods, np.bool_)
        return np.array(values, dtype=np.bool_)

    def _numbers(self, item: Mapping[str, Any], where: str, key: str, default: Sequence[float] | None = None) -> Floats:
        value = item.get(key)
        if value is None and default is not None:
            return np.array(default, dtype=np.float64)
        if not isinstance(value, list) or not value:
            self.faults.add(f"{where}.{key}", "is missing" if value is None else "must be a list of numbers", value)
            return np.zeros(1)
        constant = [_constant(number) for number in value]
        for k, number in enumerate(constant):
            if number is None:
                self.faults.add(f"{where}.{key}[{k}]", "must be a number, the same in every period", value[k])
        return np.array([number or 0.0 for number in constant])

    def _generators(self) -> tuple[tuple[SitedUnit, ...], tuple[ProfiledUnit, ...]]:
        thermal, profiled = [], []
        for name, item in self._items("Generators"):
            where = f"Generators.{name}"
            kind = item.get("Type", "Thermal")
            if kind == "Thermal":
                thermal.append(self._thermal(name, where, item))
            elif kind == "Profiled":
                profiled.append(
                    ProfiledUnit(
                        name,
                        self._text(item, where, "Bus"),
                        self._series(item, where, "Minimum power (MW)", 0.0),
                        self._series(item, where, "Maximum power (MW)"),
                        self._series(item, where, "Cost ($/MW)"),
                    )
                )
            else:
                self.faults.add(f"{where}.Type", "must be Thermal or Profiled", kind)
        return tuple(thermal), tuple(profiled)

    def _thermal(self, name: str, where: str, item: Mapping[str, Any]) -> SitedUnit:
        production = self._production(where, item)
        least, most = production[0].power_mw, production[-1].power_mw
        status = self._number(item, where, "Initial status (h)") * self.per_hour
        zero = item.get("Initial status (h)") == 0
        self.faults.require(not zero, f"{where}.Initial status (h)", "must not be 0", 0)
        up, down = (self._hours(item, where, f"Minimum {word} (h)", 1.0) for word in ("uptime", "downtime"))
        flags = self._flags(item, where, "Must run?", default=False)
        fixed = self._fixed(where, item)
        if flags.any() and not flags.all():
            fixed = np.full(self.periods, FREE) if fixed is None else fixed
            fixed[flags] = 1
        on = status > 0.0
        unit = ThermalUnit(
            name=name,
            power_min_mw=least,
            power_max_mw=most,
            ramp_up_mw=self._number(item, where, "Ramp up limit (MW)", _UNLIMITED),
            ramp_down_mw=self._number(item, where, "Ramp down limit (MW)", _UNLIMITED),
            startup_limit_mw=max(least, self._number(item, where, "Startup limit (MW)", _UNLIMITED)),
            shutdown_limit_mw=self._number(item, where, "Shutdown limit (MW)", _UNLIMITED),
            min_up_h=up,
            min_down_h=down,
            initially_on=on,
            initial_power_mw=self._number(item, where, "Initial power (MW)") if on else 0.0,
            initial_up_h=round(status) if on else 0,
            initial_down_h=0 if on else round(-status),
            startup=self._startup(where, item, down),
            production=production,
            must_run=bool(flags.all()),
        )
        cost = self._number(item, where, "Shutdown cost ($)", 0.0)
        return SitedUnit(unit, self._text(item, where, "Bus"), fixed, cost)

    def _hours(self, item: Mapping[str, Any], where: str, key: str, default: float) -> int:
        return round(self._number(item, where, key, default) * self.per_hour)

    def _fixed(self, where: str, item: Mapping[str, Any]) -> NDArray[np.int64] | None:
        value = item.get("Commitment status")
        if value is None:
            return None
        known = isinstance(value, list) and all(state is None or isinstance(state, bool) for state in value)
        if not known or len(value) != self.periods:
            message = f"must be a list of {self.periods} of true, false and null"
            self.faults.add(f"{where}.Commitment status", message, value)
            return None
        return np.array([FREE if state is None else int(state) for state in value])

    def _production(self, where: str, item: Mapping[str, Any]) -> tuple[ProductionPoint, ...]:
        """The cost curve; points of no width are dropped, and it is made convex as the package does."""
        power = self._numbers(item, where, "Production cost curve (MW)")
        cost = self._numbers(item, where, "Production cost curve ($)")
        if len(power) != len(cost):
            message = "must have as many numbers as the curve of powers"
            self.faults.add(f"{where}.Production cost curve ($)", message, len(cost))
            return (ProductionPoint(0.0, 0.0),)
        points = [ProductionPoint(float(power[0]), float(cost[0]))]
        slope = -inf
        for k in range(1, len(power)):
            width = float(power[k] - power[k - 1])
            if width == 0.0:
                continue
            if width < 0.0:
                message = f"must be at least the {power[k - 1]:g} before"
                self.faults.add(f"{where}.Production cost curve (MW)[{k}]", message, float(power[k]))
                continue
            slope = max(slope, float(cost[k] - cost[k - 1]) / width)
            points.append(ProductionPoint(float(power[k]), points[-1].cost + slope * width))
        return tuple(points)

    def _startup(self, where: str, item: Mapping[str, Any], min_down: int) -> tuple[StartupCategory, ...]:
        delays = self._numbers(item, where, "Startup delays (h)", (1.0 / self.per_hour,)) * self.per_hour
        costs = self._numbers(item, where, "Startup costs ($)", (0.0,))
        if len(delays) != len(costs):
            self.faults.add(f"{where}.Startup costs ($)", "must have as many numbers as the delays", len(costs))
            return (StartupCategory(1, 0.0),)
        found = [StartupCategory(min(round(delays[0]), max(1, min_down)), float(costs[0]))]
        for delay, cost in zip(delays[1:], costs[1:], strict=True):
            lag = max(round(delay), found[-1].lag_h + 1)
            found.append(StartupCategory(lag, max(float(cost), found[-1].cost)))
        return tuple(found)

    def _line(self, name: str, item: Mapping[str, Any]) -> Line:
        where = f"Transmission lines.{name}"
        reactance = item.get("Reactance (ohms)")
        if _is_number(reactance):
            self.faults.require(reactance != 0, f"{where}.Reactance (ohms)", "must not be 0", reactance)
        return Line(
            name,
            self._text(item, where, "Source bus"),
            self._text(item, where, "Target bus"),
            self._number(item, where, "Susceptance (S)"),
            self._limit(item, where, "Normal flow limit (MW)"),
            self._limit(item, where, "Emergency flow limit (MW)"),
            self._series(item, where, "Flow limit penalty ($/MW)", 5000.0),
        )

    def _limit(self, item: Mapping[str, Any], where: str, key: str) -> Floats:
        limit = self._series(item, where, key, _NO_LINE_LIMIT)
        return np.where(limit >= _NO_LINE_LIMIT, inf, limit)

    def _contingency(self, name: str, item: Mapping[str, Any]) -> Contingency:
        where = f"Contingencies.{name}"
        lines, units = item.get("Affected lines", []), item.get("Affected units", [])
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            self.faults.add(f"{where}.Affected lines", "must be a list of names", lines)
            lines = []
        hint = "leave it out: the package does not enforce it either"
        self.faults.require(not units, f"{where}.Affected units", "must be empty", units, hint)
        return Contingency(name, tuple(lines))

    def _load(self, name: str, item: Mapping[str, Any]) -> PriceSensitiveLoad:
        where = f"Price-sensitive loads.{name}"
        demand, revenue = (self._series(item, where, key) for key in ("Demand (MW)", "Revenue ($/MW)"))
        return PriceSensitiveLoad(name, self._text(item, where, "Bus"), demand, revenue)

    def _storage(self, name: str, item: Mapping[str, Any]) -> Storage:
        where = f"Storage units.{name}"
        least = self._series(item, where, "Minimum level (MWh)", 0.0)
        most = self._series(item, where, "Maximum level (MWh)")
        rates = {
            f"{word}_{end}_mw": self._series(item, where, f"{title} {word} rate (MW)", 0.0 if end == "min" else None)
            for word in ("charge", "discharge")
            for end, title in (("min", "Minimum"), ("max", "Maximum"))
        }
        shares = {
            f"{word}_efficiency": self._series(item, where, f"{word.capitalize()} efficiency", 1.0)
            for word in ("charge", "discharge")
        }
        costs = {
            f"{word}_cost": self._series(item, where, f"{word.capitalize()} cost ($/MW)")
            for word in ("charge", "discharge")
        }
        return Storage(
            name=name,
            bus=self._text(item, where, "Bus"),
            level_min_mwh=least,
            level_max_mwh=most,
            initial_mwh=self._number(item, where, "Initial level (MWh)", 0.0),
            last_min_mwh=self._number(item, where, "Last period minimum level (MWh)", float(least[-1])),
            last_max_mwh=self._number(item, where, "Last period maximum level (MWh)", float(most[-1])),
            loss=self._series(item, where, "Loss factor", 0.0),
            simultaneous=self._flags(item, where, "Allow simultaneous charging and discharging", default=True),
            **rates,
            **shares,
            **costs,
        )

    def _reserves(self, parameters: Mapping[str, Any]) -> tuple[ReserveProduct, ...]:
        default = parameters.get("Reserve shortfall penalty ($/MW)")
        section = self._section("Reserves")
        if self.version is None or self.version < (0, 3):
            return self._one_reserve(section, _penalty(default))
        eligible: dict[str, list[str]] = {}
        for name, item in self._items("Generators"):
            products = item.get("Reserve eligibility", [])
            if not isinstance(products, list) or not all(product in section for product in products):
                where = f"Generators.{name}.Reserve eligibility"
                self.faults.add(where, "must be a list of names from Reserves", products)
                continue
            for product in products:
                eligible.setdefault(product, []).append(name)
        found: list[ReserveProduct] = []
        for name, item in self._items("Reserves"):
            found += self._product(name, item, tuple(eligible.get(name, ())), _penalty(default))
        return tuple(found)

    def _one_reserve(self, section: Mapping[str, Any], penalty: float | None) -> tuple[ReserveProduct, ...]:
        """The spinning reserve of the whole system, as the old versions have it."""
        amount = self._series(section, "Reserves", "Spinning (MW)", 0.0)
        if not amount.any():
            return ()
        default = self.version is None  # the first version took every unit that does not refuse
        key = "Provides spinning reserves?"
        units = tuple(name for name, item in self._items("Generators") if item.get(key, default) is True)
        return (ReserveProduct("spinning", ReserveKind.SPINNING, amount, units, penalty),)

    def _product(
        self, name: str, item: Mapping[str, Any], units: tuple[str, ...], penalty: float | None
    ) -> list[ReserveProduct]:
        where = f"Reserves.{name}"
        amount = self._series(item, where, "Amount (MW)")
        own = item.get("Shortfall penalty ($/MW)")
        cost = penalty if own is None else _penalty(own)
        kind = str(item.get("Type", "spinning")).lower()
        if kind == "spinning":
            return [ReserveProduct(name, ReserveKind.SPINNING, amount, units, cost)]
        if kind in ("flexiramp", "up-flexiramp", "down-flexiramp"):
            both = (("up", ReserveKind.FLEXIBLE_UP), ("down", ReserveKind.FLEXIBLE_DOWN))
            return [
                ReserveProduct(f"{name}-{word}", direction, amount, units, cost)
                for word, direction in both
                if kind in ("flexiramp", f"{word}-flexiramp")
            ]
        self.faults.add(f"{where}.Type", "must be spinning or flexiramp", item.get("Type"))
        return []


def _penalty(value: Any) -> float | None:
    """A negative penalty makes the requirement hard."""
    return float(value) if _is_number(value) and value >= 0.0 else None


def _constant(value: Any) -> float | None:
    """A number, or the one that a list repeats."""
    if isinstance(value, list) and value and all(_is_number(number) and number == value[0] for number in value):
        return float(value[0])
    return float(value) if _is_number(value) else None


def _is_number(value: Any) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= 1e15 if isinstance(value, int) else isfinite(value)


def _repeated_keys(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Object):
        for key in value.repeated:
            yield f"{path}.{key}" if path else key
        for key, inner in value.items():
            if isinstance(inner, dict):
                yield from _repeated_keys(inner, f"{path}.{key}" if path else key)
