"""The methods for clusters: true answers, limits honoured, the same seed the same plan."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings

from apportion.instances.cluster import ClusterPlacement, Nodes, PlacedTask, Placement, Tasks
from apportion.instances.core import Instance
from apportion.instances.errors import CapabilityError
from apportion.instances.generate.cluster import generate_cluster
from apportion.instances.reading import read
from apportion.solvers.advisor import Advice
from apportion.solvers.events import Event, EventKind
from apportion.solvers.options import SolveOptions
from apportion.solvers.registry import methods_of
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Limit, Status
from realdata import data_file
from tiny_clusters import optimum, tiny_clusters

SMALL = Path(__file__).parents[2] / "instances" / "data" / "cluster_small.json"
METHODS = methods_of("cluster-placement")


@settings(max_examples=25, deadline=None)
@given(instance=tiny_clusters())
def test_the_default_method_is_right_on_tiny_clusters(instance: ClusterPlacement) -> None:
    result = solve_instance(instance, SolveOptions(gap=0.0))
    served, tasks, idle = optimum(instance)
    assert result.status is Status.OPTIMAL
    assert round(result.objective * 1000) == served
    assert result.extras["tasks_served"] == tasks
    assert result.extras["nodes_used"] == len(instance.nodes) - idle
    assert result.extras["tasks_bound"] >= tasks
    assert result.extras["nodes_bound"] <= len(instance.nodes) - idle


@settings(max_examples=15, deadline=None)
@given(instance=tiny_clusters())
def test_best_fit_claims_only_what_is_true(instance: ClusterPlacement) -> None:
    result = solve_instance(instance, SolveOptions(gap=0.0), method="best-fit")
    served, tasks, _ = optimum(instance)
    assert result.status.has_plan
    assert result.objective <= served / 1000 <= result.bounds.dual
    assert result.extras["tasks_bound"] >= tasks


def test_the_shipped_instance_is_proven() -> None:
    events: list[Event] = []
    result = solve_instance(read(SMALL), listener=events.append)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(result.bounds.dual, rel=1e-4)
    assert result.extras["nodes_used"] == result.extras["nodes_bound"]
    kinds = [event.kind for event in events]
    assert EventKind.BOUND in kinds
    found = [event.bounds.primal for event in events if event.kind is EventKind.INCUMBENT]
    assert found == sorted(found)
    assert len(found) >= 3


def test_the_same_seed_gives_the_same_plan() -> None:
    instance = generate_cluster(seed=11, nodes=12, tasks=90)
    options = SolveOptions(deterministic=True, seed=5, node_limit=3)
    one, two = solve_instance(instance, options), solve_instance(instance, options)
    assert one.plan == two.plan
    assert one.bounds == two.bounds


def one_task(task: Tasks) -> ClusterPlacement:
    return ClusterPlacement("one", Nodes.build(["n"], [1000], [1000], [1], ["A"]), task)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "tasks",
    [
        Tasks.build([], [], [], [], []),
        Tasks.build(["far"], [5000], [1], [1], [1000]),
        Tasks.build(["far"], [1], [1], [2], [1000]),
        Tasks.build(["far"], [1], [1], [1], [1000], [("B",)]),
    ],
)
def test_nothing_that_fits_is_an_empty_plan(method: str, tasks: Tasks) -> None:
    result = solve_instance(one_task(tasks), method=method)
    assert result.status is Status.OPTIMAL
    assert result.plan == Placement()
    assert result.bounds.primal == result.bounds.dual == 0


@pytest.mark.parametrize("method", METHODS)
def test_no_nodes_at_all(method: str) -> None:
    nodes = Nodes.build([], [], [], [], [])
    result = solve_instance(ClusterPlacement("none", nodes, Tasks.build(["t"], [1], [1], [0], [0])), method=method)
    assert result.status is Status.OPTIMAL
    assert result.plan == Placement()


@pytest.mark.parametrize("method", METHODS)
def test_a_node_without_cpu_and_tasks_without_needs(method: str) -> None:
    nodes = Nodes.build(["n", "m"], [0, 0], [0, 0], [0, 0], ["", ""])
    tasks = Tasks.build(["a", "b"], [0, 0], [0, 0], [0, 0], [0, 0])
    result = solve_instance(ClusterPlacement("idle", nodes, tasks), method=method)
    assert result.extras["tasks_served"] == 2
    if method != "best-fit" and not method.startswith("online"):
        assert result.extras["nodes_used"] == 1


def test_a_start_is_taken() -> None:
    instance = generate_cluster(seed=1, nodes=6, tasks=40)
    best = solve_instance(instance, method="best-fit")
    events: list[Event] = []
    result = solve_instance(instance, SolveOptions(start=best.plan), listener=events.append)
    assert result.objective >= best.objective
    first = next(event for event in events if event.kind is EventKind.INCUMBENT)
    assert first.letter == "S"
    assert first.bounds.primal == best.objective


class Adviser:
    def __init__(self, start: Placement) -> None:
        self.start = start

    def advise(self, instance: Instance) -> Advice:
        return Advice(start=self.start)


def test_wrong_advice_is_named_and_left_out() -> None:
    instance = generate_cluster(seed=1, nodes=6, tasks=40)
    events: list[Event] = []
    wrong = Adviser(Placement((PlacedTask("nobody", "nowhere"),)))
    result = solve_instance(instance, method="best-fit", advisor=wrong, listener=events.append)
    assert result.plan is not None
    assert any("unknown_task at nobody" in event.message for event in events if event.kind is EventKind.LOG)


def test_cancelling_keeps_a_plan() -> None:
    instance = generate_cluster(seed=2, nodes=40, tasks=320)
    cancelled = threading.Event()

    def listen(event: Event) -> None:
        if event.kind is EventKind.INCUMBENT:
            cancelled.set()

    result = solve_instance(instance, listener=listen, cancelled=cancelled)
    assert result.status is Status.FEASIBLE
    assert result.limit is Limit.INTERRUPTED
    assert result.objective > 0


@pytest.mark.parametrize("method", ["default", "cp-sat", "mip"])
def test_the_time_limit_holds(method: str) -> None:
    instance = generate_cluster(seed=2, nodes=16, tasks=120)
    solve_instance(instance, method="best-fit")
    began = time.perf_counter()
    result = solve_instance(instance, SolveOptions(time_limit_s=1.5, gap=0.0), method=method)
    assert time.perf_counter() - began < 15
    assert result.plan is not None
    assert result.status is Status.OPTIMAL or result.limit is Limit.TIME


def test_exact_methods_refuse_what_is_too_large() -> None:
    instance = generate_cluster(seed=0, nodes=4000, tasks=4000)
    with pytest.raises(CapabilityError, match="Maybe the default method"):
        solve_instance(instance, method="mip")


@pytest.mark.data
def test_the_published_trace_is_solved_and_bounded() -> None:
    instance = read(data_file("gpu/openb/openb_pod_list_multigpu40.csv.gz"))
    result = solve_instance(instance, SolveOptions(gap=1e-3, node_limit=0, deterministic=True), method="best-fit")
    assert result.verdict is not None
    assert result.verdict.ok
    assert 5900 < result.objective < result.bounds.dual <= 6212


@pytest.mark.data
@pytest.mark.long
@pytest.mark.parametrize(("variant", "gap"), [("default", 1e-3), ("gpuspec25", 5e-3), ("multigpu20", 5e-3)])
def test_published_traces_are_solved_within(variant: str, gap: float) -> None:
    instance = read(data_file(f"gpu/openb/openb_pod_list_{variant}.csv.gz"))
    result = solve_instance(instance, SolveOptions(time_limit_s=90))
    assert result.verdict is not None
    assert result.verdict.ok
    assert result.bounds.gap <= gap
