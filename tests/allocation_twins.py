"""Slow, obvious twins of the compiled loops and methods of fleet allocation."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment, linprog

from apportion.instances.fleet import FleetAllocation

Floats = NDArray[np.float64]


def cheapest(rates: Floats, size: float, price: Floats, wanted: float) -> float:
    """What one job pays at least to reach a rate: a linear program of its own."""
    found = linprog(size * price, A_ub=np.vstack([-rates, np.ones(len(rates))]), b_ub=[-wanted, 1.0], bounds=(0, None))
    return float(found.fun or 0.0) if found.status == 0 else np.inf


def best_worth(value: Floats, rates: Floats, size: float, price: Floats, least: float) -> float:
    """The most that one job's time is worth at given prices, with a least rate."""
    able = rates > 0
    found = linprog(
        -(value - size * price),
        A_ub=np.vstack([-rates, np.ones(len(rates))]),
        b_ub=[-least, 1.0],
        bounds=[(0, 1 if ok else 0) for ok in able],
    )
    return -float(found.fun or 0.0) if found.status == 0 else -np.inf


def highest_level(fleet: FleetAllocation, need: Floats, fixed: Floats) -> float:
    """The level of a whole fleet by a dense linear program; -inf when ``fixed`` is out of reach."""
    jobs, types = fleet.rates.shape
    columns = jobs * types + 1
    rows, limits = [], []
    for job in range(jobs):
        time, rate = np.zeros(columns), np.zeros(columns)
        time[job * types : (job + 1) * types] = 1.0
        rate[job * types : (job + 1) * types] = -fleet.rates[job]
        rate[-1] = need[job]
        rows += [time, rate]
        limits += [1.0, -fixed[job]]
    for kind in range(types):
        load = np.zeros(columns)
        load[kind:-1:types] = fleet.scale_factor
        rows.append(load)
        limits.append(float(fleet.num_gpus[kind]))
    usable = fleet.usable.ravel()
    bounds: list[tuple[float | None, float | None]] = [(0.0, 1.0 if ok else 0.0) for ok in usable]
    cost = np.zeros(columns)
    cost[-1] = -1.0
    found = linprog(cost, A_ub=np.array(rows), b_ub=limits, bounds=[*bounds, (None, None)])
    return -float(found.fun or 0.0) if found.status == 0 else -np.inf


def water_levels(fleet: FleetAllocation, need: Floats) -> Floats:
    """Levels of lexicographic max-min: after each program, ask job by job who could still rise."""
    jobs = fleet.num_jobs
    active, fixed, levels = need > 0, np.zeros(jobs), np.zeros(jobs)
    while active.any():
        level = highest_level(fleet, np.where(active, need, 0.0), np.where(active, 0.0, fixed))
        floor = np.where(active, need * level * (1 - 1e-6), fixed)
        for job in np.flatnonzero(active):
            own = np.zeros(jobs)
            own[job] = need[job]
            others = np.where(np.arange(jobs) == job, 0.0, floor)
            if highest_level(fleet, own, others) <= level * (1 + 1e-4):
                active[job] = False
                fixed[job], levels[job] = floor[job], level
    return levels


def least_total_completion(seconds: Floats, gpus: NDArray[np.int64]) -> float:
    """The smallest sum of completion times of single jobs: the square assignment of AlloX, every GPU apart."""
    jobs = len(seconds)
    columns = [position * seconds[:, kind] for kind in range(len(gpus)) for position in range(1, jobs + 1)]
    cost = np.column_stack([column for column, kind in _repeated(columns, jobs, gpus) for _ in range(kind)])
    rows, chosen = linear_sum_assignment(np.where(np.isfinite(cost), cost, 1e15))
    return float(cost[rows, chosen].sum())


def _repeated(columns: list[Floats], jobs: int, gpus: NDArray[np.int64]) -> list[tuple[Floats, int]]:
    return [(column, int(gpus[number // jobs])) for number, column in enumerate(columns)]


def least_by_orders(seconds: Floats) -> float:
    """The smallest sum of completion times on one GPU: every order."""
    return min(float(np.cumsum(order).sum()) for order in permutations(seconds.tolist()))
