"""What backends build on: bounds from duals, convexity, trivial programs, whole-number scaling, guarded callbacks."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from math import inf, pi, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apportion.instances.core import Sense
from apportion.instances.errors import CapabilityError
from apportion.instances.program import Indicator, MixedIntegerProgram, SparseColumns
from apportion.models.conversion.cp_sat import scaled_row, to_cp_sat
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.callbacks import Guard
from apportion.solvers.backends.lagrangian import lagrangian_bound
from apportion.solvers.backends.proof import settle
from apportion.solvers.backends.quadratic import objective_at, tangent_bound
from apportion.solvers.backends.trivial import empty_range, trivial_answer
from apportion.solvers.backends.watch import run_watched
from apportion.solvers.convexity import _pivots_positive, is_convex
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Bounds, Limit, Status
from contract.programs import MAX, MIN, program, triangle

SEEDS = st.integers(0, 10**6)


def random_lp(seed: int, hessian: bool = False) -> MixedIntegerProgram:
    rng = np.random.default_rng(seed)
    sense = (MIN, MAX)[int(rng.integers(2))]
    rows = rng.integers(-3, 4, (3, 4)).astype(float)
    middle = rows @ rng.uniform(0, 5, 4)
    low = np.where(rng.random(3) < 0.3, -inf, middle - rng.uniform(0, 3, 3))
    high = np.where(rng.random(3) < 0.3, inf, middle + rng.uniform(0, 3, 3))
    half = rng.normal(size=(2, 4))
    quadratic = triangle((sense.sign * half.T @ half).tolist()) if hessian else None
    cost = rng.normal(size=4).tolist()
    return program(cost, rows, low, high, upper=5.0, sense=sense, offset=3.0, hessian=quadratic)


# ---------------------------------------------------------------- bounds


@given(SEEDS)
@hypothesis_settings(max_examples=40, deadline=None)
def test_any_duals_give_a_true_bound(seed: int) -> None:
    lp = random_lp(seed)
    best = backend_named("highs").run(lp, SolveOptions(), Monitor(lp.sense))
    assert best.row_duals is not None
    wild = np.random.default_rng(seed).normal(size=3) * 3
    for duals in (wild, np.zeros(3), best.row_duals + 0.1 * wild):
        assert lp.sense.sign * (lagrangian_bound(lp, duals) - best.bounds.primal) <= 1e-7
    assert lagrangian_bound(lp, best.row_duals) == pytest.approx(best.bounds.primal, abs=1e-6)


@given(SEEDS)
@hypothesis_settings(max_examples=40, deadline=None)
def test_tangents_bound_convex_programs(seed: int) -> None:
    qp = random_lp(seed, hessian=True)
    best = backend_named("highs").run(qp, SolveOptions(), Monitor(qp.sense))
    assert best.status is Status.OPTIMAL
    assert best.values is not None
    assert best.bounds.primal == pytest.approx(objective_at(qp, best.values))
    rng = np.random.default_rng(seed)
    for _ in range(3):
        bound = tangent_bound(qp, rng.uniform(0, 5, 4), rng.normal(size=3), 1e-9)
        assert qp.sense.sign * (bound - best.bounds.primal) <= 1e-6
    corner = np.array([2.0, 1.0, 0.0, 3.0])
    assert qp.sense.sign * (objective_at(qp, corner) - tangent_bound(qp, corner, np.zeros(3), 1e-9)) >= -1e-9


def test_missing_bounds_give_no_bound() -> None:
    assert lagrangian_bound(program([-1.0], upper=inf), np.zeros(0)) == -inf
    assert lagrangian_bound(program([1.0], upper=inf, sense=MAX), np.zeros(0)) == inf
    assert lagrangian_bound(program([1.0], [[1]], [2], [inf], upper=inf), np.array([-1.0])) == -inf
    assert lagrangian_bound(program([1.0], [[1]], [2], [inf], upper=inf), np.array([1.0])) == 2.0


def test_an_unbounded_quadratic_program_is_not_called_optimal() -> None:
    """HiGHS's regularisation gives it an optimum far away; its own duals do not prove that."""
    qp = program([-1.0, -1.0], upper=inf, hessian=triangle([[1.0, -1.0], [-1.0, 1.0]]))
    answer = backend_named("highs").run(qp, SolveOptions(), Monitor(MIN))
    assert answer.status is not Status.OPTIMAL
    assert answer.bounds.dual == -inf


