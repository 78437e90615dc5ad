"""Cordeau's text format for several depots (kind 2), with exact distances.

The first line gives the kind, the vehicles of each depot, the clients and the depots; then for each depot a line with
the longest route (0 for any) and the capacity; then the clients (number, x, y, service, demand, and visiting patterns
that kind 2 does not need) and the depots in the same form.

References
----------
Cordeau, J.-F., Gendreau, M., Laporte, G. (1997). A tabu search heuristic for periodic and multi-depot vehicle routing
problems. Networks 30(2), 105-119.
"""

from __future__ import annotations

from math import inf, isfinite

import numpy as np

from apportion.instances.errors import InstanceError
from apportion.instances.reading import Source
from apportion.instances.rich_routing import RichRouting, VehicleType
from apportion.instances.routing import MOST_CLIENTS, euclidean
from apportion.instances.validation import FaultList

_KIND = 2
_LEAST_WIDTH = 3
_CLIENT_WIDTH = 5
_MOST_VEHICLES = 100_000
_MOST_FAULTS = 20


def parse(text: str, source: Source) -> RichRouting:
    """Read Cordeau's format; every fault with its line. Depots become the first locations."""
    faults = FaultList(str(source.path))
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    head = _numbers(lines[0][1], 4) if lines else []
    whole = len(head) == 4 and all(value.is_integer() for value in head)
    faults.require(whole and head[0] == _KIND, "line 1", f"must be {_KIND}, vehicles, clients, depots", head)
    faults.raise_if_any()
    vehicles, clients, depots = (int(value) for value in head[1:])
    faults.require(1 <= vehicles <= _MOST_VEHICLES, "line 1", f"vehicles must lie in 1..{_MOST_VEHICLES}", vehicles)
    fits = 0 <= clients <= MOST_CLIENTS and 1 <= depots <= MOST_CLIENTS
    faults.require(fits, "line 1", f"clients and depots must be at most {MOST_CLIENTS}", [clients, depots])
    expected = 1 + depots + clients + depots
    faults.require(len(lines) == expected, "", f"must have {expected} lines", len(lines), "the file is truncated")
    faults.raise_if_any()
    limits = [_row(line, 2, faults) for line in lines[1 : 1 + depots]]
    rows = [_row(line, _CLIENT_WIDTH, faults) for line in lines[1 + depots : 1 + depots + clients]]
    homes = [_row(line, _LEAST_WIDTH, faults) for line in lines[1 + depots + clients :]]
    for position, row in enumerate(rows, 1):
        if row and row[0] != position and len(faults.faults) < _MOST_FAULTS:
            faults.add(f"client {position}", "must be numbered so", row[0], "lines are missing or repeated")
    faults.raise_if_any()
    size = depots + clients
    points = np.array([row[1:3] for row in (*homes, *rows)])
    demand, service = np.zeros((size, 1)), np.zeros(size)
    if clients:
        demand[depots:, 0] = [row[4] for row in rows]
        service[depots:] = [row[3] for row in rows]
    distance = euclidean(points)
    nothing = np.zeros((size, 1))
    try:
        return RichRouting(
            name=source.name,
            num_depots=depots,
            distance=distance,
            duration=distance,
            delivery=demand,
            pickup=nothing,
            shipment=nothing,
            ready=np.zeros(size),
            due=np.full(size, inf),
            service=service,
            release=np.zeros(size),
            prize=np.full(size, inf),
            vehicles=tuple(
                VehicleType(vehicles, (capacity,), start=depot, end=depot, most_duration=longest or inf)
                for depot, (longest, capacity) in enumerate(limits)
            ),
            coordinates=points,
        )
    except InstanceError as error:
        raise InstanceError(str(source.path), error.faults) from error


def _numbers(words: list[str], least: int) -> list[float]:
    """The words as at least so many finite numbers, or nothing."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return []
    return values if len(values) >= least and all(isfinite(value) for value in values) else []


def _row(line: tuple[int, list[str]], least: int, faults: FaultList) -> list[float]:
    values = _numbers(line[1], least)
    if not values and len(faults.faults) < _MOST_FAULTS:
        faults.add(f"line {line[0]}", f"must hold at least {least} numbers", " ".join(line[1])[:60])
    return values[:least] if least == 2 else values
