"""Compiled search over the order in which jobs start."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

_PRIME, _FACTOR = 2147483647, 48271


@numba.njit(cache=True)
def next_random(state: int) -> int:
    """The next state of Lehmer's generator (Park and Miller's minimal standard), from 1 to 2 ** 31 - 2."""
    return state * _FACTOR % _PRIME


@numba.njit(cache=True)
def list_schedule(
    order: Longs,
    rest: Floats,
    gpus: Longs,
    held: Longs,
    capacity: int,
    length: float,
    restart: float,
    waiting: Longs,
    release: Floats,
    start: Floats,
    finish: Floats,
) -> None:
    """Start every job as early as the order allows; one that fits overtakes those that do not.

    GPUs come free at the end of a round of ``length``. ``held`` is 1 for jobs that run now: they pay ``restart`` only
    when they start later. ``waiting`` and ``release`` are work arrays of the length of ``order``.
    """
    count = len(order)
    for position in range(count):
        waiting[position] = order[position]
        release[position] = np.inf
    left = count
    free = capacity
    now = 0.0
    while left > 0:
        kept = 0
        for position in range(left):
            job = waiting[position]
            if gpus[job] <= free:
                cost = 0.0 if held[job] == 1 and now == 0.0 else restart
                start[job] = now
                finish[job] = now + rest[job] + cost
                release[job] = np.ceil(finish[job] / length - 1e-9) * length
                free -= gpus[job]
            else:
                waiting[kept] = job
                kept += 1
        left = kept
        if left == 0:
            break
        soon = np.inf
        for job in range(count):
            if release[job] > now and release[job] < soon:
                soon = release[job]
        if soon == np.inf:
            for position in range(left):
                start[waiting[position]] = np.inf
                finish[waiting[position]] = np.inf
            break
        now = soon
        for job in range(count):
            if release[job] == now:
                free += gpus[job]


@numba.njit(cache=True)
def plan_cost(
    finish: Floats, age: Floats, fair: Floats, weights: Floats, unit: float, horizon: float, due: Floats
) -> float:
    """Weighted sum of mean completion, makespan, share of unfair jobs, excess unfairness and worst fairness.

    ``weights`` are those of the five; times count in ``unit``. ``fair`` is the time on a fair share, ``due`` the
    fairness above which a job counts as unfair (one entry).
    """
    count = len(finish)
    total, last, unfair, excess, worst = 0.0, horizon, 0.0, 0.0, 0.0
    for job in range(count):
        total += finish[job]
        last = max(last, finish[job])
        ratio = (age[job] + finish[job]) / fair[job]
        if ratio > due[0]:
            unfair += 1.0
            excess += ratio - due[0]
        worst = max(worst, ratio)
    mean = total / unit
    ends = last / unit
    beyond = max(0.0, worst - due[1])
    return float(
        weights[0] * mean + weights[1] * ends + weights[2] * unfair + weights[3] * excess + weights[4] * beyond
    )


@numba.njit(cache=True)
def improve_order(
    order: Longs,
    rest: Floats,
    gpus: Longs,
    held: Longs,
    capacity: int,
    length: float,
    restart: float,
    age: Floats,
    fair: Floats,
    weights: Floats,
    unit: float,
    horizon: float,
    due: Floats,
    moves: int,
    heat: float,
    seed: int,
    best: Longs,
    trial: Longs,
    waiting: Longs,
    release: Floats,
    start: Floats,
    finish: Floats,
) -> float:
    """Anneal ``order`` in place by moving one job to another place; ``best`` keeps the best order. Returns its cost."""
    count = len(order)
    state = next_random(1 + seed % (_PRIME - 1))
    list_schedule(order, rest, gpus, held, capacity, length, restart, waiting, release, start, finish)
    here = plan_cost(finish, age, fair, weights, unit, horizon, due)
    lowest = here
    best[:] = order
    for move in range(moves):
        state = next_random(state)
        source = state % count
        state = next_random(state)
        target = state % count
        if source == target:
            continue
        trial[:] = order
        job = trial[source]
        if source < target:
            for position in range(source, target):
                trial[position] = trial[position + 1]
        else:
            for position in range(source, target, -1):
                trial[position] = trial[position - 1]
        trial[target] = job
        list_schedule(trial, rest, gpus, held, capacity, length, restart, waiting, release, start, finish)
        cost = plan_cost(finish, age, fair, weights, unit, horizon, due)
        cold = heat * (1.0 - move / moves)
        state = next_random(state)
        chance = state / _PRIME
        if cost <= here or (cold > 0.0 and chance < np.exp((here - cost) / cold)):
            here = cost
            order[:] = trial
            if here < lowest:
                lowest = here
                best[:] = order
    return float(lowest)
