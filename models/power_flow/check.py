"""The independent check of a power flow plan: complex powers, limits, storage and costs, straight from the data.

It shares nothing with the formulations: flows come from complex voltages and each branch's two-port, energies from what
is charged and drawn, costs from the curves.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Sense
from apportion.instances.power_flow import FULL_CIRCLE_DEG, OptimalPowerFlow
from apportion.instances.power_plan import Physics, PowerFlowPlan
from apportion.models.verdict import TOLERANCE, Verdict, Violation

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MOST_VIOLATIONS = 20
_PER_UNIT_TOLERANCE = 1e-5
_DEGREE_TOLERANCE = 1e-5


def check(instance: OptimalPowerFlow, plan: PowerFlowPlan) -> Verdict:
    """Verify ``plan`` by the laws that it claims to keep, and recompute its cost.

    Parameters
    ----------
    instance
        The data.
    plan
        A plan for the same network; its columns may come in another order.

    Returns
    -------
    Verdict
        Periods count from 1 in the places. Powers may be off by 1e-5 per unit, 0.001 MW on a base of 100 MVA; limits
        of devices and voltages by 1e-6. ``measures`` holds losses, the loading of the fullest branch, what the storage
        gave, and the largest mismatch.

    Raises
    ------
    PlanError
        When the plan speaks of other buses, generators, storage units or another number of periods.
    """
    plan = plan.aligned_to(instance)
    tolerance = _PER_UNIT_TOLERANCE * instance.base_mva
    mismatch, flows = _mismatch(instance, plan)
    violations = [
        *_balances(instance, plan, mismatch, tolerance),
        *_branches(instance, plan, flows, tolerance),
        *_voltages(instance, plan),
        *_generators(instance, plan),
        *_storage(instance, plan),
    ]
    loading = branch_loading(instance, plan)
    hours = instance.period_h
    taken = instance.load_mw.sum() + plan.charge_mw.sum()
    losses = hours * (plan.power_mw.sum() + plan.discharge_mw.sum() - taken)
    measures = {
        "generated (MWh)": float(hours * plan.power_mw.sum()),
        "losses and shunts (MWh)": float(losses),
        "fullest branch (%)": float(100.0 * np.nanmax(loading, initial=0.0)),
        "stored and drawn (MWh)": float(hours * plan.discharge_mw.sum()),
        "largest mismatch (MVA)": float(np.abs(mismatch).max()),
    }
    return Verdict(cost(instance, plan), Sense.MINIMISE, tuple(violations), measures)


def cost(instance: OptimalPowerFlow, plan: PowerFlowPlan) -> float:
    """The cost of the outputs over the horizon."""
    generators, total = instance.generators, 0.0
    for g, curve in enumerate(generators.curves):
        power = plan.power_mw[:, g]
        if curve:
            total += float(sum(_on_curve(curve, float(p)) for p in power))
            continue
        terms = (
            generators.cost_quadratic[g] * power**2 + generators.cost_linear[g] * power + generators.cost_constant[g]
        )
        total += float(terms.sum())
    return instance.period_h * total


def _on_curve(curve: tuple[tuple[float, float], ...], power: float) -> float:
    """Between two neighbouring points, or beyond the last ones along their segment."""
    k = 0
    while k < len(curve) - 2 and power > curve[k + 1][0]:
        k += 1
    (x, y), (right, top) = curve[k], curve[k + 1]
    return y + (top - y) * (power - x) / (right - x)


def branch_flows(
    instance: OptimalPowerFlow, plan: PowerFlowPlan
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Complex power in MVA that enters each branch at its two ends, shape (periods, branches)."""
    branches, base = instance.branches, instance.base_mva
    angle = np.deg2rad(plan.angle_deg)
    if plan.physics is Physics.DISPATCH:
        nothing = np.zeros((plan.num_periods, len(branches)), np.complex128)
        return nothing, nothing
    if plan.physics is not Physics.AC:
        difference = angle[:, branches.from_bus] - angle[:, branches.to_bus]
        if plan.physics is Physics.DC_MATPOWER:
            flow = base * (difference - np.deg2rad(branches.shift_deg)) / (branches.reactance * branches.tap)
        else:
            flow = base * difference * branches.reactance / (branches.resistance**2 + branches.reactance**2)
        return flow.astype(np.complex128), -flow.astype(np.complex128)
    voltage = plan.voltage * np.exp(1j * angle)
    # an ideal transformer at the from end, then the pi circuit of the line
    behind = voltage[:, branches.from_bus] / (branches.tap * np.exp(1j * np.deg2rad(branches.shift_deg)))
    at_end = voltage[:, branches.to_bus]
    series = (behind - at_end) / (branches.resistance + 1j * branches.reactance)
    half = 0.5j * branches.charging
    into, out = series + half * behind, -series + half * at_end
    given, taken = base * behind * np.conj(into), base * at_end * np.conj(out)
    return np.asarray(given, np.complex128), np.asarray(taken, np.complex128)


