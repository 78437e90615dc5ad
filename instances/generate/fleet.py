"""Seeded fleets: a table of throughputs drawn like published ones, jobs drawn from its models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import OptionError
from apportion.instances.fleet import OBJECTIVES, FleetAllocation

Floats = NDArray[np.float64]

_KINDS = (  # type of GPU, speed of the slowest and of the fastest gain of a model over the oldest type, cost per hour
    ("k80", 1.0, 1.0, 0.45),
    ("p100", 1.5, 4.0, 1.46),
    ("v100", 2.0, 10.0, 2.48),
    ("a100", 3.0, 18.0, 3.67),
    ("h100", 4.0, 30.0, 6.98),
    ("t4", 1.2, 3.0, 0.35),
    ("a10", 2.0, 8.0, 1.01),
    ("l4", 1.5, 6.0, 0.71),
)
_SCALES = (1, 2, 4, 8)
_HOW_OFTEN = (0.7, 0.1, 0.15, 0.05)


def generate_fleet(
    seed: int = 0,
    jobs: int = 40,
    types: int = 3,
    models: int = 26,
    gpus_per_type: int = 0,
    objective: str = "max-min-fairness",
    sharing: bool = False,
    distinct: bool = False,
    urgent_fraction: float = 0.2,
    promised_fraction: float = 0.0,
    entities: int = 0,
) -> FleetAllocation:
    """Make a fleet with ``jobs`` drawn from a table of ``models``, as the experiments of Gavel and POP draw theirs.

    Parameters
    ----------
    seed
        Same seed and sizes, same instance.
    jobs, types, models
        How many of each; at most 8 types. A model runs on 1, 2, 4 or 8 GPUs, mostly on one.
    gpus_per_type
        GPUs of each type; by default an eighth of the number of jobs, at least 8.
    objective
        One of :data:`~apportion.instances.fleet.OBJECTIVES`.
    sharing
        Whether any two jobs on equally many GPUs may share them.
    distinct
        Every job gets a speed of its own; otherwise jobs of one model and size run alike.
    urgent_fraction
        The part of jobs with weight 2 instead of 1.
    promised_fraction
        The part of jobs with a promised time that an equal share of the fleet would keep.
    entities
        How many users the jobs belong to; none by default.
    """
    _require(jobs >= 1 and models >= 1, "jobs and models must be at least 1")
    _require(1 <= types <= len(_KINDS), f"types must lie between 1 and {len(_KINDS)}")
    _require(gpus_per_type >= 0 and entities >= 0, "gpus_per_type and entities must be at least 0")
    fractions = 0 <= urgent_fraction <= 1 and 0 <= promised_fraction <= 1
    _require(fractions, "fractions must lie between 0 and 1")
    _require(objective in OBJECTIVES, f"objective must be one of {', '.join(OBJECTIVES)}")
    random = np.random.default_rng(seed)
    table = _rate_table(random, models, types)
    model = random.integers(models, size=jobs)
    size = random.choice(len(_SCALES), size=jobs, p=_HOW_OFTEN)
    rates = table[model, size]
    if distinct:
        rates = rates * random.uniform(0.8, 1.25, (jobs, types))
    pairs, pair_rates = _shared(random, model, size, rates) if sharing else (_none(), np.zeros((0, 2, types)))
    fastest = rates.max(axis=1)
    hours = random.lognormal(1.0, 1.2, jobs)
    steps = np.round(fastest * hours * 3600.0)
    elapsed = np.round(random.exponential(3600.0, jobs))
    gpus = np.full(types, gpus_per_type or max(_SCALES[-1], -(-jobs // 8)), np.int64)
    arrival: Floats = np.round(np.cumsum(random.exponential(60.0, jobs))).astype(np.float64)
    promised = random.random(jobs) < promised_fraction
    equal = np.minimum(1.0, gpus.sum() / jobs) / np.array(_SCALES)[size]
    owner = random.integers(entities, size=jobs) if entities else np.zeros(jobs, np.int64)
    return FleetAllocation(
        name=f"fleet-{jobs}x{types}-s{seed}",
        gpu_types=tuple(kind[0] for kind in _KINDS[:types]),
        num_gpus=gpus,
        jobs=tuple(f"job-{i:05d}" for i in range(jobs)),
        throughputs=rates,
        scale_factor=np.array(_SCALES, np.int64)[size],
        weights=np.where(random.random(jobs) < urgent_fraction, 2.0, 1.0),
        steps_left=steps,
        elapsed_s=elapsed,
        isolated_so_far_s=np.round(elapsed * random.uniform(0.5, 1.0, jobs)),
        arrival_s=arrival,
        slo_s=np.where(promised, np.round(8.0 * hours * 3600.0 / equal), np.inf),
        entities=tuple(f"team-{i}" for i in owner) if entities else ("",) * jobs,
        cost_per_gpu_hour=np.array([kind[3] for kind in _KINDS[:types]]),
        current_type=np.full(jobs, -1),
        pairs=pairs,
        pair_throughputs=pair_rates,
        objective=objective,
    )


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise OptionError(f"fleet-allocation: {message}")


def _none() -> NDArray[np.int64]:
    return np.zeros((0, 2), np.int64)


def _rate_table(random: np.random.Generator, models: int, types: int) -> Floats:
    """Steps per second of each model on 1, 2, 4 and 8 GPUs of each type, (models, scales, types)."""
    gain = random.random((models, 1))  # models that profit from new GPUs do so on all of them
    low, high = (np.array([kind[column] for kind in _KINDS[:types]]) for column in (1, 2))
    speed = low * (high / low) ** np.clip(gain + random.normal(0.0, 0.1, (models, types)), 0.0, 1.0)
    base = random.lognormal(0.0, 1.0, (models, 1))
    efficiency = random.uniform(0.75, 1.0, (models, 1, 1)) ** np.log2(_SCALES)[:, None]
    table: Floats = np.round((base * speed)[:, None, :] * np.array(_SCALES)[:, None] * efficiency, 6)
    return table


def _shared(
    random: np.random.Generator, model: NDArray[np.int64], size: NDArray[np.int64], rates: Floats
) -> tuple[NDArray[np.int64], Floats]:
    """All pairs on equally many GPUs; a model's appetite says how much it slows down its partner."""
    appetite = random.uniform(0.1, 0.7, model.max() + 1)
    one, two = np.triu_indices(len(model), 1)
    alike = size[one] == size[two]
    one, two = one[alike], two[alike]
    slower = np.stack([1.0 - appetite[model[two]], 1.0 - appetite[model[one]]], axis=1)
    both = np.stack([rates[one], rates[two]], axis=1)
    return np.column_stack([one, two]), both * slower[:, :, None]
