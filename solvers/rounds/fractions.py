"""Gavel's objectives with central answers: fractions of time, (J, T), from a snapshot.

The formulas are those of Narayanan et al., OSDI 2020, as their code has them.
"""

from __future__ import annotations

import numpy as np

from apportion.instances.fleet import FleetAllocation
from apportion.instances.program import Floats
from apportion.instances.trace import Longs
from apportion.solvers.rounds.central import central_level, central_optimum, share_rows

BOUND_ERROR = 1e-5
"""How exact the least time is, relative."""

_BISECTION_STOP = 1.05
_SHORTEST_S, _LONGEST_S = 100.0, 1_000_000.0


def max_min_fractions(snapshot: FleetAllocation, *, aware: bool = True) -> Floats:
    """Least attained service: the highest least throughput relative to an equal share; blind unless ``aware``."""
    rates = snapshot.rates if aware else np.ones_like(snapshot.rates)
    share = snapshot.num_gpus / max(1, snapshot.num_jobs)
    fair = rates @ (share / max(float(share.sum()), 1e-300))
    need = snapshot.weights * fair / snapshot.scale_factor
    return _level(snapshot, rates, need)[0]


def makespan_fractions(snapshot: FleetAllocation, *, aware: bool = True) -> Floats:
    """Gavel's makespan policy: a bisection that stops within 5 %, then the middle of what meets that time."""
    fast = snapshot.rates.max(axis=1, initial=0.0)
    rates = snapshot.rates if aware else np.where(snapshot.usable, fast[:, None], 0.0)
    _, level = _level(snapshot, rates, snapshot.steps_left)
    shortest = 1.0 / max(level, 1e-300)
    low, high = _SHORTEST_S, _LONGEST_S
    while high < shortest:
        low, high = high, high * 10.0
    while low * _BISECTION_STOP < high:
        middle = (low + high) / 2.0
        low, high = (low, middle) if middle >= shortest else (middle, high)
    usable = np.argwhere(rates > 0).astype(np.int64)
    matrix, right = share_rows(snapshot.scale_factor, snapshot.num_gpus, usable)
    progress = np.zeros((snapshot.num_jobs, len(usable)))
    progress[usable[:, 0], np.arange(len(usable))] = -rates[usable[:, 0], usable[:, 1]]
    need = snapshot.steps_left / high
    unit = np.maximum(need, 1e-12)
    rows, limit = np.vstack((matrix, progress / unit[:, None])), np.concatenate((right, -need / unit))
    return _spread(snapshot, usable, central_optimum(np.zeros(len(usable)), rows, limit))


def shortest_makespan(snapshot: FleetAllocation) -> tuple[float, Floats]:
    """The least time in which all that is left can be done when jobs may be split at will, and such fractions.

    Less :data:`BOUND_ERROR` of it, it is a lower bound on the makespan of any schedule from here that gives a GPU to
    one job at a time, with preemption and migration for free.
    """
    fractions, level = _level(snapshot, snapshot.rates, snapshot.steps_left)
    return 1.0 / max(level, 1e-300), fractions


def throughput_fractions(snapshot: FleetAllocation) -> Floats:
    """The highest sum of throughputs."""
    usable = np.argwhere(snapshot.rates > 0).astype(np.int64)
    matrix, right = share_rows(snapshot.scale_factor, snapshot.num_gpus, usable)
    value = snapshot.rates[usable[:, 0], usable[:, 1]]
    return _spread(snapshot, usable, central_optimum(value, matrix, right))


def proportional_fractions(snapshot: FleetAllocation) -> Floats:
    """Every job the same time on every type, at most all of its time (Gandiva-Fair in Shockwave's code)."""
    share = snapshot.num_gpus / max(1, snapshot.num_jobs)
    return np.tile(share / max(1.0, float(share.sum())), (snapshot.num_jobs, 1))


def _level(snapshot: FleetAllocation, rates: Floats, need: Floats) -> tuple[Floats, float]:
    """Maximise L with ``rates @ x >= need * L`` for every job that runs somewhere."""
    must = (rates > 0).any(axis=1) & (need > 0)
    if not must.any():
        return np.zeros(rates.shape), 0.0
    unit = np.maximum(need, 1e-300)
    # L is counted in units that make it about 1
    typical = float(np.median(rates[must].max(axis=1) / unit[must]))
    ratio = np.where(rates > 0, rates / (unit * typical)[:, None], 0.0)
    fractions, level = central_level(ratio, must.astype(np.int64), snapshot.scale_factor, snapshot.num_gpus)
    return np.clip(fractions, 0.0, 1.0), level * typical


def _spread(snapshot: FleetAllocation, usable: Longs, values: Floats) -> Floats:
    fractions = np.zeros((snapshot.num_jobs, snapshot.num_types))
    fractions[usable[:, 0], usable[:, 1]] = np.clip(values, 0.0, 1.0)
    return fractions
