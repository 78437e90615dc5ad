"""The contract that every backend keeps; what a backend cannot express it refuses."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from math import inf, isfinite
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.core import Sense
from apportion.instances.errors import CapabilityError, OptionError
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.models.program.check import check
from apportion.solvers.backends import BACKENDS, backend_named, refusal
from apportion.solvers.backends.base import Backend, BackendAnswer
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.options import CpSatOptions, HighsOptions, ScipOptions, SolveOptions
from apportion.solvers.status import Limit, Status
from contract.programs import CASES, MAX, MIN, Case, columns_of, integral, knapsack, market_split, program, triangle

NAMES = tuple(BACKENDS)
EXCLUDED = {("scip", "lp small coefficient")}
"""Backend and case that are known not to work: SCIP takes 1e-10 for zero, and refuses (tested below)."""


def run(
    name: str, case: MixedIntegerProgram, start: Floats | None = None, monitor: Monitor | None = None, **options: Any
) -> BackendAnswer:
    chosen = SolveOptions.build(**{"gap": 0.0, **options})
    return backend_named(name).run(case, chosen, monitor or Monitor(case.sense), start)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pairs() -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}-{case.name}")
        for name, case in itertools.product(NAMES, CASES)
        if (name, case.name) not in EXCLUDED and not refusal(case.build(), name)
    ]


def refused() -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}-{case.name}")
        for name, case in itertools.product(NAMES, CASES)
        if refusal(case.build(), name)
    ]


@pytest.mark.parametrize(("name", "case"), pairs())
def test_known_answer(name: str, case: Case) -> None:
    instance = case.build()
    events: list[Event] = []
    answer = run(name, instance, monitor=Monitor(instance.sense, events.append))
    assert answer.status in case.status
    assert (answer.values is not None) == answer.status.has_plan
    assert answer.limit is None
    if answer.status is Status.OPTIMAL:
        assert answer.bounds.primal == pytest.approx(case.objective, rel=1e-6, abs=1e-6)
        assert answer.bounds.dual == pytest.approx(case.objective, rel=1e-6, abs=1e-6)
        verdict = _verdict(instance, answer)
        assert verdict.ok, verdict.violations
        assert verdict.objective == pytest.approx(case.objective, rel=1e-6, abs=1e-6)
    else:
        assert not isfinite(answer.bounds.primal)
        assert not isfinite(answer.bounds.dual)
    for event in events:
        assert not event.bounds.contradict(instance.sense)
        if answer.status is Status.OPTIMAL:
            _holds(event, instance.sense, case.objective)


def _verdict(instance: MixedIntegerProgram, answer: BackendAnswer) -> Any:
    assert answer.values is not None
    return check(instance, VariableValues.from_array(instance, answer.values))


def _holds(event: Event, sense: Sense, optimum: float) -> None:
    """Each claim on the stream is true of the optimum that is known."""
    allowed = 1e-6 * max(1.0, abs(optimum))
    assert sense.sign * (event.bounds.primal - optimum) >= -allowed
    assert sense.sign * (event.bounds.dual - optimum) <= allowed


@pytest.mark.parametrize(("name", "case"), refused())
def test_refusal_says_what_can(name: str, case: Case) -> None:
    with pytest.raises(CapabilityError, match=r"Maybe backend '(highs|scip|cp-sat)'"):
        run(name, case.build())


def test_coefficients_that_would_be_dropped_are_refused() -> None:
    tiny = program([1], [[1e-10]], [5], [inf], upper=1e12)
    with pytest.raises(CapabilityError, match="variable x0 has one that matters"):
        run("scip", tiny)
    with pytest.raises(CapabilityError, match="variable x0 has one that matters"):
        run("highs", program([1], [[1e-13]], [5], [inf], upper=1e15))
    harmless = program([1, 1], [[1, 1e-13]], [5], [inf])
    assert all(run(name, harmless).bounds.primal == pytest.approx(5.0) for name in ("highs", "scip"))


def test_every_feature_has_a_backend() -> None:
    for case in CASES:
        assert any(not refusal(case.build(), name) for name in NAMES), case.name


@pytest.mark.parametrize("case", [c for c in CASES if c.name.startswith("lp")], ids=lambda c: c.name)
def test_integral_twins_agree(case: Case) -> None:
    """With every column integer, all backends that can take it give the same answer."""
    twin = integral(case.build())
    able = [name for name in NAMES if not refusal(twin, name) and (name, case.name) not in EXCLUDED]
    answers = {name: run(name, twin) for name in able}
    primals = [a.bounds.primal for a in answers.values() if a.status is Status.OPTIMAL]
    assert len(primals) in (0, len(answers))
    assert max(primals, default=0.0) == pytest.approx(min(primals, default=0.0))


def test_not_convex_is_refused_by_highs_and_solved_by_scip() -> None:
    saddle = program([0, 0], lower=-1.0, upper=1.0, hessian=columns_of([[0, 0], [1, 0]], 2))
    with pytest.raises(CapabilityError, match="convex objective"):
        run("highs", saddle)
    assert run("scip", saddle).bounds.primal == pytest.approx(-1.0, abs=1e-5)


# ---------------------------------------------------------------- duals


def _random_lp(seed: int, sense: Sense) -> MixedIntegerProgram:
    rng = np.random.default_rng(seed)
    rows = rng.uniform(0.5, 2.0, (4, 6))
    side = rng.uniform(5, 9, 4)
    nothing = np.full(4, sense.sign * inf)
    low, high = (side, nothing) if sense is MIN else (nothing, side)
    cost = rng.uniform(1, 3, 6).tolist()
    return program(cost, rows, low, high, lower=0.2, upper=2.5, sense=sense, offset=1.0)


@pytest.mark.parametrize("name", [n for n in NAMES if BACKENDS[n].capabilities.duals])
@pytest.mark.parametrize("sense", Sense)
@pytest.mark.parametrize("seed", range(3))
def test_duals_are_derivatives(name: str, sense: Sense, seed: int) -> None:
    lp = _random_lp(seed, sense)
    answer = run(name, lp)
    assert answer.row_duals is not None
    assert answer.reduced_costs is not None
    assert answer.values is not None
    step = 1e-5
    for row in range(lp.num_rows):
        moved = _objective(name, _moved(lp, "row_lower", "row_upper", row, step))
        assert (moved - answer.bounds.primal) / step == pytest.approx(answer.row_duals[row], abs=1e-4)
    for column in range(lp.num_columns):
        if min(answer.values[column] - lp.lower[column], lp.upper[column] - answer.values[column]) < 1e-9:
            moved = _objective(name, _moved(lp, "lower", "upper", column, step))
            assert (moved - answer.bounds.primal) / step == pytest.approx(answer.reduced_costs[column], abs=1e-4)
    _complementary(lp, answer)


@pytest.mark.parametrize("sense", Sense)
def test_duals_of_a_quadratic_program_are_derivatives(sense: Sense) -> None:
    shape = triangle((sense.sign * np.array([[2.0, 0.5], [0.5, 3.0]])).tolist())
    qp = program([1, -2], [[1, 1]], [2.5], [2.5], lower=-9.0, upper=9.0, sense=sense, hessian=shape)
    answer = run("highs", qp)
    assert answer.row_duals is not None
    ends = [_objective("highs", _moved(qp, "row_lower", "row_upper", 0, step)) for step in (-1e-3, 1e-3)]
    assert (ends[1] - ends[0]) / 2e-3 == pytest.approx(answer.row_duals[0], abs=1e-5)


@pytest.mark.parametrize("sense", Sense)
def test_bounds_of_a_linear_program_stopped_early_are_true(sense: Sense) -> None:
    rng = np.random.default_rng(5)
    rows, side = rng.uniform(0.5, 2.0, (15, 25)), rng.uniform(5, 9, 15)
    nothing = np.full(15, sense.sign * inf)
    low, high = (side, nothing) if sense is MIN else (nothing, side)
    lp = program(rng.uniform(1, 3, 25).tolist(), rows, low, high, upper=2.5, sense=sense, offset=1.0)
    best = run("highs", lp).bounds.primal
    known = 0
    for iterations in range(1, 12):
        early = run("highs", lp, **with_settings("highs", {"simplex_iteration_limit": iterations}, presolve=False))
        assert sense.sign * (early.bounds.dual - best) <= 1e-7
        assert sense.sign * (early.bounds.primal - best) >= -1e-7
        if early.status is not Status.OPTIMAL:
            assert early.limit is Limit.ITERATIONS
            known += isfinite(early.bounds.dual)
    assert known, "the duals of some early stop prove a bound"


def _moved(lp: MixedIntegerProgram, low: str, high: str, position: int, step: float) -> MixedIntegerProgram:
    sides: dict[str, Any] = {side: np.array(getattr(lp, side)) for side in (low, high)}
    for side in sides.values():
        side[position] += step
    return replace(lp, **sides)


def _objective(name: str, lp: MixedIntegerProgram) -> float:
    return run(name, lp).bounds.primal


def _dense(lp: MixedIntegerProgram) -> Floats:
    matrix = np.zeros((lp.num_rows, lp.num_columns))
    for column in range(lp.num_columns):
        for entry in range(lp.matrix.starts[column], lp.matrix.starts[column + 1]):
            matrix[lp.matrix.rows[entry], column] += lp.matrix.values[entry]
    return matrix


def _complementary(lp: MixedIntegerProgram, answer: BackendAnswer) -> None:
    assert answer.values is not None
    assert answer.row_duals is not None
    assert answer.reduced_costs is not None
    matrix = _dense(lp)
    activity = matrix @ answer.values
    slack = np.minimum(np.abs(activity - lp.row_lower), np.abs(lp.row_upper - activity))
    assert np.abs(answer.row_duals * slack).max() < 1e-6
    room = np.minimum(answer.values - lp.lower, lp.upper - answer.values)
    assert np.abs(answer.reduced_costs * room).max() < 1e-6
    np.testing.assert_allclose(answer.reduced_costs, lp.cost - matrix.T @ answer.row_duals, atol=1e-7)
    sign = lp.sense.sign
    assert (sign * answer.row_duals * np.where(np.isfinite(lp.row_lower), 1, -1) >= -1e-9).all()


# ---------------------------------------------------------------- starts


def test_complete_start_is_taken(name: str) -> None:
    instance = knapsack(20, 3)
    best = run(name, instance)
    assert best.values is not None
    events: list[Event] = []
    again = run(name, instance, best.values, Monitor(instance.sense, events.append))
    assert again.bounds.primal == pytest.approx(best.bounds.primal)
    first = next(event for event in events if event.kind is EventKind.INCUMBENT)
    assert first.bounds.primal == pytest.approx(best.bounds.primal)


def test_partial_start_is_taken(name: str) -> None:
    instance = knapsack(20, 3)
    best = run(name, instance)
    assert best.values is not None
    partial = np.where(np.arange(20) < 15, best.values, np.nan)
    assert run(name, instance, partial).bounds.primal == pytest.approx(best.bounds.primal)


def test_infeasible_start_does_no_harm(name: str) -> None:
    instance = knapsack(20, 3)
    best = run(name, instance)
    assert run(name, instance, np.ones(20)).bounds.primal == pytest.approx(best.bounds.primal)
    assert run(name, instance, np.full(20, np.nan)).bounds.primal == pytest.approx(best.bounds.primal)
    assert run(name, instance, np.full(20, 77.7)).bounds.primal == pytest.approx(best.bounds.primal)


# ---------------------------------------------------------------- limits


def test_time_limit(name: str) -> None:
    instance = market_split()
    began = time.perf_counter()
    answer = run(name, instance, monitor=Monitor(instance.sense, None, 0.6))
    assert time.perf_counter() - began < 5.0
    assert answer.status in (Status.FEASIBLE, Status.NO_SOLUTION)
    assert answer.limit is Limit.TIME
    assert not answer.bounds.contradict(instance.sense)


def test_time_is_up_before_the_start(name: str) -> None:
    instance = market_split()
    answer = run(name, instance, monitor=Monitor(instance.sense, None, 1e-9))
    assert answer.status in (Status.FEASIBLE, Status.NO_SOLUTION)
    assert answer.limit is Limit.TIME


def test_cancel_from_a_listener(name: str) -> None:
    instance = market_split()
    monitor = Monitor(instance.sense, None, 60.0)
    monitor.listener = lambda event: monitor.cancel() if event.kind is EventKind.INCUMBENT else None
    began = time.perf_counter()
    answer = run(name, instance, monitor=monitor)
    assert time.perf_counter() - began < 10.0
    assert answer.status is Status.FEASIBLE
    assert answer.limit is Limit.INTERRUPTED


def test_cancel_from_a_thread(name: str) -> None:
    instance = market_split()
    monitor = Monitor(instance.sense, None, 60.0)
    timer = threading.Timer(0.3, monitor.cancel)
    timer.start()
    began = time.perf_counter()
    answer = run(name, instance, monitor=monitor)
    timer.join()
    assert time.perf_counter() - began < 10.0
    assert answer.limit is Limit.INTERRUPTED


def test_an_error_in_a_listener_comes_out(name: str) -> None:
    instance = market_split()

    def broken(event: Event) -> None:
        raise ZeroDivisionError(event.message)

    with pytest.raises(ZeroDivisionError):
        run(name, instance, monitor=Monitor(instance.sense, broken, 60.0))


def test_node_limit(name: str) -> None:
    answer = run(name, market_split(), node_limit=5, monitor=Monitor(MIN, None, 60.0))
    assert answer.status in (Status.FEASIBLE, Status.NO_SOLUTION)
    assert answer.limit is Limit.NODES


def test_gap_ends_the_search(name: str) -> None:
    instance = knapsack(40, 5)
    answer = run(name, instance, gap=0.2)
    assert answer.status is Status.OPTIMAL
    assert answer.bounds.gap <= 0.2


def test_deterministic_repeat(name: str) -> None:
    instance = knapsack(30, 5, sense=MIN)
    first, second = (run(name, instance, node_limit=50, seed=7, deterministic=True) for _ in range(2))
    assert first.bounds == second.bounds
    assert first.counts == second.counts
    np.testing.assert_array_equal(first.values, second.values)


# ---------------------------------------------------------------- the stream


@pytest.mark.parametrize("sense", Sense)
def test_events_are_monotone_and_true(name: str, sense: Sense) -> None:
    instance = knapsack(30, 5, sense=sense, seed=3)
    events: list[Event] = []
    monitor = Monitor(sense, events.append)
    answer = run(name, instance, monitor=monitor)
    primals = [sense.sign * e.bounds.primal for e in events if e.kind is EventKind.INCUMBENT]
    duals = [sense.sign * e.bounds.dual for e in events if e.kind is EventKind.BOUND]
    assert primals
    assert primals == sorted(primals, reverse=True)
    assert duals == sorted(duals)
    assert all(e.letter in {"H", "S", "L", "T", "R"} for e in events if e.kind is EventKind.INCUMBENT)
    assert any(e.kind is EventKind.LOG for e in events)
    assert monitor.bounds.primal == pytest.approx(answer.bounds.primal)
    for event in events:
        _holds(event, sense, answer.bounds.primal)


def test_nothing_is_printed(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    instance = knapsack(15, 3)
    run(name, instance, monitor=Monitor(instance.sense, lambda event: None))
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------- options


BLOCKS: dict[str, Any] = {"highs": HighsOptions, "cp-sat": CpSatOptions, "scip": ScipOptions}
SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "highs": ({"mip_abs_gapp": 1.0}, {"mip_abs_gap": "x"}, {"presolve": True}, {"threads": 2}, {"mip_abs_gap": -1.0}),
    "cp-sat": (
        {"linearisation_level": 2},
        {"linearization_level": "x"},
        {"cp_model_presolve": 3},
        {"num_workers": 2},
        {"search_branching": "SIDEWAYS"},
        {"copy_from": 1},
    ),
    "scip": ({"limits/solution": 1}, {"limits/solutions": "x"}, {"limits/time": 2.0}, {"limits/solutions": -7}),
}
GOOD: dict[str, dict[str, Any]] = {
    "highs": {"mip_abs_gap": 1e-5, "mip_detect_symmetry": False},
    "cp-sat": {"linearization_level": 2, "search_branching": "FIXED_SEARCH", "cp_model_probing_level": 1},
    "scip": {"limits/restarts": 5, "separating/maxrounds": 2, "numerics/epsilon": 1e-10},
}


def with_settings(name: str, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {name.replace("-", "_"): BLOCKS[name](settings=settings, **more)}


@pytest.mark.parametrize(("name", "bad"), [(n, b) for n in NAMES for b in SETTINGS[n]])
def test_wrong_settings_are_named(name: str, bad: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"(?s){next(iter(bad))}.*Maybe "):
        run(name, knapsack(5, 1), **with_settings(name, bad))


def test_native_settings_are_taken(name: str) -> None:
    plain = run(name, knapsack(15, 2))
    told = run(name, knapsack(15, 2), **with_settings(name, GOOD[name], presolve=False))
    assert told.bounds == plain.bounds


def test_a_wider_native_gap_is_not_called_optimal() -> None:
    """A solver told by its own setting to stop early is not believed when it says optimal."""
    wide = run("highs", knapsack(40, 5), **with_settings("highs", {"mip_abs_gap": 1000.0}))
    assert wide.status is Status.FEASIBLE
    assert wide.limit is Limit.OTHER


# ---------------------------------------------------------------- brute force


@st.composite
def small_programs(draw: st.DrawFn) -> MixedIntegerProgram:
    size, rows = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    numbers = st.integers(-6, 6)
    matrix = [[draw(numbers) for _ in range(size)] for _ in range(rows)]
    low = [draw(st.one_of(st.just(-inf), st.integers(-12, 4))) for _ in range(rows)]
    high = [draw(st.one_of(st.just(inf), st.integers(-4, 12))) for _ in range(rows)]
    lower = [float(draw(st.integers(-2, 1))) for _ in range(size)]
    upper = [side + draw(st.integers(0, 3)) for side in lower]
    cost = [draw(numbers) / draw(st.sampled_from([1, 2, 3])) for _ in range(size)]
    sense = draw(st.sampled_from(list(Sense)))
    offset = float(draw(numbers))
    return program(cost, matrix, low, high, lower=lower, upper=upper, integer=True, sense=sense, offset=offset)


def brute_force(instance: MixedIntegerProgram) -> float | None:
    """The best objective over all whole points of the box, or None."""
    matrix, best = _dense(instance), None
    for point in itertools.product(
        *(np.arange(low, high + 1) for low, high in zip(instance.lower, instance.upper, strict=True))
    ):
        activity = matrix @ np.array(point)
        if ((activity >= instance.row_lower - 1e-9) & (activity <= instance.row_upper + 1e-9)).all():
            value = instance.offset + float(instance.cost @ np.array(point))
            if best is None or instance.sense.sign * (value - best) < 0:
                best = value
    return best


@pytest.mark.parametrize("backend", NAMES)
@settings(max_examples=40, deadline=None)
@given(instance=small_programs())
def test_brute_force(backend: str, instance: MixedIntegerProgram) -> None:
    events: list[Event] = []
    answer = run(backend, instance, monitor=Monitor(instance.sense, events.append))
    best = brute_force(instance)
    if best is None:
        assert answer.status is Status.INFEASIBLE
        return
    assert answer.status is Status.OPTIMAL
    assert answer.bounds.primal == pytest.approx(best, abs=1e-6)
    assert _verdict(instance, answer).ok
    for event in events:
        _holds(event, instance.sense, best)


@pytest.mark.parametrize("seed", range(12))
def test_highs_and_scip_agree_on_mixed_programs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sense = (MIN, MAX)[seed % 2]
    rows = rng.integers(-4, 6, (4, 6)).astype(float)
    middle = rows @ rng.uniform(0, 4, 6)
    low = np.where(rng.random(4) < 0.3, -inf, middle - rng.uniform(0, 2, 4))
    high = np.where(rng.random(4) < 0.3, inf, middle + rng.uniform(0, 2, 4))
    case = program(
        rng.normal(size=6).tolist(), rows, low, high, upper=4.0, integer=[True] * 3 + [False] * 3, sense=sense
    )
    one, two = run("highs", case), run("scip", case)
    assert one.status is two.status
    if one.status is Status.OPTIMAL:
        assert one.bounds.primal == pytest.approx(two.bounds.primal, abs=1e-5)
        for first, second in ((one, two), (two, one)):
            assert sense.sign * (first.bounds.dual - second.bounds.primal) <= 1e-5


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("nodes", [0, 1, 3])
def test_bounds_of_early_stops_are_true(backend: str, nodes: int) -> None:
    for seed in range(4):
        instance = knapsack(14, 4, seed, MIN if seed % 2 else MAX)
        best = run(backend, instance).bounds.primal
        early = run(backend, instance, node_limit=nodes)
        sign = instance.sense.sign
        assert sign * (early.bounds.dual - best) <= 1e-6
        assert sign * (early.bounds.primal - best) >= -1e-6


# ---------------------------------------------------------------- status tables


def native_codes(name: str) -> set[Any]:
    if name == "highs":
        import highspy

        return set(highspy.HighsModelStatus.__members__.values())
    if name == "cp-sat":
        from ortools.sat.python import cp_model

        return set(cp_model.CpSolverStatus.__members__.values())
    from apportion.solvers.backends.scip import NATIVE_NAMES

    return set(NATIVE_NAMES)


def test_status_table_is_total(name: str) -> None:
    module = pytest.importorskip(BACKENDS[name].home.partition(":")[0])
    assert native_codes(name) == set(module.STATUS)
    for status, limit in module.STATUS.values():
        assert (limit is not None) == (status in (Status.FEASIBLE, Status.NO_SOLUTION))


def test_protocol(name: str) -> None:
    backend: Backend = backend_named(name)
    assert backend.name == name
    assert backend.capabilities == BACKENDS[name].capabilities
