"""The heuristics beside each backend, with threads, and repeatably."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from apportion.instances.errors import CapabilityError
from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.events import Event, EventKind
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status


def cover(rows: int = 60, columns: int = 120) -> MixedIntegerProgram:
    return benchmark_program("set-cover", 4, rows=rows, columns=columns)


def incumbents(program: MixedIntegerProgram, options: SolveOptions) -> tuple[Result[Any], list[tuple[str, float]]]:
    events: list[Event] = []
    result = solve_instance(program, options, method="heuristics", listener=events.append)
    return result, [(e.letter, e.bounds.primal) for e in events if e.kind is EventKind.INCUMBENT]


@pytest.mark.parametrize("backend", ["cp-sat", "scip"])
def test_another_backend_begins_with_the_incumbent(backend: str) -> None:
    program = cover(40, 80)
    options = SolveOptions(gap=0.0, backend=backend, seed=1)
    alone = solve_instance(program, options)
    result, found = incumbents(program, options)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(alone.objective)
    assert result.native_status.startswith(f"heuristics and {backend}")
    assert result.counts["heuristic incumbents"] >= 1
    assert found[0][0] in "HLR"
    assert all(later < earlier for (_, earlier), (_, later) in itertools.pairwise(found))


def test_cp_sat_takes_the_hint_as_its_first_solution() -> None:
    program = cover(100, 200)
    log: list[str] = []

    def listen(event: Event) -> None:
        if event.kind is EventKind.LOG and event.letter == "cp-sat":
            log.append(event.message)

    options = SolveOptions(gap=0.0, backend="cp-sat", seed=1, time_limit_s=5)
    result = solve_instance(program, options, method="heuristics", listener=listen)
    assert result.status.has_plan
    assert any("complete_hint" in line for line in log)


def test_a_backend_that_cannot_express_the_program_refuses_before_any_work() -> None:
    program = benchmark_program("lot-sizing", 4, products=2, periods=4)
    with pytest.raises(CapabilityError, match="cp-sat"):
        solve_instance(program, SolveOptions(backend="cp-sat"), method="heuristics")


@pytest.mark.parametrize("threads", [2, 3])
def test_with_threads_the_optimum_is_the_same(threads: int) -> None:
    program = benchmark_program("facility", 4, customers=10, facilities=6)
    alone = solve_instance(program, SolveOptions(gap=0.0))
    result, _ = incumbents(program, SolveOptions(gap=0.0, threads=threads))
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(alone.objective)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("family", ["set-cover", "multi-knapsack", "facility"])
def test_deterministic_runs_repeat_every_incumbent(family: str, threads: int) -> None:
    sizes = {
        "set-cover": {"rows": 120, "columns": 240},
        "multi-knapsack": {"rows": 5, "columns": 60},
        "facility": {"customers": 12, "facilities": 8},
    }[family]
    program = benchmark_program(family, 2, **sizes)
    options = SolveOptions(gap=0.0, deterministic=True, node_limit=15, threads=threads, seed=5)
    first, found = incumbents(program, options)
    second, again = incumbents(program, options)
    assert found == again
    assert first.plan == second.plan
    assert first.bounds == second.bounds
    assert first.counts == second.counts


def test_deterministic_work_goes_on_beside_highs() -> None:
    program = benchmark_program("set-cover", 2, rows=200, columns=400)
    options = SolveOptions(gap=0.0, deterministic=True, node_limit=5, seed=5)
    result, _ = incumbents(replace(program, name="cover"), options)
    assert result.extras["heuristics_cpu_s"] > 0
