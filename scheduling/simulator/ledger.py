"""Keeps the books of a simulation: no job is ever lost, no GPU is used twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from math import inf

import numpy as np

from apportion.instances.program import Floats
from apportion.instances.trace import Fleet, JobTrace, Longs
from apportion.scheduling.simulator.record import JobState, Simulation, Stretches


def misfit(trace: JobTrace, fleet: Fleet, job: int, quotas: Mapping[str, int] | None = None) -> str:
    """Why a job can never run on a fleet; an empty text when it can."""
    quota = quota_of(trace, job, quotas or {})
    if trace.num_gpus[job] > quota:
        return f"asks for {trace.num_gpus[job]} GPUs, the quota of {trace.kinds[job]} is {quota:g}"
    runs = trace.throughput[job] > 0
    if not runs.any():
        return f"runs on none of {', '.join(fleet.types)}: every throughput is 0"
    wanted, most = int(trace.num_gpus[job]), int(np.array(fleet.num_gpus)[runs].max())
    if wanted > most:
        return f"asks for {wanted} GPUs of one type, the fleet has at most {most} of a type it runs on"
    return ""


def quota_of(trace: JobTrace, job: int, quotas: Mapping[str, int]) -> float:
    """The most GPUs that jobs of the kind of a job may hold at once; infinite without a quota."""
    return quotas.get(trace.kinds[job], inf) if quotas and trace.kinds else inf


class Ledger:
    """Records what happens to every job."""

    def __init__(self, trace: JobTrace, fleet: Fleet, quotas: Mapping[str, int] | None = None) -> None:
        self._trace, self._fleet, self._quotas = trace, fleet, quotas or {}
        self._state = [JobState.NOT_ARRIVED] * trace.num_jobs
        self._reasons: dict[int, str] = {}
        self._finish = np.full(trace.num_jobs, np.nan)
        self._start = np.full(trace.num_jobs, np.nan)
        self._preemptions = np.zeros(trace.num_jobs, np.int64)
        self._queueing: dict[str, float] = defaultdict(float)
        self._rows: list[tuple[int, int, float, float, tuple[int, ...]]] = []
        self._open: dict[int, int] = {}
        self._held: dict[int, tuple[int, tuple[int, ...]]] = {}
        self.idle = 0

    def admit(self, job: int) -> bool:
        """A job arrives; False when it can never run and is rejected."""
        reason = misfit(self._trace, self._fleet, job, self._quotas)
        self._state[job] = JobState.REJECTED if reason else JobState.PENDING
        if reason:
            self._reasons[job] = reason
        return not reason

    def round(
        self,
        now_s: float,
        active: Longs,
        jobs: Longs,
        kinds: Longs,
        seconds: Floats,
        over_quota: Collection[int] = (),
    ) -> None:
        """Jobs run on types for some seconds each; the other active ones wait, some of them for their quota."""
        running = set(jobs.tolist())
        longest = float(seconds.max()) if len(seconds) else 0.0
        free = np.array(self._fleet.num_gpus, np.int64)
        np.subtract.at(free, kinds, self._trace.num_gpus[jobs])
        for job in active.tolist():
            if job not in running:
                self._wait(job, free, longest, over_quota=job in over_quota)
        self._place(now_s, jobs.tolist(), kinds.tolist(), seconds.tolist())

    def _wait(self, job: int, free: Longs, seconds: float, *, over_quota: bool) -> None:
        if self._state[job] is JobState.RUNNING:
            self._preemptions[job] += 1
            self._open.pop(job, None)
        self._state[job] = JobState.PENDING
        self._held.pop(job, None)
        wanted = int(self._trace.num_gpus[job])
        usable = free[self._trace.throughput[job] > 0]
        fits = bool((usable >= wanted).any())
        code = (
            "over-quota"
            if over_quota
            else "held-back"
            if fits
            else "gang-too-large"
            if int(usable.max()) > 0
            else "no-free-gpu"
        )
        self._queueing[code] += seconds * wanted
        text = {
            "over-quota": f"needs {wanted} GPUs, the quota of {self._kind(job)} has fewer left",
            "held-back": f"waits although {wanted} GPUs are free: the policy keeps them for other jobs",
            "gang-too-large": f"needs {wanted} GPUs of one type, {int(usable.max())} are free",
            "no-free-gpu": "all GPUs that it could use are taken by jobs of higher priority",
        }[code]
        self._reasons[job] = text

    def _kind(self, job: int) -> str:
        return self._trace.kinds[job] if self._trace.kinds else ""

    def _place(self, now_s: float, jobs: list[int], kinds: list[int], seconds: list[float]) -> None:
        gpus = self._assign(jobs, kinds)
        for job, kind, length in zip(jobs, kinds, seconds, strict=True):
            self._reasons.pop(job, None)
            if np.isnan(self._start[job]):
                self._start[job] = now_s
            self._state[job] = JobState.RUNNING
            last = self._open.get(job)
            same = last is not None and self._rows[last][1] == kind and self._rows[last][4] == gpus[job]
            if last is not None and same and abs(self._rows[last][3] - now_s) < 1e-6:
                begun = self._rows[last]
                self._rows[last] = (job, kind, begun[2], now_s + length, gpus[job])
            else:
                self._open[job] = len(self._rows)
                self._rows.append((job, kind, now_s, now_s + length, gpus[job]))

    def _assign(self, jobs: list[int], kinds: list[int]) -> dict[int, tuple[int, ...]]:
        """Number the GPUs: large jobs first, each on those that it had when they are free."""
        found: dict[int, tuple[int, ...]] = {}
        order = sorted(range(len(jobs)), key=lambda row: (-int(self._trace.num_gpus[jobs[row]]), jobs[row]))
        free = [dict.fromkeys(range(count)) for count in self._fleet.num_gpus]
        for keep in (True, False):
            for row in order:
                job, kind = jobs[row], kinds[row]
                held_kind, held = self._held.get(job, (-1, ()))
                if job in found or (keep and held_kind != kind):
                    continue
                wanted = int(self._trace.num_gpus[job])
                chosen = held if keep else tuple(list(free[kind])[:wanted])
                if not keep or all(gpu in free[kind] for gpu in chosen):
                    found[job] = chosen
                    for gpu in chosen:
                        del free[kind][gpu]
        self._held = {job: (kinds[row], found[job]) for row, job in enumerate(jobs)}
        return found

    def fail(self, job: int, at_s: float) -> None:
        """A job lost its GPUs."""
        self._preemptions[job] += 1
        self._state[job] = JobState.PENDING
        self._reasons[job] = f"lost its GPUs to a failure before {at_s:g} s and waits to start again"
        self._open.pop(job, None)
        self._held.pop(job, None)

    def finish(self, job: int, at_s: float) -> None:
        """A job is done."""
        self._state[job] = JobState.FINISHED
        self._finish[job] = at_s
        self._open.pop(job, None)
        self._held.pop(job, None)

    def close(self, policy: str, end_s: float) -> Simulation:
        """The outcome."""
        rows = self._rows
        work = Stretches(
            np.array([row[0] for row in rows], np.int64),
            np.array([row[1] for row in rows], np.int64),
            np.array([row[2] for row in rows], np.float64),
            np.array([row[3] for row in rows], np.float64),
            tuple(row[4] for row in rows),
        )
        return Simulation(
            self._trace,
            self._fleet,
            policy,
            tuple(self._state),
            dict(self._reasons),
            self._finish,
            self._start,
            self._preemptions,
            dict(self._queueing),
            work,
            end_s,
        )
