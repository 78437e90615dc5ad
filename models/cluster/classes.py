"""Equal tasks counted as one type, equal nodes as one class: what the formulations and the bound are written over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement

Ints = NDArray[np.int64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Classes:
    """Types of tasks and classes of nodes, with their members by position in the instance.

    ``task_type`` and ``node_class`` have one entry per task and node. The other arrays have one per type (cpu, memory,
    gpus, milli, count) or per class. ``fits[t, k]`` tells whether one task of type ``t`` can run alone on an empty node
    of class ``k``: GPU type, GPUs, CPU and memory.
    """

    task_type: Ints
    node_class: Ints
    cpu: Ints
    memory: Ints
    gpus: Ints
    milli: Ints
    count: Ints
    node_cpu: Ints
    node_memory: Ints
    node_gpus: Ints
    node_count: Ints
    fits: Booleans

    @classmethod
    def of(cls, instance: ClusterPlacement) -> Classes:
        """Group the tasks and nodes of ``instance``; the order of groups depends on the data alone."""
        nodes, tasks = instance.nodes, instance.tasks
        kinds = {kind: i for i, kind in enumerate(instance.gpu_type_names)}
        node_kind = np.array([kinds[kind] for kind in nodes.gpu_types], np.int64)
        node_rows = np.column_stack([nodes.num_gpus, nodes.cpu_milli, nodes.memory_mib, node_kind])
        node_first, node_class, node_count = _groups(node_rows)
        specs = {spec: i for i, spec in enumerate(sorted({tuple(sorted(set(a))) for a in tasks.allowed_types}))}
        spec = np.array([specs[tuple(sorted(set(a)))] for a in tasks.allowed_types], np.int64)
        task_rows = np.column_stack([tasks.num_gpus, tasks.gpu_milli, tasks.cpu_milli, tasks.memory_mib, spec])
        first, task_type, count = _groups(task_rows)
        accepts = np.array([[not s or kind in s for kind in kinds] for s in specs], bool).reshape(
            len(specs), len(kinds)
        )
        fits = (
            accepts[spec[first]][:, node_kind[node_first]]
            & (tasks.num_gpus[first, None] <= nodes.num_gpus[node_first])
            & (tasks.cpu_milli[first, None] <= nodes.cpu_milli[node_first])
            & (tasks.memory_mib[first, None] <= nodes.memory_mib[node_first])
        )
        return cls(
            task_type=task_type,
            node_class=node_class,
            cpu=tasks.cpu_milli[first],
            memory=tasks.memory_mib[first],
            gpus=tasks.num_gpus[first],
            milli=tasks.gpu_milli[first],
            count=count,
            node_cpu=nodes.cpu_milli[node_first],
            node_memory=nodes.memory_mib[node_first],
            node_gpus=nodes.num_gpus[node_first],
            node_count=node_count,
            fits=fits,
        )

    @property
    def num_types(self) -> int:
        """How many types of tasks there are."""
        return len(self.count)

    @property
    def num_classes(self) -> int:
        """How many classes of nodes there are."""
        return len(self.node_count)

    @property
    def value(self) -> Ints:
        """GPU demand of one task of each type, in milli."""
        return self.gpus * self.milli

    @cached_property
    def shares(self) -> Booleans:
        """Which types take less than one GPU."""
        return np.asarray((self.gpus == 1) & (self.milli < MILLI_PER_GPU), np.bool_)

    @cached_property
    def members(self) -> tuple[Ints, ...]:
        """Positions of the tasks of each type."""
        return _members(self.task_type, self.num_types)

    @cached_property
    def node_members(self) -> tuple[Ints, ...]:
        """Positions of the nodes of each class."""
        return _members(self.node_class, self.num_classes)

    def most_on_node(self) -> Ints:
        """How many tasks of a type fit on one empty node of a class, each resource by itself: (types, classes)."""
        most = np.repeat(self.count[:, None], self.num_classes, axis=1)
        gpu_room = np.where(
            self.shares[:, None], self.node_gpus * (MILLI_PER_GPU // np.maximum(self.milli, 1))[:, None], 0
        )
        whole_room = self.node_gpus // np.maximum(self.gpus, 1)[:, None]
        room = np.where(self.shares[:, None], gpu_room, whole_room)
        most = np.where(self.gpus[:, None] > 0, np.minimum(most, room), most)
        for size, capacity in ((self.cpu, self.node_cpu), (self.memory, self.node_memory)):
            room = capacity // np.maximum(size, 1)[:, None]
            most = np.where(size[:, None] > 0, np.minimum(most, room), most)
        return np.where(self.fits, most, 0)


def _groups(rows: Ints) -> tuple[Ints, Ints, Ints]:
    """First position of each distinct row, the group of each row, and how many rows a group has."""
    _, first, group, count = np.unique(rows, axis=0, return_index=True, return_inverse=True, return_counts=True)
    return first.astype(np.int64), group.reshape(-1).astype(np.int64), count.astype(np.int64)


def _members(group: Ints, size: int) -> tuple[Ints, ...]:
    order = np.argsort(group, kind="stable")
    return tuple(np.split(order, np.searchsorted(group[order], np.arange(1, size)))) if size else ()
