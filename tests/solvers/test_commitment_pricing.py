"""Prices of a commitment: by hand, against finite differences, and what uplift they need."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apportion
from apportion.cli import main
from apportion.instances.commitment import (
    Commitment,
    ProductionPoint,
    RenewableUnit,
    StartupCategory,
    ThermalUnit,
    UnitCommitment,
)
from apportion.instances.commitment_prices import KINDS, CommitmentPrices
from apportion.instances.core import Sense
from apportion.instances.errors import OptionError, PlanError
from apportion.instances.generate.commitment import generate_commitment
from apportion.models.checking import check
from apportion.models.commitment.arrays import formulate
from apportion.pricing import read_prices
from apportion.solvers.backends import backend_named
from apportion.solvers.commitment_pricing.method import PricingOptions, price_commitment, unit_cost
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance


def unit(name: str, least: float, most: float, no_load: float, slope: float, start: float, on: bool) -> ThermalUnit:
    return ThermalUnit(
        name=name,
        power_min_mw=least,
        power_max_mw=most,
        ramp_up_mw=1000.0,
        ramp_down_mw=1000.0,
        startup_limit_mw=1000.0,
        shutdown_limit_mw=1000.0,
        min_up_h=1,
        min_down_h=1,
        initially_on=on,
        initial_power_mw=least if on else 0.0,
        initial_up_h=5 if on else 0,
        initial_down_h=0 if on else 5,
        startup=(StartupCategory(1, start),),
        production=(ProductionPoint(least, no_load + slope * least), ProductionPoint(most, no_load + slope * most)),
    )


def solved(instance: UnitCommitment) -> Commitment:
    plan = solve_instance(instance, SolveOptions(gap=0.0)).plan
    assert isinstance(plan, Commitment)
    return plan


def one_hour(demand: float, reserve: float = 0.0) -> UnitCommitment:
    units = (unit("base", 0.0, 100.0, 0.0, 20.0, 0.0, on=True), unit("peak", 10.0, 50.0, 300.0, 50.0, 100.0, on=False))
    return UnitCommitment("by hand", np.array([demand]), np.array([reserve]), units)


def test_the_marginal_unit_sets_the_price() -> None:
    found = price_commitment(one_hour(80.0), solved(one_hour(80.0)))
    assert found.energy.tolist() == pytest.approx([20.0])
    assert found.reserve.tolist() == pytest.approx([0.0])
    assert found.total_uplift == pytest.approx(0.0, abs=1e-6)


def test_a_unit_at_its_least_output_sets_no_price_and_is_made_whole() -> None:
    """105 MW: the peaker must give its 10, so the base backs down to 95 and stays marginal at 20."""
    instance = one_hour(105.0)
    found = price_commitment(instance, solved(instance))
    assert found.energy.tolist() == pytest.approx([20.0])
    # the peaker: start 100, no load 300, 10 MW at 50 = 900, for which it is paid 200
    assert found.cost.tolist() == pytest.approx([1900.0, 900.0])
    assert found.income.tolist() == pytest.approx([1900.0, 200.0])
    assert found.make_whole.tolist() == pytest.approx([0.0, 700.0])
    assert found.lost_opportunity.tolist() == pytest.approx([0.0, 700.0])


def test_the_fast_unit_in_part_brings_its_fixed_cost_into_the_price() -> None:
    """In part, the peaker gives 5 of 50 MW: 50 + (300 + 100) / 50 = 58 per MWh."""
    instance = one_hour(105.0)
    found = price_commitment(instance, solved(instance), "aelmp")
    assert found.energy.tolist() == pytest.approx([58.0])
    assert found.bound == pytest.approx(105.0 * 58.0 - 100.0 * 38.0)
    assert found.make_whole[1] == pytest.approx(900.0 - 580.0)
    # the base is held back by 5 MW, each of which would earn 38
    assert found.lost_opportunity.tolist() == pytest.approx([5.0 * 38.0, 320.0])


def test_units_that_are_off_may_be_kept_out_of_the_price() -> None:
    instance = UnitCommitment(
        "no need",
        np.array([95.0]),
        np.array([0.0]),
        (unit("base", 0.0, 100.0, 0.0, 20.0, 0.0, on=True), unit("never", 0.0, 200.0, 0.0, 5.0, 2000.0, on=False)),
    )
    plan = solved(instance)
    assert not plan.committed[1, 0]
    inside = price_commitment(instance, plan, "aelmp", PricingOptions(offline_participate=True))
    outside = price_commitment(instance, plan, "aelmp", PricingOptions(offline_participate=False))
    slow = price_commitment(instance, plan, "lmp")
    assert outside.energy.tolist() == slow.energy.tolist() == pytest.approx([20.0])
    assert inside.energy.tolist() == pytest.approx([15.0])  # 5 + 2000 / 200, for all 95 MW


def test_hull_prices_by_hand() -> None:
    """The hull of the peaker begins at nothing: 58 per MWh throughout, as with fast units in part."""
    instance = one_hour(105.0)
    found = price_commitment(instance, solved(instance), "hull")
    assert found.energy.tolist() == pytest.approx([58.0], rel=1e-4)
    assert found.total_uplift == pytest.approx(510.0, rel=1e-3)


def test_reserve_is_worth_what_it_costs_to_reach() -> None:
    """The second hour needs 130 MW of output and reserve; beyond the 100 of the cheap unit, the dear one must have been
    at 5 MW an hour before to reach 30: 25 more than the same energy from the cheap one."""
    cheap, dear = unit("cheap", 0.0, 100.0, 0.0, 20.0, 0.0, on=True), unit("dear", 0.0, 60.0, 0.0, 45.0, 0.0, on=True)
    units = (cheap, replace(dear, ramp_up_mw=25.0, startup_limit_mw=25.0))
    instance = UnitCommitment("reserve", np.array([50.0, 90.0]), np.array([0.0, 40.0]), units)
    plan = solved(instance)
    assert plan.power_mw[1, 0] == pytest.approx(5.0)
    found = price_commitment(instance, plan)
    assert found.energy.tolist() == pytest.approx([20.0, 45.0])
    assert found.reserve.tolist() == pytest.approx([0.0, 25.0])


def cost_with_states_fixed(instance: UnitCommitment, plan: Commitment) -> float:
    formulation = formulate(instance)
    before = np.concatenate([formulation.fleet.initially_on[:, None], plan.committed[:, :-1]], axis=1)
    on = plan.committed
    fixed = formulation.model.pack({"commit": on * 1.0, "start": (on & ~before) * 1.0, "stop": (~on & before) * 1.0})
    program = formulation.model.compile()
    given = np.isfinite(fixed)
    lower, upper = np.where(given, fixed, program.lower), np.where(given, fixed, program.upper)
    rows = np.array(program.row_lower)
    rows[formulation.model.constraints["capacity"].rows] = -np.inf
    fitting = replace(program.relaxed(), lower=lower, upper=upper, row_lower=rows)
    return backend_named("highs").run(fitting, SolveOptions(), Monitor(Sense.MINIMISE)).bounds.primal


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("what", ["demand_mw", "reserve_mw"])
def test_prices_lie_between_the_differences_to_both_sides(seed: int, what: str) -> None:
    instance = generate_commitment(seed=seed, units=5, periods=6)
    plan = solved(instance)
    found = price_commitment(instance, plan)
    price = found.energy if what == "demand_mw" else found.reserve
    step = 1e-3
    centre = cost_with_states_fixed(instance, plan)
    for hour in range(6):
        costs = []
        for sign in (-1.0, 1.0):
            values = np.array(getattr(instance, what))
            values[hour] += sign * step
            changes: dict[str, Any] = {what: values}
            costs.append(cost_with_states_fixed(replace(instance, **changes), plan))
        below, above = (centre - costs[0]) / step, (costs[1] - centre) / step
        assert below - 1e-2 <= price[hour] <= above + 1e-2  # a convex cost: the dual is one of its slopes


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_uplift_is_what_the_prices_do_not_prove(seed: int) -> None:
    instance = generate_commitment(seed=seed, units=5, periods=8)
    result = solve_instance(instance, SolveOptions(gap=1e-3))
    assert result.plan is not None
    found = {kind: price_commitment(instance, result.plan, kind) for kind in KINDS}
    for prices in found.values():
        assert prices.cost.sum() == pytest.approx(result.objective, rel=1e-9)
        assert prices.total_uplift == pytest.approx(result.objective - prices.bound, rel=1e-6, abs=0.05)
        assert prices.bound <= result.objective + 1e-6 * abs(result.objective)
        assert np.all(prices.best_profit - prices.profit >= -1e-5 * np.maximum(1.0, np.abs(prices.cost)))
    near = 2e-5 * abs(result.objective)
    assert found["hull"].total_uplift <= found["lmp"].total_uplift + near
    assert found["hull"].total_uplift <= found["aelmp"].total_uplift + near


def best_profit_by_trying(one: ThermalUnit, prices: CommitmentPrices) -> float:
    """Every pattern of on and off, each with its best output by a linear program: slow and obvious."""
    periods = len(prices.energy)
    best = -np.inf
    # a market that buys anything: a second unit stands for it at the prices, so the unit alone is left
    for number in range(2**periods):
        states = np.array([(number >> hour) & 1 for hour in range(periods)], np.bool_)
        if one.must_run and not states.all():
            continue
        output = np.where(states, 0.0, 0.0)
        grid = [point.power_mw for point in one.production]
        for hour in np.flatnonzero(states):
            cost = [point.cost for point in one.production]
            worth = [prices.energy[hour] * p - c for p, c in zip(grid, cost, strict=True)]
            output[hour] = grid[int(np.argmax(worth))]
        best = max(best, float(output @ prices.energy) - unit_cost(one, states, output))
    return best


def test_the_best_profit_is_that_of_the_best_schedule() -> None:
    units = (
        unit("base", 20.0, 100.0, 50.0, 20.0, 30.0, on=True),
        unit("peak", 10.0, 50.0, 300.0, 50.0, 100.0, on=False),
    )
    instance = UnitCommitment("patterns", np.array([60.0, 130.0, 145.0, 70.0]), np.zeros(4), units)
    found = price_commitment(instance, solved(instance), "hull")
    for g, one in enumerate(units):
        assert found.best_profit[g] == pytest.approx(best_profit_by_trying(one, found), abs=1e-6)


def test_wind_that_is_spilled_makes_energy_free() -> None:
    base = one_hour(30.0)
    wind = RenewableUnit("wind", np.zeros(1), np.full(1, 200.0))
    instance = replace(base, renewable=(wind,))
    found = price_commitment(instance, solved(instance))
    assert found.energy.tolist() == pytest.approx([0.0], abs=1e-9)
    assert found.renewable_lost == pytest.approx(0.0, abs=1e-6)


def test_a_broken_plan_and_unknown_words_are_refused() -> None:
    instance = one_hour(80.0)
    plan = solved(instance)
    with pytest.raises(PlanError, match="power balance"):
        price_commitment(instance, replace(plan, power_mw=plan.power_mw + 1.0))
    with pytest.raises(OptionError, match="Maybe lmp, aelmp, hull"):
        price_commitment(instance, plan, "nodal")
    with pytest.raises(OptionError, match="fast_start_h"):
        PricingOptions(fast_start_h=0)
    with pytest.raises(OptionError, match="unknown option"):
        apportion.prices(instance, plan, fast_start=2)
    routes = apportion.generate("vehicle-routing", 1, clients=4)
    with pytest.raises(OptionError, match="Maybe unit-commitment"):
        apportion.prices(routes, plan)


def test_prices_survive_their_file_and_the_command_prints_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = one_hour(105.0)
    apportion.write(instance, tmp_path / "day.json")
    apportion.write_plan(solved(instance), tmp_path / "day.plan.json", instance)
    files = [str(tmp_path / "day.json"), str(tmp_path / "day.plan.json")]
    out = tmp_path / "prices.json"
    assert main(["price", *files, "--kind", "aelmp", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "58.0000" in printed
    assert "peak" in printed
    again = read_prices(out)
    assert again.to_dict() == apportion.prices(instance, solved(instance), kind="aelmp").to_dict()
    assert main(["price", *files, "--out", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "lmp"
    assert main(["price", *files, "--kind", "nodal"]) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"kind": "lmp"}', '{"kind": "x", "units": {"a": 3}}', "{"])
def test_other_files_are_no_prices(text: str, tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text(text)
    with pytest.raises(PlanError):
        read_prices(tmp_path / "prices.json")


def test_checks_and_accounts_agree_on_costs() -> None:
    instance = generate_commitment(seed=12, units=6, periods=12)
    plan = solved(instance)
    total = sum(unit_cost(u, plan.committed[g], plan.power_mw[g]) for g, u in enumerate(instance.thermal))
    assert total == pytest.approx(check(instance, plan).objective)
