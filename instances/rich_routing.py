"""Rich vehicle routing: mixed fleets, depots, pickups and deliveries, optional clients, groups and reloads."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isfinite, isnan
from typing import ClassVar, Self, cast

import numpy as np

from apportion.instances.core import Json, Sense
from apportion.instances.errors import Fault, PlanError
from apportion.instances.program import Floats
from apportion.instances.rich_rules import Balance, Break, Lock, Traffic
from apportion.instances.routing import MOST_CLIENTS, Rounding
from apportion.instances.validation import FaultList

MOST_DIMENSIONS = 16


@dataclass(frozen=True)
class VehicleType:
    """Vehicles that are alike: how many, what they carry, where and when they work, and what they cost.

    Parameters
    ----------
    count
        At most so many routes.
    capacity
        One entry for each dimension of load.
    start, end
        Depots where a route begins and ends.
    fixed_cost, distance_cost, time_cost
        Of a route that is used, for each unit of distance, and for each unit of time from leaving to being back.
    ready, due
        The shift: no earlier start, no later end.
    overtime_after, overtime_cost
        Each unit of time that the vehicle is back later than ``overtime_after`` costs ``overtime_cost``.
    breaks
        Rests that each vehicle takes in this order, at most one between two services.
    most_duration, most_distance
        Limits of a route.
    reload
        The depot where a vehicle may unload and load again between two trips, or None.
    most_reloads
        At most so many of them on a route.
    serves
        The clients (locations) that it may serve; None for all.
    """

    count: int
    capacity: tuple[float, ...]
    start: int = 0
    end: int = 0
    fixed_cost: float = 0.0
    distance_cost: float = 1.0
    time_cost: float = 0.0
    ready: float = 0.0
    due: float = inf
    overtime_after: float = inf
    overtime_cost: float = 0.0
    breaks: tuple[Break, ...] = ()
    most_duration: float = inf
    most_distance: float = inf
    reload: int | None = None
    most_reloads: int = 0
    serves: frozenset[int] | None = None


@dataclass(frozen=True, eq=False)
class RichRouting:
    """Serve clients from depots with vehicles of several types at the least cost.

    Locations ``0..num_depots - 1`` are depots, the others clients. The cost is that of the routes plus the prizes of
    the optional clients that are left out, lateness, overtime and unbalance. Vehicles drive as early as they can and
    wait before a window opens. The duration of a route counts from the latest departure that makes no service later
    than its window (the soft one where there is one) or leaving at once would, whichever is later.

    Parameters
    ----------
    name
        What people call the instance.
    num_depots
        At least 1.
    distance, duration
        Shape (n, n) over all locations; an infinite distance forbids a way.
    delivery, pickup, shipment
        Shape (n, k), k dimensions of load: what a client gets from the depot, gives to the depot, and takes aboard
        (positive, at the origin) or off (negative, at the destination) of a pair.
    ready, due, service, release
        Shape (n,): when service may begin, how long it takes, and the time before which the vehicle that carries the
        client's goods cannot leave the depot.
    prize
        Shape (n,): the cost of leaving out an optional client; infinite for a client that must be served.
    groups
        Clients of which exactly one must be served.
    pairs
        Origin and destination: on the same trip, in this order.
    vehicles
        The types.
    backhauls_last
        Clients with a delivery come before those with a pickup, and no route begins with a pickup.
    soft_due, late_cost
        Shape (n,): each unit of time that service begins after ``soft_due`` (but not after ``due``, which stays hard)
        costs ``late_cost``. By default nothing.
    traffic
        Speeds over the day, or None.
    balance
        The price of unequal routes, or None.
    locks
        Routes under way whose first stops are settled.
    coordinates
        Shape (n, 2) for pictures, or None.
    rounding
        How ``distance`` follows from ``coordinates``.

    Raises
    ------
    InstanceError
        With every entry that is wrong.

    Examples
    --------
    >>> line = np.array([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]])
    >>> RichRouting.simple("line", line, [VehicleType(1, (2.0,))], delivery=[[0], [1], [1]]).num_clients
    2
    """

    problem: ClassVar[str] = "rich-routing"
    name: str
    num_depots: int
    distance: Floats
    duration: Floats
    delivery: Floats
    pickup: Floats
    shipment: Floats
    ready: Floats
    due: Floats
    service: Floats
    release: Floats
    prize: Floats
    vehicles: tuple[VehicleType, ...]
    groups: tuple[tuple[int, ...], ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()
    backhauls_last: bool = False
    soft_due: Floats = field(default=cast(Floats, None), repr=False)
    late_cost: Floats = field(default=cast(Floats, None), repr=False)
    traffic: Traffic | None = None
    balance: Balance | None = None
    locks: tuple[Lock, ...] = ()
    coordinates: Floats | None = field(default=None, repr=False)
    rounding: Rounding = Rounding.NONE

    def __post_init__(self) -> None:
        """Check shapes, numbers and references once; the arrays become read-only."""
        faults = FaultList(self.name or "rich routing")
        size = len(np.atleast_1d(self.ready))
        faults.require(1 <= size <= MOST_CLIENTS + 1, "locations", f"must be 1..{MOST_CLIENTS + 1}", size)
        faults.require(1 <= self.num_depots <= size, "num_depots", f"must lie in 1..{size}", self.num_depots)
        faults.require(bool(self.vehicles), "vehicles", "must not be empty", hint="add a vehicle type")
        faults.raise_if_any()
        loads = len(self.vehicles[0].capacity)
        faults.require(1 <= loads <= MOST_DIMENSIONS, "capacity", f"must have 1..{MOST_DIMENSIONS} dimensions", loads)
        faults.raise_if_any()
        for name, default in (("soft_due", inf), ("late_cost", 0.0)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(size, default))
        for name, shape, lower, infinite in (
            ("distance", (size, size), 0.0, True),
            ("duration", (size, size), 0.0, True),
            ("delivery", (size, loads), 0.0, False),
            ("pickup", (size, loads), 0.0, False),
            ("shipment", (size, loads), -inf, False),
            ("ready", (size,), 0.0, False),
            ("due", (size,), 0.0, True),
            ("service", (size,), 0.0, False),
            ("release", (size,), 0.0, False),
            ("prize", (size,), 0.0, True),
            ("soft_due", (size,), 0.0, True),
            ("late_cost", (size,), 0.0, False),
        ):
            taken = faults.array(name, getattr(self, name), shape=shape, lower=lower, allow_infinite=infinite)
            object.__setattr__(self, name, taken)
        if self.coordinates is not None:
            object.__setattr__(self, "coordinates", faults.array("coordinates", self.coordinates, shape=(size, 2)))
        for client in np.flatnonzero(self.ready > self.due)[:5]:
            hours = f"{self.ready[client]:g} to {self.due[client]:g}"
            faults.add(f"due[{client}]", "must not lie before ready", hours, "the two are swapped")
        self._check_requests(faults, size)
        self._check_locks(faults, size)
        if self.traffic is not None:
            self.traffic.faults(faults, size)
        if self.balance is not None:
            self.balance.faults(faults)
        for position, vehicle in enumerate(self.vehicles):
            self._check_vehicle(faults, f"vehicles[{position}]", vehicle, size, loads)
        faults.raise_if_any()

    def _check_requests(self, faults: FaultList, size: int) -> None:
        """Groups and pairs name clients, each at most once; what a pair loads it unloads."""
        seen: set[int] = set()
        named = [(f"groups[{g}]", members) for g, members in enumerate(self.groups)]
        named += [(f"pairs[{p}]", members) for p, members in enumerate(self.pairs)]
        for place, members in named:
            faults.require(len(members) > 0, place, "must not be empty")
            for client in members:
                inside = self.num_depots <= client < size
                faults.require(inside, place, f"must name clients in {self.num_depots}..{size - 1}", client)
                faults.require(client not in seen, place, "names a client of another group or pair", client)
                seen.add(client)
        if faults.faults:
            return
        paired = {client for pair in self.pairs for client in pair}
        for position, (origin, destination) in enumerate(self.pairs):
            taken, left = self.shipment[origin], -self.shipment[destination]
            fits = bool(np.allclose(taken, left) and (taken >= 0).all())
            faults.require(fits, f"pairs[{position}]", "must unload what it loads", [taken.tolist(), left.tolist()])
        for client in np.flatnonzero(self.shipment.any(axis=1)).tolist():
            known = client in paired
            faults.require(known, f"shipment[{client}]", "belongs to no pair", hint="name its other end in pairs")

    def _check_locks(self, faults: FaultList, size: int) -> None:
        """Locks name vehicles that there are and stops that exist, no client twice."""
        seen: set[int] = set()
        used: dict[int, int] = {}
        for number, lock in enumerate(self.locks):
            place = f"locks[{number}]"
            lock.faults(faults, place)
            known = 0 <= lock.vehicle < len(self.vehicles)
            at_client = not lock.stops or lock.stops[-1] >= self.num_depots
            faults.require(lock.leaves is None or at_client, f"{place}.leaves", "the last stop is a depot", lock.leaves)
            faults.require(known, f"{place}.vehicle", f"must lie in 0..{len(self.vehicles) - 1}", lock.vehicle)
            used[lock.vehicle] = used.get(lock.vehicle, 0) + 1
            for stop in lock.stops:
                faults.require(0 <= stop < size, f"{place}.stops", f"must lie in 0..{size - 1}", stop)
                faults.require(stop not in seen, f"{place}.stops", "names a client of another place in locks", stop)
                if stop >= self.num_depots:
                    seen.add(stop)
            if known and used[lock.vehicle] == self.vehicles[lock.vehicle].count + 1:
                faults.add(place, "there are fewer vehicles of this type than locks", lock.vehicle)

    def _check_vehicle(self, faults: FaultList, place: str, vehicle: VehicleType, size: int, loads: int) -> None:
        faults.require(vehicle.count >= 1, f"{place}.count", "must be at least 1", vehicle.count)
        good = len(vehicle.capacity) == loads and all(isfinite(c) and c >= 0 for c in vehicle.capacity)
        faults.require(good, f"{place}.capacity", f"must be {loads} finite numbers, at least 0", vehicle.capacity)
        for name in ("start", "end", "reload"):
            depot = getattr(vehicle, name)
            inside = depot is None or 0 <= depot < self.num_depots
            faults.require(inside, f"{place}.{name}", f"must be a depot in 0..{self.num_depots - 1}", depot)
        for name in ("fixed_cost", "distance_cost", "time_cost", "ready", "overtime_cost"):
            value = getattr(vehicle, name)
            faults.require(isfinite(value) and value >= 0, f"{place}.{name}", "must be finite, at least 0", value)
        for number, rest in enumerate(vehicle.breaks):
            rest.faults(faults, f"{place}.breaks[{number}]")
        for name in ("due", "most_duration", "most_distance", "overtime_after"):
            value = getattr(vehicle, name)
            faults.require(not isnan(value) and value >= 0, f"{place}.{name}", "must be at least 0", value)
        faults.require(vehicle.ready <= vehicle.due, f"{place}.due", "must not lie before ready", vehicle.due)
        faults.require(vehicle.most_reloads >= 0, f"{place}.most_reloads", "must be at least 0", vehicle.most_reloads)
        clocked = vehicle.time_cost > 0 or isfinite(vehicle.most_duration)
        hint = "take out the reloads, or the cost of time and the limit on the duration"
        both = clocked and vehicle.reload is not None
        faults.require(not both, place, "reloads do not go with a cost of time or a most_duration", hint=hint)
        strangers = [c for c in sorted(vehicle.serves or ()) if not self.num_depots <= c < size][:5]
        faults.require(not strangers, f"{place}.serves", "names no client", strangers)

    @classmethod
    def simple(
        cls,
        name: str,
        distance: Floats,
        vehicles: list[VehicleType],
        *,
        num_depots: int = 1,
        duration: Floats | None = None,
        delivery: object = None,
        **more: object,
    ) -> Self:
        """An instance of which only what is given matters: no loads, open windows, every client must be served."""
        size, loads = len(distance), len(vehicles[0].capacity) if vehicles else 1
        nothing, zero = np.zeros((size, loads)), np.zeros(size)
        given: dict[str, object] = {
            "pickup": nothing,
            "shipment": nothing,
            "ready": zero,
            "due": np.full(size, inf),
            "service": zero,
            "release": zero,
            "prize": np.full(size, inf),
        }
        given |= {"delivery": nothing if delivery is None else np.asarray(delivery, np.float64)} | more
        matrix = distance if duration is None else duration
        fields: dict[str, object] = {"distance": distance, "duration": matrix, "vehicles": tuple(vehicles)}
        return cls(name=name, num_depots=num_depots, **fields, **given)  # type: ignore[arg-type]

    @property
    def sense(self) -> Sense:
        """Cost is minimised."""
        return Sense.MINIMISE

    @property
    def is_timed(self) -> bool:
        """Whether lateness, overtime, breaks or traffic matter, so that routes must be driven stop by stop."""
        late = bool(((self.late_cost > 0) & (self.soft_due < self.due)).any())
        extra = any(v.breaks or (v.overtime_cost > 0 and v.overtime_after < v.due) for v in self.vehicles)
        return late or extra or self.traffic is not None

    @property
    def num_locations(self) -> int:
        """Depots and clients."""
        return len(self.ready)

    @property
    def num_clients(self) -> int:
        """How many clients there are."""
        return self.num_locations - self.num_depots

    @property
    def is_optional(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which locations may be left out on their own, shape (n,): clients with a finite prize outside groups."""
        optional = np.isfinite(self.prize)
        optional[: self.num_depots] = False
        for group in self.groups:
            optional[list(group)] = False
        return optional

    def summary(self) -> dict[str, object]:
        """The figures that ``apportion show`` prints."""
        facts: dict[str, object] = {
            "clients": self.num_clients,
            "depots": self.num_depots,
            "vehicle types": len(self.vehicles),
            "vehicles": sum(vehicle.count for vehicle in self.vehicles),
            "time windows": int(np.isfinite(self.due[self.num_depots :]).sum()),
        }
        counts = {
            "optional clients": int(self.is_optional.sum()),
            "groups": len(self.groups),
            "pairs": len(self.pairs),
            "clients with a pickup": int(self.pickup.any(axis=1).sum()),
            "clients with a release time": int((self.release > 0).sum()),
            "types that may reload": sum(vehicle.reload is not None for vehicle in self.vehicles),
            "types that may not serve all": sum(vehicle.serves is not None for vehicle in self.vehicles),
            "types with breaks": sum(bool(vehicle.breaks) for vehicle in self.vehicles),
            "types with overtime": sum(vehicle.overtime_cost > 0 for vehicle in self.vehicles),
            "clients that may be late at a price": int((self.late_cost > 0).sum()),
            "traffic profiles": 0 if self.traffic is None else len(self.traffic.speeds),
            "routes under way": len(self.locks),
        }
        return facts | {name: count for name, count in counts.items() if count}


