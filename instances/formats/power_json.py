"""Apportion's own JSON for optimal power flow: what MATPOWER's format has, and periods, storage and ramps."""

from __future__ import annotations

import json
from functools import cache
from math import inf, isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from apportion.instances.errors import Fault, InstanceError
from apportion.instances.formats.pydantic_faults import faults_of
from apportion.instances.power_flow import (
    FULL_CIRCLE_DEG,
    Branches,
    Buses,
    Floats,
    Generators,
    OptimalPowerFlow,
    StorageUnits,
)

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from apportion.instances.reading import Source

_MOST_PERIODS = 10**6


@cache
def _adapter() -> TypeAdapter[Any]:
    """The shape of a file. Built once, when first used: pydantic takes a while to load."""
    from pydantic import BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter

    class Row(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    class Named(Row):
        name: Annotated[str, Field(min_length=1)]

    class Bus(Named):
        voltage_min: float = 0.9
        voltage_max: float = 1.1
        load_mw: float | list[float] = 0.0
        load_mvar: float | list[float] = 0.0
        shunt_mw: float = 0.0
        shunt_mvar: float = 0.0
        reference: bool = False
        area: int = 1

    class Branch(Named):
        from_bus: str
        to_bus: str
        resistance: float
        reactance: float
        charging: float = 0.0
        tap: float = 1.0
        shift_deg: float = 0.0
        rate_mva: float | None = None
        angle_min_deg: float = -FULL_CIRCLE_DEG
        angle_max_deg: float = FULL_CIRCLE_DEG

    class Generator(Named):
        bus: str
        power_min_mw: float = 0.0
        power_max_mw: float
        reactive_min_mvar: float = 0.0
        reactive_max_mvar: float = 0.0
        cost_quadratic: float = 0.0
        cost_linear: float = 0.0
        cost_constant: float = 0.0
        cost_points: list[tuple[float, float]] = Field(default_factory=list, strict=False)
        ramp_mw_h: float | None = None
        available_mw: list[float] | None = None

    class Storage(Named):
        bus: str
        energy_min_mwh: float = 0.0
        energy_max_mwh: float
        charge_max_mw: float
        discharge_max_mw: float
        charge_efficiency: float = 1.0
        discharge_efficiency: float = 1.0
        initial_mwh: float
        final_min_mwh: float = 0.0

    class File(Row):
        problem: Literal["optimal-power-flow"]
        name: str = ""
        base_mva: float = 100.0
        periods: Annotated[PositiveInt, Field(le=_MOST_PERIODS)] = 1
        period_h: float = 1.0
        buses: list[Bus]
        branches: list[Branch] = Field(default_factory=list)
        generators: list[Generator]
        storage: list[Storage] = Field(default_factory=list)

    # the classes are local so that importing this module stays light; pydantic resolves their annotations here
    space = {**globals(), **locals()}
    for shape in (Bus, Branch, Generator, Storage, File):
        shape.model_rebuild(_types_namespace=space)
    return TypeAdapter(File)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the format."""
    return _adapter().json_schema()


def parse(text: str, source: Source) -> OptimalPowerFlow:
    """Read an instance; raise :class:`InstanceError` with the path and value of every fault."""
    from pydantic import ValidationError

    where = str(source.path)
    try:
        content = _adapter().validate_json(text)
    except ValidationError as error:
        raise InstanceError(where, faults_of(error)) from error
    faults: list[Fault] = []
    position = {bus.name: k for k, bus in enumerate(content.buses)}
    built: dict[str, Any] = {
        "buses": _buses(content.buses),
        "branches": _branches(content.branches, position, faults),
        "generators": _generators(content.generators, position, faults),
        "storage": _storage(content.storage, position, faults),
        "load_mw": _profiles("buses", "load_mw", content.buses, content.periods, faults),
        "load_mvar": _profiles("buses", "load_mvar", content.buses, content.periods, faults),
        "available_mw": _available(content, faults),
    }
    if faults:
        raise InstanceError(where, faults)
    name = content.name or source.name
    try:
        return OptimalPowerFlow(name, content.base_mva, period_h=content.period_h, **built)
    except InstanceError as error:
        raise InstanceError(where, error.faults) from error


def _column(rows: list[Any], name: str) -> Floats:
    values = [getattr(row, name) for row in rows]
    return np.array([inf if value is None else value for value in values], np.float64)


def _columns(rows: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _column(rows, name) for name in names}


def _places(table: str, column: str, rows: list[Any], position: dict[str, int], faults: list[Fault]) -> Any:
    names = [getattr(row, column) for row in rows]
    for k, name in enumerate(names):
        if name not in position:
            faults.append(Fault(f"{table}[{k}].{column}", "is the name of no bus", name))
    return np.array([position.get(name, 0) for name in names], np.int64)


def _names(rows: list[Any]) -> tuple[str, ...]:
    return tuple(row.name for row in rows)


def _buses(rows: list[Any]) -> Buses:
    columns = ("voltage_min", "voltage_max", "shunt_mw", "shunt_mvar")
    reference = np.array([row.reference for row in rows], np.bool_)
    area = np.array([min(max(row.area, -(2**31)), 2**31) for row in rows], np.int64)
    return Buses(names=_names(rows), reference=reference, area=area, **_columns(rows, columns))


_BRANCH = ("resistance", "reactance", "charging", "tap", "shift_deg", "rate_mva", "angle_min_deg", "angle_max_deg")
_OUTPUT = ("power_min_mw", "power_max_mw", "reactive_min_mvar", "reactive_max_mvar")
_COST = ("cost_quadratic", "cost_linear", "cost_constant")
_STORAGE = (
    "energy_min_mwh",
    "energy_max_mwh",
    "charge_max_mw",
    "discharge_max_mw",
    "charge_efficiency",
    "discharge_efficiency",
    "initial_mwh",
    "final_min_mwh",
)


def _branches(rows: list[Any], position: dict[str, int], faults: list[Fault]) -> Branches:
    return Branches(
        names=_names(rows),
        from_bus=_places("branches", "from_bus", rows, position, faults),
        to_bus=_places("branches", "to_bus", rows, position, faults),
        **_columns(rows, _BRANCH),
    )


def _generators(rows: list[Any], position: dict[str, int], faults: list[Fault]) -> Generators:
    return Generators(
        names=_names(rows),
        bus=_places("generators", "bus", rows, position, faults),
        curves=tuple(tuple((float(x), float(y)) for x, y in row.cost_points) for row in rows),
        **_columns(rows, (*_OUTPUT, *_COST, "ramp_mw_h")),
    )


def _storage(rows: list[Any], position: dict[str, int], faults: list[Fault]) -> StorageUnits:
    at = _places("storage", "bus", rows, position, faults)
    return StorageUnits(names=_names(rows), bus=at, **_columns(rows, _STORAGE))


def _profiles(table: str, column: str, rows: list[Any], periods: int, faults: list[Fault]) -> Floats:
    """One number for all periods, or one for each, shape (periods, rows)."""
    profile = np.zeros((periods, len(rows)))
    for k, row in enumerate(rows):
        value = getattr(row, column)
        if isinstance(value, list) and len(value) != periods:
            message = f"must be one number or one for each of the {periods} periods"
            faults.append(Fault(f"{table}[{k}].{column}", message, len(value)))
        else:
            profile[:, k] = value
    return profile


def _available(content: Any, faults: list[Fault]) -> Floats | None:
    rows = content.generators
    if all(row.available_mw is None for row in rows):
        return None
    profile = np.array([row.power_max_mw for row in rows]) * np.ones((content.periods, 1))
    for k, row in enumerate(rows):
        if row.available_mw is None:
            continue
        if len(row.available_mw) != content.periods:
            message = f"must have one number for each of the {content.periods} periods"
            faults.append(Fault(f"generators[{k}].available_mw", message, len(row.available_mw)))
        else:
            profile[:, k] = row.available_mw
    return profile


def render(instance: OptimalPowerFlow) -> str:
    """Write ``instance``; reading it again gives the same one."""
    names = instance.buses.names
    branches, generators, storage = instance.branches, instance.generators, instance.storage
    buses = _rows(instance.buses, ("voltage_min", "voltage_max", "shunt_mw", "shunt_mvar", "reference", "area"))
    for k, row in enumerate(buses):
        row["load_mw"] = _profile(instance.load_mw[:, k])
        row["load_mvar"] = _profile(instance.load_mvar[:, k])
    lines = _rows(branches, _BRANCH)
    for k, row in enumerate(lines):
        row["from_bus"], row["to_bus"] = names[branches.from_bus[k]], names[branches.to_bus[k]]
    units = _rows(generators, (*_OUTPUT, *_COST, "ramp_mw_h"))
    for k, row in enumerate(units):
        row["bus"] = names[generators.bus[k]]
        if generators.curves[k]:
            row["cost_points"] = [list(point) for point in generators.curves[k]]
        if instance.available_mw is not None:
            row["available_mw"] = instance.available_mw[:, k].tolist()
    stores = _rows(storage, _STORAGE)
    for k, row in enumerate(stores):
        row["bus"] = names[storage.bus[k]]
    head = {
        "problem": instance.problem,
        "name": instance.name,
        "base_mva": instance.base_mva,
        "periods": instance.num_periods,
        "period_h": instance.period_h,
    }
    parts = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    tables = (("buses", buses), ("branches", lines), ("generators", units), ("storage", stores))
    for key, rows in tables:
        body = "[\n  " + ",\n  ".join(json.dumps(row) for row in rows) + "\n ]" if rows else "[]"
        parts.append(f' "{key}": {body}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _rows(table: Any, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """One object per row; what is infinite is left out."""
    values = {name: getattr(table, name).tolist() for name in columns}
    return [
        {"name": name} | {column: value[k] for column, value in values.items() if isfinite(value[k])}
        for k, name in enumerate(table.names)
    ]


def _profile(values: Floats) -> float | list[float]:
    return float(values[0]) if (values == values[0]).all() else values.tolist()
