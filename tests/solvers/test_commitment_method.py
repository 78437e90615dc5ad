"""The method: proven optima on small days, starts and advice, limits, and the real days of the library."""

from __future__ import annotations

import csv
import threading
from dataclasses import dataclass, replace
from math import isinf
from pathlib import Path

import numpy as np
import pytest

from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.core import Instance, Sense
from apportion.instances.formats import pglib_uc
from apportion.instances.generate.commitment import generate_commitment
from apportion.instances.reading import read
from apportion.models.commitment.arrays import formulate
from apportion.models.commitment.fleet import Fleet
from apportion.solvers.advisor import Advice
from apportion.solvers.backends import backend_named
from apportion.solvers.commitment.method import indifferent, settled
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Limit, Status
from realdata import data_file

DAY = generate_commitment(seed=4, units=8, periods=12)


def solve(day: UnitCommitment, **options: object) -> Result[Commitment]:
    return solve_instance(day, SolveOptions.build(**options))


def test_shipped_day_is_solved_and_proven() -> None:
    events: list[Event] = []
    day = read(Path(pglib_uc.__file__).parents[1] / "data" / "commitment_small.json")
    result = solve_instance(day, SolveOptions(gap=1e-3), listener=events.append)
    assert result.status is Status.OPTIMAL
    assert result.verdict is not None
    assert result.verdict.ok
    assert 0.0 <= result.bounds.gap <= 1e-3
    kinds = [event.kind for event in events]
    assert kinds[0] is EventKind.START
    assert EventKind.BOUND in kinds
    assert EventKind.INCUMBENT in kinds
    assert kinds[-1] is EventKind.END
    primals = [event.bounds.primal for event in events]
    assert primals == sorted(primals, reverse=True)


@pytest.mark.parametrize("seed", range(6))
def test_same_optimum_with_and_without_help(seed: int) -> None:
    """Whatever is fixed on the way, bound and plan meet: compare with the full program solved at once."""
    day = generate_commitment(seed=seed, units=7, periods=14, renewables=seed % 3)
    options = SolveOptions(gap=1e-7)
    plain = backend_named("highs").run(formulate(day).model.compile(), options, Monitor(Sense.MINIMISE))
    result = solve(day, gap=1e-7)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(plain.bounds.primal, rel=1e-6)
    assert result.bounds.dual <= plain.bounds.primal * (1 + 1e-6)


def test_start_is_used() -> None:
    plan = solve(DAY, gap=1e-4).plan
    letters: list[str] = []
    again = solve_instance(DAY, SolveOptions(gap=1e-3, start=plan), listener=lambda e: letters.append(e.letter))
    assert again.status is Status.OPTIMAL
    assert next(letter for letter in letters if letter) == "S"
    assert again.plan is not None


def test_start_that_breaks_a_rule_is_left_out() -> None:
    plan = solve(DAY, gap=1e-2).plan
    assert plan is not None
    said: list[str] = []
    broken = replace(plan, power_mw=plan.power_mw * 0.5)
    result = solve_instance(DAY, SolveOptions(gap=1e-2, start=broken), listener=lambda e: said.append(e.message))
    assert result.status is Status.OPTIMAL
    assert any("start is rejected" in line for line in said)


@dataclass
class Liar:
    """Advises to leave every unit off, with a plan of that kind."""

    advice: Advice

    def advise(self, instance: Instance) -> Advice:
        return self.advice


def test_wrong_advice_does_no_harm() -> None:
    honest = solve(DAY, gap=1e-6)
    nothing = np.zeros((DAY.num_units, DAY.num_periods))
    renewable = np.zeros((len(DAY.renewable), DAY.num_periods))
    dark = Commitment(DAY.unit_names, DAY.renewable_names, nothing.astype(np.bool_), nothing, nothing, renewable)
    advice = Advice(start=dark, fix=dict.fromkeys(range(nothing.size), 0.0), branch_first=[0], leave_out=["demand"])
    misled = solve_instance(DAY, SolveOptions(gap=1e-6), advisor=Liar(advice))
    assert misled.status is Status.OPTIMAL
    assert misled.objective == pytest.approx(honest.objective, rel=1e-5)


def test_infeasible_day_is_proven() -> None:
    day = replace(DAY, demand_mw=DAY.demand_mw * 3.0)
    result = solve(day)
    assert result.status is Status.INFEASIBLE
    assert result.plan is None
    assert isinf(result.bounds.primal)


def test_cancelled_before_it_begins() -> None:
    stopped = threading.Event()
    stopped.set()
    result = solve_instance(DAY, SolveOptions(), cancelled=stopped)
    assert result.status is Status.NO_SOLUTION
    assert result.limit is Limit.INTERRUPTED


def test_cancelled_with_a_plan_keeps_it() -> None:
    day = generate_commitment(seed=3, units=40, periods=36)
    stopped = threading.Event()

    def listener(event: Event) -> None:
        if event.kind is EventKind.INCUMBENT:
            stopped.set()

    result = solve_instance(day, SolveOptions(gap=0.0), listener=listener, cancelled=stopped)
    assert result.status is Status.FEASIBLE
    assert result.limit is Limit.INTERRUPTED
    assert result.verdict is not None
    assert result.verdict.ok


def test_deterministic_runs_agree() -> None:
    day = generate_commitment(seed=8, units=10, periods=24)
    one, two = (solve(day, gap=1e-3, deterministic=True, seed=5) for _ in range(2))
    assert one.plan is not None
    assert one.plan == two.plan
    assert one.bounds == two.bounds


def test_settled_needs_the_neighbours() -> None:
    commit = np.array([[0.0, 0.0, 0.5, 1.0, 1.0, 1.0]])
    assert settled(commit, 0).tolist() == [[True, True, False, True, True, True]]
    assert settled(commit, 1).tolist() == [[True, False, False, False, True, True]]


def test_indifferent_needs_a_stretch_as_long_as_a_run() -> None:
    day = generate_commitment(seed=1, units=1, periods=6)
    fleet = replace(Fleet.of(day), min_up=np.array([3]), min_down=np.array([2]))
    price = np.array([[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
    assert indifferent(price, np.zeros((1, 6)), fleet).tolist() == [[False, False, False, True, True, True]]
    assert indifferent(price, np.ones((1, 6)), fleet).tolist() == [[True, True, False, True, True, True]]


def measured(name: str) -> dict[str, float]:
    with data_file("power/pglib-uc/measured_bounds.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["instance"] == name)
    return {key: float(row[key]) for key in ("best_primal", "best_dual")}


def consistent(name: str, time_limit_s: float) -> Result[Commitment]:
    """Solve a file of the library and hold the claims against what others have proven and found."""
    day = read(data_file(f"power/pglib-uc/{name}.json"))
    result: Result[Commitment] = solve_instance(day, SolveOptions(gap=1e-3, time_limit_s=time_limit_s))
    assert result.verdict is not None, result.message
    assert result.verdict.ok
    known = measured(name)
    assert result.bounds.dual <= known["best_primal"] * (1 + 1e-6)
    assert result.objective >= known["best_dual"] * (1 - 1e-6)
    return result


@pytest.mark.data
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_summer_day_to_a_tenth_of_a_per_cent() -> None:
    assert consistent("rts_gmlc/2020-06-09", 600.0).bounds.gap <= 1e-3


@pytest.mark.data
@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["rts_gmlc/2020-12-23", "rts_gmlc/2020-01-27", "ca/2015-06-01_reserves_0"])
def test_claims_are_consistent_with_what_is_known(name: str) -> None:
    assert consistent(name, 300.0).bounds.gap <= 2e-2
