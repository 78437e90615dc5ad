"""A quick way to make room for a gang: node by node, the tasks in the way move to where they fit best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, PlacedTask, Placement
from apportion.solvers.online.policy import RulePolicy
from apportion.solvers.online.snapshot import Choice, Request, Snapshot


def evict_for(
    cluster: ClusterPlacement, running: Sequence[PlacedTask], worker: Request, workers: Sequence[str], hosts: list[int]
) -> Placement | None:
    """Place the workers on ``hosts`` in that order, moving what is in the way; None when some find no room.

    The first tasks of ``cluster`` are the running ones. On a node those leave first that share their GPUs with the
    fewest; a node whose tasks find no other place is left as it was.
    """
    policy = RulePolicy.named("best-fit", cluster)
    position = {name: i for i, name in enumerate(cluster.nodes.names)}
    requests = [Request.of(cluster.tasks, r) for r in range(len(running))]
    where = [Choice(position[entry.node], entry.gpus) for entry in running]
    snapshot = Snapshot.of_cluster(cluster)
    for request, choice in zip(requests, where, strict=True):
        snapshot.place(request, choice)
    placed: list[Choice] = []
    for node in hosts:
        while len(placed) < len(workers):
            moved = _host(snapshot, policy, worker, node, requests, where)
            if moved is None:
                break
            placed.append(moved)
    if len(placed) < len(workers):
        return None
    names = [entry.task for entry in running] + list(workers)
    milli = [entry.gpu_milli for entry in running] + [worker.gpu_milli] * len(workers)
    chosen = where + placed
    return Placement(
        tuple(
            PlacedTask(name, cluster.nodes.names[c.node], c.gpus, share)
            for name, c, share in zip(names, chosen, milli, strict=True)
        )
    )


def _host(
    snapshot: Snapshot, policy: RulePolicy, worker: Request, node: int, requests: list[Request], where: list[Choice]
) -> Choice | None:
    """Make room for one worker on ``node``; everything is as before when that fails."""
    tenants = np.zeros(max(1, snapshot.gpu_free.shape[1]), np.int64)
    here = [r for r, choice in enumerate(where) if choice.node == node]
    for r in here:
        tenants[list(where[r].gpus)] += 1
    here.sort(key=lambda r: (max((int(tenants[g]) for g in where[r].gpus), default=0), requests[r].demand_milli, r))
    gone: list[int] = []
    spot = _spot(snapshot, worker, node)
    while spot is None and here:
        gone.append(here.pop(0))
        snapshot.release(requests[gone[-1]], where[gone[-1]])
        spot = _spot(snapshot, worker, node)
    settled: list[tuple[int, Choice]] = []
    if spot is not None:
        snapshot.place(worker, spot)
        for r in sorted(gone, key=lambda r: -requests[r].demand_milli):
            choice = policy.choose(snapshot, requests[r])
            if choice is None:
                break
            snapshot.place(requests[r], choice)
            settled.append((r, choice))
    if spot is not None and len(settled) == len(gone):
        for r, choice in settled:
            where[r] = choice
        return spot
    for r, choice in settled:
        snapshot.release(requests[r], choice)
    if spot is not None:
        snapshot.release(worker, spot)
    for r in gone:
        snapshot.place(requests[r], where[r])
    return None


def _spot(snapshot: Snapshot, request: Request, node: int) -> Choice | None:
    """GPUs of ``node`` for a request that it has room for: the tightest for a share, else the first untouched ones."""
    if request.allowed_types and snapshot.kinds[snapshot.kind[node]] not in request.allowed_types:
        return None
    if snapshot.cpu_free[node] < request.cpu_milli or snapshot.memory_free[node] < request.memory_mib:
        return None
    room = snapshot.gpu_free[node][: snapshot.num_gpus[node]]
    if request.is_share:
        fitting = np.flatnonzero(room >= request.gpu_milli)
        return Choice(node, (int(fitting[np.argmin(room[fitting])]),)) if len(fitting) else None
    untouched = np.flatnonzero(room == MILLI_PER_GPU)[: request.num_gpus]
    return Choice(node, tuple(untouched.tolist())) if len(untouched) == request.num_gpus else None