def branch_loading(instance: OptimalPowerFlow, plan: PowerFlowPlan) -> Floats:
    """The share of its rate that each branch carries at its fuller end, NaN without a rate, (periods, branches)."""
    ends = branch_flows(instance, plan.aligned_to(instance))
    rate = np.where(np.isfinite(instance.branches.rate_mva), instance.branches.rate_mva, np.nan)
    return np.asarray(np.maximum(np.abs(ends[0]), np.abs(ends[1])) / rate, np.float64)


def _mismatch(
    instance: OptimalPowerFlow, plan: PowerFlowPlan
) -> tuple[NDArray[np.complex128], tuple[NDArray[np.complex128], NDArray[np.complex128]]]:
    """What is given to each bus and not taken from it in MVA, shape (periods, buses), and the flows."""
    buses, branches = instance.buses, instance.branches
    left = -(instance.load_mw + 1j * instance.load_mvar)
    _gather(left, instance.generators.bus, plan.power_mw + 1j * plan.reactive_mvar)
    _gather(left, instance.storage.bus, (plan.discharge_mw - plan.charge_mw).astype(np.complex128))
    square = plan.voltage**2 if plan.physics is Physics.AC else np.ones_like(plan.voltage)
    left = left - square * (buses.shunt_mw - 1j * buses.shunt_mvar)
    flows = branch_flows(instance, plan)
    _gather(left, branches.from_bus, -flows[0])
    _gather(left, branches.to_bus, -flows[1])
    if plan.physics is Physics.AC:
        return left, flows
    active = left.real.astype(np.complex128)
    if plan.physics is Physics.DISPATCH:
        by_island = np.zeros((plan.num_periods, int(instance.islands.max()) + 1), np.complex128)
        _gather(by_island, instance.islands, active)
        return by_island, flows
    return active, flows


def _gather(total: NDArray[np.complex128], places: NDArray[np.int64], values: NDArray[np.complex128]) -> None:
    np.add.at(total.T, places, values.T)


def _worst(excess: Floats, tolerance: float) -> Iterator[tuple[int, int, float]]:
    """Period, position and amount of what exceeds the tolerance, largest first."""
    with np.errstate(invalid="ignore"):
        broken = np.argwhere(excess > tolerance)
    order = sorted(map(tuple, broken.tolist()), key=lambda place: -excess[place])
    for t, k in order[:_MOST_VIOLATIONS]:
        yield t, k, float(excess[t, k])


def _balances(
    instance: OptimalPowerFlow, plan: PowerFlowPlan, mismatch: NDArray[np.complex128], tolerance: float
) -> Iterator[Violation]:
    at_bus = plan.physics is not Physics.DISPATCH
    for rule, part, unit in (("power balance", mismatch.real, "MW"), ("reactive balance", mismatch.imag, "MVAr")):
        for t, k, amount in _worst(np.abs(part), tolerance):
            place = f"bus {instance.buses.names[k]}" if at_bus else f"island {k + 1}"
            yield Violation(rule, f"{place}, period {t + 1}", amount, unit)


