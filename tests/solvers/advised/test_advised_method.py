from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.core import Instance, Sense
from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.generate.series import series_program
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.advised.method import AdvisedSettings, solve_with_advice
from apportion.solvers.advised.probing import Effort, Prover
from apportion.solvers.advisor import Advice
from apportion.solvers.backends import refusal
from apportion.solvers.branching.relaxation import Ended
from apportion.solvers.events import Event, Monitor
from apportion.solvers.heuristics.arrays import problem_of
from apportion.solvers.options import SolveOptions
from apportion.solvers.program import solve_program
from apportion.solvers.registry import methods_of
from apportion.solvers.result import Answer
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Limit, Status
from contract.programs import CASES, Case
from tiny_programs import exact_integer, tiny_programs

WORST = AdvisedSettings(effort=Effort(each=50.0, all_of_them=1e9, failures=10**6))
SMALL: dict[str, Callable[[], MixedIntegerProgram]] = {
    "facility": lambda: series_program("facility-day", 1, customers=15, facilities=8),
    "network": lambda: series_program("network-day", 1, nodes=6, arcs=14, commodities=4),
    "set-cover": lambda: benchmark_program("set-cover", 1, rows=40, columns=80),
    "auction": lambda: benchmark_program("auction", 1, items=20, bids=50),
    "multi-knapsack": lambda: benchmark_program("multi-knapsack", 1, rows=3, columns=25),
}


class Fixed:
    """Advises values by column."""

    def __init__(self, fix: dict[int, float]) -> None:
        self.fix = fix

    def advise(self, instance: Instance) -> Advice:
        del instance
        return Advice(fix=self.fix)


def solve(
    program: MixedIntegerProgram,
    fix: dict[int, float],
    events: list[Event] | None = None,
    parts: AdvisedSettings | None = None,
    **options: Any,
) -> Answer[Any]:
    monitor = Monitor(program.sense, None if events is None else events.append)
    chosen = SolveOptions.build(**{"gap": 1e-3, **options})
    return solve_with_advice(program, chosen, monitor, Fixed(fix), settings=parts)


def adversaries(program: MixedIntegerProgram, optimum: np.ndarray) -> dict[str, dict[int, float]]:
    columns = np.flatnonzero(program.integer)
    random = np.random.default_rng(7)
    return {
        "right": {int(j): round(optimum[j]) for j in columns},
        "inverted": {int(j): float(1 - round(optimum[j])) for j in columns},
        "random": {int(j): float(random.integers(0, 2)) for j in columns},
        "zeros": dict.fromkeys(map(int, columns), 0.0),
        "ones": dict.fromkeys(map(int, columns), 1.0),
        "no numbers": dict.fromkeys(map(int, columns), nan),
        "halves": dict.fromkeys(map(int, columns), 0.5),
        "beyond": dict.fromkeys(map(int, columns), 1e9),
        "not there": {-1: 1.0, program.num_columns: 0.0, 10**9: 1.0},
        "one wrong": {int(j): float(round(optimum[j]) if k else 1 - round(optimum[j])) for k, j in enumerate(columns)},
    }


