"""What policies decide: against the slow obvious twin, by hand, and by what every policy must keep."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import live_fakes as fakes
from apportion.instances.errors import OptionError
from apportion.scheduling.live import ClusterState, Job, Node, Phase
from apportion.scheduling.live.planning import CompletionPolicy, Planner, arrange
from apportion.scheduling.live.policies import live_policy, live_policy_names
from apportion.scheduling.live.reasons import Code, Decision
from apportion.scheduling.live.room import Room
from apportion.scheduling.live.simulated import SimulatedCluster
from apportion.solvers.online.snapshot import Request

NODES = (fakes.node("a100-1"), fakes.node("a100-2"), fakes.node("v100-1", 4, "v100"), fakes.node("cpu-1", 0, ""))


def state(*jobs: Job, nodes: tuple[Node, ...] = NODES, now_s: float = 0.0) -> ClusterState:
    return ClusterState(nodes, jobs, now_s)


def decided(found: list[Decision]) -> dict[str, Decision]:
    assert len({decision.job for decision in found}) == len(found)
    return {decision.job: decision for decision in found}


def by_greedy(*jobs: Job, **more: object) -> dict[str, Decision]:
    return decided(CompletionPolicy(search=False).decide(state(*jobs, **more), 0.0))  # type: ignore[arg-type]


def naive_starts(room: Room, order: list[int], seconds: np.ndarray) -> list[float]:
    """The plan's starts by a plain list plan without gangs: every job where it is done first."""
    free = [sorted(row[: room.num_gpus[n]].tolist()) for n, row in enumerate(room.free_at)]
    starts = [inf] * len(room.jobs)
    for j in order:
        need = room.jobs[j].request.num_gpus
        best: tuple[float, float, int, int] | None = None
        for n, row in enumerate(free):
            if not room.accepts[room.row[j], n] or need > len(row):
                continue
            begin = row[need - 1] if need else 0.0
            idle = sum(at <= begin for at in row)
            end = begin + seconds[j, room.kind[n]]
            key = (end, float(room.kind[n]), begin, idle)
            if best is None or (end, room.kind[n], begin, idle) < (best[0], best[1], best[2], best[3]):
                best, where = (key[0], key[1], begin, idle), n  # type: ignore[assignment]
        if best is None:
            continue
        starts[j] = best[2]
        row = free[where]
        last = sum(at <= best[2] for at in row)
        row[last - need : last] = [best[0]] * need
        row.sort()
    return starts


@pytest.mark.kernels
@given(
    asks=st.lists(
        st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(1, 40), st.sampled_from([1.0, 1.5, 4.0])),
        min_size=1,
        max_size=12,
    ),
    running=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(1, 50)), max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_the_plan_is_that_of_the_naive_twin(
    asks: list[tuple[int, int, float]], running: list[tuple[int, int, int]]
) -> None:
    jobs = [fakes.job(f"j{i}", gpus, seconds=1e6) for i, (gpus, _, _) in enumerate(asks)]
    jobs = [
        replace(job, seconds=(("a100", float(base)), ("v100", base * slower)))
        for job, (_, base, slower) in zip(jobs, asks, strict=True)
    ]
    held = [
        replace(fakes.job(f"r{i}", gpus, seconds=float(left)), phase=Phase.RUNNING, nodes=(NODES[n].name,))
        for i, (n, gpus, left) in enumerate(running)
    ]
    room = Room.of(state(*jobs, *held))
    seconds = room.seconds()
    order, _ = arrange(room.jobs, seconds, 0.0, inf)
    from apportion.scheduling.live import kernels

    planner = Planner(room, seconds)
    start, end = np.full(len(jobs), inf), np.full(len(jobs), inf)
    where = np.full(len(jobs), -1, np.int64)
    hole, used, picked = np.zeros_like(room.free_at), np.zeros(len(NODES), np.int64), np.zeros(1, np.int64)
    kernels.plan_jobs(
        order, planner.gpus, planner.cpu, planner.memory, planner.workers, room.row, planner.spread, planner.same,
        seconds, room.accepts, room.kind, room.num_gpus, room.cpu_total, room.memory_total, room.cpu_free.copy(),
        room.memory_free.copy(), room.sorted_free_at(), hole, used, picked, picked.copy(), start, end, planner.first,
        where,
    )  # fmt: skip
    assert start.tolist() == naive_starts(room, order.tolist(), seconds)


def test_short_jobs_go_first() -> None:
    found = by_greedy(fakes.job("long", 8, seconds=60.0), fakes.job("short", 8, seconds=10.0), nodes=(fakes.node(),))
    assert found["short"].starts
    assert not found["long"].starts


