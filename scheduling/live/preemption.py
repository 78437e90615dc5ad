"""Who gives way to a job of higher priority: the cheapest set of preemptible jobs that makes room for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apportion.scheduling.live.reasons import Code, Decision, Reason
from apportion.scheduling.live.room import Ints, Room
from apportion.scheduling.live.state import Job, Phase


def with_victims(room: Room, decisions: list[Decision], order: Ints) -> list[Decision]:
    """Let the most urgent job that waits have the room of preemptible jobs of lower priority.

    One job a round: what gives way for it is seen in the next rounds before anybody else has to.

    Parameters
    ----------
    room
        The room that was decided on.
    decisions
        What was decided.
    order
        Positions of the waiting jobs, the most urgent first.
    """
    place = {decision.job: i for i, decision in enumerate(decisions)}
    taken: dict[str, int] = {}
    for decision in decisions:
        for node in decision.nodes:
            taken[node] = taken.get(node, 0) + room.state.job[decision.job].request.num_gpus
    lowest = min((j.priority for j in _preemptible(room)), default=None)
    if lowest is None:
        return decisions
    for position in order.tolist():
        job = room.jobs[position]
        decision = decisions[place[job.id]]
        if job.priority <= lowest:
            return decisions
        if decision.starts or not job.request.num_gpus:
            continue
        victims = _victims(room, position, taken)
        if victims:
            names = tuple(victim.id for victim in victims)
            reason = Reason(Code.PREEMPTING, f"waits until job {', '.join(names)} has given way")
            decisions[place[job.id]] = replace(decision, reason=reason, victims=names)
            return decisions
    return decisions


def _preemptible(room: Room) -> list[Job]:
    return [job for job in room.state.jobs if job.managed and job.preemptible and job.phase is Phase.RUNNING]


def _victims(room: Room, position: int, taken: dict[str, int]) -> list[Job]:
    """The jobs whose end lets the job start, least work lost first; empty when even all of them do not."""
    job, names = room.jobs[position], [node.name for node in room.state.nodes]
    now = room.state.now_s
    candidates = [victim for victim in _preemptible(room) if victim.priority < job.priority and victim.nodes]
    candidates.sort(key=lambda v: (v.priority, max(0.0, now - v.started_s) * v.total_gpus, v.id))
    free = np.count_nonzero(room.free_at <= 0.0, axis=1) - np.array([taken.get(name, 0) for name in names], np.int64)
    cpu, memory = room.cpu_free.copy(), room.memory_free.copy()
    chosen: list[Job] = []
    for victim in candidates:
        if _fits(room, position, free, cpu, memory):
            break
        chosen.append(victim)
        _give(room, victim, free, cpu, memory, 1)
    if not chosen or not _fits(room, position, free, cpu, memory):
        return []
    for victim in list(chosen):
        _give(room, victim, free, cpu, memory, -1)
        if _fits(room, position, free, cpu, memory):
            chosen.remove(victim)
        else:
            _give(room, victim, free, cpu, memory, 1)
    return chosen


def _give(room: Room, victim: Job, free: Ints, cpu: Ints, memory: Ints, sign: int) -> None:
    for name in victim.nodes:
        node = room.state.node.get(name)
        if node is not None:
            free[node] += sign * victim.request.num_gpus
            cpu[node] += sign * victim.request.cpu_milli
            memory[node] += sign * victim.request.memory_mib


def _fits(room: Room, position: int, free: Ints, cpu: Ints, memory: Ints) -> bool:
    job, request = room.jobs[position], room.jobs[position].request
    good = room.accepts[room.row[position]] & (cpu >= request.cpu_milli) & (memory >= request.memory_mib)
    each = np.where(good, free // request.num_gpus, 0)
    each = np.minimum(each, 1) if job.spread else each
    kinds = range(len(room.types)) if job.same_type else (-1,)
    return any(int(each[(room.kind == kind) | (kind < 0)].sum()) >= job.workers for kind in kinds)
