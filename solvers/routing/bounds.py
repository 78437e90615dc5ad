"""Lower bounds on the total distance: the best true claim of three relaxations, within a share of the time.

The method itself begins with half of the two cheapest edges everywhere. Here follow the edge relaxation with capacity
cuts, which is strong where vehicles pass through many clients, and column generation over ng-routes, which is strong
where windows or the capacity keep routes short. Each is stopped by time or by work and leaves a valid bound whenever it
stops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil, inf

from apportion.instances.routing import Routes, VehicleRouting
from apportion.solvers.events import Monitor
from apportion.solvers.routing.bounding.columns import Columns
from apportion.solvers.routing.bounding.edges import EdgeRelaxation
from apportion.solvers.routing.search import scale_of

MOST_CLIENTS_EDGES = 5000
MOST_CLIENTS_COLUMNS = 1000
_SHORT_ROUTES = 8.0
_SHARE_OF_EDGES = 0.15
"""The part of the time for the edge relaxation where columns are stronger: windows, or short routes."""


@dataclass(frozen=True)
class Effort:
    """How much to spend: seconds of wall clock, rounds and pivots on cuts, and labels of column generation."""

    seconds: float = inf
    most_rounds: int = 150
    most_pivots: int = 15_000
    most_labels: int = 400_000


def whole(instance: VehicleRouting, bound: float) -> float:
    """Raise a bound to the next value that a sum of the instance's distances can take.

    >>> import numpy as np
    >>> pair = VehicleRouting.capacitated("pair", np.array([[0.0, 7], [7, 0]]), [0, 1], 1)
    >>> whole(pair, 13.2)
    14.0
    """
    scale = scale_of(instance)
    return ceil(bound * scale - 1e-6) / scale if scale else bound


def prove(
    instance: VehicleRouting,
    plan: Routes | None,
    monitor: Monitor,
    effort: Effort,
    is_enough: Callable[[], bool],
) -> dict[str, int]:
    """Report ever better bounds to ``monitor`` until ``effort`` is spent or ``is_enough``; return the work done.

    ``plan`` gives column generation its first routes.
    """
    begun = monitor.elapsed_s

    def report(bound: float) -> None:
        monitor.bound(whole(instance, bound))

    def seconds_left(share: float) -> float:
        if monitor.should_stop or is_enough():
            return 0.0
        return min(monitor.remaining_s, share * effort.seconds - (monitor.elapsed_s - begun))

    counts: dict[str, int] = {}
    if 2 <= instance.num_clients <= MOST_CLIENTS_EDGES and instance.capacity > 0:
        short = instance.has_time_windows or instance.num_clients <= _SHORT_ROUTES * instance.least_vehicles
        share = _SHARE_OF_EDGES if short else 1.0
        relaxation = EdgeRelaxation(instance)
        relaxation.improve(partial(seconds_left, share), report, effort.most_rounds, effort.most_pivots)
        counts["cuts"] = relaxation.num_cuts
    if instance.num_clients <= MOST_CLIENTS_COLUMNS and seconds_left(1.0) > 0.0:
        columns = Columns(instance, plan)
        columns.improve(partial(seconds_left, 1.0), report, effort.most_labels)
        counts |= {"columns": columns.num_columns, "labels": columns.num_labels}
    return counts
