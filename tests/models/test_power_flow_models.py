"""The physics: sensitivities against outages, derivatives against CasADi, cuts against points."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.errors import ModelError
from apportion.instances.generate.power_flow import generate_power_flow
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import Physics
from apportion.models.power_flow.ac import formulate_ac
from apportion.models.power_flow.dc import angle_reach, formulate_dc
from apportion.models.power_flow.devices import curve_at
from apportion.models.power_flow.network import Susceptance
from apportion.models.power_flow.nonlinear import NonlinearProgram
from apportion.models.power_flow.screens import screen_power_flow
from apportion.models.power_flow.sensitivities import lodf, ptdf
from apportion.models.power_flow.soc import Pairs, formulate_soc, sent_matrix

Arrays = tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def arrays(seed: int, buses: int) -> Arrays:
    instance = generate_power_flow(seed, buses)
    b = Susceptance.of(instance, Physics.DC).b
    return buses, instance.branches.from_bus, instance.branches.to_bus, b


def flows_of(network: Arrays, injection: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Dense least squares over the angles: nothing in common with the sparse factorisation."""
    count, f, t, b = network
    meets = np.zeros((len(f), count))
    meets[np.arange(len(f)), f] = 1.0
    meets[np.arange(len(f)), t] -= 1.0
    angles = np.linalg.lstsq(meets.T @ (b[:, None] * meets), injection, rcond=None)[0]
    return np.asarray(b * (meets @ angles))


@given(st.integers(0, 500), st.integers(3, 9))
@settings(max_examples=30, deadline=None)
def test_ptdf_gives_the_flows_of_any_balanced_injection(seed: int, buses: int) -> None:
    network = arrays(seed, buses)
    injection = np.random.default_rng(seed).normal(size=buses)
    injection -= injection.mean()
    expected = flows_of(network, injection)
    slack = np.random.default_rng(seed).random(buses)
    for factors in (ptdf(*network), ptdf(*network, slack=slack)):
        np.testing.assert_allclose(factors @ injection, expected, atol=1e-9)
    np.testing.assert_allclose(ptdf(*network, slack=slack) @ (slack / slack.sum()), 0.0, atol=1e-12)


@given(st.integers(0, 500), st.integers(3, 9))
@settings(max_examples=30, deadline=None)
def test_lodf_gives_the_flows_after_each_outage(seed: int, buses: int) -> None:
    network = count, f, t, b = arrays(seed, buses)
    injection = np.random.default_rng(seed + 1).normal(size=buses)
    injection -= injection.mean()
    before = flows_of(network, injection)
    shares = lodf(ptdf(*network), f, t)
    for k in range(len(f)):
        rest = np.arange(len(f)) != k
        after = flows_of((count, f[rest], t[rest], b[rest]), injection)
        np.testing.assert_allclose((before + shares[:, k] * before[k])[rest], after, atol=1e-8)
        assert shares[k, k] == -1.0


def test_bridges_and_islands() -> None:
    f, t = np.array([0, 1, 3]), np.array([1, 2, 4])
    factors = ptdf(5, f, t, np.array([1.0, 2.0, 5.0]))
    assert np.isnan(lodf(factors, f, t)[0, 1])
    np.testing.assert_allclose(factors[2], [0, 0, 0, 0, -1])
    with pytest.raises(ModelError, match="no slack"):
        ptdf(5, f, t, np.ones(3), slack=np.array([1.0, 0, 0, 0, 0]))
    with pytest.raises(ModelError, match="undetermined"):
        ptdf(2, np.array([0, 0]), np.array([1, 1]), np.array([1.0, -1.0]))


def test_curves_are_their_highest_segment() -> None:
    curve = ((0.0, 0.0), (10.0, 100.0), (20.0, 400.0))
    assert curve_at(curve, np.array([-1.0, 5.0, 10.0, 15.0, 30.0])).tolist() == [-10.0, 50.0, 100.0, 250.0, 700.0]


def test_the_bound_on_angles_holds_at_the_optimum_and_rows_are_named() -> None:
    instance = generate_power_flow(4, 7, 2, 1)
    reach = angle_reach(instance, Physics.DC)
    assert reach[instance.buses.reference].tolist() == [0.0]
    program = formulate_dc(instance).model.compile(names=True)
    assert {"balance[0,0]", "balance[0]"} & set(program.row_names)
    assert np.isfinite(reach).all()


def values_between(program: NonlinearProgram, seed: int) -> np.ndarray[Any, Any]:
    low, high = np.maximum(program.lower, -1.0), np.minimum(program.upper, 1.5)
    return np.asarray(low + (high - low) * np.random.default_rng(seed).random(len(low)))


