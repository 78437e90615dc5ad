"""Space sharing: levels with pairs of jobs, collapsed to classes of like jobs where there are any.

Jobs that run alike (same rates, same GPUs, same need) may be exchanged, so some best allocation treats them alike: the
average over all exchanges is as good. The program over classes of jobs and pairs of classes has the same optimum. Jobs
come from a few models in practice, so it is small whatever the number of jobs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.fleet import FleetAllocation
from apportion.models.algebra import Model
from apportion.solvers.allocation import linear
from apportion.solvers.allocation.allocation import Allocation, allocated, effective_throughputs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Classes:
    """Classes of like jobs: ``of_job`` (J,), the ``first`` job of each and its ``counts`` (C,).

    ``pairs`` (Q, 2) are pairs of classes that may share, each with the pair of jobs ``example`` (Q,) that shows the
    rates; ``swapped`` (Q,) tells that this example names the second class first.
    """

    of_job: Ints
    first: Ints
    counts: Ints
    pairs: Ints
    example: Ints
    swapped: NDArray[np.bool_]

    def rates(self, snapshot: FleetAllocation) -> Floats:
        """Steps per second of both sides of each pair of classes, (Q, 2, T)."""
        table = snapshot.pair_rates[self.example]
        return np.where(self.swapped[:, None, None], table[:, ::-1, :], table)


def collapse(snapshot: FleetAllocation, need: Floats) -> Classes | None:
    """Find classes of like jobs; None when some pairs of the same two classes differ or are missing."""
    rows = np.column_stack([snapshot.rates, snapshot.scale_factor, need])
    _, first, of_job, counts = np.unique(rows, axis=0, return_index=True, return_inverse=True, return_counts=True)
    of_job = of_job.ravel().astype(np.int64)
    side = of_job[snapshot.pairs]
    swapped = side[:, 0] > side[:, 1]
    low, high = side.min(axis=1), side.max(axis=1)
    keys, example, inverse, found = np.unique(
        low * len(counts) + high, return_index=True, return_inverse=True, return_counts=True
    )
    classes = np.column_stack([keys // len(counts), keys % len(counts)])
    one, two = counts[classes[:, 0]], counts[classes[:, 1]]
    same = classes[:, 0] == classes[:, 1]
    whole = np.where(same, one * (one - 1) // 2, one * two)
    table = np.where(swapped[:, None, None], snapshot.pair_rates[:, ::-1, :], snapshot.pair_rates)
    like = (found == whole).all() and np.array_equal(table, table[example][inverse.ravel()])
    even = np.array_equal(table[example][same][:, 0, :], table[example][same][:, 1, :])
    if not (like and even):
        return None
    return Classes(of_job, first, counts, classes, example, swapped[example])


def highest_level(snapshot: FleetAllocation, need: Floats) -> Allocation | None:
    """The shares with the highest level L, ``rate >= need * L``, where the pairs of the snapshot may share GPUs."""
    classes = collapse(snapshot, need) if snapshot.num_pairs else None
    if classes is None or len(classes.first) > 0.9 * snapshot.num_jobs:
        return linear.highest_level(snapshot, need, packed=True)
    return _highest_of_classes(snapshot, classes, need)


def _highest_of_classes(snapshot: FleetAllocation, classes: Classes, need: Floats) -> Allocation | None:
    counts = classes.counts.astype(np.float64)
    sizes = snapshot.scale_factor[classes.first].astype(np.float64)
    rates, pair_rates = snapshot.rates[classes.first], classes.rates(snapshot)
    model = Model(snapshot.name or "fleet")
    x = model.add_variables("x", rates.shape, upper=counts[:, None] * snapshot.usable[classes.first])
    y = model.add_variables("y", pair_rates[:, 0, :].shape, upper=np.where(pair_rates[:, 0, :] > 0, np.inf, 0.0))
    level = model.add_variables("level")
    time, rate = x.sum(axis=1), (rates * x).sum(axis=1)
    load = (sizes[:, None] * x).sum(axis=0) + (sizes[classes.pairs[:, 0]][:, None] * y).sum(axis=0)
    number = np.arange(len(classes.pairs))
    for side in (0, 1):
        shape = (len(counts), len(number))
        member = sparse.csr_array((np.ones(len(number)), (classes.pairs[:, side], number)), shape=shape)
        time = time + member @ y.sum(axis=1)
        rate = rate + member @ (pair_rates[:, side, :] * y).sum(axis=1)
    model.add_constraints("time", time <= counts)
    model.add_constraints("capacity", load <= snapshot.num_gpus.astype(np.float64))
    model.add_constraints("level", rate >= counts * need[classes.first] * level)
    model.maximise(level)
    found = linear.run_model(model)
    if found is None:
        return None
    values, bounds = found
    blocks = model.split(values)
    shares = np.clip(blocks["x"], 0.0, None) / counts[:, None]
    spread = _spread(snapshot, classes, np.clip(blocks["y"], 0.0, None))
    x_jobs = np.ascontiguousarray(shares[classes.of_job])
    x_jobs, spread = within(snapshot, x_jobs, spread)
    reached = effective_throughputs(snapshot, x_jobs, spread)
    some = need > 0
    return allocated(snapshot, x_jobs, spread, float((reached[some] / need[some]).min()), bounds.dual)


def within(snapshot: FleetAllocation, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Shares without what rounding adds beyond capacities and whole times."""
    sizes = snapshot.scale_factor
    load = sizes @ x + (sizes[snapshot.pairs[:, 0]] @ y if len(y) else 0.0)
    shrink = np.minimum(1.0, snapshot.num_gpus / np.maximum(load, 1e-300))
    x, y = x * shrink, y * shrink
    time = x.sum(axis=1)
    if not len(y):
        return x / np.maximum(1.0, time)[:, None], y
    busy = y.sum(axis=1)
    for side in (0, 1):
        time = time + np.bincount(snapshot.pairs[:, side], busy, minlength=snapshot.num_jobs)
    over = np.maximum(1.0, time)
    return x / over[:, None], y / over[snapshot.pairs].max(axis=1)[:, None]


