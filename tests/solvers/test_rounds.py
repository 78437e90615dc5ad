from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from apportion.instances.errors import BackendError, OptionError
from apportion.instances.fleet import FleetAllocation
from apportion.solvers.rounds.central import central_level, central_optimum, share_rows
from apportion.solvers.rounds.fractions import (
    makespan_fractions,
    max_min_fractions,
    proportional_fractions,
    shortest_makespan,
    throughput_fractions,
)
from apportion.solvers.rounds.kernels import list_schedule
from apportion.solvers.rounds.planner import PlanTask, PlanWeights, plan_order


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 6))
def test_the_central_optimum_is_optimal(seed: int, columns: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    matrix = random.uniform(0.1, 1.0, (rows, columns))
    right, value = random.uniform(0.5, 2.0, rows), random.uniform(-1.0, 1.0, columns)
    x = central_optimum(value, matrix, right)
    best = linprog(-value, A_ub=matrix, b_ub=right)
    assert best.fun is not None
    assert value @ x == pytest.approx(-best.fun, abs=1e-6)
    assert (x >= -1e-9).all()
    assert (matrix @ x <= right + 1e-7).all()


def test_an_infeasible_program_has_no_central_optimum() -> None:
    with pytest.raises(BackendError):
        central_optimum(np.ones(1), np.array([[1.0], [-1.0]]), np.array([1.0, -2.0]))


def _level_written_out(
    ratio: np.ndarray, has_row: np.ndarray, gpus: np.ndarray, capacity: np.ndarray
) -> tuple[np.ndarray, float]:
    """The slow twin: the same program as one matrix."""
    usable = np.argwhere(ratio > 0)
    matrix, right = share_rows(gpus, capacity, usable)
    columns = len(usable)
    rows = np.zeros((len(ratio), columns + 1))
    rows[usable[:, 0], np.arange(columns)] = -ratio[usable[:, 0], usable[:, 1]]
    rows[:, columns] = 1.0
    must = np.flatnonzero(has_row)
    full = np.vstack((np.hstack((matrix, np.zeros((len(matrix), 1)))), rows[must]))
    objective = np.zeros(columns + 1)
    objective[columns] = 1.0
    answer = central_optimum(objective, full, np.concatenate((right, np.zeros(len(must)))))
    x = np.zeros(ratio.shape)
    x[usable[:, 0], usable[:, 1]] = answer[:columns]
    return x, float(answer[columns])


@pytest.mark.kernels
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 3), st.booleans())
def test_the_central_level_is_that_of_the_whole_program(seed: int, jobs: int, types: int, alike: bool) -> None:
    random = np.random.default_rng(seed)
    ratio = random.uniform(0.2, 3.0, (jobs, types)) * (random.random((jobs, types)) < 0.85)
    if alike:
        ratio[:] = ratio[0]
    has_row = (ratio.sum(axis=1) > 0).astype(np.int64)
    if not has_row.any():
        return
    gpus, capacity = random.choice([1, 2, 4], jobs), random.integers(4, 20, types)
    x, level = central_level(ratio, has_row, gpus, capacity)
    _, highest = _level_written_out(ratio, has_row, gpus, capacity)
    # of the many fractions that reach the level each method ends at one of its own
    assert level == pytest.approx(highest, abs=1e-6)
    assert ((ratio * x).sum(axis=1)[has_row > 0] >= level - 1e-6).all()
    assert (x >= 0).all()
    assert (x.sum(axis=1) <= 1 + 1e-6).all()
    assert (gpus @ x <= capacity + 1e-5).all()


