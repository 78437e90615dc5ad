"""A stream of arrivals drawn from the tasks of a cluster: its order, and more of the same until it is overfull."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, Tasks
from apportion.instances.errors import OptionError

Ints = NDArray[np.int64]


def inflated_arrivals(cluster: ClusterPlacement, ratio: float = 1.3, seed: int = 42) -> ClusterPlacement:
    """The tasks of ``cluster`` in random order, then copies of them until they ask for ``ratio`` times its GPUs.

    The protocol of FGD (Weng et al., USENIX ATC 2023): the tasks are shuffled; copies are drawn uniformly with
    replacement and come after them, until one more GPU share would exceed the target. When the tasks ask for more than
    the target to begin with, random ones are left out. The nodes are shuffled too, since ties go to the first node.

    Parameters
    ----------
    cluster
        Whose nodes and tasks.
    ratio
        GPU demand of all arrivals over the GPUs of the cluster.
    seed
        Same seed, same arrivals.

    Returns
    -------
    ClusterPlacement
        Its tasks in the order in which they arrive; a copy is named after its task and its place in the order.

    Examples
    --------
    >>> from apportion.instances.generate.cluster import generate_cluster
    >>> arrivals = inflated_arrivals(generate_cluster(seed=1), 1.3)
    >>> 1.2 < arrivals.demand_gpus / arrivals.capacity_gpus <= 1.3
    True
    """
    if not 0 < ratio < np.inf:
        raise OptionError(f"ratio must be positive and finite, got {ratio!r}")
    random = np.random.default_rng(seed)
    nodes = random.permutation(len(cluster.nodes))
    order = _drawn(cluster, ratio * cluster.capacity_gpus * MILLI_PER_GPU, random)
    return ClusterPlacement(f"{cluster.name}-s{seed}", cluster.nodes.select(nodes), _renamed(cluster.tasks, order))


def _drawn(cluster: ClusterPlacement, target: float, random: np.random.Generator) -> Ints:
    """Positions of tasks in the order of arrival."""
    demand, share = cluster.demand_milli, cluster.tasks.gpu_milli
    order = random.permutation(len(demand)).tolist()
    total = int(demand.sum())
    while total > target:
        total -= int(demand[order.pop(int(random.integers(len(order))))])
    while len(demand) and total > 0:
        position = int(random.integers(len(demand)))
        if total + int(share[position]) > target:
            break
        order.append(position)
        total += int(demand[position])
    return np.array(order, np.int64)


def _renamed(tasks: Tasks, order: Ints) -> Tasks:
    """The tasks at ``order``, each repetition with a name of its own."""
    drawn = tasks.select(order)
    taken, names = set(tasks.names), []
    seen: set[int] = set()
    for place, position in enumerate(order.tolist()):
        name = tasks.names[position]
        if position in seen:
            name = f"{name}+{place}"
            while name in taken:
                name += "+"
            taken.add(name)
        seen.add(position)
        names.append(name)
    return Tasks(tuple(names), drawn.cpu_milli, drawn.memory_mib, drawn.num_gpus, drawn.gpu_milli, drawn.allowed_types)
