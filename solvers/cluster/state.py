"""The arrays of a placement under construction: what kernels work on, from a plan and back into one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, PlacedTask, Placement
from apportion.models.cluster.classes import Classes
from apportion.solvers.cluster.kernels import pack

Ints = NDArray[np.int64]


@dataclass(frozen=True, order=True)
class Score:
    """What is better, in the order of importance: the larger tuple wins."""

    served_milli: int
    tasks: int
    idle_nodes: int


def score_of(instance: ClusterPlacement, plan: Placement) -> Score:
    """What a valid plan is worth."""
    position = {name: i for i, name in enumerate(instance.tasks.names)}
    served = sum(int(instance.demand_milli[position[entry.task]]) for entry in plan.placed)
    return Score(served, len(plan.placed), len(instance.nodes) - len(plan.by_node()))


@dataclass(eq=False)
class State:
    """Free room by node and where each task is; see :mod:`~apportion.solvers.cluster.kernels` for the arrays."""

    instance: ClusterPlacement
    classes: Classes
    cpu_free: Ints
    memory_free: Ints
    gpu_free: Ints
    tasks_on: Ints
    node_of: Ints
    offset: Ints
    slots: Ints

    @classmethod
    def empty(cls, instance: ClusterPlacement, classes: Classes) -> State:
        """Nothing is placed."""
        nodes, tasks = instance.nodes, instance.tasks
        widest = int(nodes.num_gpus.max(initial=0))
        gpu_free = np.where(np.arange(widest) < nodes.num_gpus[:, None], MILLI_PER_GPU, 0).astype(np.int64)
        offset = np.concatenate([[0], np.cumsum(tasks.num_gpus)]).astype(np.int64)
        return cls(
            instance,
            classes,
            nodes.cpu_milli.copy(),
            nodes.memory_mib.copy(),
            gpu_free,
            np.zeros(len(nodes), np.int64),
            np.full(len(tasks), -1, np.int64),
            offset,
            np.full(int(offset[-1]), -1, np.int64),
        )

    @classmethod
    def of_plan(cls, instance: ClusterPlacement, classes: Classes, plan: Placement) -> State:
        """The state that a valid ``plan`` describes."""
        state = cls.empty(instance, classes)
        task_position = {name: i for i, name in enumerate(instance.tasks.names)}
        node_position = {name: i for i, name in enumerate(instance.nodes.names)}
        for entry in plan.placed:
            state.put(task_position[entry.task], node_position[entry.node], entry.gpus)
        return state

    def copy(self) -> State:
        """A copy that can be changed apart."""
        return State(
            self.instance,
            self.classes,
            self.cpu_free.copy(),
            self.memory_free.copy(),
            self.gpu_free.copy(),
            self.tasks_on.copy(),
            self.node_of.copy(),
            self.offset,
            self.slots.copy(),
        )

    def put(self, task: int, node: int, gpus: tuple[int, ...] | Ints) -> None:
        """Place a waiting ``task`` on ``gpus`` of ``node``, without a check."""
        where = np.asarray(gpus, np.int64)
        self.node_of[task] = node
        self.slots[self.offset[task] : self.offset[task + 1]] = where
        self._move(task, node, where, 1)

    def take(self, task: int) -> None:
        """Let a placed ``task`` wait again."""
        node = int(self.node_of[task])
        self.node_of[task] = -1
        self._move(task, node, self.gpus_of(task), -1)

    def _move(self, task: int, node: int, gpus: Ints, sign: int) -> None:
        tasks = self.instance.tasks
        self.cpu_free[node] -= sign * tasks.cpu_milli[task]
        self.memory_free[node] -= sign * tasks.memory_mib[task]
        self.gpu_free[node, gpus] -= sign * tasks.gpu_milli[task]
        self.tasks_on[node] += sign

    def gpus_of(self, task: int) -> Ints:
        """GPU numbers of a placed task."""
        return self.slots[self.offset[task] : self.offset[task + 1]]

    def pack(self, order: Ints, policy: int, nodes: Ints | None = None) -> int:
        """Place the waiting tasks of ``order`` greedily on ``nodes`` (all by default); return how many were."""
        tasks, classes = self.instance.tasks, self.classes
        among = np.arange(len(self.instance.nodes)) if nodes is None else np.asarray(nodes, np.int64)
        placed = pack(
            np.asarray(order, np.int64),
            among,
            policy,
            classes.task_type,
            classes.node_class,
            classes.fits,
            tasks.cpu_milli,
            tasks.memory_mib,
            tasks.num_gpus,
            tasks.gpu_milli,
            self.offset,
            self.cpu_free,
            self.memory_free,
            self.gpu_free,
            self.tasks_on,
            self.node_of,
            self.slots,
        )
        return int(placed)

    @property
    def waiting(self) -> Ints:
        """Positions of the tasks that are not placed."""
        return np.flatnonzero(self.node_of < 0)

    @property
    def score(self) -> Score:
        """What the placement is worth."""
        placed = self.node_of >= 0
        served = int(self.instance.demand_milli[placed].sum())
        return Score(served, int(placed.sum()), int((self.tasks_on == 0).sum()))

    @property
    def nodes_used(self) -> int:
        """How many nodes have a task."""
        return int((self.tasks_on > 0).sum())

    def entry(self, task: int) -> PlacedTask:
        """Where a placed task runs, in the problem's own words."""
        instance = self.instance
        return PlacedTask(
            instance.tasks.names[task],
            instance.nodes.names[self.node_of[task]],
            tuple(int(gpu) for gpu in self.gpus_of(task)),
            int(instance.tasks.gpu_milli[task]),
        )

    def plan(self) -> Placement:
        """The placement in the problem's own words, in the order of the tasks."""
        return Placement(tuple(self.entry(int(task)) for task in np.flatnonzero(self.node_of >= 0)))


def decreasing(instance: ClusterPlacement) -> Ints:
    """The tasks from large to small: by GPUs, share, CPU, memory."""
    tasks = instance.tasks
    return np.lexsort((-tasks.memory_mib, -tasks.cpu_milli, -tasks.gpu_milli, -tasks.num_gpus))
