"""A second discipline: a task may wait for a bounded number of arrivals while better-fitting ones are expected."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement
from apportion.instances.errors import OptionError
from apportion.solvers.online.policy import RulePolicy
from apportion.solvers.online.replay import Log, OnlinePlacement, Replay
from apportion.solvers.online.snapshot import Choice, Request, Snapshot
from apportion.solvers.online.workload import SharePrices

MOST_WAIT = 3_000
"""How many arrivals a task waits at most by default."""
_HAIR = 1e-6


@dataclass(frozen=True, eq=False)
class Admission:
    """Who waits: a share that would open a GPU at a time when whole GPUs are expected to run out.

    The duals of the share program price every share at the part of a GPU that it costs together with the company that
    can be expected: 810 milli that nothing fits beside cost a whole one. While more GPUs are untouched than tasks on
    whole GPUs are expected to take within ``most_wait`` arrivals, a GPU costs nothing, and all are admitted. Afterwards
    each would serve 1,000 milli, and a share opens one only when it serves what it costs. What fits beside others is
    always admitted.

    Starvation bound: when ``most_wait`` further tasks have arrived a task waits no longer; it is placed if it fits
    anywhere, and refused like any other task if not.

    Parameters
    ----------
    policy
        Places what is admitted.
    most_wait
        The bound on waiting, in arrivals.
    whole_gpus_per_arrival
        How many whole GPUs an arrival asks for on average.
    cost_milli
        What a share of each size costs, in milli of a GPU.
    """

    policy: RulePolicy
    most_wait: int
    whole_gpus_per_arrival: float
    cost_milli: dict[int, float]

    @classmethod
    def of(cls, policy: RulePolicy, workload: ClusterPlacement, most_wait: int = MOST_WAIT) -> Admission:
        """Learn the rate and the sizes from the tasks of ``workload``."""
        if most_wait < 0:
            raise OptionError(f"most_wait must be at least 0, got {most_wait!r}")
        prices = SharePrices.of(workload.tasks)
        cost = dict(zip(prices.size.tolist(), (MILLI_PER_GPU * prices.price).tolist(), strict=True))
        whole = float(prices.count[-1]) / max(1, len(workload.tasks))
        return cls(policy, most_wait, whole, cost)

    def waits(self, snapshot: Snapshot, request: Request, choice: Choice) -> bool:
        """Whether ``request`` should wait rather than take ``choice``."""
        if not request.is_share or snapshot.gpu_free[choice.node, choice.gpus[0]] < MILLI_PER_GPU:
            return False
        expected = self.whole_gpus_per_arrival * self.most_wait
        cost = self.cost_milli.get(request.gpu_milli, float(MILLI_PER_GPU))
        return bool(request.gpu_milli < cost - _HAIR and snapshot.untouched_gpus <= expected)


def replay_with_waiting(
    cluster: ClusterPlacement, admission: Admission, stop: Callable[[], bool] | None = None
) -> Replay:
    """Place the tasks in their order, some of them later; those that wait when all have arrived are then placed.

    ``served_milli`` does not count what is placed after the last arrival, ``final_percent`` does.
    """
    online = OnlinePlacement(Snapshot.of_cluster(cluster), admission.policy)
    log, queue = Log(cluster), deque[int]()
    names = cluster.tasks.names
    last = len(cluster.tasks) - 1

    def decide(position: int, at: int, may_wait: bool) -> None:
        request = log.requests[position]
        choice = online.choose(request)
        if choice is not None and may_wait and admission.waits(online.snapshot, request, choice):
            queue.append(position)
            return
        if choice is not None:
            online.start(names[position], request, choice)
        log.decided(position, at, choice)

    for position in range(len(cluster.tasks)):
        if stop is not None and stop():
            return log.replay
        while queue and position - queue[0] >= admission.most_wait:
            decide(queue.popleft(), position, may_wait=False)
        began = time.perf_counter()
        decide(position, position, may_wait=admission.most_wait > 0)
        log.arrived(position, time.perf_counter() - began)
    while queue:
        decide(queue.popleft(), last, may_wait=False)
    return log.replay
