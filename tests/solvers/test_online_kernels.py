"""The scores of every rule against slow, obvious twins."""

from __future__ import annotations

from math import exp, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.cluster import ClusterPlacement
from apportion.instances.generate.cluster import generate_cluster
from apportion.solvers.online.kernels import fill_gpu, fragmentation, hashed, node_worth
from apportion.solvers.online.policy import RULES, RulePolicy
from apportion.solvers.online.replay import OnlinePlacement
from apportion.solvers.online.snapshot import Choice, Request, Snapshot
from apportion.solvers.online.workload import Worth
from tiny_clusters import tiny_clusters

pytestmark = pytest.mark.kernels

Score = float


def naive_fragments(policy: RulePolicy, cpu: int, room: list[int], kind: str) -> float:
    """The GPU milli that a typical task cannot use, one task at a time."""
    typical, total = policy.typical, 0.0
    where = typical.kinds.index(kind)
    for m, part in enumerate(typical.popularity):
        gpus, milli = int(typical.num_gpus[m]), int(typical.gpu_milli[m])
        fitting = [r for r in room if r >= milli]
        hosted = gpus > 0 and typical.accepts[m, where] and cpu >= typical.cpu_milli[m] and len(fitting) >= gpus
        total += float(part) * sum(r for r in room if not hosted or r < milli)
    return total


def naive_worth(worth: Worth, cpu: int, room: list[int]) -> float:
    """The least over the prices of CPU."""
    return min(
        float(price) * cpu + sum(float(row[r]) for r in room)
        for price, row in zip(worth.cpu_price, worth.room, strict=True)
    )


def naive_scores(
    name: str, policy: RulePolicy, snapshot: Snapshot, running: dict[int, list[Request]], request: Request
) -> dict[int, tuple[Score, tuple[int, ...]]]:
    """Score and GPUs of every node that can run the request."""
    found = {}
    for node in range(len(snapshot.num_gpus)):
        kind = snapshot.kinds[snapshot.kind[node]]
        room = [int(r) for r in snapshot.gpu_free[node][: snapshot.num_gpus[node]]]
        cpu, memory = int(snapshot.cpu_free[node]), int(snapshot.memory_free[node])
        fitting = [g for g, r in enumerate(room) if r >= request.gpu_milli]
        if request.allowed_types and kind not in request.allowed_types:
            continue
        if cpu < request.cpu_milli or memory < request.memory_mib or len(fitting) < request.num_gpus:
            continue
        if name in ("fgd", "least-loss"):
            found[node] = _naive_gradient(name, policy, cpu, room, kind, request, fitting)
            continue
        if request.is_share:
            gpus: tuple[int, ...] = (min((room[g], g) for g in fitting)[1],)
        else:
            gpus = tuple(fitting[: request.num_gpus])
        found[node] = _naive_fixed(name, cpu, room, request, gpus, running[node]), gpus
    return found


def _naive_gradient(
    name: str, policy: RulePolicy, cpu: int, room: list[int], kind: str, request: Request, fitting: list[int]
) -> tuple[Score, tuple[int, ...]]:
    options = [(g,) for g in fitting] if request.is_share else [tuple(fitting[: request.num_gpus])]
    best: tuple[Score, tuple[int, ...]] = (-1e30, ())
    for gpus in options:
        after = [r - request.gpu_milli if g in gpus else r for g, r in enumerate(room)]
        if name == "fgd":
            left = cpu - request.cpu_milli
            gain = naive_fragments(policy, cpu, room, kind) - naive_fragments(policy, left, after, kind)
            score = float(int(100 / (1 + exp(-gain / 1000))))
        else:
            loss = naive_worth(policy.worth, cpu, room) - naive_worth(policy.worth, cpu - request.cpu_milli, after)
            score = -float(floor(loss / 4 + 1e-6))
        if score > best[0]:
            best = score, gpus
    return best


