"""What a cluster looks like at one moment: the same for Slurm, Kubernetes and the simulated cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from math import inf

from apportion.solvers.online.snapshot import Request

DEFAULT_LIMIT_S = 3600.0
"""How long a job is expected to run of which nobody says anything."""


class Phase(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    """Held for us: nobody else will start it."""
    STARTING = "starting"
    """Somebody has said where it runs; it does not run yet."""
    RUNNING = "running"
    """It holds what its placement says, also while it ends."""


@dataclass(frozen=True)
class Node:
    """A machine.

    Parameters
    ----------
    name
        Unique.
    cpu_milli, memory_mib, num_gpus
        What it offers to jobs; GPUs are numbered from 0.
    gpu_type
        Empty without GPUs.
    up
        Whether jobs may start there.
    features
        Labels that a job may ask for.
    queues
        The queues whose jobs may run there; empty means every queue.
    """

    name: str
    cpu_milli: int
    memory_mib: int
    num_gpus: int = 0
    gpu_type: str = ""
    up: bool = True
    features: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Job:
    """A job: ``workers`` equal parts that start together, each within one node.

    Parameters
    ----------
    id
        Unique among all jobs, also those that are gone.
    request
        What each worker asks for.
    workers
        1, or the size of a gang.
    spread
        Whether the workers of a gang go to different nodes.
    generation
        Rises whenever the job goes back to the queue: a decision about an old generation has no effect.
    phase, managed
        Only a managed job that waits is ours to decide.
    priority
        Greater goes first, before anything else is looked at.
    submitted_s, started_s
        By the clock of the cluster, in seconds.
    limit_s
        The cluster ends it after so long.
    seconds
        How long it is expected to run, by GPU type; ``limit_s`` where nothing is said.
    nodes, gpus
        One entry per worker once it is placed; ``gpus`` may be empty where nobody knows the numbers.
    needs
        Features of the nodes: one set of ``needs`` must be a part of theirs; empty accepts every node.
    same_type
        Whether all workers of a gang need the same type of GPU.
    preemptible
        Whether it may be sent back to the queue for a job of higher priority.
    note
        The reason that the cluster already shows for it.
    """

    id: str
    request: Request
    workers: int = 1
    spread: bool = True
    generation: int = 0
    phase: Phase = Phase.WAITING
    managed: bool = True
    name: str = ""
    user: str = ""
    queue: str = ""
    priority: float = 0.0
    submitted_s: float = 0.0
    started_s: float = 0.0
    limit_s: float = inf
    seconds: tuple[tuple[str, float], ...] = ()
    nodes: tuple[str, ...] = ()
    gpus: tuple[tuple[int, ...], ...] = ()
    needs: tuple[frozenset[str], ...] = ()
    same_type: bool = True
    preemptible: bool = False
    note: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """What a decision is about."""
        return self.id, self.generation

    @property
    def total_gpus(self) -> int:
        """GPUs of all workers."""
        return self.workers * self.request.num_gpus

    def seconds_on(self, gpu_type: str) -> float:
        """How long it is expected to run on a type, never infinite.

        >>> Job("1", Request(1000, 64, 1, 1000), limit_s=600.0, seconds=(("a100", 60.0),)).seconds_on("a100")
        60.0
        """
        for kind, seconds in self.seconds:
            if kind == gpu_type:
                return min(seconds, self.limit_s)
        return self.limit_s if self.limit_s < inf else DEFAULT_LIMIT_S

    def accepts(self, node: Node) -> bool:
        """Whether a worker may run on ``node``, empty and up as it may be."""
        typed = not self.request.allowed_types or node.gpu_type in self.request.allowed_types
        queued = not node.queues or not self.queue or self.queue in node.queues
        labelled = not self.needs or any(need <= node.features for need in self.needs)
        return typed and queued and labelled


@dataclass(frozen=True, eq=False)
class ClusterState:
    """One observation.

    ``version`` rises with every change of the cluster, so that an observation that comes late can be told; 0 where the
    cluster has no such number. ``now_s`` is the time of the cluster's clock.
    """

    nodes: tuple[Node, ...]
    jobs: tuple[Job, ...]
    now_s: float = 0.0
    version: int = 0
    faults: tuple[str, ...] = field(default=())

    @cached_property
    def job(self) -> Mapping[str, Job]:
        """Jobs by their id."""
        return {job.id: job for job in self.jobs}

    @cached_property
    def node(self) -> Mapping[str, int]:
        """Positions of the nodes by name."""
        return {node.name: i for i, node in enumerate(self.nodes)}

    def waiting(self) -> list[Job]:
        """The jobs that are ours to decide, in the order of their arrival."""
        ours = [job for job in self.jobs if job.managed and job.phase is Phase.WAITING]
        return sorted(ours, key=lambda job: (job.submitted_s, job.id))


def sample_state() -> ClusterState:
    """A small cluster with jobs of every sort, to load and compile what a policy needs.

    >>> len(sample_state().waiting())
    3
    """
    nodes = tuple(Node(f"n{i}", 8000, 8192, 2, "a") for i in range(2))
    one = Request(1000, 64, 1, 1000)
    jobs = (
        Job("1", one, limit_s=60.0),
        Job("2", one, limit_s=30.0),
        Job("3", one, 2, limit_s=60.0),
        Job("4", one, phase=Phase.RUNNING, limit_s=60.0, nodes=("n0",)),
    )
    return ClusterState(nodes, jobs)
