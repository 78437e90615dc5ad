"""The methods: known optima, brute force on tiny cases, bounds below objectives, prices, limits, infeasibility."""

from __future__ import annotations

import csv
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import check, generate, read
from apportion.instances.errors import BackendMissingError, OptionError
from apportion.instances.generate.power_flow import generate_power_flow
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import Physics, PowerFlowPlan
from apportion.models.explaining import Diagnosis
from apportion.models.power_flow import nonlinear
from apportion.models.power_flow.network import Susceptance
from apportion.solvers.events import Event, Monitor
from apportion.solvers.explain import explain
from apportion.solvers.options import SolveOptions
from apportion.solvers.power_flow.ipopt import STATUS
from apportion.solvers.power_flow.relaxation import shortfall, soc_bound
from apportion.solvers.power_flow.rolling import least_at, roll
from apportion.solvers.registry import methods_of
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Limit, Status
from realdata import data_file

pytest.importorskip("casadi", reason="casadi (extra power) is not installed")

METHODS = methods_of("optimal-power-flow")
AC = ("ac", "ac-rectangular", "soc")


def solved(instance: OptimalPowerFlow, method: str | None = None, **options: Any) -> Result[Any]:
    return solve_instance(instance, SolveOptions(**options), method=method)


def plan_of(result: Result[Any]) -> PowerFlowPlan:
    assert isinstance(result.plan, PowerFlowPlan), result.message
    return result.plan


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_checked_plan_and_a_bound(method: str) -> None:
    instance = generate_power_flow(3, 7, 4, 2)
    result = solved(instance, method)
    assert result.status in (Status.OPTIMAL, Status.FEASIBLE), result.message
    assert result.bounds.dual <= result.bounds.primal
    assert result.bounds.gap < 1e-2
    assert plan_of(result).has_prices


def test_ac_methods_agree_and_losses_cost_more_than_dc() -> None:
    instance = generate_power_flow(4, 9)
    costs = [solved(instance, method).bounds.primal for method in AC]
    assert costs == pytest.approx([costs[0]] * 3, rel=1e-6)
    assert solved(instance, "dc").bounds.primal >= solved(instance, "dispatch").bounds.primal - 1e-6
    assert costs[0] > solved(instance, "dispatch").bounds.primal


@pytest.mark.parametrize("seed", range(4))
def test_ac_is_no_worse_than_a_brute_force_over_two_buses(seed: int) -> None:
    """One line: for each voltage and angle the outputs follow, so that a grid covers all plans."""
    instance = generate_power_flow(seed, 2)
    instance = replace(instance, branches=replace(instance.branches, rate_mva=np.full(1, 60.0)))
    generators, line = instance.generators, instance.branches
    series = 1.0 / complex(line.resistance[0], line.reactance[0])
    matrix = np.array([[series + 0.5j * line.charging[0], -series], [-series, series + 0.5j * line.charging[0]]])
    first, second, angle = np.meshgrid(
        np.linspace(0.94, 1.06, 13), np.linspace(0.94, 1.06, 13), np.linspace(-6, 6, 481)
    )
    volts = np.stack([first.ravel() + 0j, second.ravel() * np.exp(1j * np.deg2rad(angle.ravel()))])
    power = 100.0 * volts * np.conj(matrix @ volts)
    given = power + (instance.load_mw + 1j * instance.load_mvar)[0][:, None]
    order = generators.bus
    p, q = given.real[order], given.imag[order]
    fits = (np.abs(power) <= 60.0).all(axis=0)
    for value, low, high in (
        (p, generators.power_min_mw, generators.power_max_mw),
        (q, generators.reactive_min_mvar, generators.reactive_max_mvar),
    ):
        fits &= ((value >= low[:, None]) & (value <= high[:, None])).all(axis=0)
    costs = (generators.cost_quadratic[:, None] * p**2 + generators.cost_linear[:, None] * p).sum(axis=0)
    best = float(costs[fits].min())
    result = solved(instance)
    assert result.bounds.primal <= best * (1 + 1e-7)
    assert result.bounds.primal >= best * (1 - 5e-3)
    assert result.bounds.dual <= best * (1 + 1e-9)


@given(st.integers(0, 400), st.integers(3, 8))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_the_bound_of_the_relaxation_lies_below_every_plan(seed: int, buses: int) -> None:
    instance = generate_power_flow(seed, buses)
    tight = replace(instance.branches, rate_mva=0.8 * instance.branches.rate_mva)
    instance = replace(instance, branches=tight)
    bound = soc_bound(instance, Monitor(instance.sense)).bound
    result = solved(instance, gap=float("inf"))
    assert bound > 0.0
    if result.plan is not None:
        assert bound <= result.bounds.primal * (1 + 1e-6)


