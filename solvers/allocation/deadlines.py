"""Promised times: which can be kept together, and what to run now so that they are.

Time is cut at the promises. In each stretch a job gets time on types within the fleet's GPUs; a promise is kept when
the work of all stretches before it suffices. Strict promises are kept whole or not at all (Chronus: Gao et al., SoCC
2021); soft ones are worth the part of the work that is done in time. What is left now goes to everybody, max-min fair.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apportion.instances.fleet import FleetAllocation
from apportion.models.algebra import Model
from apportion.solvers.allocation.allocation import Allocation, allocated, effective_throughputs
from apportion.solvers.allocation.linear import run_model
from apportion.solvers.allocation.objectives import fair_needs
from apportion.solvers.allocation.priced import Market, highest_level

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_STRETCHES = 24


def deadlines(snapshot: FleetAllocation, *, strict: bool = True, stretches: int = MOST_STRETCHES) -> Allocation:
    """Keep the heaviest set of promises, then be fair with what is left now.

    With more than ``stretches`` different promises some count as earlier than they are. The objective is the weight of
    the promises kept (the weighted parts when they are soft), the bound that of any plan on the same stretches.
    """
    jobs = np.flatnonzero(np.isfinite(snapshot.slo_s) & snapshot.runnable & (snapshot.steps_left > 0))
    x = np.zeros(snapshot.usable.shape)
    kept = bound = 0.0
    if len(jobs):
        x[jobs], kept, bound = plan_promises(snapshot, jobs, strict=strict, stretches=stretches)
    return allocated(snapshot, _with_the_rest(snapshot, x), None, kept, bound)


def soft_deadlines(snapshot: FleetAllocation) -> Allocation:
    """As ``deadlines``, where work that is done in time counts even when the job is not done."""
    return deadlines(snapshot, strict=False)


def plan_promises(
    snapshot: FleetAllocation, jobs: Ints, *, strict: bool, stretches: int
) -> tuple[Floats, float, float]:
    """The shares of ``jobs`` in the first stretch (len(jobs), T), the weight that is kept and the bound on it."""
    ends = _ends(snapshot.slo_s[jobs], stretches)
    lengths = np.diff(ends, prepend=0.0)
    last = np.searchsorted(ends, snapshot.slo_s[jobs], side="right")
    rates, sizes = snapshot.rates[jobs], snapshot.scale_factor[jobs].astype(np.float64)
    model = Model("promises")
    within = np.arange(len(ends))[None, None, :] < last[:, None, None]
    share = model.add_variables("share", (*rates.shape, len(ends)), upper=within * snapshot.usable[jobs][:, :, None])
    done = model.add_variables("done", (len(jobs),), upper=1.0, integer=strict)
    model.add_constraints("time", share.sum(axis=1) <= 1.0)
    load = (sizes[:, None, None] * share).sum(axis=0)
    model.add_constraints("capacity", load <= snapshot.num_gpus[:, None] * np.ones(len(ends)))
    part = rates[:, :, None] * lengths / snapshot.steps_left[jobs][:, None, None]
    model.add_constraints("work", (part * share).sum(axis=(1, 2)) >= done)
    model.maximise((snapshot.weights[jobs] * done).sum())
    found = run_model(model)
    if found is None:
        return np.zeros(rates.shape), 0.0, 0.0
    values, bounds = found
    return np.clip(model.split(values)["share"][:, :, 0], 0.0, 1.0), bounds.primal, bounds.dual


def _ends(promised: Floats, stretches: int) -> Floats:
    """When the stretches end: the different promises, thinned out to at most ``stretches``, the first always kept."""
    ends = np.unique(promised[promised > 0])
    if not len(ends):
        return np.ones(1)
    if len(ends) > stretches:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, stretches).round().astype(np.int64))]
    return ends


def _with_the_rest(snapshot: FleetAllocation, x: Floats) -> Floats:
    """The shares ``x`` and, on top, what is left: fair among all jobs that can run."""
    market = Market.of(snapshot)
    x = market.within(x)
    fixed = effective_throughputs(snapshot, x) * (1.0 - 1e-9)
    top = snapshot.rates.max(axis=1, initial=0.0)
    need = np.where(snapshot.runnable & (fixed < top * (1.0 - 1e-6)), fair_needs(snapshot), 0.0)
    found = highest_level(market, need, fixed, market.anchor(0.0, x))
    return x if found is None else found[0]
