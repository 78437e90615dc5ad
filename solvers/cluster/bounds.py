"""Bounds on the three objectives, rounded to what whole tasks and nodes can reach."""

from __future__ import annotations

from math import ceil, floor, inf

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement
from apportion.models.cluster.classes import Classes
from apportion.solvers.cluster.patterns import Stage

Ints = NDArray[np.int64]

_SLACK = 1e-6


def rounded(stage: Stage, value: float, classes: Classes) -> float:
    """The strongest bound that ``value`` proves, since served GPUs come in steps and the others are whole."""
    if stage is Stage.SERVED:
        step = int(np.gcd.reduce(np.append(classes.value, 0))) or 1
        return floor((value * MILLI_PER_GPU + MILLI_PER_GPU * _SLACK) / step) * step / MILLI_PER_GPU
    return float(floor(value + _SLACK)) if stage is Stage.TASKS else float(ceil(value - _SLACK))


def simple_bounds(instance: ClusterPlacement, classes: Classes) -> dict[Stage, float]:
    """What needs no search: what fits at all, and no more than there are GPUs, CPU and memory."""
    servable = np.where(classes.fits.any(axis=1), classes.count, 0)
    demand = int(classes.value @ servable)
    capacity = instance.capacity_gpus * MILLI_PER_GPU
    by_cpu = _knapsack(classes, servable, classes.cpu, int(instance.nodes.cpu_milli.sum()))
    by_memory = _knapsack(classes, servable, classes.memory, int(instance.nodes.memory_mib.sum()))
    served = min(demand, capacity, by_cpu, by_memory) / MILLI_PER_GPU
    return {
        Stage.SERVED: rounded(Stage.SERVED, served, classes),
        Stage.TASKS: float(servable.sum()),
        Stage.NODES: 0.0,
    }


def _knapsack(classes: Classes, servable: Ints, size: Ints, capacity: int) -> float:
    """The fractional knapsack: the most GPU demand that one pool of CPU or memory carries."""
    value = classes.value.astype(np.float64)
    density = np.divide(value, size, out=np.full(len(value), inf), where=size > 0)
    room, total = float(capacity), 0.0
    for t in np.argsort(-density, kind="stable").tolist():
        need, number = float(size[t]), float(servable[t])
        taken = number if need == 0 else min(number, room / need)
        total += taken * float(value[t])
        room -= taken * need
    return total
