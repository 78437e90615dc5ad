"""Bounds are true claims: no placement of a tiny cluster beats them, and they move the right way."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings

from apportion.instances.cluster import ClusterPlacement, Nodes
from apportion.instances.generate.cluster import generate_cluster
from apportion.models.cluster.classes import Classes
from apportion.solvers.cluster.bounds import rounded, simple_bounds
from apportion.solvers.cluster.kernels import MATCHED_FIT
from apportion.solvers.cluster.patterns import PatternProgram, Stage
from apportion.solvers.cluster.rounding import patterns_of
from apportion.solvers.cluster.state import State, decreasing
from apportion.solvers.events import Monitor
from tiny_clusters import optimum, tiny_clusters


def bound_of(instance: ClusterPlacement, stage: Stage, served: float = 0.0, tasks: int = 0, rounds: int = 500) -> float:
    classes = Classes.of(instance)
    program = PatternProgram(classes)
    state = State.empty(instance, classes)
    state.pack(decreasing(instance), MATCHED_FIT)
    for pattern in patterns_of(state):
        program.add(pattern)
    return program.bound(stage, Monitor(instance.sense), served, tasks, rounds).value


@settings(max_examples=50, deadline=None)
@given(instance=tiny_clusters())
def test_no_placement_beats_the_bounds(instance: ClusterPlacement) -> None:
    served, tasks, idle = optimum(instance)
    classes = Classes.of(instance)
    simple = simple_bounds(instance, classes)
    assert simple[Stage.SERVED] >= served / 1000
    assert simple[Stage.TASKS] >= tasks
    for rounds in (1, 500):
        value = bound_of(instance, Stage.SERVED, rounds=rounds)
        assert rounded(Stage.SERVED, value, classes) >= served / 1000
    assert rounded(Stage.TASKS, bound_of(instance, Stage.TASKS, served / 1000), classes) >= tasks
    nodes = bound_of(instance, Stage.NODES, served / 1000, tasks)
    assert rounded(Stage.NODES, nodes, classes) <= len(instance.nodes) - idle


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_another_node_never_lowers_the_bound(seed: int) -> None:
    instance = generate_cluster(seed=seed, nodes=6, tasks=50)
    nodes = instance.nodes
    for extra in range(0, 6, 2):
        more = Nodes.build(
            [*nodes.names, "more"],
            [*nodes.cpu_milli, nodes.cpu_milli[extra]],
            [*nodes.memory_mib, nodes.memory_mib[extra]],
            [*nodes.num_gpus, nodes.num_gpus[extra]],
            [*nodes.gpu_types, nodes.gpu_types[extra]],
        )
        larger = ClusterPlacement("larger", more, instance.tasks)
        assert bound_of(larger, Stage.SERVED) >= bound_of(instance, Stage.SERVED) - 1e-6


def test_early_bounds_are_weaker_and_true() -> None:
    instance = generate_cluster(seed=3, nodes=10, tasks=80)
    final = bound_of(instance, Stage.SERVED)
    for rounds in (0, 1, 2, 4):
        assert bound_of(instance, Stage.SERVED, rounds=rounds) >= final - 1e-6


def test_a_cancelled_bound_is_the_obvious_one() -> None:
    instance = generate_cluster(seed=3, nodes=10, tasks=80)
    cancelled = threading.Event()
    cancelled.set()
    found = PatternProgram(Classes.of(instance)).bound(Stage.SERVED, Monitor(instance.sense, cancelled=cancelled))
    assert found.rounds == 0
    assert not found.tight
    assert found.value == pytest.approx(min(instance.demand_gpus, instance.capacity_gpus))


def test_bounds_are_rounded_to_what_can_be_reached() -> None:
    instance = generate_cluster(seed=3, nodes=10, tasks=80)
    classes = Classes.of(instance)
    step = int(np.gcd.reduce(classes.value))
    assert step == 10
    assert rounded(Stage.SERVED, 12.3456, classes) == 12.34
    assert rounded(Stage.SERVED, 12.3400000000001, classes) == 12.34
    assert rounded(Stage.SERVED, 12.3399999999999, classes) == 12.34
    assert rounded(Stage.TASKS, 7.9, classes) == 7
    assert rounded(Stage.NODES, 7.1, classes) == 8
    assert rounded(Stage.NODES, 7.0000000001, classes) == 7


def test_tasks_without_cpu_are_counted_in_the_bound() -> None:
    instance = generate_cluster(seed=3, nodes=4, tasks=30)
    tasks = instance.tasks
    free = type(tasks)(
        tasks.names, np.zeros(30, np.int64), tasks.memory_mib, tasks.num_gpus, tasks.gpu_milli, tasks.allowed_types
    )
    light = ClusterPlacement("light", instance.nodes, free)
    assert bound_of(light, Stage.TASKS) >= int((tasks.num_gpus == 0).sum())