def test_an_early_stop_of_the_relaxation_still_proves_a_true_bound() -> None:
    instance = generate_power_flow(6, 8)
    monitor = Monitor(instance.sense)
    monitor.cancel()
    early = soc_bound(instance, monitor).bound
    assert early <= soc_bound(instance, Monitor(instance.sense)).bound + 1e-6


@given(st.integers(0, 200), st.floats(0.5, 3.0))
@settings(max_examples=6, deadline=None, derandomize=True)
def test_scaled_costs_and_turned_names_change_nothing_else(seed: int, factor: float) -> None:
    instance = generate_power_flow(seed, 6)
    before = solved(instance, "dc")
    generators = instance.generators
    dear = replace(
        generators,
        cost_quadratic=factor * generators.cost_quadratic,
        cost_linear=factor * generators.cost_linear,
    )
    assert solved(replace(instance, generators=dear), "dc").bounds.primal == pytest.approx(
        factor * before.bounds.primal
    )
    permuted = turned(instance)
    assert solved(permuted, "dc").bounds.primal == pytest.approx(before.bounds.primal)
    assert solved(permuted, "ac").bounds.primal == pytest.approx(solved(instance, "ac").bounds.primal, rel=1e-6)


def turned(instance: OptimalPowerFlow) -> OptimalPowerFlow:
    """The same network with its buses in reverse order and its branches turned round."""
    last = len(instance.buses) - 1
    buses, branches, generators = instance.buses, instance.branches, instance.generators
    return replace(
        instance,
        buses=replace(buses, **{n: v[::-1] for n, v in vars(buses).items()}),
        branches=replace(
            branches,
            from_bus=last - branches.to_bus,
            to_bus=last - branches.from_bus,
            angle_min_deg=-branches.angle_max_deg,
            angle_max_deg=-branches.angle_min_deg,
        ),
        generators=replace(generators, bus=last - generators.bus),
        load_mw=instance.load_mw[:, ::-1],
        load_mvar=instance.load_mvar[:, ::-1],
    )


def test_prices_are_what_one_more_megawatt_costs() -> None:
    instance = generate_power_flow(8, 6)
    instance = replace(instance, branches=replace(instance.branches, rate_mva=0.35 * instance.branches.rate_mva))
    for method, step in (("dc", 1e-2), ("ac", 1e-1)):
        result = solved(instance, method)
        assert np.ptp(plan_of(result).price_mwh) > 1e-3
        for bus in (0, 3):
            costs = []
            for change in (step, -step):
                load = np.array(instance.load_mw)
                load[0, bus] += change
                costs.append(solved(replace(instance, load_mw=load), method, gap=float("inf")).bounds.primal)
            slope = (costs[0] - costs[1]) / (2 * step)
            assert plan_of(result).price_mwh[0, bus] == pytest.approx(slope, rel=1e-2)


def test_dc_prices_satisfy_complementary_slackness() -> None:
    instance = generate_power_flow(8, 6, 3)
    generators, plan = instance.generators, plan_of(solved(instance, "dispatch"))
    marginal = 2 * generators.cost_quadratic * plan.power_mw + generators.cost_linear
    profit = plan.price_mwh[:, generators.bus] - marginal
    at_least, at_most = (np.abs(plan.power_mw - s) < 1e-4 for s in (generators.power_min_mw, generators.power_max_mw))
    assert (np.abs(profit[~at_least & ~at_most]) < 1e-3).all()
    assert (profit[at_least] < 1e-3).all()
    assert (profit[at_most] > -1e-3).all()


def test_two_conventions_of_dc_differ_by_taps() -> None:
    instance = generate_power_flow(8, 6)
    tapped = replace(instance, branches=replace(instance.branches, tap=np.linspace(0.9, 1.1, len(instance.branches))))
    b = {physics: Susceptance.of(tapped, physics).b for physics in (Physics.DC, Physics.DC_MATPOWER)}
    np.testing.assert_allclose(b[Physics.DC_MATPOWER] * tapped.branches.tap, 1 / tapped.branches.reactance)
    assert not np.allclose(b[Physics.DC], b[Physics.DC_MATPOWER])
    assert plan_of(solved(tapped, "dc-matpower")).physics is Physics.DC_MATPOWER


