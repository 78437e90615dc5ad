"""pglib-uc: the JSON files of the power-grid-lib benchmark library for unit commitment.

Times are hours, powers MW; the meaning of each key is that of the library's ``MODEL.tex``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from apportion.instances.commitment import (
    ProductionPoint,
    RenewableUnit,
    StartupCategory,
    ThermalUnit,
    UnitCommitment,
    collect_faults,
)
from apportion.instances.errors import Fault, InstanceError
from apportion.instances.validation import FaultList

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from apportion.instances.reading import Source

_KEYS = {
    "demand_mw": "demand",
    "reserve_mw": "reserves",
    "thermal": "thermal_generators",
    "renewable": "renewable_generators",
    "power_min_mw": "power_output_minimum",
    "power_max_mw": "power_output_maximum",
    "ramp_up_mw": "ramp_up_limit",
    "ramp_down_mw": "ramp_down_limit",
    "startup_limit_mw": "ramp_startup_limit",
    "shutdown_limit_mw": "ramp_shutdown_limit",
    "min_up_h": "time_up_minimum",
    "min_down_h": "time_down_minimum",
    "initially_on": "unit_on_t0",
    "initial_power_mw": "power_output_t0",
    "initial_up_h": "time_up_t0",
    "initial_down_h": "time_down_t0",
    "production": "piecewise_production",
    "power_mw": "mw",
    "lag_h": "lag",
}
"""Our field -> the key in the file; the others have the same name in both."""

_MOST_FAULTS = 100


@cache
def _adapter() -> TypeAdapter[Any]:
    """The shape of a file. Built once, when first used: pydantic takes a while to load."""
    from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter

    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    class Startup(Strict):
        lag: NonNegativeInt
        cost: float

    class Point(Strict):
        mw: float
        cost: float

    class Thermal(Strict):
        name: str | None = None
        must_run: Annotated[int, Field(ge=0, le=1)]
        power_output_minimum: float
        power_output_maximum: float
        ramp_up_limit: float
        ramp_down_limit: float
        ramp_startup_limit: float
        ramp_shutdown_limit: float
        time_up_minimum: NonNegativeInt
        time_down_minimum: NonNegativeInt
        power_output_t0: float
        unit_on_t0: Annotated[int, Field(ge=0, le=1)]
        time_up_t0: NonNegativeInt
        time_down_t0: NonNegativeInt
        startup: list[Startup]
        piecewise_production: list[Point]

    class Renewable(Strict):
        name: str | None = None
        power_output_minimum: list[float]
        power_output_maximum: list[float]

    class Day(Strict):
        time_periods: PositiveInt
        demand: list[float]
        reserves: list[float]
        thermal_generators: dict[str, Thermal]
        renewable_generators: dict[str, Renewable]

    # the classes are local so that importing this module stays light; pydantic resolves their annotations here
    space = {**globals(), **locals()}
    for shape in (Startup, Point, Thermal, Renewable, Day):
        shape.model_rebuild(_types_namespace=space)
    return TypeAdapter(Day)


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys came twice."""

    repeated: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        found.repeated = tuple(sorted({key for key in keys if keys.count(key) > 1}))
    return found


def parse(text: str, source: Source) -> UnitCommitment:
    """Read a pglib-uc file.

    Raises
    ------
    InstanceError
        With every fault found, each at its JSON path such as ``thermal_generators.GEN1.ramp_up_limit``.
    """
    where = str(source.path)
    data = _load(text, where)
    faults = FaultList(where)
    for path in _repeated_keys(data, ""):
        faults.add(path, "appears twice in the same object")
    day = _validated(data, faults)
    if day is None:
        raise InstanceError(where, faults.faults[:_MOST_FAULTS])
    thermal = tuple(_thermal(name, unit) for name, unit in day.thermal_generators.items())
    renewable = tuple(
        RenewableUnit(name, np.array(unit.power_output_minimum), np.array(unit.power_output_maximum))
        for name, unit in day.renewable_generators.items()
    )
    _check_lengths(faults, day)
    _check_inner_names(faults, day)
    if not faults.faults:
        collect_faults(faults, day.demand, day.reserves, thermal, renewable, _place)
    faults.raise_if_any()
    return UnitCommitment(source.name, np.array(day.demand), np.array(day.reserves), thermal, renewable)


