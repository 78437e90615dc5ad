"""Hierarchical fairness: entities share the fleet by weight, and each shares its part by its own rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apportion.instances.fleet import FleetAllocation
from apportion.solvers.allocation import kernels
from apportion.solvers.allocation.allocation import Allocation, allocated, effective_throughputs
from apportion.solvers.allocation.objectives import fair_needs
from apportion.solvers.allocation.priced import Market, highest_level

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MARGINAL = 1e-5
_ROUNDING = 1e-9


def hierarchical(snapshot: FleetAllocation) -> Allocation:
    """Water-filling over entities: all rise at the pace of their weights until their jobs cannot gain any more.

    Within an entity of rule ``"fairness"`` the jobs that still rise share its weight by their own weights; under
    ``"fifo"`` the first of them that came has all of it. When a job cannot rise any more its part goes to the others
    of its entity (Narayanan et al. 2020, section 4.3).
    """
    market = Market.of(snapshot)
    need = fair_needs(snapshot) / snapshot.weights
    rising = snapshot.runnable & (need > 0)
    anchor, reached = market.empty(), np.zeros(snapshot.num_jobs)
    lowest = bound = 0.0
    for turn in range(2 * snapshot.num_jobs):
        if not rising.any():
            break
        pace = need * entity_paces(snapshot, rising)
        found = highest_level(market, pace, reached, market.anchor(0.0, anchor.x))
        if found is None:
            break
        x, proof = found
        anchor = market.anchor(0.0, x)
        goal = reached + pace * proof.value
        if turn == 0:
            lowest, bound = proof.value, proof.bound
        rising &= ~_stuck(market, pace, goal, proof.price)
        reached = np.minimum(goal * (1.0 - _ROUNDING), effective_throughputs(snapshot, x))
    return allocated(snapshot, anchor.x, None, lowest, bound)


def entity_paces(snapshot: FleetAllocation, rising: Bools) -> Floats:
    """The weight with which each job rises, (J,): its part of its entity's weight."""
    names = list(dict.fromkeys(snapshot.entities))
    number = {name: i for i, name in enumerate(names)}
    entity = np.array([number[name] for name in snapshot.entities], np.int64)
    own = np.where(rising, snapshot.weights, 0.0)
    for i, name in enumerate(names):
        mine = np.flatnonzero((entity == i) & rising)
        if len(mine) and snapshot.entity_rules.get(name, "fairness") == "fifo":
            first = mine[np.argmin(snapshot.arrival_s[mine])]
            own[mine] = 0.0
            own[first] = 1.0
    total = np.bincount(entity, own, minlength=len(names))
    weight = np.array([snapshot.entity_weights.get(name, 1.0) for name in names])
    paces: Floats = own / np.maximum(total, 1e-300)[entity] * weight[entity]
    return paces


def _stuck(market: Market, pace: Floats, goal: Floats, price: Floats) -> Bools:
    """Which jobs cannot rise: those at their fastest, and those for whom more has a price."""
    moving = pace > 0
    top = market.rates.max(axis=1, initial=0.0)
    capped = moving & (goal >= top * (1.0 - _ROUNDING))
    slopes = np.empty(len(pace))
    kernels.marginal_costs(market.rates, market.sizes, price, goal * (1.0 - _ROUNDING), slopes)
    dear = np.zeros(len(pace), np.bool_)
    finite = np.isfinite(slopes) & moving
    dear[finite] = slopes[finite] * pace[finite] * moving.sum() > _MARGINAL
    found: Bools = capped | dear
    return found if found.any() else moving
