"""Egret's JSON files of unit commitment (``ModelData``), as far as our two problems of commitment go.

A file with one bus, and nothing that needs more, is a :class:`~apportion.instances.commitment.UnitCommitment`: demand
and reserve must be met, as with Egret's slack type NONE. Every other file is a
:class:`~apportion.instances.security_commitment.SecurityConstrainedCommitment` with the penalties of the file, as with
its slack type BUS_BALANCE. Quadratic costs are two pieces, as in Egret; units and loads out of service are left out.

Not supported, each an error that names it: interfaces, security constraints, contingencies, storage, direct-current
branches, shunts, fuel supplies and second fuels, virtual bids, start-up and shut-down curves, planned future states,
values of thermal units that change over time, periods of other than an hour, and reserve products besides
``reserve_requirement``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil, inf, isfinite
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from apportion.instances.commitment import (
    Floats,
    ProductionPoint,
    RenewableUnit,
    StartupCategory,
    ThermalUnit,
    UnitCommitment,
)
from apportion.instances.errors import Fault, InstanceError
from apportion.instances.security_commitment import (
    FREE,
    Bus,
    Line,
    PriceSensitiveLoad,
    ProfiledUnit,
    ReserveKind,
    ReserveProduct,
    SecurityConstrainedCommitment,
    SitedUnit,
)
from apportion.instances.validation import FaultList

if TYPE_CHECKING:
    from apportion.instances.reading import Source

Instance = UnitCommitment | SecurityConstrainedCommitment
Table = Mapping[str, Any]

_UNSUPPORTED = (
    "interface",
    "security_constraint",
    "contingency",
    "storage",
    "dc_branch",
    "shunt",
    "fuel_supply",
)
_PRODUCTS = (
    "spinning_reserve_requirement",
    "non_spinning_reserve_requirement",
    "regulation_up_requirement",
    "regulation_down_requirement",
    "supplemental_reserve_requirement",
    "flexible_ramp_up_requirement",
    "flexible_ramp_down_requirement",
)
_NOT_OF_A_UNIT = (
    "aux_fuel_capable",
    "aux_fuel",
    "aux_fuel_supply",
    "fuel_supply",
    "startup_curve",
    "shutdown_curve",
    "future_status",
    "initial_freq",
)
_DEFAULT_MISMATCH = 1e6
_SHORTFALL_SHARE = 0.1
_LEAST_ANGLE = 90.0
_PIECES = 2
_MOST_HOURS = 1e6


def parse(text: str, source: Source) -> Instance:
    """Read an Egret file.

    Raises
    ------
    InstanceError
        With every fault found, each at its path such as ``elements.generator.GEN1.p_max``.
    """
    where = str(source.path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InstanceError(where, [Fault("", f"is not JSON: {error}")]) from error
    reader = _Reader(where, data)
    reader.faults.raise_if_any()
    return reader.instance(source.name)


class _Reader:
    """One file: the number of its periods, and everything wrong with it."""

    def __init__(self, where: str, data: Any) -> None:
        self.where = where
        self.faults = FaultList(where)
        self.system = self._table(data, "system", "")
        self.elements = self._table(data, "elements", "")
        keys = self.system.get("time_keys")
        self.periods = len(keys) if isinstance(keys, list) else 0
        self.faults.require(self.periods >= 1, "system.time_keys", "must list the periods", keys)
        minutes = self.system.get("time_period_length_minutes", 60)
        self.faults.require(minutes == 60, "system.time_period_length_minutes", "must be 60 here", minutes)

    def instance(self, name: str) -> Instance:
        """The problem that the file needs."""
        self._refuse_what_is_not_supported()
        buses = self._group("bus")
        loads = {key: load for key, load in self._group("load").items() if self._serves(load)}
        units = {key: unit for key, unit in self._group("generator").items() if self._serves(unit)}
        thermal, profiled = [], []
        for key, unit in units.items():
            kind = unit.get("generator_type")
            if kind == "thermal":
                thermal.append(self._thermal(key, unit))
            elif kind == "renewable":
                profiled.append(self._profiled(key, unit))
            else:
                self.faults.add(f"elements.generator.{key}.generator_type", "must be thermal or renewable", kind)
        fixed = self._loads_by_bus(buses, loads)
        responsive = [self._responsive(key, load) for key, load in loads.items() if self._is_responsive(load)]
        lines = [self._line(key, branch) for key, branch in self._group("branch").items() if self._serves(branch)]
        reserve = self._series(self.system.get("reserve_requirement", 0.0), "system.reserve_requirement")
        self.faults.raise_if_any()
        simple = not any(np.any(unit.cost) for unit in profiled) and not responsive and not lines and len(buses) == 1
        if simple and all(sited.fixed_commitment is None and not sited.shutdown_cost for sited in thermal):
            sources = tuple(RenewableUnit(u.name, u.power_min_mw, u.power_max_mw) for u in profiled)
            demand = np.sum([*fixed.values()], axis=0)
            return UnitCommitment(name, demand, reserve, tuple(sited.unit for sited in thermal), sources)
        return self._secure(name, fixed, thermal, profiled, responsive, lines, reserve)

    def _secure(
        self,
        name: str,
        fixed: Mapping[str, Floats],
        thermal: Sequence[SitedUnit],
        profiled: Sequence[ProfiledUnit],
        responsive: Sequence[PriceSensitiveLoad],
        lines: Sequence[Line],
        reserve: Floats,
    ) -> SecurityConstrainedCommitment:
        mismatch = self._number(self.system, "load_mismatch_cost", "system", default=_DEFAULT_MISMATCH)
        share = _SHORTFALL_SHARE * mismatch
        shortfall = self._number(self.system, "reserve_shortfall_cost", "system", default=share)
        self.faults.raise_if_any()
        names = tuple(sited.name for sited in thermal)
        product = ReserveProduct("reserve_requirement", ReserveKind.SPINNING, reserve, names, shortfall)
        return SecurityConstrainedCommitment(
            name=name,
            period_h=1.0,
            buses=tuple(Bus(bus, load) for bus, load in fixed.items()),
            thermal=tuple(thermal),
            lines=tuple(lines),
            profiled=tuple(profiled),
            loads=tuple(responsive),
            reserves=(product,) if reserve.any() else (),
            curtailment_penalty=np.full(self.periods, mismatch),
            surplus_penalty=np.full(self.periods, mismatch),
            reserve_counts_at_shutdown=True,
        )

    def _refuse_what_is_not_supported(self) -> None:
        for group in _UNSUPPORTED:
            for key in list(self._group(group))[:1]:
                self.faults.add(f"elements.{group}.{key}", "is of a kind that is not supported")
        owners = [("system", self.system)]
        owners += [
            (f"elements.{kind}.{key}", row) for kind in ("area", "zone") for key, row in self._group(kind).items()
        ]
        for path, owner in owners:
            for product in _PRODUCTS:
                wanted = self._series(owner.get(product, 0.0), f"{path}.{product}")
                self.faults.require(not wanted.any(), f"{path}.{product}", "is a reserve product that is not supported")
        for path, owner in owners[1:]:
            wanted = self._series(owner.get("reserve_requirement", 0.0), f"{path}.reserve_requirement")
            message = "is a reserve product that is not supported"
            self.faults.require(not wanted.any(), f"{path}.reserve_requirement", message)

    # parts

    def _thermal(self, key: str, unit: Table) -> SitedUnit:
        path = f"elements.generator.{key}"
        for name in _NOT_OF_A_UNIT:
            self.faults.require(not unit.get(name), f"{path}.{name}", "is not supported", unit.get(name))
        least, most = (self._number(unit, name, path) for name in ("p_min", "p_max"))
        status = self._number(unit, "initial_status", path, lower=-_MOST_HOURS)
        self.faults.require(abs(status) >= 1.0, f"{path}.initial_status", "must be an hour or more, on or off", status)
        on = status > 0.0
        min_up, min_down = (max(1, ceil(self._number(unit, name, path))) for name in ("min_up_time", "min_down_time"))
        fixed = self._fixed(path, unit)
        must_run = bool(unit.get("must_run", 0)) or (fixed is not None and bool(np.all(fixed == 1)))
        made = ThermalUnit(
            name=key,
            power_min_mw=least,
            power_max_mw=most,
            ramp_up_mw=self._number(unit, "ramp_up_60min", path, default=most),
            ramp_down_mw=self._number(unit, "ramp_down_60min", path, default=most),
            startup_limit_mw=self._number(unit, "startup_capacity", path, default=least),
            shutdown_limit_mw=self._number(unit, "shutdown_capacity", path, default=least),
            min_up_h=min_up,
            min_down_h=min_down,
            initially_on=on,
            initial_power_mw=self._number(unit, "initial_p_output", path) if on else 0.0,
            initial_up_h=int(status) if on else 0,
            initial_down_h=0 if on else int(-status),
            startup=self._startup(path, unit, min_down),
            production=self._production(path, unit, least, most),
            must_run=must_run and on,
        )
        wanted = None if fixed is None or (must_run and on) else fixed
        if must_run and not on:
            wanted = np.ones(self.periods, np.int64)
        shutdown = self._number(unit, "shutdown_cost", path, default=0.0)
        return SitedUnit(made, self._text(unit, "bus", path), wanted, shutdown)

    def _fixed(self, path: str, unit: Table) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
        """The states that the file fixes, shape (periods,); None when there is none."""
        given = unit.get("fixed_commitment")
        values: Any = given.get("values") if isinstance(given, dict) else [given] * self.periods
        sound = isinstance(values, list) and len(values) == self.periods
        if not sound or any(value not in (None, 0, 1) for value in values):
            self.faults.add(f"{path}.fixed_commitment", "must be 0, 1 or null, or one of them per period", given)
            return None
        if all(value is None for value in values):
            return None
        return np.array([FREE if value is None else int(value) for value in values], dtype=np.int64)

    def _startup(self, path: str, unit: Table, min_down: int) -> tuple[StartupCategory, ...]:
        key, factor = "startup_cost", 1.0
        extra = self._number(unit, "non_fuel_startup_cost", path, default=0.0)
        if unit.get("startup_fuel") is not None:
            key, factor = "startup_fuel", self._number(unit, "fuel_cost", path, default=0.0)
        given = unit.get(key, 0.0)
        rows = given if isinstance(given, list) else [[min_down, given]]
        found: list[StartupCategory] = []
        for position, row in enumerate(rows):
            numbers = _numbers(row, 2)
            if numbers is None or not 0.0 <= numbers[0] <= _MOST_HOURS:
                self.faults.add(f"{path}.{key}[{position}]", "must hold hours off and a cost", row)
                continue
            lag = max(ceil(numbers[0]), min_down) if position == 0 else ceil(numbers[0])
            if found and lag <= found[-1].lag_h:  # a category that the minimum stop leaves no hour to
                found.pop()
                lag = min_down if not found else lag
            found.append(StartupCategory(lag if found else min_down, numbers[1] * factor + extra))
        if not found:
            self.faults.require(bool(rows), f"{path}.{key}", "must hold at least one category", given)
            found.append(StartupCategory(min_down, 0.0))
        return tuple(found)

    def _production(self, path: str, unit: Table, least: float, most: float) -> tuple[ProductionPoint, ...]:
        key, factor = "p_cost", 1.0
        fixed = self._number(unit, "non_fuel_no_load_cost", path, default=0.0)
        if unit.get("p_fuel") is not None:
            self.faults.require(
                unit.get("p_cost") is None, f"{path}.p_cost", "contradicts p_fuel: only one may be given"
            )
            key, factor = "p_fuel", self._number(unit, "fuel_cost", path, default=0.0)
        curve = unit.get(key)
        costs = [(least, 0.0), (most, 0.0)] if curve is None else self._curve(f"{path}.{key}", curve, least, most)
        if most <= least:
            costs = costs[:1]
        return tuple(ProductionPoint(power, cost * factor + fixed) for power, cost in costs)

    def _curve(self, path: str, curve: Any, least: float, most: float) -> list[tuple[float, float]]:
        """Points of a cost or fuel curve from ``least`` to ``most``."""
        nothing = [(least, 0.0), (most, 0.0)]
        if not isinstance(curve, dict) or curve.get("data_type") not in ("cost_curve", "fuel_curve"):
            self.faults.add(path, "must be a cost curve or a fuel curve, the same in all periods", curve)
            return nothing
        values = curve.get("values")
        kind = curve.get("cost_curve_type", curve.get("fuel_curve_type", "piecewise"))
        if kind == "polynomial" and isinstance(values, dict):
            terms = _numbers([values.get(str(power), 0.0) for power in range(3)], 3)
            if terms is None or set(values) - {"0", "1", "2"}:
                self.faults.add(f"{path}.values", "must hold the terms 0, 1 and 2", values)
                return nothing
            pieces = _PIECES if terms[2] != 0.0 else 1
            powers = [least + (most - least) * k / pieces for k in range(pieces)] + [most]
            return [(power, terms[0] + terms[1] * power + terms[2] * power * power) for power in powers]
        rows = [_numbers(row, 2) for row in values] if isinstance(values, list) else []
        points = [row for row in rows if row is not None]
        rising = all(before[0] < after[0] for before, after in pairwise(points))
        covers = len(points) == len(rows) >= 1 and rising and points[0][0] <= least and points[-1][0] >= most
        if kind != "piecewise" or not covers:
            message = f"must be a polynomial, or rise from at most {least:g} to at least {most:g} MW"
            self.faults.add(f"{path}.values", message, values)
            return nothing
        known = ([row[0] for row in points], [row[1] for row in points])
        inner = [row[0] for row in points if least < row[0] < most]
        return [(power, float(np.interp(power, *known))) for power in (least, *inner, most)]

    def _profiled(self, key: str, unit: Table) -> ProfiledUnit:
        path = f"elements.generator.{key}"
        least, most = (self._series(unit.get(name), f"{path}.{name}") for name in ("p_min", "p_max"))
        cost = self._series(unit.get("p_cost", 0.0), f"{path}.p_cost", lower=-1e9)
        return ProfiledUnit(key, self._text(unit, "bus", path), least, most, cost)

    def _loads_by_bus(self, buses: Table, loads: Table) -> dict[str, Floats]:
        total = {bus: np.zeros(self.periods) for bus in buses}
        for key, load in loads.items():
            path = f"elements.load.{key}"
            bus = self._text(load, "bus", path)
            if bus not in total:
                self.faults.add(f"{path}.bus", "is no bus of this file", bus)
            elif not self._is_responsive(load):
                total[bus] = total[bus] + self._series(load.get("p_load"), f"{path}.p_load", lower=-1e7)
        self.faults.require(bool(total), "elements.bus", "must hold at least one bus")
        return total

    @staticmethod
    def _is_responsive(load: Table) -> bool:
        return load.get("p_price") is not None

    def _responsive(self, key: str, load: Table) -> PriceSensitiveLoad:
        path = f"elements.load.{key}"
        revenue = self._series(load.get("p_price"), f"{path}.p_price", lower=-1e9)
        return PriceSensitiveLoad(
            key, self._text(load, "bus", path), self._series(load.get("p_load"), f"{path}.p_load"), revenue
        )

    def _line(self, key: str, branch: Table) -> Line:
        path = f"elements.branch.{key}"
        reactance = self._number(branch, "reactance", path, lower=-inf)
        tap = self._number(branch, "transformer_tap_ratio", path, default=1.0)
        self.faults.require(reactance * tap != 0.0, f"{path}.reactance", "must not be 0", reactance)
        for name in ("transformer_phase_shift", "planned_outage"):
            self.faults.require(not branch.get(name), f"{path}.{name}", "is not supported", branch.get(name))
        for name in ("angle_diff_min", "angle_diff_max"):
            angle = self._number(branch, name, path, lower=-inf, default=_LEAST_ANGLE)
            wide = abs(angle) >= _LEAST_ANGLE
            self.faults.require(wide, f"{path}.{name}", f"is not supported below {_LEAST_ANGLE:g} degrees", angle)
        rate = inf if branch.get("rating_long_term") is None else self._number(branch, "rating_long_term", path)
        limit = np.full(self.periods, rate)
        penalty = None
        if branch.get("violation_penalty") is not None:
            penalty = np.full(self.periods, self._number(branch, "violation_penalty", path))
        ends = (self._text(branch, "from_bus", path), self._text(branch, "to_bus", path))
        strength = 1.0 / (reactance * tap) if reactance * tap else 1.0
        return Line(key, *ends, strength, limit, limit, penalty)

    # values

    def _table(self, owner: Any, key: str, path: str) -> Table:
        found = owner.get(key, {}) if isinstance(owner, dict) else None
        place = f"{path}.{key}" if path else key
        if not isinstance(found, dict):
            self.faults.add(place, "must be an object", found)
            return {}
        return found

    def _group(self, kind: str) -> dict[str, Table]:
        rows = self._table(self.elements, kind, "elements")
        return {key: self._table(rows, key, f"elements.{kind}") for key in rows}

    @staticmethod
    def _serves(row: Table) -> bool:
        return bool(row.get("in_service", True))

    def _text(self, row: Table, key: str, path: str) -> str:
        value = row.get(key)
        self.faults.require(isinstance(value, str) and bool(value), f"{path}.{key}", "must be a name", value)
        return str(value)

    def _number(self, row: Table, key: str, path: str, *, lower: float = 0.0, default: float | None = None) -> float:
        value: Any = row.get(key)
        if value is None and default is not None:
            return default
        if not _is_number(value) or value < lower:
            message = "must be a number" if lower == -inf else f"must be a number of at least {lower:g}"
            hint = "values that change over time are not supported here" if isinstance(value, dict) else ""
            self.faults.add(f"{path}.{key}", message, value, hint)
            return 0.0 if default is None else default
        return float(value)

    def _series(self, value: Any, path: str, lower: float = 0.0) -> Floats:
        """One value per period, shape (periods,)."""
        values: Any = value.get("values") if isinstance(value, dict) else [value] * self.periods
        sound = isinstance(values, list) and len(values) == self.periods
        if not sound or not all(_is_number(entry) and entry >= lower for entry in values):
            message = f"must be a number of at least {lower:g}, or one for each of the {self.periods} periods"
            self.faults.add(path, message, value)
            return np.zeros(self.periods)
        return np.array(values, dtype=np.float64)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15 and isfinite(value)


def _numbers(row: Any, count: int) -> list[float] | None:
    if isinstance(row, list) and len(row) == count and all(_is_number(value) for value in row):
        return [float(value) for value in row]
    return None
