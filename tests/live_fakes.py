"""Policies that misbehave, clusters and clocks for the tests of the live scheduler."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from apportion.scheduling.live import ClusterState, ControlLoop, Job, Journal, LoopOptions, Node
from apportion.scheduling.live.clock import SteadyClock
from apportion.scheduling.live.deciding import InlineDecider, LivePolicy
from apportion.scheduling.live.reasons import Code, Decision, Reason
from apportion.scheduling.live.rules import greedy
from apportion.scheduling.live.simulated import SimulatedCluster
from apportion.solvers.online.snapshot import Request


@dataclass
class HangingPolicy:
    """Answers the first small state, by which it is loaded, and then never again."""

    seconds: float = 3600.0

    def decide(self, state: ClusterState, budget_s: float) -> list[Decision]:
        if state.node.keys() == {"n0", "n1"}:
            return []
        time.sleep(self.seconds)
        return []


class FailingPolicy:
    def decide(self, state: ClusterState, budget_s: float) -> list[Decision]:
        raise ZeroDivisionError("no such luck")


class WildPolicy:
    """Decides what it must not: running jobs, unknown jobs, old generations, full and unknown nodes, twice."""

    def decide(self, state: ClusterState, budget_s: float) -> list[Decision]:
        starts = Reason(Code.STARTS, "wildly")
        first = state.nodes[0].name
        found = [Decision(job.id, job.generation, starts, (first,) * job.workers) for job in state.jobs]
        old = [Decision(job.id, job.generation - 1, starts, (first,) * job.workers) for job in state.jobs]
        strange = [Decision("nobody", 0, starts, (first,)), Decision("j0", 0, starts, ("nowhere",))]
        return [*strange, *old, *found, *found]


def node(name: str = "a100-1", gpus: int = 8, kind: str = "a100", *, up: bool = True) -> Node:
    return Node(name, 64_000, 512_000, gpus, kind, up)


def job(name: str, gpus: int = 1, workers: int = 1, seconds: float = 60.0, **more: object) -> Job:
    request = Request(1000, 1000, gpus, 1000 if gpus else 0)
    values: dict[str, object] = {"limit_s": seconds, **more}
    return Job(name, request, workers, **values)  # type: ignore[arg-type]


def two_nodes(**more: object) -> SimulatedCluster:
    return SimulatedCluster([node(), node("v100-1", 4, "v100")], **more)  # type: ignore[arg-type]


def loop_on(
    cluster: SimulatedCluster,
    journal: Journal | None = None,
    options: LoopOptions | None = None,
    policy: LivePolicy | None = None,
) -> ControlLoop:
    """A loop whose clock is that of the cluster."""
    clock = SteadyClock(lambda: cluster.now_s, lambda: cluster.now_s)
    decider = InlineDecider(policy or greedy(), greedy())
    return ControlLoop(cluster, decider, journal or Journal(None), options or LoopOptions(budget_s=0.0), clock)


def drain(cluster: SimulatedCluster, loop: ControlLoop, step_s: float = 10.0, rounds: int = 2000) -> None:
    """Rounds until no job is left."""
    while cluster.jobs and rounds:
        loop.round()
        cluster.advance(step_s)
        rounds -= 1


def assert_each_started_once(cluster: SimulatedCluster, names: Sequence[str], generations: float = inf) -> None:
    """Nothing lost, no generation started twice."""
    assert sorted(cluster.ended) == sorted(names)
    assert set(cluster.starts.values()) <= {1}
    assert all(generation <= generations for _, generation in cluster.starts)
