"""The two-index formulation of vehicle routing, for small instances and for users who add constraints of their own.

References
----------
Kulkarni, R. V., Bhave, P. R. (1985). Integer programming formulations of vehicle routing problems. European Journal of
Operational Research 20(1), 58-67.
"""

from __future__ import annotations

import numpy as np

from apportion.instances.program import Floats
from apportion.instances.routing import Routes, VehicleRouting
from apportion.models.algebra import LinearExpression, Model


def two_index(instance: VehicleRouting) -> Model:
    """Blocks ``arc`` (n + 1, n + 1), ``load`` (n,) after each client, and ``begin`` (n,) where windows bind.

    A block ``position`` (n,) joins them when some client asks for nothing.

    Big-M constraints order the clients of a route, so the relaxation is weak: for a few dozen clients at most.
    """
    model = Model(instance.name, sense="minimise")
    size = instance.num_clients + 1
    allowed = 1.0 - np.eye(size)
    arc = model.add_variables("arc", shape=(size, size), lower=0, upper=allowed, integer=True)
    model.minimise((instance.distance * arc).sum())
    _visits(instance, model, arc)
    _loads(instance, model, arc)
    if (instance.demand[1:] <= 0.0).any():
        _positions(instance, model, arc)
    if instance.has_time_windows:
        _times(instance, model, arc)
    return model


def _visits(instance: VehicleRouting, model: Model, arc: LinearExpression) -> None:
    """One way into each client and one out; as many out of the depot as into it, within the fleet."""
    model.add_constraints("into", arc[:, 1:].sum(axis=0) == 1)
    model.add_constraints("out_of", arc[1:, :].sum(axis=1) == 1)
    model.add_constraints("depot", arc[0, 1:].sum() - arc[1:, 0].sum() == 0)
    if instance.num_vehicles is not None:
        model.add_constraints("fleet", arc[0, 1:].sum() <= instance.num_vehicles)


def _loads(instance: VehicleRouting, model: Model, arc: LinearExpression) -> None:
    """The load grows by the demand from client to client: ``load_j >= load_i + q_j - Q (1 - arc_ij)``."""
    demand, capacity = instance.demand[1:], instance.capacity
    load = model.add_variables("load", shape=(instance.num_clients,), lower=demand, upper=np.maximum(demand, capacity))
    rise = load[None, :] - load[:, None] - capacity * arc[1:, 1:]
    model.add_constraints("load_rises", rise >= demand[None, :] - capacity)


def _positions(instance: VehicleRouting, model: Model, arc: LinearExpression) -> None:
    """Clients that ask for nothing could circle among themselves: number the stops of each route."""
    clients = instance.num_clients
    position = model.add_variables("position", shape=(clients,), lower=1, upper=clients)
    rise = position[None, :] - position[:, None] - clients * arc[1:, 1:]
    model.add_constraints("position_rises", rise >= 1 - clients)


def _times(instance: VehicleRouting, model: Model, arc: LinearExpression) -> None:
    """Service begins inside the window and after service and travel from the client before; the depot is open."""
    due = np.minimum(instance.due[1:], _horizon(instance))
    begin = model.add_variables("begin", shape=(instance.num_clients,), lower=instance.ready[1:], upper=due)
    takes = instance.service[1:, None] + instance.duration[1:, 1:]
    slack = np.maximum(0.0, due[:, None] + takes - instance.ready[None, 1:])
    model.add_constraints("in_order", begin[None, :] - begin[:, None] - slack * arc[1:, 1:] >= takes - slack)
    first = instance.ready[0] + instance.duration[0, 1:]
    model.add_constraints("first", begin - np.maximum(0.0, first) * arc[0, 1:] >= 0)
    if np.isfinite(instance.due[0]):
        back = instance.service[1:] + instance.duration[1:, 0]
        late = np.maximum(0.0, due + back - instance.due[0])
        model.add_constraints("back", begin + late * arc[1:, 0] <= instance.due[0] - back + late)


def _horizon(instance: VehicleRouting) -> float:
    """A time by which any sensible route is over."""
    if np.isfinite(instance.due[0]):
        return float(instance.due[0])
    known = float(np.max(instance.due[np.isfinite(instance.due)], initial=float(instance.ready.max())))
    return known + float(instance.duration.max(axis=1).sum() + instance.service.sum())


def decode(model: Model, values: Floats) -> Routes:
    """Follow the arcs that are in use from the depot and back."""
    arc = model.split(values)["arc"] > 0.5
    routes = []
    for first in np.flatnonzero(arc[0]).tolist():
        route: list[int] = []
        client = first
        while client != 0 and len(route) < len(arc):
            route.append(client)
            client = int(np.argmax(arc[client]))
        routes.append(tuple(route))
    return Routes(tuple(routes))
