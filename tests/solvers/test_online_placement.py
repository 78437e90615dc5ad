"""Replays: what may run where, who waits how long, and what nobody can beat."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apportion
from apportion.instances.cluster import ClusterPlacement, Nodes, Tasks
from apportion.instances.errors import OptionError
from apportion.instances.generate.arrivals import inflated_arrivals
from apportion.instances.generate.cluster import generate_cluster
from apportion.instances.reading import read
from apportion.models.checking import check
from apportion.solvers.online.admission import Admission, replay_with_waiting
from apportion.solvers.online.ceiling import ceiling_gpus
from apportion.solvers.online.policy import RULES, RulePolicy
from apportion.solvers.online.replay import OnlinePlacement, replay
from apportion.solvers.online.snapshot import Choice, Request, Snapshot
from apportion.solvers.online.workload import SharePrices, TypicalTasks
from apportion.solvers.registry import methods_of
from apportion.solvers.status import Status
from realdata import data_file
from tiny_clusters import node_holds, optimum, tiny_clusters


def fits_somewhere(snapshot: Snapshot, request: Request) -> bool:
    """Whether any node has room, looked at one by one."""
    for node in range(len(snapshot.num_gpus)):
        accepted = not request.allowed_types or snapshot.kinds[snapshot.kind[node]] in request.allowed_types
        room = snapshot.gpu_free[node][: snapshot.num_gpus[node]]
        enough = snapshot.cpu_free[node] >= request.cpu_milli and snapshot.memory_free[node] >= request.memory_mib
        if accepted and enough and int((room >= request.gpu_milli).sum()) >= request.num_gpus:
            return True
    return False


@pytest.mark.parametrize("name", list(RULES))
@settings(max_examples=15, deadline=None)
@given(cluster=tiny_clusters(most_tasks=10))
def test_plans_are_valid_and_refuse_nothing_that_fits(cluster: ClusterPlacement, name: str) -> None:
    policy = RulePolicy.named(name, cluster, seed=4)
    played = replay(cluster, policy)
    assert check(cluster, played.placement()).ok
    snapshot = Snapshot.of_cluster(cluster)
    for t, choice in enumerate(played.choices):
        request = Request.of(cluster.tasks, t)
        assert (choice is None) == (not fits_somewhere(snapshot, request))
        if choice is not None:
            snapshot.place(request, choice)
    assert (snapshot.gpu_free >= 0).all()


@pytest.mark.parametrize("name", list(RULES))
def test_remembered_scores_change_nothing(name: str) -> None:
    cluster = generate_cluster(seed=3, nodes=10, tasks=90, load=1.3)
    policy = RulePolicy.named(name, cluster)
    online = OnlinePlacement(Snapshot.of_cluster(cluster), policy)
    random = np.random.default_rng(1)
    for t, task in enumerate(cluster.tasks.names):
        request = Request.of(cluster.tasks, t)
        choice = online.choose(request)
        online.snapshot.memory.clear() if random.random() < 0.5 else None
        assert choice == online.policy.choose(online.snapshot, request)
        if choice is not None:
            online.start(task, request, choice)
        if online.running and random.random() < 0.3:
            online.stop(next(iter(online.running)))
    assert (online.snapshot.gpu_free >= 0).all()


def test_release_gives_everything_back() -> None:
    cluster = generate_cluster(seed=3, nodes=5, tasks=40)
    online = OnlinePlacement(Snapshot.of_cluster(cluster), RulePolicy.named("least-loss", cluster))
    for t, task in enumerate(cluster.tasks.names):
        request = Request.of(cluster.tasks, t)
        choice = online.choose(request)
        if choice is not None:
            online.start(task, request, choice)
    for task in list(online.running):
        online.stop(task)
    empty = Snapshot.of_cluster(cluster)
    for field in ("cpu_free", "memory_free", "gpu_free", "groups"):
        assert (getattr(online.snapshot, field) == getattr(empty, field)).all()


def test_no_gpu_is_given_twice() -> None:
    snapshot = Snapshot.empty(Nodes.build(["n"], [8000], [64], [2], ["T4"]))
    snapshot.place(Request(0, 0, 1, 700), Choice(0, (1,)))
    for request, gpus in (
        (Request(0, 0, 1, 400), (1,)),
        (Request(0, 0, 2, 1000), (0, 1)),
        (Request(0, 0, 2, 1000), (0, 0)),
        (Request(0, 0, 1, 100), (2,)),
        (Request(0, 0, 1, 100), (0, 1)),
        (Request(9000, 0, 1, 100), (0,)),
        (Request(0, 65, 1, 100), (0,)),
    ):
        with pytest.raises(OptionError, match="no room"):
            snapshot.place(request, Choice(0, gpus))
    assert snapshot.gpu_free.tolist() == [[1000, 300]]


def test_a_policy_of_other_gpu_types_is_refused() -> None:
    cluster = generate_cluster(seed=1)
    snapshot = Snapshot.empty(Nodes.build(["n"], [8000], [64], [2], ["other"]))
    with pytest.raises(OptionError, match="GPU types"):
        RulePolicy.named("fgd", cluster).choose(snapshot, Request(0, 0, 1, 400))
    with pytest.raises(OptionError, match="Maybe one of least-loss"):
        RulePolicy.named("nonsense", cluster)


def test_typical_tasks_are_the_most_popular() -> None:
    tasks = Tasks.build("abcdef", *np.array([[1] * 6, [0] * 6, [1] * 6, [500, 500, 500, 200, 200, 900]]))
    typical = TypicalTasks.of(tasks, ("T4",), 0.8)
    assert typical.gpu_milli.tolist() == [500, 200]
    assert typical.popularity.tolist() == pytest.approx([0.6, 0.4])


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.sampled_from([150, 190, 300, 450, 550, 810]), min_size=1, max_size=7))
def test_share_prices_are_dual_feasible_and_tight(sizes: list[int]) -> None:
    count = len(sizes)
    prices = SharePrices.of(Tasks.build("abcdefg"[:count], *np.array([[1] * count, [0] * count, [1] * count, sizes])))
    price = dict(zip(prices.size.tolist(), prices.price.tolist(), strict=True))
    for filling in product(*(range(1000 // s + 1) for s in prices.size[:-1])):
        if np.dot(filling, prices.size[:-1]) <= 1000:
            assert np.dot(filling, prices.price[:-1]) <= 1 + 1e-6
    assert sum(price[s] for s in sizes) == pytest.approx(prices.least_gpus)


@settings(max_examples=30, deadline=None)
@given(cluster=tiny_clusters())
def test_no_placement_beats_the_ceiling(cluster: ClusterPlacement) -> None:
    assert optimum(cluster)[0] / 1000 <= ceiling_gpus(cluster) + 1e-6


@settings(max_examples=20, deadline=None)
@given(cluster=tiny_clusters(most_tasks=5), first=st.integers(0, 3))
def test_no_placement_that_serves_the_first_beats_their_ceiling(cluster: ClusterPlacement, first: int) -> None:
    first = min(first, len(cluster.tasks))
    ceiling = ceiling_gpus(cluster, first)
    for choice in product(range(-1, len(cluster.nodes)), repeat=len(cluster.tasks)):
        if -1 in choice[:first]:
            continue
        on = {n: [t for t, c in enumerate(choice) if c == n] for n in set(choice) - {-1}}
        if all(node_holds(cluster, n, tasks) for n, tasks in on.items()):
            served = sum(int(cluster.demand_milli[t]) for t, c in enumerate(choice) if c >= 0)
            assert served / 1000 <= ceiling + 1e-6


@pytest.mark.parametrize("most_wait", [0, 5, 60, 10_000])
def test_nobody_waits_longer_than_the_bound(most_wait: int) -> None:
    cluster = inflated_arrivals(generate_cluster(seed=2, nodes=12, tasks=90), 1.4, seed=1)
    rule = Admission.of(RulePolicy.named("least-loss", cluster), cluster, most_wait)
    played = replay_with_waiting(cluster, rule)
    assert check(cluster, played.placement()).ok
    assert played.waited.max() <= most_wait
    if most_wait == 0:
        assert played.choices == replay(cluster, rule.policy).choices


def test_waiting_tasks_serve_more() -> None:
    base = generate_cluster(seed=2, nodes=60, tasks=400)
    cluster = inflated_arrivals(base, 1.3, seed=1)
    policy = RulePolicy.named("least-loss", base)
    waited = replay_with_waiting(cluster, Admission.of(policy, base, 150))
    assert waited.final_percent > replay(cluster, policy).final_percent
    assert (waited.waited >= 0).any()
    with pytest.raises(OptionError, match="most_wait"):
        Admission.of(policy, base, -1)


def test_a_share_that_serves_what_it_costs_never_waits() -> None:
    nodes = Nodes.build(["n"], [9000], [0], [2], ["T4"])
    tasks = Tasks.build("abcd", *np.array([[1] * 4, [0] * 4, [1] * 4, [500, 500, 810, 1000]]))
    cluster = ClusterPlacement("tiny", nodes, tasks)
    rule = Admission.of(RulePolicy.named("least-loss", cluster), cluster, 100)
    snapshot = Snapshot.of_cluster(cluster)
    assert not rule.waits(snapshot, Request(1, 0, 1, 500), Choice(0, (0,)))
    assert rule.waits(snapshot, Request(1, 0, 1, 810), Choice(0, (0,)))
    snapshot.place(Request(1, 0, 1, 100), Choice(0, (0,)))
    assert not rule.waits(snapshot, Request(1, 0, 1, 810), Choice(0, (0,)))


@pytest.mark.parametrize("method", [m for m in methods_of("cluster-placement") if m.startswith("online-")])
def test_methods_place_in_the_order_of_the_file(method: str) -> None:
    cluster = generate_cluster(seed=4, nodes=8, tasks=70, load=1.3)
    result = apportion.solve(cluster, method=method, seed=3)
    assert result.status in (Status.OPTIMAL, Status.FEASIBLE)
    assert result.verdict is not None
    assert result.verdict.ok
    assert result.bounds.primal <= result.bounds.dual
    assert result.plan == apportion.solve(cluster, method=method, seed=3).plan


def test_empty_and_gpuless_clusters() -> None:
    nodes = Nodes.build(["n"], [8000], [64], [0], [""])
    tasks = Tasks.build(["a", "b"], [8000, 1], [1, 1], [0, 1], [0, 500])
    for cluster in (
        ClusterPlacement("none", nodes, tasks.build([], [], [], [], [])),
        ClusterPlacement("cpu", nodes, tasks),
    ):
        for name in RULES:
            played = replay(cluster, RulePolicy.named(name, cluster))
            assert check(cluster, played.placement()).ok
            assert np.isnan(played.allocated_percent(130)) or played.final_percent == 0
        assert ceiling_gpus(cluster) == 0


@pytest.mark.data
@pytest.mark.parametrize(
    ("rule", "published"),
    [
        ("fgd", 95.391),
        ("best-fit", 93.076),
        ("dot-product", 90.849),
        ("packing", 92.002),
        ("clustering", 91.878),
        ("random", 87.47),
    ],
)
def test_published_figures_are_reproduced(rule: str, published: float) -> None:
    nodes = data_file("gpu/openb/openb_node_list_gpu_node.csv")
    cluster = read(data_file("gpu/openb/openb_pod_list_default.csv.gz"), nodes=nodes)
    assert isinstance(cluster, ClusterPlacement)
    policy = RulePolicy.named(rule, cluster)
    seen = [replay(inflated_arrivals(cluster, 1.3, seed), policy).allocated_percent(130) for seed in (42, 43)]
    # the mean of ten is within 0.4; two of them spread more, by up to 0.6 where the published deviation is
    assert np.mean(seen) == pytest.approx(published, abs=0.8)


@pytest.mark.data
def test_least_loss_beats_fgd_on_the_published_trace() -> None:
    nodes = data_file("gpu/openb/openb_node_list_gpu_node.csv")
    cluster = read(data_file("gpu/openb/openb_pod_list_default.csv.gz"), nodes=nodes)
    assert isinstance(cluster, ClusterPlacement)
    arrivals = inflated_arrivals(cluster, 1.3, 42)
    played = replay(arrivals, RulePolicy.named("least-loss", cluster))
    assert check(arrivals, played.placement()).ok
    assert played.allocated_percent(130) > 95.9
