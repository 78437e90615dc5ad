"""Tasks that are alike in every rule, counted as one unit; each running task is a unit of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement
from apportion.instances.cluster_rules import MIG_MODELS, Position


@dataclass(frozen=True)
class Unit:
    """``tasks`` (positions) that may be exchanged, what one of them needs, and the nodes that may host it.

    ``most`` is how many of them fit on each node of ``hosts`` when it is empty; ``current`` is for a running task,
    which is alone in its unit.
    """

    tasks: tuple[int, ...]
    gang: str
    cpu_milli: int
    memory_mib: int
    num_gpus: int
    gpu_milli: int
    queue: str
    labels: tuple[str, ...]
    value: float
    priority: int
    mig_profile: str
    hosts: tuple[int, ...]
    most: tuple[int, ...]
    current: Position | None
    home: int
    preemptible: bool
    migration_cost: float

    @property
    def count(self) -> int:
        """How many tasks."""
        return len(self.tasks)

    @property
    def demand_milli(self) -> int:
        """GPU demand of one task."""
        return self.num_gpus * self.gpu_milli

    @property
    def is_share(self) -> bool:
        """Whether a task takes a part of a GPU that others may share."""
        return self.num_gpus == 1 and self.gpu_milli < MILLI_PER_GPU and not self.mig_profile


def units_of(instance: ClusterPlacement) -> tuple[Unit, ...]:
    """Group the tasks of ``instance``, in the order of their first."""
    rules, tasks = instance.rules, instance.tasks
    gang_of = {task: gang.name for gang in rules.gangs for task in gang.tasks}
    groups: dict[tuple[object, ...], list[int]] = {}
    for position, name in enumerate(tasks.names):
        rule = rules.task(name)
        key = (
            gang_of.get(name, ""),
            int(tasks.cpu_milli[position]),
            int(tasks.memory_mib[position]),
            int(tasks.num_gpus[position]),
            int(tasks.gpu_milli[position]),
            tuple(sorted(set(tasks.allowed_types[position]))),
            rule.queue,
            rule.labels,
            rule.value,
            rule.priority,
            rule.mig_profile,
            position if rule.current is not None else -1,
        )
        groups.setdefault(key, []).append(position)
    return tuple(_unit(instance, members, gang_of) for members in groups.values())


def _unit(instance: ClusterPlacement, members: list[int], gang_of: dict[str, str]) -> Unit:
    first, tasks, nodes = members[0], instance.tasks, instance.nodes
    name = tasks.names[first]
    rule = instance.rules.task(name)
    cpu, memory = int(tasks.cpu_milli[first]), int(tasks.memory_mib[first])
    gpus, milli = int(tasks.num_gpus[first]), int(tasks.gpu_milli[first])
    most = np.full(len(nodes), len(members), np.int64)
    for need, room in ((cpu, nodes.cpu_milli), (memory, nodes.memory_mib)):
        if need:
            most = np.minimum(most, room // need)
    if rule.mig_profile:
        per_gpu = [_instances_per_gpu(instance, kind, rule.mig_profile) for kind in nodes.gpu_types]
        most = np.minimum(most, nodes.num_gpus * np.array(per_gpu, np.int64))
    elif gpus:
        room = nodes.num_gpus * (MILLI_PER_GPU // milli) if gpus == 1 else nodes.num_gpus // gpus
        most = np.minimum(most, room)
    allowed = tasks.allowed_types[first]
    if allowed:
        most = np.where(np.isin(np.array(nodes.gpu_types, dtype=object), list(allowed)), most, 0)
    hosts = np.flatnonzero(most)
    home = -1 if rule.current is None else nodes.names.index(rule.current.node)
    value = gpus * milli / MILLI_PER_GPU * (1 + rule.priority) if rule.value is None else rule.value
    return Unit(
        tuple(members),
        gang_of.get(name, ""),
        cpu,
        memory,
        gpus,
        milli,
        rule.queue,
        rule.labels,
        value,
        rule.priority,
        rule.mig_profile,
        tuple(hosts.tolist()),
        tuple(most[hosts].tolist()),
        rule.current,
        home,
        rule.preemptible,
        rule.migration_cost,
    )


def profile_on(instance: ClusterPlacement, gpu_type: str, profile: str) -> tuple[int, tuple[int, ...]]:
    """Memory slices and allowed starts of a MIG profile on GPUs of a type; (0, ()) where there is no such profile."""
    return MIG_MODELS.get(instance.rules.mig_models.get(gpu_type, ""), {}).get(profile, (0, ()))


def _instances_per_gpu(instance: ClusterPlacement, gpu_type: str, profile: str) -> int:
    return len(profile_on(instance, gpu_type, profile)[1])
