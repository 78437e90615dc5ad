"""What a scheduler sees at the beginning of a round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from apportion.instances.fleet import FleetAllocation
from apportion.instances.program import Floats
from apportion.instances.trace import Fleet, JobTrace, Longs


@dataclass(frozen=True, eq=False)
class RoundView:
    """A snapshot of the jobs that have arrived and are not done: A of them, in the order of their arrival.

    Parameters
    ----------
    trace, fleet
        What is simulated; a scheduler must not look at jobs that have not arrived.
    now_s, length_s
        When the round begins and how long it is.
    jobs
        Positions in the trace, (A,).
    steps_left, total_steps
        (A,); they change with the batch size.
    throughput
        Steps a second at the present batch size, (A, T).
    remaining_s
        How long each job is expected to take from here, alone on its fastest type, (A,).
    received_s
        Time that each job has run on each type, (A, T).
    type_time_s
        Time that all jobs, also those that are done, have run on each type, (T,).
    current_type
        Where each ran in the last round, (A,); -1 when it did not.
    capacity
        GPUs of each type that are up, (T,).
    num_arrived
        How many jobs have arrived so far.
    """

    trace: JobTrace
    fleet: Fleet
    now_s: float
    length_s: float
    jobs: Longs
    steps_left: Floats
    total_steps: Floats
    throughput: Floats
    remaining_s: Floats
    received_s: Floats
    type_time_s: Floats
    current_type: Longs
    capacity: Longs
    num_arrived: int

    @property
    def num_gpus(self) -> Longs:
        """GPUs that each job asks for, (A,)."""
        return self.trace.num_gpus[self.jobs]

    @property
    def arrival_s(self) -> Floats:
        """When each job came, (A,)."""
        return self.trace.arrival_s[self.jobs]

    @property
    def alone_s(self) -> Floats:
        """How long each job is expected to take in all, alone on its fastest type, (A,)."""
        return self.trace.alone_s[self.jobs]

    def allocation_problem(self) -> FleetAllocation:
        """The same as a problem for the allocation policies."""
        count = len(self.jobs)
        equal = max(1, count)
        share = self.capacity / equal / np.maximum(self.num_gpus, 1)[:, None]
        share = share / np.maximum(1.0, share.sum(axis=1))[:, None]
        isolated = (self.throughput * share).sum(axis=1)
        done = self.total_steps - self.steps_left
        so_far = np.divide(done, isolated, out=np.zeros(count), where=isolated > 0)
        due = self.trace.deadline_s[self.jobs] - self.now_s
        return FleetAllocation(
            self.trace.name,
            self.fleet.types,
            self.capacity.astype(np.int64),
            tuple(self.trace.jobs[j] for j in self.jobs),
            self.throughput,
            np.maximum(self.num_gpus, 1),
            self.trace.weight[self.jobs],
            np.maximum(self.steps_left, 0.0),
            self.now_s - self.arrival_s,
            so_far,
            self.arrival_s,
            np.maximum(due, 0.0),
            ("",) * count,
            np.array(self.fleet.price_per_hour),
            self.current_type.astype(np.int64),
        )


class RoundScheduler(Protocol):
    """Decides who runs in the next round."""

    def choose(self, view: RoundView) -> Longs:
        """The position of the type on which each job of ``view`` runs, (A,); -1 for one that waits."""
        ...
