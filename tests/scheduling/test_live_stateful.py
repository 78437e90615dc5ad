"""Random histories of a cluster with faults: capacity is kept, nothing is lost, nothing starts twice."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

import live_fakes as fakes
from apportion.scheduling.live import ClusterState, Phase
from apportion.scheduling.live.planning import CompletionPolicy
from apportion.scheduling.live.simulated import Failing, SimulatedCluster


class Histories(RuleBasedStateMachine):
    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.cluster = SimulatedCluster(
            [fakes.node("a100-1"), fakes.node("a100-2"), fakes.node("v100-1", 4, "v100")], start_delay_s=3.0
        )
        self.policy = CompletionPolicy(search=False, preempt=True)
        self.loop = fakes.loop_on(self.cluster, policy=self.policy)
        self.seen: list[ClusterState] = []
        self.submitted: set[str] = set()
        self.cancelled: set[str] = set()

    @rule(
        target=names,
        gpus=st.sampled_from([0, 1, 2, 4, 8]),
        workers=st.sampled_from([1, 1, 1, 2]),
        seconds=st.sampled_from([5.0, 40.0, 300.0]),
        priority=st.sampled_from([0.0, 0.0, 1.0]),
        preemptible=st.booleans(),
    )
    def submit(self, gpus: int, workers: int, seconds: float, priority: float, preemptible: bool) -> str:
        name = f"j{len(self.submitted)}"
        self.submitted.add(name)
        self.cluster.submit(
            fakes.job(name, gpus, workers, seconds, priority=priority, preemptible=preemptible and priority == 0.0)
        )
        return name

    @rule(name=names)
    def cancel(self, name: str) -> None:
        if name not in self.cluster.ended:
            self.cancelled.add(name)
        self.cluster.cancel(name)

    @rule(how=st.lists(st.sampled_from([None, *Failing]), max_size=4))
    def orders_fail(self, how: list[Failing | None]) -> None:
        self.cluster.failing = how

    @rule()
    def round(self) -> None:
        self.seen.append(self.cluster.look())
        self.loop.round()

    @rule(back=st.integers(1, 4))
    def late_observation(self, back: int) -> None:
        if self.seen:
            self.cluster.stale = [self.seen[-min(back, len(self.seen))]]
            self.loop.round()

    @rule()
    def restart(self) -> None:
        self.loop = fakes.loop_on(self.cluster, policy=self.policy)

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.cluster.advance(seconds)

    @rule(name=st.sampled_from(["a100-1", "a100-2", "v100-1"]), up=st.booleans())
    def node_changes(self, name: str, up: bool) -> None:
        self.cluster.set_node(name, up=up)

    @invariant()
    def no_start_twice(self) -> None:
        assert set(self.cluster.starts.values()) <= {1}

    @invariant()
    def capacity_is_kept(self) -> None:
        for name, gpus in (("a100-1", 8), ("a100-2", 8), ("v100-1", 4)):
            held = sum(
                job.nodes.count(name) * job.request.num_gpus
                for job in self.cluster.jobs.values()
                if job.phase is not Phase.WAITING
            )
            assert held <= gpus

    def teardown(self) -> None:
        self.cluster.failing, self.cluster.stale = [], []
        for name in ("a100-1", "a100-2", "v100-1"):
            self.cluster.set_node(name, up=True)
        fakes.drain(self.cluster, self.loop, step_s=40.0)
        assert set(self.cluster.ended) | self.cancelled == self.submitted


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
