"""The independent check of a placement: from the data alone, one task and one node at a time."""

from __future__ import annotations

from collections import defaultdict

from apportion.instances.cluster import ClusterPlacement, PlacedTask, Placement
from apportion.instances.core import Sense
from apportion.models.cluster.rules_check import aim_value, measured_terms, rule_violations
from apportion.models.verdict import Verdict, Violation

_WHOLE = 1000


def check(instance: ClusterPlacement, plan: Placement) -> Verdict:
    """Verify ``plan`` and recompute what it serves.

    Rules: ``unknown_task``, ``unknown_node``, ``task_placed_twice``, ``gpu_type``, ``gpu_count``, ``gpu_share``,
    ``gpu_unknown``, ``gpu_repeated``, ``cpu``, ``memory``, ``gpu_capacity``. Measures: ``tasks_served``, ``tasks``,
    ``nodes_used``, ``demand_gpus``, ``capacity_gpus``. With rules beyond fitting also those of
    :func:`~apportion.models.cluster.rules_check.rule_violations`, and every term as a measure.
    """
    violations: list[Violation] = []
    task_position = {name: i for i, name in enumerate(instance.tasks.names)}
    node_position = {name: i for i, name in enumerate(instance.nodes.names)}
    known: list[tuple[PlacedTask, int, int]] = []
    seen: set[str] = set()
    for entry in plan.placed:
        if entry.task not in task_position:
            violations.append(Violation("unknown_task", entry.task, 1, "tasks"))
        elif entry.task in seen:
            violations.append(Violation("task_placed_twice", entry.task, 1, "tasks"))
        elif entry.node not in node_position:
            violations.append(Violation("unknown_node", f"{entry.task} on {entry.node}", 1, "nodes"))
        else:
            known.append((entry, task_position[entry.task], node_position[entry.node]))
        seen.add(entry.task)
    for entry, task, node in known:
        violations += _task_violations(instance, entry, task, node)
    violations += _node_violations(instance, known)
    verdict = _verdict(instance, known, violations)
    if instance.is_plain:
        return verdict
    entries = [entry for entry, _, _ in known]
    terms = measured_terms(instance, entries)
    violations += rule_violations(instance, entries)
    return Verdict(aim_value(instance, terms), Sense.MAXIMISE, tuple(violations), {**verdict.measures, **terms})


def _task_violations(instance: ClusterPlacement, entry: PlacedTask, task: int, node: int) -> list[Violation]:
    """What one task has wrong by itself."""
    found = []
    place = f"{entry.task} on {entry.node}"
    allowed = instance.tasks.allowed_types[task]
    if allowed and instance.nodes.gpu_types[node] not in allowed:
        found.append(Violation("gpu_type", place, 1, "types"))
    wanted = int(instance.tasks.num_gpus[task])
    if len(entry.gpus) != wanted:
        found.append(Violation("gpu_count", place, abs(len(entry.gpus) - wanted), "GPUs"))
    share = int(instance.tasks.gpu_milli[task])
    if entry.gpu_milli != share:
        found.append(Violation("gpu_share", place, abs(entry.gpu_milli - share), "milli"))
    outside = [gpu for gpu in entry.gpus if not 0 <= gpu < int(instance.nodes.num_gpus[node])]
    if outside:
        found.append(Violation("gpu_unknown", f"{place}, GPU {outside[0]}", len(outside), "GPUs"))
    repeated = len(entry.gpus) - len(set(entry.gpus))
    if repeated:
        found.append(Violation("gpu_repeated", place, repeated, "GPUs"))
    return found


def _node_violations(instance: ClusterPlacement, known: list[tuple[PlacedTask, int, int]]) -> list[Violation]:
    """What the tasks of one node have wrong together, with the shares that the tasks need by the data."""
    cpu: dict[int, int] = defaultdict(int)
    memory: dict[int, int] = defaultdict(int)
    load: dict[tuple[int, int], int] = defaultdict(int)
    for entry, task, node in known:
        cpu[node] += int(instance.tasks.cpu_milli[task])
        memory[node] += int(instance.tasks.memory_mib[task])
        # slices of MIG are counted as such, not in milli
        for gpu in () if instance.rules.task(entry.task).mig_profile else entry.gpus:
            load[node, gpu] += int(instance.tasks.gpu_milli[task])
    found = []
    names = instance.nodes.names
    for node in sorted(cpu):
        excess = cpu[node] - int(instance.nodes.cpu_milli[node])
        if excess > 0:
            found.append(Violation("cpu", names[node], excess, "milli"))
        excess = memory[node] - int(instance.nodes.memory_mib[node])
        if excess > 0:
            found.append(Violation("memory", names[node], excess, "MiB"))
    for node, gpu in sorted(load):
        if load[node, gpu] > _WHOLE:
            found.append(Violation("gpu_capacity", f"{names[node]}, GPU {gpu}", load[node, gpu] - _WHOLE, "milli"))
    return found


def _verdict(
    instance: ClusterPlacement, known: list[tuple[PlacedTask, int, int]], violations: list[Violation]
) -> Verdict:
    tasks = instance.tasks
    served = sum(int(tasks.num_gpus[task]) * int(tasks.gpu_milli[task]) for _, task, _ in known)
    demand = sum(int(gpus) * int(milli) for gpus, milli in zip(tasks.num_gpus, tasks.gpu_milli, strict=True))
    measures = {
        "tasks_served": float(len(known)),
        "tasks": float(len(tasks)),
        "nodes_used": float(len({node for _, _, node in known})),
        "demand_gpus": demand / _WHOLE,
        "capacity_gpus": float(sum(int(gpus) for gpus in instance.nodes.num_gpus)),
    }
    return Verdict(served / _WHOLE, Sense.MAXIMISE, tuple(violations), measures)
