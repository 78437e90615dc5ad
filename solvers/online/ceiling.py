"""What no rule can beat that has served the same first arrivals: a linear program over the fillings of one GPU."""

from __future__ import annotations

from math import inf

import highspy
import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, Tasks
from apportion.solvers.backends.simplex import must, quiet_lp
from apportion.solvers.online.kernels import fill_gpu
from apportion.solvers.online.workload import filling

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_PROFIT = 1e-9
_MOST_ROUNDS = 500


def ceiling_gpus(cluster: ClusterPlacement, served_first: int = 0) -> float:
    """The most GPUs that can be served when the first ``served_first`` tasks all are; a true bound.

    CPU, memory, types and the borders of nodes are relaxed: shares fill GPUs, a task on several counts as so many whole
    ones. The value is the Lagrangian one at the last prices, so it holds even when generation ends early.

    Parameters
    ----------
    cluster
        Its tasks in the order of arrival.
    served_first
        A rule that may not refuse what fits has to serve what came before its first refusal.

    Examples
    --------
    Two GPUs; whoever had to take the two shares of 810 first has no room for the whole ones:

    >>> from apportion.instances.cluster import Nodes
    >>> nodes = Nodes.build(["n"], [9000], [0], [2], ["T4"])
    >>> tasks = Tasks.build("abcd", *np.array([[1] * 4, [0] * 4, [1] * 4, [810, 810, 1000, 1000]]))
    >>> both = ClusterPlacement("tiny", nodes, tasks)
    >>> round(ceiling_gpus(both), 6), round(ceiling_gpus(both, served_first=2), 6)
    (2.0, 1.62)
    """
    size, most = _demand(cluster.tasks)
    _, served = _demand(cluster.tasks.select(np.arange(served_first)), size)
    if not len(size):
        return 0.0
    value = size / MILLI_PER_GPU
    lp = _program(value, size, served, most, cluster.capacity_gpus)
    best, room = inf, np.zeros(MILLI_PER_GPU + 1)
    for _ in range(_MOST_ROUNDS):
        must(lp.run())
        if lp.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            break
        dual = np.array(lp.getSolution().row_dual)
        price, gpu_price = np.maximum(dual[:-1], 0.0), max(0.0, -float(dual[-1]))
        fill_gpu(price, size, room)
        gain = value - price
        relaxed = float(gain @ np.where(gain > 0, most, served)) + cluster.capacity_gpus * float(room[-1])
        best = min(best, relaxed)
        if room[-1] <= gpu_price + _PROFIT:
            break
        items, times = np.unique(filling(price, size, room), return_counts=True)
        rows = np.append(items, len(size)).astype(np.int32)
        must(lp.addCol(0.0, 0.0, inf, len(rows), rows, np.append(times, 1.0).astype(np.float64)))
    return min(best, float(value @ most), float(cluster.capacity_gpus))


def _demand(tasks: Tasks, size: Ints | None = None) -> tuple[Ints, Floats]:
    """The sizes asked for and how often, whole GPUs one by one."""
    asks = tasks.num_gpus > 0
    found = np.unique(tasks.gpu_milli[asks]).astype(np.int64) if size is None else size
    count = np.zeros(len(found))
    np.add.at(count, np.searchsorted(found, tasks.gpu_milli[asks]), tasks.num_gpus[asks].astype(np.float64))
    return found, count


def _program(value: Floats, size: Ints, served: Floats, most: Floats, num_gpus: int) -> highspy.Highs:
    """Columns: served by size, then fillings. Rows: cover by size, and the GPUs. Begins with fillings of one size."""
    lp = quiet_lp()
    for _ in size:
        must(lp.addRow(0.0, inf, 0, np.zeros(0, np.int32), np.zeros(0)))
    must(lp.addRow(-inf, float(num_gpus), 0, np.zeros(0, np.int32), np.zeros(0)))
    for i in range(len(size)):
        must(lp.addCol(-float(value[i]), float(served[i]), float(most[i]), 1, np.array([i], np.int32), -np.ones(1)))
    # a filling outside of all rules keeps the first programs feasible, at a price that no plan pays
    everything = np.arange(len(size), dtype=np.int32)
    must(lp.addCol(1e4, 0.0, inf, len(size), everything, np.ones(len(size))))
    for i, s in enumerate(size):
        rows, values = np.array([i, len(size)], np.int32), np.array([float(MILLI_PER_GPU // s), 1.0])
        must(lp.addCol(0.0, 0.0, inf, 2, rows, values))
    return lp
