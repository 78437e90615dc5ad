"""What keeps gangs and tasks waiting is named, with the least change that would start them."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings

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
from apportion.models.cluster.explain import explain_placement
from apportion.models.cluster.explain_rules import Room, least_stop
from apportion.models.cluster.units import units_of
from tiny_clusters import tiny_clusters

NODES = Nodes.build(["n0", "n1", "n2"], [64000] * 3, [1000] * 3, [4] * 3, ["H"] * 3)
RACKS = {"n0": NodeRule(("r0",)), "n1": NodeRule(("r0",)), "n2": NodeRule(("r1",))}


def cluster(gpus: dict[str, int], rules: PlacementRules) -> ClusterPlacement:
    count = len(gpus)
    tasks = Tasks.build(list(gpus), [1000] * count, [1] * count, list(gpus.values()), [1000] * count)
    return ClusterPlacement("c", NODES, tasks, rules)


def said(instance: ClusterPlacement, *placed: PlacedTask) -> str:
    plan = Placement(placed)
    assert check(instance, plan).ok
    return "\n".join(map(str, explain_placement(instance, None, plan).findings))


def test_quota() -> None:
    rules = PlacementRules(
        tasks={"a": TaskRule("q"), "b": TaskRule("q")},
        queues=(Queue("q", (Quota(2.0, "", 1.0),), "lab"), Queue("lab", (Quota(8.0),))),
    )
    text = said(cluster({"a": 2, "b": 2}, rules), PlacedTask("a", "n0", (0, 1), 1000))
    assert "task b waits: quota of q: 2 of 3 GPUs are in use, 1 GPUs short" in text


def test_topology() -> None:
    gang = Gang("g", ("g0", "g1", "g2"), "rack")
    rules = PlacementRules(("rack",), RACKS, {}, (gang,))
    assert "rack r0, the best, has room for 2 of its 3 tasks, 4 GPUs short" in said(
        cluster({"g0": 4, "g1": 4, "g2": 4}, rules)
    )
    assert "tolerate a level wider than rack, across which all fit" in said(cluster({"g0": 4, "g1": 4, "g2": 4}, rules))


def test_preemption_names_the_task_that_matters_least() -> None:
    rules = PlacementRules(
        tasks={
            "low": TaskRule(preemptible=True, current=Position("n1", (0,))),
            "fix": TaskRule(current=Position("n0", (0,))),
            "new": TaskRule(priority=3),
            "high": TaskRule(priority=5, preemptible=True, current=Position("n2", (0,))),
        }
    )
    text = said(
        cluster({"low": 1, "fix": 1, "high": 1, "new": 4}, rules),
        PlacedTask("low", "n1", (0,), 1000),
        PlacedTask("fix", "n0", (0,), 1000),
        PlacedTask("high", "n2", (0,), 1000),
    )
    assert "task new waits: node n0 is nearest, 1 GPUs short; least change: stop low on node n1" in text


def test_affinity() -> None:
    rules = PlacementRules(
        ("rack",),
        RACKS,
        {"a": TaskRule(labels=("x",)), "b": TaskRule(labels=("x",)), "c": TaskRule(labels=("x",))},
        affinities=(Affinity("x", "x", "rack"),),
    )
    text = said(
        cluster({"a": 1, "b": 1, "c": 1}, rules), PlacedTask("a", "n0", (0,), 1000), PlacedTask("b", "n2", (0,), 1000)
    )
    assert "task c waits: anti-affinity keeps it from 3 node(s) that have room" in text


def test_what_fits_and_what_never_does() -> None:
    rules = PlacementRules(tasks={"a": TaskRule(priority=1)})
    text = said(cluster({"a": 1, "b": 9}, rules))
    assert "node n0 has room for it: the plan can be improved" in text
    assert "task b waits: no node could ever hold 9 x GPU" in text


@settings(max_examples=30, deadline=None)
@given(instance=tiny_clusters(most_tasks=4))
def test_the_least_stop_is_the_least(instance: ClusterPlacement) -> None:
    """With everything placed that fits in order, stopping fewer tasks of one node never suffices."""
    placed: list[PlacedTask] = []
    for task, name in enumerate(instance.tasks.names):
        for node, where in enumerate(instance.nodes.names):
            asked, milli = int(instance.tasks.num_gpus[task]), int(instance.tasks.gpu_milli[task])
            options = combinations(range(int(instance.nodes.num_gpus[node])), asked)
            entries = [PlacedTask(name, where, gpus, milli) for gpus in options]
            good = [entry for entry in entries if check(instance, Placement((*placed, entry))).ok]
            if good:
                placed.append(good[0])
                break
    plan = Placement(tuple(placed))
    room, names = Room.of(instance, plan), {entry.task for entry in placed}
    for unit in units_of(instance):
        waiting = [instance.tasks.names[t] for t in unit.tasks if instance.tasks.names[t] not in names]
        if not waiting or not unit.hosts:
            continue
        stop = least_stop(room, unit)
        assert stop is not None
        assert len(stop.tasks) == _least_by_force(instance, placed, waiting[0])


def _least_by_force(instance: ClusterPlacement, placed: list[PlacedTask], task: str) -> int:
    position = instance.tasks.names.index(task)
    asked, milli = int(instance.tasks.num_gpus[position]), int(instance.tasks.gpu_milli[position])
    for size in range(1, len(placed) + 1):
        for gone in combinations(placed, size):
            kept = tuple(entry for entry in placed if entry not in gone)
            for node, where in enumerate(instance.nodes.names):
                for gpus in combinations(range(int(instance.nodes.num_gpus[node])), asked):
                    if check(instance, Placement((*kept, PlacedTask(task, where, gpus, milli)))).ok:
                        return size
    return pytest.fail("a task that fits on an empty node starts when all others stop")
