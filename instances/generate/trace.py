"""Seeded traces: jobs arrive as a Poisson process and are as long as those of the Philly cluster."""

from __future__ import annotations

import numpy as np

from apportion.instances.errors import OptionError
from apportion.instances.trace import JobTrace

_TYPES = ("v100", "p100", "k80")
_SIZES, _SIZE_ODDS = (1, 2, 4, 8), (0.7, 0.1, 0.15, 0.05)


def generate_trace(
    seed: int = 0,
    jobs: int = 40,
    rate_per_hour: float = 6.0,
    hours: float = 1.0,
    largest: int = 4,
    deadlines: float = 0.0,
) -> JobTrace:
    """Make a trace.

    Parameters
    ----------
    seed
        Same seed and sizes, same trace.
    jobs
        How many.
    rate_per_hour
        Arrivals; infinite for all at time 0.
    hours
        Median length of a job alone on its fastest type.
    largest
        The most GPUs of a job.
    deadlines
        The part of jobs that should be done within 1.5 to 4 times their length.

    Examples
    --------
    >>> generate_trace(seed=3, jobs=5).num_jobs
    5
    """
    if not (jobs >= 1 and rate_per_hour > 0 and hours > 0 and largest >= 1 and 0 <= deadlines <= 1):
        raise OptionError("job-trace: jobs, rate, hours and sizes must be positive, deadlines between 0 and 1")
    random = np.random.default_rng(seed)
    gaps = random.exponential(3600.0, jobs) / rate_per_hour
    gaps[0] = 0.0
    length = 3600.0 * hours * np.exp(random.normal(0.0, 1.0, jobs))
    gpus = np.minimum(random.choice(_SIZES, jobs, p=_SIZE_ODDS), largest)
    fastest = random.uniform(1.0, 50.0, jobs) * gpus**0.9
    slower = np.column_stack((np.ones(jobs), random.uniform(0.3, 0.9, jobs), random.uniform(0.05, 0.4, jobs)))
    arrival = np.cumsum(gaps)
    due = np.where(random.random(jobs) < deadlines, arrival + length * random.uniform(1.5, 4.0, jobs), np.inf)
    return JobTrace(
        f"trace-{jobs}-s{seed}",
        _TYPES,
        tuple(f"job-{i:04d}" for i in range(jobs)),
        arrival,
        np.maximum(1.0, np.round(length * fastest)),
        gpus,
        fastest[:, None] * slower,
        deadline_s=due,
    )
