"""Li and Lim's text format for pickup and delivery with time windows.

The first line gives the vehicles, their capacity and a speed of 1; then one line for each location: number, x, y, load,
ready, due, service, and the numbers of its pickup and its delivery (0 for none). Distances are exact, and the objective
here is their sum; published tables put the number of vehicles first.

References
----------
Li, H., Lim, A. (2001). A metaheuristic for the pickup and delivery problem with time windows. Proceedings of the 13th
IEEE International Conference on Tools with Artificial Intelligence, 160-167.
"""

from __future__ import annotations

from math import inf, isfinite

import numpy as np

from apportion.instances.errors import InstanceError
from apportion.instances.program import Floats
from apportion.instances.reading import Source
from apportion.instances.rich_routing import RichRouting, VehicleType
from apportion.instances.routing import MOST_CLIENTS, euclidean
from apportion.instances.validation import FaultList

_WIDTH = 9
_MOST_VEHICLES = 100_000
_MOST_FAULTS = 20


def parse(text: str, source: Source) -> RichRouting:
    """Read Li and Lim's format; every fault with its line."""
    faults = FaultList(str(source.path))
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    vehicles, capacity = _fleet(lines, faults)
    rows = _rows(lines[1:], faults)
    faults.raise_if_any()
    pairs = _pairs(rows, faults)
    faults.raise_if_any()
    size = len(rows)
    distance = euclidean(rows[:, 1:3])
    try:
        return RichRouting(
            name=source.name,
            num_depots=1,
            distance=distance,
            duration=distance,
            delivery=np.zeros((size, 1)),
            pickup=np.zeros((size, 1)),
            shipment=rows[:, 3:4],
            ready=rows[:, 4],
            due=rows[:, 5],
            service=rows[:, 6],
            release=np.zeros(size),
            prize=np.full(size, inf),
            vehicles=(VehicleType(vehicles, (capacity,), ready=float(rows[0, 4]), due=float(rows[0, 5])),),
            pairs=pairs,
            coordinates=rows[:, 1:3],
        )
    except InstanceError as error:
        raise InstanceError(str(source.path), error.faults) from error


def _numbers(words: list[str]) -> list[float]:
    """The words as finite numbers; empty when one is not."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return []
    return values if all(isfinite(value) for value in values) else []


def _fleet(lines: list[tuple[int, list[str]]], faults: FaultList) -> tuple[int, float]:
    values = _numbers(lines[0][1]) if lines else []
    good = len(values) == 3 and values[0].is_integer() and 1 <= values[0] <= _MOST_VEHICLES and values[2] == 1
    if not good:
        faults.add("line 1", "must hold vehicles, capacity and a speed of 1", " ".join(lines[0][1]) if lines else "")
        return 1, 0.0
    return int(values[0]), values[1]


def _rows(lines: list[tuple[int, list[str]]], faults: FaultList) -> Floats:
    """By location, shape (n, 9)."""
    rows: list[list[float]] = []
    for number, words in lines:
        values = _numbers(words)
        if len(values) != _WIDTH:
            faults.add(f"line {number}", f"must hold {_WIDTH} numbers", " ".join(words)[:60])
        elif values[0] != len(rows):
            faults.add(f"line {number}", f"must be location {len(rows)}", words[0], "lines are missing or repeated")
        else:
            rows.append(values)
        if len(faults.faults) > _MOST_FAULTS:
            break
    faults.require(0 < len(rows) <= MOST_CLIENTS + 1, "locations", f"must be 1..{MOST_CLIENTS + 1}", len(rows))
    return np.array(rows) if rows else np.zeros((1, _WIDTH))


def _pairs(rows: Floats, faults: FaultList) -> tuple[tuple[int, int], ...]:
    """Origin and destination, each naming the other."""
    pairs = []
    for client in range(1, len(rows)):
        pickup, delivery = rows[client, 7], rows[client, 8]
        other = pickup or delivery
        whole = float(other).is_integer() and 1 <= other < len(rows) and (pickup == 0) != (delivery == 0)
        place = f"location {client}"
        if not whole:
            faults.add(place, "must name either its pickup or its delivery", [float(pickup), float(delivery)])
        elif rows[int(other), 8 if pickup else 7] != client:
            faults.add(place, "is not named by the other end of its pair", int(other))
        elif delivery:
            pairs.append((client, int(delivery)))
        if len(faults.faults) > _MOST_FAULTS:
            break
    return tuple(pairs)
