"""Apportion's own JSON for security-constrained commitment: every part as an object with the fields of its class.

A number stands for the same in all periods. ``null`` in a limit of a line means that there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from math import inf, isfinite, isinf
from typing import TYPE_CHECKING, Any

import numpy as np

from apportion.instances.commitment import ProductionPoint, StartupCategory, ThermalUnit
from apportion.instances.errors import Fault, InstanceError
from apportion.instances.security_commitment import (
    Bus,
    Contingency,
    DirectLink,
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

_PARTS: Mapping[str, type[Any]] = {
    "buses": Bus,
    "thermal": SitedUnit,
    "lines": Line,
    "contingencies": Contingency,
    "profiled": ProfiledUnit,
    "storage": Storage,
    "loads": PriceSensitiveLoad,
    "links": DirectLink,
    "reserves": ReserveProduct,
}
_LISTS: Mapping[str, type[Any]] = {
    "tuple[StartupCategory, ...]": StartupCategory,
    "tuple[ProductionPoint, ...]": ProductionPoint,
}
_SERIES = {"Floats": np.float64, "Ints": np.int64, "Bools": np.bool_}
_SCALARS = ("name", "period_h", "curtailment_penalty", "surplus_penalty", "reserve_counts_at_shutdown")
_UNLIMITED = ("limit_mw", "emergency_limit_mw")
_MOST_FAULTS = 100


def parse(text: str, source: Source) -> SecurityConstrainedCommitment:
    """Read an instance; raise :class:`InstanceError` with every fault and its path."""
    where = str(source.path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InstanceError(where, [Fault("", f"is not JSON that can be read: {error}")]) from error
    faults = FaultList(where)
    if not isinstance(data, dict):
        raise InstanceError(where, [Fault("", "must be a JSON object", type(data).__name__)])
    periods = data.get("periods")
    if type(periods) is not int or not 1 <= periods <= 10**6:
        raise InstanceError(where, [Fault("periods", "must be a whole number from 1 to 1000000", periods)])
    for key in data.keys() - {*_PARTS, *_SCALARS, "problem", "periods"}:
        faults.add(str(key), "is no key of this format")
    reader = _Reader(faults, periods)
    known = {field.name: field for field in fields(SecurityConstrainedCommitment)}
    parts = {name: reader.value(known[name], data, name) for name in _SCALARS if name in data}
    for name, kind in _PARTS.items():
        items = data.get(name, [])
        if not isinstance(items, list):
            faults.add(name, "must be a list", type(items).__name__)
            continue
        parts[name] = tuple(reader.part(kind, item, f"{name}[{k}]") for k, item in enumerate(items))
    if faults.faults:
        raise InstanceError(where, faults.faults[:_MOST_FAULTS])
    parts.setdefault("name", source.name)
    parts.setdefault("period_h", 1.0)
    try:
        return SecurityConstrainedCommitment(**parts)
    except InstanceError as error:
        raise InstanceError(where, error.faults[:_MOST_FAULTS]) from error


class _Reader:
    """Builds parts from objects by the annotations of their classes; what is wrong goes to ``faults``."""

    def __init__(self, faults: FaultList, periods: int) -> None:
        self.faults = faults
        self.periods = periods

    def part(self, kind: type[Any], data: Any, path: str) -> Any:
        """An instance of ``kind``; None when the object is not sound."""
        if not isinstance(data, dict):
            self.faults.add(path, "must be an object", type(data).__name__)
            return None
        known = {field.name: field for field in fields(kind)}
        for key in data.keys() - known.keys():
            self.faults.add(f"{path}.{key}", "is no key of this part")
        before = len(self.faults.faults)
        values = {
            name: self.value(field, data, f"{path}.{name}")
            for name, field in known.items()
            if name in data or field.default is MISSING
        }
        return kind(**values) if len(self.faults.faults) == before else None

    def value(self, field: Field[Any], data: Mapping[str, Any], path: str) -> Any:
        """One field, converted to what its class expects."""
        if field.name not in data:
            self.faults.add(path, "is missing")
            return None
        value, kind = data[field.name], str(field.type)
        if value is None and kind.endswith(" | None"):
            return None
        kind = kind.removesuffix(" | None")
        if kind in _SERIES:
            return self._series(field.name, _SERIES[kind], value, path)
        if kind in _LISTS:
            items = value if isinstance(value, list) else []
            self.faults.require(isinstance(value, list), path, "must be a list", type(value).__name__)
            return tuple(self.part(_LISTS[kind], item, f"{path}[{k}]") for k, item in enumerate(items))
        if kind == "ThermalUnit":
            return self.part(ThermalUnit, value, path)
        return self._scalar(kind, value, path)

    def _series(self, name: str, dtype: type[Any], value: Any, path: str) -> Any:
        values = value if isinstance(value, list) else [value] * self.periods
        if len(values) != self.periods:
            self.faults.add(path, f"must have {self.periods} entries, one per period", len(values))
            return None
        if name in _UNLIMITED:
            values = [inf if entry is None else entry for entry in values]
        for t, entry in enumerate(values):
            if not _fits(entry, dtype):
                self.faults.add(f"{path}[{t}]", f"must be a {np.dtype(dtype).name}", entry)
                return None
        return np.array(values, dtype=dtype)

    def _scalar(self, kind: str, value: Any, path: str) -> Any:
        if kind == "tuple[str, ...]":
            if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
                return tuple(value)
            self.faults.add(path, "must be a list of names", value)
        elif kind == "ReserveKind":
            if value in tuple(ReserveKind):
                return ReserveKind(value)
            self.faults.add(path, f"must be one of {', '.join(ReserveKind)}", value)
        elif kind == "float" and _fits(value, np.float64):
            return float(value)
        elif kind in ("int", "bool", "str") and type(value).__name__ == kind:
            return value
        else:
            self.faults.add(path, f"must be a {kind}", value)
        return None


def _fits(value: Any, dtype: type[Any]) -> bool:
    if dtype is np.bool_:
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if dtype is np.int64:
        return isinstance(value, int) and abs(value) < 2**31
    return abs(value) <= 1e15 if isinstance(value, int) else isfinite(value) or value == inf


def render(instance: SecurityConstrainedCommitment) -> str:
    """Write an instance; reading it back gives the same numbers."""
    data: dict[str, Any] = {"problem": instance.problem, "periods": instance.num_periods}
    data |= {name: _plain(getattr(instance, name)) for name in _SCALARS}
    data |= {name: [_plain(item) for item in getattr(instance, name)] for name in _PARTS}
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        entries = [None if isinstance(entry, float) and isinf(entry) else entry for entry in value.tolist()]
        return entries[0] if entries and all(entry == entries[0] for entry in entries) else entries
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
