"""The check of placements, the classes, and both exact formulations against every placement of tiny clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from apportion.instances.cluster import ClusterPlacement, Nodes, PlacedTask, Placement, Tasks
from apportion.instances.generate.cluster import generate_cluster
from apportion.models.checking import check
from apportion.models.cluster.arrays import placement_model
from apportion.models.cluster.classes import Classes
from apportion.models.cluster.counts import decode, encode
from apportion.models.cluster.cpsat import placement_cp
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance
from tiny_clusters import Optimum, optimum, tiny_clusters

CLUSTER = ClusterPlacement(
    "cluster",
    Nodes.build(["n0", "n1"], [8000, 4000], [1000, 2000], [2, 1], ["A", "B"]),
    Tasks.build(
        ["a", "b", "c", "d"],
        [1000, 2000, 500, 5000],
        [10, 20, 30, 10],
        [1, 2, 0, 1],
        [500, 1000, 0, 600],
        [("A",), (), (), ()],
    ),
)
GOOD = (PlacedTask("a", "n0", (0,), 500), PlacedTask("c", "n1"))


def test_a_good_plan_passes() -> None:
    verdict = check(CLUSTER, Placement(GOOD))
    assert verdict.ok
    assert verdict.objective == 0.5
    assert verdict.measures["tasks_served"] == 2
    assert verdict.measures["nodes_used"] == 2
    assert verdict.measures["demand_gpus"] == pytest.approx(3.1)


@pytest.mark.parametrize(
    ("rule", "amount", "placed"),
    [
        ("unknown_task", 1, (PlacedTask("x", "n0"),)),
        ("unknown_node", 1, (PlacedTask("c", "n9"),)),
        ("task_placed_twice", 1, (*GOOD, PlacedTask("c", "n0"))),
        ("gpu_type", 1, (PlacedTask("a", "n1", (0,), 500),)),
        ("gpu_count", 1, (PlacedTask("b", "n0", (0,), 1000),)),
        ("gpu_count", 1, (PlacedTask("c", "n0", (0,), 0),)),
        ("gpu_share", 100, (PlacedTask("a", "n0", (0,), 400),)),
        ("gpu_unknown", 1, (PlacedTask("a", "n0", (2,), 500),)),
        ("gpu_unknown", 1, (PlacedTask("a", "n0", (-1,), 500),)),
        ("gpu_repeated", 1, (PlacedTask("b", "n0", (1, 1), 1000),)),
        ("gpu_capacity", 500, (PlacedTask("a", "n0", (0,), 500), PlacedTask("b", "n0", (0, 1), 1000))),
        ("gpu_capacity", 100, (PlacedTask("a", "n0", (0,), 500), PlacedTask("d", "n0", (0,), 600))),
        ("cpu", 1000, (PlacedTask("d", "n1", (0,), 600),)),
    ],
)
def test_every_rule_is_checked(rule: str, amount: float, placed: tuple[PlacedTask, ...]) -> None:
    verdict = check(CLUSTER, Placement(placed))
    found = {violation.rule: violation.amount for violation in verdict.violations}
    assert found[rule] == amount


def test_memory_is_checked() -> None:
    nodes = Nodes.build(["n"], [10], [25], [0], [""])
    tasks = Tasks.build(["a", "b"], [1, 1], [20, 20], [0, 0], [0, 0])
    plan = Placement((PlacedTask("a", "n"), PlacedTask("b", "n")))
    (violation,) = check(ClusterPlacement("m", nodes, tasks), plan).violations
    assert (violation.rule, violation.amount, violation.unit) == ("memory", 15, "MiB")


def test_classes_group_what_is_equal() -> None:
    instance = generate_cluster(seed=2, nodes=10, tasks=60)
    classes = Classes.of(instance)
    assert classes.count.sum() == 60
    assert classes.node_count.sum() == 10
    for t, members in enumerate(classes.members):
        assert len(members) == classes.count[t]
        for task in members:
            assert classes.task_type[task] == t
            assert instance.tasks.cpu_milli[task] == classes.cpu[t]
            assert instance.tasks.memory_mib[task] == classes.memory[t]
            assert instance.demand_milli[task] == classes.value[t]
    for k, members in enumerate(classes.node_members):
        for node in members:
            assert instance.nodes.num_gpus[node] == classes.node_gpus[k]
            for t in range(classes.num_types):
                allowed = instance.tasks.allowed_types[classes.members[t][0]]
                kind = instance.nodes.gpu_types[node]
                size_fits = (
                    classes.gpus[t] <= classes.node_gpus[k]
                    and classes.cpu[t] <= classes.node_cpu[k]
                    and classes.memory[t] <= classes.node_memory[k]
                )
                assert classes.fits[t, k] == (size_fits and (not allowed or kind in allowed))


def greedy(instance: ClusterPlacement) -> Placement:
    plan = solve_instance(instance, method="best-fit").plan
    assert isinstance(plan, Placement)
    return plan


def test_counts_round_trip() -> None:
    instance = generate_cluster(seed=4, nodes=6, tasks=30)
    classes = Classes.of(instance)
    plan = greedy(instance)
    counts = encode(instance, classes, plan)
    again = decode(instance, classes, counts)
    before, after = check(instance, plan), check(instance, again)
    assert after.ok
    assert (after.objective, after.measures) == (before.objective, before.measures)
    assert np.array_equal(encode(instance, classes, again).placed, counts.placed)


def test_a_start_is_feasible_in_both_formulations() -> None:
    instance = generate_cluster(seed=6, nodes=4, tasks=20)
    plan = greedy(instance)
    built = placement_model(instance)
    values = built.start(plan)
    program = built.model.compile()
    matrix = program.matrix
    rows = np.zeros(program.num_rows)
    columns = np.repeat(np.arange(program.num_columns), np.diff(matrix.starts))
    np.add.at(rows, matrix.rows, matrix.values * values[columns])
    assert (rows >= program.row_lower - 1e-9).all()
    assert (rows <= program.row_upper + 1e-9).all()
    assert (values >= program.lower).all()
    assert (values <= program.upper).all()
    assert check(instance, built.decode(values)).objective == check(instance, plan).objective
    cp = placement_cp(instance)
    cp.hint(plan)
    assert cp.model.validate() == ""


def reached(instance: ClusterPlacement, result: Result[Placement]) -> Optimum:
    assert result.verdict is not None
    measures = result.verdict.measures
    idle = len(instance.nodes) - int(measures["nodes_used"])
    return round(result.objective * 1000), int(measures["tasks_served"]), idle


@settings(max_examples=20, deadline=None)
@given(instance=tiny_clusters())
def test_cp_sat_finds_the_optimum(instance: ClusterPlacement) -> None:
    result = solve_instance(instance, SolveOptions(gap=0.0), method="cp-sat")
    assert reached(instance, result) == optimum(instance)
    assert result.extras["nodes_bound"] == result.extras["nodes_used"]
    assert result.extras["tasks_bound"] == result.extras["tasks_served"]


@settings(max_examples=20, deadline=None)
@given(instance=tiny_clusters())
def test_the_array_mip_finds_the_optimum(instance: ClusterPlacement) -> None:
    result = solve_instance(instance, SolveOptions(gap=0.0), method="mip")
    assert reached(instance, result) == optimum(instance)
    assert result.bounds.dual == pytest.approx(result.objective)
