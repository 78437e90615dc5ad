"""A cluster at one moment: what is free on every node, and what one arriving task asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, Nodes, Tasks
from apportion.instances.errors import OptionError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Request:
    """What one task asks for; see :class:`~apportion.instances.cluster.Tasks` for the fields."""

    cpu_milli: int
    memory_mib: int
    num_gpus: int
    gpu_milli: int
    allowed_types: tuple[str, ...] = ()

    @classmethod
    def of(cls, tasks: Tasks, position: int) -> Request:
        """The request of one task of a table."""
        return cls(
            int(tasks.cpu_milli[position]),
            int(tasks.memory_mib[position]),
            int(tasks.num_gpus[position]),
            int(tasks.gpu_milli[position]),
            tasks.allowed_types[position],
        )

    @property
    def is_share(self) -> bool:
        """Whether it takes a part of one GPU."""
        return self.num_gpus == 1 and self.gpu_milli < MILLI_PER_GPU

    @property
    def demand_milli(self) -> int:
        """What it asks of GPUs in all."""
        return self.num_gpus * self.gpu_milli


@dataclass(frozen=True)
class Choice:
    """Where a task goes: the position of its node and the numbers of its GPUs there."""

    node: int
    gpus: tuple[int, ...] = ()


@dataclass(eq=False)
class Remembered:
    """The scores of one kind of request by node, with the version of the node at which each was computed."""

    seen: Ints
    scores: Floats
    gpu_of: Ints


@dataclass(eq=False)
class Snapshot:
    """Free room by node; see :mod:`~apportion.solvers.online.kernels` for the arrays.

    A policy reads it and never writes. :meth:`place` and :meth:`release` are for the one who carries choices out.
    ``version`` of a node rises with every change, so that scores can be remembered in ``memory``.

    Examples
    --------
    >>> snapshot = Snapshot.empty(Nodes.build(["n0"], [8000], [1024], [2], ["T4"]))
    >>> snapshot.place(Request(1000, 64, 1, 400), Choice(0, (1,)))
    >>> snapshot.gpu_free.tolist(), snapshot.cpu_free.tolist()
    ([[1000, 600]], [7000])
    """

    kinds: tuple[str, ...]
    kind: Ints
    num_gpus: Ints
    cpu_free: Ints
    memory_free: Ints
    gpu_free: Ints
    groups: Ints
    version: Ints
    count: int = 0
    memory: dict[tuple[object, Request], Remembered] = field(default_factory=dict)
    work: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def empty(cls, nodes: Nodes) -> Snapshot:
        """Nothing runs."""
        kinds = tuple(sorted(set(nodes.gpu_types)))
        position = {kind: i for i, kind in enumerate(kinds)}
        gpus = np.array(nodes.num_gpus, np.int64)
        widest = int(gpus.max(initial=0))
        return cls(
            kinds,
            np.array([position[kind] for kind in nodes.gpu_types], np.int64),
            gpus,
            np.array(nodes.cpu_milli, np.int64),
            np.array(nodes.memory_mib, np.int64),
            np.where(np.arange(widest) < gpus[:, None], MILLI_PER_GPU, 0).astype(np.int64),
            np.zeros((len(gpus), widest + 1), np.int64),
            np.zeros(len(gpus), np.int64),
            work=np.zeros(max(1, widest), np.int64),
        )

    @classmethod
    def of_cluster(cls, cluster: ClusterPlacement) -> Snapshot:
        """The empty nodes of ``cluster``."""
        return cls.empty(cluster.nodes)

    @property
    def untouched_gpus(self) -> int:
        """How many GPUs nobody uses."""
        return int(np.count_nonzero(self.gpu_free == MILLI_PER_GPU))

    def place(self, request: Request, choice: Choice) -> None:
        """Carry a choice out.

        Raises
        ------
        OptionError
            When the node or its GPUs have no room: nothing is changed then.
        """
        node = choice.node
        gpus = list(choice.gpus)
        enough = self.cpu_free[node] >= request.cpu_milli and self.memory_free[node] >= request.memory_mib
        good = len(gpus) == len(set(gpus)) == request.num_gpus and all(0 <= g < self.num_gpus[node] for g in gpus)
        if not (enough and good and all(self.gpu_free[node, g] >= request.gpu_milli for g in gpus)):
            raise OptionError(f"node {node} has no room for {request} on GPUs {choice.gpus}\nMaybe the snapshot is old")
        self._move(request, choice, 1)

    def release(self, request: Request, choice: Choice) -> None:
        """Give back what a placed request holds."""
        self._move(request, choice, -1)

    def _move(self, request: Request, choice: Choice, sign: int) -> None:
        node = choice.node
        self.cpu_free[node] -= sign * request.cpu_milli
        self.memory_free[node] -= sign * request.memory_mib
        for gpu in choice.gpus:
            self.gpu_free[node, gpu] -= sign * request.gpu_milli
        if request.num_gpus:
            self.groups[node, 0 if request.is_share else request.num_gpus] += sign
        self.version[node] += 1
        self.count += 1

    def remembered(self, owner: object, request: Request) -> Remembered:
        """The scores that ``owner`` has remembered for such requests; all are stale at first."""
        key = (owner, request)
        if key not in self.memory:
            size = len(self.version)
            self.memory[key] = Remembered(np.full(size, -1, np.int64), np.zeros(size), np.zeros(size, np.int64))
        return self.memory[key]

    def first_untouched(self, node: int, count: int) -> tuple[int, ...]:
        """The first ``count`` GPUs of ``node`` that nobody uses."""
        return tuple(np.flatnonzero(self.gpu_free[node] == MILLI_PER_GPU)[:count].tolist())
