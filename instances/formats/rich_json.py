"""Apportion's own JSON for rich routing: locations, vehicle types, groups and pairs, with coordinates or a matrix."""

from __future__ import annotations

import json
from functools import cache
from math import inf, isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from apportion.instances.core import Instance
from apportion.instances.errors import Fault, InstanceError, OptionError
from apportion.instances.formats.pydantic_faults import faults_of
from apportion.instances.program import Floats
from apportion.instances.rich_routing import RichRouting, VehicleType
from apportion.instances.rich_rules import Balance, Break, Lock, Traffic
from apportion.instances.routing import MOST_CLIENTS, Rounding, euclidean

if TYPE_CHECKING:
    from apportion.instances.reading import Source

_MOST_SHOWN = 50
_OPEN = ("due", "overtime_after", "most_duration", "most_distance")
"""Of a vehicle; left out, they do not bind."""
_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Index = Annotated[int, Field(ge=0, le=MOST_CLIENTS)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LocationRow(_Row):
    """A depot (the first ones) or a client; ``prize`` makes a client optional."""

    x: Annotated[float, Field(allow_inf_nan=False)] | None = None
    y: Annotated[float, Field(allow_inf_nan=False)] | None = None
    delivery: list[_Number] = Field(default_factory=list)
    pickup: list[_Number] = Field(default_factory=list)
    shipment: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=list)
    ready: _Number = 0.0
    due: _Number | None = None
    service: _Number = 0.0
    release: _Number = 0.0
    prize: _Number | None = None
    soft_due: _Number | None = None
    late_cost: _Number = 0.0


class BreakRow(_Row):
    """A rest that begins within a window."""

    earliest: _Number
    latest: _Number
    length: _Number


class TrafficRow(_Row):
    """Speeds over the day, and the profile of each way when there are several."""

    times: list[_Number]
    speeds: list[list[_Number]]
    profile: list[list[_Index]] | None = None


class BalanceRow(_Row):
    """The price of unequal routes."""

    measure: Literal["distance", "duration", "load", "stops"]
    longest_cost: _Number = 0.0
    range_cost: _Number = 0.0


class LockRow(_Row):
    """A route under way."""

    vehicle: _Index
    stops: list[_Index]
    begin: _Number | None = None
    leaves: _Number | None = None


class VehicleRow(_Row):
    """A type of vehicle; limits that are left out do not bind."""

    count: Annotated[int, Field(ge=1)]
    capacity: list[_Number]
    start: _Index = 0
    end: _Index = 0
    fixed_cost: _Number = 0.0
    distance_cost: _Number = 1.0
    time_cost: _Number = 0.0
    ready: _Number = 0.0
    due: _Number | None = None
    overtime_after: _Number | None = None
    overtime_cost: _Number = 0.0
    breaks: list[BreakRow] = Field(default_factory=list)
    most_duration: _Number | None = None
    most_distance: _Number | None = None
    reload: _Index | None = None
    most_reloads: Annotated[int, Field(ge=0)] = 0
    serves: list[_Index] | None = None


class RichFile(_Row):
    """The whole file; ``null`` in ``distance`` forbids a way, and ``duration`` is the distance when left out."""

    problem: Literal["rich-routing"]
    name: str = ""
    num_depots: Annotated[int, Field(ge=1)] = 1
    rounding: Literal["nearest", "up", "down", "truncate-1-decimal", "nearest-3-decimals", "none"] = "none"
    locations: list[LocationRow]
    vehicles: list[VehicleRow]
    distance: list[list[_Number | None]] | None = None
    duration: list[list[_Number | None]] | None = None
    groups: list[list[_Index]] = Field(default_factory=list)
    pairs: list[tuple[_Index, _Index]] = Field(default_factory=list)
    backhauls_last: bool = False
    traffic: TrafficRow | None = None
    balance: BalanceRow | None = None
    locks: list[LockRow] = Field(default_factory=list)


