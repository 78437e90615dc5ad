"""The live policy for the least mean completion time: a plan over all waiting jobs, its order improved by search."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import OptionError
from apportion.scheduling.live import kernels
from apportion.scheduling.live.reasons import Code, Decision, Reason
from apportion.scheduling.live.room import Floats, Ints, Room
from apportion.scheduling.live.state import ClusterState, Job
from apportion.scheduling.live.waits import start_reason, wait_reason

PATIENCE_S = 6 * 3600.0
"""Who has waited longer goes before all others of its priority."""
GPU_POWER = 0.7
"""Work is time times GPUs to this power, as in the simulator's rule of the shortest job."""
_WINDOW = 96
_MOST_MOVES = 4000


@dataclass(eq=False)
class Plan:
    """When and where each waiting job runs: ``start_s`` and ``end_s`` (J,) from now, infinite for never."""

    start_s: Floats
    end_s: Floats
    first: Ints
    where: Ints

    def nodes(self, job: int, workers: int) -> tuple[int, ...]:
        """The positions of the nodes of a job."""
        return tuple(self.where[self.first[job] : self.first[job] + workers].tolist())


@dataclass(eq=False)
class Planner:
    """Plans orders of the waiting jobs of a room; the room stays as it is."""

    room: Room
    seconds: Floats
    gpus: Ints = field(init=False)
    cpu: Ints = field(init=False)
    memory: Ints = field(init=False)
    workers: Ints = field(init=False)
    spread: NDArray[np.bool_] = field(init=False)
    same: NDArray[np.bool_] = field(init=False)
    first: Ints = field(init=False)

    def __post_init__(self) -> None:
        jobs = self.room.jobs
        self.gpus = np.array([job.request.num_gpus for job in jobs], np.int64)
        self.cpu = np.array([job.request.cpu_milli for job in jobs], np.int64)
        self.memory = np.array([job.request.memory_mib for job in jobs], np.int64)
        self.workers = np.array([job.workers for job in jobs], np.int64)
        self.spread = np.array([job.spread for job in jobs], bool)
        self.same = np.array([job.same_type for job in jobs], bool)
        self.first = np.concatenate(([0], np.cumsum(self.workers)))[:-1].astype(np.int64)
        now = self.room.state.now_s
        self.waited = np.maximum(0.0, now - np.array([job.submitted_s for job in jobs]))
        self._sorted = self.room.sorted_free_at()
        self._hole = np.zeros_like(self._sorted)
        self._used = np.zeros(len(self.room.num_gpus), np.int64)
        most = int(self.workers.max(initial=1))
        self._picked, self._best = np.zeros(most, np.int64), np.zeros(most, np.int64)

    def plan(self, order: Ints) -> Plan:
        """Plan the jobs of ``order``, then start small ones in what stays idle."""
        room, count = self.room, len(self.gpus)
        start, end = np.full(count, inf), np.full(count, inf)
        where = np.full(int(self.workers.sum()), -1, np.int64)
        cpu, memory = room.cpu_free.copy(), room.memory_free.copy()
        self._hole[:] = 0.0
        kernels.plan_jobs(
            order, self.gpus, self.cpu, self.memory, self.workers, room.row, self.spread, self.same, self.seconds,
            room.accepts, room.kind, room.num_gpus, room.cpu_total, room.memory_total, cpu, memory,
            self._sorted.copy(), self._hole, self._used, self._picked, self._best, start, end, self.first, where,
        )  # fmt: skip
        kernels.fill_holes(
            order, self.gpus, self.cpu, self.memory, self.workers, room.row, self.seconds,
            room.accepts, room.kind, cpu, memory, self._hole, start, end, self.first, where,
        )  # fmt: skip
        return Plan(start, end, self.first, where)

    def cost(self, order: Ints, last_weight: float) -> float:
        """Mean time from submission to end, plus the longest one and the last end, of the jobs that fit."""
        end = self.plan(order).end_s[order]
        fits = np.isfinite(end)
        if not fits.any():
            return 0.0
        here = end[fits] + self.waited[order][fits]
        return float(here.mean() + last_weight * (here.max() + end[fits].max()))

    def improve(self, order: Ints, rank: Ints, until: float, seed: int, last_weight: float) -> Ints:
        """Move jobs about within the first ones of ``order`` while that lessens their cost.

        ``rank`` (J,) says which jobs may change places: those of equal rank.
        """
        head = order[:_WINDOW].copy()
        if len(head) < 2:
            return order
        draw = np.random.default_rng(seed)
        best = self.cost(head, last_weight)
        for _ in range(_MOST_MOVES):
            if time.monotonic() >= until:
                break
            a, b = sorted(draw.choice(len(head), 2, replace=False).tolist())
            if rank[head[a]] != rank[head[b]]:
                continue
            moved = head.copy()
            if draw.random() < 0.5:
                moved[[a, b]] = moved[[b, a]]
            else:
                moved[a], moved[a + 1 : b + 1] = head[b], head[a:b]
            total = self.cost(moved, last_weight)
            if total < best:
                head, best = moved, total
        return np.concatenate((head, order[_WINDOW:]))


