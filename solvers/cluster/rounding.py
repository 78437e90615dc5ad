"""From patterns to a placement, and back: the patterns that a placement uses."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from apportion.models.cluster.classes import Classes
from apportion.models.cluster.patterns import Pattern
from apportion.solvers.cluster.kernels import BEST_FIT, MATCHED_FIT
from apportion.solvers.cluster.state import State, decreasing

Ints = NDArray[np.int64]


def patterns_of(state: State) -> list[Pattern]:
    """The pattern of every used node."""
    classes = state.classes
    found = []
    order = np.argsort(state.node_of, kind="stable")
    order = order[state.node_of[order] >= 0]
    cuts = np.flatnonzero(np.diff(state.node_of[order])) + 1
    for tasks in np.split(order, cuts) if len(order) else []:
        items = classes.task_type[tasks]
        first = [int(state.gpus_of(task)[0]) if len(state.gpus_of(task)) else -1 for task in tasks]
        types, counts = np.unique(items, return_counts=True)
        node_class = int(classes.node_class[state.node_of[tasks[0]]])
        found.append(Pattern(node_class, types, counts.astype(np.int64), items, np.array(first, np.int64)))
    return found


def apply_patterns(state: State, chosen: list[Pattern]) -> None:
    """Give each pattern an empty node of its class and tasks of its types, as far as there are and as they fit.

    What is left out or was dropped is placed greedily afterwards.
    """
    classes = state.classes
    waiting = _waiting_by_type(state)
    free = {k: [int(n) for n in members if state.tasks_on[n] == 0] for k, members in enumerate(classes.node_members)}
    for pattern in chosen:
        if free[pattern.node_class]:
            _fill_node(state, free[pattern.node_class].pop(0), pattern, waiting)
    fill(state)


def fill(state: State) -> None:
    """Place whatever still fits, large tasks first."""
    order = decreasing(state.instance)
    order = order[state.node_of[order] < 0]
    gpu_tasks = state.instance.tasks.num_gpus[order] > 0
    state.pack(order[gpu_tasks], MATCHED_FIT)
    state.pack(order, BEST_FIT)


def _waiting_by_type(state: State) -> dict[int, list[int]]:
    waiting: dict[int, list[int]] = defaultdict(list)
    for task in state.waiting[::-1]:
        waiting[int(state.classes.task_type[task])].append(int(task))
    return waiting


def _fill_node(state: State, node: int, pattern: Pattern, waiting: dict[int, list[int]]) -> None:
    """Place the items of a pattern on ``node``, each on the GPU that the pattern names, the largest values first."""
    classes, tasks = state.classes, state.instance.tasks
    value = classes.value[pattern.items]
    for i in np.argsort(-value, kind="stable"):
        kind = int(pattern.items[i])
        if not waiting[kind]:
            continue
        task = waiting[kind][-1]
        gpus = _gpus_for(state, node, int(pattern.gpu_of_item[i]), classes, kind)
        room = state.cpu_free[node] >= tasks.cpu_milli[task] and state.memory_free[node] >= tasks.memory_mib[task]
        if gpus is not None and room:
            waiting[kind].pop()
            state.put(task, node, gpus)


def _gpus_for(state: State, node: int, first: int, classes: Classes, kind: int) -> Ints | None:
    """The GPUs from ``first`` on when they have room, else any that have, else None."""
    count, milli = int(classes.gpus[kind]), int(classes.milli[kind])
    if count == 0:
        return np.zeros(0, np.int64)
    named = np.arange(first, first + count)
    if first >= 0 and named[-1] < state.gpu_free.shape[1] and (state.gpu_free[node, named] >= milli).all():
        return named
    open_ones = np.flatnonzero(state.gpu_free[node] >= milli)
    return open_ones[:count] if len(open_ones) >= count else None
