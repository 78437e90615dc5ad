"""Placing tasks on the nodes of a GPU cluster: the data of the problem and its plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apportion.instances.cluster_rules import PlacementRules, Sizes, check_rules
from apportion.instances.core import Json, Sense
from apportion.instances.errors import Fault, PlanError
from apportion.instances.validation import FaultList

Ints = NDArray[np.int64]

MILLI_PER_GPU = 1000
"""Parts of one GPU: a share of 250 is a quarter."""
MOST_GPUS = 4096
"""The most GPUs that one node may have or one task may ask for."""
MOST_AMOUNT = 1e15
"""The largest CPU or memory figure, so that sums stay exact in 64 bits."""
_MOST_FAULTS = 5


@dataclass(frozen=True, eq=False)
class Nodes:
    """The machines, one entry each.

    Parameters
    ----------
    names
        Unique identifiers.
    cpu_milli, memory_mib
        What a node offers: thousandths of a CPU, MiB.
    num_gpus
        GPUs of a node, numbered from 0; each has 1,000 milli.
    gpu_types
        The type of a node's GPUs, such as ``"A100"``; may be empty where there is none.
    """

    names: tuple[str, ...]
    cpu_milli: Ints
    memory_mib: Ints
    num_gpus: Ints
    gpu_types: tuple[str, ...]

    @classmethod
    def build(
        cls,
        names: Iterable[str],
        cpu_milli: ArrayLike,
        memory_mib: ArrayLike,
        num_gpus: ArrayLike,
        gpu_types: Iterable[str],
    ) -> Self:
        """Make the table from any sequences; :class:`ClusterPlacement` checks it."""
        return cls(
            tuple(names), cast("Ints", cpu_milli), cast("Ints", memory_mib), cast("Ints", num_gpus), tuple(gpu_types)
        )

    def __len__(self) -> int:
        return len(self.names)

    def select(self, positions: Sequence[int] | Ints) -> Nodes:
        """The nodes at ``positions`` in that order."""
        where = np.asarray(positions, np.int64)
        names = tuple(self.names[i] for i in where)
        types = tuple(self.gpu_types[i] for i in where)
        return Nodes(names, self.cpu_milli[where], self.memory_mib[where], self.num_gpus[where], types)


@dataclass(frozen=True, eq=False)
class Tasks:
    """What asks for a place, one entry each.

    Parameters
    ----------
    names
        Unique identifiers.
    cpu_milli, memory_mib
        What a task needs on its node.
    num_gpus
        How many GPUs of one node it needs; 0 for a task that only computes on CPUs.
    gpu_milli
        What it needs of each: 1..1000; less than 1000 only for one GPU, 0 for none.
    allowed_types
        GPU types of the nodes that it accepts; empty accepts every node.
    """

    names: tuple[str, ...]
    cpu_milli: Ints
    memory_mib: Ints
    num_gpus: Ints
    gpu_milli: Ints
    allowed_types: tuple[tuple[str, ...], ...]

    @classmethod
    def build(
        cls,
        names: Iterable[str],
        cpu_milli: ArrayLike,
        memory_mib: ArrayLike,
        num_gpus: ArrayLike,
        gpu_milli: ArrayLike,
        allowed_types: Iterable[Sequence[str]] | None = None,
    ) -> Self:
        """Make the table from any sequences; :class:`ClusterPlacement` checks it."""
        named = tuple(names)
        allowed = ((),) * len(named) if allowed_types is None else tuple(tuple(a) for a in allowed_types)
        cpu, memory = cast("Ints", cpu_milli), cast("Ints", memory_mib)
        return cls(named, cpu, memory, cast("Ints", num_gpus), cast("Ints", gpu_milli), allowed)

    def __len__(self) -> int:
        return len(self.names)

    def select(self, positions: Sequence[int] | Ints) -> Tasks:
        """The tasks at ``positions`` in that order."""
        where = np.asarray(positions, np.int64)
        names = tuple(self.names[i] for i in where)
        allowed = tuple(self.allowed_types[i] for i in where)
        cpu, memory = self.cpu_milli[where], self.memory_mib[where]
        return Tasks(names, cpu, memory, self.num_gpus[where], self.gpu_milli[where], allowed)


@dataclass(frozen=True, eq=False)
class ClusterPlacement:
    """Place tasks on nodes: serve the most GPU demand, then the most tasks, then use the fewest nodes.

    The objective is the served GPU demand in GPUs: the sum of ``num_gpus * gpu_milli / 1000`` over the placed tasks.
    Among plans that are equal in it more tasks are better (tasks without GPUs count here), then fewer nodes.
    With :attr:`rules` there is more to keep than what fits, and other aims may be given.

    Examples
    --------
    >>> nodes = Nodes.build(["n0"], [8000], [32768], [2], ["T4"])
    >>> tasks = Tasks.build(["a", "b"], [1000, 1000], [1024, 1024], [1, 2], [500, 1000])
    >>> ClusterPlacement("tiny", nodes, tasks).demand_gpus
    2.5
    """

    problem: ClassVar[str] = "cluster-placement"
    name: str
    nodes: Nodes
    tasks: Tasks
    rules: PlacementRules = field(default_factory=PlacementRules)
    sense: Sense = field(default=Sense.MAXIMISE, init=False)

    def __post_init__(self) -> None:
        """Check every field once, raise all faults together; the arrays become read-only."""
        faults = FaultList(self.name or "cluster")
        object.__setattr__(self, "nodes", _checked_nodes(faults, self.nodes))
        object.__setattr__(self, "tasks", _checked_tasks(faults, self.tasks))
        faults.raise_if_any()
        if self.rules != PlacementRules():
            check_rules(faults, self.rules, self._sizes())
            faults.raise_if_any()

    def _sizes(self) -> Sizes:
        nodes, tasks = self.nodes, self.tasks
        return Sizes(
            dict(zip(nodes.names, nodes.gpu_types, strict=True)),
            dict(zip(nodes.names, nodes.num_gpus.tolist(), strict=True)),
            dict(zip(tasks.names, tasks.num_gpus.tolist(), strict=True)),
            dict(zip(tasks.names, tasks.gpu_milli.tolist(), strict=True)),
        )

    @cached_property
    def gpu_type_names(self) -> tuple[str, ...]:
        """The GPU types of the nodes, in the order of their first node."""
        return tuple(dict.fromkeys(self.nodes.gpu_types))

    @cached_property
    def demand_milli(self) -> Ints:
        """What each task asks of GPUs in all, in milli, shape (tasks,)."""
        return self.tasks.num_gpus * self.tasks.gpu_milli

    @property
    def demand_gpus(self) -> float:
        """What all tasks together ask, in GPUs."""
        return float(self.demand_milli.sum()) / MILLI_PER_GPU

    @property
    def capacity_gpus(self) -> int:
        """How many GPUs there are."""
        return int(self.nodes.num_gpus.sum())

    def restrict(self, nodes: Sequence[int] | Ints, tasks: Sequence[int] | Ints) -> ClusterPlacement:
        """The same problem on some nodes and some tasks, by position."""
        chosen_nodes, chosen_tasks = self.nodes.select(nodes), self.tasks.select(tasks)
        rules = self.rules.restrict(chosen_nodes.names, chosen_tasks.names)
        return ClusterPlacement(self.name, chosen_nodes, chosen_tasks, rules)

    @property
    def is_plain(self) -> bool:
        """Whether tasks only have to fit; see :class:`~apportion.instances.cluster_rules.PlacementRules`."""
        return self.rules.is_plain

    def summary(self) -> dict[str, object]:
        """What a person wants to know first."""
        kinds = Counter(zip(self.nodes.gpu_types, self.nodes.num_gpus.tolist(), strict=True))
        shared = (self.tasks.num_gpus == 1) & (self.tasks.gpu_milli < MILLI_PER_GPU)
        return {
            "nodes": len(self.nodes),
            "GPUs": self.capacity_gpus,
            "kinds of nodes": ", ".join(f"{n} x {gpus} {kind or 'untyped'}" for (kind, gpus), n in kinds.most_common()),
            "tasks": len(self.tasks),
            "tasks without GPU": int((self.tasks.num_gpus == 0).sum()),
            "tasks that share a GPU": int(shared.sum()),
            "tasks on several GPUs": int((self.tasks.num_gpus > 1).sum()),
            "tasks bound to GPU types": sum(1 for allowed in self.tasks.allowed_types if allowed),
            "GPU demand / capacity": _ratio(self.demand_gpus, self.capacity_gpus),
            "CPU demand / capacity": _ratio(self.tasks.cpu_milli.sum(), self.nodes.cpu_milli.sum()),
            "memory demand / capacity": _ratio(self.tasks.memory_mib.sum(), self.nodes.memory_mib.sum()),
        }


def _ratio(demand: float | np.integer, capacity: float | np.integer) -> float:
    return round(float(demand) / float(capacity), 4) if capacity else float("inf") if demand else 0.0


def _checked_nodes(faults: FaultList, nodes: Nodes) -> Nodes:
    most = {"cpu_milli": MOST_AMOUNT, "memory_mib": MOST_AMOUNT, "num_gpus": MOST_GPUS}
    cpu, memory, gpus = _amounts(faults, "nodes", nodes, most)
    _check_names(faults, "nodes", nodes.names)
    fits = len(nodes.gpu_types) == len(nodes.names)
    faults.require(fits, "nodes.gpu_types", f"must have {len(nodes.names)} entries", len(nodes.gpu_types))
    for position, kind in enumerate(nodes.gpu_types):
        faults.require(isinstance(kind, str), f"nodes[{position}].gpu_type", "must be a text", kind)
    return Nodes(nodes.names, cpu, memory, gpus, nodes.gpu_types)


def _checked_tasks(faults: FaultList, tasks: Tasks) -> Tasks:
    most = {"cpu_milli": MOST_AMOUNT, "memory_mib": MOST_AMOUNT, "num_gpus": MOST_GPUS, "gpu_milli": MILLI_PER_GPU}
    cpu, memory, gpus, milli = _amounts(faults, "tasks", tasks, most)
    _check_names(faults, "tasks", tasks.names)
    fits = len(tasks.allowed_types) == len(tasks.names)
    faults.require(fits, "tasks.allowed_types", f"must have {len(tasks.names)} entries", len(tasks.allowed_types))
    for position, allowed in enumerate(tasks.allowed_types):
        good = isinstance(allowed, tuple) and all(isinstance(kind, str) and kind for kind in allowed)
        faults.require(good, f"tasks[{position}].allowed_types", "must be names of GPU types", allowed)
    _check_shares(faults, gpus, milli)
    return Tasks(tasks.names, cpu, memory, gpus, milli, tasks.allowed_types)


def _amounts(faults: FaultList, table: str, rows: Nodes | Tasks, most: dict[str, float]) -> list[Ints]:
    """The columns named by ``most`` as read-only 64-bit integers within 0 and their bound."""
    shape = (len(rows.names),)
    columns = []
    for column, upper in most.items():
        checked = faults.array(f"{table}.{column}", getattr(rows, column), shape=shape, lower=0, upper=upper)
        numbers = checked.astype(np.float64)
        usable = np.isfinite(numbers)
        broken = np.flatnonzero(usable & (numbers != np.floor(numbers)))
        for position in broken[:_MOST_FAULTS]:
            faults.add(f"{table}.{column}[{position}]", "must be a whole number", float(numbers[position]))
        whole = np.where(usable, np.clip(np.nan_to_num(numbers), 0, MOST_AMOUNT), 0).astype(np.int64)
        whole.setflags(write=False)
        columns.append(whole)
    return columns


def _check_names(faults: FaultList, table: str, names: tuple[str, ...]) -> None:
    for position, name in enumerate(names):
        good = isinstance(name, str) and bool(name)
        faults.require(good, f"{table}[{position}].name", "must be a text that is not empty", name)
    faults.unique(table, names)


def _check_shares(faults: FaultList, gpus: Ints, milli: Ints) -> None:
    rules = (
        ((gpus == 0) & (milli > 0), "must be 0 for a task without GPUs", "num_gpus is missing"),
        ((gpus > 0) & (milli == 0), "must be at least 1 for a task with GPUs", "1000 is a whole GPU"),
        ((gpus > 1) & (milli > 0) & (milli < MILLI_PER_GPU), "must be 1000 for a task on several GPUs", ""),
    )
    for bad, message, hint in rules:
        where = np.flatnonzero(bad)
        for position in where[:_MOST_FAULTS]:
            faults.add(f"tasks[{position}].gpu_milli", message, int(milli[position]), hint)
        if len(where) > _MOST_FAULTS:
            faults.add("tasks.gpu_milli", f"{len(where) - _MOST_FAULTS} more entries: {message}")


@dataclass(frozen=True)
class PlacedTask:
    """Where one task runs: its node, the GPUs there by number, and what it takes of each in milli.

    ``start_slice`` is the first memory slice of a MIG instance, None for all others.
    """

    task: str
    node: str
    gpus: tuple[int, ...] = ()
    gpu_milli: int = 0
    start_slice: int | None = None


@dataclass(frozen=True)
class Placement:
    """The plan: every placed task with its node and GPUs; tasks that are left out wait."""

    problem: ClassVar[str] = "cluster-placement"
    placed: tuple[PlacedTask, ...] = ()

    def by_node(self) -> dict[str, list[PlacedTask]]:
        """The placed tasks of each node that is used, in the order of the plan."""
        found: dict[str, list[PlacedTask]] = {}
        for entry in self.placed:
            found.setdefault(entry.node, []).append(entry)
        return found

    def gpu_load(self, instance: ClusterPlacement) -> NDArray[np.int64]:
        """Milli in use by node and GPU, shape (nodes, most GPUs of a node); -1 where a node has no such GPU."""
        position = {name: i for i, name in enumerate(instance.nodes.names)}
        widest = int(instance.nodes.num_gpus.max(initial=0))
        load = np.where(np.arange(widest) < instance.nodes.num_gpus[:, None], 0, -1).astype(np.int64)
        for entry in self.placed:
            for gpu in entry.gpus:
                load[position[entry.node], gpu] += entry.gpu_milli
        return load

    def to_dict(self) -> Json:
        """JSON-ready data: ``{"placed": [{"task", "node", "gpus", "gpu_milli"}, ...]}``, MIG with ``start_slice``."""
        rows = [
            {"task": p.task, "node": p.node, "gpus": list(p.gpus), "gpu_milli": p.gpu_milli}
            | ({} if p.start_slice is None else {"start_slice": p.start_slice})
            for p in self.placed
        ]
        return {"placed": rows}

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Rebuild from :meth:`to_dict`; name every entry that cannot be read."""
        rows = data.get("placed")
        if not isinstance(rows, list):
            raise PlanError("plan", [Fault("placed", "must be a list of placed tasks", rows)])
        faults = [Fault(f"placed[{i}]", _ENTRY, row) for i, row in enumerate(rows) if not _is_entry(row)]
        if faults:
            raise PlanError("plan", faults[:_MOST_FAULTS])
        return cls(
            tuple(
                PlacedTask(r["task"], r["node"], tuple(r["gpus"]), r["gpu_milli"], r.get("start_slice")) for r in rows
            )
        )


_ENTRY = "must hold task, node (texts), gpus (a list of whole numbers) and gpu_milli (a whole number)"
_ENTRY_KEYS = frozenset({"task", "node", "gpus", "gpu_milli"})


def _is_entry(row: object) -> bool:
    if not isinstance(row, dict) or set(row) - {"start_slice"} != _ENTRY_KEYS:
        return False
    if type(row.get("start_slice", 0)) is not int:
        return False
    texts = isinstance(row["task"], str) and isinstance(row["node"], str)
    numbers = isinstance(row["gpus"], list) and all(type(gpu) is int for gpu in row["gpus"])
    return texts and numbers and type(row["gpu_milli"]) is int
