"""The policies by name. Each is a pure function of a snapshot, so that simulator and live plugin share them.

``POLICIES`` uses the fast method of each, ``LINEAR_POLICIES`` has those that are linear programs solved as such.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from apportion.instances.fleet import FleetAllocation
from apportion.solvers.allocation import linear, requirements
from apportion.solvers.allocation.allocation import Allocation, Policy, allocated, effective_throughputs
from apportion.solvers.allocation.deadlines import deadlines, soft_deadlines
from apportion.solvers.allocation.goodput import sia
from apportion.solvers.allocation.hierarchy import hierarchical
from apportion.solvers.allocation.matching import allox
from apportion.solvers.allocation.objectives import fair_needs, optimise
from apportion.solvers.allocation.priced import Market
from apportion.solvers.allocation.rules import fifo, fifo_packed, fifo_perf, gandiva, isolated, proportional, srtf

__all__ = ["LINEAR_POLICIES", "POLICIES", "Allocation", "Policy", "agnostic", "alone", "fair_needs"]

Floats = NDArray[np.float64]


def alone(snapshot: FleetAllocation) -> FleetAllocation:
    """The same fleet where nobody shares GPUs."""
    if not snapshot.num_pairs:
        return snapshot
    return replace(snapshot, pairs=np.zeros((0, 2), np.int64), pair_throughputs=np.zeros((0, 2, snapshot.num_types)))


def agnostic(snapshot: FleetAllocation) -> FleetAllocation:
    """The same fleet as one sees it who does not know throughputs: 1 step per second wherever a job can run."""
    return replace(alone(snapshot), throughputs=snapshot.usable.astype(np.float64))


def _optimal(objective: str, seen: Callable[[FleetAllocation], FleetAllocation], *, by_program: bool) -> Policy:
    """The policy that optimises ``objective`` on the fleet as it is ``seen``; promises out of reach are dropped."""

    def policy(snapshot: FleetAllocation) -> Allocation:
        view = seen(snapshot).with_objective(objective)
        found = optimise(view, by_program=by_program)
        if found is None:
            view = replace(view, slo_s=np.full(view.num_jobs, np.inf))
            found = optimise(view, by_program=by_program)
        if found is None:
            return allocated(snapshot, np.zeros(snapshot.usable.shape))
        y = found.y if view.num_pairs else np.zeros((snapshot.num_pairs, snapshot.num_types))
        return Allocation(found.x, y, found.objective, found.bound, found.pending)

    return policy


def _same(snapshot: FleetAllocation) -> FleetAllocation:
    return snapshot


def water_filling_perf(snapshot: FleetAllocation) -> Allocation:
    """Lexicographic max-min fairness: raise the poorest first, then the next, until nobody can gain."""
    need = np.where(snapshot.runnable, fair_needs(snapshot), 0.0)
    found = requirements.water_filling(Market.of(snapshot), need)
    if found is None:
        return allocated(snapshot, np.zeros(snapshot.usable.shape))
    x, _, bound = found
    asked = need > 0
    lowest = float((effective_throughputs(snapshot, x)[asked] / need[asked]).min())
    return allocated(snapshot, x, None, lowest, bound)


def water_filling(snapshot: FleetAllocation) -> Allocation:
    """Water-filling that knows no throughputs."""
    return _for(snapshot, water_filling_perf(agnostic(snapshot)))


def water_filling_packed(snapshot: FleetAllocation) -> Allocation:
    """Water-filling where pairs share GPUs, by linear programs."""
    found = linear.water_filling(snapshot, fair_needs(snapshot), packed=True)
    return found or allocated(snapshot, np.zeros(snapshot.usable.shape))


def _linear_water_filling(snapshot: FleetAllocation) -> Allocation:
    found = linear.water_filling(alone(snapshot), fair_needs(snapshot))
    return _for(snapshot, found or allocated(snapshot, np.zeros(snapshot.usable.shape)))


def _for(snapshot: FleetAllocation, found: Allocation) -> Allocation:
    """The same shares, with no time for the pairs of ``snapshot``."""
    return replace(found, y=np.zeros((snapshot.num_pairs, snapshot.num_types)))


_VIEWS: dict[str, tuple[str, Callable[[FleetAllocation], FleetAllocation]]] = {
    "max-min": ("max-min-fairness", agnostic),
    "max-min-perf": ("max-min-fairness", alone),
    "max-min-packed": ("max-min-fairness", _same),
    "finish-time-fairness": ("finish-time-fairness", agnostic),
    "finish-time-fairness-perf": ("finish-time-fairness", alone),
    "finish-time-fairness-packed": ("finish-time-fairness", _same),
    "makespan": ("makespan", agnostic),
    "makespan-perf": ("makespan", alone),
    "makespan-packed": ("makespan", _same),
    "max-throughput": ("max-throughput", alone),
    "max-throughput-packed": ("max-throughput", _same),
    "throughput-per-cost": ("throughput-per-cost", alone),
    "min-cost": ("min-cost", alone),
    "nash": ("nash-welfare", alone),
    "nash-packed": ("nash-welfare", _same),
}

POLICIES: dict[str, Policy] = {
    "fifo": fifo,
    "fifo-perf": fifo_perf,
    "fifo-packed": fifo_packed,
    "srtf": srtf,
    "isolated": isolated,
    "proportional": proportional,
    "gandiva": gandiva,
    "allox": allox,
    "sia": sia,
    "deadlines": deadlines,
    "soft-deadlines": soft_deadlines,
    "water-filling": water_filling,
    "water-filling-perf": water_filling_perf,
    "water-filling-packed": water_filling_packed,
    "hierarchical": hierarchical,
    **{name: _optimal(objective, view, by_program=False) for name, (objective, view) in _VIEWS.items()},
}
"""Every policy by its name."""

LINEAR_POLICIES: dict[str, Policy] = {
    "sia": partial(sia, by_program=True),
    "water-filling-perf": _linear_water_filling,
    **{name: _optimal(objective, view, by_program=True) for name, (objective, view) in _VIEWS.items()},
}
"""The policies that have a linear program, by that program: slower, and the same to a small gap."""
