"""All that can be wrong with a security-constrained commitment, found in one look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf, isfinite
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from apportion.instances.commitment import MOST_COST, MOST_POWER_MW, collect_faults
from apportion.instances.islands import islands_of
from apportion.instances.security_parts import ReserveKind
from apportion.instances.validation import FaultList

Ints = NDArray[np.int64]
Place = Callable[[str, str, str], str]

MOST_SUSCEPTANCE = 1e9
GROUPS = ("buses", "thermal", "lines", "contingencies", "profiled", "storage", "loads", "links", "reserves")
_NON_NEGATIVE = (0.0, MOST_POWER_MW)
_ANY_POWER = (-MOST_POWER_MW, MOST_POWER_MW)
_ANY_COST = (-MOST_COST, MOST_COST)
_PENALTY = (0.0, MOST_COST)
_SERIES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "buses": {"load_mw": _ANY_POWER},
    "profiled": {"power_min_mw": _ANY_POWER, "power_max_mw": _ANY_POWER, "cost": _ANY_COST},
    "lines": {"limit_mw": (0.0, inf), "emergency_limit_mw": (0.0, inf), "overload_penalty": _PENALTY},
    "storage": {
        "level_min_mwh": _NON_NEGATIVE,
        "level_max_mwh": _NON_NEGATIVE,
        "charge_min_mw": _NON_NEGATIVE,
        "charge_max_mw": _NON_NEGATIVE,
        "discharge_min_mw": _NON_NEGATIVE,
        "discharge_max_mw": _NON_NEGATIVE,
        "charge_efficiency": (1e-6, 1.0),
        "discharge_efficiency": (1e-6, 1.0),
        "loss": (0.0, 1.0),
        "charge_cost": _ANY_COST,
        "discharge_cost": _ANY_COST,
        "simultaneous": (0.0, 1.0),
    },
    "loads": {"demand_mw": _NON_NEGATIVE, "revenue": _ANY_COST},
    "reserves": {"requirement_mw": _NON_NEGATIVE},
}
_SCALARS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "storage": {"initial_mwh": _NON_NEGATIVE, "last_min_mwh": _NON_NEGATIVE, "last_max_mwh": _NON_NEGATIVE},
    "links": {"limit_mw": _NON_NEGATIVE, "reverse_limit_mw": _NON_NEGATIVE},
    "reserves": {"shortfall_penalty": _PENALTY},
    "thermal": {"shutdown_cost": _PENALTY},
}
_ORDERED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "profiled": (("power_min_mw", "power_max_mw"),),
    "storage": (
        ("level_min_mwh", "level_max_mwh"),
        ("charge_min_mw", "charge_max_mw"),
        ("discharge_min_mw", "discharge_max_mw"),
        ("last_min_mwh", "last_max_mwh"),
    ),
}


class Checker:
    """One look over all parts of an instance."""

    def __init__(self, faults: FaultList, instance: Any) -> None:
        self.faults = faults
        self.instance = instance
        self.place = instance.place
        self.periods = int(np.size(instance.buses[0].load_mw)) if instance.buses else 0

    def check(self) -> None:
        """Record every fault; the network is looked at only where its parts are sound."""
        instance, faults, place = self.instance, self.faults, self.place
        fits = isinstance(instance.period_h, int | float) and 0.0 < instance.period_h <= 24.0 * 366
        faults.require(fits, place("period_h", "", ""), "must be a positive number of hours", instance.period_h)
        faults.require(bool(instance.buses), place("buses", "", ""), "must hold at least one bus")
        faults.require(self.periods >= 1, place("buses", "", "load_mw"), "must have at least one period")
        for kind in ("curtailment_penalty", "surplus_penalty"):
            value = getattr(instance, kind)
            if value is not None:
                object.__setattr__(instance, kind, self._series(place(kind, "", ""), value, _PENALTY))
        self._names()
        for kind in GROUPS:
            self._numbers(kind)
        sited = instance.thermal
        zero = np.zeros(max(self.periods, 1))
        if sited:
            collect_faults(faults, zero, zero, [unit.unit for unit in sited], (), place)
        self._references()
        self._fixed()
        if not faults.faults:
            self._network()

    def _series(self, where: str, value: Any, span: tuple[float, float]) -> Any:
        """A checked read-only series of numbers."""
        return self.faults.array(
            where, value, shape=(self.periods,), lower=span[0], upper=span[1], allow_infinite=span[1] == inf
        )

    def _names(self) -> None:
        seen: dict[str, str] = {}
        for kind in GROUPS:
            own: set[str] = set()
            producer = kind in ("thermal", "profiled", "storage")
            for item in getattr(self.instance, kind):
                where = self.place(kind, item.name, "name")
                self.faults.require(bool(item.name), where, "must not be empty")
                taken = item.name in own or (producer and item.name in seen)
                message = f"is the name of another of {seen.get(item.name, kind)}"
                if taken and kind != "thermal":
                    self.faults.add(where, message, item.name)
                own.add(item.name)
                if producer:
                    seen[item.name] = kind

    def _numbers(self, kind: str) -> None:
        """Check the numbers of a group; its parts are replaced by copies with read-only arrays."""
        found = []
        for item in getattr(self.instance, kind):
            series: dict[str, Any] = {}
            for name, span in _SERIES.get(kind, {}).items():
                value = getattr(item, name)
                if value is None and name == "overload_penalty":
                    continue
                checked = self._series(self.place(kind, item.name, name), value, span)
                series[name] = np.array(checked, dtype=np.bool_ if name == "simultaneous" else np.float64)
                series[name].setflags(write=False)
            for name, (lower, upper) in _SCALARS.get(kind, {}).items():
                value = getattr(item, name)
                optional = value is None and name == "shortfall_penalty"
                fits = optional or (_is_number(value) and lower <= value <= upper)
                where = self.place(kind, item.name, name)
                self.faults.require(fits, where, f"must be a number from {lower:g} to {upper:g}", value)
            checked_item = replace(item, **series)
            for least, most in _ORDERED.get(kind, ()):
                self._ordered(kind, checked_item, least, most)
            found.append(checked_item)
        object.__setattr__(self.instance, kind, tuple(found))

    def _ordered(self, kind: str, item: Any, least: str, most: str) -> None:
        lower, upper = np.atleast_1d(getattr(item, least)), np.atleast_1d(getattr(item, most))
        if lower.shape != upper.shape:
            return
        for t in np.flatnonzero(lower > upper)[:3]:
            where = self.place(kind, item.name, least) + (f"[{t}]" if len(lower) > 1 else "")
            self.faults.add(where, f"must be at most the {upper[t]:g} of {most}", float(lower[t]), "they are exchanged")

    def _references(self) -> None:
        instance = self.instance
        buses = {bus.name for bus in instance.buses}
        units = {sited.name for sited in instance.thermal}
        lines = {line.name for line in instance.lines}
        for kind in ("thermal", "profiled", "storage", "loads"):
            for item in getattr(instance, kind):
                self._known(kind, item.name, "bus", item.bus, buses)
        for kind in ("lines", "links"):
            for item in getattr(instance, kind):
                self._known(kind, item.name, "from_bus", item.from_bus, buses)
                self._known(kind, item.name, "to_bus", item.to_bus, buses)
                where = self.place(kind, item.name, "to_bus")
                self.faults.require(
                    item.from_bus != item.to_bus, where, "must be another bus than the first", item.to_bus
                )
        for line in instance.lines:
            value = line.susceptance
            fits = _is_number(value) and value != 0.0 and abs(value) <= MOST_SUSCEPTANCE
            message = f"must be a number other than 0, at most {MOST_SUSCEPTANCE:g} in size"
            hint = "the reactance is zero or missing; join the two buses instead"
            self.faults.require(fits, self.place("lines", line.name, "susceptance"), message, value, hint)
        for case in instance.contingencies:
            where = self.place("contingencies", case.name, "lines")
            self.faults.require(bool(case.lines), where, "must name at least one line")
            self.faults.require(len(set(case.lines)) == len(case.lines), where, "must name each line once", case.lines)
            for name in case.lines:
                self._known("contingencies", case.name, "lines", name, lines)
        for product in instance.reserves:
            where = self.place("reserves", product.name, "kind")
            self.faults.require(product.kind in tuple(ReserveKind), where, f"must be one of {', '.join(ReserveKind)}")
            for name in product.units:
                self._known("reserves", product.name, "units", name, units)
            once = len(set(product.units)) == len(product.units)
            self.faults.require(once, self.place("reserves", product.name, "units"), "must name each unit once")

    def _known(self, kind: str, item: str, name: str, value: str, known: set[str]) -> None:
        self.faults.require(value in known, self.place(kind, item, name), "names nothing that there is", value)

    def _fixed(self) -> None:
        found = []
        for sited in self.instance.thermal:
            if sited.fixed_commitment is None:
                found.append(sited)
                continue
            where = self.place("thermal", sited.name, "fixed_commitment")
            checked = self.faults.array(where, sited.fixed_commitment, shape=(self.periods,), lower=-1, upper=1)
            fixed = np.array(checked, dtype=np.int64)
            fixed.setflags(write=False)
            found.append(replace(sited, fixed_commitment=fixed))
            if sited.unit.must_run:
                self.faults.require(not (fixed == 0).any(), where, "switches off a unit that must run")
        object.__setattr__(self.instance, "thermal", tuple(found))

    def _network(self) -> None:
        """Every island has something that feeds it; no outage splits one."""
        instance = self.instance
        count = len(instance.buses)
        ends = instance.line_ends
        island = islands_of(count, *ends)
        sources = [item.bus for kind in ("thermal", "profiled", "storage") for item in getattr(instance, kind)]
        sources += [bus for link in instance.links for bus in (link.from_bus, link.to_bus)]
        fed = np.zeros(int(island.max()) + 1, np.bool_)
        fed[island[[instance.bus_index[bus] for bus in sources]]] = True
        loaded = (instance.load_mw > 0.0).any(axis=1)
        for k in np.unique(island[loaded & ~fed[island]])[:5]:
            bus = instance.buses[int(np.flatnonzero((island == k) & loaded)[0])]
            message = "belongs to an island with load and without generation"
            self.faults.add(self.place("buses", bus.name, ""), message, float(bus.load_mw.max()), "a line is missing")
        self._outages(count, ends)

    def _outages(self, count: int, ends: tuple[Ints, Ints]) -> None:
        """No outage may split an island."""
        neighbours = _neighbours(count, ends)
        bridges = _bridges(neighbours)
        index = self.instance.line_index
        splitting = 0
        for case in self.instance.contingencies:
            out = [index[name] for name in case.lines]
            splits = not bridges.isdisjoint(out)
            if len(out) > 1 and not splits:
                splits = any(not _reaches(neighbours, int(ends[0][k]), int(ends[1][k]), set(out)) for k in out)
            if splits and splitting < 5:
                where = self.place("contingencies", case.name, "lines")
                self.faults.add(where, "splits the network", case.lines, "leave this outage out")
                splitting += 1


Neighbours = list[list[tuple[int, int]]]


def _neighbours(num_buses: int, ends: tuple[Ints, Ints]) -> Neighbours:
    """The other bus and the line of each way out of each bus."""
    table: Neighbours = [[] for _ in range(num_buses)]
    for line, (a, b) in enumerate(zip(ends[0].tolist(), ends[1].tolist(), strict=True)):
        table[a].append((b, line))
        table[b].append((a, line))
    return table


def _bridges(neighbours: Neighbours) -> set[int]:
    """The lines whose loss alone splits the network (Tarjan 1974, without recursion)."""
    order = [-1] * len(neighbours)
    low = order[:]
    bridges: set[int] = set()
    for root in range(len(neighbours)):
        if order[root] >= 0:
            continue
        order[root] = low[root] = 0
        count, stack = 1, [(root, -1, iter(neighbours[root]))]
        while stack:
            bus, came_by, ways = stack[-1]
            way = next(ways, None)
            if way is None:
                stack.pop()
                if stack:
                    above = stack[-1][0]
                    low[above] = min(low[above], low[bus])
                    if low[bus] > order[above]:
                        bridges.add(came_by)
                continue
            other, line = way
            if line == came_by:
                continue
            if order[other] < 0:
                order[other] = low[other] = count
                count += 1
                stack.append((other, line, iter(neighbours[other])))
            else:
                low[bus] = min(low[bus], order[other])
    return bridges


def _reaches(neighbours: Neighbours, start: int, goal: int, gone: set[int]) -> bool:
    """Whether a way leads from one bus to another without the lines that are ``gone``."""
    seen = {start}
    queue = [start]
    for bus in queue:
        for other, line in neighbours[bus]:
            if line in gone or other in seen:
                continue
            if other == goal:
                return True
            seen.add(other)
            queue.append(other)
    return False


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
