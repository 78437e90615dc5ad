"""Lower bounds on the total distance: the best true claim of three relaxations, within a share of the time.

The method itself begins with half of the two cheapest edges everywhere. Here follow the edge relaxation with capacity
cuts, which is quick and strong where vehicles pass through many clients, and price and cut over ng-routes, which is
strong where windows or the capacity keep routes short, and often proves that a plan is the best. Each is stopped by
time or by work and leaves a valid bound whenever it stops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil, inf, isfinite

from apportion.instances.routing import Routes, VehicleRouting
from apportion.models.checking import check
from apportion.solvers.events import Monitor
from apportion.solvers.routing.bounding.cutting import PriceAndCut
from apportion.solvers.routing.bounding.edges import EdgeRelaxation
from apportion.solvers.routing.search import scale_of

MOST_CLIENTS_EDGES = 5000
MOST_CLIENTS_COLUMNS = 1000
MOST_CLIENTS_PROVEN = 250
"""Up to here a proof is within reach, and gets most of a long time limit."""
_SHORT_ROUTES = 16.0
_SHARE_OF_EDGES = 0.06
"""The part of the time for the edge relaxation where columns are stronger: windows, or short routes."""
_SHARE_OF_EDGES_LONG = 0.7
_EDGES_S = 4.0
"""So many seconds, but no more than half, are for the edge relaxation without windows: columns take longer to begin."""
_SHARE = 0.25
_MOST_SHARE = 0.7
_LONG_S = 60.0
"""So many seconds are search enough for an instance on which a proof is within reach."""


@dataclass(frozen=True)
class Effort:
    """How much to spend: seconds of wall clock, rounds and pivots on cuts, and labels of column generation."""

    seconds: float = inf
    most_rounds: int = 150
    most_pivots: int = 15_000
    most_labels: int = 1_000_000


def share_of_time(instance: VehicleRouting, seconds: float) -> float:
    """The part of so many seconds that goes into the bound: more of a long time where a proof is within reach.

    >>> import numpy as np
    >>> pair = VehicleRouting.capacitated("pair", np.array([[0.0, 7], [7, 0]]), [0, 1], 1)
    >>> [round(share_of_time(pair, seconds), 2) for seconds in (10.0, 100.0, 600.0)]
    [0.25, 0.4, 0.7]
    """
    if instance.num_clients > MOST_CLIENTS_PROVEN or not isfinite(seconds):
        return _SHARE
    return min(_MOST_SHARE, max(_SHARE, 1.0 - _LONG_S / max(seconds, 1e-9)))


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
    on_plan: Callable[[Routes], object] | None = None,
) -> dict[str, int]:
    """Report ever better bounds to ``monitor`` until ``effort`` is spent or ``is_enough``; return the work done.

    ``plan`` gives column generation its first routes, and what has to be beaten. ``on_plan`` hears of a shorter plan
    that the proof found, which has passed the check.
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
        share = _SHARE_OF_EDGES if short else _SHARE_OF_EDGES_LONG
        if not instance.has_time_windows:
            share = max(share, min(0.5, _EDGES_S / max(effort.seconds, 1e-9)))
        relaxation = EdgeRelaxation(instance)
        relaxation.improve(partial(seconds_left, share), report, effort.most_rounds, effort.most_pivots)
        counts["cuts"] = relaxation.num_cuts
    if instance.num_clients <= MOST_CLIENTS_COLUMNS and seconds_left(1.0) > 0.0:
        scale = scale_of(instance)
        search = PriceAndCut(instance, plan, 1.0 / scale if scale else 0.0)
        search.improve(partial(seconds_left, 1.0), report, effort.most_labels, monitor)
        counts |= {"columns": search.num_columns, "labels": search.num_labels, "routing cuts": search.num_cuts}
        if on_plan is not None and search.plan is not None and search.plan is not plan:
            verdict = check(instance, search.plan)
            if verdict.ok:
                on_plan(search.plan)
    return counts
