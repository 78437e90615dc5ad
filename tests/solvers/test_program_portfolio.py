from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Pipe

import pytest
from hypothesis import given, settings

from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.models.checking import check
from apportion.solvers import portfolio
from apportion.solvers.backends import BACKENDS
from apportion.solvers.backends.scip import Scip
from apportion.solvers.contestants import Racer, spawned
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.portfolio import Race, solve_with_portfolio
from apportion.solvers.ranking import ranked
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Bounds, Limit, Status
from heuristic_twins import points, small_programs

Cast = Callable[..., None]


@pytest.fixture
def cast_as(monkeypatch: pytest.MonkeyPatch) -> Cast:
    """Give the backends of the race other homes, no head start, and only those."""

    def choose(**homes: str) -> None:
        for name, home in homes.items():
            key = name.replace("_", "-")
            monkeypatch.setitem(BACKENDS, key, replace(BACKENDS[key], home=f"race_fakes:{home}"))
        monkeypatch.setattr(portfolio, "_HEAD_START_S", 0.0)
        monkeypatch.setattr(portfolio, "_cores", lambda: 2)
        monkeypatch.setattr(portfolio, "ranked", lambda _program, names: list(names))
        monkeypatch.setattr(portfolio, "_ORDER", tuple(name.replace("_", "-") for name in homes))

    return choose


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that a race started."""
    found: list[int] = []

    def noted(name: str, program: MixedIntegerProgram) -> Racer:
        racer = spawned(name, program)
        assert racer.process is not None
        found.append(racer.process.pid)
        return racer

    monkeypatch.setattr(portfolio, "spawned", noted)
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def small() -> MixedIntegerProgram:
    return benchmark_program("multi-knapsack", 3, rows=3, columns=15)


def raced(program: MixedIntegerProgram, **options: float) -> tuple[Result[VariableValues], list[str]]:
    events: list[Event] = []
    result = solve_instance(program, SolveOptions.build(**options), method="portfolio", listener=events.append)
    kinds = [event.kind for event in events]
    assert kinds.count(EventKind.START) == kinds.count(EventKind.END) == 1
    return result, [event.message for event in events if event.kind is EventKind.LOG]


@given(program=small_programs())
@settings(max_examples=15, deadline=None)
def test_it_proves_the_same_as_brute_force_within_the_head_start(program: MixedIntegerProgram) -> None:
    problem, result = small_program_points(program), solve_instance(program, method="portfolio")
    if not problem:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL
    best = program.sense.sign * min(problem)
    assert result.objective == pytest.approx(best)
    assert result.bounds.dual == pytest.approx(best, abs=1e-4 * max(1.0, abs(best)))


def small_program_points(program: MixedIntegerProgram) -> list[float]:
    from apportion.solvers.heuristics.arrays import problem_of

    problem = problem_of(program)
    return [float(problem.cost @ point) for point in points(problem)]


def test_the_real_solvers_race_without_a_head_start(monkeypatch: pytest.MonkeyPatch, pids: list[int]) -> None:
    monkeypatch.setattr(portfolio, "_HEAD_START_S", 0.0)
    monkeypatch.setattr(portfolio, "_cores", lambda: 2)
    program = benchmark_program("multi-knapsack", 1, rows=5, columns=40)
    result, _ = raced(program, gap=0.0)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(solve_instance(program, SolveOptions(gap=0.0)).objective)
    assert len(pids) == 1  # the favourite and HiGHS are in this process
    assert not any(alive(pid) for pid in pids)


def test_a_process_can_win(cast_as: Cast, pids: list[int]) -> None:
    cast_as(highs="Waiter", cp_sat="Worker")
    result, _ = raced(small(), time_limit_s=60.0)
    assert result.status is Status.OPTIMAL
    assert "waiter" not in result.native_status
    assert not any(alive(pid) for pid in pids)


def test_incumbents_reach_the_other_racers(cast_as: Cast) -> None:
    cast_as(highs="Waiter", cp_sat="Modest")
    result, _ = raced(small(), time_limit_s=8.0)
    assert (result.status, result.limit) == (Status.FEASIBLE, Limit.TIME)
    assert "highs: had an offer" in result.native_status


def test_a_crash_does_not_end_the_race(cast_as: Cast) -> None:
    cast_as(highs="Waiter", cp_sat="Crasher", scip="Worker")
    result, _ = raced(small(), time_limit_s=60.0)
    assert result.status is Status.OPTIMAL
    assert result.verdict is not None
    assert result.verdict.ok


def test_a_crash_is_told(cast_as: Cast, pids: list[int]) -> None:
    cast_as(highs="Waiter", cp_sat="Crasher")
    result, logs = raced(small(), time_limit_s=8.0)
    assert (result.status, result.limit) == (Status.NO_SOLUTION, Limit.TIME)
    assert "cp-sat is out of the race: it crashed (exit code 17)" in logs
    assert not any(alive(pid) for pid in pids)


def test_a_lying_racer_is_caught_by_the_check(cast_as: Cast) -> None:
    cast_as(highs="Waiter", cp_sat="Liar")
    result, logs = raced(small(), time_limit_s=8.0)
    assert result.plan is None
    assert result.status is Status.NO_SOLUTION
    assert any("a point that fails the check" in line for line in logs)
    assert result.bounds.dual == Bounds.unknown(result.sense).dual


def test_a_bound_beyond_a_checked_point_is_left_out(cast_as: Cast) -> None:
    cast_as(highs="Waiter", cp_sat="Boaster")
    result, logs = raced(small(), time_limit_s=8.0)
    assert result.status is Status.FEASIBLE
    assert not result.bounds.contradict(result.sense)
    assert result.bounds.gap == float("inf")
    assert any("beyond a checked point" in line for line in logs)


def test_nobody_may_deny_a_checked_point(cast_as: Cast) -> None:
    cast_as(highs="Waiter", cp_sat="Denier")
    program = small()
    start = VariableValues({})
    assert check(program, start).ok
    events: list[Event] = []
    options = SolveOptions(time_limit_s=8.0, start=start)
    result = solve_instance(program, options, method="portfolio", listener=events.append)
    assert result.status is Status.FEASIBLE
    assert any("claims infeasible beside" in event.message for event in events)


def test_cancel_kills_a_racer_that_never_stops(cast_as: Cast, pids: list[int]) -> None:
    cast_as(highs="Waiter", cp_sat="Deaf")
    program = small()
    monitor = Monitor(program.sense)
    threading.Timer(3.0, monitor.cancel).start()
    began = time.perf_counter()
    answer = solve_with_portfolio(program, SolveOptions(), monitor)
    assert (answer.status, answer.limit) == (Status.NO_SOLUTION, Limit.INTERRUPTED)
    assert time.perf_counter() - began < 20.0
    assert len(pids) == 1
    assert not alive(pids[0])


ORPHAN = """
from dataclasses import replace
from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.solvers import portfolio
from apportion.solvers.backends import BACKENDS
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions

