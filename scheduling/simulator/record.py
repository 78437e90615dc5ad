"""What a simulation leaves behind: the state of every job, every stretch of work, and the figures people compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import nan

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Json
from apportion.instances.program import Floats
from apportion.instances.trace import Fleet, JobTrace, Longs

UNFAIR_ABOVE = 1.05
"""A job counts as treated unfairly when it took this many times as long as its fair share (Shockwave's threshold)."""


class JobState(StrEnum):
    """Where a job is when the simulation ends."""

    RUNNING = "running"
    PENDING = "pending"
    FINISHED = "finished"
    REJECTED = "rejected"
    NOT_ARRIVED = "not-arrived"


@dataclass(frozen=True, eq=False)
class Stretches:
    """Uninterrupted stretches of work, in the order of their start.

    ``job``, ``kind`` (position of the GPU type), ``start_s`` and ``end_s`` have one entry each; so has ``gpus``, the
    numbers of the GPUs within their type, unless GPUs were not told apart: then it is empty.
    """

    job: Longs
    kind: Longs
    start_s: Floats
    end_s: Floats
    gpus: tuple[tuple[int, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.job)


@dataclass(frozen=True, eq=False)
class Simulation:
    """The outcome of one policy on one trace.

    Parameters
    ----------
    trace, fleet, policy
        What was simulated.
    state
        One :class:`JobState` per job.
    reasons
        Why jobs are pending or were rejected, by position: one sentence each.
    finish_s
        Shape (J,), NaN for jobs that did not finish.
    first_start_s
        Shape (J,), NaN for jobs that never ran.
    preemptions
        Shape (J,): how often a job was stopped before its end, failures of nodes included.
    queueing
        GPU-seconds that jobs waited, by machine reason.
    stretches
        All work.
    end_s
        When the simulation ended.
    scenario
        What was changed, in words.
    """

    trace: JobTrace
    fleet: Fleet
    policy: str
    state: tuple[JobState, ...]
    reasons: Mapping[int, str]
    finish_s: Floats
    first_start_s: Floats
    preemptions: Longs
    queueing: Mapping[str, float]
    stretches: Stretches
    end_s: float
    scenario: str = ""

    @cached_property
    def finished(self) -> NDArray[np.bool_]:
        """Shape (J,)."""
        return np.array([state is JobState.FINISHED for state in self.state], np.bool_)

    @cached_property
    def completion_s(self) -> Floats:
        """Shape (J,): from arrival to finish, NaN for jobs that did not finish."""
        return self.finish_s - self.trace.arrival_s

    @cached_property
    def fairness(self) -> Floats:
        """Finish-time fairness of the finished jobs, in their order.

        Time from arrival to finish over the time on a fair share of the fleet: the time alone, times jobs per GPU of
        the whole trace (at least 1), as Shockwave measures it.
        """
        contention = max(1.0, self.trace.num_jobs / max(1, self.fleet.total))
        return np.round(self.completion_s[self.finished] / (self.trace.alone_s[self.finished] * contention), 5)

    @cached_property
    def busy_s(self) -> Floats:
        """GPU-seconds of work on each type, (T,)."""
        length = (self.stretches.end_s - self.stretches.start_s) * self.trace.num_gpus[self.stretches.job]
        return np.bincount(self.stretches.kind, length, minlength=len(self.fleet.types)).astype(np.float64)

    @cached_property
    def makespan_s(self) -> float:
        """When the last job finished."""
        return float(np.nanmax(self.finish_s)) if self.finished.any() else nan

    def figures(self) -> dict[str, float]:
        """The figures of the comparison table by name; times in hours."""
        jct = self.completion_s[self.finished] / 3600.0
        fairness = self.fairness
        some = len(jct) > 0
        span = max(self.end_s, 1e-9) * max(1, self.fleet.total)
        price = np.array(self.fleet.price_per_hour)
        due = np.isfinite(self.trace.deadline_s)
        late = due & ~(self.finish_s <= self.trace.deadline_s)
        return {
            "jobs": float(self.trace.num_jobs),
            "finished": float(self.finished.sum()),
            "makespan_h": self.makespan_s / 3600.0,
            "mean_jct_h": float(jct.mean()) if some else nan,
            "p50_jct_h": float(np.percentile(jct, 50)) if some else nan,
            "p99_jct_h": float(np.percentile(jct, 99)) if some else nan,
            "worst_fairness": float(fairness.max()) if some else nan,
            "unfair_percent": 100.0 * float((fairness > UNFAIR_ABOVE).mean()) if some else nan,
            "utilisation_percent": 100.0 * float(self.busy_s.sum()) / span,
            "cost": float(self.busy_s @ price) / 3600.0,
            "preemptions": float(self.preemptions.sum()),
            "late_percent": 100.0 * float(late.sum()) / int(due.sum()) if due.any() else nan,
            "rejected": float(sum(state is JobState.REJECTED for state in self.state)),
        }

    def to_dict(self) -> Json:
        """JSON-ready: the figures, and one row per job."""
        jobs = [
            {
                "job": self.trace.jobs[i],
                "state": str(self.state[i]),
                "arrival_s": float(self.trace.arrival_s[i]),
                "first_start_s": _plain(self.first_start_s[i]),
                "finish_s": _plain(self.finish_s[i]),
                "preemptions": int(self.preemptions[i]),
                **({"reason": self.reasons[i]} if i in self.reasons else {}),
            }
            for i in range(self.trace.num_jobs)
        ]
        figures = {name: _plain(value) for name, value in self.figures().items()}
        queueing = {name: float(value) for name, value in self.queueing.items()}
        return {
            "policy": self.policy,
            "scenario": self.scenario,
            "figures": figures,
            "waiting_gpu_seconds": queueing,
            "jobs": jobs,
        }


def _plain(value: float | np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None
