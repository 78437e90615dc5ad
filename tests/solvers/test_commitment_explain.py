"""What would make an impossible day possible, counted once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apportion.instances.commitment import ProductionPoint, StartupCategory, ThermalUnit, UnitCommitment
from apportion.models.commitment.screens import screen_hours
from apportion.models.explaining import Diagnosis
from apportion.solvers.explain import explain
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status


def unit(name: str, least: float, most: float, min_down_h: int) -> ThermalUnit:
    return ThermalUnit(
        name=name,
        power_min_mw=least,
        power_max_mw=most,
        ramp_up_mw=500.0,
        ramp_down_mw=500.0,
        startup_limit_mw=500.0,
        shutdown_limit_mw=500.0,
        min_up_h=1,
        min_down_h=min_down_h,
        initially_on=True,
        initial_power_mw=least,
        initial_up_h=9,
        initial_down_h=0,
        startup=(StartupCategory(min_down_h, 10.0),),
        production=(ProductionPoint(least, 10.0 * least), ProductionPoint(most, 10.0 * most)),
    )


def dip(reserve: float) -> UnitCommitment:
    """The large unit must stop in the second hour and cannot be back in the third, where the small one gives 20 MW."""
    units = (unit("large", 60.0, 100.0, min_down_h=2), unit("small", 0.0, 20.0, min_down_h=1))
    return UnitCommitment("dip", np.array([70.0, 0.0, 70.0]), np.array([reserve, 0.0, reserve]), units)


@pytest.mark.parametrize("reserve", [0.0, 5.0])
def test_missing_energy_is_not_missing_reserve_as_well(reserve: float) -> None:
    """50 MW of demand and the reserve are missing; to run on through the dip would take 60 MW more demand there."""
    instance = dip(reserve)
    assert not screen_hours(instance)
    explanation = explain(instance)
    assert explanation.diagnosis is Diagnosis.INFEASIBLE
    assert explanation.relaxation is not None
    assert explanation.relaxation.cost == pytest.approx(50.0 + reserve)


def test_the_change_that_is_proposed_suffices() -> None:
    instance = dip(5.0)
    assert solve_instance(instance).status is Status.INFEASIBLE
    changed = replace(instance, demand_mw=np.array([70.0, 0.0, 15.0]))
    assert solve_instance(changed).status is Status.OPTIMAL