def test_each_job_runs_where_it_is_done_first() -> None:
    heavy = replace(fakes.job("heavy", 4, seconds=600.0), seconds=(("a100", 10.0), ("v100", 40.0)))
    light = replace(fakes.job("light", 4, seconds=600.0), seconds=(("a100", 12.0), ("v100", 13.0)))
    found = by_greedy(light, heavy, nodes=(fakes.node("a100-1", 4), fakes.node("v100-1", 4, "v100")))
    assert found["heavy"].nodes == ("a100-1",)
    assert found["light"].nodes == ("v100-1",)


def test_a_job_waits_for_a_faster_gpu_when_it_is_done_earlier_so() -> None:
    running = replace(fakes.job("r", 8, seconds=5.0), phase=Phase.RUNNING, nodes=("a100-1",))
    waiting = replace(fakes.job("w", 4, seconds=600.0), seconds=(("a100", 10.0), ("v100", 100.0)))
    nodes = (fakes.node("a100-1"), fakes.node("v100-1", 4, "v100"))
    found = by_greedy(running, waiting, nodes=nodes)
    assert not found["w"].starts
    assert found["w"].reason.code == Code.BEHIND
    assert "planned in about 10 s" in found["w"].reason.text


def test_small_jobs_run_in_what_is_kept_for_a_large_one() -> None:
    running = replace(fakes.job("r", 4, seconds=100.0), phase=Phase.RUNNING, nodes=("a100-1",))
    large = fakes.job("large", 8, seconds=50.0, priority=1.0)
    short, long = fakes.job("short", 2, seconds=90.0), fakes.job("long", 2, seconds=200.0)
    found = by_greedy(running, large, short, long, nodes=(fakes.node("a100-1"),))
    assert found["short"].starts
    assert not found["long"].starts
    assert not found["large"].starts


def test_gangs_take_different_nodes_of_one_type() -> None:
    found = by_greedy(fakes.job("gang", 4, workers=2))
    assert sorted(found["gang"].nodes) == ["a100-1", "a100-2"]
    together = by_greedy(fakes.job("gang", 4, workers=2, spread=False))
    assert len(set(together["gang"].nodes)) == 1


def test_those_who_wait_too_long_go_first() -> None:
    jobs = [fakes.job(f"s{i}", 8, seconds=10.0, submitted_s=1e6) for i in range(5)]
    old = fakes.job("old", 8, seconds=1e5, submitted_s=0.0)
    found = by_greedy(*jobs, old, nodes=(fakes.node(),), now_s=1e6)
    assert [name for name, decision in found.items() if decision.starts] == ["old"]


def test_higher_priority_goes_first() -> None:
    found = by_greedy(fakes.job("low", 8, seconds=1.0), fakes.job("high", 8, seconds=100.0, priority=2.0),
                      nodes=(fakes.node(),))  # fmt: skip
    assert found["high"].starts
    assert not found["low"].starts


@pytest.mark.parametrize(
    ("job", "code", "words"),
    [
        (fakes.job("x", 9), Code.TOO_LARGE, "the largest such node has 8 GPUs"),
        (replace(fakes.job("x"), request=Request(1000, 1, 1, 1000, ("h100",))), Code.NO_NODE, "a100, v100"),
        (fakes.job("x", 4, workers=5), Code.TOO_LARGE, "at most 2 workers fit"),
        (replace(fakes.job("x"), needs=(frozenset({"nvlink"}),)), Code.NO_NODE, "no node accepts that"),
        (replace(fakes.job("x"), request=Request(99_000, 1, 1, 1000)), Code.TOO_LARGE, "64 CPUs"),
    ],
    ids=["gpus", "type", "workers", "features", "cpus"],
)
@pytest.mark.parametrize("policy", ["completion-greedy", "best-fit"])
def test_jobs_that_can_never_run_are_told_so(policy: str, job: Job, code: Code, words: str) -> None:
    (decision,) = live_policy(policy).decide(state(job), 0.0)
    assert not decision.starts
    assert decision.reason.code == code
    assert words in decision.reason.text


def test_other_reasons() -> None:
    nodes = (fakes.node("a", 4), fakes.node("b", 4), fakes.node("c", 8, up=False))
    half = [replace(fakes.job(f"r{n}", 2, seconds=50.0), phase=Phase.RUNNING, nodes=(n,)) for n in ("a", "b")]
    found = by_greedy(*half, fakes.job("fragmented", 4), fakes.job("down", 8), nodes=nodes)
    assert found["fragmented"].reason.code == Code.FRAGMENTED
    assert "4 are free, at most 2 on one node" in found["fragmented"].reason.text
    assert found["down"].reason.code == Code.NODES_DOWN
    full = [replace(job, request=Request(1000, 1000, 4, 1000)) for job in half]
    assert by_greedy(*full, fakes.job("x", 1), nodes=nodes)["x"].reason.code == Code.INSUFFICIENT


