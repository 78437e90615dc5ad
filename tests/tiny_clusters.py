"""Clusters small enough to try every placement, and the optimum found that way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

from hypothesis import strategies as st

from apportion.instances.cluster import ClusterPlacement, Nodes, PlacedTask, Placement, Tasks
from apportion.instances.cluster_rules import (
    Affinity,
    Gang,
    NodeRule,
    PlacementRules,
    Position,
    Queue,
    Quota,
    TaskRule,
)
from apportion.models.checking import check
from apportion.models.cluster.rules_check import aim_value

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


@st.composite
def tiny_ruled_clusters(draw: st.DrawFn) -> ClusterPlacement:
    """Two or three nodes in one or two racks, a few tasks, and some of every rule."""
    num_nodes = draw(st.integers(2, 3))
    names = [f"n{i}" for i in range(num_nodes)]
    gpus = draw(st.lists(st.integers(1, 2), min_size=num_nodes, max_size=num_nodes))
    types = draw(st.lists(st.sampled_from(["A", "B"]), min_size=num_nodes, max_size=num_nodes))
    nodes = Nodes.build(names, [4000] * num_nodes, [4] * num_nodes, gpus, types)
    kinds = draw(st.lists(st.sampled_from(_RULED_KINDS), min_size=2, max_size=6 - num_nodes))
    tasks = [f"t{i}" for i in range(len(kinds))]
    racks = {name: NodeRule((draw(st.sampled_from(["r0", "r1"])),), 100.0, 50.0) for name in names}
    rules = {}
    for task, (_, asked, _, profile) in zip(tasks, kinds, strict=True):
        position = None
        home = draw(st.integers(-3, num_nodes - 1))
        if home >= 0 and asked <= gpus[home]:
            start = draw(st.sampled_from([0, 4])) if profile else None
            position = Position(names[home], tuple(range(asked)), start)
        rules[task] = TaskRule(
            queue=draw(st.sampled_from(["", "a", "b"])),
            labels=draw(st.sampled_from([(), (), ("x",), ("y",)])),
            value=draw(st.sampled_from([None, None, 1.5])),
            priority=draw(st.integers(0, 2)),
            preemptible=draw(st.booleans()) or draw(st.booleans()),
            current=position,
            migration_cost=draw(st.sampled_from([1.0, 0.5])),
            mig_profile=profile,
        )
    members = tuple(draw(st.permutations(tasks)))[: draw(st.integers(0, 3))]
    worst, preferred = draw(st.sampled_from([("", ""), ("", "node"), ("rack", "node"), ("node", ""), ("rack", "rack")]))
    affinity = st.builds(
        Affinity, st.just("x"), st.sampled_from("xy"), st.sampled_from(["node", "rack"]), st.booleans()
    )
    queues = (
        Queue("a", (Quota(1.0, "", 0.5),), "lab"),
        Queue("b", (Quota(draw(st.sampled_from([0.0, 1.0])), "A"), Quota(1.0)), "lab"),
        Queue("lab"),
    )
    chosen = PlacementRules(
        ("rack",),
        racks,
        rules,
        (Gang("g", members, worst, preferred),) if members else (),
        queues,
        tuple(draw(st.lists(affinity, max_size=1))),
        {"A": "a100-40gb"},
        draw(st.sampled_from(_AIMS)),
    )
    cpu = [cpu for cpu, _, _, _ in kinds]
    return ClusterPlacement(
        "tiny-ruled",
        nodes,
        Tasks.build(tasks, cpu, [1] * len(kinds), [asked for _, asked, _, _ in kinds], [m for _, _, m, _ in kinds]),
        chosen,
    )


_RULED_KINDS = (
    (0, 0, 0, ""),
    (1000, 1, 500, ""),
    (1000, 1, 700, ""),
    (1000, 1, 1000, ""),
    (2500, 1, 1000, ""),
    (1000, 2, 1000, ""),
    (500, 1, 500, "3g.20gb"),
    (500, 1, 500, "4g.20gb"),
)
_AIMS: tuple[tuple[tuple[tuple[str, float], ...], ...], ...] = (
    (),
    ((("value", 1.0), ("migrations", 0.3), ("topology", 0.2)), (("energy", 1.0),)),
    ((("tasks", 2.0), ("fragmentation", 0.5)),),
)


def every_placement(instance: ClusterPlacement) -> Iterator[Placement]:
    """Every way to put tasks on GPUs, right or wrong."""
    options: list[list[PlacedTask | None]] = []
    for task, name in enumerate(instance.tasks.names):
        asked, milli = int(instance.tasks.num_gpus[task]), int(instance.tasks.gpu_milli[task])
        starts: tuple[int | None, ...] = (0, 4) if instance.rules.task(name).mig_profile else (None,)
        places: list[PlacedTask | None] = [None]
        for node, where in enumerate(instance.nodes.names):
            for gpus in combinations(range(int(instance.nodes.num_gpus[node])), asked):
                places += [PlacedTask(name, where, gpus, milli, start) for start in starts]
        options.append(places)
    for choice in product(*options):
        yield Placement(tuple(entry for entry in choice if entry is not None))


def best_aims(instance: ClusterPlacement) -> tuple[float, ...] | None:
    """The best aims of all placements that the check accepts; None when it accepts none."""
    best = None
    for plan in every_placement(instance):
        verdict = check(instance, plan)
        if verdict.ok:
            terms = dict(verdict.measures)
            aims = tuple(round(aim_value(instance, terms, i), 6) for i in range(len(instance.rules.chosen_aims)))
            best = aims if best is None else max(best, aims)
    return best
