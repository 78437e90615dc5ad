"""The answer of security-constrained commitment: states, outputs, reserves, storage and loads, period by period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Json
from apportion.instances.errors import Fault, PlanError
from apportion.instances.security_commitment import SecurityConstrainedCommitment
from apportion.instances.validation import FaultList

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MOST = 1e12
_MOST_PERIODS = 10**6
TABLES: Mapping[str, str] = {
    "committed": "unit_names",
    "power_mw": "unit_names",
    "profiled_mw": "profiled_names",
    "charge_mw": "storage_names",
    "discharge_mw": "storage_names",
    "level_mwh": "storage_names",
    "served_mw": "load_names",
    "link_mw": "link_names",
    "curtailed_mw": "bus_names",
    "surplus_mw": "bus_names",
}
"""Table of the plan -> the field with the names of its rows."""
_NAMES = ("unit_names", "profiled_names", "storage_names", "load_names", "link_names", "bus_names")


@dataclass(frozen=True, eq=False)
class SecureCommitment:
    """What each unit, store, load and link does in each period; the flows on the lines follow from it.

    Parameters
    ----------
    unit_names, profiled_names, storage_names, load_names, link_names, bus_names
        The rows of the tables.
    committed
        On or off, shape (units, periods).
    power_mw, profiled_mw
        Output, shape (units, periods) and (profiled units, periods).
    charge_mw, discharge_mw, level_mwh
        Power taken and given, and energy held at the end of the period, shape (storage units, periods).
    served_mw
        Of the price-sensitive loads, shape (loads, periods).
    link_mw
        Flow on the direct links, shape (links, periods).
    curtailed_mw, surplus_mw
        Fixed load not served, generation thrown away, shape (buses, periods).
    reserve_mw
        By product: what each unit holds, shape (units, periods).
    """

    problem: ClassVar[str] = "security-constrained-commitment"
    unit_names: tuple[str, ...]
    profiled_names: tuple[str, ...]
    storage_names: tuple[str, ...]
    load_names: tuple[str, ...]
    link_names: tuple[str, ...]
    bus_names: tuple[str, ...]
    committed: Bools
    power_mw: Floats
    profiled_mw: Floats
    charge_mw: Floats
    discharge_mw: Floats
    level_mwh: Floats
    served_mw: Floats
    link_mw: Floats
    curtailed_mw: Floats
    surplus_mw: Floats
    reserve_mw: Mapping[str, Floats]

    def __post_init__(self) -> None:
        """Check shapes; the arrays become read-only."""
        faults = FaultList("secure commitment")
        periods = self.num_periods
        for name, rows in TABLES.items():
            dtype = np.bool_ if name == "committed" else np.float64
            shape = (len(getattr(self, rows)), periods)
            object.__setattr__(self, name, faults.array(name, getattr(self, name), shape=shape, dtype=dtype))
        shape = (len(self.unit_names), periods)
        reserve = {
            name: faults.array(f"reserve_mw.{name}", table, shape=shape) for name, table in self.reserve_mw.items()
        }
        object.__setattr__(self, "reserve_mw", reserve)
        for name in _NAMES:
            faults.unique(name, getattr(self, name))
        if faults.faults:
            raise PlanError(faults.source, faults.faults)

    def __eq__(self, other: object) -> bool:
        """Equal names and equal numbers."""
        if not isinstance(other, SecureCommitment):
            return NotImplemented
        if self.reserve_mw.keys() != other.reserve_mw.keys():
            return False
        mine, theirs = (
            [getattr(plan, field.name) for field in fields(self) if field.name != "reserve_mw"]
            + [plan.reserve_mw[name] for name in self.reserve_mw]
            for plan in (self, other)
        )
        return all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))

    __hash__ = None  # type: ignore[assignment]

    @property
    def num_periods(self) -> int:
        """How many periods it covers."""
        return int(np.shape(self.committed)[-1]) if np.ndim(self.committed) == 2 else 0

    def to_dict(self) -> Json:
        """JSON-ready data: one row per unit, store, load, link or bus under its name."""
        tables: dict[str, Any] = {
            name: _by_name(getattr(self, rows), getattr(self, name) * (1 if name == "committed" else 1.0))
            for name, rows in TABLES.items()
        }
        tables["reserve_mw"] = {name: _by_name(self.unit_names, table) for name, table in self.reserve_mw.items()}
        return {**tables, "periods": self.num_periods}

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Rebuild from :meth:`to_dict`; raise :class:`PlanError` with all that is wrong."""
        periods = data.get("periods")
        if type(periods) is not int or not 0 <= periods <= _MOST_PERIODS:
            raise PlanError("plan", [Fault("periods", f"must be a whole number from 0 to {_MOST_PERIODS}", periods)])
        faults: list[Fault] = []
        tables = {name: _table(data.get(name), name, periods, faults) for name in TABLES}
        reserve = data.get("reserve_mw")
        if not isinstance(reserve, dict):
            faults.append(Fault("reserve_mw", "must map the names of products to tables", reserve))
            reserve = {}
        products = {str(name): _table(table, f"reserve_mw.{name}", periods, faults) for name, table in reserve.items()}
        names: dict[str, tuple[str, ...]] = {}
        for table, rows in TABLES.items():
            names.setdefault(rows, tuple(tables[table]))
            if not faults and set(tables[table]) != set(names[rows]):
                faults.append(Fault(table, "must have the same rows as the tables of its kind before it"))
        for name, held in products.items():
            if not faults and set(held) != set(names["unit_names"]):
                faults.append(Fault(f"reserve_mw.{name}", "must have the same units as committed"))
        if any(value not in (0, 1) for row in tables["committed"].values() for value in row):
            faults.append(Fault("committed", "must hold only 0 and 1"))
        if faults:
            raise PlanError("plan", faults)
        parts: dict[str, Any] = {name: _stacked(tables[name], names[rows], periods) for name, rows in TABLES.items()}
        reserves = {name: _stacked(table, names["unit_names"], periods) for name, table in products.items()}
        return cls(**{**names, **parts}, reserve_mw=reserves)

    def aligned_to(self, instance: SecurityConstrainedCommitment) -> Self:
        """The same plan with its rows in the instance's order; raise :class:`PlanError` if it is for another one."""
        wanted = names_of(instance)
        faults = [fault for key in _NAMES for fault in _differing(key, getattr(self, key), wanted[key])]
        faults += _differing("reserve_mw", tuple(self.reserve_mw), tuple(r.name for r in instance.reserves))
        if self.num_periods != instance.num_periods:
            faults.append(Fault("periods", f"must be the {instance.num_periods} of the instance", self.num_periods))
        if faults:
            raise PlanError(instance.name, faults)
        order = {
            key: np.array([getattr(self, key).index(name) for name in wanted[key]], dtype=np.int64)
            if getattr(self, key) != wanted[key]
            else np.arange(len(wanted[key]))
            for key in _NAMES
        }
        parts: dict[str, Any] = {name: getattr(self, name)[order[rows]] for name, rows in TABLES.items()}
        reserves = {r.name: self.reserve_mw[r.name][order["unit_names"]] for r in instance.reserves}
        return type(self)(**{**wanted, **parts}, reserve_mw=reserves)


