"""VRPLIB files (``.vrp``) and CVRPLIB solution files (``.sol``).

Read are capacitated routing and time windows with one depot: coordinates (``EUC_2D``, ``CEIL_2D``, ``FLOOR_2D``,
rounded as TSPLIB says) or explicit matrices, demands, windows, service times and a number of vehicles. A section or
specification that the instance could not hold, such as backhauls or several depots, is refused by name.

References
----------
Helsgaun, K. (2017). An extension of the Lin-Kernighan-Helsgaun TSP solver for constrained traveling salesman and
vehicle routing problems. Roskilde University.
"""

from __future__ import annotations

from math import inf, isfinite
from typing import TypeVar

import numpy as np
from vrplib.parse.parse_utils import text2lines
from vrplib.parse.parse_vrplib import group_specifications_and_sections

from apportion.instances.core import Instance, Plan
from apportion.instances.errors import Fault, InstanceError, OptionError, PlanError
from apportion.instances.program import Floats
from apportion.instances.reading import Source
from apportion.instances.routing import MOST_CLIENTS, Rounding, Routes, VehicleRouting, euclidean
from apportion.instances.validation import FaultList

_ROUNDINGS = {"EUC_2D": Rounding.NEAREST, "CEIL_2D": Rounding.UP, "FLOOR_2D": Rounding.DOWN}
_MATRICES = ("FULL_MATRIX", "LOWER_ROW", "UPPER_ROW", "LOWER_DIAG_ROW", "UPPER_DIAG_ROW")
_TYPES = ("CVRP", "ACVRP", "VRPTW", "CVRPTW")
_SPECIFICATIONS = (
    *("NAME", "COMMENT", "TYPE", "DIMENSION", "CAPACITY", "VEHICLES", "SERVICE_TIME"),
    *("EDGE_WEIGHT_TYPE", "EDGE_WEIGHT_FORMAT", "NODE_COORD_TYPE", "DISPLAY_DATA_TYPE", "BEST_KNOWN"),
)
_SECTIONS = ("NODE_COORD", "DEMAND", "DEPOT", "EDGE_WEIGHT", "TIME_WINDOW", "SERVICE_TIME")
_MOST_FAULTS = 20
Rows = list[list[str]]
T = TypeVar("T")


def parse(text: str, source: Source) -> VehicleRouting:
    """Read a VRPLIB file; every fault with its section and row."""
    faults = FaultList(str(source.path))
    specifications, sections = split(text, faults)
    size = dimension_of(specifications, faults)
    faults.raise_if_any()
    coordinates = table_of(sections, "NODE_COORD", size, 2, faults)
    demand = table_of(sections, "DEMAND", size, 1, faults)
    faults.require(demand is not None, "DEMAND_SECTION", "is missing")
    windows = table_of(sections, "TIME_WINDOW", size, 2, faults, infinite=True)
    service = service_of(specifications, sections, size, faults)
    capacity = number_of(specifications, "CAPACITY", faults)
    vehicles = number_of(specifications, "VEHICLES", faults) if "VEHICLES" in specifications else None
    whole = vehicles is None or vehicles.is_integer()
    faults.require(whole, "VEHICLES", "must be a whole number", vehicles)
    _depot(sections, faults)
    distance, rounding = distance_of(specifications, sections, size, coordinates, faults)
    faults.raise_if_any()
    try:
        return VehicleRouting(
            name=specifications.get("NAME") or source.name,
            distance=distance,
            duration=distance,
            demand=np.zeros(size) if demand is None else demand[:, 0],
            capacity=capacity,
            ready=np.zeros(size) if windows is None else windows[:, 0],
            due=np.full(size, inf) if windows is None else windows[:, 1],
            service=service,
            num_vehicles=None if vehicles is None else int(vehicles),
            coordinates=coordinates,
            rounding=rounding,
        )
    except InstanceError as error:
        raise InstanceError(str(source.path), error.faults) from error


def split(
    text: str,
    faults: FaultList,
    known: tuple[str, ...] = _SPECIFICATIONS,
    known_sections: tuple[str, ...] = _SECTIONS,
    kinds: tuple[str, ...] = _TYPES,
) -> tuple[dict[str, str], dict[str, Rows]]:
    """Specifications and sections by name; refuse what is unknown or stands twice."""
    try:
        specification_lines, section_lines = group_specifications_and_sections(text2lines(text))
    except (RuntimeError, ValueError) as error:
        raise InstanceError(faults.source, [Fault("", f"is not in VRPLIB's format: {error}")]) from error
    specifications: dict[str, str] = {}
    for line in specification_lines:
        name, _, value = line.partition(":")
        _keep(specifications, name.strip().upper(), value.strip(), known, "", faults)
    sections: dict[str, Rows] = {}
    for lines in section_lines:
        name = lines[0].strip(" :\t").upper().removesuffix("_SECTION")
        _keep(sections, name, [line.split() for line in lines[1:]], known_sections, "_SECTION", faults)
    kind = specifications.get("TYPE", "CVRP").upper()
    faults.require(kind in kinds, "TYPE", f"must be one of {', '.join(kinds)}", kind)
    return specifications, sections


