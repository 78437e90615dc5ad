from __future__ import annotations

from math import isfinite, isnan

import pytest

from apportion.bench.registry import Context, specs_of
from apportion.bench.routing_peers import PEERS, is_installed, peer_objective
from apportion.bench.suites.routing import cvrp, rich, vrptw
from apportion.instances.generate.routing import generate_routing
from apportion.instances.rich_routing import RichRouting
from apportion.models.checking import CHECKS


def test_the_cases_are_registered() -> None:
    assert {"cvrp", "vrptw", "xxl", "rich"} <= {spec.name for spec in specs_of("routing")}
    assert RichRouting.problem in CHECKS


def test_the_quick_cases_run() -> None:
    rows = [*cvrp(Context(quick=True)), *vrptw(Context(quick=True)), *rich(Context(quick=True))]
    assert len(rows) == 2
    assert all(isfinite(row.ours) for row in rows)


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_finds_routes(peer: str) -> None:
    if not is_installed(peer):
        pytest.skip(f"{peer} is not installed")
    for timed in (False, True):
        instance = generate_routing(1, clients=12, time_windows=timed)
        found = peer_objective(peer, instance, 10 if timed else 1, 0.5, 1)
        if peer == "hgs" and timed:
            assert isnan(found)
        else:
            assert found > 0