def names_of(instance: SecurityConstrainedCommitment) -> dict[str, tuple[str, ...]]:
    """The names of the rows of a plan for ``instance``."""
    groups: tuple[Sequence[Any], ...] = (
        instance.thermal,
        instance.profiled,
        instance.storage,
        instance.loads,
        instance.links,
        instance.buses,
    )
    return {key: tuple(item.name for item in group) for key, group in zip(_NAMES, groups, strict=True)}


def _by_name(names: Sequence[str], rows: NDArray[Any]) -> dict[str, list[float]]:
    return dict(zip(names, rows.tolist(), strict=True))


def _stacked(table: Mapping[str, list[float]], names: Sequence[str], periods: int) -> Floats:
    return np.array([table[name] for name in names], dtype=np.float64).reshape(len(names), periods)


def _table(rows: object, key: str, periods: int, faults: list[Fault]) -> dict[str, list[float]]:
    if not isinstance(rows, dict):
        faults.append(Fault(key, "must map names to lists of numbers", rows))
        return {}
    good: dict[str, list[float]] = {}
    for name, row in rows.items():
        if not isinstance(row, list) or len(row) != periods or not all(_is_number(value) for value in row):
            faults.append(Fault(f"{key}.{name}", f"must be a list of {periods} finite numbers", row))
        else:
            good[str(name)] = [float(value) for value in row]
    return good


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST


def _differing(place: str, mine: Sequence[str], theirs: Sequence[str]) -> list[Fault]:
    unknown, absent = sorted(set(mine) - set(theirs)), sorted(set(theirs) - set(mine))
    return [Fault(place, "names nothing of this instance", name) for name in unknown[:5]] + [
        Fault(place, "lacks what this instance has", name) for name in absent[:5]
    ]