def _fleet(seed: int, jobs: int) -> FleetAllocation:
    random = np.random.default_rng(seed)
    rates = {f"j{i}": random.uniform(0.5, 5.0, 2).tolist() for i in range(jobs)}
    sizes, steps = random.choice([1, 2], jobs), random.uniform(10.0, 100.0, jobs)
    return FleetAllocation.build("t", {"a": 2, "b": 3}, rates, scale_factor=sizes, steps_left=steps)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_fractions_keep_the_rules_and_the_makespan_is_right(seed: int, jobs: int) -> None:
    snapshot = _fleet(seed, jobs)
    shortest, fractions = shortest_makespan(snapshot)
    shares = [fractions, max_min_fractions(snapshot), max_min_fractions(snapshot, aware=False)]
    shares += [makespan_fractions(snapshot), makespan_fractions(snapshot, aware=False), throughput_fractions(snapshot)]
    for x in shares:
        assert (snapshot.scale_factor @ x <= snapshot.num_gpus + 1e-5).all()
        assert (x.sum(axis=1) <= 1 + 1e-5).all()
    # time t of each job on each type, least T: an independent statement of the same bound
    size = jobs * 2
    cost = np.append(np.zeros(size), 1.0)
    rows, right = [], []
    for job in range(jobs):
        row, total = np.zeros(size + 1), np.zeros(size + 1)
        row[2 * job : 2 * job + 2] = -snapshot.throughputs[job]
        total[2 * job : 2 * job + 2] = 1.0
        total[size] = -1.0
        rows += [row, total]
        right += [-float(snapshot.steps_left[job]), 0.0]
    for kind in range(2):
        row = np.zeros(size + 1)
        row[kind:size:2] = snapshot.scale_factor
        row[size] = -float(snapshot.num_gpus[kind])
        rows.append(row)
        right.append(0.0)
    best = linprog(cost, A_ub=np.array(rows), b_ub=np.array(right))
    assert shortest == pytest.approx(best.fun, rel=1e-5)
    assert proportional_fractions(snapshot).shape == (jobs, 2)


def _naive_schedule(order: list[int], task: PlanTask) -> list[float]:
    starts: dict[int, float] = {}
    release: dict[int, float] = {}
    finish: dict[int, float] = {}
    moments = [0.0]
    while len(starts) < len(order):
        now = moments.pop(0)
        for job in order:
            used = sum(int(task.num_gpus[j]) for j in starts if release[j] > now)
            if job not in starts and used + task.num_gpus[job] <= task.capacity:
                cost = 0.0 if task.held[job] and now == 0 else task.restart_s
                starts[job] = now
                finish[job] = now + float(task.rest_s[job]) + cost
                release[job] = float(np.ceil(finish[job] / task.length_s - 1e-9) * task.length_s)
        moments = sorted({r for r in release.values() if r > now})
    return [finish[j] for j in range(len(order))]


def _task(seed: int, jobs: int) -> PlanTask:
    random = np.random.default_rng(seed)
    return PlanTask(
        (random.integers(1, 30, jobs) * 60.0).astype(np.float64),
        random.integers(1, 4, jobs),
        random.uniform(0.0, 500.0, jobs),
        random.uniform(100.0, 5000.0, jobs),
        random.integers(0, 2, jobs),
        4,
        120.0,
        20.0,
    )


@pytest.mark.kernels
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_the_list_schedule_agrees_with_its_naive_twin(seed: int, jobs: int) -> None:
    task = _task(seed, jobs)
    order = np.random.default_rng(seed + 1).permutation(jobs).astype(np.int64)
    start, finish, release = np.empty(jobs), np.empty(jobs), np.empty(jobs)
    list_schedule(
        order, task.rest_s, task.num_gpus, task.held, task.capacity, task.length_s, task.restart_s,
        np.empty(jobs, np.int64), release, start, finish,
    )  # fmt: skip
    assert finish.tolist() == _naive_schedule(order.tolist(), task)


@pytest.mark.parametrize("seed", range(5))
def test_plans_reach_the_best_order_of_small_tasks(seed: int) -> None:
    task, weights = _task(seed, 5), PlanWeights()
    first = np.arange(5)
    best = min(plan_order(task, weights, np.array(p), moves=0).cost for p in permutations(range(5)))
    found = plan_order(task, weights, first, moves=3000, seed=seed)
    assert found.cost == pytest.approx(best, rel=1e-9)
    assert sorted(found.order.tolist()) == [0, 1, 2, 3, 4]
    again = plan_order(task, weights, first, moves=3000, seed=seed)
    assert again.order.tolist() == found.order.tolist()


def test_weights_are_checked() -> None:
    with pytest.raises(OptionError):
        PlanWeights(mean=-1.0)
