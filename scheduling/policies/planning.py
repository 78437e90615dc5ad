"""Schedulers that look at what is left of every job."""

from __future__ import annotations

import numpy as np

from apportion.instances.program import Floats
from apportion.instances.trace import Longs
from apportion.scheduling.simulator.view import RoundView
from apportion.solvers.rounds.planner import PlanTask, PlanWeights, plan_order


class PlanningScheduler:
    """Plans the order of all known jobs on the type of GPU that does most, and runs those that start now.

    GPUs of the other types go to the jobs that wait, shortest first.

    Parameters
    ----------
    weights
        What the plan should be good at.
    restart_s
        What a start costs.
    moves
        Steps of the search in every round.
    seed
        Same seed, same plans.
    """

    def __init__(
        self,
        weights: PlanWeights | None = None,
        restart_s: float = 20.0,
        moves: int = 2000,
        seed: int = 0,
    ) -> None:
        self._weights = PlanWeights() if weights is None else weights
        self._restart_s, self._moves, self._seed = restart_s, moves, seed
        self._order: list[int] = []

    def choose(self, view: RoundView) -> Longs:
        """The types of the next round."""
        chosen = np.full(len(view.jobs), -1, np.int64)
        fastest = np.maximum(view.throughput.max(axis=1, keepdims=True), 1e-300)
        kind = int(np.argmax(view.capacity * (view.throughput / fastest).mean(axis=0)))
        rows = np.flatnonzero((view.throughput[:, kind] > 0) & (view.num_gpus <= view.capacity[kind]))
        if not len(rows):
            return ShortestScheduler().fill(view, chosen)
        position = {job: place for place, job in enumerate(view.jobs[rows].tolist())}
        first = [position[job] for job in self._order if job in position]
        seen = set(first)
        first += [place for place in range(len(rows)) if place not in seen]
        plan = plan_order(
            self._task(view, rows, kind), self._weights, np.array(first, np.int64), moves=self._moves, seed=self._seed
        )
        self._order = view.jobs[rows][plan.order].tolist()
        chosen[rows[plan.start_s == 0.0]] = kind
        return ShortestScheduler().fill(view, chosen)

    def _task(self, view: RoundView, rows: Longs, kind: int) -> PlanTask:
        contention = max(1.0, view.num_arrived / max(1, int(view.capacity.sum())))
        return PlanTask(
            np.maximum(view.remaining_s[rows], 1.0),
            view.num_gpus[rows],
            view.now_s - view.arrival_s[rows],
            view.alone_s[rows] * contention,
            (view.current_type[rows] == kind).astype(np.int64),
            int(view.capacity[kind]),
            view.length_s,
            self._restart_s,
        )


class ShortestScheduler:
    """Shortest remaining work first, each job on the free type where it is done first.

    Parameters
    ----------
    gpu_power
        Work is remaining time times GPUs to this power: 0 counts time only, 1 GPU-time.
    """

    def __init__(self, gpu_power: float = 0.7) -> None:
        self._gpu_power = gpu_power

    def choose(self, view: RoundView) -> Longs:
        """The types of the next round."""
        return self.fill(view, np.full(len(view.jobs), -1, np.int64))

    def fill(self, view: RoundView, chosen: Longs) -> Longs:
        """Give what is still free to jobs that ``chosen`` lets wait; changes and returns it."""
        rest = _rest(view)
        shortest = rest.min(axis=1)
        free, gpus = view.capacity.copy(), view.num_gpus
        placed = chosen >= 0
        np.subtract.at(free, chosen[placed], gpus[placed])
        for row in np.argsort(shortest * gpus**self._gpu_power, kind="stable").tolist():
            if placed[row]:
                continue
            here = np.where(free >= gpus[row], rest[row], np.inf)
            kind = int(np.argmin(here))
            if np.isfinite(here[kind]):
                chosen[row] = kind
                free[kind] -= gpus[row]
        return chosen


def _rest(view: RoundView) -> Floats:
    rates = view.throughput
    rest: Floats = np.full(rates.shape, np.inf)
    np.divide(view.steps_left[:, None], rates, out=rest, where=rates > 0)
    return rest
