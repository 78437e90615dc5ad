"""Numba kernels: plan waiting jobs one by one, each where it is done first.

Nodes: ``kind`` (nodes,) position of the GPU type; ``num_gpus``, ``cpu_total``, ``memory_total``, ``cpu_free``,
``memory_free`` (nodes,); ``free_at`` (nodes, most GPUs) seconds from now until each GPU is free, rising along a row,
infinite beyond the last GPU. Jobs: ``gpus``, ``cpu``, ``memory`` per worker, ``workers``, ``row`` of ``accepts``
(rows, nodes), ``spread`` and ``same`` (jobs,); ``seconds`` (jobs, kinds).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

SOON_S = 60.0
"""When CPU or memory that is held by jobs without GPUs is expected to be free."""


@numba.njit(cache=True)
def node_start(
    node: int,
    used: int,
    gpus: int,
    cpu: int,
    memory: int,
    num_gpus: Ints,
    cpu_total: Ints,
    memory_total: Ints,
    cpu_free: Ints,
    memory_free: Ints,
    free_at: Floats,
) -> float:
    """When one more worker can start on a node that has taken ``used`` of its gang; infinite when never."""
    more = used + 1
    if more * gpus > num_gpus[node] or more * cpu > cpu_total[node] or more * memory > memory_total[node]:
        return np.inf
    start = free_at[node, more * gpus - 1] if gpus > 0 else 0.0
    if start <= 0.0 and (cpu_free[node] < more * cpu or memory_free[node] < more * memory):
        last = free_at[node, num_gpus[node] - 1] if num_gpus[node] > 0 else SOON_S
        start = last if last > 0.0 else SOON_S
    return start


@numba.njit(cache=True)
def _gang(
    job: int,
    only_kind: int,
    gpus: Ints,
    cpu: Ints,
    memory: Ints,
    workers: Ints,
    row: Ints,
    spread: Booleans,
    accepts: Booleans,
    kind: Ints,
    num_gpus: Ints,
    cpu_total: Ints,
    memory_total: Ints,
    cpu_free: Ints,
    memory_free: Ints,
    free_at: Floats,
    used: Ints,
    picked: Ints,
) -> float:
    """Pick the nodes of one gang, those first that are free first, then the fullest; its start, infinite when none."""
    start = 0.0
    count = 0
    for _ in range(workers[job]):
        best, least, tightest = -1, np.inf, 0
        for node in range(len(kind)):
            if not accepts[row[job], node] or (only_kind >= 0 and kind[node] != only_kind):
                continue
            if spread[job] and used[node] > 0:
                continue
            here = node_start(
                node, used[node], gpus[job], cpu[job], memory[job],
                num_gpus, cpu_total, memory_total, cpu_free, memory_free, free_at,
            )  # fmt: skip
            if here > least or here == np.inf:
                continue
            room = 0
            while room < num_gpus[node] and free_at[node, room] <= here:
                room += 1
            if here < least or room < tightest:
                best, least, tightest = node, here, room
        if best < 0:
            start = np.inf
            break
        used[best] += 1
        picked[count] = best
        count += 1
        start = max(start, least)
    for w in range(count):
        used[picked[w]] = 0
    return start


@numba.njit(cache=True)
def _occupy(node: int, gpus: int, start: float, end: float, num_gpus: int, free_at: Floats, hole: Floats) -> None:
    """Take the GPUs that are free last before ``start``; those that stay idle until then are holes."""
    last = 0
    while last < num_gpus and free_at[node, last] <= start:
        last += 1
    for g in range(last - gpus, last):
        if free_at[node, g] <= 0.0 and start > 0.0:
            h = 0
            while h < num_gpus and hole[node, h] > 0.0:
                h += 1
            if h < num_gpus:
                hole[node, h] = start
        free_at[node, g] = end
    for g in range(max(0, last - gpus), num_gpus):
        at, value = g, free_at[node, g]
        while at > 0 and free_at[node, at - 1] > value:
            free_at[node, at] = free_at[node, at - 1]
            at -= 1
        free_at[node, at] = value


@numba.njit(cache=True)
def plan_jobs(
    order: Ints,
    gpus: Ints,
    cpu: Ints,
    memory: Ints,
    workers: Ints,
    row: Ints,
    spread: Booleans,
    same: Booleans,
    seconds: Floats,
    accepts: Booleans,
    kind: Ints,
    num_gpus: Ints,
    cpu_total: Ints,
    memory_total: Ints,
    cpu_free: Ints,
    memory_free: Ints,
    free_at: Floats,
    hole: Floats,
    used: Ints,
    picked: Ints,
    best_picked: Ints,
    start: Floats,
    end: Floats,
    first: Ints,
    where: Ints,
) -> float:
    """Plan the jobs in ``order``, each where it is done first; returns the sum of their ends.

    ``start`` and ``end`` (jobs,) become the plan, infinite for a job that fits nowhere; ``where[first[j]:]`` the nodes
    of the workers of job j. ``cpu_free``, ``memory_free``, ``free_at``, ``hole`` (as ``free_at``, 0 at first), ``used``
    (nodes,) of zeros, ``picked`` and ``best_picked`` (most workers,) are written over.
    """
    total = 0.0
    for position in range(len(order)):
        job = order[position]
        start[job], end[job] = np.inf, np.inf
        for k in range(seconds.shape[1] if same[job] else 1):
            begin = _gang(
                job, k if same[job] else -1, gpus, cpu, memory, workers, row, spread, accepts, kind,
                num_gpus, cpu_total, memory_total, cpu_free, memory_free, free_at, used, picked,
            )  # fmt: skip
            if begin == np.inf:
                continue
            longest = seconds[job, k] if same[job] else 0.0
            if not same[job]:
                for w in range(workers[job]):
                    longest = max(longest, seconds[job, kind[picked[w]]])
            if begin + longest < end[job]:
                start[job], end[job] = begin, begin + longest
                for w in range(workers[job]):
                    best_picked[w] = picked[w]
        if end[job] == np.inf:
            continue
        total += end[job]
        for w in range(workers[job]):
            node = best_picked[w]
            where[first[job] + w] = node
            _occupy(node, gpus[job], start[job], end[job], num_gpus[node], free_at, hole)
            if start[job] <= 0.0:
                cpu_free[node] -= cpu[job]
                memory_free[node] -= memory[job]
    return total


@numba.njit(cache=True)
def fill_holes(
    order: Ints,
    gpus: Ints,
    cpu: Ints,
    memory: Ints,
    workers: Ints,
    row: Ints,
    seconds: Floats,
    accepts: Booleans,
    kind: Ints,
    cpu_free: Ints,
    memory_free: Ints,
    hole: Floats,
    start: Floats,
    end: Floats,
    first: Ints,
    where: Ints,
) -> int:
    """Start planned jobs of one worker now, in GPUs that stay idle for longer than they run; returns how many.

    Only a job that is done no later than planned moves, so nothing that was planned is put off.
    """
    moved = 0
    for position in range(len(order)):
        job = order[position]
        if workers[job] != 1 or gpus[job] == 0 or start[job] <= 0.0:
            continue
        best, done = -1, end[job]
        for node in range(len(kind)):
            length = seconds[job, kind[node]]
            if not accepts[row[job], node] or length > done or (length == done and best >= 0):
                continue
            if cpu_free[node] < cpu[job] or memory_free[node] < memory[job]:
                continue
            fitting = 0
            for h in range(hole.shape[1]):
                if hole[node, h] >= length:
                    fitting += 1
            if fitting >= gpus[job]:
                best, done = node, length
        if best < 0:
            continue
        left = gpus[job]
        for h in range(hole.shape[1]):
            if left > 0 and hole[best, h] >= done:
                hole[best, h] = 0.0
                left -= 1
        cpu_free[best] -= cpu[job]
        memory_free[best] -= memory[job]
        start[job], end[job] = 0.0, done
        where[first[job]] = best
        moved += 1
    return moved
