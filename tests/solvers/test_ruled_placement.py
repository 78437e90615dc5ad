"""Placement with gangs, topology, affinity, quotas, MIG and running tasks: right on every tiny cluster."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from apportion.instances.cluster import ClusterPlacement, Nodes, Tasks
from apportion.instances.cluster_rules import Gang, PlacementRules
from apportion.instances.errors import CapabilityError
from apportion.instances.generate.cluster_rules import generate_gangs
from apportion.solvers.cluster import ruled
from apportion.solvers.options import SolveOptions
from apportion.solvers.registry import methods_of
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status
from tiny_clusters import best_aims, tiny_ruled_clusters


@settings(max_examples=25, deadline=None)
@given(instance=tiny_ruled_clusters())
def test_the_default_method_is_right_on_tiny_clusters(instance: ClusterPlacement) -> None:
    result = solve_instance(instance, SolveOptions(gap=0.0))
    best = best_aims(instance)
    if best is None:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL, result.message
    found = [result.extras[f"aim_{i}"] for i in range(1, len(best) + 1)]
    assert found == pytest.approx(best)
    for value, bound in zip(best, (result.extras[f"aim_{i}_bound"] for i in range(1, len(best) + 1)), strict=True):
        assert value <= bound + 1e-6


@settings(max_examples=15, deadline=None)
@given(instance=tiny_ruled_clusters())
def test_greedy_claims_only_what_is_true(instance: ClusterPlacement) -> None:
    result = solve_instance(instance, SolveOptions(gap=0.0), method="best-fit")
    best = best_aims(instance)
    if result.plan is not None:
        assert best is not None
        assert result.objective <= best[0] + 1e-6
        assert best[0] <= result.bounds.dual + 1e-6


def test_windows_only_improve_and_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ruled, "_SMALL", 0)
    monkeypatch.setattr(ruled, "_WHOLE_WORK", 1e-4)
    instance = generate_gangs(seed=2, nodes=6, load=1.2, mig=0.3)
    options = SolveOptions(deterministic=True, node_limit=2, gap=0.0)
    greedy = solve_instance(instance, method="best-fit")
    one, two = solve_instance(instance, options), solve_instance(instance, options)
    assert one.counts["windows"] > 0
    assert greedy.objective <= one.objective <= one.bounds.dual
    assert one.plan == two.plan
    assert one.bounds == two.bounds


@pytest.mark.parametrize(
    "method", [m for m in methods_of("cluster-placement") if m not in ("default", "best-fit", "cp-sat")]
)
def test_methods_that_know_no_rules_refuse(method: str) -> None:
    nodes = Nodes.build(["n"], [1000], [1], [1], ["A"])
    tasks = Tasks.build(["a"], [1], [1], [1], [1000])
    instance = ClusterPlacement("one", nodes, tasks, PlacementRules(gangs=(Gang("g", ("a",)),)))
    with pytest.raises(CapabilityError, match="gangs"):
        solve_instance(instance, method=method)
