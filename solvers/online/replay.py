"""Send the tasks of a cluster through a policy in the order of arrival."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, PlacedTask, Placement
from apportion.solvers.online.policy import Policy
from apportion.solvers.online.snapshot import Choice, Request, Snapshot

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(eq=False)
class OnlinePlacement:
    """A snapshot, a policy, and the choices carried out so far: what a plugin or a simulator keeps between arrivals.

    A kind of request that fits nowhere is refused without a search until something is released.
    """

    snapshot: Snapshot
    policy: Policy
    running: dict[str, tuple[Request, Choice]] = field(default_factory=dict)
    _hopeless: set[Request] = field(default_factory=set)

    def choose(self, request: Request) -> Choice | None:
        """What the policy says."""
        if request in self._hopeless:
            return None
        choice = self.policy.choose(self.snapshot, request)
        if choice is None:
            self._hopeless.add(request)
        return choice

    def start(self, name: str, request: Request, choice: Choice) -> None:
        """Carry a choice out."""
        self.snapshot.place(request, choice)
        self.running[name] = request, choice

    def stop(self, name: str) -> None:
        """Release what a task holds."""
        request, choice = self.running.pop(name)
        self.snapshot.release(request, choice)
        self._hopeless.clear()


@dataclass(eq=False)
class Replay:
    """What became of a stream of arrivals.

    ``choices`` has one entry per task, None for those that were not placed. ``arrived_milli`` and ``served_milli``
    (tasks,) are the GPU demand that had arrived, and that was served, right after each arrival; ``decision_s`` (tasks,)
    the wall-clock seconds of each decision. ``waited`` (tasks,) counts the arrivals that a task waited for, -1 when it
    was decided at once.
    """

    cluster: ClusterPlacement
    choices: list[Choice | None]
    arrived_milli: Ints
    served_milli: Ints
    decision_s: Floats
    waited: Ints

    def placement(self) -> Placement:
        """The plan in the problem's own words, in the order of arrival."""
        tasks, nodes = self.cluster.tasks, self.cluster.nodes
        rows = enumerate(self.choices)
        return Placement(
            tuple(
                PlacedTask(tasks.names[t], nodes.names[choice.node], choice.gpus, int(tasks.gpu_milli[t]))
                for t, choice in rows
                if choice is not None
            )
        )

    def allocated_percent(self, arrived_percent: int) -> float:
        """GPU allocation in percent when so much had arrived: the mean over the arrivals that round to it.

        NaN when no arrival does.
        """
        capacity = self.cluster.capacity_gpus * MILLI_PER_GPU
        bucket = np.floor(100.0 * self.arrived_milli / max(1, capacity) + 0.5) == arrived_percent
        return float(100.0 * self.served_milli[bucket].mean() / capacity) if bucket.any() else float("nan")

    @property
    def final_percent(self) -> float:
        """GPU allocation in percent at the end."""
        served = sum(int(self.cluster.demand_milli[t]) for t, c in enumerate(self.choices) if c is not None)
        return 100.0 * served / max(1, self.cluster.capacity_gpus * MILLI_PER_GPU)


def replay(cluster: ClusterPlacement, policy: Policy, stop: Callable[[], bool] | None = None) -> Replay:
    """Place the tasks of ``cluster`` one by one in their order; what fits nowhere is not tried again.

    Parameters
    ----------
    cluster
        Its tasks in the order of arrival.
    policy
        Decides; see :class:`~apportion.solvers.online.policy.RulePolicy`.
    stop
        Asked before each arrival whether to leave the rest out.

    Examples
    --------
    >>> from apportion.instances.generate.cluster import generate_cluster
    >>> from apportion.models.checking import check
    >>> from apportion.solvers.online.policy import RulePolicy
    >>> cluster = generate_cluster(seed=3)
    >>> played = replay(cluster, RulePolicy.named("least-loss", cluster))
    >>> check(cluster, played.placement()).ok
    True
    """
    online = OnlinePlacement(Snapshot.of_cluster(cluster), policy)
    log = Log(cluster)
    for position in range(len(cluster.tasks)):
        if stop is not None and stop():
            break
        began = time.perf_counter()
        request = log.requests[position]
        choice = online.choose(request)
        if choice is not None:
            online.start(cluster.tasks.names[position], request, choice)
        log.decided(position, position, choice)
        log.arrived(position, time.perf_counter() - began)
    return log.replay


class Log:
    """Keeps the record of a replay."""

    def __init__(self, cluster: ClusterPlacement) -> None:
        size = len(cluster.tasks)
        tasks = cluster.tasks
        self.requests = [Request.of(tasks, t) for t in range(size)]
        self.served = 0
        arrived = np.cumsum(cluster.demand_milli, dtype=np.int64)
        numbers = np.zeros(size, np.int64)
        self.replay = Replay(cluster, [None] * size, arrived, numbers, np.zeros(size), np.full(size, -1, np.int64))

    def decided(self, position: int, at: int, choice: Choice | None) -> None:
        """A task was placed or refused right after arrival ``at``."""
        self.replay.choices[position] = choice
        if at > position:
            self.replay.waited[position] = at - position
        if choice is not None:
            self.served += self.requests[position].demand_milli

    def arrived(self, position: int, seconds: float) -> None:
        """An arrival has been dealt with."""
        self.replay.served_milli[position] = self.served
        self.replay.decision_s[position] = seconds