def test_it_is_a_method_of_programs() -> None:
    assert "advised" in methods_of("mixed-integer-program")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_contract_cases(case: Case) -> None:
    program = case.build()
    if refusal(program, "highs") and refusal(program, "scip"):
        pytest.skip("no backend can")
    plain = solve_program(program, SolveOptions(), Monitor(program.sense))
    for value in (0.0, 1.0):
        answer = solve(program, dict.fromkeys(map(int, np.flatnonzero(program.integer)), value), gap=0.0)
        assert answer.status is plain.status
        if plain.plan is not None:
            assert answer.bounds.primal == pytest.approx(plain.bounds.primal, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("family", SMALL)
def test_no_advice_bends_the_truth(family: str) -> None:
    program = SMALL[family]()
    best = solve_program(program, SolveOptions(gap=0.0), Monitor(program.sense))
    optimum, sign = best.bounds.primal, program.sense.sign
    allowed = 1e-6 * max(1.0, abs(optimum))
    for name, fix in adversaries(program, best.native.values).items():
        events: list[Event] = []
        answer = solve(program, fix, events)
        assert answer.status is Status.OPTIMAL, name
        assert sign * (answer.bounds.primal - optimum) <= 1.01e-3 * abs(optimum), name
        for bounds in (answer.bounds, *(event.bounds for event in events)):
            assert sign * (bounds.primal - optimum) >= -allowed, name
            assert sign * (bounds.dual - optimum) <= allowed, name


def test_the_answer_passes_the_way_of_every_solve() -> None:
    program = SMALL["facility"]()
    plain = solve_instance(program, SolveOptions(gap=0.0))
    columns = np.flatnonzero(program.integer)
    values = plain.plan.to_array(program)  # type: ignore[union-attr]
    advisor = Fixed({int(j): float(round(values[j])) for j in columns})
    result = solve_instance(program, SolveOptions(gap=1e-3), method="advised", advisor=advisor)
    assert result.status is Status.OPTIMAL
    assert result.counts["advised"] == len(columns)
    assert result.bounds.gap <= 1e-3 + 1e-9


def test_right_advice_prunes() -> None:
    program = SMALL["facility"]()
    best = solve_program(program, SolveOptions(gap=0.0), Monitor(program.sense))
    answer = solve(program, adversaries(program, best.native.values)["right"])
    assert answer.counts["pruned"] > 0
    assert answer.native_status == "advised: relaxation"  # the probes left nothing to solve


@settings(max_examples=50, deadline=None)
@given(program=tiny_programs(integer=True), data=st.data())
def test_tiny_programs_by_enumeration(program: MixedIntegerProgram, data: st.DataObject) -> None:
    values = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0, 0.5, nan, inf])
    fix = data.draw(st.dictionaries(st.integers(-1, program.num_columns), values, max_size=4))
    events: list[Event] = []
    answer = solve(program, fix, events, WORST, gap=0.0)
    optimum = exact_integer(program)
    if optimum is None:
        assert not answer.status.has_plan
        return
    assert answer.status is Status.OPTIMAL
    assert answer.bounds.primal == pytest.approx(float(optimum), abs=1e-6)
    for event in events:
        assert program.sense.sign * (event.bounds.dual - float(optimum)) <= 1e-6


@settings(max_examples=50, deadline=None)
@given(program=tiny_programs(integer=True), data=st.data())
def test_the_box_keeps_every_plan_better_than_the_cutoff(program: MixedIntegerProgram, data: st.DataObject) -> None:
    problem = problem_of(program)
    prover = Prover(problem, 0, Monitor(program.sense))
    if prover.root() is not Ended.OPTIMAL:
        return
    cutoff = prover.box.root + data.draw(st.sampled_from([0.0, 0.05, 0.4, 1.0, 2.5, 7.0]))
    value = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0])
    advised = [(j, data.draw(value)) for j in range(program.num_columns)]
    box = prover.shrink(advised, cutoff, WORST.effort)
    ranges = [np.arange(low, high + 1) for low, high in zip(problem.lower, problem.upper, strict=True)]
    for point in np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, program.num_columns):
        if problem.violation(point) > 1e-9 or float(problem.cost @ point) >= cutoff - 1e-6:
            continue
        assert not box.empty
        assert (box.lower <= point).all()
        assert (point <= box.upper).all()


def test_time_and_cancel_keep_what_is_there() -> None:
    program = SMALL["network"]()
    events: list[Event] = []
    monitor = Monitor(Sense.MINIMISE, events.append, time_limit_s=1e-9)
    fix = dict.fromkeys(map(int, np.flatnonzero(program.integer)), 1.0)
    answer = solve_with_advice(program, SolveOptions(time_limit_s=1e-9), monitor, Fixed(fix))
    assert answer.limit is Limit.TIME
    assert not isfinite(answer.bounds.dual) or answer.bounds.dual <= answer.bounds.primal


def test_a_start_is_used() -> None:
    program = SMALL["auction"]()
    plain = solve_instance(program, SolveOptions(gap=0.0))
    events: list[Event] = []
    answer = solve(program, {0: 0.0}, events, start=plain.plan)
    assert answer.bounds.primal == pytest.approx(plain.bounds.primal)
    assert events[0].letter == "S"