for name, home in (("highs", "Waiter"), ("cp-sat", "Deaf")):
    BACKENDS[name] = replace(BACKENDS[name], home=f"race_fakes:{home}")
portfolio._cores, portfolio.ranked = lambda: 2, lambda program, names: list(names)
portfolio._ORDER, portfolio._HEAD_START_S, spawned = ("highs", "cp-sat"), 0.0, portfolio.spawned

def noted(*given):
    racer = spawned(*given)
    print(racer.process.pid, flush=True)
    return racer

portfolio.spawned = noted
program = benchmark_program("multi-knapsack", 3, rows=3, columns=15)
portfolio.solve_with_portfolio(program, SolveOptions(), Monitor(program.sense))
"""


def test_no_racer_survives_a_killed_organiser() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", ORPHAN]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as organiser:
        assert organiser.stdout is not None
        pid = int(organiser.stdout.readline())
        time.sleep(3.0)
        assert alive(pid)
        organiser.kill()
    until = time.perf_counter() + 20.0
    while alive(pid) and time.perf_counter() < until:
        time.sleep(0.1)
    assert not alive(pid)


def test_an_error_in_the_organiser_leaves_no_process(
    cast_as: Cast, pids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cast_as(highs="Waiter", cp_sat="Deaf")

    def fail(self: Race, seconds: float) -> None:
        if pids:
            raise KeyboardInterrupt

    monkeypatch.setattr(Race, "_listen", fail)
    program = small()
    with pytest.raises(KeyboardInterrupt):
        solve_with_portfolio(program, SolveOptions(), Monitor(program.sense))
    assert len(pids) == 1
    assert not alive(pids[0])


def test_a_single_able_backend_needs_no_race(pids: list[int]) -> None:
    program = benchmark_program("facility", 1, customers=5, facilities=3)
    for options in (SolveOptions(backend="scip"), SolveOptions(deterministic=True)):
        assert solve_instance(program, options, method="portfolio").status is Status.OPTIMAL
    assert solve_instance(program.relaxed(), method="portfolio").status is Status.OPTIMAL
    assert not pids


def test_what_must_repeat_is_solved_by_the_favourite_alone(pids: list[int]) -> None:
    program = small()
    favourite = ranked(program, ("highs", "scip", "cp-sat"))[0]
    for options in (SolveOptions(deterministic=True), SolveOptions(node_limit=10**6)):
        first, second = (solve_instance(program, options, method="portfolio") for _ in range(2))
        assert first.native_status.startswith(favourite)
        assert (first.plan, first.bounds, first.counts) == (second.plan, second.bounds, second.counts)
    assert not pids


def test_one_core_goes_to_the_favourite(pids: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolio, "_cores", lambda: 1)
    result, logs = raced(small())
    assert result.status is Status.OPTIMAL
    assert any("runs alone: no cores" in line for line in logs)
    assert not pids


def sleeper(name: str, patience: int, dual: float) -> Racer:
    """A process that does nothing, which claims ``dual``."""
    ours, _ = Pipe()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    return Racer(name, ours, Bounds(float("-inf"), dual), process=process, patience=patience)


def test_ranks_are_corrected_by_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolio, "_RANK_EVERY_S", 0.0)
    program = small()
    logs: list[str] = []
    monitor = Monitor(program.sense, lambda event: logs.append(event.message))
    contest = Race(program, SolveOptions(), monitor)
    best = solve_instance(program, SolveOptions(gap=0.0)).plan
    assert best is not None
    assert contest.take("start", best.to_array(program))
    value = contest._bounds().primal
    contest.racers = [
        sleeper("slow", 0, value * 1.5),
        sleeper("close", 10, value * 1.01),
        sleeper("far", 10, value * 9),
    ]
    try:
        for expected in ([19, 10, 10], [19, 10, 19], [19, 10, 19]):
            contest._next_look = 0.0
            contest._rank_again()
            assert [racer.patience for racer in contest.racers] == expected
        slow = contest.racers[0].process
        assert slow is not None
        assert os.getpriority(os.PRIO_PROCESS, slow.pid) == 19
        assert "close closes the gap sooner: slow steps back" in logs
    finally:
        for racer in contest.racers:
            racer.end()
    contest.racers[0].step_back(19)  # a process that is gone is no error


def test_the_cpu_seconds_of_every_process_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolio, "_HEAD_START_S", 0.0)
    monkeypatch.setattr(portfolio, "_cores", lambda: 2)
    program = benchmark_program("facility", 1, customers=12, facilities=8)
    result = solve_instance(program, SolveOptions(gap=0.0), method="portfolio")
    assert set(result.extras) == {"own_process_cpu_s", "scip_cpu_s"}
    assert all(seconds >= 0.0 for seconds in result.extras.values())


def test_scip_takes_a_partners_point() -> None:
    program = benchmark_program("set-cover", 2, rows=60, columns=120)
    best = solve_instance(program, SolveOptions(gap=0.0))
    assert best.plan is not None
    optimum = best.plan.to_array(program)

    class Partner:
        def __init__(self) -> None:
            self.heard_values: list[float] = []
            self.offers = 1

        def heard(self, values: Floats) -> None:
            self.heard_values.append(float(program.cost @ values))

        def turn(self) -> None:
            """Nothing to do."""

        def offer(self) -> Floats | None:
            self.offers -= 1
            return optimum if self.offers >= 0 else None

    partner = Partner()
    answer = Scip(partner).run(program, SolveOptions(gap=0.0), Monitor(program.sense))
    assert answer.bounds.primal == pytest.approx(best.objective)
    assert partner.heard_values
    assert min(partner.heard_values) == pytest.approx(best.objective)
