from __future__ import annotations

import itertools
from dataclasses import fields
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings

from apportion.instances.core import Sense
from apportion.instances.generate.benchmark_programs import FAMILIES, benchmark_program
from apportion.instances.program import Indicator, MixedIntegerProgram, SpecialOrderedSet, VariableValues
from apportion.models.checking import check
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.heuristics.arrays import expressible, objective_step, problem_of
from apportion.solvers.heuristics.method import find_start
from apportion.solvers.heuristics.portfolio import Portfolio
from apportion.solvers.options import SolveOptions
from heuristic_twins import points, small_program, small_programs

SMALL: dict[str, dict[str, float]] = {
    "set-cover": {"rows": 60, "columns": 120},
    "auction": {"items": 30, "bids": 100},
    "facility": {"customers": 15, "facilities": 10},
    "assignment": {"agents": 5, "jobs": 30},
    "independent-set": {"nodes": 80},
    "multi-knapsack": {"rows": 5, "columns": 60},
    "lot-sizing": {"products": 4, "periods": 8},
    "bin-packing": {"items": 15},
    "network": {"nodes": 10, "arcs": 40, "commodities": 4},
}
EFFORT = 1_000_000


def _start(program: MixedIntegerProgram, effort: int = EFFORT, seed: int = 0) -> np.ndarray | None:
    return find_start(program, SolveOptions(seed=seed), Monitor(program.sense), effort)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_gets_a_checked_start(family: str) -> None:
    program = benchmark_program(family, 1, **SMALL[family])
    heard: list[Event] = []
    monitor = Monitor(program.sense, heard.append)
    values = find_start(program, SolveOptions(), monitor, EFFORT)
    assert values is not None
    verdict = check(program, VariableValues.from_array(program, values))
    assert verdict.ok, verdict.violations[:3]
    assert verdict.objective == pytest.approx(monitor.bounds.primal)
    assert all(event.letter for event in heard if event.kind is EventKind.INCUMBENT)


@given(program=small_programs())
@settings(max_examples=30, deadline=None)
def test_what_it_finds_is_feasible_and_never_better_than_the_optimum(program: MixedIntegerProgram) -> None:
    problem = problem_of(program)
    feasible = points(problem)
    values = _start(program, 100_000)
    if not feasible:
        assert values is None
        return
    assert values is not None
    assert check(program, VariableValues.from_array(program, values)).ok
    assert problem.cost @ values >= min(problem.cost @ point for point in feasible) - 1e-9


def test_same_seed_and_effort_same_point() -> None:
    program = benchmark_program("facility", 2, **SMALL["facility"])
    first, second = (_start(program, seed=4) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.tobytes() == second.tobytes()


def test_a_cancelled_search_ends_at_once() -> None:
    program = benchmark_program("set-cover", 1, rows=300, columns=600)
    monitor = Monitor(program.sense)
    monitor.cancel()
    assert find_start(program, SolveOptions(), monitor, 10**12) is None


@pytest.mark.parametrize(
    ("program", "feasible"),
    [
        (small_program([1.0], []), True),
        (small_program([1.0, -1.0], [([1.0, 1.0], -inf, inf)]), True),
        (small_program([1.0], [([2.0], 1.0, 1.0)]), False),
        (small_program([1.0], [], lower=[1.0], upper=[0.0]), False),
        (small_program([0.0], [([1.0], 3.0, inf)]), False),
        (small_program([0.0, 0.0], [([1.0, -1.0], 2.0, 2.0)], lower=[-inf, -inf], upper=[inf, inf]), True),
        (small_program([1.0, 1.0], [([1.0, 1.0], 2.5, inf)], lower=[0.0, 0.0], upper=[inf, inf]), True),
        (small_program([1.0], [([1.0], 2.5, inf)], upper=[inf], integer=[False]), True),
    ],
    ids=(
        "no rows",
        "free row",
        "fractional side",
        "crossed bounds",
        "row beyond the box",
        "free integers",
        "unbounded integers",
        "continuous",
    ),
)
def test_odd_programs(program: MixedIntegerProgram, feasible: bool) -> None:
    values = _start(program)
    assert (values is not None) == feasible
    if values is not None:
        assert check(program, VariableValues.from_array(program, values)).ok


def test_an_unbounded_program_still_ends() -> None:
    program = small_program([-1.0, 0.0], [([1.0, -1.0], -inf, 0.0)], lower=[0.0, 0.0], upper=[inf, inf])
    values = _start(program)
    assert values is not None
    assert check(program, VariableValues.from_array(program, values)).ok


def test_no_columns() -> None:
    program = small_program([], [], upper=[], integer=[])
    values = _start(program)
    assert values is not None
    assert len(values) == 0


def test_what_the_kernels_cannot_express_is_left_alone() -> None:
    plain = small_program([1.0, 1.0], [([1.0, 1.0], 1.0, inf)])
    plain_fields = {field.name: getattr(plain, field.name) for field in fields(plain)}
    for name, value in (
        ("ordered_sets", (SpecialOrderedSet(1, (0, 1), (1.0, 2.0)),)),
        ("indicators", (Indicator(0, True, (1,), (1.0,), -inf, 0.0),)),
    ):
        program = MixedIntegerProgram(**{**plain_fields, name: value})
        assert not expressible(program)
        assert _start(program) is None


def test_a_point_from_elsewhere_becomes_the_incumbent() -> None:
    program = benchmark_program("multi-knapsack", 3, rows=3, columns=12)
    problem = problem_of(program)
    optimum = min(
        (np.array(point, np.float64) for point in itertools.product((0, 1), repeat=12)),
        key=lambda point: problem.cost @ point if problem.violation(point) == 0.0 else inf,
    )
    portfolio = Portfolio(problem, 1)
    portfolio.offer(optimum)
    for k, _ in enumerate(portfolio.work()):
        if k > 8:
            break
    assert portfolio.objective == pytest.approx(problem.cost @ optimum)
    wrong = Portfolio(problem, 1)
    wrong.offer(np.ones(12))
    for k, _ in enumerate(wrong.work()):
        if k > 8:
            break
    assert wrong.best is not None
    assert problem.violation(wrong.best) <= 1e-6


@pytest.mark.parametrize(
    ("cost", "integer", "expected"),
    [([4.0, 6.0], [True, True], 2.0), ([4.0, 6.0], [True, False], 0.0), ([0.5, 1.0], [True, True], 0.0)],
)
def test_objective_step(cost: list[float], integer: list[bool], expected: float) -> None:
    assert objective_step(problem_of(small_program(cost, [], integer=integer))) == expected


@pytest.mark.parametrize("sense", list(Sense))
def test_events_speak_in_the_programs_own_sense(sense: Sense) -> None:
    program = small_program([2.0, 3.0], [([1.0, 1.0], 1.0, 1.0)], sense=sense)
    monitor = Monitor(sense)
    find_start(program, SolveOptions(), monitor, EFFORT)
    assert monitor.bounds.primal == (2.0 if sense is Sense.MINIMISE else 3.0)
