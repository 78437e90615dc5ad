"""Fewest migrations for a gang, against all ways on tiny clusters."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.cluster import ClusterPlacement, Nodes, PlacedTask, Placement, Tasks
from apportion.instances.errors import InstanceError, OptionError
from apportion.instances.generate.cluster import generate_cluster
from apportion.models.checking import check
from apportion.solvers.cluster.defragment import defragment
from apportion.solvers.online.policy import RulePolicy
from apportion.solvers.online.replay import replay
from apportion.solvers.online.snapshot import Choice, Request, Snapshot
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status
from tiny_clusters import tiny_clusters

_WORKERS = (Request(0, 0, 1, 500), Request(1000, 1, 1, 1000), Request(0, 0, 2, 1000), Request(2000, 0, 0, 0))


def places(snapshot: Snapshot, request: Request) -> list[Choice]:
    """Every node and choice of GPUs with room."""
    found = []
    for node in range(len(snapshot.num_gpus)):
        if request.allowed_types and snapshot.kinds[snapshot.kind[node]] not in request.allowed_types:
            continue
        if snapshot.cpu_free[node] < request.cpu_milli or snapshot.memory_free[node] < request.memory_mib:
            continue
        fitting = [g for g in range(snapshot.num_gpus[node]) if snapshot.gpu_free[node, g] >= request.gpu_milli]
        found += [Choice(node, gpus) for gpus in combinations(fitting, request.num_gpus)]
    return found


def brute_force(cluster: ClusterPlacement, running: Placement, worker: Request, num_workers: int) -> int | None:
    """The fewest moves over all ways to place the running tasks and the workers; None when there is no way."""
    requests = dict(
        zip(cluster.tasks.names, (Request.of(cluster.tasks, t) for t in range(len(cluster.tasks))), strict=True)
    )
    node_at = {name: i for i, name in enumerate(cluster.nodes.names)}
    snapshot = Snapshot.of_cluster(cluster)
    best: list[int | None] = [None]

    def place(k: int, moves: int) -> None:
        if best[0] is not None and moves >= best[0]:
            return
        if k == len(running.placed) + num_workers:
            best[0] = moves
            return
        old = running.placed[k] if k < len(running.placed) else None
        request = worker if old is None else requests[old.task]
        for choice in places(snapshot, request):
            stays = old is None or (choice.node, choice.gpus) == (node_at[old.node], old.gpus)
            snapshot.place(request, choice)
            place(k + 1, moves + (not stays))
            snapshot.release(request, choice)

    place(0, 0)
    return best[0]


@settings(max_examples=40, deadline=None)
@given(cluster=tiny_clusters(most_tasks=4), worker=st.sampled_from(_WORKERS), num_workers=st.integers(1, 2))
def test_fewest_moves_on_tiny_clusters(cluster: ClusterPlacement, worker: Request, num_workers: int) -> None:
    running = replay(cluster, RulePolicy.named("random", cluster, seed=1)).placement()
    found = defragment(cluster, running, worker, num_workers)
    best = brute_force(cluster, running, worker, num_workers)
    if best is None:
        assert found.status is Status.INFEASIBLE
        return
    assert found.status is Status.OPTIMAL
    assert len(found.migrations) == found.fewest == best
    assert found.placement is not None
    assert check(found.cluster, found.placement).ok
    assert len(found.placement.placed) == len(running.placed) + num_workers


def test_a_fragmented_cluster_gets_whole_nodes() -> None:
    cluster = generate_cluster(seed=6, nodes=30, tasks=60, load=0.6)
    running = replay(cluster, RulePolicy.named("random", cluster, seed=2)).placement()
    found = defragment(cluster, running, Request(8000, 1024, 8, 1000, ("G2",)), 3, SolveOptions(time_limit_s=60))
    assert found.placement is not None
    assert check(found.cluster, found.placement).ok
    assert found.fewest <= len(found.migrations)
    moved = {m.source.task for m in found.migrations}
    stayed = {p for p in running.placed if p.task not in moved}
    assert stayed <= set(found.placement.placed)


def test_a_gang_that_never_fits() -> None:
    nodes = Nodes.build(["a"], [9000], [0], [2], ["T4"])
    cluster = ClusterPlacement("tiny", nodes, Tasks.build("x", [1], [0], [1], [500]))
    running = Placement((PlacedTask("x", "a", (0,), 500),))
    for worker, count in (
        (Request(1, 0, 2, 1000), 1),
        (Request(1, 0, 3, 1000), 1),
        (Request(9000, 0, 1, 500), 1),
        (Request(1, 0, 1, 500, ("A100",)), 1),
        (Request(1, 0, 1, 500), 4),
    ):
        found = defragment(cluster, running, worker, count)
        assert found.status is Status.INFEASIBLE
        assert found.placement is None
    room = defragment(cluster, running, Request(1, 0, 1, 500), 3)
    assert room.status is Status.OPTIMAL
    assert room.migrations == ()


def test_bad_input_is_named() -> None:
    cluster = generate_cluster(seed=1, nodes=3, tasks=8)
    with pytest.raises(OptionError, match="num_workers"):
        defragment(cluster, Placement(), Request(1, 1, 1, 1000), 0)
    with pytest.raises(OptionError, match="breaks a rule"):
        defragment(cluster, Placement((PlacedTask("nobody", "n"),)), Request(1, 1, 1, 1000), 1)
    with pytest.raises(InstanceError, match="gpu_milli"):
        defragment(cluster, Placement(), Request(1, 1, 2, 500), 1)


def test_names_of_the_gang_are_its_own() -> None:
    nodes = Nodes.build(["a"], [9000], [0], [2], ["T4"])
    cluster = ClusterPlacement("tiny", nodes, Tasks.build(["gang-0"], *np.array([[1], [0], [1], [500]])))
    running = Placement((PlacedTask("gang-0", "a", (0,), 500),))
    found = defragment(cluster, running, Request(1, 0, 1, 500), 1)
    assert found.cluster.tasks.names == ("gang-0", "gang+-0")
