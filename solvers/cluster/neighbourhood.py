"""Large-neighbourhood search: free some nodes, place their tasks and some that wait anew, keep what is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from apportion.instances.cluster import ClusterPlacement, Placement
from apportion.models.cluster.cpsat import placement_cp
from apportion.solvers.cluster.kernels import BEST_FIT
from apportion.solvers.cluster.state import Score, State, decreasing
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions

Ints = NDArray[np.int64]

_WINDOW_GPUS = 40
_WINDOW_NODES = 24
_WAITING_TASKS = 80
_WORK_PER_WINDOW = 0.1

Accept = Callable[[Score, Score], bool]


def improve(
    state: State,
    options: SolveOptions,
    monitor: Monitor,
    accept: Accept,
    done: Callable[[State], bool],
    most_windows: int,
    report: Callable[[State], None],
) -> tuple[State, int]:
    """Improve ``state`` window by window until ``done``, the time is up, or ``most_windows`` in a row brought nothing.

    ``accept(new, old)`` says which scores are better; ``report`` is called with each better state. Returns the best
    state and how many windows were searched.
    """
    random = np.random.default_rng(options.seed)
    windows = idle = 0
    while idle < most_windows and not done(state) and not monitor.should_stop:
        windows += 1
        candidate = _search_window(state, _choose_nodes(state, random), random, options, monitor)
        if candidate is not None and accept(candidate.score, state.score):
            state, idle = candidate, 0
            report(state)
        else:
            idle += 1
    return state, windows


def empty_nodes(state: State, monitor: Monitor) -> State:
    """Move all tasks of a node elsewhere where that works, the least loaded nodes first; nothing stops running."""
    load = state.instance.nodes.num_gpus * 1000 - state.gpu_free.sum(axis=1)
    order = decreasing(state.instance)
    for node in np.argsort(load, kind="stable"):
        if state.tasks_on[node] == 0 or monitor.should_stop:
            continue
        trial = state.copy()
        moved = order[trial.node_of[order] == node]
        for task in moved:
            trial.take(int(task))
        others = np.flatnonzero(trial.tasks_on > 0)
        if trial.pack(moved, BEST_FIT, others) == len(moved):
            state = trial
    return state


def _choose_nodes(state: State, random: np.random.Generator) -> Ints:
    """A window of nodes: those with much idle room are likelier, and half of the time all are of one GPU type."""
    gpus = state.instance.nodes.num_gpus
    idle = state.gpu_free.sum(axis=1) / 1000.0
    weight = (0.05 + idle / np.maximum(gpus, 1)) * random.random(len(gpus))
    if random.random() < 0.5:
        kinds = np.array(state.instance.nodes.gpu_types)
        weight = np.where(kinds == kinds[int(np.argmax(weight))], weight, 0.0)
    chosen = np.argsort(-weight, kind="stable")[:_WINDOW_NODES]
    chosen = chosen[weight[chosen] > 0]
    size = int(np.searchsorted(np.cumsum(gpus[chosen]), _WINDOW_GPUS, side="right"))
    return np.asarray(chosen[: max(2, size)], np.int64)


def _search_window(
    state: State, nodes: Ints, random: np.random.Generator, options: SolveOptions, monitor: Monitor
) -> State | None:
    """Place the tasks of ``nodes`` and a sample of those that wait anew; None when CP-SAT found nothing."""
    inside = np.flatnonzero(np.isin(state.node_of, nodes))
    waiting = state.waiting
    if len(waiting) > _WAITING_TASKS:
        waiting = np.sort(random.choice(waiting, size=_WAITING_TASKS, replace=False))
    tasks = np.concatenate([inside, waiting]).astype(np.int64)
    part = state.instance.restrict(nodes, tasks)
    start = Placement(tuple(state.entry(int(task)) for task in inside))
    plan = place_window(part, start, options, monitor)
    if plan is None:
        return None
    candidate = state.copy()
    for task in inside:
        candidate.take(int(task))
    task_position = dict(zip(part.tasks.names, tasks.tolist(), strict=True))
    node_position = dict(zip(part.nodes.names, nodes.tolist(), strict=True))
    for entry in plan.placed:
        candidate.put(task_position[entry.task], node_position[entry.node], entry.gpus)
    return candidate


def place_window(part: ClusterPlacement, start: Placement, options: SolveOptions, monitor: Monitor) -> Placement | None:
    """The best placement of a small instance in one CP-SAT search over the weighted sum of all three stages."""
    from apportion.solvers.backends.cp_sat import solve_cp_model

    built = placement_cp(part)
    built.hint(start)
    per_task = len(part.nodes) + 1
    per_milli = (len(part.tasks) + 1) * per_task
    built.model.maximize(built.served_milli * per_milli + built.served_tasks * per_task - built.nodes_used)
    settings = {"max_deterministic_time": _WORK_PER_WINDOW} | dict(options.cp_sat.settings)
    block = replace(options.cp_sat, settings=settings)
    quiet = Monitor(part.sense, None, monitor.time_limit_s, monitor.cancelled, monitor.started)
    found = solve_cp_model(built.model, replace(options, cp_sat=block, gap=0.0, node_limit=None), quiet)
    if found.solution is None:
        return None
    solution = found.solution
    return built.decode(lambda variable: solution[variable.index])