def _keep(into: dict[str, T], name: str, value: T, known: tuple[str, ...], suffix: str, faults: FaultList) -> None:
    if name not in known:
        hint = f"take it out, or model it otherwise: read are {', '.join(known)}"
        faults.add(f"{name}{suffix}", "is not supported: this instance could not hold it", hint=hint)
    elif name in into:
        faults.add(f"{name}{suffix}", "stands twice")
    else:
        into[name] = value


def dimension_of(specifications: dict[str, str], faults: FaultList) -> int:
    """How many locations there are, 1 when that is wrong."""
    size = number_of(specifications, "DIMENSION", faults)
    fits = size.is_integer() and 1 <= size <= MOST_CLIENTS + 1
    faults.require(fits, "DIMENSION", f"must be a whole number in 1..{MOST_CLIENTS + 1}", size)
    return int(size) if fits else 1


def number_of(specifications: dict[str, str], name: str, faults: FaultList) -> float:
    """A specification that is a finite number."""
    if name not in specifications:
        faults.add(name, "is missing")
        return 1.0
    value = float_of(specifications[name])
    if value is None or not isfinite(value):
        faults.add(name, "must be a finite number", specifications[name])
        return 1.0
    return value


def float_of(word: str) -> float | None:
    """A number, or None."""
    try:
        return float(word)
    except ValueError:
        return None


def table_of(
    sections: dict[str, Rows], name: str, size: int, width: int, faults: FaultList, *, infinite: bool = False
) -> Floats | None:
    """The rows of a section by node, ``width`` numbers each; None when there is no such section."""
    if name not in sections:
        return None
    table = np.full((size, width), np.nan)
    section, faults_before = f"{name}_SECTION", len(faults.faults)
    for position, words in enumerate(sections[name], 1):
        place = f"{section} row {position}"
        numbers = [float_of(word) for word in words]
        values = [number for number in numbers if number is not None and (isfinite(number) or infinite)]
        if len(words) != width + 1 or len(values) != len(words):
            faults.add(place, f"must hold the node and {width} number{'s' * (width > 1)}", " ".join(words))
        elif not values[0].is_integer() or not 1 <= values[0] <= size:
            faults.add(place, f"the node must lie in 1..{size}", words[0])
        elif not np.isnan(table[int(values[0]) - 1, 0]):
            faults.add(place, "repeats the node", words[0])
        else:
            table[int(values[0]) - 1] = values[1:]
        if len(faults.faults) - faults_before >= _MOST_FAULTS:
            break
    if len(faults.faults) == faults_before:
        for node in np.flatnonzero(np.isnan(table[:, 0]))[:5]:
            faults.add(section, "misses a node", int(node) + 1, "the file is truncated, or DIMENSION is wrong")
    return table


def service_of(specifications: dict[str, str], sections: dict[str, Rows], size: int, faults: FaultList) -> Floats:
    """From the section, or one specification for all clients; the depot needs none."""
    table = table_of(sections, "SERVICE_TIME", size, 1, faults)
    if table is not None:
        return table[:, 0]
    service = np.zeros(size)
    if "SERVICE_TIME" in specifications:
        service[1:] = number_of(specifications, "SERVICE_TIME", faults)
    return service


def _depot(sections: dict[str, Rows], faults: FaultList) -> None:
    nodes = [word for row in sections.get("DEPOT", [["1"]]) for word in row if word != "-1"]
    hint = "several depots, and depots that are not node 1, are not supported"
    faults.require(nodes == ["1"], "DEPOT_SECTION", "must name node 1 alone", " ".join(nodes), hint)


def distance_of(
    specifications: dict[str, str],
    sections: dict[str, Rows],
    size: int,
    coordinates: Floats | None,
    faults: FaultList,
) -> tuple[Floats, Rounding]:
    """The matrix of distances, given or computed, and how it was rounded."""
    kind = specifications.get("EDGE_WEIGHT_TYPE", "").upper()
    if kind == "EXPLICIT":
        return matrix_of(specifications.get("EDGE_WEIGHT_FORMAT", "").upper(), sections, size, faults), Rounding.NONE
    known = f"must be EXPLICIT, {', '.join(_ROUNDINGS)}"
    faults.require(kind in _ROUNDINGS, "EDGE_WEIGHT_TYPE", known, kind)
    faults.require(coordinates is not None, "NODE_COORD_SECTION", "is missing")
    faults.require("EDGE_WEIGHT" not in sections, "EDGE_WEIGHT_SECTION", f"contradicts EDGE_WEIGHT_TYPE {kind}")
    if coordinates is None or kind not in _ROUNDINGS:
        return np.zeros((size, size)), Rounding.NONE
    return euclidean(coordinates, _ROUNDINGS[kind]), _ROUNDINGS[kind]


