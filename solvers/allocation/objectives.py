"""Each objective by prices of GPU types where nobody shares, and by its linear program."""

from __future__ import annotations

from math import exp, inf

import numpy as np
from numpy.typing import NDArray

from apportion.instances.fleet import FleetAllocation
from apportion.solvers.allocation import linear, packed, priced, requirements
from apportion.solvers.allocation.allocation import Allocation, allocated, effective_throughputs
from apportion.solvers.allocation.priced import Market
from apportion.solvers.allocation.requirements import FinishTimes

Floats = NDArray[np.float64]


def fair_needs(snapshot: FleetAllocation) -> Floats:
    """Steps per second that each job needs for one unit of fairness, (J,): ``weight * fair / scale_factor``.

    A job on several GPUs gets proportionally less time (Gavel's max-min fairness).
    """
    return snapshot.weights * snapshot.fair_throughputs / snapshot.scale_factor


def promised_rates(snapshot: FleetAllocation) -> Floats:
    """Steps per second that keep every promised time, (J,); 0 without a promise or when the job can never run."""
    asked = np.zeros(snapshot.num_jobs)
    bound = np.isfinite(snapshot.slo_s) & snapshot.runnable & (snapshot.steps_left > 0)
    with np.errstate(divide="ignore"):
        np.divide(snapshot.steps_left, snapshot.slo_s, out=asked, where=bound)
    return asked


def optimise(snapshot: FleetAllocation, *, by_program: bool = False) -> Allocation | None:
    """The best allocation for the objective of ``snapshot`` with a proven bound; None when promises cannot be kept.

    Pairs share GPUs when the snapshot has any. ``by_program`` solves the linear program in full.
    """
    if not snapshot.runnable.any():
        return _nothing(snapshot)
    whole = by_program or snapshot.num_pairs > 0
    if snapshot.objective == "max-min-fairness":
        return _level(snapshot, fair_needs(snapshot), by_program=by_program)
    if snapshot.objective == "makespan":
        return _makespan(snapshot, by_program=by_program)
    if snapshot.objective == "finish-time-fairness":
        return _finish(snapshot, by_program=whole)
    if snapshot.objective == "nash-welfare":
        return _welfare(snapshot, by_program=whole)
    return _value(snapshot, by_program=whole)


def _nothing(snapshot: FleetAllocation) -> Allocation:
    """Nobody can run: the objective of nobody."""
    idle = 1.0 if snapshot.objective == "nash-welfare" else 0.0
    return allocated(snapshot, np.zeros(snapshot.usable.shape), None, idle, idle)


def _level(snapshot: FleetAllocation, need: Floats, *, by_program: bool) -> Allocation | None:
    if snapshot.num_pairs:
        method = (
            linear.highest_level(snapshot, need, packed=True) if by_program else packed.highest_level(snapshot, need)
        )
        return method or _nothing(snapshot)
    if by_program:
        return linear.highest_level(snapshot, need) or _nothing(snapshot)
    found = priced.highest_level(Market.of(snapshot), need)
    if found is None:
        return _nothing(snapshot)
    x, proof = found
    asked = need > 0
    reached = float((effective_throughputs(snapshot, x)[asked] / need[asked]).min())
    return allocated(snapshot, x, None, reached, proof.bound)


def _makespan(snapshot: FleetAllocation, *, by_program: bool) -> Allocation | None:
    need = np.where(snapshot.runnable, snapshot.steps_left, 0.0)
    found = _level(snapshot, need, by_program=by_program)
    if found is None or not (need > 0).any():
        return _nothing(snapshot)
    return allocated(snapshot, found.x, found.y, _inverse(found.objective), _inverse(found.bound))


def _inverse(level: float) -> float:
    return 1.0 / level if level > 0 else inf


def _finish(snapshot: FleetAllocation, *, by_program: bool) -> Allocation | None:
    if by_program:
        return linear.fairest_finish(snapshot, packed=snapshot.num_pairs > 0) or _nothing(snapshot)
    found = requirements.fairest_finish(Market.of(snapshot), FinishTimes.of(snapshot))
    if found is None:
        return _nothing(snapshot)
    x, reached, bound = found
    return allocated(snapshot, x, None, reached, bound)


def _welfare(snapshot: FleetAllocation, *, by_program: bool) -> Allocation | None:
    weights = np.where(snapshot.runnable, snapshot.weights, 0.0)
    total, able = float(weights.sum()), snapshot.runnable
    fair = float(weights[able] @ np.log(snapshot.fair_throughputs[able]))
    if by_program:
        best = linear.highest_welfare(snapshot, weights, packed=snapshot.num_pairs > 0)
        if best is None:
            return None
        return allocated(snapshot, best.x, best.y, *(exp((v - fair) / total) for v in (best.objective, best.bound)))
    market = Market.of(snapshot)
    found = priced.highest_welfare(market, weights, equal_shares(snapshot))
    if found is None:
        return None
    x, proof = found
    reached = float(weights[able] @ np.log(effective_throughputs(snapshot, x)[able]))
    return allocated(snapshot, x, None, *(exp((v - fair) / total) for v in (reached, proof.bound)))


def equal_shares(snapshot: FleetAllocation) -> Floats:
    """An equal number of GPUs for every job that can run, as fractions of its time (J, T)."""
    share = snapshot.num_gpus / max(1, int(snapshot.runnable.sum())) / snapshot.scale_factor[:, None]
    return np.where(snapshot.usable, share / np.maximum(1.0, share.sum(axis=1))[:, None], 0.0)


def worth(snapshot: FleetAllocation) -> tuple[Floats, Floats]:
    """What a unit of time is worth under a linear objective: of jobs (J, T) and of pairs (P, T), to be maximised."""
    pair = snapshot.pair_rates.sum(axis=1)
    if snapshot.objective == "max-throughput":
        return snapshot.rates, pair
    if snapshot.objective == "throughput-per-cost":
        return snapshot.rates / snapshot.cost_per_gpu_hour, pair / snapshot.cost_per_gpu_hour
    cost = snapshot.scale_factor[:, None] * snapshot.cost_per_gpu_hour
    return -cost, -cost[snapshot.pairs[:, 0]]


def _value(snapshot: FleetAllocation, *, by_program: bool) -> Allocation | None:
    value, pair_value = worth(snapshot)
    least = promised_rates(snapshot)
    if not np.isfinite(least).all():
        return None
    if by_program:
        shared = snapshot.num_pairs > 0
        best = linear.highest_value(snapshot, value, least, packed=shared, pair_value=pair_value)
        if best is None:
            return None
        reached, bound = best.objective, best.bound
    else:
        found = priced.highest_value(Market.of(snapshot), value, least)
        if found is None:
            return None
        x, proof = found
        best = allocated(snapshot, x)
        reached, bound = float((value * x).sum()), proof.bound
    if snapshot.objective == "min-cost":  # no cost is below 0
        reached, bound = abs(reached), max(0.0, -bound)
    return allocated(snapshot, best.x, best.y, reached, bound)
