from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.cluster import ClusterPlacement, Nodes, PlacedTask, Placement, Tasks
from apportion.instances.commitment import ProductionPoint, StartupCategory, ThermalUnit, UnitCommitment
from apportion.instances.errors import OptionError
from apportion.instances.generate import generate
from apportion.instances.routing import VehicleRouting
from apportion.models.commitment.screens import least_power, most_power, screen_hours
from apportion.models.explaining import Diagnosis
from apportion.solvers.explain import EXPLAINERS, explain, explain_text
from apportion.solvers.options import SolveOptions
from apportion.solvers.registry import METHODS
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status


def test_every_problem_has_an_explainer() -> None:
    assert set(METHODS) <= set(EXPLAINERS)


def cluster() -> ClusterPlacement:
    nodes = Nodes.build(["a", "b"], [8000, 64000], [4096, 8192], [4, 2], ["h100", "t4"])
    tasks = Tasks.build(
        ["j7", "j8", "typed", "cpu", "mem", "both", "fits", "more", "share"],
        [1000, 1000, 1000, 90000, 1000, 32000, 1000, 1000, 1000],
        [64, 64, 64, 64, 99999, 64, 64, 64, 64],
        [8, 8, 1, 0, 0, 4, 4, 4, 1],
        [1000, 1000, 1000, 0, 0, 1000, 1000, 1000, 250],
        [("h100",), ("h100",), ("a100",), (), (), (), ("h100",), ("h100",), ()],
    )
    return ClusterPlacement("cluster", nodes, tasks)


def test_tasks_that_no_node_can_hold() -> None:
    texts = [str(finding) for finding in explain(cluster()).findings]
    assert texts[:5] == [
        (
            "task j7 (and 1 more like it) can never be placed: it asks for 8 x h100 on one node, "
            "the largest such node has 4"
        ),
        "task typed can never be placed: it asks for 1 x a100, the cluster has none",
        "task cpu can never be placed: it asks for 90 CPUs on one node, the largest node has 64 CPUs",
        "task mem can never be placed: it asks for 99999 MiB of memory on one node, the largest node has 8192 MiB",
        "task both can never be placed: it asks for 4 x GPU, 32 CPUs and 64 MiB on one node, no node has all three",
    ]
    assert "tasks bound to h100 ask for 8 GPUs, the cluster has 4 of them" in texts
    assert "the tasks ask for 29.25 GPUs in all, the cluster has 6: 23.25 GPUs must be left unserved" in texts


def test_why_tasks_wait_in_a_plan() -> None:
    plan = Placement((PlacedTask("fits", "a", (0, 1, 2, 3), 1000),))
    text = explain_text(cluster(), plan=plan)
    assert text.startswith("The plan keeps every rule")
    assert "task more waits: of 1 node(s) that could hold it 1 lack free GPUs" in text
    assert "task share waits although node b has room for it: the plan can be improved" in text


@given(st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_never_placed_means_that_no_node_holds_it(seed: int) -> None:
    instance = generate("cluster-placement", seed=seed)
    assert isinstance(instance, ClusterPlacement)
    never = {f.place.removeprefix("task ") for f in explain(instance).findings if "never" in f.sentence}
    nodes, tasks = instance.nodes, instance.tasks
    for i, name in enumerate(tasks.names):
        held = (nodes.num_gpus >= tasks.num_gpus[i]) & (nodes.cpu_milli >= tasks.cpu_milli[i])
        held &= nodes.memory_mib >= tasks.memory_mib[i]
        allowed = tasks.allowed_types[i]
        held &= np.array([not allowed or kind in allowed for kind in nodes.gpu_types])
        if name in never:
            assert not held.any()


def test_an_empty_cluster() -> None:
    nodes = Nodes.build([], [], [], [], [])
    tasks = Tasks.build(["a"], [1], [1], [0], [0])
    texts = [str(f) for f in explain(ClusterPlacement("none", nodes, tasks)).findings]
    assert texts == ["task a can never be placed: it asks for a node, the cluster has none"]


def routing(**changes: object) -> VehicleRouting:
    square = np.array([[0.0, 5, 5, 7], [5, 0, 7, 5], [5, 7, 0, 5], [7, 5, 5, 0]])
    base = VehicleRouting.capacitated("square", square, demand=[0, 3, 3, 3], capacity=5.0)
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("instance", "said"),
    [
        (routing(demand=np.array([0.0, 3, 9, 3])), "client 2 asks for 9, a vehicle carries 5"),
        (routing(due=np.array([90.0, 4, 90, 90])), "client 1 closes at 4, no vehicle is there before 5"),
        (routing(due=np.array([13.0, 13, 13, 13])), "from client 3 no vehicle is back before 14"),
        (routing(num_vehicles=1), "the clients ask for 9, 1 vehicles carry 5"),
        (routing(num_vehicles=2), "3 clients ask for more than half a vehicle each"),
    ],
)
def test_routes_that_cannot_exist(instance: VehicleRouting, said: str) -> None:
    explanation = explain(instance)
    assert explanation.diagnosis is Diagnosis.INFEASIBLE
    assert said in str(explanation)


