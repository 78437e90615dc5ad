"""Clusters small enough to try every placement, and the optimum found that way."""

from __future__ import annotations

from itertools import product

from hypothesis import strategies as st

from apportion.instances.cluster import ClusterPlacement, Nodes, Tasks

Optimum = tuple[int, int, int]
"""Served milli, served tasks, idle nodes: the larger the better."""

_KINDS = (((), 0, 0), ((), 1, 300), ((), 1, 500), ((), 1, 700), (("A",), 1, 1000), ((), 1, 1000), ((), 2, 1000))


@st.composite
def tiny_clusters(draw: st.DrawFn, most_tasks: int = 6) -> ClusterPlacement:
    """Up to three nodes and a few tasks, often of equal types, with CPU and memory that bind."""
    num_nodes = draw(st.integers(1, 3))
    gpus = draw(st.lists(st.integers(0, 2), min_size=num_nodes, max_size=num_nodes))
    cpu = draw(st.lists(st.sampled_from([2000, 5000, 8001]), min_size=num_nodes, max_size=num_nodes))
    memory = draw(st.lists(st.sampled_from([3, 6]), min_size=num_nodes, max_size=num_nodes))
    types = draw(st.lists(st.sampled_from(["A", "B"]), min_size=num_nodes, max_size=num_nodes))
    kinds = draw(st.lists(st.sampled_from(_KINDS), min_size=1, max_size=most_tasks))
    size = len(kinds)
    task_cpu = draw(st.lists(st.sampled_from([0, 1000, 1999, 4000]), min_size=size, max_size=size))
    task_memory = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    return ClusterPlacement(
        "tiny",
        Nodes.build([f"n{i}" for i in range(num_nodes)], cpu, memory, gpus, types),
        Tasks.build(
            [f"t{i}" for i in range(size)],
            task_cpu,
            task_memory,
            [gpu for _, gpu, _ in kinds],
            [milli for _, _, milli in kinds],
            [allowed for allowed, _, _ in kinds],
        ),
    )


def optimum(instance: ClusterPlacement) -> Optimum:
    """Try every node, or none, for every task."""
    best = (0, 0, len(instance.nodes))
    tasks = range(len(instance.tasks))
    for choice in product(range(-1, len(instance.nodes)), repeat=len(instance.tasks)):
        served = sum(int(instance.demand_milli[t]) for t in tasks if choice[t] >= 0)
        used = {node for node in choice if node >= 0}
        score = (served, sum(node >= 0 for node in choice), len(instance.nodes) - len(used))
        if score > best and all(node_holds(instance, n, [t for t in tasks if choice[t] == n]) for n in used):
            best = score
    return best


def node_holds(instance: ClusterPlacement, node: int, tasks: list[int]) -> bool:
    """Whether ``tasks`` can run on ``node`` together."""
    nodes, data = instance.nodes, instance.tasks
    if any(data.allowed_types[t] and nodes.gpu_types[node] not in data.allowed_types[t] for t in tasks):
        return False
    if sum(int(data.cpu_milli[t]) for t in tasks) > nodes.cpu_milli[node]:
        return False
    if sum(int(data.memory_mib[t]) for t in tasks) > nodes.memory_mib[node]:
        return False
    whole = sum(int(data.num_gpus[t]) for t in tasks if data.gpu_milli[t] == 1000)
    shares = sorted((int(data.gpu_milli[t]) for t in tasks if 0 < data.gpu_milli[t] < 1000), reverse=True)
    room = int(nodes.num_gpus[node]) - whole
    return room >= 0 and _shares_fit(shares, [1000] * room)


def _shares_fit(shares: list[int], room: list[int]) -> bool:
    if not shares:
        return True
    for gpu in range(len(room)):
        if room[gpu] >= shares[0]:
            if _shares_fit(shares[1:], [*room[:gpu], room[gpu] - shares[0], *room[gpu + 1 :]]):
                return True
            if room[gpu] == 1000:
                break
    return False
