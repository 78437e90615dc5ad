"""Policies that follow a rule and optimise nothing: equal shares, first come first served, shortest first, packing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apportion.instances.fleet import FleetAllocation
from apportion.solvers.allocation.allocation import Allocation, allocated

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def proportional(snapshot: FleetAllocation) -> Allocation:
    """Every job gets the same time on every type: ``num_gpus / jobs``, at most its whole time.

    Jobs on several GPUs get less where the fleet would not hold them; what a job cannot use is left idle.
    """
    share = _equal_share(snapshot)
    x = np.where(snapshot.usable, share, 0.0)
    return allocated(snapshot, _within_capacity(snapshot, x))


def isolated(snapshot: FleetAllocation) -> Allocation:
    """Every job gets an equal part of the GPUs of its own: ``num_gpus / jobs / scale_factor`` of its time."""
    share = snapshot.num_gpus / max(1, int(snapshot.runnable.sum())) / snapshot.scale_factor[:, None]
    share = share / np.maximum(1.0, share.sum(axis=1))[:, None]
    return allocated(snapshot, np.where(snapshot.usable, share, 0.0))


def _equal_share(snapshot: FleetAllocation) -> Floats:
    share = snapshot.num_gpus / max(1, int(snapshot.runnable.sum()))
    scaled: Floats = share / max(1.0, float(share.sum()))
    return scaled


def _within_capacity(snapshot: FleetAllocation, x: Floats) -> Floats:
    load = snapshot.scale_factor @ x
    shrink = np.minimum(1.0, snapshot.num_gpus / np.maximum(load, 1e-300))
    scaled: Floats = x * shrink
    return scaled


def by_arrival(snapshot: FleetAllocation) -> Ints:
    """Positions of the jobs that can run, first come first."""
    order = np.argsort(snapshot.arrival_s, kind="stable")
    return order[snapshot.runnable[order]]


def fifo(snapshot: FleetAllocation) -> Allocation:
    """First come first served; a job keeps its type, a new one takes the type with the most free GPUs.

    No job overtakes one that waits. Blind to throughputs, except that a job never takes a type it cannot use.
    """
    free = snapshot.num_gpus.copy()
    x = np.zeros(snapshot.usable.shape)
    order = by_arrival(snapshot)
    running = order[snapshot.current_type[order] >= 0]
    _keep_running(snapshot, running, free, x)
    for job in order:
        if x[job].any():
            continue
        room = np.where(snapshot.usable[job] & (free >= snapshot.scale_factor[job]), free, -1)
        if not _take(snapshot, int(job), int(room.argmax()), room, free, x):
            break
    return allocated(snapshot, x)


def fifo_perf(snapshot: FleetAllocation) -> Allocation:
    """First come first served, each job on the free type where it is fastest; no job overtakes one that waits."""
    return allocated(snapshot, _in_order(snapshot, by_arrival(snapshot), overtaking=False))


def srtf(snapshot: FleetAllocation) -> Allocation:
    """Shortest remaining time first, each job on the free type where it is fastest; small jobs fill what is left."""
    best = snapshot.rates.max(axis=1, initial=0.0)
    left = np.where(best > 0, snapshot.steps_left / np.where(best > 0, best, 1.0), np.inf)
    order = np.lexsort((snapshot.arrival_s, left))
    return allocated(snapshot, _in_order(snapshot, order[snapshot.runnable[order]], overtaking=True))


def _keep_running(snapshot: FleetAllocation, running: Ints, free: Ints, x: Floats) -> None:
    for job in running:
        kind, size = snapshot.current_type[job], snapshot.scale_factor[job]
        if snapshot.usable[job, kind] and free[kind] >= size:
            x[job, kind] = 1.0
            free[kind] -= size


def _take(snapshot: FleetAllocation, job: int, kind: int, room: Floats | Ints, free: Ints, x: Floats) -> bool:
    """Give the job a type where ``room`` is positive; False when there is none."""
    if room[kind] <= 0:
        return False
    x[job, kind] = 1.0
    free[kind] -= snapshot.scale_factor[job]
    return True


def _in_order(snapshot: FleetAllocation, order: Ints, *, overtaking: bool) -> Floats:
    x = np.zeros(snapshot.usable.shape)
    serve_in_order(snapshot, order, snapshot.num_gpus.copy(), x, overtaking=overtaking)
    return x


def serve_in_order(snapshot: FleetAllocation, order: Ints, free: Ints, x: Floats, *, overtaking: bool) -> None:
    """Give each job of ``order`` the free type where it is fastest; takes from ``free`` (T,), writes into ``x``.

    Without ``overtaking`` the first job that finds no place ends it.
    """
    for job in order:
        room = np.where(free >= snapshot.scale_factor[job], snapshot.rates[job], 0.0)
        served = _take(snapshot, int(job), int(room.argmax()), room, free, x)
        if not (served or overtaking) or not free.any():
            break


def fifo_packed(snapshot: FleetAllocation, threshold: float = 1.5) -> Allocation:
    """As ``fifo-perf``; then, in order of arrival, each job that waits joins the running job it goes best with.

    Two jobs share when together they do more than ``threshold`` times what one of them does alone. The first job that
    finds no partner ends the round.
    """
    order = by_arrival(snapshot)
    x = _in_order(snapshot, order, overtaking=False)
    y = np.zeros((snapshot.num_pairs, snapshot.num_types))
    partners = _partners(snapshot)
    open_to_share = set(np.flatnonzero(x.any(axis=1)).tolist())
    for job in order.tolist():
        if job in open_to_share or x[job].any():
            continue
        best, gain = -1, threshold
        for pair, other in partners.get(job, ()):
            if other in open_to_share:
                kind = int(x[other].argmax())
                together = _together(snapshot, pair, kind)
                if together > gain:
                    best, gain = pair, together
        if best < 0:
            break
        one, two = snapshot.pairs[best].tolist()
        other = two if one == job else one
        y[best, int(x[other].argmax())] = 1.0
        x[other] = 0.0
        open_to_share.discard(other)
    return allocated(snapshot, x, y)


def _partners(snapshot: FleetAllocation) -> dict[int, list[tuple[int, int]]]:
    """For each job the pairs that it is in, with the other job."""
    found: dict[int, list[tuple[int, int]]] = {}
    for pair, (one, two) in enumerate(snapshot.pairs.tolist()):
        found.setdefault(one, []).append((pair, two))
        found.setdefault(two, []).append((pair, one))
    return found


def _together(snapshot: FleetAllocation, pair: int, kind: int) -> float:
    """What two jobs do together on a type, each relative to itself alone there; 0 when they may not share it."""
    alone = snapshot.rates[snapshot.pairs[pair], kind]
    shared = snapshot.pair_rates[pair, :, kind]
    return float((shared / alone).sum()) if (alone > 0).all() and (shared > 0).all() else 0.0


def gandiva(snapshot: FleetAllocation, seed: int = 0) -> Allocation:
    """Random packing (Gandiva): when the fleet is too small for all, pair jobs at random, then divide time equally.

    Pairs that do less together than one alone, on the mean over the types, are not kept.
    """
    jobs = np.flatnonzero(snapshot.runnable)
    x, y = np.zeros(snapshot.usable.shape), np.zeros((snapshot.num_pairs, snapshot.num_types))
    paired = _random_pairs(snapshot, seed) if snapshot.scale_factor[jobs].sum() > snapshot.num_gpus.sum() else []
    in_pairs = set(snapshot.pairs[paired].ravel().tolist())
    single = [job for job in jobs.tolist() if job not in in_pairs]
    share = snapshot.num_gpus / max(1, len(single) + len(paired))
    for job in single:
        x[job] = np.where(snapshot.usable[job], share / snapshot.scale_factor[job], 0.0)
        x[job] /= max(1.0, x[job].sum())
    for pair in paired:
        y[pair] = np.where(snapshot.pair_rates[pair, 0] > 0, share / snapshot.scale_factor[snapshot.pairs[pair, 0]], 0)
        y[pair] /= max(1.0, y[pair].sum())
    return allocated(snapshot, x, y)


def _random_pairs(snapshot: FleetAllocation, seed: int) -> list[int]:
    random = np.random.default_rng(seed)
    taken: set[int] = set()
    kept = []
    for pair in random.permutation(snapshot.num_pairs).tolist():
        one, two = snapshot.pairs[pair].tolist()
        if one in taken or two in taken:
            continue
        gains = [_together(snapshot, pair, t) for t in range(snapshot.num_types) if snapshot.usable[one, t]]
        if gains and sum(gains) / len(gains) >= 1.0:
            kept.append(pair)
            taken |= {one, two}
    return kept
