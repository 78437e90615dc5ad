"""Gavel's mechanism: fractions of time become rounds (Narayanan et al., OSDI 2020, section 5).

In every round the jobs are taken by decreasing priority ``fraction owed / fraction received``. What was received counts
from the last time that the fractions were computed; they are computed again when jobs came or went and the last time is
long enough ago. A job that came since then waits, though the GPUs that its turn falls on are kept for it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apportion.instances.fleet import FleetAllocation
from apportion.instances.program import Floats
from apportion.instances.trace import Longs
from apportion.scheduling.simulator.view import RoundView

FractionPolicy = Callable[[FleetAllocation], Floats]
"""A pure function from a snapshot to fractions of time, (jobs, types)."""

_NEVER_RAN = 1e9


class FractionScheduler:
    """Turns the fractions of a policy into rounds.

    Parameters
    ----------
    policy
        Gives the fractions.
    minimum_reset_s
        The least time between two computations.
    exclusive
        Whether only jobs with a positive fraction run, as first-come-first-served policies want it.
    type_order
        The order in which types are filled, by position; Gavel takes the fastest first.
    """

    def __init__(
        self,
        policy: FractionPolicy,
        minimum_reset_s: float = 1920.0,
        *,
        exclusive: bool = False,
        type_order: tuple[int, ...] | None = None,
        shuffle_seed: int | None = None,
    ) -> None:
        self._policy = policy
        self._minimum_reset_s = minimum_reset_s
        self._exclusive = exclusive
        self._type_order = type_order
        self._shuffle = None if shuffle_seed is None else _shuffler(shuffle_seed)
        self._known: frozenset[int] = frozenset()
        self._stale = True
        self._reset_at_s = 0.0
        self._owed: dict[int, Floats] = {}
        self._deficit: dict[int, Floats] = {}
        self._received_then: dict[int, Floats] = {}
        self._type_time_then: Floats = np.zeros(0)
        self._worker_base: Floats = np.zeros(0)

    def choose(self, view: RoundView) -> Longs:
        """The types of the next round."""
        present = frozenset(view.jobs.tolist())
        self._stale |= present != self._known
        self._known = present
        if not len(self._type_time_then):
            self._type_time_then = np.zeros(len(view.capacity))
            self._worker_base = np.zeros(len(view.capacity))
        for job in view.jobs.tolist():
            if job not in self._deficit:
                self._deficit[job] = np.zeros(len(view.capacity))
                self._received_then[job] = np.zeros(len(view.capacity))
        waited_long = view.now_s - self._reset_at_s >= self._minimum_reset_s
        if self._stale and (waited_long or self._reset_at_s == 0.0):
            self._reset(view)
        return self._greedy(view)

    def _reset(self, view: RoundView) -> None:
        elapsed = view.now_s - self._reset_at_s
        for row, job in enumerate(view.jobs.tolist()):
            received = view.received_s[row] - self._received_then[job]
            owed = self._owed.get(job)
            self._deficit[job] += (0.0 if owed is None else owed * elapsed) - received
            self._received_then[job] = view.received_s[row].copy()
        self._type_time_then = view.type_time_s.copy()
        self._worker_base = np.full(len(view.capacity), len(view.jobs) * view.length_s / 2.0)
        self._reset_at_s = view.now_s
        fractions = self._policy(view.allocation_problem())
        self._owed = {job: fractions[row] for row, job in enumerate(view.jobs.tolist())}
        self._stale = False

    def _priorities(self, view: RoundView) -> tuple[Floats, Floats]:
        worker_time = self._worker_base + view.type_time_s - self._type_time_then
        shape = view.throughput.shape
        owed = np.zeros(shape)
        received = np.zeros(shape)
        for row, job in enumerate(view.jobs.tolist()):
            owed[row] = self._owed.get(job, owed[row])
            received[row] = view.length_s / 2.0 + view.received_s[row] - self._received_then[job]
        fraction = np.divide(received, worker_time, out=np.zeros(shape), where=worker_time > 0)
        ratio = np.divide(owed, fraction, out=owed * _NEVER_RAN, where=fraction > 0)
        return np.where((owed > 0) & (view.throughput > 0), ratio, 0.0), owed

    def _greedy(self, view: RoundView) -> Longs:
        priority, owed = self._priorities(view)
        deficit = np.array([self._deficit[job] for job in view.jobs.tolist()])
        known = np.array([job in self._owed for job in view.jobs.tolist()])
        chosen = np.full(len(view.jobs), -1, np.int64)
        taken = np.zeros(len(view.jobs), np.bool_)
        free = view.capacity.copy()
        gpus = view.num_gpus
        for kind in self._order(len(free)):
            keys = (-owed[:, kind], -deficit[:, kind], -priority[:, kind])
            for row in np.lexsort(keys).tolist():
                if free[kind] == 0:
                    break
                if taken[row] or view.throughput[row, kind] <= 0 or gpus[row] > free[kind]:
                    continue
                if self._exclusive and priority[row, kind] <= 0:
                    continue
                taken[row] = True
                free[kind] -= gpus[row]
                if known[row]:
                    chosen[row] = kind
        return chosen

    def _order(self, count: int) -> tuple[int, ...]:
        order = list(range(count) if self._type_order is None else self._type_order)
        if self._shuffle is not None:
            self._shuffle(order)
        return tuple(order)


def _shuffler(seed: int) -> Callable[[list[int]], None]:
    import random

    return random.Random(seed).shuffle  # noqa: S311 (not for secrets)
