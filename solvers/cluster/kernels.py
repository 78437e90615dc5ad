"""Numba kernels: greedy packing of tasks into nodes, and the best pattern for one node by dynamic programming.

``state`` arrays of a cluster: ``cpu_free`` (nodes,), ``memory_free`` (nodes,), ``gpu_free`` (nodes, most GPUs) in milli
with 0 where a node has no such GPU, ``tasks_on`` (nodes,). ``node_of`` (tasks,) is -1 for a task that waits;
``slots[offset[t]:offset[t + 1]]`` are the GPU numbers of task ``t``.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

WHOLE = 1000
FIRST_FIT = 0
BEST_FIT = 1
MATCHED_FIT = 2
_FAR = 1e18


@numba.njit(cache=True)
def _best_share(gpu_free: Ints, node: int, milli: int) -> int:
    """The GPU of ``node`` with the least room that still holds ``milli``; -1 when none does."""
    best = -1
    for gpu in range(gpu_free.shape[1]):
        room = gpu_free[node, gpu]
        if room >= milli and (best < 0 or room < gpu_free[node, best]):
            best = gpu
    return best


@numba.njit(cache=True)
def _whole_free(gpu_free: Ints, node: int) -> int:
    """How many GPUs of ``node`` are untouched."""
    count = 0
    for gpu in range(gpu_free.shape[1]):
        if gpu_free[node, gpu] == WHOLE:
            count += 1
    return count


@numba.njit(cache=True)
def _score(
    policy: int,
    node: int,
    cpu: int,
    gpus: int,
    milli: int,
    cpu_free: Ints,
    gpu_free: Ints,
    tasks_on: Ints,
) -> float:
    """How little a task of this size suits ``node``, which has CPU and memory for it; ``_FAR`` when no GPU does.

    Best fit leaves the least behind: on the GPU for a share, of whole GPUs otherwise, then of CPU. Tasks without GPUs
    go where the fewest GPUs are free. Matched fit looks for nodes whose free CPU per free GPU is nearest the task's.
    """
    left = 0.0
    if gpus == 1 and milli < WHOLE:
        gpu = _best_share(gpu_free, node, milli)
        if gpu < 0:
            return _FAR
        left = float(gpu_free[node, gpu] - milli)
    elif gpus > 0:
        free = _whole_free(gpu_free, node)
        if free < gpus:
            return _FAR
        left = float(free - gpus)
    else:
        for gpu in range(gpu_free.shape[1]):
            left += gpu_free[node, gpu]
    if policy == FIRST_FIT:
        return 0.0
    opened = 0.5 if tasks_on[node] == 0 else 0.0
    remaining = cpu_free[node] - cpu
    if policy == MATCHED_FIT and gpus > 0:
        total = 0.0
        for gpu in range(gpu_free.shape[1]):
            total += gpu_free[node, gpu]
        asked = cpu / (gpus * milli)
        mismatch = abs(cpu_free[node] / total - asked)
        return float(left + mismatch * (1.0 if milli == WHOLE else 10.0) + opened)
    return float(left + opened + 0.4 * remaining / (1.0 + cpu_free[node]))


@numba.njit(cache=True)
def put(
    task: int,
    node: int,
    cpu: Ints,
    memory: Ints,
    gpus: Ints,
    milli: Ints,
    offset: Ints,
    cpu_free: Ints,
    memory_free: Ints,
    gpu_free: Ints,
    tasks_on: Ints,
    node_of: Ints,
    slots: Ints,
) -> None:
    """Place ``task`` on ``node``, which has room: a share on its tightest GPU, whole GPUs from the front."""
    node_of[task] = node
    cpu_free[node] -= cpu[task]
    memory_free[node] -= memory[task]
    tasks_on[node] += 1
    if gpus[task] == 1 and milli[task] < WHOLE:
        gpu = _best_share(gpu_free, node, milli[task])
        gpu_free[node, gpu] -= milli[task]
        slots[offset[task]] = gpu
        return
    taken = 0
    for gpu in range(gpu_free.shape[1]):
        if taken < gpus[task] and gpu_free[node, gpu] == WHOLE:
            gpu_free[node, gpu] = 0
            slots[offset[task] + taken] = gpu
            taken += 1


@numba.njit(cache=True)
def pack(
    order: Ints,
    nodes: Ints,
    policy: int,
    task_type: Ints,
    node_class: Ints,
    fits: Booleans,
    cpu: Ints,
    memory: Ints,
    gpus: Ints,
    milli: Ints,
    offset: Ints,
    cpu_free: Ints,
    memory_free: Ints,
    gpu_free: Ints,
    tasks_on: Ints,
    node_of: Ints,
    slots: Ints,
) -> int:
    """Place the waiting tasks of ``order`` one by one on the best of ``nodes`` by ``policy``; return how many were.

    A task that fits on no node is skipped. A type that was refused once is refused at once afterwards: room only
    shrinks.
    """
    refused = np.zeros(fits.shape[0], np.bool_)
    placed = 0
    for task in order:
        kind = task_type[task]
        if node_of[task] >= 0 or refused[kind]:
            continue
        best, best_score = -1, _FAR
        for node in nodes:
            if cpu_free[node] < cpu[task] or memory_free[node] < memory[task] or not fits[kind, node_class[node]]:
                continue
            score = _score(policy, node, cpu[task], gpus[task], milli[task], cpu_free, gpu_free, tasks_on)
            if score < best_score:
                best, best_score = node, score
                if policy == FIRST_FIT:
                    break
        if best < 0:
            refused[kind] = True
            continue
        put(task, best, cpu, memory, gpus, milli, offset, cpu_free, memory_free, gpu_free, tasks_on, node_of, slots)
        placed += 1
    return placed


@numba.njit(cache=True)
def price_pattern(
    profit: Floats,
    size: Ints,
    gpus: Ints,
    level: Ints,
    num_gpus: int,
    num_sizes: int,
    num_levels: int,
    idle: Floats,
    single: Floats,
    single_choice: Ints,
    several: Floats,
    several_choice: Ints,
    steps: Ints,
    counts: Ints,
    gpu_items: Ints,
    gpu_of_item: Ints,
) -> tuple[float, int]:
    """The most profitable set of tasks for one empty node; return its profit and how many tasks it has.

    Items may be repeated without limit. ``size`` is CPU in ``0..num_sizes``; ``level`` the share of a GPU in
    ``0..num_levels`` where ``num_levels`` is a whole one; ``gpus`` how many GPUs. First the best filling of one GPU by
    CPU (``single``), then GPU after GPU together with the tasks on several (``several``), over tasks without GPUs
    (``idle``). ``counts`` gets how often each item is taken; ``gpu_items[i]`` sits from GPU ``gpu_of_item[i]`` on,
    -1 for no GPU. Work arrays: ``idle`` (sizes + 1,), ``single`` and ``single_choice`` (levels + 1, sizes + 1),
    ``several`` and ``several_choice`` (GPUs + 1, sizes + 1), ``steps`` (sizes + 1,).
    """
    items = len(profit)
    for c in range(num_sizes + 1):
        idle[c] = idle[c - 1] if c > 0 else 0.0
        several_choice[0, c] = -1
        for t in range(items):
            if gpus[t] == 0 and profit[t] > 0 and 0 < size[t] <= c and idle[c - size[t]] + profit[t] > idle[c] + 1e-12:
                idle[c] = idle[c - size[t]] + profit[t]
                several_choice[0, c] = t
        several[0, c] = idle[c]
    single[: num_levels + 1, : num_sizes + 1] = 0.0
    single_choice[: num_levels + 1, : num_sizes + 1] = -1
    for t in range(items):
        if gpus[t] != 1 or profit[t] <= 0:
            continue
        for m in range(level[t], num_levels + 1):
            for c in range(size[t], num_sizes + 1):
                value = single[m - level[t], c - size[t]] + profit[t]
                if value > single[m, c] + 1e-12:
                    single[m, c] = value
                    single_choice[m, c] = t
    num_steps = 0
    for c in range(num_sizes + 1):
        last = single[num_levels, steps[num_steps - 1]] if num_steps > 0 else 0.0
        if single[num_levels, c] > last:
            steps[num_steps] = c
            num_steps += 1
    for g in range(1, num_gpus + 1):
        for c in range(num_sizes + 1):
            best, choice = several[g - 1, c], -1
            for i in range(num_steps):
                s = steps[i]
                if s > c:
                    break
                value = several[g - 1, c - s] + single[num_levels, s]
                if value > best + 1e-12:
                    best, choice = value, items + s
            several[g, c] = best
            several_choice[g, c] = choice
        for t in range(items):
            if gpus[t] < 2 or gpus[t] > g or profit[t] <= 0:
                continue
            for c in range(size[t], num_sizes + 1):
                value = several[g - gpus[t], c - size[t]] + profit[t]
                if value > several[g, c] + 1e-12:
                    several[g, c] = value
                    several_choice[g, c] = t
    counts[:] = 0
    taken = 0
    g, c = num_gpus, num_sizes
    while g > 0:
        choice = several_choice[g, c]
        if choice < 0:
            g -= 1
        elif choice < items:
            counts[choice] += 1
            gpu_items[taken] = choice
            gpu_of_item[taken] = g - gpus[choice]
            taken += 1
            g -= gpus[choice]
            c -= size[choice]
        else:
            s = choice - items
            m, left = num_levels, s
            t = single_choice[m, left]
            while t >= 0:
                counts[t] += 1
                gpu_items[taken] = t
                gpu_of_item[taken] = g - 1
                taken += 1
                m -= level[t]
                left -= size[t]
                t = single_choice[m, left]
            g -= 1
            c -= s
    while c > 0:
        t = several_choice[0, c]
        if t < 0:
            c -= 1
        else:
            counts[t] += 1
            gpu_items[taken] = t
            gpu_of_item[taken] = -1
            taken += 1
            c -= size[t]
    return several[num_gpus, num_sizes], taken
