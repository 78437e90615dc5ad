"""Sia: each job gets one configuration, a type and a number of GPUs, by goodput; moving has a price.

Jayaram Subramanya et al., "Sia: Heterogeneity-aware, goodput-optimized ML-cluster scheduling", SOSP 2023. Goodput as
in Qiao et al., "Pollux: Co-adaptive Cluster Scheduling for Goodput-Optimized Deep Learning", OSDI 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.fleet import FleetAllocation
from apportion.models.algebra import Model
from apportion.solvers.allocation.allocation import Allocation, allocated
from apportion.solvers.allocation.linear import run_model
from apportion.solvers.allocation.prices import Anchor, Reply, best_prices

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POWER = -0.5
IDLE = 1.1
RESTART_S = 30.0
_MOST_PASSES = 20
_MOST_EXCHANGED = 300
_FEW = 200
_FAIR = 0.01


@dataclass(frozen=True, eq=False)
class Choices:
    """What every job may have and what it is worth: at most one configuration each.

    Parameters
    ----------
    worth
        Value of each configuration for each job, (J, C); minus infinity where it may not have it.
    gpus, kinds
        GPUs and type of each configuration, (C,).
    capacity
        GPUs of each type, (T,).
    """

    worth: Floats
    gpus: Ints
    kinds: Ints
    capacity: Ints

    def load(self, choice: Ints) -> Ints:
        """GPUs in use of each type, (T,), when job j has configuration ``choice[j]`` (-1 for none)."""
        taken = choice[choice >= 0]
        used = np.bincount(self.kinds[taken], self.gpus[taken], minlength=len(self.capacity))
        return used.astype(np.int64)

    def value(self, choice: Ints) -> float:
        """The sum of what all have."""
        has = np.flatnonzero(choice >= 0)
        return float(self.worth[has, choice[has]].sum())


def goodput(samples_per_s: Floats, batch_size: Floats, noise: float, base_batch_size: float) -> Floats:
    """Useful samples per second: throughput times the statistical efficiency of its batch size.

    ``noise`` is the gradient noise scale in samples (variance over squared mean at ``base_batch_size``, times it).

    >>> goodput(np.array([100.0, 180.0]), np.array([32.0, 64.0]), 32.0, 32.0).tolist()
    [100.0, 120.0]
    """
    efficiency = (noise + base_batch_size) / (noise + batch_size)
    found: Floats = samples_per_s * np.minimum(1.0, efficiency)
    return found


def step_seconds(compute_s: Floats, network_s: Floats, overlap: float) -> Floats:
    """Seconds of one step when computing and synchronising overlap: ``(c ** overlap + n ** overlap) ** (1 / overlap)``.

    >>> round(float(step_seconds(np.array(3.0), np.array(4.0), 2.0)), 12)
    5.0
    """
    found: Floats = (compute_s**overlap + network_s**overlap) ** (1.0 / overlap)
    return found


def restart_factor(age_s: Floats, restarts: Floats, restart_s: Floats) -> Floats:
    """What a configuration is worth that needs a restart, between 0 and 1: ``(T - N S) / (T + S)``."""
    age = np.maximum(age_s, 0.0)
    found: Floats = np.clip((age - restarts * restart_s) / np.maximum(age + restart_s, 1e-9), 0.0, 1.0)
    return found


def sia_worth(goodputs: Floats, current: Ints, restart: Floats, *, power: float = POWER, idle: float = IDLE) -> Floats:
    """The worth of configurations for Sia's program, (J, C): what having one gains over having none.

    Goodput (J, C), 0 where a job may not have it, counts relative to the job's smallest; another configuration than the
    ``current`` one (J,), -1 for none, is multiplied by ``restart`` (J,). A negative ``power`` makes it fairer.
    """
    allowed = goodputs > 0
    least = np.where(allowed, goodputs, np.inf).min(axis=1, initial=np.inf)
    relative = np.where(allowed, goodputs, 1.0) / np.where(np.isfinite(least), least, 1.0)[:, None]
    holding = current >= 0
    moved = holding[:, None] & (np.arange(goodputs.shape[1]) != current[:, None])
    relative = np.where(moved, relative * restart[:, None], relative)
    with np.errstate(divide="ignore"):
        score = np.where(relative > 0, relative, 0.0) ** power
    gain = idle - score if power < 0 else score + idle
    return np.where(allowed & np.isfinite(gain), gain, -np.inf)


def choose_by_program(choices: Choices) -> tuple[Ints, float, float]:
    """The best choice by mixed-integer programming: configurations (J,), value and bound."""
    jobs, configurations = np.nonzero(choices.worth > 0)
    choice = np.full(len(choices.worth), -1)
    if not len(jobs):
        return choice, 0.0, 0.0
    number = np.arange(len(jobs))
    model = Model("configurations")
    take = model.add_variables("take", (len(jobs),), upper=1.0, integer=True)
    once = sparse.csr_array((np.ones(len(jobs)), (jobs, number)), shape=(len(choices.worth), len(jobs)))
    kinds, gpus = choices.kinds[configurations], choices.gpus[configurations].astype(np.float64)
    used = sparse.csr_array((gpus, (kinds, number)), shape=(len(choices.capacity), len(jobs)))
    model.add_constraints("once", once @ take <= 1.0)
    model.add_constraints("capacity", used @ take <= choices.capacity.astype(np.float64))
    model.maximise((choices.worth[jobs, configurations] * take).sum())
    found = run_model(model)
    if found is None:
        return choice, 0.0, np.inf
    taken = model.split(found[0])["take"] > 0.5
    choice[jobs[taken]] = configurations[taken]
    return choice, choices.value(choice), found[1].dual


def choose(choices: Choices) -> tuple[Ints, float, float]:
    """A good choice by prices of GPU types and rounding: configurations (J,), value and the bound of the prices."""
    if not (choices.worth > 0).any():
        return np.full(len(choices.worth), -1), 0.0, 0.0
    capacity = choices.capacity.astype(np.float64)

    def oracle(price: Floats) -> Reply:
        picked, gain = _pick(choices, price)
        return Reply(float(gain + capacity @ price), choices.value(picked), choices.load(picked).astype(np.float64))

    top = float(np.maximum(choices.worth.max(axis=1), 0.0).sum())
    start = np.full(len(capacity), top / max(1.0, float(capacity.sum())))
    anchor = Anchor(0.0, np.zeros(len(capacity)), np.zeros(0))
    priced = best_prices(oracle, capacity, start, anchor, tolerance=1e-6)
    if priced is None:
        return np.full(len(choices.worth), -1), 0.0, np.inf
    best, value = np.full(len(choices.worth), -1), 0.0
    for k in [*np.argsort(-priced.weights)[: 1 + len(capacity)].tolist(), -1]:
        price = priced.price if k < 0 else priced.points[k]
        picked = _exchanged(choices, _improved(choices, _fitted(choices, _pick(choices, price)[0])))
        if choices.value(picked) > value:
            best, value = picked, choices.value(picked)
    return best, value, priced.bound


def _pick(choices: Choices, price: Floats) -> tuple[Ints, float]:
    """What every job would take at these prices, and the sum of its gains."""
    gain = choices.worth - choices.gpus * price[choices.kinds]
    best = gain.argmax(axis=1)
    most = gain[np.arange(len(best)), best]
    return np.where(most > 0, best, -1), float(np.maximum(most, 0.0).sum())


def _fitted(choices: Choices, picked: Ints) -> Ints:
    """Give back GPUs where there are too few: the configurations with the least gain for each GPU first."""
    choice = picked.copy()
    load = choices.load(choice)
    has = np.flatnonzero(choice >= 0)
    gain = choices.worth[has, choice[has]] / choices.gpus[choice[has]]
    for job in has[np.argsort(gain, kind="stable")]:
        kind = choices.kinds[choice[job]]
        if load[kind] > choices.capacity[kind]:
            load[kind] -= choices.gpus[choice[job]]
            choice[job] = -1
    return choice


def _improved(choices: Choices, choice: Ints) -> Ints:
    """Let jobs change to something better that is free, the largest gain for each further GPU first, until none can."""
    free = choices.capacity - choices.load(choice)
    for _ in range(_MOST_PASSES):
        has = choice >= 0
        now = np.where(has, choices.worth[np.arange(len(choice)), choice], 0.0)
        gain = choices.worth - now[:, None]
        own = np.where(has, choices.gpus[choice], 0)
        same = has[:, None] & (choices.kinds[choice][:, None] == choices.kinds)
        more = choices.gpus - np.where(same, own[:, None], 0)
        fits = (more <= free[choices.kinds]) & (gain > 1e-12)
        if not fits.any():
            break
        rate = np.where(fits, gain / np.maximum(more, 0.25), -np.inf)
        best = rate.argmax(axis=1)
        order = np.argsort(-rate.max(axis=1), kind="stable")
        for job in order[: int(fits.any(axis=1).sum())]:
            new, kind = int(best[job]), int(choices.kinds[best[job]])
            freed = int(own[job]) if has[job] else 0
            old = int(choices.kinds[choice[job]]) if has[job] else -1
            if choices.gpus[new] - (freed if old == kind else 0) <= free[kind]:
                if old >= 0:
                    free[old] += freed
                free[kind] -= choices.gpus[new]
                choice[job] = new
    return choice


def _exchanged(choices: Choices, choice: Ints) -> Ints:
    """Let a job take what it wants from one other, which moves to the best that is free or waits, while that gains."""
    size = len(choice)
    if size > _MOST_EXCHANGED:
        return choice
    jobs = np.arange(size)
    for _ in range(_MOST_PASSES):
        free = choices.capacity - choices.load(choice)
        has = choice >= 0
        now = np.where(has, choices.worth[jobs, choice], 0.0)
        gpus = np.where(has, choices.gpus[choice], 0)
        kind = np.where(has, choices.kinds[choice], -1)
        move = _best_exchange(choices, free, now, gpus, kind)
        if move is None:
            return choice
        taker, taken, giver, given = move
        choice = choice.copy()
        choice[taker], choice[giver] = taken, given
    return choice


def _best_exchange(
    choices: Choices, free: Ints, now: Floats, gpus: Ints, kind: Ints
) -> tuple[int, int, int, int] | None:
    """Who takes which configuration, who gives way and to what: the exchange that gains most, None when none does."""
    best, move = 1e-9, None
    jobs = np.arange(len(now))
    for configuration, (wanted, on) in enumerate(zip(choices.gpus, choices.kinds, strict=True)):
        gain = choices.worth[:, configuration] - now
        for giver in np.flatnonzero(kind == on):
            room = free[on] + gpus[giver] - wanted
            able = (room + np.where(kind == on, gpus, 0) >= 0) & (jobs != giver)
            gained = np.where(able, gain, -np.inf)
            taker = int(gained.argmax())
            if gained[taker] <= best - now.max(initial=0.0):
                continue
            left = free.copy()
            left[on] = room
            if kind[taker] >= 0:
                left[kind[taker]] += gpus[taker]
            other = np.where(choices.gpus <= left[choices.kinds], choices.worth[giver], -np.inf)
            given = int(other.argmax()) if other.max() > 0 else -1
            total = gained[taker] + (other[given] if given >= 0 else 0.0) - now[giver]
            if total > best:
                best, move = float(total), (taker, configuration, int(giver), given)
    return move


def sia(snapshot: FleetAllocation, *, by_program: bool = False) -> Allocation:
    """Sia for jobs of fixed size: each has the whole of one type or waits, and moves only when that pays.

    A job's throughput is its goodput; ``elapsed_s`` is its age, a restart costs 30 s, priorities multiply the worth.
    Prices and rounding decide; with few jobs, where rounding may leave a gap of over 1 %, the program does.
    """
    configurations = _rigid_choices(snapshot)
    choice, value, bound = (choose_by_program if by_program else choose)(configurations)
    if not by_program and snapshot.num_jobs <= _FEW and bound - value > _FAIR * bound:
        choice, value, bound = choose_by_program(configurations)
    x = np.zeros(snapshot.usable.shape)
    has = np.flatnonzero(choice >= 0)
    x[has, configurations.kinds[choice[has]]] = 1.0
    return allocated(snapshot, x, None, value, bound)


def _rigid_choices(snapshot: FleetAllocation) -> Choices:
    """One configuration for each type and each size that occurs; a job may have those of its own size."""
    sizes = np.unique(snapshot.scale_factor)
    gpus, kinds = np.repeat(sizes, snapshot.num_types), np.tile(np.arange(snapshot.num_types), len(sizes))
    fits = gpus == snapshot.scale_factor[:, None]
    goodputs = np.where(fits, snapshot.rates[:, kinds], 0.0)
    position = np.searchsorted(sizes, snapshot.scale_factor) * snapshot.num_types
    current = np.where(snapshot.current_type >= 0, position + snapshot.current_type, -1)
    restart = restart_factor(snapshot.elapsed_s, np.zeros(snapshot.num_jobs), np.full(snapshot.num_jobs, RESTART_S))
    worth = sia_worth(goodputs, current, restart) * snapshot.weights[:, None]
    return Choices(worth, gpus, kinds, snapshot.num_gpus)