def _branches(
    instance: OptimalPowerFlow,
    plan: PowerFlowPlan,
    flows: tuple[NDArray[np.complex128], NDArray[np.complex128]],
    tolerance: float,
) -> Iterator[Violation]:
    if plan.physics is Physics.DISPATCH:
        return
    branches = instance.branches
    for end, flow in zip(("from", "to"), flows, strict=True):
        for t, k, amount in _worst(np.abs(flow) - branches.rate_mva, tolerance):
            yield Violation("branch rating", f"{branches.names[k]} ({end} end), period {t + 1}", amount, "MVA")
    difference = plan.angle_deg[:, branches.from_bus] - plan.angle_deg[:, branches.to_bus]
    if plan.physics is Physics.AC:
        difference = (difference + 180.0) % 360.0 - 180.0
    least = np.where(branches.angle_min_deg <= -FULL_CIRCLE_DEG, -np.inf, branches.angle_min_deg)
    most = np.where(branches.angle_max_deg >= FULL_CIRCLE_DEG, np.inf, branches.angle_max_deg)
    for t, k, amount in _worst(np.maximum(least - difference, difference - most), _DEGREE_TOLERANCE):
        yield Violation("angle difference", f"{branches.names[k]}, period {t + 1}", amount, "degrees")


def _voltages(instance: OptimalPowerFlow, plan: PowerFlowPlan) -> Iterator[Violation]:
    if plan.physics is not Physics.AC:
        return
    buses = instance.buses
    excess = np.maximum(buses.voltage_min - plan.voltage, plan.voltage - buses.voltage_max)
    for t, k, amount in _worst(excess, TOLERANCE):
        yield Violation("voltage limit", f"bus {buses.names[k]}, period {t + 1}", amount, "per unit")


def _generators(instance: OptimalPowerFlow, plan: PowerFlowPlan) -> Iterator[Violation]:
    generators = instance.generators
    tolerance = TOLERANCE * instance.base_mva
    most = np.full(plan.power_mw.shape, 1.0) * generators.power_max_mw
    if instance.available_mw is not None:
        most = np.minimum(most, instance.available_mw)
    outputs = np.maximum(generators.power_min_mw - plan.power_mw, plan.power_mw - most)
    reactive = np.maximum(
        generators.reactive_min_mvar - plan.reactive_mvar, plan.reactive_mvar - generators.reactive_max_mvar
    )
    ramp = np.zeros_like(plan.power_mw)
    ramp[1:] = np.abs(np.diff(plan.power_mw, axis=0)) - instance.period_h * generators.ramp_mw_h
    rules = [("output limit", outputs, "MW"), ("ramp limit", ramp, "MW")]
    if plan.physics is Physics.AC:
        rules.append(("reactive limit", reactive, "MVAr"))
    for rule, excess, unit in rules:
        for t, k, amount in _worst(excess, tolerance):
            yield Violation(rule, f"{generators.names[k]}, period {t + 1}", amount, unit)


def _storage(instance: OptimalPowerFlow, plan: PowerFlowPlan) -> Iterator[Violation]:
    storage, hours = instance.storage, instance.period_h
    if not len(storage):
        return
    tolerance = TOLERANCE * instance.base_mva
    before = np.vstack([storage.initial_mwh[None, :], plan.energy_mwh[:-1]])
    gained = storage.charge_efficiency * plan.charge_mw - plan.discharge_mw / storage.discharge_efficiency
    least = np.tile(storage.energy_min_mwh, (plan.num_periods, 1))
    least[-1] = np.maximum(least[-1], storage.final_min_mwh)
    rules = (
        ("state of charge", np.abs(plan.energy_mwh - before - hours * gained), "MWh"),
        ("energy limit", np.maximum(least - plan.energy_mwh, plan.energy_mwh - storage.energy_max_mwh), "MWh"),
        ("charge limit", np.maximum(-plan.charge_mw, plan.charge_mw - storage.charge_max_mw), "MW"),
        ("discharge limit", np.maximum(-plan.discharge_mw, plan.discharge_mw - storage.discharge_max_mw), "MW"),
        ("charge and discharge at once", np.minimum(plan.charge_mw, plan.discharge_mw), "MW"),
    )
    for rule, excess, unit in rules:
        for t, k, amount in _worst(excess, tolerance):
            yield Violation(rule, f"{storage.names[k]}, period {t + 1}", amount, unit)
