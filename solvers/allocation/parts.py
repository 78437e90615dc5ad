"""POP: split jobs and GPUs into parts at random, solve each part by itself, put the answers together.

Narayanan et al., "Solving Large-Scale Granular Resource Allocation Problems Efficiently with POP", SOSP 2021.
"""

from __future__ import annotations

from math import nan

import numpy as np
from numpy.typing import NDArray

from apportion.instances.fleet import FleetAllocation, FleetShares
from apportion.models.allocation.check import check
from apportion.solvers.allocation.allocation import Allocation, allocated, effective_throughputs
from apportion.solvers.allocation.objectives import fair_needs, optimise, promised_rates

Floats = NDArray[np.float64]


def by_parts(snapshot: FleetAllocation, parts: int = 8, seed: int = 0) -> Allocation | None:
    """Solve the linear program of each of ``parts`` random parts; None when a part cannot keep its promises.

    Each part gets ``num_gpus // parts`` of each type, the first ones one more while GPUs are left over. Jobs are dealt
    so that parts have equally many of each scale factor. Its fairness is relative to the whole fleet.
    """
    order = np.random.default_rng(seed).permutation(snapshot.num_jobs)
    order = order[np.argsort(snapshot.scale_factor[order], kind="stable")]
    x = np.zeros(snapshot.usable.shape)
    y = np.zeros((snapshot.num_pairs, snapshot.num_types))
    linear = snapshot.objective in ("max-throughput", "throughput-per-cost", "min-cost")
    promised = promised_rates(snapshot) if linear else np.zeros(snapshot.num_jobs)
    owner = np.full(snapshot.num_jobs, -1)
    for part in range(parts):
        mine = np.sort(order[part::parts])
        if not len(mine):
            continue
        owner[mine] = part
        gpus = snapshot.num_gpus // parts + (part < snapshot.num_gpus % parts)
        piece = snapshot.select(mine, gpus)
        found = optimise(piece, by_program=True)
        if found is None or (promised[mine] > 0)[~piece.runnable].any():
            return None
        x[mine] = found.x
        y[(owner[snapshot.pairs] == part).all(axis=1)] = found.y
    return allocated(snapshot, x, y, measure(snapshot, x, y), nan)


def measure(snapshot: FleetAllocation, x: Floats, y: Floats) -> float:
    """The objective of shares for the whole fleet."""
    if snapshot.objective == "max-min-fairness":
        need = np.where(snapshot.runnable, fair_needs(snapshot), 0.0)
        asked = need > 0
        return float((effective_throughputs(snapshot, x, y)[asked] / need[asked]).min()) if asked.any() else 0.0
    return check(snapshot, FleetShares.from_arrays(snapshot, x, y)).objective
