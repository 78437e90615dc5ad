"""Simulate from event to event: jobs wait in a queue and start, or are stopped, when others come, end or nodes fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from apportion.instances.errors import OptionError
from apportion.instances.trace import Fleet, JobTrace, Longs
from apportion.scheduling.simulator import kernels
from apportion.scheduling.simulator.failures import Failure
from apportion.scheduling.simulator.ledger import misfit
from apportion.scheduling.simulator.record import JobState, Simulation, Stretches


@dataclass(frozen=True)
class QueueRule:
    """In which order jobs start.

    ``rule`` is one of the orders of the kernel; ``overtaking`` lets a job that fits start before one that does not;
    ``preemptive`` stops jobs for others that come first. ``gpu_power`` weighs the GPUs of a job beside its time.
    """

    rule: int
    overtaking: bool = True
    preemptive: bool = False
    gpu_power: float = 0.0


QUEUE_RULES: dict[str, QueueRule] = {
    "fifo": QueueRule(kernels.BY_ARRIVAL, overtaking=False),
    "backfill": QueueRule(kernels.BY_ARRIVAL),
    "sjf": QueueRule(kernels.BY_LENGTH),
    "srtf": QueueRule(kernels.BY_REST, preemptive=True),
    "srwf": QueueRule(kernels.BY_REST, preemptive=True, gpu_power=0.7),
    "edf": QueueRule(kernels.BY_DEADLINE),
    "edf-preempt": QueueRule(kernels.BY_DEADLINE, preemptive=True),
}
"""First in first out, the same with overtaking, shortest first, shortest rest first, smallest rest of work first,
earliest deadline first."""

_REASONS = {
    kernels.HELD_BACK: ("held-back", "waits although enough GPUs are free: an earlier job of the queue comes first"),
    kernels.TOO_LARGE: ("gang-too-large", "needs {wanted} GPUs of one type at once, fewer are free"),
    kernels.NO_FREE: ("no-free-gpu", "all GPUs that it could use are taken"),
    kernels.OVER_QUOTA: ("over-quota", "needs {wanted} GPUs, the quota of its kind has fewer left"),
}
_STATES = {
    kernels.NOT_ARRIVED: JobState.NOT_ARRIVED,
    kernels.PENDING: JobState.PENDING,
    kernels.RUNNING: JobState.RUNNING,
    kernels.FINISHED: JobState.FINISHED,
    kernels.REJECTED: JobState.REJECTED,
}


def simulate_queue(
    trace: JobTrace,
    fleet: Fleet,
    rule: str | QueueRule,
    *,
    restart_s: float = 0.0,
    until_s: float = inf,
    failures: Sequence[Failure] = (),
    quotas: Mapping[str, int] | None = None,
) -> Simulation:
    """Run ``trace`` on ``fleet`` with a queue.

    Parameters
    ----------
    trace, fleet
        The jobs and the GPUs. Jobs that change their batch size are taken at their expected time.
    rule
        A name of :data:`QUEUE_RULES` or a rule.
    restart_s
        How long a job that was stopped takes to begin again.
    until_s
        Stop here; jobs may be running or pending then.
    failures
        When which GPUs are down.
    quotas
        Kind of job -> the most GPUs that jobs of it may hold at once.

    Examples
    --------
    >>> trace = JobTrace("two", ("v100",), ("a", "b"), np.zeros(2), np.array([7200.0, 3600.0]), np.array([1, 1]),
    ...     np.ones((2, 1)))
    >>> simulate_queue(trace, Fleet.parse("v100:1"), "sjf").finish_s.tolist()
    [10800.0, 3600.0]
    """
    if isinstance(rule, str) and rule not in QUEUE_RULES:
        raise OptionError(f"unknown queue {rule!r}\nMaybe one of {', '.join(QUEUE_RULES)}")
    if not 0 <= restart_s < inf:
        raise OptionError(f"a restart takes at least 0 s, got {restart_s}")
    chosen, name = (QUEUE_RULES[rule], rule) if isinstance(rule, str) else (rule, "queue")
    onto = trace.onto(fleet)
    room = 4 * onto.num_jobs + 1024
    while True:
        found = _attempt(onto, fleet, chosen, name, restart_s, until_s, failures, quotas or {}, room)
        if found is not None:
            return found
        room *= 2


def _attempt(
    trace: JobTrace,
    fleet: Fleet,
    rule: QueueRule,
    name: str,
    restart_s: float,
    until_s: float,
    failures: Sequence[Failure],
    quotas: Mapping[str, int],
    room: int,
) -> Simulation | None:
    jobs, types = trace.num_jobs, len(fleet.types)
    rates = trace.throughput
    seconds = np.divide(trace.steps[:, None], rates, out=np.full(rates.shape, inf), where=rates > 0)
    seconds = (
        seconds * (trace.alone_s / np.where(np.isfinite(trace.shortest_s), trace.shortest_s, 1.0))[:, None]
        if trace.scaling
        else seconds
    )
    reasons = {job: text for job in range(jobs) if (text := misfit(trace, fleet, job, quotas))}
    state = np.zeros(jobs, np.int64)
    state[list(reasons)] = kernels.REJECTED
    finish, first = np.full(jobs, np.nan), np.full(jobs, np.nan)
    preemptions, code, kind = np.zeros(jobs, np.int64), np.zeros(jobs, np.int64), np.full(jobs, -1)
    queueing, out = np.zeros(len(_REASONS)), np.zeros(1)
    rows = (np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room), np.empty(room))
    floats = [np.ones(jobs), np.zeros(jobs), np.full(jobs, inf), np.zeros(jobs)]
    longs = [np.zeros(jobs, np.int64), np.full(jobs, -1, np.int64), np.zeros(types, np.int64)]
    change_time, change_kind, change_gpus = _changes(fleet, failures)
    group, most = _groups(trace, quotas)
    written = kernels.run_events(
        trace.arrival_s.copy(), seconds, trace.num_gpus.copy(), trace.deadline_s.copy(),
        np.array(fleet.num_gpus, np.int64), rule.rule, rule.gpu_power, rule.preemptive, rule.overtaking,
        float(restart_s), float(until_s), change_time, change_kind, change_gpus,
        group, most, np.zeros(len(most), np.int64), state, kind,
        floats[0], floats[1], floats[2], floats[3], longs[0], longs[1], longs[2], finish, first, preemptions, code,
        queueing, rows[0], rows[1], rows[2], rows[3], out,
    )  # fmt: skip
    if written < 0:
        return None
    states = tuple(_STATES[int(s)] for s in state)
    # a job that never arrived was not rejected either
    arrived = trace.arrival_s <= out[0]
    states = tuple(s if arrived[j] else JobState.NOT_ARRIVED for j, s in enumerate(states))
    reasons = {job: text for job, text in reasons.items() if states[job] is JobState.REJECTED}
    for job in np.flatnonzero(state == kernels.PENDING).tolist():
        reasons[job] = _REASONS[int(code[job])][1].format(wanted=int(trace.num_gpus[job]))
    job_of, kind_of, starts, ends = (column[:written] for column in rows)
    order = np.argsort(starts, kind="stable")
    work = Stretches(
        job_of[order].astype(np.int64),
        kind_of[order].astype(np.int64),
        starts[order].astype(np.float64),
        ends[order].astype(np.float64),
    )
    waits = {_REASONS[c][0]: float(queueing[c]) for c in _REASONS}
    return Simulation(trace, fleet, name, states, reasons, finish, first, preemptions, waits, work, float(out[0]))


def _groups(trace: JobTrace, quotas: Mapping[str, int]) -> tuple[Longs, Longs]:
    """The group of each job, -1 for none, and the quota of each group."""
    place = {kind: number for number, kind in enumerate(quotas)}
    group = [place.get(kind, -1) for kind in trace.kinds] or [-1] * trace.num_jobs
    return np.array(group, np.int64), np.array([*quotas.values(), 0], np.int64)


def _changes(fleet: Fleet, failures: Sequence[Failure]) -> tuple[np.ndarray, Longs, Longs]:
    """Failures as changes of capacity, in the order of time; GPUs come back before others go."""
    rows = [(f.start_s, fleet.types.index(f.kind), -f.num_gpus) for f in failures if f.kind in fleet.types]
    rows += [(f.end_s, fleet.types.index(f.kind), f.num_gpus) for f in failures if f.kind in fleet.types]
    rows.sort(key=lambda row: (row[0], -row[2], row[1]))
    times = np.array([row[0] for row in rows], np.float64)
    return times, np.array([row[1] for row in rows], np.int64), np.array([row[2] for row in rows], np.int64)
