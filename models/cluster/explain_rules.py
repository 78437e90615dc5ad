"""Why gangs and tasks wait: the quota, level or resource that is short, and the least change that would start them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, PlacedTask, Placement
from apportion.models.cluster.quotas import quota_limits
from apportion.models.cluster.units import Unit, profile_on, units_of
from apportion.models.explaining import Finding

Ints = NDArray[np.int64]

_MOST_NODES = 40
_MOST_TRIED = 12


@dataclass(frozen=True)
class Stop:
    """Tasks of one node that would have to leave it for a task to start there."""

    node: str
    tasks: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join(self.tasks[:3]) + (f" and {len(self.tasks) - 3} more" if len(self.tasks) > 3 else "")
        return f"stop {names} on node {self.node}"


@dataclass(frozen=True, eq=False)
class Room:
    """What a plan leaves free: CPU and memory by node, the load of each GPU in milli (-1 where there is none)."""

    instance: ClusterPlacement
    plan: Placement
    cpu: Ints
    memory: Ints
    load: Ints
    task_at: dict[str, int]

    @classmethod
    def of(cls, instance: ClusterPlacement, plan: Placement) -> Room:
        """Of a plan that the instance knows."""
        node_at = {name: i for i, name in enumerate(instance.nodes.names)}
        task_at = {name: i for i, name in enumerate(instance.tasks.names)}
        cpu, memory = instance.nodes.cpu_milli.copy(), instance.nodes.memory_mib.copy()
        load = Placement().gpu_load(instance)
        for entry in plan.placed:
            node, task = node_at[entry.node], task_at[entry.task]
            cpu[node] -= instance.tasks.cpu_milli[task]
            memory[node] -= instance.tasks.memory_mib[task]
            whole = instance.rules.task(entry.task).mig_profile
            for gpu in entry.gpus:
                # a partitioned GPU is not for others
                load[node, gpu] += MILLI_PER_GPU if whole else entry.gpu_milli
        return cls(instance, plan, cpu, memory, load, task_at)

    def holds_without(self, unit: Unit, node: int, here: list[PlacedTask], leaving: Iterable[PlacedTask]) -> bool:
        """Whether a task of a unit fits on a node when some of the tasks ``here`` leave it."""
        gone = {entry.task for entry in leaving}
        tasks = [self.task_at[name] for name in gone]
        cpu = int(self.cpu[node]) + int(self.instance.tasks.cpu_milli[tasks].sum())
        memory = int(self.memory[node]) + int(self.instance.tasks.memory_mib[tasks].sum())
        if cpu < unit.cpu_milli or memory < unit.memory_mib:
            return False
        load = [0] * int(self.instance.nodes.num_gpus[node])
        for entry in here:
            if entry.task not in gone:
                parted = bool(self.instance.rules.task(entry.task).mig_profile)
                for gpu in entry.gpus:
                    load[gpu] += MILLI_PER_GPU if parted else entry.gpu_milli
        if unit.is_share:
            return any(taken + unit.gpu_milli <= MILLI_PER_GPU for taken in load)
        return load.count(0) >= unit.num_gpus

    def capacity(self, unit: Unit) -> Ints:
        """How many tasks of a unit each node has room for beside what runs, (nodes,)."""
        most: Ints = np.zeros(len(self.cpu), np.int64)
        most[list(unit.hosts)] = unit.most
        for need, left in ((unit.cpu_milli, self.cpu), (unit.memory_mib, self.memory)):
            if need:
                most = np.minimum(most, np.maximum(left, 0) // need)
        idle = (self.load == 0).sum(axis=1)
        if unit.is_share:
            free = np.where(self.load >= 0, MILLI_PER_GPU - self.load, 0)
            most = np.minimum(most, (np.maximum(free, 0) // unit.gpu_milli).sum(axis=1))
        elif unit.mig_profile:
            slots = [len(profile_on(self.instance, k, unit.mig_profile)[1]) for k in self.instance.nodes.gpu_types]
            most = np.minimum(most, idle * np.array(slots, np.int64))
        elif unit.num_gpus:
            most = np.minimum(most, idle // unit.num_gpus)
        return most

    def shortest_gpus(self, unit: Unit) -> tuple[int, int]:
        """The node that lacks the fewest GPUs for one task, and how many; -1 when no node could ever hold it."""
        if not unit.hosts or not unit.num_gpus or unit.is_share or unit.mig_profile:
            return (unit.hosts[0] if unit.hosts else -1), 0
        short = unit.num_gpus - (self.load[list(unit.hosts)] == 0).sum(axis=1)
        best = int(np.argmin(short))
        return unit.hosts[best], max(0, int(short[best]))


def least_stop(room: Room, unit: Unit) -> Stop | None:
    """The fewest tasks of one node whose stop would let one task of ``unit`` start there; None when none may stop.

    Tasks that run and may not be preempted stay, and so do tasks of the same or a higher priority when there are
    priorities. Up to three tasks are found exactly among the first dozen of a node, more by size.
    """
    instance, best = room.instance, None
    on: dict[str, list[PlacedTask]] = room.plan.by_node()
    busy = (room.load > 0).sum(axis=1)
    hosts = sorted(unit.hosts, key=lambda n: (busy[n], n))[:_MOST_NODES]
    for node in hosts:
        may = [entry for entry in on.get(instance.nodes.names[node], []) if _may_stop(instance, entry, unit)]
        most = len(best.tasks) - 1 if best else len(may)
        found = _fewest(room, unit, node, on.get(instance.nodes.names[node], []), may, most)
        if found:
            best = Stop(instance.nodes.names[node], tuple(entry.task for entry in found))
            if len(found) == 1:
                break
    return best


def _may_stop(instance: ClusterPlacement, entry: PlacedTask, unit: Unit) -> bool:
    rule = instance.rules.task(entry.task)
    if rule.current is not None and not rule.preemptible:
        return False
    return instance.is_plain or rule.priority < unit.priority


def _fewest(
    room: Room, unit: Unit, node: int, here: list[PlacedTask], may: list[PlacedTask], most: int
) -> list[PlacedTask]:
    for size in range(1, min(3, most, len(may)) + 1):
        for leaving in combinations(may[:_MOST_TRIED], size):
            if room.holds_without(unit, node, here, leaving):
                return list(leaving)
    by_size = sorted(may, key=lambda entry: -len(entry.gpus) * entry.gpu_milli)
    for size in range(4, min(most, len(may)) + 1):
        if room.holds_without(unit, node, here, by_size[:size]):
            return by_size[:size]
    return []


def waiting_under_rules(instance: ClusterPlacement, plan: Placement) -> list[Finding]:
    """One finding for each gang and each kind of single task that waits."""
    placed = {entry.task for entry in plan.placed}
    room = Room.of(instance, plan)
    groups: dict[str, list[Unit]] = {}
    for u, unit in enumerate(units_of(instance)):
        groups.setdefault(unit.gang or f"\n{u}", []).append(unit)
    found = []
    for units in groups.values():
        names = [instance.tasks.names[t] for unit in units for t in unit.tasks if instance.tasks.names[t] not in placed]
        if not names:
            continue
        gang = units[0].gang
        others = f" (and {len(names) - 1} more like it)" if len(names) > 1 else ""
        who = f"gang {gang} ({len(names)} tasks)" if gang else f"task {names[0]}{others}"
        reasons = list(_reasons(instance, room, units, placed))
        text = f"{who} waits: {'; '.join(reasons)}"
        found.append(Finding(text, f"gang {gang}" if gang else f"task {names[0]}", float(len(names)), blocking=False))
    return found


def _reasons(instance: ClusterPlacement, room: Room, units: list[Unit], placed: set[str]) -> Iterator[str]:
    """What is short, the first of: no node at all, quota, affinity, topology, resources of a node."""
    homeless = [unit for unit in units if not unit.hosts]
    if homeless:
        yield f"no node could ever hold {homeless[0].num_gpus} x GPU of the kind that it asks for"
        return
    quota = list(_quota_reasons(instance, room, units, placed))
    yield from quota
    if units[0].gang:
        text = _topology_reason(instance, room, units)
        if text or not quota:
            yield text or "each level has room for it: affinity keeps it away, or the plan can be improved"
        return
    unit = units[0]
    apart = _kept_away(instance, room, unit)
    free = room.capacity(unit)
    if (free > 0).any():
        blocked = [n for n in np.flatnonzero(free).tolist() if n in apart]
        if len(blocked) == int((free > 0).sum()):
            yield f"anti-affinity keeps it from {len(blocked)} node(s) that have room"
        elif not quota:
            node = instance.nodes.names[int(np.flatnonzero(free)[0])]
            yield f"node {node} has room for it: the plan can be improved"
        return
    yield resource_reason(room, unit)


def resource_reason(room: Room, unit: Unit) -> str:
    """How near the nearest node is, and the least stop that would start one task of a unit."""
    node, short = room.shortest_gpus(unit)
    names = room.instance.nodes.names
    words = f"node {names[node]} is nearest, {short} GPUs short" if short else "no node has room for it"
    stop = least_stop(room, unit)
    return f"{words}; least change: {stop}" if stop else f"{words}; nothing that may stop would make room"


def _quota_reasons(instance: ClusterPlacement, room: Room, units: list[Unit], placed: set[str]) -> Iterator[str]:
    kind_of = dict(zip(instance.nodes.names, instance.nodes.gpu_types, strict=True))
    one = not units[0].gang
    for limit in quota_limits(instance.rules):
        mine = [unit for unit in units if unit.queue in limit.members]
        asks = 0
        for unit in mine:
            kinds = {instance.nodes.gpu_types[n] for n in unit.hosts}
            if limit.gpu_type in ("", *(kinds if len(kinds) == 1 else ())):
                waiting = sum(instance.tasks.names[t] not in placed for t in unit.tasks)
                asks += unit.demand_milli * (min(1, waiting) if one else waiting)
        used = sum(
            int(instance.demand_milli[room.task_at[entry.task]])
            for entry in room.plan.placed
            if instance.rules.task(entry.task).queue in limit.members and limit.gpu_type in ("", kind_of[entry.node])
        )
        short = used + asks - limit.milli
        if asks and short > 0:
            what = f"{limit.gpu_type} " if limit.gpu_type else ""
            yield (
                f"quota of {limit.queue}: {used / MILLI_PER_GPU:g} of {limit.milli / MILLI_PER_GPU:g} {what}GPUs are "
                f"in use, {short / MILLI_PER_GPU:g} GPUs short; least change: raise it, or lend it, by that many"
            )


def _topology_reason(instance: ClusterPlacement, room: Room, units: list[Unit]) -> str:
    """How many tasks of a gang the best domain of its worst level holds; empty when it holds all."""
    gang = next(g for g in instance.rules.gangs if g.name == units[0].gang)
    level = gang.worst_level
    domains: dict[str, list[int]] = {}
    for node, name in enumerate(instance.nodes.names):
        domains.setdefault(instance.rules.domain(name, level) if level else "the cluster", []).append(node)
    wanted = sum(unit.count for unit in units)
    best, most = "", -1
    capacity = [room.capacity(unit) for unit in units]
    for domain, nodes in domains.items():
        held = sum(min(unit.count, int(c[nodes].sum())) for unit, c in zip(units, capacity, strict=True))
        if held > most:
            best, most = domain, held
    if most >= wanted:
        return ""
    gpus = sum(unit.num_gpus * unit.count for unit in units) // max(wanted, 1) * (wanted - most)
    where = f"{level} {best}, the best," if level else best
    text = f"{where} has room for {most} of its {wanted} tasks, {gpus} GPUs short"
    everywhere = sum(min(unit.count, int(c.sum())) for unit, c in zip(units, capacity, strict=True))
    if level and everywhere >= wanted:
        return f"{text}; least change: tolerate a level wider than {level}, across which all fit"
    stop = least_stop(room, units[0])
    return f"{text}; least change for one more task: {stop}" if stop else text


def _kept_away(instance: ClusterPlacement, room: Room, unit: Unit) -> set[int]:
    """Nodes that an anti-affinity forbids a task of a unit."""
    away: set[int] = set()
    for affinity in instance.rules.affinities:
        for mine, other in ((affinity.label, affinity.other), (affinity.other, affinity.label)):
            if not affinity.apart or mine not in unit.labels:
                continue
            taken = {
                instance.rules.domain(entry.node, affinity.level)
                for entry in room.plan.placed
                if other in instance.rules.task(entry.task).labels
            }
            names = instance.nodes.names
            away |= {n for n, name in enumerate(names) if instance.rules.domain(name, affinity.level) in taken}
    return away