@dataclass(frozen=True)
class RichRoute:
    """The type of the vehicle and its stops in order: clients, and depots where it reloads.

    ``breaks`` says of each break taken how many stops are done before it.
    """

    vehicle: int
    stops: tuple[int, ...]
    breaks: tuple[int, ...] = ()


@dataclass(frozen=True)
class RichRoutes:
    """A plan for :class:`RichRouting`.

    >>> RichRoutes((RichRoute(0, (2, 1)),)).to_dict()
    {'routes': [{'vehicle': 0, 'stops': [2, 1]}]}
    """

    problem: ClassVar[str] = "rich-routing"
    routes: tuple[RichRoute, ...]

    def to_dict(self) -> Json:
        """Return the routes as JSON-ready data."""
        rows: list[Json] = []
        for route in self.routes:
            row: Json = {"vehicle": route.vehicle, "stops": list(route.stops)}
            rows.append(row | ({"breaks": list(route.breaks)} if route.breaks else {}))
        return {"routes": rows}

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Rebuild from :meth:`to_dict`; raise :class:`PlanError` when it cannot be."""
        routes = data.get("routes")
        if not isinstance(routes, list):
            raise PlanError("plan", [Fault("routes", "must be a list of routes", routes)])
        faults: list[Fault] = []
        for number, route in enumerate(routes):
            place = f"routes[{number}]"
            if not isinstance(route, dict) or not _whole(route.get("vehicle")):
                faults.append(Fault(place, "must have a vehicle, the number of its type, and stops", route))
            elif not isinstance(route.get("stops"), list) or not all(_whole(stop) for stop in route["stops"]):
                faults.append(Fault(f"{place}.stops", "must be a list of locations", route.get("stops")))
            elif not isinstance(route.get("breaks", []), list) or not all(map(_whole, route.get("breaks", []))):
                faults.append(Fault(f"{place}.breaks", "must be a list of numbers of stops", route["breaks"]))
        if faults:
            raise PlanError("plan", faults)
        kept = [(route["vehicle"], tuple(route["stops"]), tuple(route.get("breaks", ()))) for route in routes]
        return cls(tuple(RichRoute(*row) for row in kept))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
