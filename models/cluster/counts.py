"""Between a placement and the counts that both exact formulations speak of."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, PlacedTask, Placement
from apportion.models.cluster.classes import Classes

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Counts:
    """Tasks by node and type, (nodes, types); of the sharing types also by GPU, (nodes, most GPUs, sharing types)."""

    placed: Ints
    shares: Ints


def decode(instance: ClusterPlacement, classes: Classes, counts: Counts) -> Placement:
    """Name tasks and GPUs: shares on the GPUs that ``counts`` says, whole GPUs from the last one down."""
    waiting = [list(members[::-1]) for members in classes.members]
    sharing = np.flatnonzero(classes.shares)
    entries: list[tuple[int, PlacedTask]] = []
    for node in np.flatnonzero(counts.placed.any(axis=1)):
        name = instance.nodes.names[node]
        for gpu, column in np.argwhere(counts.shares[node] > 0):
            kind = int(sharing[column])
            for _ in range(int(counts.shares[node, gpu, column])):
                task = int(waiting[kind].pop())
                entries.append(
                    (task, PlacedTask(instance.tasks.names[task], name, (int(gpu),), int(classes.milli[kind])))
                )
        free = int(instance.nodes.num_gpus[node])
        for kind in np.flatnonzero((counts.placed[node] > 0) & ~classes.shares).tolist():
            for _ in range(int(counts.placed[node, kind])):
                task = int(waiting[kind].pop())
                first = free - int(classes.gpus[kind])
                gpus = tuple(range(first, free))
                free = first
                entries.append((task, PlacedTask(instance.tasks.names[task], name, gpus, int(classes.milli[kind]))))
    return Placement(tuple(entry for _, entry in sorted(entries, key=lambda pair: pair[0])))


def encode(instance: ClusterPlacement, classes: Classes, plan: Placement) -> Counts:
    """The counts of a valid ``plan`` in the order that the formulations ask for.

    Nodes of a class are equal, so its used nodes come first; GPUs of a node are equal, so the shared ones come first.
    """
    task_position = {name: i for i, name in enumerate(instance.tasks.names)}
    node_position = {name: i for i, name in enumerate(instance.nodes.names)}
    on_node: dict[int, list[PlacedTask]] = defaultdict(list)
    for entry in plan.placed:
        on_node[node_position[entry.node]].append(entry)
    column = np.cumsum(classes.shares) - 1
    widest = int(instance.nodes.num_gpus.max(initial=0))
    placed = np.zeros((len(instance.nodes), classes.num_types), np.int64)
    shares = np.zeros((len(instance.nodes), widest, int(classes.shares.sum())), np.int64)
    for members in classes.node_members:
        used = [int(node) for node in members if int(node) in on_node]
        for target, node in zip(members, used, strict=False):
            shared = sorted({p.gpus[0] for p in on_node[node] if p.gpus and p.gpu_milli < MILLI_PER_GPU})
            for entry in on_node[node]:
                kind = int(classes.task_type[task_position[entry.task]])
                placed[target, kind] += 1
                if classes.shares[kind]:
                    shares[target, shared.index(entry.gpus[0]), column[kind]] += 1
    return Counts(placed, shares)
