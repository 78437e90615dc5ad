from __future__ import annotations

import threading
import time
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings

from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.models.checking import check
from apportion.solvers.backends import BACKENDS
from apportion.solvers.backends.base import BackendAnswer, Capabilities
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.heuristics.arrays import problem_of
from apportion.solvers.neighbourhoods.budget import Budget
from apportion.solvers.neighbourhoods.method import Turns, solve_with_neighbourhoods
from apportion.solvers.neighbourhoods.search import Limits, Search
from apportion.solvers.neighbourhoods.situation import Mask
from apportion.solvers.options import SolveOptions
from apportion.solvers.registry import methods_of
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Bounds, Limit, Status
from heuristic_twins import points, small_programs


def poor_point(program: MixedIntegerProgram) -> Floats:
    """A feasible point far from the best: nothing packed, or everything covered."""
    return np.array(program.lower if program.sense.sign < 0 else program.upper, np.float64)


def test_they_are_methods_of_programs() -> None:
    assert {"lns", "portfolio"} <= set(methods_of("mixed-integer-program"))


@given(program=small_programs())
@settings(max_examples=20, deadline=None)
def test_it_proves_the_same_as_brute_force(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    feasible = [float(problem.cost @ point) for point in points(problem)]
    result = solve_instance(program, method="lns")
    if not feasible:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(program.sense.sign * min(feasible))


@pytest.mark.parametrize(
    ("family", "sizes"),
    [("set-cover", {"rows": 60, "columns": 150}), ("multi-knapsack", {"rows": 3, "columns": 40})],
)
def test_rounds_only_improve_and_never_claim_a_bound(family: str, sizes: dict[str, float]) -> None:
    program = benchmark_program(family, 2, **sizes)
    events: list[Event] = []
    monitor = Monitor(program.sense, events.append)
    search = Search(program, SolveOptions(), monitor)
    assert search.adopt(poor_point(program))
    search.relax(inf)
    before = start = search.objective
    for _ in range(40):
        improved = search.improve(Limits(inf, 20))
        assert search.incumbent is not None
        assert check(program, VariableValues.from_array(program, search.incumbent)).ok
        sign = program.sense.sign
        assert sign * search.objective < sign * before if improved else search.objective == before
        before = search.objective
    assert program.sense.sign * search.objective < program.sense.sign * start
    assert {event.kind for event in events} == {EventKind.INCUMBENT}
    assert monitor.bounds.dual == Bounds.unknown(program.sense).dual
    optimum = solve_instance(program, SolveOptions(gap=0.0)).objective
    assert search.objective == pytest.approx(optimum, rel=0.02)
    assert "rins" in search.summary()


class _Fake:
    """A solver of parts that answers with whatever it is told."""

    name = "fake"
    capabilities: Capabilities = BACKENDS["highs"].capabilities

    def __init__(self, values: float, status: Status = Status.OPTIMAL) -> None:
        self._value = values
        self._status = status
        self.calls = 0
        self.gaps: list[float] = []

    def run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        self.calls += 1
        self.gaps.append(options.gap)
        monitor.bound(1e6)
        values = np.full(program.num_columns, self._value)
        claimed = Bounds(-program.sense.sign * 1e9, -program.sense.sign * 1e9)
        return BackendAnswer(self._status, claimed, Limit.NODES, values)


@pytest.mark.parametrize("value", [1.0, 7.0, -3.0, np.nan, np.inf])
def test_a_lying_solver_of_parts_is_caught(value: float) -> None:
    program = benchmark_program("multi-knapsack", 2, rows=5, columns=60)
    fake = _Fake(value)
    monitor = Monitor(program.sense)
    search = Search(program, SolveOptions(), monitor, solvers=[fake])
    search.adopt(poor_point(program))
    for _ in range(24):
        search.improve(Limits(1.0))
        assert search.incumbent is not None
        assert check(program, VariableValues.from_array(program, search.incumbent)).ok
        assert search.objective >= 0.0
    assert fake.calls > 5
    assert monitor.bounds.dual == inf


@pytest.mark.parametrize(("asked", "used"), [(0.05, 1e-7), (1e-4, 1e-7), (0.0, 0.0)])
def test_parts_are_solved_more_finely_than_the_whole(asked: float, used: float) -> None:
    program = benchmark_program("multi-knapsack", 2, rows=5, columns=60)
    fake = _Fake(0.0)
    search = Search(program, SolveOptions(gap=asked), Monitor(program.sense), solvers=[fake])
    search.adopt(poor_point(program))
    for _ in range(4):
        search.improve(Limits(1.0))
    assert set(fake.gaps) == {used}


def test_highs_gets_more_of_the_time_when_it_improves_by_itself() -> None:
    program = benchmark_program("multi-knapsack", 2, rows=5, columns=60)
    search = Search(program, SolveOptions(), Monitor(program.sense), solvers=[_Fake(0.0)])
    turns = Turns(program, SolveOptions(), Monitor(program.sense), search)
    turns.heard(poor_point(program))
    turns.hear()
    before = turns.share
    while not search.rounds:
        search.improve(Limits(1.0))
    best = solve_instance(program, SolveOptions(gap=0.01)).plan
    assert best is not None
    turns.heard(poor_point(program))
    turns.hear()
    assert turns.share == before
    turns.heard(best.to_array(program))
    turns.hear()
    assert 0.0 < turns.share < before


def test_points_that_break_a_rule_are_not_adopted() -> None:
    program = benchmark_program("set-cover", 2, rows=20, columns=40)
    search = Search(program, SolveOptions(), Monitor(program.sense))
    for bad in (np.zeros(40), np.full(40, np.nan), np.full(40, 2.0)):
        assert not search.adopt(bad)
    assert search.incumbent is None
    assert not search.improve(Limits(1.0))
    assert search.adopt(np.ones(40))
    assert not search.adopt(np.ones(40))


def test_a_node_limit_repeats_exactly() -> None:
    program = benchmark_program("set-cover", 1, rows=120, columns=300)
    runs = [solve_instance(program, SolveOptions(node_limit=5, seed=3), method="lns") for _ in range(2)]
    first, second = runs
    assert first.plan == second.plan
    assert first.bounds == second.bounds
    assert first.counts == second.counts
    assert first.counts["rounds"] > 0


def test_what_it_starts_from_is_never_lost() -> None:
    program = benchmark_program("set-cover", 1, rows=120, columns=300)
    good = solve_instance(program, SolveOptions(time_limit_s=20.0))
    assert good.plan is not None
    result = solve_instance(program, SolveOptions(node_limit=0, start=good.plan), method="lns")
    assert result.objective <= good.objective + 1e-9


def test_in_turns_it_agrees_with_highs(monkeypatch: pytest.MonkeyPatch) -> None:
    from apportion.solvers.neighbourhoods import method

    for name in ("_HEAD_START_S", "_ROUND_S", "_LEAST_ROUND_S"):
        monkeypatch.setattr(method, name, 0.02 if "ROUND" in name else 0.0)
    program = benchmark_program("set-cover", 1, rows=200, columns=400)
    options = SolveOptions(gap=0.0, time_limit_s=60.0)
    result = solve_instance(program, options, method="lns")
    alone = solve_instance(program, options)
    assert result.status is alone.status is Status.OPTIMAL
    assert result.objective == pytest.approx(alone.objective)
    assert result.counts["rounds"] > 0


def test_turns_offer_only_what_is_better() -> None:
    program = benchmark_program("multi-knapsack", 2, rows=5, columns=60)
    search = Search(program, SolveOptions(), Monitor(program.sense))
    turns = Turns(program, SolveOptions(), Monitor(program.sense), search)
    assert turns.offer() is None
    best = solve_instance(program, SolveOptions(gap=0.01)).plan
    assert best is not None
    turns.heard(poor_point(program))
    turns.hear()
    assert turns.offer() is None
    search.adopt(best.to_array(program))
    offered = turns.offer()
    assert offered is not None
    assert np.array_equal(offered, best.to_array(program))
    assert turns.offer() is None


def test_cancel_stops_soon_and_keeps_the_incumbent() -> None:
    program = benchmark_program("set-cover", 2, rows=500, columns=1000)
    cancelled = threading.Event()
    timer = threading.Timer(4.0, cancelled.set)
    timer.start()
    began = time.perf_counter()
    result = solve_instance(program, SolveOptions(gap=0.0), method="lns", cancelled=cancelled)
    timer.cancel()
    assert time.perf_counter() - began < 30.0
    assert (result.status, result.limit) == (Status.FEASIBLE, Limit.INTERRUPTED) or result.status is Status.OPTIMAL
    assert result.plan is not None


def test_a_budget_stops_by_cpu_seconds_and_by_the_solve_around_it() -> None:
    around = Monitor(benchmark_program("bin-packing", 1, items=5).sense)
    budget, other = Budget(around, around.sense, 0.02), Budget(around, around.sense)
    said = [budget.should_stop]
    while not budget.out_of_budget:
        sum(range(1000))
    said += [budget.should_stop, around.should_stop, other.should_stop]
    around.cancel()
    said.append(other.should_stop)
    assert said == [False, True, False, False, True]
    other.bound(3.0)
    assert around.bounds == Bounds.unknown(around.sense)


class _Block:
    """A run of twenty columns."""

    name = "block"

    def __init__(self) -> None:
        self.calls = 0

    def free(self, incumbent: Floats, rng: np.random.Generator) -> Mask:
        self.calls += 1
        first = int(rng.integers(len(incumbent)))
        return (np.arange(len(incumbent)) >= first) & (np.arange(len(incumbent)) < first + 20)


def test_a_problem_declares_neighbourhoods() -> None:
    program = benchmark_program("set-cover", 1, rows=120, columns=300)
    block = _Block()
    monitor = Monitor(program.sense)
    answer = solve_with_neighbourhoods(program, SolveOptions(node_limit=1), monitor, declared=[block])
    assert block.calls > 0
    assert answer.plan is not None


def test_other_programs_go_to_the_default_method() -> None:
    program = benchmark_program("facility", 1, customers=5, facilities=3)
    assert solve_instance(program.relaxed(), method="lns").status is Status.OPTIMAL
    result = solve_instance(program, SolveOptions(backend="scip"), method="lns")
    assert result.native_status.startswith("scip")