def test_preemption_takes_the_least_work_and_no_more_than_needed() -> None:
    def running(name: str, node: str, gpus: int, since: float, **more: object) -> Job:
        job = fakes.job(name, gpus, seconds=1e4, preemptible=True, **more)  # type: ignore[arg-type]
        return replace(job, phase=Phase.RUNNING, nodes=(node,), started_s=since)

    low = [running("old", "a", 4, 0.0), running("young", "b", 4, 90.0), running("safe", "c", 4, 95.0, priority=5.0)]
    nodes = tuple(fakes.node(name, 4) for name in "abc")
    high = fakes.job("high", 4, priority=1.0)
    found = decided(CompletionPolicy(search=False, preempt=True).decide(state(*low, high, nodes=nodes, now_s=100.0), 0))
    assert found["high"].victims == ("young",)
    assert found["high"].reason.code == Code.PREEMPTING
    calm = decided(CompletionPolicy(search=False).decide(state(*low, high, nodes=nodes, now_s=100.0), 0))
    assert calm["high"].victims == ()


def test_preempted_jobs_come_back() -> None:
    cluster = SimulatedCluster([fakes.node()])
    cluster.submit(fakes.job("low", 8, seconds=100.0, preemptible=True))
    loop = fakes.loop_on(cluster, policy=CompletionPolicy(search=False, preempt=True))
    loop.round()
    cluster.advance(10.0)
    cluster.submit(fakes.job("high", 8, seconds=20.0, priority=1.0))
    fakes.drain(cluster, loop)
    fakes.assert_each_started_once(cluster, ["high", "low"])
    assert cluster.ended["high"] < cluster.ended["low"]
    assert cluster.starts[("low", 1)] == 1


@pytest.mark.parametrize("name", live_policy_names())
def test_every_policy_ends_all_jobs(name: str) -> None:
    cluster = SimulatedCluster([fakes.node("a100-1"), fakes.node("a100-2"), fakes.node("v100-1", 4, "v100")])
    sizes = [(1, 1), (2, 1), (4, 1), (8, 1), (1, 2), (2, 1)]
    for i, (gpus, workers) in enumerate(sizes):
        cluster.submit(fakes.job(f"j{i}", gpus, workers, 20.0 + i))
    fakes.drain(cluster, fakes.loop_on(cluster, policy=live_policy(name)), rounds=200)
    fakes.assert_each_started_once(cluster, [f"j{i}" for i in range(len(sizes))], generations=0)


@pytest.mark.parametrize("name", ["best-fit", "fgd", "least-loss"])
def test_rules_place_shares_of_gpus(name: str) -> None:
    share = Request(1000, 100, 1, 400)
    jobs = [replace(fakes.job(f"s{i}"), request=share) for i in range(5)]
    found = decided(live_policy(name).decide(state(*jobs, nodes=(fakes.node("a", 2),)), 0.0))
    assert sorted(gpu for decision in found.values() for worker in decision.gpus for gpu in worker) == [0, 0, 1, 1]


def test_search_improves_the_order() -> None:
    asks = [(8, 30.0), (4, 31.0), (4, 5.0), (2, 90.0), (8, 10.0), (6, 20.0), (3, 41.0)]
    jobs = [fakes.job(f"j{i}", gpus, seconds=seconds) for i, (gpus, seconds) in enumerate(asks)]
    room = Room.of(state(*jobs, nodes=(fakes.node(),)))
    planner = Planner(room, room.seconds())
    order, rank = arrange(room.jobs, room.seconds(), 0.0, inf)
    better = planner.improve(order, rank, inf, 0, 0.0)
    best = min(planner.cost(np.array(p, np.int64), 0.0) for p in permutations(range(len(jobs))))
    assert sorted(better.tolist()) == list(range(len(jobs)))
    assert planner.cost(better, 0.0) <= planner.cost(order, 0.0)
    assert planner.cost(better, 0.0) <= 1.02 * best


def test_unknown_policies_and_options() -> None:
    with pytest.raises(OptionError, match="unknown policy 'nope'"):
        live_policy("nope")
    with pytest.raises(OptionError, match="does not preempt"):
        live_policy("best-fit", preempt=True)
    with pytest.raises(OptionError, match="patience_s"):
        CompletionPolicy(patience_s=0.0)


@pytest.mark.parametrize("name", ["completion", "best-fit", "planner"])
def test_a_cluster_without_nodes_or_jobs(name: str) -> None:
    assert live_policy(name).decide(ClusterState((), ()), 0.0) == []
    found = live_policy(name).decide(ClusterState((), (fakes.job("x"),)), 0.0)
    assert [decision.reason.code for decision in found] == [Code.NO_NODE]
