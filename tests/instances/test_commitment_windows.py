"""Cutting a commitment into windows: the state handed over, hour by hour, against a slow walk through the plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.commitment import Commitment, ThermalUnit, UnitCommitment
from apportion.instances.commitment_windows import FleetState, hours_of, joined, joined_plan
from apportion.instances.errors import InstanceError, OptionError
from apportion.instances.generate.commitment import generate_commitment

DAY = generate_commitment(seed=4, units=4, periods=12)


def any_plan(instance: UnitCommitment, seed: int) -> Commitment:
    """States and outputs within the limits of each unit, whatever the demand."""
    random = np.random.default_rng(seed)
    shape = (instance.num_units, instance.num_periods)
    on = random.random(shape) < 0.5
    least = np.array([[unit.power_min_mw] for unit in instance.thermal])
    most = np.array([[unit.power_max_mw] for unit in instance.thermal])
    power = np.where(on, least + random.random(shape) * (most - least), 0.0)
    renewable = np.zeros((len(instance.renewable), instance.num_periods))
    return Commitment(instance.unit_names, instance.renewable_names, on, power, 0.0 * power, renewable)


def walked(unit: ThermalUnit, states: list[bool]) -> tuple[bool, int]:
    """The state and its length after these hours, one by one."""
    on, hours = unit.initially_on, unit.initial_up_h if unit.initially_on else unit.initial_down_h
    for now in states:
        on, hours = now, hours + 1 if now == on else 1
    return on, hours


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 12))
def test_the_state_is_that_of_a_walk_hour_by_hour(seed: int, cut: int) -> None:
    plan = any_plan(DAY, seed)
    state = FleetState.before(DAY).after(hours_of(plan, 0, cut)).after(hours_of(plan, cut, 12 - cut))
    for g, unit in enumerate(DAY.thermal):
        on, hours = walked(unit, plan.committed[g].tolist())
        assert (bool(state.on[g]), int(state.hours[g])) == (on, hours)
        assert state.power_mw[g] == plan.power_mw[g, -1]


def test_a_window_has_the_hours_and_the_state() -> None:
    plan = any_plan(DAY, 3)
    part = FleetState.before(DAY).after(hours_of(plan, 0, 5)).continued(DAY, 5, 4)
    assert np.array_equal(part.demand_mw, DAY.demand_mw[5:9])
    assert np.array_equal(part.renewable[1].power_max_mw, DAY.renewable[1].power_max_mw[5:9])
    for g, unit in enumerate(part.thermal):
        assert unit.initially_on == plan.committed[g, 4]
        assert unit.initial_power_mw == plan.power_mw[g, 4]


def one_unit(**changes: object) -> UnitCommitment:
    unit = next(unit for unit in DAY.thermal if unit.initially_on)
    unit = replace(unit, shutdown_limit_mw=unit.power_min_mw + 5.0, **changes)  # type: ignore[arg-type]
    return UnitCommitment("one", np.full(4, 50.0), np.zeros(4), (unit,))


def held(instance: UnitCommitment, reserve: float) -> ThermalUnit:
    """The unit after two hours at least output with some reserve."""
    least = instance.thermal[0].power_min_mw
    power = np.full((1, 2), least)
    plan = Commitment(
        instance.unit_names, (), np.ones((1, 2), np.bool_), power, np.full((1, 2), reserve), np.zeros((0, 2))
    )
    return FleetState.before(instance).after(plan).continued(instance, 2, 2).thermal[0]


@pytest.mark.parametrize("min_up_h", [1, 2, 5])
def test_reserve_in_the_last_hour_forbids_a_stop_at_once_and_only_that(min_up_h: int) -> None:
    instance = one_unit(min_up_h=min_up_h, initial_up_h=40)
    free, bound = held(instance, 4.0), held(instance, 6.0)
    assert free.initial_up_h - free.min_up_h >= 0  # may stop
    assert bound.min_up_h - bound.initial_up_h == 1  # for one hour more
    assert bound.min_up_h == max(min_up_h, 2)


def test_a_unit_held_on_anyway_is_left_alone() -> None:
    instance = one_unit(min_up_h=9, initial_up_h=1)
    assert held(instance, 6.0).initial_up_h == 3


def test_outputs_next_to_a_limit_are_on_it() -> None:
    plan = any_plan(DAY, 8)
    g = int(np.flatnonzero(plan.committed[:, -1])[0])
    power = np.array(plan.power_mw)
    power[g, -1] = DAY.thermal[g].power_max_mw + 5e-8
    state = FleetState.before(DAY).after(replace(plan, power_mw=power))
    assert state.continued(DAY, 0, 3).thermal[g].initial_power_mw == DAY.thermal[g].power_max_mw


def test_plans_are_cut_and_joined() -> None:
    plan = any_plan(DAY, 11)
    assert joined_plan([hours_of(plan, 0, 4), hours_of(plan, 4, 1), hours_of(plan, 5, 7)]) == plan


def test_overlapping_days_are_joined() -> None:
    days = [replace(DAY, name=f"day {k}", demand_mw=DAY.demand_mw + k) for k in range(3)]
    whole = joined(days, hours_each=6)
    assert whole.num_periods == 6 + 6 + 12
    assert np.array_equal(whole.demand_mw[6:12], DAY.demand_mw[:6] + 1)
    assert np.array_equal(whole.demand_mw[12:], DAY.demand_mw + 2)
    assert joined([DAY]).thermal == DAY.thermal


def test_other_units_are_named() -> None:
    changed = replace(DAY.thermal[1], ramp_up_mw=DAY.thermal[1].ramp_up_mw + 1.0)
    other = replace(DAY, name="other", thermal=(DAY.thermal[0], changed, *DAY.thermal[2:]))
    with pytest.raises(InstanceError, match=DAY.thermal[1].name):
        joined([DAY, other])
    with pytest.raises(OptionError, match=r"1\.\.12"):
        joined([DAY, DAY], hours_each=13)
    with pytest.raises(OptionError, match="nothing to join"):
        joined([])
