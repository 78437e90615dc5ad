"""The check: a good plan passes, and each rule broken once is named with unit, hour and amount."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.commitment import (
    Commitment,
    ProductionPoint,
    RenewableUnit,
    StartupCategory,
    ThermalUnit,
    UnitCommitment,
)
from apportion.instances.errors import PlanError
from apportion.models.checking import check
from apportion.models.verdict import Verdict

BASE = ThermalUnit(
    name="base",
    power_min_mw=50.0,
    power_max_mw=100.0,
    ramp_up_mw=20.0,
    ramp_down_mw=20.0,
    startup_limit_mw=60.0,
    shutdown_limit_mw=60.0,
    min_up_h=3,
    min_down_h=2,
    initially_on=True,
    initial_power_mw=70.0,
    initial_up_h=2,
    initial_down_h=0,
    startup=(StartupCategory(2, 100.0), StartupCategory(4, 300.0)),
    production=(ProductionPoint(50.0, 500.0), ProductionPoint(80.0, 800.0), ProductionPoint(100.0, 1200.0)),
)
PEAK = replace(
    BASE,
    name="peak",
    power_min_mw=10.0,
    power_max_mw=40.0,
    ramp_up_mw=30.0,
    ramp_down_mw=30.0,
    startup_limit_mw=40.0,
    shutdown_limit_mw=40.0,
    min_up_h=1,
    min_down_h=1,
    initially_on=False,
    initial_power_mw=0.0,
    initial_up_h=0,
    initial_down_h=3,
    startup=(StartupCategory(1, 10.0), StartupCategory(5, 25.0)),
    production=(ProductionPoint(10.0, 300.0), ProductionPoint(40.0, 1500.0)),
)
WIND = RenewableUnit("wind", np.array([0.0, 0.0, 5.0, 5.0, 0.0, 0.0]), np.array([20.0, 20.0, 30.0, 30.0, 10.0, 0.0]))
DAY = UnitCommitment(
    name="day",
    demand_mw=np.array([90.0, 80.0, 25.0, 35.0, 60.0, 90.0]),
    reserve_mw=np.array([5.0, 5.0, 5.0, 5.0, 0.0, 10.0]),
    thermal=(BASE, PEAK),
    renewable=(WIND,),
)
GOOD = Commitment(
    unit_names=("base", "peak"),
    renewable_names=("wind",),
    committed=np.array([[1, 1, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1]], dtype=np.bool_),
    power_mw=np.array([[72.0, 60.0, 0.0, 0.0, 55.0, 70.0], [0.0, 0.0, 10.0, 15.0, 0.0, 20.0]]),
    reserve_mw=np.array([[10.0, 0.0, 0.0, 0.0, 0.0, 5.0], [0.0, 0.0, 10.0, 20.0, 0.0, 15.0]]),
    renewable_mw=np.array([[18.0, 20.0, 15.0, 20.0, 5.0, 0.0]]),
)
# reserve in hour 2: none of the units holds it, so the day asks for none there
DAY = replace(DAY, reserve_mw=np.array([5.0, 0.0, 5.0, 5.0, 0.0, 10.0]))


def verdict(day: UnitCommitment = DAY, **changes: Any) -> Verdict:
    return check(day, replace(GOOD, **changes))


def put(name: str, *changes: tuple[int, int, float]) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = getattr(GOOD, name).copy()
    for row, hour, value in changes:
        array[row, hour - 1] = value
    return array


def with_unit(row: int, **changes: Any) -> UnitCommitment:
    units = list(DAY.thermal)
    units[row] = replace(units[row], **changes)
    return replace(DAY, thermal=tuple(units))


def test_good_plan_and_its_cost_by_hand() -> None:
    found = verdict()
    assert found.ok, found.violations
    base = [500 + 22 * 10, 500 + 10 * 10, 500 + 5 * 10, 500 + 20 * 10]
    peak = [300, 300 + 5 * 40, 300 + 10 * 40]
    # base restarts after 2 h (hot); peak after 3 + 2 h off before the horizon and in it (cold), then after 1 h (hot)
    starts = 100 + 25 + 10
    assert found.objective == pytest.approx(sum(base) + sum(peak) + starts)
    assert found.measures["start-up cost"] == starts
    assert found.measures["production cost"] == sum(base) + sum(peak)
    assert (found.measures["starts"], found.measures["stops"]) == (3.0, 2.0)
    assert found.measures["curtailed (MWh)"] == pytest.approx(110.0 - 78.0)


CASES: dict[str, tuple[UnitCommitment, dict[str, Any], str, float]] = {
    "power balance": (DAY, {"renewable_mw": put("renewable_mw", (0, 1, 17.0))}, "hour 1", 1.0),
    "reserve": (DAY, {"reserve_mw": put("reserve_mw", (0, 6, 0.0), (1, 6, 8.0))}, "hour 6", 2.0),
    "renewable maximum": (DAY, {"renewable_mw": put("renewable_mw", (0, 5, 11.0))}, "wind, hour 5", 1.0),
    "renewable minimum": (DAY, {"renewable_mw": put("renewable_mw", (0, 3, 4.0))}, "wind, hour 3", 1.0),
    "must run": (with_unit(0, must_run=True), {}, "base, hour 3", 1.0),
    "minimum up time": (with_unit(0, min_up_h=6), {}, "base, hour 3", 2.0),
    "minimum down time": (with_unit(0, min_down_h=3), {}, "base, hour 5", 1.0),
    "output while off": (DAY, {"power_mw": put("power_mw", (0, 3, 2.0))}, "base, hour 3", 2.0),
    "reserve while off": (DAY, {"reserve_mw": put("reserve_mw", (1, 5, 2.0))}, "peak, hour 5", 2.0),
    "negative reserve": (DAY, {"reserve_mw": put("reserve_mw", (0, 2, -1.0))}, "base, hour 2", 1.0),
    "minimum output": (DAY, {"power_mw": put("power_mw", (1, 3, 9.0))}, "peak, hour 3", 1.0),
    "maximum output": (DAY, {"reserve_mw": put("reserve_mw", (1, 6, 21.0))}, "peak, hour 6", 1.0),
    "ramp up": (DAY, {"reserve_mw": put("reserve_mw", (0, 1, 19.0))}, "base, hour 1", 1.0),
    "ramp down": (with_unit(0, ramp_down_mw=11.0), {}, "base, hour 2", 1.0),
    "start-up limit": (with_unit(0, startup_limit_mw=54.0), {}, "base, hour 5", 1.0),
    "shut-down limit": (with_unit(0, shutdown_limit_mw=58.0), {}, "base, hour 2", 2.0),
}


@pytest.mark.parametrize("rule", CASES)
def test_each_rule_broken_once_is_named(rule: str) -> None:
    day, changes, place, amount = CASES[rule]
    found = {(v.rule, v.place): v for v in verdict(day, **changes).violations}
    assert (rule, place) in found, found
    assert found[rule, place].amount == pytest.approx(amount)
    assert found[rule, place].unit in ("MW", "h")


def test_ramps_reach_back_to_the_initial_output() -> None:
    found = verdict(with_unit(0, initial_power_mw=95.0))
    assert [(v.rule, v.place, v.amount) for v in found.violations] == [("ramp down", "base, hour 1", 3.0)]


def test_unit_that_is_too_high_to_stop_at_once() -> None:
    off = put("committed", (0, 1, 0), (0, 2, 0)).astype(np.bool_)
    found = verdict(with_unit(0, initial_power_mw=66.0, initial_up_h=9), committed=off)
    assert ("shut-down limit", "base, hour 0") in {(v.rule, v.place) for v in found.violations}


def test_hours_off_count_from_before_the_horizon() -> None:
    assert verdict(with_unit(1, initial_down_h=2)).measures["start-up cost"] == 100 + 10 + 10


def test_plan_for_other_units_is_an_error() -> None:
    with pytest.raises(PlanError, match="lacks a unit"):
        check(replace(DAY, renewable=()), replace(GOOD, unit_names=("base", "other")))


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([f.name for f in fields(GOOD) if f.name.endswith("_mw")]),
    st.integers(0, 1),
    st.integers(0, 5),
    st.floats(0.001, 1e6) | st.floats(-1e6, -0.001),
)
def test_any_change_of_output_and_any_lost_reserve_is_noticed(name: str, row: int, hour: int, by: float) -> None:
    if name == "reserve_mw":  # there is some to spare: lose more than all of it
        by = -abs(by) - float(GOOD.reserve_mw.sum())
    array = getattr(GOOD, name).copy()
    row = min(row, len(array) - 1)
    array[row, hour] += by
    assert not verdict(**{name: array}).ok