def _spread(snapshot: FleetAllocation, classes: Classes, amounts: Floats) -> Floats:
    """Give the amounts of pairs of classes (Q, T) to pairs of jobs so that each job of a class gets the same."""
    members = [np.flatnonzero(classes.of_job == c) for c in range(len(classes.first))]
    keys = snapshot.pairs.min(axis=1) * snapshot.num_jobs + snapshot.pairs.max(axis=1)
    order = np.argsort(keys)
    y = np.zeros((snapshot.num_pairs, snapshot.num_types))
    for pair, kind in np.argwhere(amounts > 0):
        one, two = members[classes.pairs[pair, 0]], members[classes.pairs[pair, 1]]
        left, right, part = _ring(one) if one is two else _corner(one, two)
        low, high = np.minimum(left, right), np.maximum(left, right)
        where = order[np.searchsorted(keys, low * snapshot.num_jobs + high, sorter=order)]
        np.add.at(y[:, kind], where, part * amounts[pair, kind])
    return y


def _ring(jobs: Ints) -> tuple[Ints, Ints, Floats]:
    """Each job with the next one, the last with the first; parts sum to 1."""
    if len(jobs) == 2:
        return jobs[:1], jobs[1:], np.ones(1)
    return jobs, np.roll(jobs, 1), np.full(len(jobs), 1.0 / len(jobs))


def _corner(one: Ints, two: Ints) -> tuple[Ints, Ints, Floats]:
    """Equal parts of ``one`` onto equal parts of ``two``, neighbours in order; parts sum to 1."""
    ends = np.unique(np.concatenate([np.arange(1, len(one) + 1) * len(two), np.arange(1, len(two) + 1) * len(one)]))
    starts = np.concatenate([[0], ends[:-1]])
    return one[starts // len(two)], two[starts // len(one)], (ends - starts) / (len(one) * len(two))
