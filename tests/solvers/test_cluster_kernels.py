"""The kernels against slow, obvious twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.cluster import ClusterPlacement
from apportion.instances.generate.cluster import generate_cluster
from apportion.models.checking import check
from apportion.models.cluster.classes import Classes
from apportion.solvers.cluster.kernels import BEST_FIT, FIRST_FIT, MATCHED_FIT, price_pattern
from apportion.solvers.cluster.patterns import _best_pattern, _grid, _Workspace
from apportion.solvers.cluster.state import State, decreasing
from tiny_clusters import tiny_clusters

pytestmark = pytest.mark.kernels


def naive_score(state: State, task: int, node: int, policy: int) -> float | None:
    """How little ``node`` suits ``task``; None when it does not fit."""
    tasks = state.instance.tasks
    allowed = tasks.allowed_types[task]
    if allowed and state.instance.nodes.gpu_types[node] not in allowed:
        return None
    cpu, gpus, milli = int(tasks.cpu_milli[task]), int(tasks.num_gpus[task]), int(tasks.gpu_milli[task])
    if state.cpu_free[node] < cpu or state.memory_free[node] < tasks.memory_mib[task]:
        return None
    room = [int(r) for r in state.gpu_free[node]]
    if gpus == 0:
        left = float(sum(room))
    elif milli < 1000:
        fitting = [r for r in room if r >= milli]
        if not fitting:
            return None
        left = float(min(fitting) - milli)
    else:
        left = float(room.count(1000) - gpus)
        if left < 0:
            return None
    if policy == FIRST_FIT:
        return 0.0
    opened = 0.0 if state.tasks_on[node] else 0.5
    if policy == MATCHED_FIT and gpus > 0:
        mismatch = abs(state.cpu_free[node] / sum(room) - cpu / (gpus * milli))
        return float(left + mismatch * (1 if milli == 1000 else 10) + opened)
    return float(left + opened + 0.4 * (state.cpu_free[node] - cpu) / (1 + state.cpu_free[node]))


def naive_pack(state: State, order: list[int], policy: int) -> None:
    for task in order:
        scores = [naive_score(state, task, node, policy) for node in range(len(state.instance.nodes))]
        known = [score for score in scores if score is not None]
        if not known:
            continue
        node = scores.index(min(known))
        milli, gpus = int(state.instance.tasks.gpu_milli[task]), int(state.instance.tasks.num_gpus[task])
        room = state.gpu_free[node].tolist()
        if 0 < milli < 1000:
            chosen = [room.index(min(r for r in room if r >= milli))]
        else:
            chosen = [g for g, r in enumerate(room) if r == 1000][:gpus]
        state.put(task, node, tuple(chosen))


@pytest.mark.parametrize("policy", [FIRST_FIT, BEST_FIT, MATCHED_FIT])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_packing_equals_its_twin(policy: int, seed: int) -> None:
    instance = generate_cluster(seed=seed, nodes=8, tasks=70)
    classes = Classes.of(instance)
    for order in (decreasing(instance), np.arange(70)):
        fast, slow = State.empty(instance, classes), State.empty(instance, classes)
        placed = fast.pack(order, policy)
        naive_pack(slow, order.tolist(), policy)
        assert placed == len(instance.tasks) - len(fast.waiting)
        for name in ("node_of", "slots", "cpu_free", "memory_free", "gpu_free", "tasks_on"):
            assert np.array_equal(getattr(fast, name), getattr(slow, name)), name


@settings(max_examples=40, deadline=None)
@given(instance=tiny_clusters(most_tasks=10), policy=st.sampled_from([FIRST_FIT, BEST_FIT, MATCHED_FIT]))
def test_no_packing_breaks_a_rule(instance: ClusterPlacement, policy: int) -> None:
    state = State.empty(instance, Classes.of(instance))
    state.pack(decreasing(instance), policy)
    verdict = check(instance, state.plan())
    assert verdict.ok
    assert verdict.objective == state.score.served_milli / 1000
    assert verdict.measures["tasks_served"] == state.score.tasks
    assert verdict.measures["nodes_used"] == state.nodes_used


@settings(max_examples=30, deadline=None)
@given(instance=tiny_clusters(most_tasks=10))
def test_taking_back_leaves_nothing(instance: ClusterPlacement) -> None:
    classes = Classes.of(instance)
    state, empty = State.empty(instance, classes), State.empty(instance, classes)
    state.pack(decreasing(instance), BEST_FIT)
    copy = state.copy()
    for task in np.flatnonzero(state.node_of >= 0):
        state.take(int(task))
    for name in ("cpu_free", "memory_free", "gpu_free", "tasks_on", "node_of"):
        assert np.array_equal(getattr(state, name), getattr(empty, name))
    again = State.of_plan(instance, classes, copy.plan())
    assert np.array_equal(again.gpu_free, copy.gpu_free)


def naive_price(
    profit: list[float], size: list[int], gpus: list[int], level: list[int], room: int, whole: int, free: int
) -> float:
    """The most profit of any multiset of items: extend item by item, GPU by GPU."""

    def one_gpu(cpu: int, left: int, first: int) -> list[tuple[float, int]]:
        found = [(0.0, 0)]
        for t in range(first, len(profit)):
            if gpus[t] == 1 and level[t] <= left and size[t] <= cpu:
                found += [(v + profit[t], c + size[t]) for v, c in one_gpu(cpu - size[t], left - level[t], t)]
        return found

    def rest(cpu: int, count: int, first: int) -> float:
        best = idle(cpu, 0)
        for t in range(first, len(profit)):
            if gpus[t] > 1 and gpus[t] <= count and size[t] <= cpu:
                best = max(best, profit[t] + rest(cpu - size[t], count - gpus[t], t))
        if count:
            for value, used in set(one_gpu(cpu, whole, 0)):
                if value > 0:
                    best = max(best, value + rest(cpu - used, count - 1, len(profit)))
        return best

    def idle(cpu: int, first: int) -> float:
        options = [
            profit[t] + idle(cpu - size[t], t) for t in range(first, len(profit)) if gpus[t] == 0 and size[t] <= cpu
        ]
        return max([0.0, *options])

    return rest(free, room, 0)


@settings(max_examples=40, deadline=None)
@given(
    items=st.lists(
        st.tuples(st.integers(-2, 9), st.integers(1, 4), st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=4
    ),
    room=st.integers(0, 2),
    free=st.integers(0, 6),
)
def test_pricing_equals_its_twin(items: list[tuple[int, int, int, int]], room: int, free: int) -> None:
    whole = 4
    profit = [float(p) for p, _, _, _ in items]
    size = [s for _, s, _, _ in items]
    gpus = [g for _, _, g, _ in items]
    level = [lv for _, _, _, lv in items]
    work = (
        np.zeros(free + 1),
        np.zeros((whole + 1, free + 1)),
        np.zeros((whole + 1, free + 1), np.int64),
        np.zeros((room + 1, free + 1)),
        np.zeros((room + 1, free + 1), np.int64),
        np.zeros(free + 1, np.int64),
    )
    counts, kinds, where = np.zeros(len(items), np.int64), np.zeros(40, np.int64), np.zeros(40, np.int64)
    value, taken = price_pattern(
        np.array(profit),
        np.array(size),
        np.array(gpus),
        np.array(level),
        room,
        free,
        whole,
        *work,
        counts,
        kinds,
        where,
    )
    assert value == pytest.approx(naive_price(profit, size, gpus, level, room, whole, free))
    assert float(np.array(profit) @ counts) == pytest.approx(value)
    assert int(np.array(size) @ counts) <= free
    assert counts.sum() == taken
    load = np.zeros(room)
    for kind, gpu in zip(kinds[:taken], where[:taken], strict=True):
        if gpus[kind] == 1:
            load[gpu] += level[kind]
        elif gpus[kind] > 1:
            load[gpu : gpu + gpus[kind]] += whole
    assert (load <= whole).all()


def test_patterns_fit_on_their_node() -> None:
    instance = generate_cluster(seed=9, nodes=8, tasks=60)
    classes = Classes.of(instance)
    random = np.random.default_rng(1)
    for k in range(classes.num_classes):
        grid = _grid(classes, k, classes.most_on_node())
        value, pattern = _best_pattern(grid, k, random.random(classes.num_types), _Workspace([grid]))
        assert value > 0
        assert int(classes.cpu[pattern.types] @ pattern.counts) <= classes.node_cpu[k]
        assert classes.fits[pattern.types, k].all()
        assert int(classes.value[pattern.types] @ pattern.counts) <= 1000 * classes.node_gpus[k]
