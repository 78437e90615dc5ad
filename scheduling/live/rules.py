"""Live policies made of others: the rules of online placement, and the simulator's round schedulers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np

from apportion.instances.cluster import ClusterPlacement, Nodes, Tasks
from apportion.instances.trace import Fleet, JobTrace
from apportion.scheduling.live.planning import (
    PATIENCE_S,
    CompletionPolicy,
    Planner,
    arrange,
    decisions_of,
    without_nodes,
)
from apportion.scheduling.live.reasons import Decision, Reason
from apportion.scheduling.live.room import Room
from apportion.scheduling.live.state import ClusterState, Job
from apportion.scheduling.live.waits import start_reason, wait_reason
from apportion.scheduling.policies.registry import scheduler_named
from apportion.scheduling.simulator.rounds import GAVEL, RoundRules
from apportion.scheduling.simulator.view import RoundView
from apportion.solvers.online.policy import RulePolicy
from apportion.solvers.online.snapshot import Choice, Request, Snapshot

_SLICE_S = 60.0


@dataclass(eq=False)
class PlacementPolicy:
    """Jobs in the order of priority and arrival, each where a rule of online placement says; shares of GPUs too.

    Parameters
    ----------
    rule
        A name of :data:`~apportion.solvers.online.policy.RULES`.
    seed
        Of the random rule.
    """

    rule: str = "least-loss"
    seed: int = 0

    def decide(self, state: ClusterState, budget_s: float) -> list[Decision]:
        """Decide all waiting jobs; what fits nowhere is passed over."""
        del budget_s
        room = Room.of(state)
        order = sorted(range(len(room.jobs)), key=lambda j: (-room.jobs[j].priority, room.jobs[j].submitted_s, j))
        return place_by_rule(room, order, self.rule, self.seed)


def place_by_rule(room: Room, order: list[int], rule: str, seed: int = 0) -> list[Decision]:
    """Place the waiting jobs of ``order`` one by one."""
    if not order or not room.state.nodes:
        return without_nodes(room)
    snapshot, allowed = room.snapshot()
    policy = RulePolicy.named(rule, _workload(room, snapshot), seed)
    names = [node.name for node in room.state.nodes]
    hopeless: set[tuple[Request, int, bool, bool]] = set()
    decisions, waits = [], []
    for j in order:
        job = room.jobs[j]
        kind = (replace(job.request, allowed_types=allowed[room.row[j]]), job.workers, job.spread, job.same_type)
        choices = None if kind in hopeless else _place(room, snapshot, policy, job, allowed[room.row[j]])
        if choices is None:
            hopeless.add(kind)
            waits.append(j)
            continue
        nodes = tuple(names[choice.node] for choice in choices)
        length = max(job.seconds_on(room.state.nodes[choice.node].gpu_type) for choice in choices)
        gpus = tuple(choice.gpus for choice in choices)
        name, generation = job.key
        decisions.append(Decision(name, generation, start_reason(nodes, length), nodes, gpus))
    left = np.count_nonzero(snapshot.gpu_free == 1000, axis=1)
    cache: dict[tuple[object, ...], Reason] = {}
    for j in waits:
        name, generation = room.jobs[j].key
        decisions.append(Decision(name, generation, wait_reason(room, j, left, inf, cache)))
    return decisions


def _workload(room: Room, snapshot: Snapshot) -> ClusterPlacement:
    """What asks for the cluster now, as the workload whose distribution a rule knows."""
    kinds = tuple(snapshot.kinds[k] for k in snapshot.kind)
    nodes = Nodes.build([n.name for n in room.state.nodes], room.cpu_total, room.memory_total, room.num_gpus, kinds)
    requests = [job.request for job in room.state.jobs if job.request.cpu_milli or job.request.num_gpus]
    columns = np.array([(r.cpu_milli, r.memory_mib, r.num_gpus, r.gpu_milli) for r in requests], np.int64)
    tasks = Tasks.build([str(i) for i in range(len(requests))], *columns.reshape(-1, 4).T)
    return ClusterPlacement("waiting", nodes, tasks)


def _place(
    room: Room, snapshot: Snapshot, policy: RulePolicy, job: Job, allowed: tuple[str, ...]
) -> list[Choice] | None:
    """All workers of a job, or none."""
    groups = [allowed]
    if job.workers > 1 and job.same_type:
        groups = [tuple(k for k in allowed if k.split("|")[0] == kind) for kind in room.types]
    for group in groups:
        request = replace(job.request, allowed_types=group or ("",))
        choices = _gang(snapshot, policy, job, request)
        if choices is not None:
            return choices
    return None


def _gang(snapshot: Snapshot, policy: RulePolicy, job: Job, request: Request) -> list[Choice] | None:
    choices: list[Choice] = []
    closed: list[tuple[int, int]] = []
    for _ in range(job.workers):
        choice = policy.choose(snapshot, request)
        if choice is None:
            break
        snapshot.place(request, choice)
        choices.append(choice)
        if job.spread and job.workers > 1:
            closed.append((choice.node, int(snapshot.cpu_free[choice.node])))
            snapshot.cpu_free[choice.node] = -1
            snapshot.version[choice.node] += 1
    for node, cpu in closed:
        snapshot.cpu_free[node] = cpu
        snapshot.version[node] += 1
    if len(choices) == job.workers:
        return choices
    for choice in choices:
        snapshot.release(request, choice)
    return None


@dataclass(eq=False)
class RoundPolicy:
    """A scheduler of the simulator's rounds: it says who runs on which type, the nodes are then filled tightly.

    It sees the GPUs that are free and the jobs that wait; what runs, runs on.

    Parameters
    ----------
    scheduler
        A name of :data:`~apportion.scheduling.policies.SCHEDULERS`.
    """

    scheduler: str
    rules: RoundRules = GAVEL

    def decide(self, state: ClusterState, budget_s: float) -> list[Decision]:
        """Decide all waiting jobs."""
        del budget_s
        room = Room.of(state)
        if not room.jobs or not state.nodes:
            return without_nodes(room)
        seconds = room.seconds()
        possible = np.array([[bool(room.accepts[r][room.kind == k].any()) for k in range(len(room.types))]
                             for r in range(len(room.accepts))])[room.row]  # fmt: skip
        # fresh each time: a scheduler remembers jobs by their place, and the places change as jobs come and go
        chosen = scheduler_named(self.scheduler, self.rules).choose(_view(room, seconds, possible, self.rules))
        planner = Planner(room, np.where(np.arange(len(room.types)) == chosen[:, None], seconds, inf))
        order, _ = arrange(room.jobs, seconds, state.now_s, PATIENCE_S)
        takes = np.array([j for j in order.tolist() if chosen[j] >= 0], np.int64)
        return decisions_of(room, planner.plan(takes))


def _view(room: Room, seconds: np.ndarray, possible: np.ndarray, rules: RoundRules) -> RoundView:
    state, jobs, types = room.state, room.jobs, room.types
    count = len(jobs)
    free = np.count_nonzero(room.free_at <= 0.0, axis=1)
    capacity = np.array([int(free[room.kind == k].sum()) for k in range(len(types))], np.int64)
    rates = np.where(possible, 1.0 / np.maximum(seconds, 1e-3), 0.0)
    waited = np.maximum(0.0, state.now_s - np.array([job.submitted_s for job in jobs]))
    now = float(waited.max(initial=0.0))
    arrived = np.maximum.accumulate(now - waited)
    gpus = np.array([max(1, job.total_gpus) for job in jobs], np.int64)
    trace = JobTrace("live", types, tuple(job.id for job in jobs), arrived, np.ones(count), gpus, rates)
    fleet = Fleet(types, tuple(int(n) for n in np.maximum(capacity, 0)))
    shortest = np.where(possible, seconds, inf).min(axis=1)
    shortest = np.where(np.isfinite(shortest), shortest, 1e9)
    return RoundView(
        trace, fleet, now, rules.length_s, np.arange(count), np.ones(count), np.ones(count), rates, shortest,
        np.zeros((count, len(types))), np.zeros(len(types)), np.full(count, -1, np.int64), capacity, count,
    )  # fmt: skip


def greedy(ahead_s: float = 0.0, overhead_s: float = 0.0) -> CompletionPolicy:
    """The fallback: one pass of the list plan, bounded in time."""
    return CompletionPolicy(search=False, ahead_s=ahead_s, overhead_s=overhead_s)