@pytest.mark.parametrize(
    ("status", "primal", "dual", "gap", "kept"),
    [
        (Status.OPTIMAL, 100.0, 100.0, 0.0, Status.OPTIMAL),
        (Status.OPTIMAL, 100.0, 99.0, 0.02, Status.OPTIMAL),
        (Status.OPTIMAL, 100.0, 99.0, 0.001, Status.FEASIBLE),
        (Status.OPTIMAL, 1e-9, 0.0, 0.0, Status.OPTIMAL),
        (Status.OPTIMAL, 5.0, -inf, 0.1, Status.FEASIBLE),
        (Status.INFEASIBLE, inf, -inf, 0.0, Status.INFEASIBLE),
    ],
)
def test_settle(status: Status, primal: float, dual: float, gap: float, kept: Status) -> None:
    found, limit = settle(status, None, Bounds(primal, dual), gap)
    assert found is kept
    assert limit is (Limit.OTHER if kept is Status.FEASIBLE else None)


# ---------------------------------------------------------------- convexity


@given(SEEDS)
@hypothesis_settings(max_examples=50, deadline=None)
def test_convexity_is_that_of_the_eigenvalues(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 6))
    half = rng.integers(-2, 3, (size, size)).astype(float)
    matrix = half.T @ half if seed % 2 else half + half.T
    least = float(np.linalg.eigvalsh(matrix).min())
    for sense in Sense:
        qp = program([0.0] * size, hessian=triangle((sense.sign * matrix).tolist()), sense=sense)
        if abs(least) > 1e-6 or seed % 2:
            assert is_convex(qp) is (least > -1e-6)


@pytest.mark.parametrize("rank", [300, 40])
def test_convexity_of_large_matrices(rank: int) -> None:
    rng = np.random.default_rng(rank)
    half = rng.normal(size=(rank, 300)) * (rng.random((rank, 300)) < 0.05)
    matrix = half.T @ half
    assert is_convex(program([0.0] * 300, hessian=triangle(matrix.tolist())))
    dented = matrix.copy()
    dented[:2, :2] += [[0.0, 50.0], [50.0, 0.0]]
    assert not is_convex(program([0.0] * 300, hessian=triangle(dented.tolist())))


def test_no_quadratic_part_is_convex() -> None:
    zero = SparseColumns(np.array([0, 1], np.int32), np.array([0], np.int32), np.zeros(1))
    assert is_convex(program([1.0], hessian=zero))
    assert is_convex(program([1.0]))


def test_singular_pivots_are_not_called_convex() -> None:
    import scipy.sparse

    assert not _pivots_positive(scipy.sparse.csc_array(np.zeros((3, 3))), 0.0)


# ---------------------------------------------------------------- trivial programs


def test_trivial() -> None:
    assert trivial_answer(program([1.0])) is None
    assert "variable x1 has no value between 3 and 2" in empty_range(program([1, 1], lower=[0, 3], upper=[1, 2]))
    assert "row r0 has no value" in empty_range(program([1], [[1]], [3], [2]))
    assert "row r0 has no entries" in empty_range(program([1], [[0]], [1], [2]))
    assert empty_range(program([1], [[0]], [-1], [2])) == ""
    assert empty_range(program([1], lower=2.0, upper=2.0 - 1e-12)) == ""
    assert "variable x0" in empty_range(program([1], lower=inf, upper=inf))
    assert "row r0" in empty_range(program([1], [[1]], [-inf], [-inf]))


# ---------------------------------------------------------------- whole numbers


