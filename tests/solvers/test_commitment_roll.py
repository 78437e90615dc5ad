"""The rolling horizon: the joined plan keeps every rule of the whole, whatever the windows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apportion
from apportion.cli import main
from apportion.instances.commitment import Commitment, ProductionPoint, StartupCategory, ThermalUnit, UnitCommitment
from apportion.instances.errors import OptionError
from apportion.instances.generate.commitment import generate_commitment
from apportion.models.checking import check
from apportion.solvers.commitment_chain.memory import Memory
from apportion.solvers.commitment_chain.roll import RolledCommitment, Window, roll
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status

QUICK = SolveOptions(gap=0.05, time_limit_s=20.0)


def commitment(seed: int, units: int = 4, periods: int = 36) -> UnitCommitment:
    return generate_commitment(seed=seed, units=units, periods=periods, reserve_share=0.08)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 12), st.booleans())
def test_every_joined_plan_passes_the_check_of_the_whole(seed: int, keep: int, ahead: int, warm: bool) -> None:
    instance = commitment(seed, periods=24)
    rolled = roll(instance, keep + ahead, keep, options=QUICK, warm=warm)
    if rolled.plan is None:  # short sight may end where there is no way on: said, never glossed over
        assert rolled.failed_at is not None
        assert rolled.status is Status.INFEASIBLE
        return
    verdict = check(instance, rolled.plan)
    assert verdict.ok, verdict.violations
    assert verdict.objective == pytest.approx(sum(window.cost for window in rolled.windows), rel=1e-9)
    assert sum(window.kept for window in rolled.windows) == 24


def test_one_window_is_a_plain_solve() -> None:
    instance = commitment(3, periods=12)
    rolled = roll(instance, 12, 12, options=SolveOptions(gap=0.0))
    assert rolled.status is Status.OPTIMAL
    assert rolled.cost == pytest.approx(solve_instance(instance, SolveOptions(gap=0.0)).objective, rel=1e-7)


def test_no_window_beats_the_whole() -> None:
    instance = commitment(5, periods=24)
    whole = solve_instance(instance, SolveOptions(gap=1e-4))
    for keep in (3, 8):
        assert roll(instance, keep + 6, keep, options=SolveOptions(gap=1e-4)).cost >= whole.bounds.dual - 1e-6


def fast_and_slow() -> UnitCommitment:
    """A cheap unit that has to hold reserve in the hour in which the window ends, and could stop in the next."""

    def unit(name: str, most: float, cost: float, limit: float, **rest: object) -> ThermalUnit:
        points = (ProductionPoint(10.0, 10.0 * cost), ProductionPoint(most, most * cost))
        numbers = {"ramp_up_mw": 500.0, "ramp_down_mw": 500.0, "min_up_h": 1, "min_down_h": 1, **rest}
        return ThermalUnit(
            name=name,
            power_min_mw=10.0,
            power_max_mw=most,
            startup_limit_mw=500.0,
            shutdown_limit_mw=limit,
            initially_on=True,
            initial_power_mw=20.0,
            initial_up_h=5,
            initial_down_h=0,
            startup=(StartupCategory(1, 1.0),),
            production=points,
            **numbers,  # type: ignore[arg-type]
        )

    demand = np.array([60.0, 60.0, 40.0, 40.0])
    reserve = np.array([30.0, 30.0, 0.0, 0.0])
    units = (unit("base", 70.0, 20.0, 500.0, must_run=True), unit("mid", 60.0, 30.0, 25.0))
    return UnitCommitment("seam", demand, reserve, units)


def test_reserve_held_at_a_seam_is_not_forgotten() -> None:
    instance = fast_and_slow()
    rolled = roll(instance, 2, 2, options=SolveOptions(gap=0.0))
    assert rolled.plan is not None
    assert rolled.verdict is not None
    assert rolled.verdict.ok, rolled.verdict.violations
    # the trap is real: what the reserve forbids in the third hour is what would be cheapest there
    full = rolled.plan.power_mw[1, 1] + rolled.plan.reserve_mw[1, 1]
    assert full > instance.thermal[1].shutdown_limit_mw
    assert rolled.plan.committed[1, 2]
    stopped = replace(rolled.plan, committed=np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.bool_))
    assert any(violation.rule == "shut-down limit" for violation in check(instance, stopped).violations)


def test_a_dead_end_is_met_by_looking_further() -> None:
    """Whoever sees one hour stops the slow unit, which the second then lacks for four hours."""
    base = fast_and_slow()
    slow = replace(base.thermal[1], min_down_h=4, shutdown_limit_mw=500.0, initial_up_h=9)
    cheap = replace(base.thermal[0], must_run=True)
    demand = np.array([40.0, 40.0, 110.0, 110.0])
    instance = UnitCommitment("dead end", demand, np.zeros(4), (cheap, slow))
    rolled = roll(instance, 1, 1, options=SolveOptions(gap=0.0))
    assert rolled.retries > 0
    assert rolled.verdict is not None
    assert rolled.verdict.ok


def test_a_horizon_without_a_plan_says_where_it_ends() -> None:
    instance = commitment(2, periods=12)
    demand = np.array(instance.demand_mw)
    demand[9] = 1e5
    rolled = roll(replace(instance, demand_mw=demand), 4, 4, options=QUICK)
    assert rolled.plan is None
    assert rolled.verdict is None
    assert rolled.failed_at is not None
    assert rolled.cost == float("inf")


def test_listeners_hear_of_every_window() -> None:
    heard: list[Window] = []
    rolled = roll(commitment(1, periods=12), 6, 4, options=QUICK, on_window=heard.append)
    assert tuple(heard) == rolled.windows
    assert [(window.first, window.length, window.kept) for window in heard] == [(0, 6, 4), (4, 6, 4), (8, 4, 4)]


@pytest.mark.parametrize(("window", "keep"), [(0, 0), (3, 4), (4, 0), (2, -1), (2.0, 1), (True, True)])
def test_windows_out_of_range_are_refused(window: int, keep: int) -> None:
    with pytest.raises(OptionError, match="hours kept"):
        roll(commitment(1, periods=6), window, keep)


def test_memory_gives_the_states_planned_before() -> None:
    instance = commitment(6, periods=12)
    first = roll(instance, 12, 12, options=QUICK)
    assert first.plan is not None
    part = replace(instance, name="next")
    advice = Memory(first.plan, 4).advise(part)
    assert isinstance(advice.start, Commitment)
    assert np.array_equal(advice.start.committed[:, :8], first.plan.committed[:, 4:])
    other = generate_commitment(seed=6, units=3, periods=12)
    assert Memory(first.plan, 4).advise(other).start is None


def test_memory_looks_a_day_back_for_later_hours() -> None:
    states = np.zeros((1, 48), np.bool_)
    none = np.zeros((1, 48))
    plan = Commitment(("a",), (), states, none, none, np.zeros((0, 48)))
    assert Memory(plan, 24).hours_before(48).tolist() == [*range(24, 48), *range(24, 48)]
    assert Memory(plan, 48).hours_before(48).tolist() == [*range(24, 48), *range(24, 48)]
    assert Memory(plan, 6).hours_before(4).tolist() == [6, 7, 8, 9]
    short = Commitment(("a",), (), states[:, :6], none[:, :6], none[:, :6], np.zeros((0, 6)))
    assert Memory(short, 6).hours_before(6).tolist() == [0] * 6


@pytest.mark.long
def test_a_year_of_days_has_no_seam_error() -> None:
    instance = commitment(9, units=5, periods=24 * 365)
    rolled = roll(instance, 36, 24, options=SolveOptions(gap=0.02, time_limit_s=20.0))
    assert rolled.verdict is not None
    assert rolled.verdict.ok, rolled.verdict.violations[:5]
    assert len(rolled.windows) == 365


# the face


def test_the_face_takes_instances_and_files(tmp_path: Path) -> None:
    days = [commitment(1, periods=12), replace(commitment(1, periods=12), name="second")]
    files = [tmp_path / f"{k}.json" for k in range(2)]
    for day, file in zip(days, files, strict=True):
        apportion.write(day, file)
    by_file = apportion.roll([str(file) for file in files], window=8, keep=4, hours_each=6, gap=0.01)
    by_instance = apportion.roll(days, window=8, keep=4, hours_each=6, gap=0.01)
    assert isinstance(by_file, RolledCommitment)
    assert isinstance(by_instance, RolledCommitment)
    assert by_file.instance.num_periods == 18
    assert by_file.plan == by_instance.plan
    with pytest.raises(OptionError, match="does not roll"):
        apportion.roll(apportion.generate("vehicle-routing", 1, clients=4))
    with pytest.raises(OptionError, match="unknown option"):
        apportion.roll(days[0], gapp=0.1)


def test_the_face_rolls_power_flows_too() -> None:
    flow = apportion.generate("optimal-power-flow", 1, buses=4, periods=6, storage=1)
    assert apportion.roll(flow, window=4, keep=2).num_windows == 3  # type: ignore[union-attr]


def test_the_command_writes_what_the_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "days.json", tmp_path / "out"
    apportion.write(commitment(1, periods=18), file)
    assert main(["roll", str(file), "--window", "9", "--keep", "6", "--out", str(out), "--gap", "0.01"]) == 0
    printed = capsys.readouterr()
    assert "keeps every rule over the whole horizon" in printed.out
    assert printed.err.count("hours") == 3
    lines = [json.loads(line) for line in (out / "windows.jsonl").read_text().splitlines()]
    assert [line["first"] for line in lines] == [0, 6, 12]
    instance = apportion.read(out / "instance.json")
    plan = apportion.read_plan(out / "instance.plan.json", instance)
    assert check(instance, plan).objective == pytest.approx(sum(line["cost"] for line in lines))


def test_the_command_says_when_there_is_no_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instance = commitment(2, periods=12)
    demand = np.array(instance.demand_mw)
    demand[9] = 1e5
    file = tmp_path / "days.json"
    apportion.write(replace(instance, demand_mw=demand), file)
    code = main(["roll", str(file), "--window", "4", "--keep", "4", "--out", str(tmp_path / "out"), "--gap", "0.01"])
    assert code == 3
    assert "no plan" in capsys.readouterr().out
