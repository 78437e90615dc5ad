"""Numba kernels: the scores of all nodes for one arriving task, by rule.

Nodes are given by ``cpu_free`` and ``memory_free`` (nodes,), ``gpu_free`` (nodes, most GPUs of a node) in milli,
``num_gpus`` and ``kind`` (nodes,), the position of a node's GPU type. ``groups`` (nodes, 1 + most GPUs) counts the
tasks on a node by what they ask: column 0 for shares of a GPU, column k for k whole GPUs.

The typical tasks of FGD are ``typical_cpu``, ``typical_gpus``, ``typical_milli`` (typical,), ``typical_accepts``
(typical, kinds) and ``popularity`` (typical,). The least-loss rule has prices ``cpu_price`` (prices,) per CPU milli and
``worth`` (prices, 1001): what a GPU with so much room can still earn at that price of CPU.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

WHOLE = 1000
FGD = 0
BEST_FIT = 1
DOT_PRODUCT = 2
PACKING = 3
CLUSTERING = 4
RANDOM = 5
LEAST_LOSS = 6

MOST_CPU = 128_000
"""CPU milli of the largest machine, by which the published scores are normalised."""
MOST_GPU = 8_000
"""GPU milli of the largest machine."""
LOSS_STEP = 4.0
"""Losses are compared in steps of so many milli: within one the first node wins, which keeps the rest in one piece."""
UNFIT = -1e18
"""The score of a node that cannot run the task."""
_HAIR = 1e-6
_MASK = 0x7FFFFFFF


@numba.njit(cache=True)
def fragmentation(
    cpu: int,
    room: Ints,
    num_gpus: int,
    kind: int,
    typical_cpu: Ints,
    typical_gpus: Ints,
    typical_milli: Ints,
    typical_accepts: Booleans,
    popularity: Floats,
) -> float:
    """GPU milli of a node that a typical task, drawn by popularity, cannot use (Weng et al. 2023, equation 3)."""
    total = 0
    for gpu in range(num_gpus):
        total += room[gpu]
    lost = 0.0
    if total == 0:
        return lost
    for m in range(len(popularity)):
        fitting, small = 0, 0
        if typical_gpus[m] > 0 and cpu >= typical_cpu[m] and typical_accepts[m, kind]:
            for gpu in range(num_gpus):
                if room[gpu] >= typical_milli[m]:
                    fitting += 1
                else:
                    small += room[gpu]
        hosted = fitting > 0 and fitting >= typical_gpus[m]
        lost += popularity[m] * (small if hosted else total)
    return lost


@numba.njit(cache=True)
def node_worth(cpu: int, room: Ints, num_gpus: int, cpu_price: Floats, worth: Floats) -> float:
    """What a node can still earn: GPU by GPU at a price of CPU, at the price that makes the least of it."""
    best = 1e18
    for p in range(len(cpu_price)):
        total = cpu_price[p] * cpu
        for gpu in range(num_gpus):
            total += worth[p, room[gpu]]
        best = min(best, total)
    return best


@numba.njit(cache=True)
def fits(
    node: int,
    cpu: int,
    memory: int,
    gpus: int,
    milli: int,
    cpu_free: Ints,
    memory_free: Ints,
    gpu_free: Ints,
    num_gpus: Ints,
) -> bool:
    """Whether a node has the CPU, the memory and the GPUs."""
    if cpu_free[node] < cpu or memory_free[node] < memory:
        return False
    fitting = 0
    for gpu in range(num_gpus[node]):
        if gpu_free[node, gpu] >= milli:
            fitting += 1
    return fitting >= gpus


@numba.njit(cache=True)
def take(room: Ints, num_gpus: int, gpus: int, milli: int, gpu: int, sign: int) -> None:
    """Take ``milli`` of ``gpu`` for a share, or the first ``gpus`` untouched GPUs; ``sign`` -1 gives a share back."""
    if gpus == 1 and milli < WHOLE:
        room[gpu] -= sign * milli
        return
    for g in range(num_gpus):
        if gpus > 0 and room[g] == WHOLE:
            room[g] = 0
            gpus -= 1


@numba.njit(cache=True)
def _tightest(room: Ints, num_gpus: int, milli: int) -> int:
    best = -1
    for gpu in range(num_gpus):
        if room[gpu] >= milli and (best < 0 or room[gpu] < room[best]):
            best = gpu
    return best


@numba.njit(cache=True)
def _seen_before(room: Ints, gpu: int) -> bool:
    seen = False
    for other in range(gpu):
        seen = seen or room[other] == room[gpu]
    return seen


@numba.njit(cache=True)
def hashed(seed: int, count: int, node: int, gpu: int) -> float:
    """A number in 0..1 that looks random, from ``seed`` and what it is for; every product stays below 2^63."""
    mixed = seed & _MASK
    for part in (count, node, gpu + 1):
        mixed = ((mixed ^ (part & _MASK)) * 1_103_515_245 + 12_345) & _MASK
        mixed = ((mixed ^ (mixed >> 15)) * 1_403_630_843 + 40_503) & _MASK
        mixed ^= mixed >> 13
    return mixed / (_MASK + 1.0)


@numba.njit(cache=True)
def _fixed_score(
    rule: int, cpu: int, gpus: int, milli: int, cpu_free: int, room: Ints, num_gpus: int, groups: Ints, gpu: int
) -> float:
    """The published scores that look at one node's totals; ``gpu`` is the tightest GPU for a share."""
    total = 0
    untouched = 0
    for g in range(num_gpus):
        total += room[g]
        if room[g] == WHOLE:
            untouched += 1
    if rule == BEST_FIT:
        left = 0.5 * (cpu_free - cpu) / MOST_CPU + 0.5 * (total - gpus * milli) / MOST_GPU
        return float(int((1.0 - left) * 100.0))
    if rule == DOT_PRODUCT:
        cpu_part = (cpu_free / MOST_CPU) * (cpu / MOST_CPU)
        gpu_part = (total / MOST_GPU) * (gpus * milli / MOST_GPU)
        return float(int(100.0 * (1.0 - 0.5 * (cpu_part + gpu_part))))
    if gpus == 0:
        return 0.0
    if rule == PACKING:
        if untouched == num_gpus:
            return float(max(33 - untouched, untouched))
        if milli < WHOLE and room[gpu] < WHOLE:
            return float(max(100 - room[gpu] * 100 // WHOLE // 10, 50))
        return float(max(50 - gpus, 33))
    kinds = 0
    for g in range(len(groups)):
        if groups[g] > 0:
            kinds += 1
    same = groups[0 if milli < WHOLE else gpus] > 0
    base = 25 * (MOST_GPU - total) // MOST_GPU
    if same:
        return float(base + (75 if kinds == 1 else 50))
    return float(base + (25 if kinds == 0 else 0))


@numba.njit(cache=True)
def _potential(
    rule: int,
    cpu: int,
    room: Ints,
    num_gpus: int,
    kind: int,
    typical_cpu: Ints,
    typical_gpus: Ints,
    typical_milli: Ints,
    typical_accepts: Booleans,
    popularity: Floats,
    cpu_price: Floats,
    worth: Floats,
) -> float:
    """What placing a task should lessen as little as possible: the worth of a node, or its fragments negated."""
    if rule == LEAST_LOSS:
        return float(node_worth(cpu, room, num_gpus, cpu_price, worth))
    return -float(
        fragmentation(cpu, room, num_gpus, kind, typical_cpu, typical_gpus, typical_milli, typical_accepts, popularity)
    )


@numba.njit(cache=True)
def _loss_score(rule: int, loss: float) -> float:
    """FGD truncates a sigmoid to whole percents; the least-loss rule counts steps."""
    if rule == LEAST_LOSS:
        return -float(np.floor(loss / LOSS_STEP + _HAIR))
    return float(int(100.0 / (1.0 + np.exp(loss / 1000.0))))


@numba.njit(cache=True)
def node_score(
    rule: int,
    node: int,
    cpu: int,
    gpus: int,
    milli: int,
    cpu_free: Ints,
    gpu_free: Ints,
    num_gpus: Ints,
    kind: Ints,
    groups: Ints,
    typical_cpu: Ints,
    typical_gpus: Ints,
    typical_milli: Ints,
    typical_accepts: Booleans,
    popularity: Floats,
    cpu_price: Floats,
    worth: Floats,
    seed: int,
    count: int,
    work: Ints,
) -> tuple[float, int]:
    """The score of a node that fits, the more the better, and the GPU for a share (-1 otherwise).

    ``work`` (most GPUs,) is written over.
    """
    size = num_gpus[node]
    share = gpus == 1 and milli < WHOLE
    room = gpu_free[node]
    if rule == RANDOM:
        best, most = -1, -1.0
        for gpu in range(size if share else 0):
            if room[gpu] >= milli and hashed(seed, count, node, gpu) > most:
                best, most = gpu, hashed(seed, count, node, gpu)
        return hashed(seed, count, node, -1), best
    if rule != FGD and rule != LEAST_LOSS:
        tight = _tightest(room, size, milli) if share else -1
        return _fixed_score(rule, cpu, gpus, milli, cpu_free[node], room, size, groups[node], tight), tight
    for gpu in range(size):
        work[gpu] = room[gpu]
    before = _potential(
        rule,
        cpu_free[node],
        work,
        size,
        kind[node],
        typical_cpu,
        typical_gpus,
        typical_milli,
        typical_accepts,
        popularity,
        cpu_price,
        worth,
    )
    best, most = -1, UNFIT
    for gpu in range(size if share else 1):
        if share and (room[gpu] < milli or _seen_before(room, gpu)):
            continue
        take(work, size, gpus, milli, gpu, 1)
        after = _potential(
            rule,
            cpu_free[node] - cpu,
            work,
            size,
            kind[node],
            typical_cpu,
            typical_gpus,
            typical_milli,
            typical_accepts,
            popularity,
            cpu_price,
            worth,
        )
        if share:
            work[gpu] = room[gpu]
        score = _loss_score(rule, before - after)
        if score > most:
            best, most = gpu, score
    return most, best if share else -1


@numba.njit(cache=True)
def best_node(
    rule: int,
    cpu: int,
    memory: int,
    gpus: int,
    milli: int,
    accepts: Booleans,
    cpu_free: Ints,
    memory_free: Ints,
    gpu_free: Ints,
    num_gpus: Ints,
    kind: Ints,
    groups: Ints,
    version: Ints,
    typical_cpu: Ints,
    typical_gpus: Ints,
    typical_milli: Ints,
    typical_accepts: Booleans,
    popularity: Floats,
    cpu_price: Floats,
    worth: Floats,
    seed: int,
    count: int,
    seen: Ints,
    scores: Floats,
    gpu_of: Ints,
    work: Ints,
) -> int:
    """The first node with the best score for one task, -1 when none fits.

    ``seen``, ``scores`` and ``gpu_of`` (nodes,) remember the scores of this kind of task: a node is scored again only
    when its ``version`` has changed since; the random rule draws anew wherever the task fits.
    """
    best = -1
    for node in range(len(cpu_free)):
        if seen[node] != version[node] or (rule == RANDOM and scores[node] > UNFIT):
            seen[node] = version[node]
            scores[node] = UNFIT
            if accepts[kind[node]] and fits(node, cpu, memory, gpus, milli, cpu_free, memory_free, gpu_free, num_gpus):
                scores[node], gpu_of[node] = node_score(
                    rule,
                    node,
                    cpu,
                    gpus,
                    milli,
                    cpu_free,
                    gpu_free,
                    num_gpus,
                    kind,
                    groups,
                    typical_cpu,
                    typical_gpus,
                    typical_milli,
                    typical_accepts,
                    popularity,
                    cpu_price,
                    worth,
                    seed,
                    count,
                    work,
                )
        if scores[node] > UNFIT and (best < 0 or scores[node] > scores[best]):
            best = node
    return best


@numba.njit(cache=True)
def fill_gpu(profit: Floats, size: Ints, best: Floats) -> None:
    """``best[room]`` becomes the most profit that sizes, each as often as it fits, earn in so much room."""
    best[0] = 0.0
    for room in range(1, len(best)):
        best[room] = best[room - 1]
        for i in range(len(size)):
            if profit[i] > 0.0 and 0 < size[i] <= room and best[room - size[i]] + profit[i] > best[room]:
                best[room] = best[room - size[i]] + profit[i]
