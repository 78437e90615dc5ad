"""VRPLIB files of rich problems, in the dialect of PyVRP's instances: fleets, depots, backhauls, prizes and so on.

``TYPE`` names the problem and with it the convention of its published values: ``HFVRP``, ``MDVRP``, ``MDVRPTW``
and ``SDVRPTW`` round distances to three decimals; ``PCVRPTW`` and ``MTVRPTWR`` cut them after the first, as DIMACS
does; ``VRPB`` and ``GVRP`` round to the nearest integer. A line ``ROUNDING : none`` (or another name of
:class:`~apportion.instances.routing.Rounding`) says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite

import numpy as np

from apportion.instances.core import Instance, Plan
from apportion.instances.errors import Fault, InstanceError, OptionError, PlanError
from apportion.instances.formats import vrplib
from apportion.instances.formats.vrplib import Rows, dimension_of, float_of, number_of, service_of, split, table_of
from apportion.instances.program import Floats
from apportion.instances.reading import Source
from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting, VehicleType
from apportion.instances.routing import Rounding, euclidean
from apportion.instances.validation import FaultList

TYPES: dict[str, Rounding] = {
    "HFVRP": Rounding.NEAREST_3_DECIMALS,
    "MDVRP": Rounding.NEAREST_3_DECIMALS,
    "MDVRPTW": Rounding.NEAREST_3_DECIMALS,
    "SDVRPTW": Rounding.NEAREST_3_DECIMALS,
    "PCVRPTW": Rounding.TRUNCATE_1_DECIMAL,
    "MTVRPTWR": Rounding.TRUNCATE_1_DECIMAL,
    "VRPB": Rounding.NEAREST,
    "GVRP": Rounding.NEAREST,
    "RICH": Rounding.NEAREST,
}
"""The kinds of problem that are read, and the rounding of their published values."""
_VEHICLE_NUMBERS = ("FIXED_COST", "UNIT_DISTANCE_COST", "MAX_DURATION", "MAX_DISTANCE", "MAX_RELOADS", "DEPOT")
_VEHICLE_LISTS = ("RELOAD_DEPOT", "ALLOWED_CLIENTS")
_SPECIFICATIONS = (
    *("NAME", "COMMENT", "TYPE", "DIMENSION", "CAPACITY", "VEHICLES", "SERVICE_TIME", "ROUNDING"),
    *("EDGE_WEIGHT_TYPE", "EDGE_WEIGHT_FORMAT", "NODE_COORD_TYPE", "DISPLAY_DATA_TYPE", "BEST_KNOWN"),
    *(f"VEHICLES_{name}" for name in _VEHICLE_NUMBERS),
)
_SECTIONS = (
    *("NODE_COORD", "DEMAND", "DEPOT", "EDGE_WEIGHT", "TIME_WINDOW", "SERVICE_TIME", "BACKHAUL", "PRIZE"),
    *("RELEASE_TIME", "CAPACITY", "MUTUALLY_EXCLUSIVE_GROUP"),
    *(f"VEHICLES_{name}" for name in (*_VEHICLE_NUMBERS, *_VEHICLE_LISTS)),
)
_MOST_VEHICLES = 100_000
_MOST_FAULTS = 20


def parse(text: str, source: Source) -> RichRouting:
    """Read a rich VRPLIB file; every fault with its section and row."""
    faults = FaultList(str(source.path))
    said, sections = split(text, faults, _SPECIFICATIONS, _SECTIONS, tuple(TYPES))
    size = dimension_of(said, faults)
    faults.raise_if_any()
    coordinates = table_of(sections, "NODE_COORD", size, 2, faults)
    windows = table_of(sections, "TIME_WINDOW", size, 2, faults, infinite=True)
    num_depots = _depots(sections, size, faults)
    distance, rounding = _distance(said, sections, size, coordinates, faults)
    demand, backhaul = (_column(sections, name, size, faults) for name in ("DEMAND", "BACKHAUL"))
    release = _column(sections, "RELEASE_TIME", size, faults)
    prize = _column(sections, "PRIZE", size, faults)
    service = service_of(said, sections, size, faults)
    service[:num_depots] = 0.0
    groups = _groups(sections, size, num_depots, faults)
    vehicles = _vehicles(said, sections, size, num_depots, windows, faults)
    faults.raise_if_any()
    backhauls_last = said["TYPE"].upper() == "VRPB"
    if backhauls_last:
        distance = _without_early_backhauls(distance, demand[:, 0], backhaul[:, 0], num_depots)
    try:
        return RichRouting(
            name=said.get("NAME") or source.name,
            num_depots=num_depots,
            distance=distance,
            duration=distance,
            delivery=demand,
            pickup=backhaul,
            shipment=np.zeros((size, 1)),
            ready=np.zeros(size) if windows is None else windows[:, 0],
            due=np.full(size, inf) if windows is None else windows[:, 1],
            service=service,
            release=release[:, 0],
            prize=np.where(prize[:, 0] > 0.0, prize[:, 0], inf),
            vehicles=vehicles,
            groups=groups,
            backhauls_last=backhauls_last,
            coordinates=coordinates,
            rounding=rounding,
        )
    except InstanceError as error:
        raise InstanceError(str(source.path), error.faults) from error


def _column(sections: dict[str, Rows], name: str, size: int, faults: FaultList) -> Floats:
    column = table_of(sections, name, size, 1, faults)
    return np.zeros((size, 1)) if column is None else column


def _without_early_backhauls(distance: Floats, demand: Floats, backhaul: Floats, num_depots: int) -> Floats:
    """Forbid the ways from a depot to a pickup and from a pickup to a delivery."""
    closed = distance.copy()
    line, back = np.flatnonzero(demand > 0), np.flatnonzero(backhaul > 0)
    closed[np.ix_(np.arange(num_depots), back)] = inf
    closed[np.ix_(back, line)] = inf
    return closed


def _distance(
    said: dict[str, str], sections: dict[str, Rows], size: int, coordinates: Floats | None, faults: FaultList
) -> tuple[Floats, Rounding]:
    if said.get("EDGE_WEIGHT_TYPE", "").upper() != "EUC_2D" or coordinates is None:
        return vrplib.distance_of(said, sections, size, coordinates, faults)
    rounding = TYPES[said["TYPE"].upper()]
    if "ROUNDING" in said:
        known = [r.value for r in Rounding]
        faults.require(said["ROUNDING"] in known, "ROUNDING", f"must be one of {', '.join(known)}", said["ROUNDING"])
        rounding = Rounding(said["ROUNDING"]) if said["ROUNDING"] in known else rounding
    return euclidean(coordinates, rounding), rounding


def _depots(sections: dict[str, Rows], size: int, faults: FaultList) -> int:
    """How many there are: they must be the first nodes."""
    nodes = [word for row in sections.get("DEPOT", [["1"]]) for word in row if word != "-1"]
    good = 1 <= len(nodes) <= size and nodes == [str(node) for node in range(1, len(nodes) + 1)]
    faults.require(good, "DEPOT_SECTION", "must name the first nodes: 1, 2, ...", " ".join(nodes[:9]))
    return len(nodes) if good else 1


def _lists(sections: dict[str, Rows], name: str, rows: int, faults: FaultList) -> list[list[int]]:
    """Whole numbers of each row, without its own number, by row."""
    place = f"{name}_SECTION"
    found: dict[int, list[int]] = {}
    for position, words in enumerate(sections.get(name, []), 1):
        if len(faults.faults) > _MOST_FAULTS:
            break
        values = [float_of(word) for word in words]
        whole = [int(v) for v in values if v is not None and isfinite(v) and v.is_integer()]
        if not whole or len(whole) != len(words) or (rows and not 1 <= whole[0] <= rows) or whole[0] in found:
            faults.add(f"{place} row {position}", "must be its number and whole numbers", " ".join(words)[:60])
        else:
            found[whole[0]] = whole[1:]
    missing = rows and name in sections and len(found) != rows
    faults.require(not missing, place, f"must have {rows} rows", len(found), "the file is truncated")
    return [found[key] for key in sorted(found)]


def _groups(sections: dict[str, Rows], size: int, num_depots: int, faults: FaultList) -> tuple[tuple[int, ...], ...]:
    groups = _lists(sections, "MUTUALLY_EXCLUSIVE_GROUP", 0, faults)
    inside = all(num_depots < node <= size for group in groups for node in group)
    faults.require(inside, "MUTUALLY_EXCLUSIVE_GROUP_SECTION", f"must name clients in {num_depots + 1}..{size}")
    return tuple(tuple(node - 1 for node in group) for group in groups if len(group) > 1)


def _vehicles(
    said: dict[str, str],
    sections: dict[str, Rows],
    size: int,
    num_depots: int,
    windows: Floats | None,
    faults: FaultList,
) -> tuple[VehicleType, ...]:
    """Vehicles that are alike become one type, in the order of their first."""
    count = number_of(said, "VEHICLES", faults) if "VEHICLES" in said else float(max(1, size - num_depots))
    if not (count.is_integer() and 1 <= count <= _MOST_VEHICLES):
        faults.add("VEHICLES", f"must be a whole number in 1..{_MOST_VEHICLES}", count)
        return ()
    number = int(count)
    column = {name: _of_vehicles(said, sections, f"VEHICLES_{name}", number, faults) for name in _VEHICLE_NUMBERS}
    capacity = _of_vehicles(said, sections, "CAPACITY", number, faults)
    faults.require(capacity is not None, "CAPACITY", "is missing")
    reload = _lists(sections, "VEHICLES_RELOAD_DEPOT", number, faults)
    serves = _lists(sections, "VEHICLES_ALLOWED_CLIENTS", number, faults)
    several = any(len(depots) > 1 for depots in reload)
    faults.require(not several, "VEHICLES_RELOAD_DEPOT_SECTION", "must name one depot for each vehicle")
    strange = any(not 1 <= node <= size for nodes in (*reload, *serves) for node in nodes)
    faults.require(not strange, "VEHICLES", f"reload depots and allowed clients must be nodes in 1..{size}")
    homes = column["DEPOT"]
    good = homes is None or all(home.is_integer() and 1 <= home <= num_depots for home in homes)
    faults.require(good, "VEHICLES_DEPOT_SECTION", f"must name depots in 1..{num_depots}")
    if faults.faults or capacity is None:
        return ()
    kinds: dict[tuple[object, ...], int] = {}
    made: dict[tuple[object, ...], Callable[[int], VehicleType]] = {}
    for vehicle in range(number):
        key = (
            capacity[vehicle],
            *(None if values is None else values[vehicle] for values in column.values()),
            tuple(reload[vehicle]) if reload else (),
            frozenset(serves[vehicle]) if serves else None,
        )
        kinds[key] = kinds.get(key, 0) + 1
        if key not in made:
            made[key] = _maker(key, windows, num_depots)
    return tuple(make(kinds[key]) for key, make in made.items())


def _of_vehicles(
    said: dict[str, str], sections: dict[str, Rows], name: str, number: int, faults: FaultList
) -> list[float] | None:
    """A number for each vehicle, from a section or one specification for all."""
    if name in sections:
        column = table_of(sections, name, number, 1, faults)
        return None if column is None else [float(value) for value in column[:, 0]]
    return [number_of(said, name, faults)] * number if name in said else None


def _maker(key: tuple[object, ...], windows: Floats | None, num_depots: int) -> Callable[[int], VehicleType]:
    capacity, fixed, unit, longest, farthest, most_reloads, home, reload, serves = key

    def value(given: object, default: float) -> float:
        return float(given) if isinstance(given, float) else default

    depot = int(value(home, 1.0)) - 1
    back = int(reload[0]) - 1 if isinstance(reload, tuple) and reload else None
    clients = frozenset(n - 1 for n in serves if n > num_depots) if isinstance(serves, frozenset) else None

    def make(count: int) -> VehicleType:
        return VehicleType(
            count=count,
            capacity=(value(capacity, 0.0),),
            start=depot,
            end=depot,
            fixed_cost=value(fixed, 0.0),
            distance_cost=value(unit, 1.0),
            ready=0.0 if windows is None else float(windows[depot, 0]),
            due=inf if windows is None else float(windows[depot, 1]),
            most_duration=value(longest, inf),
            most_distance=value(farthest, inf),
            reload=back,
            most_reloads=0 if back is None else int(value(most_reloads, 100.0)),
            serves=clients,
        )

    return make


def parse_plan(text: str, instance: Instance) -> RichRoutes:
    """Read a ``.sol`` file: one line for each vehicle in the order of the types, 0-based locations, 0 for a reload.

    Where a vehicle type has several vehicles, the lines of its vehicles follow each other. Without as many lines as
    vehicles, all routes belong to the first type that has vehicles left.

    Raises
    ------
    PlanError
        With every line that is not of this form.
    """
    if not isinstance(instance, RichRouting):
        raise OptionError(f"these routes are not a plan of {instance.problem}")
    kinds = [kind for kind, vehicle in enumerate(instance.vehicles) for _ in range(vehicle.count)]
    faults: list[Fault] = []
    routes: list[RichRoute] = []
    lines = [line for line in text.splitlines() if line.strip().lower().startswith("route")]
    for number, line in enumerate(lines):
        stops = line.partition(":")[2].split()
        if number >= len(kinds) or not all(stop.isdecimal() and len(stop) < 10 for stop in stops):
            faults.append(Fault(f"route {number + 1}", "must list locations, within the fleet", line.strip()[:60]))
        elif stops:
            routes.append(RichRoute(kinds[number], tuple(int(stop) for stop in stops)))
    if not lines:
        faults.append(Fault("", "holds no routes", hint="lines look like 'Route #1: 4 7 2'"))
    if faults:
        raise PlanError(f"solution of {instance.name}", faults)
    return RichRoutes(tuple(routes))


def render_plan(instance: Instance, plan: Plan) -> str:
    """Write a ``.sol`` file with a line, perhaps empty, for each vehicle in the order of the types."""
    if not (isinstance(instance, RichRouting) and isinstance(plan, RichRoutes)):
        raise OptionError(f"a .sol file holds routes, not a plan of {plan.problem}")
    lines: list[str] = []
    for kind, vehicle in enumerate(instance.vehicles):
        mine = [route.stops for route in plan.routes if route.vehicle == kind]
        for number in range(max(vehicle.count, len(mine))):
            stops = mine[number] if number < len(mine) else ()
            lines.append(f"Route #{len(lines) + 1}: {' '.join(map(str, stops))}".rstrip())
    return "\n".join(lines) + "\n"