def _load(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        hint = "the file is cut off" if error.pos >= len(text.rstrip()) - 1 else ""
        raise InstanceError(where, [Fault(place, f"is not JSON: {error.msg}", hint=hint)]) from error
    except (RecursionError, ValueError) as error:
        raise InstanceError(where, [Fault("", f"is not JSON that can be read: {error}")]) from error


def _repeated_keys(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Object):
        for key in value.repeated:
            yield _joined(path, key)
        for key, inner in value.items():
            yield from _repeated_keys(inner, _joined(path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict | list):
        for position, inner in enumerate(value):
            yield from _repeated_keys(inner, f"{path}[{position}]")


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _validated(data: Any, faults: FaultList) -> Any:
    from pydantic import ValidationError

    try:
        return _adapter().validate_python(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False):
            path = ""
            for part in detail["loc"]:
                path = f"{path}[{part}]" if isinstance(part, int) else _joined(path, str(part))
            missing = detail["type"] == "missing"
            value = None if missing else detail["input"]
            message = "is missing" if missing else _lowered(detail["msg"])
            if detail["type"] == "extra_forbidden":
                message = "is no key of this format"
            faults.add(path, message, value)
        return None


def _lowered(message: str) -> str:
    return re.sub(r"^Input ", "", message)


def _thermal(name: str, unit: Any) -> ThermalUnit:
    return ThermalUnit(
        name=name,
        must_run=bool(unit.must_run),
        power_min_mw=unit.power_output_minimum,
        power_max_mw=unit.power_output_maximum,
        ramp_up_mw=unit.ramp_up_limit,
        ramp_down_mw=unit.ramp_down_limit,
        startup_limit_mw=unit.ramp_startup_limit,
        shutdown_limit_mw=unit.ramp_shutdown_limit,
        min_up_h=unit.time_up_minimum,
        min_down_h=unit.time_down_minimum,
        initially_on=bool(unit.unit_on_t0),
        initial_power_mw=unit.power_output_t0,
        initial_up_h=unit.time_up_t0,
        initial_down_h=unit.time_down_t0,
        startup=tuple(StartupCategory(category.lag, category.cost) for category in unit.startup),
        production=tuple(ProductionPoint(point.mw, point.cost) for point in unit.piecewise_production),
    )


def _check_lengths(faults: FaultList, day: Any) -> None:
    periods = day.time_periods
    series: dict[str, list[float]] = {"demand": day.demand, "reserves": day.reserves}
    for name, unit in day.renewable_generators.items():
        for key in ("power_output_minimum", "power_output_maximum"):
            series[f"renewable_generators.{name}.{key}"] = getattr(unit, key)
    for path, values in series.items():
        message = f"must have one number for each of the {periods} periods"
        faults.require(len(values) == periods, path, message, len(values), "hours are missing or time_periods is wrong")


def _check_inner_names(faults: FaultList, day: Any) -> None:
    for group in ("thermal_generators", "renewable_generators"):
        for key, unit in getattr(day, group).items():
            same = unit.name is None or unit.name == key
            faults.require(same, f"{group}.{key}.name", f"must be the key {key!r}", unit.name)


def _place(kind: str, unit: str, field_name: str) -> str:
    head = _KEYS.get(kind, kind)
    if not field_name:
        return head
    words = re.sub(r"\w+", lambda match: _KEYS.get(match[0], match[0]), field_name)
    return f"{head}.{unit}.{words}"


def render(instance: UnitCommitment) -> str:
    """Write an instance as a pglib-uc file; reading it back gives the same numbers."""
    data = {
        "time_periods": instance.num_periods,
        "demand": instance.demand_mw.tolist(),
        "reserves": instance.reserve_mw.tolist(),
        "thermal_generators": {unit.name: _rendered(unit) for unit in instance.thermal},
        "renewable_generators": {
            unit.name: {
                "name": unit.name,
                "power_output_minimum": unit.power_min_mw.tolist(),
                "power_output_maximum": unit.power_max_mw.tolist(),
            }
            for unit in instance.renewable
        },
    }
    return json.dumps(data, indent=1) + "\n"


def _rendered(unit: ThermalUnit) -> Mapping[str, object]:
    plain = (
        "power_min_mw power_max_mw ramp_up_mw ramp_down_mw startup_limit_mw shutdown_limit_mw min_up_h min_down_h "
        "initial_power_mw initial_up_h initial_down_h"
    )
    return {
        "name": unit.name,
        "must_run": int(unit.must_run),
        "unit_on_t0": int(unit.initially_on),
        **{_KEYS[name]: getattr(unit, name) for name in plain.split()},
        "startup": [{"lag": category.lag_h, "cost": category.cost} for category in unit.startup],
        "piecewise_production": [{"mw": point.power_mw, "cost": point.cost} for point in unit.production],
    }
