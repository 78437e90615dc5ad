"""Cluster placement for CP-SAT: the variables of the array program as integers, linear constraints in milli and MiB."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, Placement
from apportion.models.cluster.classes import Classes
from apportion.models.cluster.counts import Counts, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

_Key = tuple[int, ...]


@dataclass(eq=False)
class PlacementCp:
    """The CP-SAT model with its variables by node, type and GPU, and its objectives as linear expressions."""

    instance: ClusterPlacement
    classes: Classes
    model: Any
    place: dict[_Key, Any]
    share: dict[_Key, Any]
    shared: dict[_Key, Any]
    used: list[Any]

    @property
    def served_milli(self) -> Any:
        """GPU demand of the placed tasks, in milli."""
        value = self.classes.value
        return sum(int(value[t]) * variable for (_, t), variable in self.place.items() if value[t])

    @property
    def served_tasks(self) -> Any:
        """How many tasks are placed."""
        return sum(self.place.values())

    @property
    def nodes_used(self) -> Any:
        """How many nodes run anything."""
        return sum(self.used)

    def decode(self, value: Callable[[Any], int]) -> Placement:
        """The plan of a solution; ``value`` gives the value of a variable."""
        nodes = len(self.instance.nodes)
        widest = int(self.instance.nodes.num_gpus.max(initial=0))
        placed = np.zeros((nodes, self.classes.num_types), np.int64)
        shares = np.zeros((nodes, widest, int(self.classes.shares.sum())), np.int64)
        column = np.cumsum(self.classes.shares) - 1
        for key, variable in self.place.items():
            placed[key] = value(variable)
        for (node, gpu, kind), variable in self.share.items():
            shares[node, gpu, column[kind]] = value(variable)
        return decode(self.instance, self.classes, Counts(placed, shares))

    def hint(self, plan: Placement) -> None:
        """Start the search from a valid plan, with equal nodes exchanged."""
        counts = encode(self.instance, self.classes, plan)
        column = np.cumsum(self.classes.shares) - 1
        self.model.clear_hints()
        for key, variable in self.place.items():
            self.model.add_hint(variable, int(counts.placed[key]))
        for (node, gpu, kind), variable in self.share.items():
            self.model.add_hint(variable, int(counts.shares[node, gpu, column[kind]]))
        for (node, gpu), variable in self.shared.items():
            self.model.add_hint(variable, bool(counts.shares[node, gpu].any()))
        for node, variable in enumerate(self.used):
            self.model.add_hint(variable, bool(counts.placed[node].any()))


def placement_cp(instance: ClusterPlacement, classes: Classes | None = None) -> PlacementCp:
    """Write the constraints of ``instance``; the caller chooses the objective and adds floors."""
    from ortools.sat.python import cp_model

    classes = classes or Classes.of(instance)
    built = PlacementCp(instance, classes, cp_model.CpModel(), {}, {}, {}, [])
    most = classes.most_on_node()
    for node in range(len(instance.nodes)):
        _node(built, node, most[:, classes.node_class[node]])
    _demand(built)
    _equal_nodes_in_order(built)
    return built


def _node(built: PlacementCp, node: int, most: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    """Variables and capacities of one node."""
    model, classes, nodes = built.model, built.classes, built.instance.nodes
    used = model.new_bool_var(f"used_{node}")
    built.used.append(used)
    kinds = [int(t) for t in np.flatnonzero(most)]
    for t in kinds:
        built.place[node, t] = model.new_int_var(0, int(most[t]), f"place_{node}_{t}")
        if not (classes.cpu[t] or classes.memory[t] or classes.gpus[t]):
            model.add(built.place[node, t] <= int(most[t]) * used)
    for size, capacity in ((classes.cpu, nodes.cpu_milli[node]), (classes.memory, nodes.memory_mib[node])):
        model.add(sum(int(size[t]) * built.place[node, t] for t in kinds) <= int(capacity) * used)
    sharing = [t for t in kinds if classes.shares[t]]
    gpus = range(int(nodes.num_gpus[node])) if sharing else range(0)
    for gpu in gpus:
        _gpu(built, node, gpu, sharing, most)
    for t in sharing:
        model.add(sum(built.share[node, gpu, t] for gpu in gpus) == built.place[node, t])
    whole = sum(int(classes.gpus[t]) * built.place[node, t] for t in kinds if not classes.shares[t])
    model.add(whole + sum(built.shared[node, gpu] for gpu in gpus) <= int(nodes.num_gpus[node]) * used)


def _gpu(
    built: PlacementCp, node: int, gpu: int, sharing: list[int], most: np.ndarray[Any, np.dtype[np.int64]]
) -> None:
    """The shares of one GPU are at most a whole; of equal GPUs the first are shared."""
    model, milli = built.model, built.classes.milli
    shared = model.new_bool_var(f"open_{node}_{gpu}")
    built.shared[node, gpu] = shared
    for t in sharing:
        upper = min(int(most[t]), MILLI_PER_GPU // int(milli[t]))
        built.share[node, gpu, t] = model.new_int_var(0, upper, f"share_{node}_{gpu}_{t}")
    load = sum(int(milli[t]) * built.share[node, gpu, t] for t in sharing)
    model.add(load <= MILLI_PER_GPU * shared)
    if gpu > 0:
        model.add_implication(shared, built.shared[node, gpu - 1])


def _demand(built: PlacementCp) -> None:
    """No more tasks of a type run than there are."""
    by_type: dict[int, list[Any]] = {}
    for (_, t), variable in built.place.items():
        by_type.setdefault(t, []).append(variable)
    for t, variables in by_type.items():
        built.model.add(sum(variables) <= int(built.classes.count[t]))


def _equal_nodes_in_order(built: PlacementCp) -> None:
    """Of equal nodes the first are used: the others are mirror images."""
    for members in built.classes.node_members:
        for before, after in pairwise(members):
            built.model.add_implication(built.used[after], built.used[before])
