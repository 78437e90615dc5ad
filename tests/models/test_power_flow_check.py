"""The check of power flow plans: it accepts what keeps every rule and names what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from apportion.instances.errors import PlanError
from apportion.instances.generate.power_flow import generate_power_flow
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import Physics, PowerFlowPlan
from apportion.models.power_flow.check import branch_flows, branch_loading, check
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.power_flow.method import solve_dc, solve_dispatch


def day() -> OptimalPowerFlow:
    return generate_power_flow(5, 6, 3, 1)


def planned(instance: OptimalPowerFlow, method: Any = solve_dc) -> PowerFlowPlan:
    plan = method(instance, SolveOptions(), Monitor(instance.sense)).plan
    assert isinstance(plan, PowerFlowPlan)
    return plan


def two_buses(angle_deg: float, voltage: float) -> tuple[OptimalPowerFlow, PowerFlowPlan]:
    """One line, and loads chosen so that the given voltages are exactly right, by admittance matrix."""
    base = generate_power_flow(1, 2)
    one = np.ones(1)
    line = replace(base.branches, rate_mva=200.0 * one, tap=0.97 * one, shift_deg=4.0 * one)
    series = 1.0 / complex(line.resistance[0], line.reactance[0])
    shunt = 0.5j * line.charging[0]
    tap = line.tap[0] * np.exp(1j * np.deg2rad(line.shift_deg[0]))
    matrix = np.array([[(series + shunt) / abs(tap) ** 2, -series / np.conj(tap)], [-series / tap, series + shunt]])
    volts = np.array([1.0, voltage * np.exp(1j * np.deg2rad(angle_deg))])
    if not base.buses.reference[0]:
        volts = volts * np.exp(-1j * np.deg2rad(angle_deg))
    power = 100.0 * volts * np.conj(matrix @ volts)
    output = base.generators.power_min_mw + 10.0
    given = np.zeros(2, np.complex128)
    np.add.at(given, base.generators.bus, output + 5j)
    load = given - power
    instance = replace(base, branches=line, load_mw=load.real[None, :], load_mvar=load.imag[None, :])
    plan = PowerFlowPlan(
        Physics.AC,
        base.buses.names,
        base.generators.names,
        (),
        power_mw=output[None, :],
        reactive_mvar=np.full((1, 2), 5.0),
        voltage=np.abs(volts)[None, :],
        angle_deg=np.rad2deg(np.angle(volts))[None, :],
        charge_mw=np.zeros((1, 0)),
        discharge_mw=np.zeros((1, 0)),
        energy_mwh=np.zeros((1, 0)),
        price_mwh=np.full((1, 2), np.nan),
    )
    return instance, plan


def test_complex_powers_are_those_of_the_admittance_matrix() -> None:
    instance, plan = two_buses(-3.0, 0.98)
    verdict = check(instance, plan)
    assert verdict.ok, verdict.violations
    assert verdict.measures["largest mismatch (MVA)"] < 1e-9
    ends = branch_flows(instance, plan)
    assert (ends[0] + ends[1]).real.sum() == pytest.approx(verdict.measures["losses and shunts (MWh)"])
    assert branch_loading(instance, plan).shape == (1, 1)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"voltage": np.array([[1.0, 1.2]])}, "voltage limit"),
        ({"angle_deg": np.array([[0.0, -2.9]])}, "power balance"),
        ({"reactive_mvar": np.array([[5.0, 6.0]])}, "reactive balance"),
        ({"reactive_mvar": np.array([[5.0, 1e4]])}, "reactive limit"),
        ({"power_mw": np.array([[-10.0, 10.0]])}, "output limit"),
        ({"angle_deg": np.array([[0.0, -50.0]])}, "angle difference"),
        ({"angle_deg": np.array([[0.0, -50.0]])}, "branch rating"),
    ],
)
def test_each_rule_of_ac_is_named(changes: dict[str, Any], rule: str) -> None:
    instance, plan = two_buses(-3.0, 0.98)
    assert rule in {violation.rule for violation in check(instance, replace(plan, **changes)).violations}


def test_each_rule_of_storage_is_named() -> None:
    instance = day()
    plan = planned(instance)
    assert check(instance, plan).ok
    size = float(instance.storage.charge_max_mw[0])
    cases: list[tuple[dict[str, Any], str]] = [
        ({"energy_mwh": plan.energy_mwh + 1.0}, "state of charge"),
        ({"energy_mwh": plan.energy_mwh * 0.0}, "energy limit"),
        ({"charge_mw": plan.charge_mw + 2 * size}, "charge limit"),
        ({"discharge_mw": plan.discharge_mw - 2 * size}, "discharge limit"),
        ({"charge_mw": plan.charge_mw + 1.0, "discharge_mw": plan.discharge_mw + 1.0}, "charge and discharge at once"),
    ]
    for changes, rule in cases:
        assert rule in {v.rule for v in check(instance, replace(plan, **changes)).violations}


def test_ramps_wind_and_islands_are_checked() -> None:
    instance = day()
    plan = planned(instance, solve_dispatch)
    assert check(instance, plan).ok
    steep = replace(instance, generators=replace(instance.generators, ramp_mw_h=np.full(2, 1e-3)))
    assert "ramp limit" in {v.rule for v in check(steep, plan).violations}
    calm = replace(instance, available_mw=np.zeros((3, 2)))
    assert "output limit" in {v.rule for v in check(calm, plan).violations}
    more = replace(plan, power_mw=plan.power_mw + 1.0)
    assert "power balance at island 1, period 1" in str(check(instance, more).violations[0])


def test_the_cost_is_recomputed_from_the_curves() -> None:
    instance = day()
    plan = planned(instance)
    generators = instance.generators
    by_hand = (generators.cost_quadratic * plan.power_mw**2 + generators.cost_linear * plan.power_mw).sum()
    assert check(instance, plan).objective == pytest.approx(by_hand)
    assert check(replace(instance, period_h=0.5), plan).objective == pytest.approx(by_hand / 2)
    nothing = np.zeros(2)
    bent = replace(
        generators,
        cost_quadratic=nothing,
        cost_linear=nothing,
        curves=(((0.0, 0.0), (10.0, 100.0), (20.0, 400.0)), ((0.0, 7.0), (1.0, 7.0))),
    )
    fixed = replace(plan, power_mw=np.tile([15.0, 3.0], (3, 1)))
    assert check(replace(instance, generators=bent), fixed).objective == pytest.approx(3 * (250.0 + 7.0))


def test_order_does_not_matter_and_strangers_are_refused() -> None:
    instance = day()
    plan = planned(instance)
    turned = replace(plan, generator_names=plan.generator_names[::-1], power_mw=plan.power_mw[:, ::-1])
    assert check(instance, turned).objective == pytest.approx(check(instance, plan).objective)
    with pytest.raises(PlanError):
        check(generate_power_flow(5, 7, 3, 1), plan)


@pytest.mark.parametrize("physics", [Physics.DC, Physics.DC_MATPOWER])
def test_a_plan_is_held_to_the_physics_that_it_claims(physics: Physics) -> None:
    instance = day()
    tapped = replace(instance, branches=replace(instance.branches, tap=np.full(len(instance.branches), 0.9)))
    verdict = check(tapped, replace(planned(tapped), physics=physics))
    assert verdict.ok == (physics is Physics.DC)
