"""The linear programs of fleet allocation, written on arrays of jobs by types and pairs by types.

Sources: Narayanan et al., "Heterogeneity-Aware Cluster Scheduling Policies for Deep Learning Workloads", OSDI 2020
(Gavel); Mahajan et al., "Themis: Fair and Efficient GPU Cluster Scheduling", NSDI 2020 (finish-time fairness).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.fleet import FleetAllocation
from apportion.models.algebra import LinearExpression, Model

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Formulation:
    """The model with its blocks: ``x`` (J, T), ``y`` (P, T) when pairs share, and ``rate`` (J,) in steps per second."""

    instance: FleetAllocation
    model: Model
    x: LinearExpression
    y: LinearExpression | None
    rate: LinearExpression

    def shares(self, values: Floats) -> tuple[Floats, Floats]:
        """The fractions of jobs (J, T) and of pairs (P, T) in an answer, without the dust of the solver."""
        blocks = self.model.split(values)
        x = np.clip(blocks["x"], 0.0, 1.0)
        none = np.zeros((self.instance.num_pairs, self.instance.num_types))
        return x, np.clip(blocks["y"], 0.0, 1.0) if "y" in blocks else none


def base(instance: FleetAllocation, *, packed: bool = False) -> Formulation:
    """The fractions and what every policy keeps: time of each job, GPUs of each type."""
    model = Model(instance.name or "fleet")
    x = model.add_variables("x", instance.usable.shape, upper=instance.usable.astype(np.float64))
    rate = (instance.rates * x).sum(axis=1)
    time, load = x.sum(axis=1), (instance.scale_factor[:, None].astype(np.float64) * x).sum(axis=0)
    y: LinearExpression | None = None
    if packed and instance.num_pairs:
        allowed = (instance.pair_rates[:, 0, :] > 0).astype(np.float64)
        y = model.add_variables("y", allowed.shape, upper=allowed)
        sizes = instance.scale_factor[instance.pairs[:, 0]].astype(np.float64)
        load = load + (sizes[:, None] * y).sum(axis=0)
        for side in (0, 1):
            of_job = incidence(instance, side)
            time = time + of_job @ y.sum(axis=1)
            rate = rate + of_job @ (instance.pair_rates[:, side, :] * y).sum(axis=1)
    model.add_constraints("time", time <= 1.0)
    model.add_constraints("capacity", load <= instance.num_gpus.astype(np.float64))
    return Formulation(instance, model, x, y, rate)


def incidence(instance: FleetAllocation, side: int) -> sparse.csr_array:
    """Which job is the first (``side`` 0) or second of each pair, (J, P)."""
    pairs = np.arange(instance.num_pairs)
    ones = np.ones(instance.num_pairs)
    return sparse.csr_array((ones, (instance.pairs[:, side], pairs)), shape=(instance.num_jobs, instance.num_pairs))


def level_program(
    instance: FleetAllocation, need: Floats, *, packed: bool = False, fixed: Floats | None = None
) -> Formulation:
    """Maximise the level L with ``rate >= fixed + need * L`` for every job.

    ``need`` and ``fixed`` are steps per second, (J,). Max-min fairness, makespan, finish-time fairness at a given
    ratio and each step of water-filling are this program.
    """
    formulation = base(instance, packed=packed)
    model = formulation.model
    level = model.add_variables("level", lower=-np.inf if fixed is not None else 0.0)
    asked = need * level if fixed is None else need * level + fixed
    model.add_constraints("level", formulation.rate >= asked)
    model.maximise(level)
    return formulation


def sum_program(
    instance: FleetAllocation,
    value: Floats,
    least: Floats,
    *,
    packed: bool = False,
    pair_value: Floats | None = None,
) -> Formulation:
    """Maximise ``sum value * x + pair_value * y`` with ``rate >= least``.

    ``value`` (J, T) and ``pair_value`` (P, T) are worth per unit of time, ``least`` (J,) is in steps per second.
    """
    formulation = base(instance, packed=packed)
    wanted = np.flatnonzero(least > 0)
    if len(wanted):
        formulation.model.add_constraints("promise", formulation.rate[wanted] >= least[wanted])
    worth = (value * formulation.x).sum()
    if formulation.y is not None and pair_value is not None:
        worth = worth + (pair_value * formulation.y).sum()
    formulation.model.maximise(worth)
    return formulation
