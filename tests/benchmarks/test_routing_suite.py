from __future__ import annotations

from math import isfinite

from apportion.bench.registry import Context, specs_of
from apportion.bench.suites.routing import cvrp, ortools_objective, rich, vrptw
from apportion.instances.generate.routing import generate_routing
from apportion.instances.rich_routing import RichRouting
from apportion.models.checking import CHECKS


def test_the_cases_are_registered() -> None:
    assert [spec.name for spec in specs_of("routing")] == ["cvrp", "vrptw", "rich"]
    assert RichRouting.problem in CHECKS


def test_the_quick_cases_run() -> None:
    rows = [*cvrp(Context(quick=True)), *vrptw(Context(quick=True)), *rich(Context(quick=True))]
    assert len(rows) == 2
    assert all(isfinite(row.ours) for row in rows)


def test_the_peer_finds_routes() -> None:
    for timed in (False, True):
        instance = generate_routing(1, clients=12, time_windows=timed)
        assert ortools_objective(instance, 10, 0.5) > 0