@pytest.mark.parametrize("kind", ["polar", "rectangular", "soc", "elastic"])
def test_assembled_derivatives_are_those_of_the_whole_expression(kind: str) -> None:
    ca = pytest.importorskip("casadi")
    instance = generate_power_flow(2, 6, 2, 1)
    shunts = replace(instance.buses, shunt_mw=np.full(6, 2.0), shunt_mvar=np.array([0, 5.0, 0, 0, -4.0, 0]))
    wide = instance.branches.angle_max_deg.copy()
    wide[0] = 120.0
    instance = replace(instance, buses=shunts, branches=replace(instance.branches, angle_max_deg=wide))
    if kind in ("polar", "rectangular"):
        program = formulate_ac(instance, kind == "rectangular").program
    else:
        program = formulate_soc(instance, kind == "elastic").program
    parts = program.functions()
    x, f, g = parts["x"], parts["f"], parts["g"]
    price, prices = ca.MX.sym("s"), ca.MX.sym("l", len(program.row_lower))
    whole = ca.Function("whole", [x, price, prices], [
        ca.gradient(f, x), ca.jacobian(g, x), ca.triu(ca.hessian(price * f + ca.dot(prices, g), x)[0])
    ])  # fmt: skip
    at = values_between(program, 1)
    at[: len(at) // 8] += 0.1
    duals = np.random.default_rng(3).normal(size=len(program.row_lower))
    gradient, jacobian, hessian = (one.toarray() for one in map(ca.DM, whole(at, 0.7, duals)))
    np.testing.assert_allclose(parts["grad_f"](at, [])[1].toarray(), gradient, atol=1e-9)
    np.testing.assert_allclose(parts["jac_g"](at, [])[1].toarray(), jacobian, atol=1e-9)
    np.testing.assert_allclose(parts["hess_lag"](at, [], 0.7, duals).toarray(), hessian, atol=1e-8)


def relaxed_point(instance: OptimalPowerFlow, seed: int) -> tuple[Any, np.ndarray[Any, Any]]:
    """The relaxation, and its columns at random voltages with generators that are not asked for balance."""
    relaxation = formulate_soc(instance)
    rng, pairs = np.random.default_rng(seed), Pairs.of(instance)
    shape = instance.num_periods, len(instance.buses)
    low, high = instance.buses.voltage_min, instance.buses.voltage_max
    voltage = (low + (high - low) * rng.random(shape)) * np.exp(1j * rng.uniform(-0.2, 0.2, shape))
    product = voltage[:, pairs.one] * np.conj(voltage[:, pairs.other])
    state = np.concatenate([(np.abs(voltage) ** 2).ravel(), product.real.ravel(), product.imag.ravel()])
    values = 0.5 * (relaxation.program.lower + relaxation.program.upper)
    values[: len(state)] = state
    power = sent_matrix(instance, pairs, len(values)) @ values
    values[len(state) : len(state) + len(power)] = power
    return relaxation, values


@given(st.integers(0, 300))
@settings(max_examples=25, deadline=None)
def test_no_true_voltage_is_cut_off_by_the_relaxation_or_its_tangents(seed: int) -> None:
    pytest.importorskip("casadi")
    instance = generate_power_flow(seed, 6)
    relaxation, values = relaxed_point(instance, seed)
    _, elsewhere = relaxed_point(instance, seed + 1)
    program, families = relaxation.program, relaxation.program.families
    rows = program.matrix @ values
    for name in ("power", "angle above", "angle below", "lifted above", "lifted below"):
        where = families[name]
        assert (rows[where] >= program.row_lower[where] - 1e-9).all(), name
        assert (rows[where] <= program.row_upper[where] + 1e-9).all(), name
    duals = np.abs(np.random.default_rng(seed).normal(size=len(program.row_lower)))
    outer, prices = relaxation.outer(elsewhere, duals)
    count = len(outer.row_lower)
    dense = np.zeros((count, outer.num_columns))
    columns = np.repeat(np.arange(outer.num_columns), np.diff(outer.matrix.starts))
    dense[outer.matrix.rows, columns] = outer.matrix.values
    cones = slice(count - len(relaxation.pairs.one) - 2 * len(instance.branches), count - 2 * len(instance.branches))
    assert (dense[cones] @ values <= 1e-9).all()
    assert (prices[np.isneginf(outer.row_lower)] <= 0.0).all()
    # the end of a branch that keeps its rate keeps the tangent of it
    p, q = (values[relaxation.sent + k * len(instance.branches) :][: len(instance.branches)] for k in (0, 1))
    ends = dense[count - 2 * len(instance.branches) : count - len(instance.branches)] @ values
    assert (ends <= np.hypot(p, q) + 1e-9).all()


def test_screens_name_island_bus_and_shortfall() -> None:
    instance = generate_power_flow(2, 6)
    assert not screen_power_flow(instance)
    heavy = replace(instance, load_mw=instance.load_mw * 3.0)
    (finding,) = screen_power_flow(heavy)
    assert finding.amount == pytest.approx(3.0 * instance.load_mw.sum() - instance.generators.power_max_mw.sum())
    assert "island 1" in finding.sentence
    bus = int(np.setdiff1d(np.arange(6), instance.generators.bus)[0])
    touching = (instance.branches.from_bus == bus) | (instance.branches.to_bus == bus)
    thin = np.where(touching, 1.0, instance.branches.rate_mva)
    load = instance.load_mw.copy()
    load[0, bus] = 10.0 + touching.sum()
    starved = replace(instance, branches=replace(instance.branches, rate_mva=thin), load_mw=load)
    (finding,) = screen_power_flow(starved)
    assert finding.place == f"bus {instance.buses.names[bus]}"
    assert finding.amount == pytest.approx(10.0)