def _naive_fixed(
    name: str, cpu: int, room: list[int], request: Request, gpus: tuple[int, ...], running: list[Request]
) -> float:
    total, asked = sum(room), request.demand_milli
    if name == "best-fit":
        return int((1 - (0.5 * (cpu - request.cpu_milli) / 128000 + 0.5 * (total - asked) / 8000)) * 100)
    if name == "dot-product":
        product = cpu / 128000 * (request.cpu_milli / 128000) + total / 8000 * (asked / 8000)
        return int(100 * (1 - 0.5 * product))
    if request.num_gpus == 0:
        return 0
    if name == "packing":
        if all(r == 1000 for r in room):
            return max(33 - len(room), len(room))
        if all(room[g] < 1000 for g in gpus):
            return max(100 - sum(room[g] * 100 // 1000 for g in gpus) // 10, 50)
        return max(50 - len(gpus), 33)
    label = {0 if r.is_share else r.num_gpus for r in running if r.num_gpus}
    mine = 0 if request.is_share else request.num_gpus
    bonus = (75 if len(label) == 1 else 50) if mine in label else (0 if label else 25)
    return 25 * (8000 - total) // 8000 + bonus


def expected(scores: dict[int, tuple[Score, tuple[int, ...]]]) -> Choice | None:
    """The first node with the best score."""
    if not scores:
        return None
    node = max(scores, key=lambda n: (scores[n][0], -n))
    return Choice(node, scores[node][1])


def play_against_twin(cluster: ClusterPlacement, name: str) -> None:
    """Every choice of a rule is the twin's."""
    policy = RulePolicy.named(name, cluster)
    online = OnlinePlacement(Snapshot.of_cluster(cluster), policy)
    running: dict[int, list[Request]] = {n: [] for n in range(len(cluster.nodes))}
    for t, task in enumerate(cluster.tasks.names):
        request = Request.of(cluster.tasks, t)
        choice = online.choose(request)
        assert choice == expected(naive_scores(name, policy, online.snapshot, running, request))
        if choice is not None:
            online.start(task, request, choice)
            running[choice.node].append(request)


@pytest.mark.parametrize("name", [n for n in RULES if n != "random"])
@settings(max_examples=15, deadline=None)
@given(cluster=tiny_clusters(most_tasks=10))
def test_choices_on_tiny_clusters(cluster: ClusterPlacement, name: str) -> None:
    play_against_twin(cluster, name)


@pytest.mark.parametrize("name", [n for n in RULES if n != "random"])
def test_choices_on_a_generated_cluster(name: str) -> None:
    play_against_twin(generate_cluster(seed=5, nodes=6, tasks=50, load=1.3), name)


@settings(max_examples=40, deadline=None)
@given(
    room=st.lists(st.integers(0, 1000), max_size=8),
    cpu=st.integers(0, 128_000),
    name=st.sampled_from(["T4", "G2"]),
)
def test_potentials(room: list[int], cpu: int, name: str) -> None:
    cluster = generate_cluster(seed=2)
    policy = RulePolicy.named("fgd", cluster)
    typical, where = policy.typical, policy.typical.kinds.index(name)
    array = np.array([*room, 0], np.int64)
    lost = fragmentation(
        cpu,
        array,
        len(room),
        where,
        typical.cpu_milli,
        typical.num_gpus,
        typical.gpu_milli,
        typical.accepts,
        typical.popularity,
    )
    assert lost == pytest.approx(naive_fragments(policy, cpu, room, name))
    worth = node_worth(cpu, array, len(room), policy.worth.cpu_price, policy.worth.room)
    assert worth == pytest.approx(naive_worth(policy.worth, cpu, room))


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 9)), min_size=1, max_size=4))
def test_fillings_of_a_gpu(sizes: list[tuple[int, int]]) -> None:
    best = np.zeros(21)
    fill_gpu(np.array([float(p) for _, p in sizes]), np.array([s for s, _ in sizes], np.int64), best)

    def naive(room: int) -> int:
        return max((p + naive(room - s) for s, p in sizes if s <= room and p > 0), default=0)

    assert best[[0, 5, 9]].tolist() == [naive(room) for room in (0, 5, 9)]


def test_hashes_spread() -> None:
    drawn = [hashed(3, count, node, gpu) for count in range(10) for node in range(10) for gpu in range(-1, 9)]
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= x < 1 for x in drawn)
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.05)
    assert np.std(drawn) == pytest.approx(12**-0.5, abs=0.05)


def test_the_random_rule_reaches_every_node() -> None:
    cluster = generate_cluster(seed=1, nodes=5, tasks=20)
    chosen = set()
    for seed in range(60):
        choice = RulePolicy.named("random", cluster, seed).choose(
            Snapshot.of_cluster(cluster), Request(1000, 64, 1, 300)
        )
        assert choice is not None
        chosen.add(choice.node)
    assert chosen == set(range(5))
