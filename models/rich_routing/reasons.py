"""Why an instance of rich routing has no plan at all: simple reasons, each a proof."""

from __future__ import annotations

import numpy as np

from apportion.instances.rich_routing import RichRouting
from apportion.models.verdict import TOLERANCE


def impossible(instance: RichRouting) -> tuple[str, ...]:
    """Clients that must be served and that no type of vehicle may serve or can carry, and groups of such clients.

    An empty tuple means that none of these reasons applies, not that a plan exists.

    >>> from apportion.instances.rich_routing import VehicleType
    >>> line = np.ones((2, 2))
    >>> impossible(RichRouting.simple("line", line, [VehicleType(1, (1.0,))], delivery=[[0], [3]]))
    ('client 1 asks for more than any vehicle that may serve it carries',)
    """
    must: list[tuple[str, tuple[int, ...]]] = [(f"client {c}", (c,)) for c in _alone(instance)]
    must += [(f"group {number}", group) for number, group in enumerate(instance.groups, 1)]
    reasons = []
    for name, members in must:
        allowed = [(c, v) for c in members for v in instance.vehicles if v.serves is None or c in v.serves]
        if not allowed:
            reasons.append(f"no type of vehicle may serve {name}")
        elif not any(_fits(instance, client, np.array(vehicle.capacity)) for client, vehicle in allowed):
            reasons.append(f"{name} asks for more than any vehicle that may serve it carries")
    return tuple(reasons)


def _alone(instance: RichRouting) -> list[int]:
    """Clients that must be served and are in no group."""
    grouped = {client for group in instance.groups for client in group}
    optional = instance.is_optional
    return [c for c in range(instance.num_depots, instance.num_locations) if c not in grouped and not optional[c]]


def _fits(instance: RichRouting, client: int, capacity: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    gain = instance.pickup[client] + instance.shipment[client]
    most = np.maximum(instance.delivery[client], gain)
    return bool((most <= capacity + TOLERANCE * np.maximum(1.0, capacity)).all())
