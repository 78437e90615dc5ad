"""Seeded routing instances in the manner of the two benchmark families that the field compares on.

References
----------
Uchoa, E., Pecin, D., Pessoa, A., Poggi, M., Vidal, T., Subramanian, A. (2017). New benchmark instances for the
capacitated vehicle routing problem. European Journal of Operational Research 257(3), 845-858.

Solomon, M. M. (1987). Algorithms for the vehicle routing and scheduling problems with time window constraints.
Operations Research 35(2), 254-265.
"""

from __future__ import annotations

import numpy as np

from apportion.instances.errors import OptionError
from apportion.instances.program import Floats
from apportion.instances.routing import MOST_CLIENTS, Rounding, VehicleRouting, euclidean

_PLACES = ("random", "clustered", "mixed")
_DEPOTS = ("centre", "corner", "random")


def generate_routing(
    seed: int = 0,
    *,
    clients: int = 100,
    time_windows: bool = False,
    positions: str = "mixed",
    depot: str = "random",
    route_length: float = 8.0,
    window_share: float = 1.0,
    window_width: float = 30.0,
) -> VehicleRouting:
    """Generate an instance: same arguments, same bytes.

    Parameters
    ----------
    seed
        Of everything random.
    clients
        How many.
    time_windows
        False: as Uchoa et al., a grid of 1000 by 1000, integer distances, any number of vehicles. True: as Solomon, a
        square of 100 by 100, distances cut to one decimal, windows around times that a vehicle can meet, service of
        10, and as many vehicles as there are clients at most.
    positions
        ``"random"``, ``"clustered"``, or ``"mixed"`` (half of each).
    depot
        ``"centre"``, ``"corner"`` or ``"random"``.
    route_length
        The capacity is chosen so that a full vehicle serves about this many clients.
    window_share, window_width
        The share of clients with a window of their own, and half its mean width.

    Raises
    ------
    OptionError
        When an argument is out of its range.

    Examples
    --------
    >>> generate_routing(7, clients=20).least_vehicles
    3
    """
    _require(1 <= clients <= MOST_CLIENTS, "clients", clients, f"must lie in 1..{MOST_CLIENTS}")
    _require(positions in _PLACES, "positions", positions, f"must be one of {', '.join(_PLACES)}")
    _require(depot in _DEPOTS, "depot", depot, f"must be one of {', '.join(_DEPOTS)}")
    _require(route_length >= 1, "route_length", route_length, "must be at least 1")
    _require(0 <= window_share <= 1, "window_share", window_share, "must lie in 0..1")
    _require(window_width > 0, "window_width", window_width, "must be positive")
    random = np.random.default_rng(seed)
    side = 100 if time_windows else 1000
    coordinates = _coordinates(random, clients, side, positions, depot)
    demand = np.concatenate([[0.0], random.integers(1, 51 if time_windows else 101, clients).astype(np.float64)])
    capacity = float(np.ceil(max(route_length * demand.sum() / clients, demand.max())))
    if not time_windows:
        distance = euclidean(coordinates, Rounding.NEAREST)
        return VehicleRouting.capacitated(
            f"uchoa-n{clients + 1}-s{seed}",
            distance,
            demand,
            capacity,
            coordinates=coordinates,
            rounding=Rounding.NEAREST,
        )
    distance = euclidean(coordinates, Rounding.TRUNCATE_1_DECIMAL)
    service = np.concatenate([[0.0], np.full(clients, 10.0)])
    ready, due = _windows(random, distance[0], service, window_share, window_width)
    return VehicleRouting(
        name=f"solomon-n{clients}-s{seed}",
        distance=distance,
        duration=distance,
        demand=demand,
        capacity=capacity,
        ready=ready,
        due=due,
        service=service,
        num_vehicles=clients,
        coordinates=coordinates,
        rounding=Rounding.TRUNCATE_1_DECIMAL,
    )


def _require(holds: bool, name: str, value: object, message: str) -> None:
    if not holds:
        raise OptionError(f"{name} {message}, got {value!r}")


def _coordinates(random: np.random.Generator, clients: int, side: int, positions: str, depot: str) -> Floats:
    """The depot first; clients of clusters attract each other exponentially, as Uchoa et al. draw them."""
    home = {"centre": (side // 2, side // 2), "corner": (0, 0), "random": tuple(random.integers(0, side + 1, 2))}
    num_clustered = {"random": 0, "clustered": clients, "mixed": clients // 2}[positions]
    places = random.integers(0, side + 1, (clients - num_clustered, 2)).astype(np.float64)
    if num_clustered:
        seeds = random.integers(0, side + 1, (min(num_clustered, int(random.integers(3, 9))), 2)).astype(np.float64)
        chosen = seeds[random.integers(0, len(seeds), num_clustered)]
        angle = random.uniform(0.0, 2.0 * np.pi, num_clustered)
        reach = random.exponential(side * 0.05, num_clustered)
        offsets = reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        places = np.concatenate([places, np.clip(np.rint(chosen + offsets), 0, side)])
    return np.concatenate([[home[depot]], places]).astype(np.float64)


def _windows(
    random: np.random.Generator, from_depot: Floats, service: Floats, share: float, width: float
) -> tuple[Floats, Floats]:
    """Windows whose middle a vehicle straight from the depot can meet and still be home in time."""
    size = len(from_depot)
    horizon = np.ceil(2.0 * from_depot.max() + 10.0 + max(120.0, 4.0 * width))
    earliest = np.ceil(from_depot)
    latest = np.floor(horizon - from_depot - service)
    middle = random.uniform(earliest, latest)
    half = np.maximum(1.0, random.normal(width, width / 4.0, size))
    ready = np.clip(np.rint(middle - half), 0.0, latest)
    due = np.clip(np.rint(middle + half), earliest, latest)
    open_all_day = random.random(size) >= share
    ready = np.where(open_all_day, 0.0, ready)
    due = np.where(open_all_day, latest, due)
    ready[0], due[0] = 0.0, horizon
    return ready, due