def matrix_of(layout: str, sections: dict[str, Rows], size: int, faults: FaultList) -> Floats:
    """A matrix from the stream of numbers in its section, however the lines are cut."""
    matrix = np.zeros((size, size))
    if layout not in _MATRICES:
        faults.add("EDGE_WEIGHT_FORMAT", f"must be one of {', '.join(_MATRICES)}", layout)
        return matrix
    words = [word for row in sections.get("EDGE_WEIGHT", []) for word in row]
    cells = _cells(layout, size)
    if len(words) != len(cells[0]):
        message = f"must hold {len(cells[0])} numbers for {layout} and DIMENSION {size}"
        faults.add("EDGE_WEIGHT_SECTION", message, len(words), "the file is truncated, or DIMENSION is wrong")
        return matrix
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        for position, word in enumerate(words, 1):
            if float_of(word) is None and len(faults.faults) < _MOST_FAULTS:
                faults.add(f"EDGE_WEIGHT_SECTION number {position}", "must be a number", word)
        return matrix
    matrix[cells] = values
    return matrix if layout == "FULL_MATRIX" else np.maximum(matrix, matrix.T)


def _cells(layout: str, size: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], ...]:
    if layout == "FULL_MATRIX":
        rows, columns = np.indices((size, size))
        return rows.ravel(), columns.ravel()
    skip = 0 if "DIAG" in layout else 1
    return np.triu_indices(size, skip) if layout.startswith("UPPER") else np.tril_indices(size, -skip)


def render(instance: Instance) -> str:
    """Write VRPLIB: coordinates where TSPLIB's rounding gives the distances, a full matrix otherwise.

    Raises
    ------
    OptionError
        When the format cannot hold the instance (travel times that differ from distances).
    """
    if not isinstance(instance, VehicleRouting):
        raise OptionError(f"VRPLIB holds no {instance.problem}")
    if instance.has_time_windows and not np.array_equal(instance.duration, instance.distance):
        raise OptionError("VRPLIB has no travel times apart from distances")
    kind = _kind(instance)
    lines = [f"NAME : {instance.name}", f"TYPE : {'VRPTW' if instance.has_time_windows else 'CVRP'}"]
    lines += [f"DIMENSION : {instance.num_clients + 1}", f"CAPACITY : {instance.capacity:.17g}"]
    lines += [] if instance.num_vehicles is None else [f"VEHICLES : {instance.num_vehicles}"]
    lines.append(f"EDGE_WEIGHT_TYPE : {kind}")
    if kind == "EXPLICIT":
        lines += ["EDGE_WEIGHT_FORMAT : FULL_MATRIX", "EDGE_WEIGHT_SECTION"]
        lines += [" ".join(f"{value:.17g}" for value in row) for row in instance.distance]
    if instance.coordinates is not None:
        lines += _section("NODE_COORD_SECTION", instance.coordinates)
    lines += _section("DEMAND_SECTION", instance.demand[:, None])
    if instance.has_time_windows:
        lines += _section("TIME_WINDOW_SECTION", np.stack([instance.ready, instance.due], axis=1))
    if instance.service.any():
        lines += _section("SERVICE_TIME_SECTION", instance.service[:, None])
    return "\n".join([*lines, "DEPOT_SECTION", "1", "-1", "EOF"]) + "\n"


def _kind(instance: VehicleRouting) -> str:
    if instance.coordinates is not None:
        for kind, rounding in _ROUNDINGS.items():
            if np.array_equal(euclidean(instance.coordinates, rounding), instance.distance):
                return kind
    return "EXPLICIT"


def _section(title: str, table: Floats) -> list[str]:
    rows = (" ".join(f"{value:.17g}" for value in row) for row in table)
    return [title, *(f"{node} {row}" for node, row in enumerate(rows, 1))]


def parse_plan(text: str, instance: Instance) -> Routes:
    """Read CVRPLIB's solution file: a line ``Route #1: 4 7 2`` for each route, and perhaps ``Cost 1234``.

    Raises
    ------
    PlanError
        With every line that is not of this form. The cost stated is not believed: the check recomputes it.
    """
    faults: list[Fault] = []
    routes: list[tuple[int, ...]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.replace(":", " : ").split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].lower() == "route" and ":" in words:
            clients = words[words.index(":") + 1 :]
            if all(client.isdecimal() and len(client) < 10 for client in clients):
                routes.append(tuple(int(client) for client in clients))
            else:
                faults.append(Fault(f"line {number}", "must list the numbers of clients", line.strip()))
    if not routes and not faults:
        hint = "lines look like 'Route #1: 4 7 2'"
        faults.append(Fault("", "holds no routes", hint=hint))
    if faults:
        raise PlanError(f"solution of {instance.name}", faults)
    return Routes(tuple(route for route in routes if route))


def render_plan(instance: Instance, plan: Plan) -> str:
    """Write CVRPLIB's solution file, with the cost recomputed from the instance."""
    if not (isinstance(instance, VehicleRouting) and isinstance(plan, Routes)):
        raise OptionError(f"a .sol file holds routes, not a plan of {plan.problem}")
    lines = [
        f"Route #{number}: {' '.join(str(client) for client in route)}" for number, route in enumerate(plan.routes, 1)
    ]
    cost = 0.0
    for route in plan.routes:
        stops = np.array([0, *route, 0])
        cost += float(instance.distance[stops[:-1], stops[1:]].sum())
    return "\n".join([*lines, f"Cost {cost:.12g}"]) + "\n"
