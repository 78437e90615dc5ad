"""A placement under rules in the making: what is free, who is where, whether one more task keeps every rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, PlacedTask, Placement
from apportion.models.cluster.quotas import QuotaLimit, quota_limits
from apportion.models.cluster.units import Unit, profile_on, units_of

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Spot:
    """Where one task of a unit was put."""

    unit: int
    node: int
    gpus: tuple[int, ...]
    start_slice: int | None


class Board:
    """Free room by node and GPU, labels by domain, quotas in use.

    ``free`` (nodes, most GPUs) is what shares may still take of each GPU in milli, 1,000 for an idle one; ``slices``
    has one bit for each memory slice that is taken. A GPU with slices is not free for others.
    """

    def __init__(self, instance: ClusterPlacement, units: tuple[Unit, ...] | None = None) -> None:
        self.instance = instance
        self.units = units_of(instance) if units is None else units
        nodes = instance.nodes
        widest = int(nodes.num_gpus.max(initial=0))
        self.cpu, self.memory = nodes.cpu_milli.copy(), nodes.memory_mib.copy()
        self.free: Ints = np.where(np.arange(widest) < nodes.num_gpus[:, None], MILLI_PER_GPU, 0).astype(np.int64)
        self.slices = np.zeros_like(self.free)
        self.idle = nodes.num_gpus.copy()
        self.waiting = [unit.count for unit in self.units]
        self.spots: list[Spot] = []
        self._limits = quota_limits(instance.rules)
        self._in_use = [0] * len(self._limits)
        self._limits_of: list[list[tuple[int, QuotaLimit]]] = [
            [(i, limit) for i, limit in enumerate(self._limits) if unit.queue in limit.members] for unit in self.units
        ]
        self._labels: dict[tuple[str, str], Counter[str]] = {}
        self._most = np.zeros((len(self.units), len(nodes)), np.int64)
        for u, unit in enumerate(self.units):
            self._most[u, list(unit.hosts)] = unit.most

    # -- what fits ---------------------------------------------------------------------------------------------------

    def capacity(self, u: int) -> Ints:
        """How many tasks of a unit each node has room for now, (nodes,); for MIG profiles perhaps too many."""
        unit, most = self.units[u], self._most[u]
        room: Ints = np.minimum(most, self.waiting[u])
        for need, left in ((unit.cpu_milli, self.cpu), (unit.memory_mib, self.memory)):
            if need:
                room = np.minimum(room, left // need)
        if unit.mig_profile:
            room = np.where((most > 0) & (self._gpus_for_slices() > 0), room, 0)
        elif unit.is_share:
            room = np.minimum(room, (self.free // unit.gpu_milli).sum(axis=1))
        elif unit.num_gpus:
            room = np.minimum(room, self.idle // unit.num_gpus)
        return room

    def _gpus_for_slices(self) -> Ints:
        usable: Ints = ((self.slices > 0) | (self.free == MILLI_PER_GPU)).sum(axis=1)
        return usable

    def _spot(self, u: int, node: int) -> Spot | None:
        """GPUs for one task of a unit: the tightest for a share or slice, else the first idle ones."""
        unit = self.units[u]
        if self._most[u, node] == 0 or self.cpu[node] < unit.cpu_milli or self.memory[node] < unit.memory_mib:
            return None
        if unit.mig_profile:
            return self._slice(u, node)
        free = self.free[node]
        if unit.is_share:
            fitting = np.flatnonzero(free >= unit.gpu_milli)
            return Spot(u, node, (int(fitting[np.argmin(free[fitting])]),), None) if len(fitting) else None
        idle = np.flatnonzero(free == MILLI_PER_GPU)[: unit.num_gpus]
        return Spot(u, node, tuple(idle.tolist()), None) if len(idle) == unit.num_gpus else None

    def _slice(self, u: int, node: int) -> Spot | None:
        kind = self.instance.nodes.gpu_types[node]
        size, starts = profile_on(self.instance, kind, self.units[u].mig_profile)
        partitioned = np.flatnonzero(self.slices[node])
        idle = np.flatnonzero(self.free[node] == MILLI_PER_GPU)
        for gpu in (*partitioned.tolist(), *reversed(idle.tolist())):
            # the last start first: the others leave whole halves
            for start in reversed(starts):
                if not int(self.slices[node, gpu]) & _bits(start, size):
                    return Spot(u, node, (gpu,), start)
        return None

    def _keeps_rules(self, u: int, node: int) -> bool:
        unit, rules = self.units[u], self.instance.rules
        kind = self.instance.nodes.gpu_types[node]
        for number, limit in self._limits_of[u]:
            if limit.gpu_type in ("", kind) and self._in_use[number] + unit.demand_milli > limit.milli:
                return False
        for affinity in rules.affinities:
            for mine, theirs in {(affinity.label, affinity.other), (affinity.other, affinity.label)}:
                if mine not in unit.labels:
                    continue
                here = self._count(affinity.level, node)[theirs]
                if affinity.apart and here:
                    return False
                if affinity.apart or mine != affinity.label:
                    continue
                elsewhere = affinity.label == affinity.other and self._total(affinity.level, theirs)
                if not here and (affinity.label != affinity.other or elsewhere):
                    return False
        return True

    def _count(self, level: str, node: int) -> Counter[str]:
        domain = self.instance.rules.domain(self.instance.nodes.names[node], level)
        return self._labels.setdefault((level, domain), Counter())

    def _total(self, level: str, label: str) -> int:
        return sum(counts[label] for (at, _), counts in self._labels.items() if at == level)

    # -- moves -------------------------------------------------------------------------------------------------------

    def place(self, u: int, node: int) -> bool:
        """Put one waiting task of a unit on a node; False, and nothing changed, when a rule forbids it."""
        spot = self._spot(u, node) if self.waiting[u] else None
        if spot is None or not self._keeps_rules(u, node):
            return False
        self.put(spot)
        return True

    def put(self, spot: Spot) -> None:
        """Put a task where it is said, without a check."""
        self._move(spot, 1)
        self.spots.append(spot)

    def keep_running(self) -> bool:
        """Leave every running task where it is; False when they do not fit together."""
        for u, unit in enumerate(self.units):
            if unit.current is not None:
                self.put(Spot(u, unit.home, unit.current.gpus, unit.current.start_slice))
        return bool((self.cpu >= 0).all() and (self.memory >= 0).all() and (self.free >= 0).all())

    def back_to(self, length: int) -> None:
        """Take away all that was put after the first ``length`` spots."""
        while len(self.spots) > length:
            self._move(self.spots.pop(), -1)

    def _move(self, spot: Spot, sign: int) -> None:
        unit, node = self.units[spot.unit], spot.node
        self.waiting[spot.unit] -= sign
        self.cpu[node] -= sign * unit.cpu_milli
        self.memory[node] -= sign * unit.memory_mib
        for gpu in spot.gpus:
            self._move_gpu(spot, unit, gpu, sign)
        self.idle[node] = int((self.free[node] == MILLI_PER_GPU).sum())
        kind = self.instance.nodes.gpu_types[node]
        for number, limit in self._limits_of[spot.unit]:
            if limit.gpu_type in ("", kind):
                self._in_use[number] += sign * unit.demand_milli
        if unit.labels:
            for level in {affinity.level for affinity in self.instance.rules.affinities}:
                for label in unit.labels:
                    self._count(level, node)[label] += sign

    def _move_gpu(self, spot: Spot, unit: Unit, gpu: int, sign: int) -> None:
        node = spot.node
        if spot.start_slice is None:
            self.free[node, gpu] -= sign * unit.gpu_milli
            return
        size = profile_on(self.instance, self.instance.nodes.gpu_types[node], unit.mig_profile)[0]
        self.slices[node, gpu] ^= _bits(spot.start_slice, size)
        self.free[node, gpu] = 0 if self.slices[node, gpu] else MILLI_PER_GPU

    def plan(self) -> Placement:
        """The plan so far, in the order of the tasks."""
        names, left = self.instance.tasks.names, [list(unit.tasks) for unit in self.units]
        entries = []
        for spot in self.spots:
            task, unit = left[spot.unit].pop(0), self.units[spot.unit]
            where = self.instance.nodes.names[spot.node]
            entries.append((task, PlacedTask(names[task], where, spot.gpus, unit.gpu_milli, spot.start_slice)))
        return Placement(tuple(entry for _, entry in sorted(entries, key=lambda row: row[0])))


def _bits(start: int, size: int) -> int:
    return ((1 << size) - 1) << start