@pytest.mark.parametrize("method", ["dc", "ac"])
def test_storage_never_charges_and_discharges_at_once_when_energy_is_worthless(method: str) -> None:
    """A must-run plant above the load makes prices negative: burning energy in the battery would pay."""
    instance = generate_power_flow(1, 4, 4, 1)
    generators = instance.generators
    peak = float(instance.load_mw.sum(axis=1).max())
    forced = np.zeros(len(generators))
    forced[0] = 0.99 * float(instance.load_mw.sum(axis=1).min())
    forced_most = np.maximum(generators.power_max_mw, 1.2 * peak)
    paid = replace(generators, power_min_mw=forced, power_max_mw=forced_most, cost_linear=np.array([-20.0, 30.0]))
    plan = plan_of(solved(replace(instance, generators=paid), method))
    assert (np.minimum(plan.charge_mw, plan.discharge_mw) < 1e-4).all()


def test_curves_price_like_the_polynomial_that_they_are() -> None:
    instance = generate_power_flow(2, 5, 2)
    generators = instance.generators
    zero = np.zeros(len(generators))
    points = [
        tuple((p, c * p) for p in (0.0, 0.5 * m, m))
        for c, m in zip(generators.cost_linear, generators.power_max_mw, strict=True)
    ]
    straight = replace(instance, generators=replace(generators, cost_quadratic=zero))
    curved = replace(
        instance, generators=replace(generators, cost_quadratic=zero, cost_linear=zero, curves=tuple(points))
    )
    for method in ("dc", "ac", "dispatch"):
        assert solved(curved, method).bounds.primal == pytest.approx(solved(straight, method).bounds.primal, rel=1e-6)


def test_ramps_bind() -> None:
    instance = generate_power_flow(2, 5, 6)
    base = solved(instance, "dc")
    change = np.abs(np.diff(plan_of(base).power_mw, axis=0)).max()
    slow = replace(instance.generators, ramp_mw_h=np.full(len(instance.generators), 0.9 * change))
    assert solved(replace(instance, generators=slow), "dc").bounds.primal >= base.bounds.primal - 1e-9


def test_infeasible_instances_are_proven_and_explained() -> None:
    instance = generate_power_flow(2, 6)
    heavy = replace(instance, load_mw=instance.load_mw * 3.0)
    for method in ("ac", "dc", "dispatch"):
        assert solved(heavy, method).status is Status.INFEASIBLE
    assert "MW are missing" in str(explain(heavy))
    # the data alone show nothing here: voltages cannot carry the reactive load
    dark = replace(instance, load_mvar=instance.load_mw * 4.0 + 400.0)
    missing = shortfall(dark, Monitor(dark.sense))
    assert missing.proves_infeasible
    assert explain(dark).diagnosis is Diagnosis.INFEASIBLE
    assert "cannot be balanced" in str(explain(dark))
    assert not shortfall(instance, Monitor(instance.sense)).proves_infeasible
    assert explain(instance).diagnosis is Diagnosis.SOLVABLE


def test_what_only_dc_cannot_serve_is_said() -> None:
    instance = generate_power_flow(2, 8)
    thin = replace(instance, branches=replace(instance.branches, rate_mva=0.3 * instance.branches.rate_mva))
    assert solved(thin, "dc").status is Status.INFEASIBLE
    explanation = explain(thin)
    assert explanation.diagnosis is Diagnosis.UNDECIDED
    assert "linear (DC) model has no plan" in str(explanation)
    assert "unserved at bus" in str(explanation)


def test_limits_events_and_cancelling() -> None:
    instance = generate_power_flow(2, 30, 3)
    events: list[Event] = []
    stop = threading.Event()
    stop.set()
    result = solve_instance(instance, SolveOptions(), listener=events.append, cancelled=stop)
    assert (result.status, result.limit) == (Status.NO_SOLUTION, Limit.INTERRUPTED)
    result = solve_instance(instance, SolveOptions(time_limit_s=1e-4))
    assert (result.status, result.limit) == (Status.NO_SOLUTION, Limit.TIME)
    result = solve_instance(instance, SolveOptions(), listener=events.append)
    assert any("iteration" in event.message and event.letter == "ipopt" for event in events)
    assert any(str(event.kind) == "bound" for event in events)


def test_a_start_is_used_and_no_gap_asks_for_no_bound() -> None:
    instance = generate_power_flow(2, 8, 2, 1)
    first = solved(instance)
    again = solved(instance, start=first.plan, gap=float("inf"))
    assert again.bounds.primal == pytest.approx(first.bounds.primal, rel=1e-6)
    assert again.status is Status.FEASIBLE
    assert again.bounds.dual == -np.inf


def test_statuses_of_ipopt_are_all_mapped() -> None:
    assert all(limit is not None for status, limit in STATUS.values() if status is not Status.ERROR)
    assert STATUS["Solve_Succeeded"] == (Status.FEASIBLE, Limit.METHOD)
    assert STATUS["Infeasible_Problem_Detected"][0] is Status.NO_SOLUTION
    assert len(STATUS) == 21


