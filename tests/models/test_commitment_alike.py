"""Which units count as one kind, and how numbers of them come apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from apportion.instances.commitment import StartupCategory, ThermalUnit, UnitCommitment
from apportion.models.commitment.alike import Alike
from apportion.models.commitment.arrays import formulate
from tiny_fleets import filler, full_optimum, optimum, tiny_fleet

UNIT = replace(filler(10.0), name="a", min_up_h=2, min_down_h=2, initial_up_h=5, startup=(StartupCategory(2, 40.0),))


def fleet(*units: ThermalUnit, periods: int = 6) -> UnitCommitment:
    named = tuple(replace(unit, name=f"unit {k}") for k, unit in enumerate(units))
    return UnitCommitment("alike", np.full(periods, 5.0), np.zeros(periods), named)


def off(hours: int, **changes: Any) -> ThermalUnit:
    return replace(UNIT, initially_on=False, initial_power_mw=0.0, initial_up_h=0, initial_down_h=hours, **changes)


def test_only_what_a_rule_looks_at_tells_units_apart() -> None:
    long_on, just_on = replace(UNIT, initial_up_h=2), replace(UNIT, initial_up_h=1)
    hotter = replace(UNIT, startup=(StartupCategory(2, 39.0),))
    alike = Alike.of(fleet(UNIT, hotter, long_on, just_on, off(2), off(3), off(9), off(1)))
    assert alike.members == ((0, 2), (1,), (3,), (4, 5, 6), (7,))
    assert alike.count.tolist() == [2.0, 1.0, 1.0, 3.0, 1.0]


def test_hours_off_count_up_to_the_coldest_start() -> None:
    two = (StartupCategory(2, 40.0), StartupCategory(6, 60.0))
    alike = Alike.of(fleet(off(5, startup=two), off(6, startup=two), off(7, startup=two)))
    assert alike.members == ((0,), (1, 2))


def test_the_longest_on_stops_first_and_the_warmest_starts() -> None:
    alike = Alike.of(fleet(UNIT, UNIT, UNIT, periods=7))
    states = alike.spread(np.array([[2, 1, 2, 2, 3, 2, 2]]))
    assert states is not None
    # 0 stops, then 1; 0 is back when its stop of two hours is over, then 1; the third has been on longest by then
    expected = [[0, 0, 1, 1, 1, 1, 1], [1, 0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0]]
    assert states.astype(int).tolist() == expected


def test_numbers_that_minimum_times_forbid_do_not_come_apart() -> None:
    alike = Alike.of(fleet(UNIT, UNIT))
    assert alike.spread(np.array([[0, 1, 1, 1, 1, 1]])) is None
    assert alike.spread(np.array([[0, 0, 2, 1, 1, 1]])) is None
    assert alike.spread(np.array([[3, 2, 2, 2, 2, 2]])) is None


def test_the_model_in_numbers_is_a_relaxation() -> None:
    for seed in range(20, 40):
        instance = tiny_fleet(seed, periods=5)
        alike = Alike.of(instance)
        best = full_optimum(instance)
        assert optimum(formulate(alike.instance, alike.count).model.compile()) <= best + 1e-6 * max(1.0, abs(best))
