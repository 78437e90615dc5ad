"""Plan ahead in the manner of Shockwave: search the order in which the known jobs start, run what starts now.

Shockwave (Zheng et al., NSDI 2023) solves a window of rounds as a mixed-integer program. Here the window is all the
rest: a list rule turns an order of the jobs into a schedule, which is judged by mean completion time, makespan and
finish-time fairness and improved by simulated annealing. Every round begins with the order that was best before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apportion.instances.errors import OptionError
from apportion.instances.program import Floats
from apportion.solvers.rounds.kernels import Longs, improve_order, list_schedule


@dataclass(frozen=True)
class PlanWeights:
    """What a plan should be good at.

    ``mean`` and ``last`` weigh the sum of completion times and the makespan, in hours; ``unfair`` every job whose
    finish-time fairness is above ``threshold``, ``excess`` how far it is above, ``worst`` how far the worst is above
    ``worst_threshold``.
    """

    mean: float = 1.0
    last: float = 5.0
    unfair: float = 1.0
    excess: float = 2.0
    worst: float = 50.0
    threshold: float = 1.05
    worst_threshold: float = 1.7

    def __post_init__(self) -> None:
        if min(self.mean, self.last, self.unfair, self.excess, self.worst, self.threshold) < 0:
            raise OptionError(f"weights of a plan must not be negative, got {self}")


@dataclass(frozen=True, eq=False)
class PlanTask:
    """The jobs at one moment, on one pool of equal GPUs: A jobs.

    ``rest_s`` is how long each takes yet, ``age_s`` how long it has been here, ``fair_s`` how long it may take on a
    fair share in all; ``held`` is 1 for those that run now.
    """

    rest_s: Floats
    num_gpus: Longs
    age_s: Floats
    fair_s: Floats
    held: Longs
    capacity: int
    length_s: float
    restart_s: float


@dataclass(frozen=True, eq=False)
class RoundPlan:
    """An order of the jobs, when each starts and ends from now, and its cost."""

    order: Longs
    start_s: Floats
    finish_s: Floats
    cost: float


def plan_order(
    task: PlanTask, weights: PlanWeights, first: Longs, *, moves: int = 2000, heat: float = 0.05, seed: int = 0
) -> RoundPlan:
    """Improve an order.

    Parameters
    ----------
    task
        The jobs.
    weights
        What counts.
    first
        An order to begin with, a permutation of ``0 .. A - 1``; the usual rules are tried beside it.
    moves, heat, seed
        Steps and first temperature of the annealing; same seed, same plan.

    Examples
    --------
    >>> task = PlanTask(np.array([50.0, 10.0]), np.array([1, 1]), np.zeros(2), np.full(2, 1e9),
    ...     np.zeros(2, np.int64), 1, 1.0, 0.0)
    >>> plan_order(task, PlanWeights(), np.array([0, 1])).order.tolist()
    [1, 0]
    """
    count = len(task.rest_s)
    judged = np.array([weights.mean, weights.last, weights.unfair, weights.excess, weights.worst])
    due = np.array([weights.threshold, weights.worst_threshold])
    start, finish, release = np.empty(count), np.empty(count), np.empty(count)
    waiting, best, trial = (np.empty(count, np.int64) for _ in range(3))

    def search(order: Longs, steps: int, temperature: float) -> float:
        return float(
            improve_order(
                order, task.rest_s, task.num_gpus, task.held, task.capacity, task.length_s, task.restart_s, task.age_s,
                task.fair_s, judged, 3600.0, 0.0, due, steps, temperature, seed, best, trial, waiting, release, start,
                finish,
            )
        )  # fmt: skip

    candidates = [first, *_usual_orders(task)]
    costs = [search(order.copy(), 0, 0.0) for order in candidates]
    chosen = candidates[int(np.argmin(costs))].copy()
    cost = search(chosen, moves if count > 1 else 0, heat)
    order = best.copy()
    list_schedule(
        order, task.rest_s, task.num_gpus, task.held, task.capacity, task.length_s, task.restart_s, waiting, release,
        start, finish,
    )  # fmt: skip
    return RoundPlan(order, start.copy(), finish.copy(), cost)


def _usual_orders(task: PlanTask) -> list[Longs]:
    """Shortest first, least slack first, longest first."""
    slack = task.fair_s - task.age_s - task.rest_s
    area = task.rest_s * task.num_gpus
    return [np.argsort(key, kind="stable") for key in (task.rest_s, area, slack, -task.rest_s)]
