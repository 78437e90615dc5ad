"""Nodes that fail and come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apportion.instances.errors import OptionError
from apportion.instances.trace import Fleet, Longs


@dataclass(frozen=True)
class Failure:
    """GPUs of one type that are down from ``start_s`` to ``end_s``."""

    start_s: float
    end_s: float
    kind: str
    num_gpus: int


def draw_failures(
    fleet: Fleet, mean_between_s: float, repair_s: float, until_s: float, seed: int = 0
) -> tuple[Failure, ...]:
    """Draw failures of nodes: each node fails after an exponential time and is repaired after ``repair_s``.

    Parameters
    ----------
    fleet
        Says how many nodes there are.
    mean_between_s
        Mean time between failures of one node.
    repair_s
        How long a node is down.
    until_s
        No failure begins later.
    seed
        Same seed, same failures.

    Examples
    --------
    >>> len(draw_failures(Fleet.parse("v100:4"), 1e4, 600.0, 1e4)) > 0
    True
    """
    if not (mean_between_s > 0 and repair_s >= 0 and until_s >= 0):
        raise OptionError("failures need a positive mean time between them and times of at least 0")
    random = np.random.default_rng(seed)
    found = []
    for kind, count, size in zip(fleet.types, fleet.num_gpus, fleet.gpus_per_node, strict=True):
        for node in range(-(-count // size)):
            gpus = min(size, count - node * size)
            start = float(random.exponential(mean_between_s))
            while start < until_s:
                found.append(Failure(start, start + repair_s, kind, gpus))
                start += repair_s + float(random.exponential(mean_between_s))
    return tuple(sorted(found, key=lambda f: (f.start_s, f.kind)))


def capacity_between(fleet: Fleet, failures: Sequence[Failure], start_s: float, end_s: float) -> Longs:
    """GPUs of each type that are surely up from ``start_s`` to ``end_s``, (T,)."""
    up = np.array(fleet.num_gpus, np.int64)
    for failure in failures:
        begins_in_time = failure.start_s <= start_s or failure.start_s < end_s
        if begins_in_time and failure.end_s > start_s and failure.kind in fleet.types:
            up[fleet.types.index(failure.kind)] -= failure.num_gpus
    return np.maximum(up, 0)
