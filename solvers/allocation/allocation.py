"""What a policy returns, and the protocol that all of them keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from apportion.instances.fleet import FleetAllocation

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Allocation:
    """Fractions of time: ``x`` (J, T) of jobs alone, ``y`` (P, T) of pairs that share.

    ``objective`` is what the policy optimises, in its own terms, and ``bound`` a proven bound on it; both are NaN for
    rules that optimise nothing. ``pending`` says why a job can never run on this fleet, by position.
    """

    x: Floats
    y: Floats
    objective: float = nan
    bound: float = nan
    pending: Mapping[int, str] = field(default_factory=dict)

    def throughputs(self, snapshot: FleetAllocation) -> Floats:
        """Steps per second of each job, (J,)."""
        return effective_throughputs(snapshot, self.x, self.y)


class Policy(Protocol):
    """A pure function of a snapshot."""

    def __call__(self, snapshot: FleetAllocation) -> Allocation:
        """Divide the fleet among the jobs of ``snapshot``."""
        ...


def effective_throughputs(snapshot: FleetAllocation, x: Floats, y: Floats | None = None) -> Floats:
    """Steps per second of each job under the fractions ``x`` (J, T) and ``y`` (P, T), (J,)."""
    rate: Floats = (snapshot.rates * x).sum(axis=1)
    if y is not None and snapshot.num_pairs:
        for side in (0, 1):
            gained = (snapshot.pair_rates[:, side, :] * y).sum(axis=1)
            rate += np.bincount(snapshot.pairs[:, side], gained, minlength=snapshot.num_jobs)
    return rate


def allocated(
    snapshot: FleetAllocation, x: Floats, y: Floats | None = None, objective: float = nan, bound: float = nan
) -> Allocation:
    """Wrap fractions with the reasons of the jobs that can never run."""
    pending = {int(j): snapshot.pending_reason(int(j)) for j in np.flatnonzero(~snapshot.runnable)}
    none = np.zeros((snapshot.num_pairs, snapshot.num_types))
    return Allocation(x, none if y is None else y, objective, bound, pending)
