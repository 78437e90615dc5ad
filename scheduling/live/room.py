"""A cluster's free room as arrays: now, and when what runs is expected to end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import MILLI_PER_GPU
from apportion.scheduling.live.state import ClusterState, Job, Node, Phase
from apportion.solvers.online.snapshot import Request, Snapshot

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

_LEAST_REST_S = 1.0
_OVERTIME = 0.25

Signature = tuple[str, frozenset[str], frozenset[str], bool]


@dataclass(eq=False)
class Room:
    """Free room and the waiting jobs that compete for it.

    Parameters
    ----------
    state
        The observation.
    jobs
        The waiting jobs in the order of their arrival, (J,).
    types
        GPU types by position; ``kind`` (nodes,) refers to them.
    row
        (J,) rows of ``accepts`` (rows, nodes): which nodes a job may use now; ``known`` also counts nodes that are
        down.
    cpu_free, memory_free
        (nodes,), never negative.
    gpu_free
        Milli by node and GPU, (nodes, most GPUs).
    free_at
        Seconds until each GPU is wholly free, (nodes, most GPUs), infinite where there is none; not sorted.
    """

    state: ClusterState
    jobs: list[Job]
    types: tuple[str, ...]
    kind: Ints
    num_gpus: Ints
    cpu_total: Ints
    memory_total: Ints
    cpu_free: Ints
    memory_free: Ints
    gpu_free: Ints
    free_at: Floats
    row: Ints
    accepts: Booleans
    known: Booleans

    @classmethod
    def of(cls, state: ClusterState, jobs: Sequence[Job] | None = None) -> Room:
        """Read a state; ``jobs`` restricts which waiting jobs count."""
        nodes = state.nodes
        types = tuple(sorted({node.gpu_type for node in nodes}))
        place = {kind: i for i, kind in enumerate(types)}
        gpus = np.array([node.num_gpus for node in nodes], np.int64)
        cpu = np.array([node.cpu_milli for node in nodes], np.int64)
        memory = np.array([node.memory_mib for node in nodes], np.int64)
        there = np.arange(int(gpus.max(initial=1))) < gpus[:, None]
        waiting = state.waiting() if jobs is None else list(jobs)
        row, accepts, known = _acceptance(nodes, waiting)
        room = cls(
            state,
            waiting,
            types,
            np.array([place[node.gpu_type] for node in nodes], np.int64),
            gpus,
            cpu,
            memory,
            cpu.copy(),
            memory.copy(),
            np.where(there, MILLI_PER_GPU, 0).astype(np.int64),
            np.where(there, 0.0, inf),
            row,
            accepts,
            known,
        )
        for phase in (Phase.RUNNING, Phase.STARTING):
            for job in state.jobs:
                if job.phase is phase:
                    room.occupy(job, rest_s(job, room, state.now_s))
        return room

    def occupy(self, job: Job, rest: float) -> None:
        """Take what a placed job holds; where numbers of GPUs are unknown, any that are free.

        A job that was started ahead, while others still hold its GPUs, holds them after those.
        """
        request = job.request
        for worker, name in enumerate(job.nodes):
            node = self.state.node.get(name)
            if node is None:
                continue
            self.cpu_free[node] = max(0, self.cpu_free[node] - request.cpu_milli)
            self.memory_free[node] = max(0, self.memory_free[node] - request.memory_mib)
            said = job.gpus[worker] if worker < len(job.gpus) else ()
            for gpu in self._gpus(node, request, said):
                self.gpu_free[node, gpu] = max(0, self.gpu_free[node, gpu] - request.gpu_milli)
                after = (
                    self.free_at[node, gpu]
                    if job.phase is Phase.STARTING and request.gpu_milli == MILLI_PER_GPU
                    else 0.0
                )
                self.free_at[node, gpu] = max(self.free_at[node, gpu], after + rest)

    def _gpus(self, node: int, request: Request, said: tuple[int, ...]) -> Iterable[int]:
        size = int(self.num_gpus[node])
        if said and all(0 <= gpu < size for gpu in said):
            return said
        room = self.gpu_free[node, :size]
        fitting = np.flatnonzero(room >= max(1, request.gpu_milli))
        if len(fitting) < request.num_gpus:
            soonest = np.argsort(self.free_at[node, :size], kind="stable")
            return [int(gpu) for gpu in soonest[: request.num_gpus]]
        tight = fitting[np.argsort(room[fitting], kind="stable")]
        return [int(gpu) for gpu in tight[: request.num_gpus]]

    def sorted_free_at(self) -> Floats:
        """``free_at`` rising along every row."""
        return np.sort(self.free_at, axis=1)

    def seconds(self) -> Floats:
        """How long each waiting job is expected to run by type, (J, types)."""
        return np.array([[job.seconds_on(kind) for kind in self.types] for job in self.jobs]).reshape(
            len(self.jobs), len(self.types)
        )

    def snapshot(self) -> tuple[Snapshot, list[tuple[str, ...]]]:
        """For the rules of online placement: the free room by node, and the kinds that each row of jobs accepts.

        Nodes that the same jobs accept are of one kind there.
        """
        labels = [
            f"{self.types[k]}|{column.tobytes().hex()}" for k, column in zip(self.kind, self.accepts.T, strict=True)
        ]
        kinds = tuple(sorted(set(labels)))
        place = {label: i for i, label in enumerate(kinds)}
        kind = np.array([place[label] for label in labels], np.int64)
        allowed: list[tuple[str, ...]] = [
            tuple(kinds[k] for k in np.unique(kind[line])) or ("",) for line in self.accepts
        ]
        width = self.gpu_free.shape[1]
        groups = np.zeros((len(kind), width + 1), np.int64)
        version = np.zeros(len(kind), np.int64)
        snapshot = Snapshot(
            kinds, kind, self.num_gpus, self.cpu_free.copy(), self.memory_free.copy(), self.gpu_free.copy(), groups,
            version, work=np.zeros(width, np.int64),
        )  # fmt: skip
        return snapshot, allowed


def rest_s(job: Job, room: Room, now_s: float) -> float:
    """How long a placed job is expected to hold its GPUs; one that runs over time a quarter of its time more."""
    first = room.state.node.get(job.nodes[0]) if job.nodes else None
    expected = job.seconds_on(room.types[room.kind[first]] if first is not None else "")
    if job.phase is Phase.STARTING:
        return max(_LEAST_REST_S, expected)
    ran = max(0.0, now_s - job.started_s)
    if ran < expected:
        return max(_LEAST_REST_S, expected - ran)
    return max(_LEAST_REST_S, min(_OVERTIME * ran, job.limit_s - ran))


def _acceptance(nodes: Sequence[Node], jobs: Sequence[Job]) -> tuple[Ints, Booleans, Booleans]:
    """Rows of jobs that accept the same nodes; asked once for each kind of node."""
    signatures: dict[Signature, int] = {}
    of_node = np.zeros(len(nodes), np.int64)
    samples: list[Node] = []
    for i, node in enumerate(nodes):
        signature = (node.gpu_type, node.features, node.queues, node.up)
        if signature not in signatures:
            signatures[signature] = len(samples)
            samples.append(node)
        of_node[i] = signatures[signature]
    rows: dict[tuple[object, ...], int] = {}
    row = np.zeros(len(jobs), np.int64)
    lines: list[list[bool]] = []
    for j, job in enumerate(jobs):
        asks = (job.request.allowed_types, job.needs, job.queue)
        if asks not in rows:
            rows[asks] = len(lines)
            lines.append([job.accepts(node) for node in samples])
        row[j] = rows[asks]
    accepted = np.array(lines, bool).reshape(len(lines), len(samples))
    up = np.array([node.up for node in nodes], bool)
    known = accepted[:, of_node]
    return row, known & up, known
