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


def refusal(instance: RichRouting, client: int) -> str | None:
    """Why no vehicle could serve ``client`` even on a route of its own; None when this screening finds nothing."""
    allowed = [v for v in instance.vehicles if v.serves is None or client in v.serves]
    if not allowed:
        return "no type of vehicle may serve it"
    able = [v for v in allowed if _fits(instance, client, np.array(v.capacity))]
    if not able:
        return "it asks for more than any vehicle that may serve it carries"
    fastest = 1.0 if instance.traffic is None else max(max(speeds) for speeds in instance.traffic.speeds)
    leaves = [max(v.ready, float(instance.release[client])) for v in able]
    reached = [t + float(instance.duration[v.start, client]) / fastest for t, v in zip(leaves, able, strict=True)]
    if not np.isfinite(reached).any():
        return "no vehicle has a way there"
    closes = float(instance.due[client])
    if min(reached) > closes + TOLERANCE * max(1.0, closes):
        return f"its window closes at {closes:g}, the first vehicle could be there at {min(reached):g}"
    done = [max(t, float(instance.ready[client])) + float(instance.service[client]) for t in reached]
    back = [t + float(instance.duration[client, v.end]) / fastest for t, v in zip(done, able, strict=True)]
    if all(t > v.due + TOLERANCE * max(1.0, v.due) for t, v in zip(back, able, strict=True)):
        return f"no vehicle that serves it is back before its shift ends, the first at {min(back):g}"
    ways = [float(instance.distance[v.start, client] + instance.distance[client, v.end]) for v in able]
    if all(far > v.most_distance + TOLERANCE * max(1.0, v.most_distance) for far, v in zip(ways, able, strict=True)):
        return f"the way there and back, {min(ways):g}, is longer than any route may be"
    return None


def _alone(instance: RichRouting) -> list[int]:
    """Clients that must be served and are in no group."""
    grouped = {client for group in instance.groups for client in group}
    optional = instance.is_optional
    return [c for c in range(instance.num_depots, instance.num_locations) if c not in grouped and not optional[c]]


def _fits(instance: RichRouting, client: int, capacity: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    gain = instance.pickup[client] + instance.shipment[client]
    most = np.maximum(instance.delivery[client], gain)
    return bool((most <= capacity + TOLERANCE * np.maximum(1.0, capacity)).all())
