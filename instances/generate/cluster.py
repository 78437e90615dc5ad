"""Seeded clusters: kinds of nodes and a catalogue of task types drawn like those of published traces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, Nodes, Tasks
from apportion.instances.errors import OptionError
from apportion.instances.generate.cluster_rules import generate_gangs

_KINDS = (  # type, GPUs of a node, CPUs per GPU, GiB per GPU, how common
    ("G2", 8, 12, 48, 0.4),
    ("T4", 2, 48, 192, 0.3),
    ("V100", 4, 12, 64, 0.2),
    ("P100", 2, 8, 60, 0.1),
)
_SHARES = (160, 230, 320, 460, 470, 590, 650, 810)
_TASKS_PER_TYPE = 8


def generate_cluster(
    seed: int = 0,
    nodes: int = 24,
    tasks: int = 160,
    load: float = 1.1,
    share_fraction: float = 0.45,
    bound_fraction: float = 0.15,
    gangs: float = 0.0,
    queues: int = 0,
    mig: float = 0.0,
) -> ClusterPlacement:
    """Make a cluster whose tasks ask for about ``load`` times its GPUs.

    Parameters
    ----------
    seed
        Same seed and sizes, same instance.
    nodes, tasks
        How many of each.
    load
        GPU demand over GPU capacity that the draw aims at: tasks get several GPUs until it is met.
    share_fraction
        The part of tasks that take less than one GPU.
    bound_fraction
        The part of tasks that accept one GPU type only.
    gangs
        The part of the demand that comes as gangs. With any it is a training cluster as
        :func:`~apportion.instances.generate.cluster_rules.generate_gangs` makes it, and only ``nodes``, ``load``,
        ``queues`` and ``mig`` count beside it.
    queues, mig
        Queues with quotas, and the part of single tasks with a MIG profile.
    """
    _require(nodes >= 1 and tasks >= 1, "nodes and tasks must be at least 1")
    _require(0 < load < np.inf, "load must be positive and finite")
    _require(0 <= share_fraction <= 1 and 0 <= bound_fraction <= 1, "fractions must lie between 0 and 1")
    _require(0 <= gangs <= 1, "gangs must lie between 0 and 1")
    if gangs > 0:
        return generate_gangs(seed, nodes, load, 1 - gangs, queues, mig)
    random = np.random.default_rng(seed)
    machines = _draw_nodes(random, nodes)
    wanted = load * float(machines.num_gpus.sum()) * MILLI_PER_GPU
    work = _draw_tasks(random, tasks, wanted, share_fraction, bound_fraction, sorted(set(machines.gpu_types)))
    return ClusterPlacement(f"cluster-{nodes}x{tasks}-s{seed}", machines, work)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise OptionError(f"cluster-placement: {message}")


def _draw_nodes(random: np.random.Generator, count: int) -> Nodes:
    kinds = np.sort(random.choice(len(_KINDS), size=count, p=[kind[4] for kind in _KINDS]))
    gpus = np.array([_KINDS[k][1] for k in kinds], np.int64)
    cpu = gpus * np.array([_KINDS[k][2] for k in kinds]) * 1000
    memory = gpus * np.array([_KINDS[k][3] for k in kinds]) * 1024
    return Nodes(tuple(f"node-{i:04d}" for i in range(count)), cpu, memory, gpus, tuple(_KINDS[k][0] for k in kinds))


def _draw_tasks(
    random: np.random.Generator, count: int, wanted: float, shared: float, bound: float, types: list[str]
) -> Tasks:
    """Draw tasks from a catalogue of a few types, as users send the same kind of work again and again."""
    size = max(8, count // _TASKS_PER_TYPE)
    kind = np.arange(size) / size
    cpu_only = kind > 1 - min(0.1, 1 - shared)
    milli = np.where(cpu_only, 0, np.where(kind < shared, random.choice(_SHARES, size=size), MILLI_PER_GPU))
    cpu = random.choice((2000, 4000, 6000, 8000, 11000), size=size)
    memory = random.choice((4096, 8192, 16384, 32768), size=size)
    allowed: list[tuple[str, ...]] = [()] * size
    for position in np.flatnonzero((random.random(size) < bound) & ~cpu_only):
        allowed[position] = (types[int(random.integers(len(types)))],)
    drawn = random.integers(size, size=count)
    gpus = _several(random, milli[drawn].astype(np.int64), wanted)
    return Tasks(
        tuple(f"task-{i:05d}" for i in range(count)),
        cpu[drawn] * np.maximum(gpus, 1),
        memory[drawn] * np.maximum(gpus, 1),
        gpus,
        milli[drawn].astype(np.int64),
        tuple(allowed[i] for i in drawn),
    )


def _several(random: np.random.Generator, milli: NDArray[np.int64], wanted: float) -> NDArray[np.int64]:
    """How many GPUs each task takes: 2, 4 or 8 for some that take whole ones, until all together ask for ``wanted``."""
    gpus = (milli > 0).astype(np.int64)
    for position in random.permutation(np.flatnonzero(milli == MILLI_PER_GPU)):
        missing = wanted - float((gpus * milli).sum())
        gpus[position] = max(s for s in (1, 2, 4, 8) if s == 1 or (s - 1) * MILLI_PER_GPU <= missing / 2)
    return gpus
