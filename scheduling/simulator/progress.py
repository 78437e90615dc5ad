"""How far every job is, and what it will take yet."""

from __future__ import annotations

import numpy as np

from apportion.instances.batch_scaling import DATASET_SIZE, ScalingJob
from apportion.instances.program import Floats
from apportion.instances.trace import JobTrace, Longs

_ROUNDING = 1e-12


class Progress:
    """Steps done of every job of a trace; jobs that scale change their rates and steps on the way."""

    def __init__(self, trace: JobTrace) -> None:
        self._trace = trace
        self.total = trace.steps.copy()
        self.done = np.zeros(trace.num_jobs)
        self.rate = trace.throughput.copy()
        self._scaling = trace.scaling
        self._batch = [0 if s is None else s.batch_size for s in trace.scaling]
        self._wish = list(self._batch)
        self._tails: dict[int, Floats] = {}

    def left(self, jobs: Longs) -> Floats:
        """Steps still to do."""
        return self.total[jobs] - self.done[jobs]

    def is_done(self, job: int) -> bool:
        """Whether nothing is left."""
        return bool(self.done[job] >= self.total[job] * (1.0 - _ROUNDING))

    def add(self, job: int, steps: float) -> None:
        """Record work, and change the batch size when that was asked for before."""
        self.done[job] += steps
        scaling = self._scaling[job] if self._scaling else None
        if scaling is not None and not self.is_done(job):
            self._rescale(job, scaling)

    def adapt(self, job: int) -> None:
        """Ask the rule of the job for its batch size; it changes after the next round of work."""
        scaling = self._scaling[job] if self._scaling else None
        if scaling is not None and scaling.mode != "static" and self._wish[job] == self._batch[job]:
            self._wish[job] = scaling.wish(self._batch[job], float(self.done[job]))

    def _rescale(self, job: int, scaling: ScalingJob) -> None:
        old, new = self._batch[job], self._wish[job]
        if new == old:
            return
        self._wish[job] = old
        if new not in scaling.rates:
            return
        self.total[job], self.done[job] = scaling.rescaled(float(self.total[job]), float(self.done[job]), old, new)
        self.rate[job] = scaling.rates[new]
        self._batch[job] = self._wish[job] = new

    def remaining_s(self, jobs: Longs) -> Floats:
        """Expected time of the rest, alone on the fastest type."""
        fastest = self.rate[jobs].max(axis=1, initial=0.0)
        left: Floats = np.full(len(jobs), np.inf)
        np.divide(self.left(jobs), fastest, out=left, where=fastest > 0)
        if self._scaling:
            for row, job in enumerate(jobs.tolist()):
                scaling = self._scaling[job]
                if scaling is not None and scaling.mode != "static":
                    left[row] = self._expected_rest(job, scaling)
        return left

    def _expected_rest(self, job: int, scaling: ScalingJob) -> float:
        """What the epochs still to come are expected to take, by the batch sizes that were declared."""
        tails = self._tails.get(job)
        if tails is None:
            tails = self._tails[job] = _tails(scaling, float(self._trace.steps[job]))
        epochs = self.done[job] / scaling.steps_per_epoch(self._batch[job])
        whole = min(int(epochs), len(tails) - 1)
        following = tails[whole + 1] if whole + 1 < len(tails) else 0.0
        return float(tails[whole] - (tails[whole] - following) * min(1.0, epochs - whole))


def _tails(scaling: ScalingJob, steps: float) -> Floats:
    size = DATASET_SIZE[scaling.model]
    batches = scaling.expected_batches(scaling.epochs(steps, scaling.batch_size))
    seconds = np.array([size / batch / max(scaling.rates[batch]) for batch in batches])
    return np.append(np.cumsum(seconds[::-1])[::-1], 0.0)