def test_without_casadi_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonlinear, "find_spec", lambda _: None)
    with pytest.raises(BackendMissingError, match=r"apportion\[power\]"):
        solved(generate_power_flow(1, 3))
    assert solved(generate_power_flow(1, 3), "dc").plan is not None


@given(st.integers(0, 300), st.integers(1, 6), st.integers(0, 4))
@settings(max_examples=6, deadline=None, derandomize=True)
def test_rolling_hands_the_energy_over_exactly(seed: int, step: int, ahead: int) -> None:
    day = generate_power_flow(seed, 4, 8, 2)
    rolled = roll(day, step + ahead, step)
    assert rolled.failed_at is None
    assert isinstance(rolled.plan, PowerFlowPlan)
    assert rolled.verdict is not None
    assert rolled.verdict.ok, rolled.verdict.violations
    assert (rolled.plan.energy_mwh[-1] >= day.storage.final_min_mwh - 1e-6).all()
    assert rolled.verdict.objective >= solved(day, "dc").bounds.dual - 1e-6


def test_rolling_over_the_whole_is_the_whole_and_refuses_nonsense() -> None:
    day = generate_power_flow(1, 4, 6, 1)
    whole = solved(day, "dc")
    rolled = roll(day, 6, 6)
    assert rolled.num_windows == 1
    assert rolled.verdict is not None
    assert rolled.verdict.objective == pytest.approx(whole.bounds.primal)
    with pytest.raises(OptionError, match=r"1\.\.window"):
        roll(day, 2, 3)
    slow = replace(day.generators, ramp_mw_h=np.full(2, 5.0))
    with pytest.raises(OptionError, match="ramps"):
        roll(replace(day, generators=slow), 4, 2)
    assert (least_at(day, 6) == day.storage.final_min_mwh).all()
    heavy = replace(day, load_mw=np.vstack([day.load_mw[:4], 9 * day.load_mw[4:]]))
    assert roll(heavy, 2, 2).failed_at == 4


def published() -> dict[str, dict[str, str]]:
    path = data_file("power/pglib-opf/baseline.csv")
    with path.open(encoding="utf-8") as lines:
        return {row["case"]: row for row in csv.DictReader(lines)}


SMALL = ("case3_lmbd", "case5_pjm", "case14_ieee", "case30_ieee", "case57_ieee", "case118_ieee", "case300_ieee")


@pytest.mark.data
@pytest.mark.parametrize("case", SMALL)
def test_published_values_are_reproduced(case: str) -> None:
    row = published()[f"pglib_opf_{case}"]
    instance = read(data_file(f"power/pglib-opf/pglib_opf_{case}.m"))
    assert isinstance(instance, OptimalPowerFlow)
    result = solved(instance)
    objective = float(row["ac_obj"])
    assert result.bounds.primal == pytest.approx(objective, rel=1e-4)
    assert check(instance, plan_of(result)).ok
    gap = 100.0 * (1.0 - result.bounds.dual / objective)
    assert gap == pytest.approx(float(row["soc_gap_pct"]), abs=0.03)
    assert solved(instance, "dc").bounds.primal == pytest.approx(float(row["dc_obj"]), rel=1e-4)


@pytest.mark.data
@pytest.mark.parametrize("case", ["case118_ieee", "case14_ieee"])
@pytest.mark.parametrize("group", ["api", "sad"])
def test_stressed_cases_are_reproduced(case: str, group: str) -> None:
    row = published()[f"pglib_opf_{case}__{group}"]
    instance = read(data_file(f"power/pglib-opf/{group}/pglib_opf_{case}__{group}.m"))
    assert isinstance(instance, OptimalPowerFlow)
    assert solved(instance, "ac-rectangular").bounds.primal == pytest.approx(float(row["ac_obj"]), rel=1e-4)
    linear = solved(instance, "dc")
    if row["dc_obj"] == "inf.":
        assert linear.status is Status.INFEASIBLE
    else:
        assert linear.bounds.primal == pytest.approx(float(row["dc_obj"]), rel=1e-4)


@pytest.mark.data
@pytest.mark.long
@pytest.mark.parametrize("case", ["case500_goc", "case1354_pegase", "case2383wp_k"])
def test_large_published_values_are_reproduced(case: str) -> None:
    test_published_values_are_reproduced(case)


def test_the_generator_is_reached_by_name() -> None:
    assert isinstance(generate("optimal-power-flow", 1, buses=3), OptimalPowerFlow)