@cache
def _adapter() -> TypeAdapter[RichFile]:
    return TypeAdapter(RichFile)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the format."""
    return _adapter().json_schema()


def parse(text: str, source: Source) -> RichRouting:
    """Read an instance; raise :class:`InstanceError` with the path and value of every fault."""
    try:
        content = _adapter().validate_json(text)
    except ValidationError as error:
        raise InstanceError(str(source.path), faults_of(error)) from error
    faults = _misfits(content)
    if faults:
        raise InstanceError(str(source.path), faults)
    rows, loads = content.locations, len(content.vehicles[0].capacity)
    points = np.array([[row.x or 0.0, row.y or 0.0] for row in rows])
    known = all(row.x is not None and row.y is not None for row in rows)
    rounding = Rounding(content.rounding)
    distance = _matrix(content.distance) if content.distance is not None else euclidean(points, rounding)
    try:
        return RichRouting(
            name=content.name or source.name,
            num_depots=content.num_depots,
            distance=distance,
            duration=distance if content.duration is None else _matrix(content.duration),
            delivery=_loads([row.delivery for row in rows], loads),
            pickup=_loads([row.pickup for row in rows], loads),
            shipment=_loads([row.shipment for row in rows], loads),
            ready=np.array([row.ready for row in rows]),
            due=np.array([_or_inf(row.due) for row in rows]),
            service=np.array([row.service for row in rows]),
            release=np.array([row.release for row in rows]),
            prize=np.array([_or_inf(row.prize) for row in rows]),
            vehicles=tuple(_vehicle(row) for row in content.vehicles),
            groups=tuple(tuple(group) for group in content.groups),
            pairs=tuple(content.pairs),
            backhauls_last=content.backhauls_last,
            soft_due=np.array([_or_inf(row.soft_due) for row in rows]),
            late_cost=np.array([row.late_cost for row in rows]),
            traffic=_traffic(content.traffic),
            balance=None if content.balance is None else Balance(**content.balance.model_dump()),
            locks=tuple(Lock(row.vehicle, tuple(row.stops), row.begin, row.leaves) for row in content.locks),
            coordinates=points if known else None,
            rounding=rounding,
        )
    except InstanceError as error:
        raise InstanceError(str(source.path), error.faults) from error


def _misfits(content: RichFile) -> list[Fault]:
    """Lists whose lengths do not go together."""
    faults: list[Fault] = []
    size = len(content.locations)
    if not content.locations:
        faults.append(Fault("locations", "must not be empty"))
    if not content.vehicles:
        faults.append(Fault("vehicles", "must not be empty", hint="add a vehicle type"))
    loads = len(content.vehicles[0].capacity) if content.vehicles else 0
    for number, row in enumerate(content.locations):
        for name in ("delivery", "pickup", "shipment"):
            given = getattr(row, name)
            if len(given) not in (0, loads):
                faults.append(Fault(f"locations[{number}].{name}", f"must have {loads} entries or none", given))
        if content.distance is None and (row.x is None or row.y is None):
            faults.append(Fault(f"locations[{number}]", "needs x and y, or the file a distance matrix"))
    profile = None if content.traffic is None else content.traffic.profile
    for name, matrix in (("distance", content.distance), ("duration", content.duration), ("traffic.profile", profile)):
        if matrix is not None and (len(matrix) != size or any(len(line) != size for line in matrix)):
            faults.append(Fault(name, f"must be {size} rows of {size} numbers", len(matrix)))
    return faults[:_MOST_SHOWN]


def _loads(rows: list[list[float]], loads: int) -> Floats:
    return np.array([row or [0.0] * loads for row in rows], np.float64).reshape(len(rows), loads)


def _matrix(rows: list[list[float | None]]) -> Floats:
    return np.array([[_or_inf(value) for value in row] for row in rows])


def _or_inf(value: float | None) -> float:
    return inf if value is None else value


def _or_none(value: float) -> float | None:
    return value if isfinite(value) else None


def _vehicle(row: VehicleRow) -> VehicleType:
    given: dict[str, Any] = row.model_dump()
    given |= {name: _or_inf(given[name]) for name in _OPEN}
    given["serves"] = None if row.serves is None else frozenset(row.serves)
    given["breaks"] = tuple(Break(**rest.model_dump()) for rest in row.breaks)
    given["capacity"] = tuple(row.capacity)
    return VehicleType(**given)


def _traffic(row: TrafficRow | None) -> Traffic | None:
    if row is None:
        return None
    profile = None if row.profile is None else np.array(row.profile, np.int64)
    return Traffic(tuple(row.times), tuple(map(tuple, row.speeds)), profile)


def render(instance: Instance) -> str:
    """Write ``instance``; reading it again gives the same one. Matrices are written only where they are needed."""
    if not isinstance(instance, RichRouting):
        raise OptionError(f"this JSON holds no {instance.problem}")
    points = instance.coordinates
    computed = points is not None and np.array_equal(euclidean(points, instance.rounding), instance.distance)
    same = np.array_equal(instance.duration, instance.distance)
    content: dict[str, Any] = {
        "problem": "rich-routing",
        "name": instance.name,
        "num_depots": instance.num_depots,
        "rounding": instance.rounding.value,
        "locations": [_location(instance, number) for number in range(instance.num_locations)],
        "vehicles": [_vehicle_row(vehicle) for vehicle in instance.vehicles],
        "groups": [list(group) for group in instance.groups],
        "pairs": [list(pair) for pair in instance.pairs],
        "backhauls_last": instance.backhauls_last,
    } | _rules(instance)
    for name, matrix, needed in (
        ("distance", instance.distance, not computed),
        ("duration", instance.duration, not same),
    ):
        if needed:
            content[name] = [[_or_none(value) for value in row] for row in matrix.tolist()]
    return json.dumps(content, indent=1) + "\n"


def _location(instance: RichRouting, number: int) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if instance.coordinates is not None:
        row |= {"x": float(instance.coordinates[number, 0]), "y": float(instance.coordinates[number, 1])}
    for name in ("delivery", "pickup", "shipment"):
        load = getattr(instance, name)[number]
        row |= {name: load.tolist()} if load.any() else {}
    for name in ("ready", "due", "service", "release", "prize", "soft_due", "late_cost"):
        value = float(getattr(instance, name)[number])
        default = inf if name in ("due", "prize", "soft_due") else 0.0
        row |= {} if value == default else {name: value}
    return row


def _vehicle_row(vehicle: VehicleType) -> dict[str, Any]:
    row = dict(vars(vehicle))
    row |= {name: _or_none(row[name]) for name in _OPEN}
    row["breaks"] = [dict(vars(rest)) for rest in vehicle.breaks]
    serves = None if vehicle.serves is None else sorted(vehicle.serves)
    return row | {"capacity": list(vehicle.capacity), "serves": serves}


def _rules(instance: RichRouting) -> dict[str, Any]:
    """Traffic, balance and locks, where there are any."""
    found: dict[str, Any] = {}
    if instance.traffic is not None:
        found["traffic"] = {"times": list(instance.traffic.times), "speeds": list(map(list, instance.traffic.speeds))}
        if instance.traffic.profile is not None:
            found["traffic"]["profile"] = np.asarray(instance.traffic.profile).tolist()
    if instance.balance is not None:
        found["balance"] = dict(vars(instance.balance))
    if instance.locks:
        found["locks"] = [dict(vars(lock)) | {"stops": list(lock.stops)} for lock in instance.locks]
    return found
