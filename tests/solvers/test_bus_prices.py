"""Prices by bus: between the costs of a little more and a little less load, at every bus and hour."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import apportion
from apportion.cli import main
from apportion.instances.bus_prices import BusPrices
from apportion.instances.errors import OptionError, PlanError
from apportion.instances.generate.security_commitment import generate_security_commitment
from apportion.instances.plans import write_plan
from apportion.instances.reading import write
from apportion.instances.security_commitment import SecurityConstrainedCommitment, with_parts
from apportion.instances.security_plan import SecureCommitment
from apportion.solvers.options import SolveOptions
from apportion.solvers.security_commitment.prices import dispatched, price_buses
from apportion.solvers.solve import solve_instance

STEP_MW = 1e-3


def day(seed: int, tightness: float = 0.7) -> SecurityConstrainedCommitment:
    return generate_security_commitment(seed=seed, buses=4, units=3, periods=3, tightness=tightness)


def plan_of(instance: SecurityConstrainedCommitment) -> SecureCommitment:
    plan = solve_instance(instance, SolveOptions(gap=1e-3, node_limit=500)).plan
    assert isinstance(plan, SecureCommitment)
    return plan


def cost_with(
    instance: SecurityConstrainedCommitment, plan: SecureCommitment, bus: int, period: int, more: float
) -> float:
    load = instance.buses[bus].load_mw.copy()
    load[period] += more
    buses = tuple(replace(b, load_mw=load) if k == bus else b for k, b in enumerate(instance.buses))
    return dispatched(with_parts(instance, buses=buses), plan)[1].objective


@pytest.mark.parametrize("seed", [1, 2])
def test_a_price_lies_between_the_costs_of_more_and_less(seed: int) -> None:
    instance = day(seed)
    plan = plan_of(instance)
    found = price_buses(instance, plan)
    assert np.abs(found.congestion).max() > 1.0
    for bus in range(4):
        for period in range(3):
            up = (cost_with(instance, plan, bus, period, STEP_MW) - found.cost) / STEP_MW
            down = (found.cost - cost_with(instance, plan, bus, period, -STEP_MW)) / STEP_MW
            price = found.price[bus, period] * instance.period_h
            assert down - 1e-4 <= price <= up + 1e-4


def test_without_congestion_all_buses_agree() -> None:
    instance = day(1, tightness=50.0)
    found = price_buses(instance, plan_of(instance))
    assert found.congestion == pytest.approx(0.0)
    assert found.price == pytest.approx(np.broadcast_to(found.price[0], found.price.shape))


def test_the_way_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instance = day(2)
    plan = plan_of(instance)
    found = apportion.prices(instance, plan)
    assert isinstance(found, BusPrices)
    write(instance, tmp_path / "day.json")
    write_plan(plan, tmp_path / "plan.json", instance)
    out = tmp_path / "prices.json"
    assert main(["price", str(tmp_path / "day.json"), str(tmp_path / "plan.json"), "--out", str(out)]) == 0
    assert "congestion" in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert written["buses"][instance.buses[0].name]["price"] == pytest.approx(found.price[0].tolist())


def test_what_cannot_be_priced_is_said(tmp_path: Path) -> None:
    instance = day(1)
    plan = plan_of(instance)
    with pytest.raises(OptionError, match="lmp"):
        apportion.prices(instance, plan, kind="hull")
    broken = replace(plan, power_mw=plan.power_mw + 500.0)
    with pytest.raises(PlanError, match="plan of"):
        price_buses(instance, broken)
