"""Why tasks cannot be placed or have to wait, in the words of the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, Placement
from apportion.instances.core import Plan
from apportion.models.cluster.explain_rules import Room, resource_reason, waiting_under_rules
from apportion.models.cluster.units import units_of
from apportion.models.explaining import Diagnosis, Explanation, Finding

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Kind:
    """Tasks that ask for the same: their positions, what one asks, and the nodes whose type it accepts."""

    tasks: Ints
    cpu_milli: int
    memory_mib: int
    num_gpus: int
    gpu_milli: int
    allowed: tuple[str, ...]
    accepted: Bools

    @property
    def demand_gpus(self) -> float:
        """What all of them ask."""
        return self.num_gpus * self.gpu_milli * len(self.tasks) / MILLI_PER_GPU

    @property
    def gpu_words(self) -> str:
        """``8 x H100``, or a share of one."""
        kind = " or ".join(self.allowed) or "GPU"
        share = f" (a share of {self.gpu_milli / MILLI_PER_GPU:g})" if 0 < self.gpu_milli < MILLI_PER_GPU else ""
        return f"{self.num_gpus} x {kind}{share}"


def explain_placement(instance: ClusterPlacement, _options: object = None, plan: Plan | None = None) -> Explanation:
    """Name tasks that no node can hold, demand beyond capacity, and with a plan why each task waits.

    A placement may leave tasks out, so a cluster always has a plan: the findings say who is left out and why.

    Examples
    --------
    >>> from apportion.instances.cluster import Nodes, Tasks
    >>> nodes = Nodes.build(["n0"], [8000], [32768], [4], ["h100"])
    >>> tasks = Tasks.build(["j7"], [1000], [1024], [8], [1000], [("h100",)])
    >>> for finding in explain_placement(ClusterPlacement("tiny", nodes, tasks)).findings:
    ...     print(finding)
    task j7 can never be placed: it asks for 8 x h100 on one node, the largest such node has 4
    the tasks ask for 8 GPUs in all, the cluster has 4: 4 GPUs must be left unserved
    """
    kinds = list(_kinds(instance))
    possible = [kind for kind in kinds if not _why_no_node(instance, kind)]
    findings: list[Finding] = []
    if isinstance(plan, Placement):
        findings = _waiting(instance, possible, plan) if instance.is_plain else waiting_under_rules(instance, plan)
    findings += [finding for kind in kinds if (finding := _never(instance, kind))]
    findings += _crowded(instance, kinds, possible)
    fits = f"{sum(len(kind.tasks) for kind in possible)} of {len(instance.tasks)} tasks fit on some empty node"
    notes = f"{fits}; all together ask for {instance.demand_gpus:g} GPUs, the cluster has {instance.capacity_gpus}."
    return Explanation(instance.name, Diagnosis.SOLVABLE, tuple(findings), notes=(notes,))


def _kinds(instance: ClusterPlacement) -> Iterator[_Kind]:
    tasks, nodes = instance.tasks, instance.nodes
    types = np.array(nodes.gpu_types, dtype=object)
    by_key: dict[tuple[int, int, int, int, tuple[str, ...]], list[int]] = {}
    columns = (tasks.cpu_milli.tolist(), tasks.memory_mib.tolist(), tasks.num_gpus.tolist(), tasks.gpu_milli.tolist())
    for position, key in enumerate(zip(*columns, tasks.allowed_types, strict=True)):
        by_key.setdefault(key, []).append(position)
    everywhere = np.ones(len(nodes), np.bool_)
    accepted: dict[tuple[str, ...], Bools] = {(): everywhere}
    for (cpu, memory, gpus, milli, allowed), where in by_key.items():
        if allowed not in accepted:
            accepted[allowed] = np.isin(types, list(allowed))
        yield _Kind(np.array(where), cpu, memory, gpus, milli, allowed, accepted[allowed])


def _never(instance: ClusterPlacement, kind: _Kind) -> Finding | None:
    """The first reason why no node, were it empty, could hold such a task."""
    reason = _why_no_node(instance, kind)
    if not reason:
        return None
    first, others = instance.tasks.names[kind.tasks[0]], len(kind.tasks) - 1
    who = f"task {first}{f' (and {others} more like it)' if others else ''}"
    return Finding(f"{who} can never be placed: it asks for {reason}", f"task {first}", kind.demand_gpus)


def _why_no_node(instance: ClusterPlacement, kind: _Kind) -> str:
    nodes, accepted = instance.nodes, kind.accepted
    if not accepted.any():
        return f"{kind.gpu_words}, the cluster has none" if kind.allowed else "a node, the cluster has none"
    such = "such node" if kind.allowed else "node"
    asks = (
        (nodes.num_gpus, kind.num_gpus, f"{kind.gpu_words} on one node", ""),
        (nodes.cpu_milli, kind.cpu_milli, f"{kind.cpu_milli / 1000:g} CPUs on one node", " CPUs"),
        (nodes.memory_mib, kind.memory_mib, f"{kind.memory_mib:g} MiB of memory on one node", " MiB"),
    )
    fits = accepted.copy()
    for offered, asked, words, unit in asks:
        most = int(offered[accepted].max())
        if most < asked:
            shown = most / 1000 if unit == " CPUs" else most
            return f"{words}, the largest {such} has {shown:g}{unit}"
        fits &= offered >= asked
    if fits.any():
        return ""
    return (
        f"{kind.gpu_words}, {kind.cpu_milli / 1000:g} CPUs and {kind.memory_mib} MiB on one node, no node has all three"
    )


def _crowded(instance: ClusterPlacement, kinds: list[_Kind], possible: list[_Kind]) -> list[Finding]:
    """Demand beyond capacity: in all, and among the tasks bound to each set of GPU types that has some."""
    found = []
    total = sum(kind.demand_gpus for kind in kinds)
    if total > instance.capacity_gpus:
        text = f"the tasks ask for {total:g} GPUs in all, the cluster has {instance.capacity_gpus}"
        short = total - instance.capacity_gpus
        found.append(Finding(f"{text}: {short:g} GPUs must be left unserved", "cluster", short, blocking=False))
    for allowed in dict.fromkeys(kind.allowed for kind in possible if kind.allowed and kind.num_gpus):
        # tasks bound to a subset of these types compete for the same GPUs
        rivals = [kind for kind in possible if kind.allowed and set(kind.allowed) <= set(allowed)]
        asked = sum(kind.demand_gpus for kind in rivals)
        has = int(instance.nodes.num_gpus[np.isin(np.array(instance.nodes.gpu_types), list(allowed))].sum())
        if asked > has:
            name = " or ".join(allowed)
            text = f"tasks bound to {name} ask for {asked:g} GPUs, the cluster has {has} of them"
            found.append(Finding(text, name, asked - has, blocking=False))
    return found


def _waiting(instance: ClusterPlacement, kinds: list[_Kind], plan: Placement) -> list[Finding]:
    """For each kind of waiting task: what the nodes that could hold it lack now."""
    placed = {entry.task for entry in plan.placed}
    room_left = Room.of(instance, plan)
    free_cpu, free_memory, load = room_left.cpu, room_left.memory, room_left.load
    unit_of = {task: unit for unit in units_of(instance) for task in unit.tasks}
    found = []
    for kind in kinds:
        waiting = [name for i in kind.tasks if (name := instance.tasks.names[i]) not in placed]
        if not waiting:
            continue
        room = (load >= 0) & (load <= MILLI_PER_GPU - max(kind.gpu_milli, 1))
        able = kind.accepted & (instance.nodes.num_gpus >= kind.num_gpus)
        able &= (instance.nodes.cpu_milli >= kind.cpu_milli) & (instance.nodes.memory_mib >= kind.memory_mib)
        lacks = {
            "free GPUs": able & (room.sum(axis=1) < kind.num_gpus),
            "free CPUs": able & (free_cpu < kind.cpu_milli),
            "free memory": able & (free_memory < kind.memory_mib),
        }
        blocked = np.logical_or.reduce(list(lacks.values()))
        who = f"task {waiting[0]}{f' (and {len(waiting) - 1} more like it)' if len(waiting) > 1 else ''}"
        if (able & ~blocked).any():
            node = instance.nodes.names[int(np.flatnonzero(able & ~blocked)[0])]
            text = f"{who} waits although node {node} has room for it: the plan can be improved"
        else:
            counts = ", ".join(f"{int(m.sum())} lack {what}" for what, m in lacks.items() if m.any())
            text = f"{who} waits: of {int(able.sum())} node(s) that could hold it {counts}"
            text += f"; {resource_reason(room_left, unit_of[int(kind.tasks[0])])}"
        found.append(Finding(text, f"task {waiting[0]}", float(len(waiting)), blocking=False))
    return found
