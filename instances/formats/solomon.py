"""Solomon's text format for vehicle routing with time windows, which Gehring and Homberger use as well.

The file gives coordinates, not distances. By default distances and travel times are cut after the first decimal, the
convention of the DIMACS challenge and of the proven optima; :func:`~apportion.instances.routing.with_rounding` changes
it. A comment line ``# rounding: none`` at the end of the file, which :func:`render` writes, is kept.

References
----------
Solomon, M. M. (1987). Algorithms for the vehicle routing and scheduling problems with time window constraints.
Operations Research 35(2), 254-265.
"""

from __future__ import annotations

import re
from math import isfinite

import numpy as np

from apportion.instances.core import Instance
from apportion.instances.errors import InstanceError, OptionError
from apportion.instances.program import Floats
from apportion.instances.reading import Source
from apportion.instances.routing import MOST_CLIENTS, Rounding, VehicleRouting, euclidean
from apportion.instances.validation import FaultList

_FIELDS = ("CUST NO.", "XCOORD.", "YCOORD.", "DEMAND", "READY TIME", "DUE DATE", "SERVICE TIME")
_ROUNDING = re.compile(r"^#\s*rounding\s*:\s*(\S+)", re.IGNORECASE)
Lines = list[tuple[int, list[str]]]


def parse(text: str, source: Source) -> VehicleRouting:
    """Read Solomon's format; every fault with its line."""
    faults = FaultList(str(source.path))
    rounding = _rounding(text, faults)
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if _holds(line)]
    fleet_at = _find(lines, "VEHICLE", faults)
    clients_at = _find(lines, "CUSTOMER", faults)
    faults.raise_if_any()
    vehicles, capacity = _fleet(lines[fleet_at + 1 : clients_at], faults)
    table = _table(lines[clients_at + 1 :], faults)
    faults.raise_if_any()
    name = " ".join(lines[0][1]) if fleet_at > 0 else source.name
    distance = euclidean(table[:, :2], rounding)
    try:
        return VehicleRouting(
            name=name,
            distance=distance,
            duration=distance,
            demand=table[:, 2],
            capacity=capacity,
            ready=table[:, 3],
            due=table[:, 4],
            service=table[:, 5],
            num_vehicles=vehicles,
            coordinates=table[:, :2],
            rounding=rounding,
        )
    except InstanceError as error:
        raise InstanceError(str(source.path), error.faults) from error


def _holds(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _rounding(text: str, faults: FaultList) -> Rounding:
    for number, line in enumerate(text.splitlines(), 1):
        found = _ROUNDING.match(line)
        if found:
            known = [rounding.value for rounding in Rounding]
            if found[1] in known:
                return Rounding(found[1])
            faults.add(f"line {number}", "names no rounding", found[1], f"one of {', '.join(known)}")
    return Rounding.TRUNCATE_1_DECIMAL


def _find(lines: Lines, word: str, faults: FaultList) -> int:
    for position, (_, words) in enumerate(lines):
        if len(words) == 1 and words[0].upper() == word:
            return position
    faults.add("", f"has no line {word}", hint="it is not in Solomon's format; VRPLIB files end in .vrp")
    return 0


def _fleet(lines: Lines, faults: FaultList) -> tuple[int, float]:
    for number, words in lines:
        values = _numbers(words)
        if values is None:
            continue
        if len(values) == 2 and values[0].is_integer() and values[0] >= 1:
            return int(values[0]), values[1]
        faults.add(f"line {number}", "must give a whole number of vehicles and their capacity", " ".join(words))
        return 1, 0.0
    faults.add("VEHICLE", "is followed by no line with number and capacity")
    return 1, 0.0


def _table(lines: Lines, faults: FaultList) -> Floats:
    """Rows by location: x, y, demand, ready, due, service."""
    rows: dict[int, list[float]] = {}
    for position, (number, words) in enumerate(lines):
        if position == 0 and words[0].upper().startswith("CUST"):
            continue
        values = _numbers(words)
        if values is None or len(values) != len(_FIELDS):
            faults.add(f"line {number}", f"must hold {len(_FIELDS)} numbers ({', '.join(_FIELDS)})", " ".join(words))
        elif not values[0].is_integer() or not 0 <= values[0] <= MOST_CLIENTS:
            faults.add(f"line {number}", f"the client's number must lie in 0..{MOST_CLIENTS}", words[0])
        elif int(values[0]) in rows:
            faults.add(f"line {number}", "repeats the number of a client", words[0])
        else:
            rows[int(values[0])] = values[1:]
        if len(faults.faults) > 20:
            break
    missing = [client for client in range(len(rows)) if client not in rows][:5]
    for client in missing:
        faults.add("CUSTOMER", f"misses number {client} of 0..{len(rows) - 1}", hint="number clients without gaps")
    faults.require(bool(rows), "CUSTOMER", "is followed by no clients", hint="the file is truncated")
    if faults.faults:
        return np.zeros((1, 6))
    return np.array([rows[client] for client in range(len(rows))])


def _numbers(words: list[str]) -> list[float] | None:
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    return values if all(isfinite(value) for value in values) else None


def render(instance: Instance) -> str:
    """Write Solomon's format.

    Raises
    ------
    OptionError
        When the format cannot hold the instance: a given matrix, no windows, or no limit on the vehicles.
    """
    if not isinstance(instance, VehicleRouting):
        raise OptionError(f"Solomon's format holds no {instance.problem}")
    coordinates = _coordinates(instance)
    lines = [instance.name, "", "VEHICLE", "NUMBER     CAPACITY"]
    lines += [f"{instance.num_vehicles or max(1, instance.num_clients):4d} {instance.capacity:>12.15g}", "", "CUSTOMER"]
    lines += ["CUST NO.   XCOORD.   YCOORD.   DEMAND   READY TIME   DUE DATE   SERVICE TIME", ""]
    columns = (instance.demand, instance.ready, instance.due, instance.service)
    for client, place in enumerate(coordinates):
        values = [*place, *(column[client] for column in columns)]
        lines.append(f"{client:5d} " + " ".join(f"{value:>10.15g}" for value in values))
    if instance.rounding is not Rounding.TRUNCATE_1_DECIMAL:
        lines.append(f"# rounding: {instance.rounding}")
    return "\n".join(lines) + "\n"


def _coordinates(instance: VehicleRouting) -> Floats:
    """The coordinates, when they and the rest of the format hold all of the instance."""
    coordinates = instance.coordinates
    if coordinates is None or not np.array_equal(euclidean(coordinates, instance.rounding), instance.distance):
        raise OptionError("Solomon's format has coordinates, not a matrix of distances\nMaybe write .vrp")
    if not np.array_equal(instance.duration, instance.distance):
        raise OptionError("Solomon's format has no travel times apart from distances")
    if not np.isfinite(instance.due).all():
        raise OptionError("Solomon's format needs a window for every client\nMaybe write .vrp")
    return coordinates