@given(
    st.lists(st.floats(-50, 50, allow_nan=False), min_size=1, max_size=3),
    st.floats(-60, 60, allow_nan=False),
    st.booleans(),
)
@hypothesis_settings(max_examples=50, deadline=None)
def test_scaled_rows_cut_nothing_off_and_admit_nothing(weights: list[float], side: float, above: bool) -> None:
    low, high = (side, inf) if above else (-inf, side)
    case = program([0.0] * len(weights), [weights], [low], [high], lower=-2.0, upper=2.0, integer=True)
    constraint = to_cp_sat(case).model.proto.constraints[0]
    for point in itertools.product(range(-2, 3), repeat=len(weights)):
        exact = sum(w * x for w, x in zip(weights, point, strict=True))
        if constraint.has_linear():
            rule = constraint.linear
            inner = sum(rule.coeffs[k] * point[rule.vars[k]] for k in range(len(rule.vars)))
            holds = rule.domain[0] <= inner <= rule.domain[1]
        else:
            holds = False
        if low <= exact <= high:
            assert holds
        if holds:
            assert low - 2e-7 * max(1, abs(side)) <= exact <= high + 2e-7 * max(1, abs(side))


def test_exact_denominators() -> None:
    box = [(0, 5), (0, 5)]
    row = scaled_row("row", [0, 1], [0.1, 0.25], box, 10**6, 1e-7)
    assert (row.coefficients, row.scale) == ((2, 5), 20)
    assert row.least == row.most == 0
    thirds = scaled_row("row", [0, 1], [1 / 3, 0.5], box, 10**6, 1e-7)
    assert (thirds.coefficients, thirds.scale) == ((2, 3), 6)
    irrational = scaled_row("row", [0, 1], [pi, sqrt(2)], box, 10**6, 1e-7)
    assert irrational.most - irrational.least <= 1e-7 * irrational.scale


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (program([1.0]), "continuous variable x0"),
        (program([1.0], upper=inf, integer=True), "finite bounds, variable x0"),
        (program([1.0], upper=1e19, integer=True), "bounds of variable x0"),
        (program([1.0], [[pi]], [1], [2], upper=1e15, integer=True), "row r0"),
        (program([1.0], [[1e12]], [1], [2], upper=1e8, integer=True), "64-bit"),
        (
            program([1, 1], upper=2, integer=True, indicators=(Indicator(0, True, (1,), (1.0,), 0.0, 1.0),)),
            "binary variable, x0",
        ),
    ],
)
def test_what_cp_sat_cannot_hold_is_named(case: MixedIntegerProgram, message: str) -> None:
    with pytest.raises(CapabilityError, match=message):
        to_cp_sat(case)


# ---------------------------------------------------------------- callbacks and watch


def test_guard_keeps_the_first_error_and_stops_calling() -> None:
    guard, calls = Guard(), []

    def fail() -> None:
        calls.append(1)
        raise KeyboardInterrupt

    guard.raise_if_failed()
    guard.run(fail)
    guard.run(fail)
    assert calls == [1]
    assert guard.failed
    with pytest.raises(KeyboardInterrupt):
        guard.raise_if_failed()


def test_watched_work_is_stopped_and_ends() -> None:
    monitor, guard, stopped = Monitor(MIN), Guard(), threading.Event()
    timer = threading.Timer(0.1, monitor.cancel)
    timer.start()
    run_watched(lambda: None if stopped.wait(5.0) else pytest.fail("never stopped"), stopped.set, monitor, guard)
    timer.join()
    assert stopped.is_set()


def test_watched_work_that_ends_costs_little() -> None:
    before = time.process_time()
    run_watched(lambda: None, lambda: None, Monitor(MIN), Guard())
    assert time.process_time() - before < 0.02


def test_watched_work_that_raises() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_watched(fail, lambda: None, Monitor(MIN), Guard())


@pytest.mark.parametrize("backend", ["highs", "cp-sat", "scip"])
def test_control_c_stops_a_solver_in_the_main_thread(backend: str) -> None:
    code = (
        "import os, signal, sys, threading; sys.path.insert(0, sys.argv[1])\n"
        "from contract.programs import market_split\n"
        "from apportion.solvers.backends import backend_named\n"
        "from apportion.solvers.events import Monitor\n"
        "from apportion.solvers.options import SolveOptions\n"
        "backend, case = backend_named(sys.argv[2]), market_split()\n"
        "threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "try: backend.run(case, SolveOptions(), Monitor(case.sense, None, 60.0))\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    began = time.perf_counter()
    command = [sys.executable, "-c", code, str(Path(__file__).parents[1]), backend]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.stdout.strip() == "interrupted", done.stderr
    assert time.perf_counter() - began < 20.0
