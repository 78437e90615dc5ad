"""A lower bound on the cost of rich routes that is cheap and true: an assignment of successors."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from apportion.instances.program import Floats
from apportion.instances.rich_routing import RichRouting

MOST_CLIENTS = 700
"""Above, the assignment would take too long; the bound is then 0 or what the nearest predecessors cost."""
_FORBIDDEN = 1e12


def assignment_bound(instance: RichRouting) -> float:
    """A lower bound on the cost of any plan: each client has one successor and one predecessor, or pays its prize.

    Clients may follow each other in circles without a depot.
    Capacity and time beyond single ways are relaxed; so are breaks, lateness, overtime and balance, which only add.
    Every way costs what the cheapest type pays for it, a way from a depot the least fixed cost too (unless reloads
    let a vehicle come back). Members of groups may go unserved for nothing.

    Examples
    --------
    >>> from apportion.instances.rich_routing import VehicleType
    >>> line = np.abs(np.subtract.outer(np.arange(2.0), np.arange(2.0)))
    >>> assignment_bound(RichRouting.simple("line", line, [VehicleType(1, (1.0,), fixed_cost=5.0)]))
    7.0
    """
    depots, clients = instance.num_depots, instance.num_clients
    if clients == 0:
        return 0.0
    ways = _cheapest_ways(instance)
    starts = sorted({v.start for v in instance.vehicles} | _reloads(instance))
    ends = sorted({v.end for v in instance.vehicles} | _reloads(instance))
    fixed = 0.0 if _reloads(instance) else min(v.fixed_cost for v in instance.vehicles)
    leave, come = ways[starts, depots:].min(axis=0) + fixed, ways[depots:, ends].min(axis=1)
    between, skipped = ways[depots:, depots:].copy(), _skipped(instance)
    if clients > MOST_CLIENTS:
        np.fill_diagonal(between, np.inf)
        enters = np.minimum(leave, between.min(axis=0))
        return float(np.minimum(enters, skipped).sum())
    np.fill_diagonal(between, np.minimum(skipped, _FORBIDDEN))
    # the second half of rows and columns are depots, one for each route there could be
    matrix = np.zeros((2 * clients, 2 * clients))
    matrix[:clients, :clients] = between
    matrix[:clients, clients:] = come[:, None]
    matrix[clients:, :clients] = leave[None, :]
    matrix = np.minimum(matrix, _FORBIDDEN)
    rows, columns = linear_sum_assignment(matrix)
    total = float(matrix[rows, columns].sum())
    return total if total < _FORBIDDEN else 0.0


def _reloads(instance: RichRouting) -> set[int]:
    return {v.reload for v in instance.vehicles if v.reload is not None and v.most_reloads > 0}


def _skipped(instance: RichRouting) -> Floats:
    """What it costs to leave each client out; infinite for one that must be served."""
    skipped = np.where(instance.is_optional, instance.prize, np.inf)
    for group in instance.groups:
        skipped[list(group)] = 0.0
    return np.asarray(skipped[instance.num_depots :], np.float64)


def _cheapest_ways(instance: RichRouting) -> Floats:
    """For each way the least that any type pays for its distance and time, infinite where windows forbid it."""
    fastest = 1.0 if instance.traffic is None else max(max(speeds) for speeds in instance.traffic.speeds)
    shortest = instance.duration / fastest
    unit, per_time = min(v.distance_cost for v in instance.vehicles), min(v.time_cost for v in instance.vehicles)
    with np.errstate(invalid="ignore"):
        ways = unit * instance.distance + per_time * (shortest + instance.service[:, None])
        too_late = instance.ready[:, None] + instance.service[:, None] + shortest > instance.due[None, :] * (1 + 1e-6)
    too_late[: instance.num_depots] = False
    too_late[:, : instance.num_depots] = False
    settled = [stop for lock in instance.locks for stop in lock.stops]
    too_late[settled] = False
    too_late[:, settled] = False
    ways[too_late | ~np.isfinite(instance.distance)] = np.inf
    return np.asarray(np.nan_to_num(ways, nan=np.inf, posinf=np.inf), np.float64)
