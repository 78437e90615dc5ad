"""The free peers of routing, each on the same matrices, with its own defaults and one thread; nan without a plan."""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from math import ceil, nan
from typing import Any

import numpy as np

from apportion.instances.routing import VehicleRouting

PEERS = ("pyvrp", "hgs", "ortools", "vroom")
_MODULES = {"pyvrp": "pyvrp", "hgs": "hygese", "ortools": "ortools", "vroom": "vroom"}
_SPARE_VEHICLES = 1.3


def is_installed(peer: str) -> bool:
    """Whether the peer's package is there.

    >>> is_installed("ortools")
    True
    """
    return find_spec(_MODULES[peer]) is not None


def peer_objective(peer: str, instance: VehicleRouting, scale: int, limit_s: float, seed: int) -> float:
    """The distance that ``peer`` finds in ``limit_s`` seconds; nan when it finds no plan or cannot state the instance.

    Parameters
    ----------
    peer
        One of :data:`PEERS`.
    instance, scale
        Distances times ``scale`` are whole numbers.
    limit_s, seed
        OR-Tools and VROOM have no seed.
    """
    if peer == "pyvrp":
        return pyvrp_objective(instance, scale, limit_s, seed)
    if peer == "hgs":
        return hgs_objective(instance, limit_s, seed)
    if peer == "vroom":
        return vroom_objective(instance, scale, limit_s)
    return ortools_objective(instance, scale, limit_s)


def pyvrp_objective(instance: VehicleRouting, scale: int, limit_s: float, seed: int) -> float:
    """The distance that PyVRP finds with its defaults."""
    from apportion.bench.suites.sweep import pyvrp_objective as objective

    return objective(instance, scale, limit_s, seed)


def hgs_objective(instance: VehicleRouting, limit_s: float, seed: int) -> float:
    """The distance that HGS-CVRP finds with its defaults, without an iteration limit; it knows no time windows."""
    if instance.has_time_windows:
        return nan
    import hygese

    settings = hygese.AlgorithmParameters(timeLimit=limit_s, seed=seed, nbIter=2**31 - 1)
    data: dict[str, Any] = {
        "distance_matrix": instance.distance,
        "demands": instance.demand,
        "vehicle_capacity": instance.capacity,
    }
    if instance.coordinates is not None:
        points = instance.coordinates - instance.coordinates.min(axis=0)
        data |= {"x_coordinates": points[:, 0], "y_coordinates": points[:, 1]}
    if instance.num_vehicles is not None:
        data["num_vehicles"] = instance.num_vehicles
    found = hygese.Solver(parameters=settings, verbose=False).solve_cvrp(data)
    return float(found.cost) if found.n_routes else nan


def vroom_objective(instance: VehicleRouting, scale: int, limit_s: float) -> float:
    """The distance that VROOM finds at its highest exploration level, stopped by the clock."""
    import vroom

    problem = vroom.Input()
    problem.set_costs_matrix("car", np.rint(instance.distance * scale).astype(np.uint32))
    takes = np.floor(instance.duration * scale + 1e-6).astype(np.uint32)
    problem.set_durations_matrix("car", takes if instance.has_time_windows else np.zeros_like(takes))
    timed, capacity = instance.has_time_windows, [int(instance.capacity)]
    whole: dict[str, Any] = {"time_window": _window(vroom, instance, 0, scale)} if timed else {}
    spare = min(instance.num_clients, ceil(_SPARE_VEHICLES * instance.least_vehicles) + 10)
    for vehicle in range(instance.num_vehicles or spare):
        problem.add_vehicle(vroom.Vehicle(vehicle, start=0, end=0, capacity=capacity, profile="car", **whole))
    for client in range(1, instance.num_clients + 1):
        extra: dict[str, Any] = {}
        if timed:
            service = int(instance.service[client] * scale)
            extra = {"time_windows": [_window(vroom, instance, client, scale)], "default_service": service}
        problem.add_job(vroom.Job(client, location=client, delivery=[int(instance.demand[client])], **extra))
    found = problem.solve(exploration_level=5, nb_threads=1, timeout=timedelta(seconds=limit_s))
    return nan if found.summary.unassigned else float(found.summary.cost) / scale


def _window(vroom: Any, instance: VehicleRouting, location: int, scale: int) -> Any:
    due = min(float(instance.due[location]) * scale, 2.0**31)
    return vroom.TimeWindow(int(instance.ready[location] * scale), int(due))


def ortools_objective(instance: VehicleRouting, scale: int, limit_s: float) -> float:
    """The distance that OR-Tools' routing finds with guided local search; nan when it finds no routes. No seed."""
    from ortools.constraint_solver import pywrapcp, routing_enums_pb2

    size, fleet = instance.num_clients + 1, instance.num_vehicles or instance.num_clients
    manager = pywrapcp.RoutingIndexManager(size, fleet, 0)
    model = pywrapcp.RoutingModel(manager)
    distance = np.rint(instance.distance * scale).astype(int)
    model.SetArcCostEvaluatorOfAllVehicles(model.RegisterTransitMatrix(distance.tolist()))
    load = model.RegisterUnaryTransitVector(instance.demand.astype(int).tolist())
    model.AddDimension(load, 0, int(instance.capacity), True, "load")
    if instance.has_time_windows:
        _add_windows(model, manager, instance, scale)
    search = pywrapcp.DefaultRoutingSearchParameters()
    search.local_search_metaheuristic = routing_enums_pb2.LocalSearchMetaheuristic.GUIDED_LOCAL_SEARCH
    search.time_limit.FromMilliseconds(int(1000 * limit_s))
    found = model.SolveWithParameters(search)
    return nan if found is None else float(found.ObjectiveValue()) / scale


def _add_windows(model: Any, manager: Any, instance: VehicleRouting, scale: int) -> None:
    takes = np.floor((instance.duration + instance.service[:, None]) * scale + 1e-6).astype(int)
    last = int(instance.due[0] * scale)
    model.AddDimension(model.RegisterTransitMatrix(takes.tolist()), last, last, False, "time")
    time_of = model.GetDimensionOrDie("time")
    for client in range(1, instance.num_clients + 1):
        index = manager.NodeToIndex(client)
        time_of.CumulVar(index).SetRange(int(instance.ready[client] * scale), int(instance.due[client] * scale))
