"""The data of cluster placement: valid by construction, all faults at once, plans that round-trip."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.instances.cluster import ClusterPlacement, Nodes, PlacedTask, Placement, Tasks
from apportion.instances.core import Instance, Plan, Sense
from apportion.instances.errors import InstanceError, OptionError, PlanError
from apportion.instances.generate import generate
from apportion.instances.plans import read_plan, write_plan
from apportion.instances.reading import read


def tiny() -> ClusterPlacement:
    nodes = Nodes.build(["n0", "n1"], [8000, 4000], [1000, 2000], [2, 1], ["A", "B"])
    tasks = Tasks.build(["a", "b", "c"], [1000, 2000, 500], [10, 20, 30], [1, 2, 0], [500, 1000, 0], [("A",), (), ()])
    return ClusterPlacement("tiny", nodes, tasks)


def test_is_an_instance_that_is_maximised() -> None:
    instance = tiny()
    assert isinstance(instance, Instance)
    assert instance.sense is Sense.MAXIMISE
    assert instance.demand_gpus == 2.5
    assert instance.capacity_gpus == 3
    assert instance.gpu_type_names == ("A", "B")


def test_cannot_be_changed() -> None:
    instance = tiny()
    with pytest.raises(dataclasses.FrozenInstanceError):
        instance.name = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        instance.nodes.cpu_milli[0] = 1


def test_the_arrays_given_stay_apart() -> None:
    cpu = np.array([5, 6])
    instance = ClusterPlacement("x", Nodes.build(["a", "b"], cpu, [1, 1], [0, 0], ["", ""]), tiny().tasks)
    cpu[0] = 99
    assert instance.nodes.cpu_milli[0] == 5


def test_all_faults_come_at_once() -> None:
    nodes = Nodes.build(["n", "n"], [-1, 2], [1.5, 1], [1, 5000], ["A", "B"])
    tasks = Tasks.build(["a", "", "c"], [1, 1, 1], [1, 1, float("nan")], [0, 1, 2], [10, 0, 300], [(), (), ("",)])
    with pytest.raises(InstanceError) as caught:
        ClusterPlacement("bad", nodes, tasks)
    text = str(caught.value)
    for part in (
        "nodes.cpu_milli[0]: must be at least 0",
        "nodes.memory_mib[0]: must be a whole number, got 1.5",
        "nodes.num_gpus[1]: must be at most 4096",
        "nodes[1]: repeats the identifier of nodes[0], got 'n'",
        "tasks[1].name: must be a text that is not empty",
        "tasks.memory_mib[2]: must be a finite number",
        "tasks[0].gpu_milli: must be 0 for a task without GPUs",
        "tasks[1].gpu_milli: must be at least 1",
        "tasks[2].gpu_milli: must be 1000 for a task on several GPUs",
        "tasks[2].allowed_types",
    ):
        assert part in text


@pytest.mark.parametrize("value", ["text", None, [[1, 2]], 1e300, 10**40, [1, 2, 3], np.nan])
def test_wrong_columns_are_named_faults(value: object) -> None:
    nodes = Nodes.build(["n"], value if isinstance(value, list) else [value], [1], [1], ["A"])  # type: ignore[arg-type]
    with pytest.raises(InstanceError, match=r"nodes\.cpu_milli"):
        ClusterPlacement("bad", nodes, tiny().tasks)


def test_columns_of_other_lengths_are_faults() -> None:
    with pytest.raises(InstanceError, match="must have 1 entries"):
        ClusterPlacement("bad", Nodes.build(["n"], [1], [1], [1], ["A", "B"]), tiny().tasks)
    with pytest.raises(InstanceError, match="must have 1 entries"):
        ClusterPlacement("bad", tiny().nodes, Tasks.build(["t"], [1], [1], [0], [0], [(), ()]))


def test_restrict_keeps_order() -> None:
    part = tiny().restrict([1], [2, 0])
    assert part.nodes.names == ("n1",)
    assert part.tasks.names == ("c", "a")
    assert part.tasks.allowed_types == ((), ("A",))


def test_summary_and_load() -> None:
    instance = tiny()
    assert instance.summary()["tasks that share a GPU"] == 1
    plan = Placement((PlacedTask("a", "n0", (1,), 500), PlacedTask("c", "n1")))
    assert plan.gpu_load(instance).tolist() == [[0, 500], [0, -1]]
    assert list(plan.by_node()) == ["n0", "n1"]


def test_plans_round_trip(tmp_path: Path) -> None:
    plan = Placement((PlacedTask("a", "n0", (1,), 500), PlacedTask("b", "n0", (0, 1), 1000), PlacedTask("c", "n1")))
    assert isinstance(plan, Plan)
    write_plan(plan, tmp_path / "plan.json", tiny())
    assert read_plan(tmp_path / "plan.json", tiny()) == plan


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"placed": 3},
        {"placed": [3]},
        {"placed": [{"task": "a"}]},
        {"placed": [{"task": "a", "node": "n", "gpus": [True], "gpu_milli": 1}]},
        {"placed": [{"task": "a", "node": "n", "gpus": [0.5], "gpu_milli": 1}]},
        {"placed": [{"task": 1, "node": "n", "gpus": [], "gpu_milli": 1}]},
        {"placed": [{"task": "a", "node": "n", "gpus": [], "gpu_milli": "1"}]},
    ],
)
def test_broken_plans_are_plan_errors(data: dict[str, object]) -> None:
    with pytest.raises(PlanError, match="placed"):
        Placement.from_dict(json.loads(json.dumps(data)))


def test_the_generator_repeats_itself() -> None:
    one, two = generate("cluster-placement", seed=3), generate("cluster-placement", seed=3)
    other = generate("cluster-placement", seed=4)
    assert isinstance(one, ClusterPlacement)
    assert isinstance(two, ClusterPlacement)
    assert isinstance(other, ClusterPlacement)
    assert one.tasks.cpu_milli.tolist() == two.tasks.cpu_milli.tolist()
    assert one.tasks.cpu_milli.tolist() != other.tasks.cpu_milli.tolist()
    assert one.demand_gpus > 0.9 * one.capacity_gpus


@pytest.mark.parametrize(
    "sizes", [{"nodes": 0}, {"tasks": 0}, {"load": -1.0}, {"load": float("inf")}, {"share_fraction": 2.0}, {"nods": 3}]
)
def test_the_generator_refuses_nonsense(sizes: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="cluster-placement"):
        generate("cluster-placement", **sizes)


def test_the_shipped_instance_is_tight() -> None:
    instance = read(Path(__file__).parents[2] / "instances" / "data" / "cluster_small.json")
    assert isinstance(instance, ClusterPlacement)
    assert len(instance.nodes) == 24
    assert instance.demand_gpus > instance.capacity_gpus