@dataclass(eq=False)
class CompletionPolicy:
    """Plans every waiting job where it is done first, short ones first; what starts now in the plan starts.

    Jobs of higher priority go first, then those that have waited beyond ``patience_s`` by their arrival, then by the
    least work: expected seconds on the best type times GPUs to the power ``GPU_POWER``. A job may wait for a faster
    GPU while a slow one is free when it is done earlier so; shorter jobs run in the meantime in what is kept for it.

    Parameters
    ----------
    search
        Whether to improve the order within the time budget; without, one pass decides.
    patience_s
        The bound that keeps large jobs from starving.
    preempt
        Whether preemptible jobs of lower priority give way.
    ahead_s
        Starts that the plan has within this time are sent already: only for a cluster that lets them wait for the
        GPUs, as Slurm does.
    overhead_s
        What every start costs beside the time that a job runs.
    last_weight
        What the longest time from submission to end and the last end count beside the mean.
    seed
        Of the search.
    """

    search: bool = True
    patience_s: float = PATIENCE_S
    preempt: bool = False
    ahead_s: float = 0.0
    overhead_s: float = 0.0
    last_weight: float = 0.1
    seed: int = 0
    _last: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.patience_s > 0:
            raise OptionError(f"patience_s must be positive, got {self.patience_s!r}")

    def decide(self, state: ClusterState, budget_s: float) -> list[Decision]:
        """Decide all waiting jobs; stops searching when ``budget_s`` is over."""
        until = time.monotonic() + budget_s
        room = Room.of(state)
        if not room.jobs or not state.nodes:
            return without_nodes(room)
        seconds = room.seconds() + self.overhead_s
        planner = Planner(room, seconds)
        order, rank = arrange(room.jobs, seconds, state.now_s, self.patience_s)
        if self.search:
            order = self._warm(order, rank, room.jobs)
            order = planner.improve(order, rank, until, self.seed, self.last_weight)
            self._last = [room.jobs[j].key for j in order[:_WINDOW].tolist()]
        plan = planner.plan(order)
        decisions = decisions_of(room, plan, self.ahead_s)
        if self.preempt:
            from apportion.scheduling.live.preemption import with_victims

            return with_victims(room, decisions, order)
        return decisions

    def _warm(self, order: Ints, rank: Ints, jobs: Sequence[Job]) -> Ints:
        """The order of the last round for those that are still here, within their ranks; new ones by their place."""
        place = {key: float(p) for p, key in enumerate(self._last)}
        if not place:
            return order
        at = np.empty(len(order))
        running = -1.0
        for j in order.tolist():
            running = place.get(jobs[j].key, running + 1e-6)
            at[j] = running
        return order[np.lexsort((at[order], rank[order]))]


def without_nodes(room: Room) -> list[Decision]:
    """All wait, for there is nothing else."""
    return [Decision(*job.key, Reason(Code.NO_NODE, "the cluster has no nodes")) for job in room.jobs]


def arrange(jobs: Sequence[Job], seconds: Floats, now_s: float, patience_s: float) -> tuple[Ints, Ints]:
    """The order in which waiting jobs are planned, and their ranks: only those of equal rank may change places."""
    gpus = np.array([max(1, job.total_gpus) for job in jobs], np.float64)
    work = seconds.min(axis=1) * gpus**GPU_POWER
    priority = np.array([-job.priority for job in jobs])
    arrived = np.array([job.submitted_s for job in jobs])
    patient = now_s - arrived <= patience_s
    order = np.lexsort((arrived, np.where(patient, work, 0.0), patient, priority)).astype(np.int64)
    # those who have waited too long keep their order: every one is a rank of its own
    rank = np.zeros(len(jobs), np.int64)
    current = 0
    for before, job in zip([-1, *order[:-1].tolist()], order.tolist(), strict=True):
        same = before >= 0 and priority[before] == priority[job] and patient[before] and patient[job]
        current += not same
        rank[job] = current
    return order, rank


def decisions_of(room: Room, plan: Plan, ahead_s: float = 0.0) -> list[Decision]:
    """What a plan means now: starts within ``ahead_s`` with their nodes, and for the others why they wait."""
    names = [node.name for node in room.state.nodes]
    now = np.flatnonzero(plan.start_s <= ahead_s)
    gpu_left = np.count_nonzero(room.free_at <= 0.0, axis=1)
    decisions = []
    for j in now.tolist():
        job = room.jobs[j]
        nodes = plan.nodes(j, job.workers)
        for node in nodes:
            gpu_left[node] -= job.request.num_gpus
        chosen = tuple(names[n] for n in nodes)
        decisions.append(Decision(*job.key, start_reason(chosen, float(plan.end_s[j])), chosen))
    cache: dict[tuple[object, ...], Reason] = {}
    for j in np.flatnonzero(plan.start_s > ahead_s).tolist():
        job = room.jobs[j]
        decisions.append(Decision(*job.key, wait_reason(room, j, gpu_left, float(plan.start_s[j]), cache)))
    return decisions
