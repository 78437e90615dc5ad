from __future__ import annotations

import threading
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings

from apportion.instances.core import Sense
from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.solvers.backends.highs import Highs
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.heuristics.arrays import problem_of
from apportion.solvers.heuristics.method import Feeder
from apportion.solvers.options import SolveOptions
from apportion.solvers.registry import methods_of
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Limit, Status
from heuristic_twins import points, small_program, small_programs


def test_it_is_a_method_of_programs() -> None:
    assert "heuristics" in methods_of("mixed-integer-program")


@given(program=small_programs())
@settings(max_examples=20, deadline=None)
def test_it_proves_the_same_as_brute_force(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    feasible = points(problem)
    result = solve_instance(program, method="heuristics")
    if not feasible:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL
    best = program.sense.sign * min(float(problem.cost @ point) for point in feasible)
    assert result.objective == pytest.approx(best)
    assert result.bounds.dual == pytest.approx(best, abs=1e-4 * max(1.0, abs(best)))


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("set-cover", {"rows": 50, "columns": 100}),
        ("facility", {"customers": 12, "facilities": 8}),
        ("lot-sizing", {"products": 3, "periods": 6}),
        ("multi-knapsack", {"rows": 5, "columns": 30}),
    ],
)
def test_it_agrees_with_highs_alone(family: str, sizes: dict[str, float]) -> None:
    program = benchmark_program(family, 4, **sizes)
    options = SolveOptions(gap=0.0)
    alone = solve_instance(program, options)
    fed = solve_instance(program, options, method="heuristics")
    assert fed.status is Status.OPTIMAL
    assert fed.objective == pytest.approx(alone.objective, rel=1e-6)
    assert fed.counts["heuristic incumbents"] >= 1
    assert 0.0 < fed.extras["heuristics_cpu_s"] <= fed.timings.cpu_s + 0.1


class _Scripted:
    """A companion with one point to offer."""

    def __init__(self, point: Floats) -> None:
        self.point: Floats | None = point
        self.heard_points: list[Floats] = []
        self.turns = 0

    def heard(self, values: Floats) -> None:
        self.heard_points.append(values)

    def turn(self) -> None:
        self.turns += 1

    def offer(self) -> Floats | None:
        point, self.point = self.point, None
        return point


def test_highs_takes_a_point_that_is_offered() -> None:
    program = benchmark_program("assignment", 3, agents=8, jobs=60)
    known = solve_instance(program, SolveOptions(node_limit=20), method="heuristics")
    assert known.plan is not None
    companion = _Scripted(known.plan.to_array(program))
    said: list[str] = []
    monitor = Monitor(program.sense, lambda event: said.append(event.message))
    answer = Highs(companion).run(program, SolveOptions(node_limit=5), monitor, None)
    assert companion.point is None
    assert companion.turns > 0
    assert any(line.startswith(" X ") and f"{known.objective:.0f}" in line for line in said)
    assert answer.bounds.primal <= known.objective + 1e-6


def test_a_companion_hears_every_incumbent() -> None:
    program = benchmark_program("assignment", 3, agents=8, jobs=60)
    companion = _Scripted(np.zeros(480))
    answer = Highs(companion).run(program, SolveOptions(node_limit=5), Monitor(program.sense), None)
    problem = problem_of(program)
    assert all(problem.violation(values) <= 1e-6 for values in companion.heard_points)
    assert min(program.cost @ values for values in companion.heard_points) == pytest.approx(answer.bounds.primal)


def test_a_false_offer_is_refused() -> None:
    program = benchmark_program("set-cover", 3, rows=30, columns=60)
    answer = Highs(_Scripted(np.zeros(60))).run(program, SolveOptions(), Monitor(program.sense), None)
    assert answer.status is Status.OPTIMAL
    assert answer.bounds.primal > 0.0


def test_a_companion_that_fails_is_not_lost() -> None:
    class Broken(_Scripted):
        def turn(self) -> None:
            raise ArithmeticError("broken on purpose")

    program = benchmark_program("set-cover", 3, rows=60, columns=120)
    with pytest.raises(ArithmeticError, match="on purpose"):
        Highs(Broken(np.ones(120))).run(program, SolveOptions(), Monitor(program.sense), None)


def test_a_time_limit_keeps_what_the_heuristics_found() -> None:
    program = benchmark_program("set-cover", 5, rows=400, columns=800)
    cancelled = threading.Event()

    def listen(event: Event) -> None:
        if event.kind is EventKind.INCUMBENT:
            cancelled.set()

    result = solve_instance(program, method="heuristics", listener=listen, cancelled=cancelled)
    assert result.status is Status.FEASIBLE
    assert result.limit is Limit.INTERRUPTED
    assert result.verdict is not None
    assert result.verdict.ok


def test_a_start_from_the_caller_is_never_lost() -> None:
    program = small_program([-3.0, -4.0, -4.0, -10.0, -4.0], [([3.0, 4.0, 5.0, 9.0, 4.0], -inf, 11.0)])
    start = VariableValues.from_array(program, np.array([1.0, 1.0, 0.0, 0.0, 1.0]))
    result = solve_instance(program, SolveOptions(start=start), method="heuristics")
    assert result.objective == -11.0


def test_programs_without_integers_go_to_the_default_method() -> None:
    program = small_program([1.0], [([1.0], 0.25, inf)], integer=[False], sense=Sense.MINIMISE)
    result = solve_instance(program, method="heuristics")
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(0.25)


def test_an_unbounded_program_is_called_so() -> None:
    program = small_program([-1.0, 0.0], [([1.0, -1.0], -inf, 0.0)], lower=[0.0, 0.0], upper=[inf, inf])
    assert solve_instance(program, method="heuristics").status is Status.UNBOUNDED


def test_a_thread_of_its_own_stops_with_the_run() -> None:
    program = benchmark_program("multi-knapsack", 2, rows=10, columns=100)
    monitor = Monitor(program.sense)
    feeder = Feeder(program, SolveOptions(threads=2), monitor)
    feeder.begin(1_000_000)
    before = threading.active_count()
    with feeder:
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert feeder.best is not None
    assert monitor.bounds.primal == pytest.approx(feeder.objective)
