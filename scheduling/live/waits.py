"""The sentences: why a job starts here, why another waits."""

from __future__ import annotations

from math import inf, isfinite

import numpy as np

from apportion.scheduling.live.reasons import Code, Reason
from apportion.scheduling.live.room import Ints, Room
from apportion.scheduling.live.state import Job


def start_reason(nodes: tuple[str, ...], seconds: float) -> Reason:
    """Why a job starts."""
    until = f", done in about {duration(seconds)}" if isfinite(seconds) else ""
    return Reason(Code.STARTS, f"on {brief(nodes)}{until}")


def duration(seconds: float) -> str:
    """Seconds as people say them, coarsely so that a text does not change with every round.

    >>> duration(4.0), duration(95.0), duration(7000.0)
    ('10 s', '2 min', '2 h')
    """
    if seconds <= 60.0:
        return f"{int(np.ceil(max(1.0, seconds) / 10.0)) * 10} s"
    if seconds <= 3600.0:
        return f"{int(np.ceil(seconds / 60.0))} min"
    return f"{int(np.ceil(seconds / 3600.0))} h"


def brief(names: tuple[str, ...], most: int = 4) -> str:
    """The first names and how many more there are."""
    distinct = list(dict.fromkeys(names))
    shown = ", ".join(distinct[:most])
    return shown if len(distinct) <= most else f"{shown} and {len(distinct) - most} more"


def asks(job: Job) -> str:
    """What a job asks for, in words.

    >>> from apportion.solvers.online.snapshot import Request
    >>> asks(Job("1", Request(1000, 64, 4, 1000, ("a100",)), workers=2))
    '2 x 4 GPUs of type a100'
    """
    request = job.request
    kinds = f" of type {' or '.join(request.allowed_types)}" if request.allowed_types else ""
    gang = f"{job.workers} x " if job.workers > 1 else ""
    if not request.num_gpus:
        return f"{gang}{request.cpu_milli / 1000:g} CPUs and {request.memory_mib} MiB"
    amount = f"{request.gpu_milli / 1000:g}" if request.is_share else f"{request.num_gpus}"
    return f"{gang}{amount} GPU{'s' * (request.num_gpus != 1)}{kinds}"


def wait_reason(
    room: Room, position: int, gpu_left: Ints, start_s: float, cache: dict[tuple[object, ...], Reason]
) -> Reason:
    """Why the waiting job at ``position`` does not start; ``gpu_left`` (nodes,) are free after what starts now."""
    job = room.jobs[position]
    when = duration(start_s) if isfinite(start_s) else ""
    key = (int(room.row[position]), job.request, job.workers, job.spread, job.same_type, when)
    if key not in cache:
        why = _impossible(room, position) if start_s == inf else None
        cache[key] = why or _busy(room, position, gpu_left, when)
    return cache[key]


def _impossible(room: Room, position: int) -> Reason | None:
    job, request = room.jobs[position], room.jobs[position].request
    known, up = room.known[room.row[position]], room.accepts[room.row[position]]
    if not known.any():
        kinds = ", ".join(kind or "none" for kind in room.types)
        return Reason(Code.NO_NODE, f"asks for {asks(job)}; no node accepts that, GPU types here are {kinds}")
    large = (
        (room.num_gpus >= request.num_gpus)
        & (room.cpu_total >= request.cpu_milli)
        & (room.memory_total >= request.memory_mib)
    )
    if not (known & large).any():
        most = int(room.num_gpus[known].max(initial=0))
        cpu, memory = int(room.cpu_total[known].max(initial=0)), int(room.memory_total[known].max(initial=0))
        text = f"the largest such node has {most} GPUs, {cpu / 1000:g} CPUs, {memory} MiB"
        own = f"{asks(job)}, {request.cpu_milli / 1000:g} CPUs, {request.memory_mib} MiB"
        return Reason(Code.TOO_LARGE, f"asks for {own} of one node; {text}")
    if job.workers > _hosts(room, job, known & large):
        hosts = _hosts(room, job, known & large)
        return Reason(Code.TOO_LARGE, f"asks for {asks(job)}; at most {hosts} workers fit the whole cluster")
    if job.workers > _hosts(room, job, up & large):
        down = int((known & large & ~up).sum())
        return Reason(Code.NODES_DOWN, f"asks for {asks(job)}; {down} of the nodes that could host it are down")
    return None


def _hosts(room: Room, job: Job, nodes: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    """How many workers of a job fit empty nodes, within one type where it wants that."""
    most = 0
    for kind in range(len(room.types)) if job.same_type else (-1,):
        here = np.flatnonzero(nodes & ((room.kind == kind) | (kind < 0)))
        if job.spread or not job.request.num_gpus:
            most = max(most, len(here))
        else:
            most = max(most, int((room.num_gpus[here] // job.request.num_gpus).sum()))
    return most


def _busy(room: Room, position: int, gpu_left: Ints, when: str) -> Reason:
    job, request = room.jobs[position], room.jobs[position].request
    usable = room.accepts[room.row[position]]
    free = gpu_left[usable]
    total, most = int(free.sum()), int(free.max(initial=0))
    plan = f"; planned in about {when}" if when else ""
    if not request.num_gpus or int((free >= request.num_gpus).sum()) >= job.workers:
        return Reason(Code.BEHIND, f"asks for {asks(job)}; {total} are free but kept for others or better later{plan}")
    if total >= job.total_gpus:
        return Reason(Code.FRAGMENTED, f"asks for {asks(job)}; {total} are free, at most {most} on one node{plan}")
    return Reason(Code.INSUFFICIENT, f"asks for {asks(job)}; {total} are free{plan}")
