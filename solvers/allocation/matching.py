"""AlloX: which job runs on which type first, so that the mean completion time is least.

Le, Sun, Chowdhury and Liu, "AlloX: Compute Allocation in Hybrid Clusters", EuroSys 2020. The k-th last job on a GPU
delays k jobs, itself included, by its own duration; so positions counted from the end make the sum of completion times
a matching of jobs to (type, position), with as many places at each position as the type has GPUs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apportion.instances.fleet import FleetAllocation
from apportion.models.algebra import Model
from apportion.solvers.allocation.allocation import Allocation, allocated
from apportion.solvers.allocation.linear import run_model
from apportion.solvers.allocation.rules import by_arrival, serve_in_order

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def allox(snapshot: FleetAllocation) -> Allocation:
    """Least mean completion time for jobs on one GPU that wait; running jobs keep their type.

    Jobs on several GPUs, which the matching cannot express, then take what is left, the shortest first. The objective
    is the sum of the seconds until each matched job is done.
    """
    free = snapshot.num_gpus.copy()
    x = np.zeros(snapshot.usable.shape)
    for job in by_arrival(snapshot):
        kind, size = int(snapshot.current_type[job]), int(snapshot.scale_factor[job])
        if kind >= 0 and snapshot.usable[job, kind] and free[kind] >= size:
            x[job, kind] = 1.0
            free[kind] -= size
    waiting = by_arrival(snapshot)
    waiting = waiting[~x[waiting].any(axis=1)]
    single = waiting[snapshot.scale_factor[waiting] == 1]
    with np.errstate(divide="ignore"):
        seconds = np.where(snapshot.usable[single], snapshot.steps_left[single, None] / snapshot.rates[single], np.inf)
    seconds[:, free == 0] = np.inf
    reachable = np.isfinite(seconds).any(axis=1)
    single, seconds = single[reachable], seconds[reachable]
    total = 0.0
    if len(single):
        place, total = match(seconds, free)
        for kind in range(snapshot.num_types):
            for job in single[first_to_run(place, kind)]:
                x[job, kind] = 1.0
                free[kind] -= 1
    wide = waiting[snapshot.scale_factor[waiting] > 1]
    left = snapshot.steps_left[wide] / snapshot.rates[wide].max(axis=1, initial=1e-300)
    serve_in_order(snapshot, wide[np.argsort(left, kind="stable")], free, x, overtaking=True)
    return allocated(snapshot, x, None, total, total)


def match(seconds: Floats, gpus: Ints) -> tuple[Ints, float]:
    """Give every job a type and a position from the end: (J, 2) and the sum of completion times.

    ``seconds`` (J, T) is infinite where a job cannot run. Positions are added until the last is empty: a place further
    away is never better than an empty one nearer, so more could not help.
    """
    size = len(seconds)
    depth = min(size, 1 + -(-2 * size // max(1, int(gpus.sum()))))
    while True:
        place, total = _match_within(seconds, gpus, depth)
        if depth >= size or ((place[:, 1] > 0) & (place[:, 1] < depth)).all():
            return place, total
        depth = min(size, 2 * depth)


def _match_within(seconds: Floats, gpus: Ints, depth: int) -> tuple[Ints, float]:
    size, kinds = seconds.shape
    positions = np.arange(1, depth + 1, dtype=np.float64)
    allowed = np.isfinite(seconds)
    model = Model("matching")
    take = model.add_variables("take", (size, kinds, depth), upper=allowed[:, :, None] * np.ones(depth))
    wait = model.add_variables("wait", (size,))
    model.add_constraints("job", take.sum(axis=(1, 2)) + wait == 1.0)
    model.add_constraints("place", take.sum(axis=0) <= gpus[:, None] * np.ones(depth))
    cost = np.where(allowed, seconds, 0.0)[:, :, None] * positions
    late = 2.0 * float(cost.max(initial=1.0)) * (size + 1)
    model.minimise((cost * take).sum() + late * wait.sum())
    found = run_model(model)
    place = np.zeros((size, 2), np.int64)
    if found is None:
        return place, np.inf
    chosen = model.split(found[0])["take"] > 0.5
    for job, kind, depth_from_end in np.argwhere(chosen):
        place[job] = kind, depth_from_end + 1
    total = float((cost * chosen).sum()) if (place[:, 1] > 0).all() else np.inf
    return place, total


def first_to_run(place: Ints, kind: int) -> Ints:
    """Positions of the jobs that run first on the GPUs of a type: one for each GPU, from the longest chains.

    As many GPUs have a chain of k jobs as there are more jobs at position k than at k + 1.
    """
    here = np.flatnonzero((place[:, 0] == kind) & (place[:, 1] > 0))
    found: list[int] = []
    after = 0
    for depth in range(int(place[here, 1].max(initial=0)), 0, -1):
        level = here[place[here, 1] == depth]
        found += level[: max(0, len(level) - after)].tolist()
        after = max(after, len(level))
    return np.array(found, np.int64)
