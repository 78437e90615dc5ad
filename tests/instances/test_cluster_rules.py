"""Rules beyond fitting: what is wrong is named, what is right goes through JSON unchanged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

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
from apportion.instances.errors import InstanceError, OptionError
from apportion.instances.formats import cluster_json
from apportion.instances.generate.cluster import generate_cluster
from apportion.instances.reading import read
from tiny_clusters import tiny_ruled_clusters

NODES = Nodes.build(["n0", "n1"], [8000, 8000], [100, 100], [2, 2], ["A", "B"])
TASKS = Tasks.build(["a", "b"], [1000, 1000], [1, 1], [1, 2], [1000, 1000])
RACKS = {"n0": NodeRule(("r0",)), "n1": NodeRule(("r0",))}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (PlacementRules(gangs=(Gang("g", ("a", "z")),)), "is no task, got 'z'"),
        (PlacementRules(gangs=(Gang("g", ()),)), "must not be empty"),
        (PlacementRules(gangs=(Gang("g", ("a",)), Gang("h", ("a",)))), "names a task twice"),
        (PlacementRules(gangs=(Gang("g", ("a",), "rack"),)), "is no level, got 'rack'"),
        (PlacementRules(("rack",), RACKS, gangs=(Gang("g", ("a",), "node", "rack"),)), "wider than the worst level"),
        (PlacementRules(("rack",), {"n0": NodeRule(("r0",))}), "must name its rack"),
        (
            PlacementRules(("rack", "row"), {"n0": NodeRule(("r", "x")), "n1": NodeRule(("r", "y"))}),
            "rack r lies in two of the level above, x and y",
        ),
        (PlacementRules(queues=(Queue("p", (), "q"), Queue("q", (), "p"))), "the cohorts are cyclic: p -> q -> p"),
        (PlacementRules(queues=(Queue("p", (), "p"),)), "the cohorts are cyclic: p -> p"),
        (PlacementRules(queues=(Queue("p", (), "x"),)), "is no queue, got 'x'"),
        (PlacementRules(queues=(Queue("p", (Quota(float("nan")),)),)), "must be a number from 0"),
        (PlacementRules(queues=(Queue("p"), Queue("p"))), "repeats the identifier"),
        (PlacementRules(tasks={"z": TaskRule()}), "is no task, got 'z'"),
        (PlacementRules(tasks={"a": TaskRule(queue="q")}), "is no queue, got 'q'"),
        (PlacementRules(tasks={"a": TaskRule(value=-1.0)}), "must be a number from 0"),
        (PlacementRules(tasks={"a": TaskRule(mig_profile="1g.5gb")}), "is a profile of no GPU here"),
        (PlacementRules(mig_models={"A": "b300"}), "is no model with MIG"),
        (
            PlacementRules(tasks={"b": TaskRule(mig_profile="1g.5gb")}, mig_models={"A": "a100-40gb"}),
            "must be 1 for a MIG profile",
        ),
        (PlacementRules(tasks={"a": TaskRule(current=Position("n9", (0,)))}), "is no node, got 'n9'"),
        (PlacementRules(tasks={"a": TaskRule(current=Position("n0", (0, 1)))}), "must be 1 different GPUs"),
        (PlacementRules(tasks={"b": TaskRule(current=Position("n0", (0, 0)))}), "must be 2 different GPUs"),
        (PlacementRules(tasks={"a": TaskRule(current=Position("n0", (7,)))}), "are not all on node n0"),
        (PlacementRules(tasks={"a": TaskRule(current=Position("n0", (0,), 4))}), "only there"),
        (PlacementRules(affinities=(Affinity("x", "y", "rack"),)), "is no level, got 'rack'"),
        (
            PlacementRules(tasks={"a": TaskRule(labels=("x", "y"))}, affinities=(Affinity("x", "y"),)),
            "speaks of two labels that one task has",
        ),
        (PlacementRules(aims=((("speed", 1.0),),)), "is no term, got 'speed'"),
        (PlacementRules(aims=((("value", 0.0),),)), "must be a number from 1e-09"),
        (PlacementRules(aims=((),)), "must not be empty"),
    ],
)
def test_wrong_rules_are_named(rules: PlacementRules, said: str) -> None:
    with pytest.raises(InstanceError) as error:
        ClusterPlacement("bad", NODES, TASKS, rules)
    assert said in str(error.value)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(instance=tiny_ruled_clusters())
def test_json_round_trip(instance: ClusterPlacement, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(cluster_json.render(instance))
    again = read(path)
    assert isinstance(again, ClusterPlacement)
    in_order = tuple(replace(gang, tasks=tuple(sorted(gang.tasks))) for gang in instance.rules.gangs)
    assert again.rules == replace(instance.rules, gangs=in_order)
    assert again.tasks.names == instance.tasks.names
    assert cluster_json.render(again) == path.read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gangs": [{"name": "g", "worst": "rack"}]}, "gangs[0].worst"),
        ({"tasks": [{"name": "a", "cpu_milli": 1, "memory_mib": 1, "gang": "g"}]}, "tasks[0].gang: is no gang"),
        (
            {"nodes": [{"name": "n", "cpu_milli": 1, "memory_mib": 1, "domains": {"rack": "r"}}]},
            "nodes[0].domains: names no level",
        ),
        ({"queues": [{"name": "q", "parent": "q"}]}, "cyclic"),
        ({"aims": [{"value": float("nan")}]}, "aims"),
    ],
    ids=["field", "gang", "level", "cyclic", "nan"],
)
def test_json_faults_have_places(tmp_path: Path, change: dict[str, object], said: str) -> None:
    content = {"problem": "cluster-placement", "nodes": [], "tasks": []} | change
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(InstanceError) as error:
        read(tmp_path / "c.json")
    assert said in str(error.value)


def test_a_plan_with_slices_round_trips() -> None:
    plan = Placement((PlacedTask("a", "n0", (1,), 250, 4), PlacedTask("b", "n0", (0,), 1000)))
    assert Placement.from_dict(plan.to_dict()) == plan


def test_restricting_keeps_what_is_left() -> None:
    rules = PlacementRules(
        ("rack",),
        RACKS,
        {"a": TaskRule(priority=2, current=Position("n0", (0,)))},
        (Gang("g", ("a", "b")),),
    )
    part = ClusterPlacement("c", NODES, TASKS, rules).restrict([1], [0])
    assert part.rules.gangs == (Gang("g", ("a",)),)
    assert part.rules.tasks["a"] == TaskRule(priority=2)
    assert set(part.rules.nodes) == {"n1"}


def test_generated_gangs_are_seeded_and_ask_for_the_load() -> None:
    one, two = (generate_cluster(seed=4, nodes=16, gangs=0.8, queues=2, mig=0.5, load=1.2) for _ in range(2))
    assert cluster_json.render(one) == cluster_json.render(two)
    assert one.demand_gpus / one.capacity_gpus == pytest.approx(1.2, abs=0.8)
    assert len(one.rules.queues) == 3
    assert any(rule.mig_profile for rule in one.rules.tasks.values())
    with pytest.raises(OptionError):
        generate_cluster(gangs=2.0)
