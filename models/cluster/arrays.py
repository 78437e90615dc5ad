"""Cluster placement as a mixed-integer program on arrays.

Equal tasks are counted by type. On node ``i``: ``place[i, t]`` tasks of type ``t``; of those that take a part of a GPU
``share[i, g, t]`` on GPU ``g``; ``open[i, g]`` says that GPU ``g`` is shared, ``used[i]`` that the node runs anything.
Whole GPUs need no number: there are as many as are not shared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, Placement
from apportion.instances.core import Sense
from apportion.models.algebra import LinearExpression, Model
from apportion.models.cluster.classes import Classes
from apportion.models.cluster.counts import Counts, decode, encode

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlacementModel:
    """The program with what is needed to steer it: its three objectives, each to be maximised."""

    instance: ClusterPlacement
    classes: Classes
    model: Model
    served_gpus: LinearExpression
    served_tasks: LinearExpression
    nodes_used: LinearExpression

    def decode(self, values: Floats) -> Placement:
        """The plan that a solution (columns,) describes."""
        blocks = self.model.split(np.round(values))
        counts = Counts(blocks["place"].astype(np.int64), blocks["share"].astype(np.int64))
        return decode(self.instance, self.classes, counts)

    def start(self, plan: Placement) -> Floats:
        """The solution (columns,) that describes a valid plan, with equal nodes exchanged."""
        counts = encode(self.instance, self.classes, plan)
        shared = counts.shares.any(axis=2).astype(np.float64)
        used = counts.placed.any(axis=1).astype(np.float64)
        return self.model.pack({"place": counts.placed, "share": counts.shares, "open": shared, "used": used})


def placement_model(instance: ClusterPlacement, classes: Classes | None = None) -> PlacementModel:
    """Write the constraints of ``instance``; the caller chooses the objective and adds floors."""
    classes = classes or Classes.of(instance)
    nodes = instance.nodes
    widest = int(nodes.num_gpus.max(initial=0))
    has_gpu = np.arange(widest) < nodes.num_gpus[:, None]
    most = classes.most_on_node().T[classes.node_class]
    sharing = classes.shares
    per_gpu = np.minimum(most[:, sharing], MILLI_PER_GPU // np.maximum(classes.milli[sharing], 1))
    model = Model("cluster placement", Sense.MAXIMISE)
    place = model.add_variables("place", shape=most.shape, upper=most, integer=True)
    share = model.add_variables(
        "share",
        shape=(*has_gpu.shape, int(sharing.sum())),
        upper=per_gpu[:, None, :] * has_gpu[:, :, None],
        integer=True,
    )
    shared = model.add_variables("open", shape=has_gpu.shape, upper=has_gpu, integer=True)
    used = model.add_variables("used", shape=len(nodes), upper=1, integer=True)
    _demand(model, classes, place)
    _cpu_and_memory(model, instance, classes, place, used)
    _whole_gpus(model, instance, classes, place, shared, used)
    _shared_gpus(model, classes, place, share, shared)
    _used_nodes(model, most, place, used)
    _equal_ones_in_order(model, classes, shared, used)
    value = classes.value / MILLI_PER_GPU
    return PlacementModel(instance, classes, model, (place * value).sum(), place.sum(), used.sum())


def _demand(model: Model, classes: Classes, place: LinearExpression) -> None:
    """No more tasks of a type run than there are."""
    model.add_constraints("demand", place.sum(axis=0) <= classes.count)


def _cpu_and_memory(
    model: Model, instance: ClusterPlacement, classes: Classes, place: LinearExpression, used: LinearExpression
) -> None:
    """What runs on a node fits into its CPU and memory."""
    for name, size, capacity in (
        ("cpu", classes.cpu, instance.nodes.cpu_milli),
        ("memory", classes.memory, instance.nodes.memory_mib),
    ):
        scale = np.maximum(capacity, 1)
        model.add_constraints(name, (place * (size / scale[:, None])).sum(axis=1) <= used * (capacity / scale))


def _whole_gpus(
    model: Model,
    instance: ClusterPlacement,
    classes: Classes,
    place: LinearExpression,
    shared: LinearExpression,
    used: LinearExpression,
) -> None:
    """Whole GPUs and shared ones are no more than a node has."""
    whole = np.where(classes.shares, 0, classes.gpus)
    model.add_constraints("gpus", (place * whole).sum(axis=1) + shared.sum(axis=1) <= used * instance.nodes.num_gpus)


def _shared_gpus(
    model: Model, classes: Classes, place: LinearExpression, share: LinearExpression, shared: LinearExpression
) -> None:
    """Every task that shares sits on one GPU, and the shares of a GPU are at most a whole."""
    sharing = classes.shares
    model.add_constraints("split", place[:, sharing] - share.sum(axis=1) == 0)
    model.add_constraints("share_room", (share * (classes.milli[sharing] / MILLI_PER_GPU)).sum(axis=2) <= shared)


def _used_nodes(model: Model, most: NDArray[np.int64], place: LinearExpression, used: LinearExpression) -> None:
    """A node that runs anything is used, also by tasks that need nothing."""
    model.add_constraints("needs_node", place <= used[:, None] * most)


def _equal_ones_in_order(model: Model, classes: Classes, shared: LinearExpression, used: LinearExpression) -> None:
    """Of equal GPUs the first are shared, of equal nodes the first are used: the others are mirror images."""
    model.add_constraints("gpu_order", shared[:, 1:] - shared[:, :-1] <= 0)
    before = np.concatenate([members[:-1] for members in classes.node_members] or [np.zeros(0, np.int64)])
    after = np.concatenate([members[1:] for members in classes.node_members] or [np.zeros(0, np.int64)])
    model.add_constraints("node_order", used[after] - used[before] <= 0)