def test_routes_that_nothing_forbids() -> None:
    explanation = explain(routing(num_vehicles=3))
    assert explanation.diagnosis is Diagnosis.SOLVABLE
    assert "60.0%" in str(explanation)
    with pytest.raises(OptionError, match="explain programs, not vehicle-routing"):
        explain(routing(), groups={})


def unit(**changes: object) -> ThermalUnit:
    base = ThermalUnit(
        name="g1",
        power_min_mw=20,
        power_max_mw=100,
        ramp_up_mw=30,
        ramp_down_mw=30,
        startup_limit_mw=40,
        shutdown_limit_mw=40,
        min_up_h=2,
        min_down_h=3,
        initially_on=True,
        initial_power_mw=50,
        initial_up_h=5,
        initial_down_h=0,
        startup=(StartupCategory(1, 10.0),),
        production=(ProductionPoint(20, 200.0), ProductionPoint(100, 1200.0)),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


OFF = {"initially_on": False, "initial_power_mw": 0, "initial_up_h": 0, "initial_down_h": 1}


def test_what_a_unit_can_reach() -> None:
    assert most_power(unit(), 4).tolist() == [80, 100, 100, 100]
    assert most_power(unit(**OFF), 5).tolist() == [0, 0, 40, 70, 100]
    assert least_power(unit(), 2).tolist() == [0, 0]
    assert least_power(unit(must_run=True), 3).tolist() == [20, 20, 20]
    assert least_power(unit(initial_up_h=1, initial_power_mw=90), 3).tolist() == [60, 0, 0]


def test_hours_that_cannot_be_served() -> None:
    instance = UnitCommitment("short", np.array([60.0, 95, 120]), np.array([5.0, 10, 0]), (unit(),))
    explanation = explain(instance)
    assert explanation.diagnosis is Diagnosis.INFEASIBLE
    assert [(f.place, f.amount) for f in explanation.findings] == [("hour 2", 5.0), ("hour 3", 20.0)]
    assert "hour 2: demand 95 MW and reserve 10 MW" in str(explanation)
    assert "5 MW are missing" in str(explanation)
    low = UnitCommitment("low", np.array([60.0, 10]), np.zeros(2), (unit(must_run=True),))
    assert "units that have to run give at least 20 MW" in str(explain(low))


@given(st.integers(0, 30), st.floats(0.3, 1.6))
@settings(max_examples=12, deadline=None)
def test_screens_never_accuse_what_can_be_solved(seed: int, factor: float) -> None:
    instance = generate("unit-commitment", seed=seed, units=3, periods=4)
    assert isinstance(instance, UnitCommitment)
    scaled = replace(instance, demand_mw=instance.demand_mw * factor)
    result = solve_instance(scaled, SolveOptions(time_limit_s=20.0))
    if result.status.has_plan:
        assert not screen_hours(scaled)
    elif result.status is Status.INFEASIBLE and not screen_hours(scaled):
        assert explain(scaled, options=SolveOptions(time_limit_s=20.0)).diagnosis is Diagnosis.INFEASIBLE


def test_a_commitment_that_only_its_rules_forbid() -> None:
    # each hour by itself can be served, but the unit cannot stop for one hour and be back
    instance = UnitCommitment("dip", np.array([50.0, 0, 50]), np.zeros(3), (unit(initial_power_mw=30),))
    assert not screen_hours(instance)
    explanation = explain(instance)
    assert explanation.diagnosis is Diagnosis.INFEASIBLE
    assert explanation.conflict is not None
    assert "demand" in explanation.conflict.groups
    assert explanation.name == "dip"
