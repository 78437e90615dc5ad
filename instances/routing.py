"""Vehicle routing: clients with demands and time windows, one depot, identical vehicles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import ClassVar, Self

import numpy as np

from apportion.instances.core import Json, Sense
from apportion.instances.errors import Fault, InstanceError, PlanError
from apportion.instances.program import Floats
from apportion.instances.validation import FaultList

MOST_CLIENTS = 20_000
"""The matrices are dense: more clients than this would not fit in memory."""


class Rounding(StrEnum):
    """How a distance follows from coordinates, so that an objective can be compared with published ones."""

    NEAREST = "nearest"
    """To the nearest integer, halves up (TSPLIB's ``EUC_2D``)."""
    UP = "up"
    """To the next integer (``CEIL_2D``)."""
    DOWN = "down"
    """To the integer below (``FLOOR_2D``)."""
    TRUNCATE_1_DECIMAL = "truncate-1-decimal"
    """Cut after the first decimal (the DIMACS convention for Solomon's files)."""
    NEAREST_3_DECIMALS = "nearest-3-decimals"
    """To the nearest thousandth (PyVRP's "exact" convention, in units of the file)."""
    NONE = "none"
    """As it is: double precision, or a matrix that was given."""

    def apply(self, distance: Floats) -> Floats:
        """Round an array of exact distances.

        >>> [float(r.apply(np.array(2.57))) for r in Rounding]
        [3.0, 3.0, 2.0, 2.5, 2.57, 2.57]
        """
        match self:
            case Rounding.NEAREST:
                return np.floor(distance + 0.5)
            case Rounding.UP:
                return np.ceil(distance)
            case Rounding.DOWN:
                return np.floor(distance)
            case Rounding.TRUNCATE_1_DECIMAL:
                return np.floor(distance * 10.0) / 10.0
            case Rounding.NEAREST_3_DECIMALS:
                return np.rint(distance * 1000.0) / 1000.0
            case _:
                return distance


def euclidean(coordinates: Floats, rounding: Rounding = Rounding.NONE) -> Floats:
    """Distances between points, rounded as asked.

    Parameters
    ----------
    coordinates
        Shape (n + 1, 2).
    rounding
        The convention.

    Returns
    -------
    numpy.ndarray
        Shape (n + 1, n + 1).
    """
    x, y = coordinates[:, 0], coordinates[:, 1]
    with np.errstate(over="ignore"):
        return rounding.apply(np.hypot(x[:, None] - x[None, :], y[:, None] - y[None, :]))


@dataclass(frozen=True, eq=False)
class VehicleRouting:
    """Serve every client once with vehicles that start and end at the depot; minimise the total distance.

    Location 0 is the depot, clients are 1..n. A vehicle may arrive before a window opens and waits; service must begin
    inside the window. Vehicles leave the depot when its window opens or later and are back before it closes.

    Parameters
    ----------
    name
        What people call the instance.
    distance, duration
        Shape (n + 1, n + 1), from row to column; need not be symmetric.
    demand
        Shape (n + 1,), the depot's is 0.
    capacity
        Of each vehicle, in the unit of ``demand``.
    ready, due
        Shape (n + 1,): when service may begin; ``due`` may be infinite.
    service
        Shape (n + 1,): how long it takes.
    num_vehicles
        At most this many routes; None for as many as it takes.
    coordinates
        Shape (n + 1, 2), for pictures and for writing; or None.
    rounding
        How ``distance`` follows from ``coordinates``; ``NONE`` also when the matrix was given.

    Raises
    ------
    InstanceError
        With every entry that is wrong.

    Examples
    --------
    >>> corner = np.array([[0, 3, 4], [3, 0, 5], [4, 5, 0]])
    >>> instance = VehicleRouting.capacitated("corner", corner, demand=[0, 1, 1], capacity=2)
    >>> instance.num_clients, instance.has_time_windows
    (2, False)
    """

    problem: ClassVar[str] = "vehicle-routing"
    name: str
    distance: Floats
    duration: Floats
    demand: Floats
    capacity: float
    ready: Floats
    due: Floats
    service: Floats
    num_vehicles: int | None = None
    coordinates: Floats | None = None
    rounding: Rounding = Rounding.NONE

    def __post_init__(self) -> None:
        """Check shapes and numbers once; the arrays become read-only."""
        faults = FaultList(self.name or "routing")
        size = len(np.atleast_1d(self.demand))
        if not 1 <= size <= MOST_CLIENTS + 1:
            faults.add("demand", f"must have the depot and at most {MOST_CLIENTS} clients", size)
            faults.raise_if_any()
        shared = self.duration is self.distance
        self._take(faults, "distance", (size, size))
        if shared:
            object.__setattr__(self, "duration", self.distance)
        else:
            self._take(faults, "duration", (size, size))
        for name in ("demand", "service"):
            self._take(faults, name, (size,))
        self._take(faults, "ready", (size,))
        self._take(faults, "due", (size,), allow_infinite=True)
        if self.coordinates is not None:
            self._take(faults, "coordinates", (size, 2), lower=-inf)
        self._check_values(faults)
        faults.raise_if_any()

    def _take(
        self,
        faults: FaultList,
        name: str,
        shape: tuple[int, ...],
        *,
        lower: float = 0.0,
        allow_infinite: bool = False,
    ) -> None:
        checked = faults.array(name, getattr(self, name), shape=shape, lower=lower, allow_infinite=allow_infinite)
        object.__setattr__(self, name, checked)

    def _check_values(self, faults: FaultList) -> None:
        good = np.isfinite(self.capacity) and self.capacity >= 0
        faults.require(bool(good), "capacity", "must be a finite number, at least 0", self.capacity)
        faults.require(self.demand[0] == 0, "demand[0]", "must be 0: the depot asks for nothing", float(self.demand[0]))
        some = self.num_vehicles is None or self.num_vehicles >= 1
        faults.require(some, "num_vehicles", "must be at least 1", self.num_vehicles, "leave it out for no limit")
        for client in np.flatnonzero(self.ready > self.due)[:5]:
            hours = f"{self.ready[client]:g} to {self.due[client]:g}"
            faults.add(f"due[{client}]", "must not lie before ready", hours, "the two are swapped")
        with np.errstate(over="ignore"):
            total = float(self.distance.max(axis=1).sum()) + float(self.demand.sum())
        faults.require(np.isfinite(total), "distance", "is too large to add up")

    @classmethod
    def capacitated(
        cls,
        name: str,
        distance: Floats,
        demand: object,
        capacity: float,
        *,
        num_vehicles: int | None = None,
        coordinates: Floats | None = None,
        rounding: Rounding = Rounding.NONE,
    ) -> Self:
        """An instance without times: every window is open, service takes none."""
        loads = np.asarray(demand, np.float64)
        zero, never = np.zeros(len(loads)), np.full(len(loads), inf)
        return cls(name, distance, distance, loads, capacity, zero, never, zero, num_vehicles, coordinates, rounding)

    @property
    def sense(self) -> Sense:
        """Distance is a cost."""
        return Sense.MINIMISE

    @property
    def num_clients(self) -> int:
        """How many clients there are, the depot not counted."""
        return len(self.demand) - 1

    @property
    def has_time_windows(self) -> bool:
        """Whether time can forbid anything."""
        return bool(np.isfinite(self.due).any())

    @property
    def is_symmetric(self) -> bool:
        """Whether every way is as long as the way back."""
        return bool(np.array_equal(self.distance, self.distance.T))

    @property
    def least_vehicles(self) -> int:
        """The vehicles that the total demand needs, at least one when there are clients."""
        if self.num_clients == 0:
            return 0
        if self.capacity <= 0:
            return 1
        return max(1, int(np.ceil(self.demand.sum() / self.capacity - 1e-9)))

    def summary(self) -> dict[str, object]:
        """The figures that ``apportion show`` prints."""
        facts: dict[str, object] = {
            "clients": self.num_clients,
            "vehicles": "any number" if self.num_vehicles is None else self.num_vehicles,
            "vehicles that the demand needs": self.least_vehicles,
            "capacity": self.capacity,
            "total demand": float(self.demand.sum()),
            "distances": f"{'symmetric' if self.is_symmetric else 'asymmetric'}, rounding {self.rounding}",
            "time windows": int(np.isfinite(self.due[1:]).sum()),
        }
        if self.has_time_windows:
            facts["horizon"] = f"{self.ready[0]:g} to {self.due[0]:g}"
            facts["service"] = float(self.service.sum())
        return facts


@dataclass(frozen=True)
class Routes:
    """The clients that each vehicle serves, in order; the depot at both ends is not written.

    >>> Routes(((2, 1), (3,))).to_dict()
    {'routes': [[2, 1], [3]]}
    """

    problem: ClassVar[str] = "vehicle-routing"
    routes: tuple[tuple[int, ...], ...]

    def to_dict(self) -> Json:
        """Return the routes as lists."""
        return {"routes": [list(route) for route in self.routes]}

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Rebuild from :meth:`to_dict`; raise :class:`PlanError` when it cannot be."""
        routes = data.get("routes")
        if not isinstance(routes, list):
            raise PlanError("plan", [Fault("routes", "must be a list of lists of clients", routes)])
        faults: list[Fault] = []
        for number, route in enumerate(routes):
            if not isinstance(route, list):
                faults.append(Fault(f"routes[{number}]", "must be a list of clients", route))
                continue
            faults += [
                Fault(f"routes[{number}][{place}]", "must be the number of a client", client)
                for place, client in enumerate(route)
                if not isinstance(client, int) or isinstance(client, bool)
            ]
        if faults:
            raise PlanError("plan", faults)
        return cls(tuple(tuple(route) for route in routes))


def with_rounding(instance: VehicleRouting, rounding: Rounding) -> VehicleRouting:
    """The same instance with distances (and durations, where they were equal) rounded by another convention.

    Raises
    ------
    InstanceError
        When it has no coordinates to compute them from.
    """
    if instance.coordinates is None:
        raise InstanceError(instance.name, [Fault("coordinates", "are needed to round distances anew")])
    distance = euclidean(instance.coordinates, rounding)
    same = np.array_equal(instance.duration, instance.distance)
    return VehicleRouting(
        name=instance.name,
        distance=distance,
        duration=distance if same else instance.duration,
        demand=instance.demand,
        capacity=instance.capacity,
        ready=instance.ready,
        due=instance.due,
        service=instance.service,
        num_vehicles=instance.num_vehicles,
        coordinates=instance.coordinates,
        rounding=rounding,
    )
