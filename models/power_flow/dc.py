"""The linear formulations: DC optimal power flow over angles, and economic dispatch without a network.

One function per family of rows. Powers are in MW, angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import Physics, PowerFlowPlan
from apportion.models.algebra import LinearExpression, Model
from apportion.models.power_flow.devices import Devices
from apportion.models.power_flow.network import Susceptance, angle_limits, incidence, over_periods

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCKS = ("power", "charge", "discharge", "energy", "cost")


@dataclass(frozen=True, eq=False)
class LinearFlow:
    """A linear model of an instance and where its parts lie."""

    instance: OptimalPowerFlow
    physics: Physics
    devices: Devices
    model: Model

    def decode(self, values: Floats, balance_duals: Floats | None = None) -> PowerFlowPlan:
        """The plan of column values, with the duals of the block ``balance`` as prices."""
        instance, shape = self.instance, (self.instance.num_periods, len(self.instance.buses))
        z = values[: self.devices.size]
        parts = {name: z[where].reshape(shape[0], -1) for name, where in self.devices.slices.items() if name != "cost"}
        angle = np.zeros(shape)
        if self.physics is not Physics.DISPATCH:
            angle = np.rad2deg(values[self.devices.size :].reshape(shape))
        return PowerFlowPlan(
            self.physics,
            instance.buses.names,
            instance.generators.names,
            instance.storage.names,
            power_mw=parts["power"],
            reactive_mvar=np.zeros_like(parts["power"]),
            voltage=np.ones(shape),
            angle_deg=angle,
            charge_mw=parts["charge"],
            discharge_mw=parts["discharge"],
            energy_mwh=parts["energy"],
            price_mwh=np.full(shape, np.nan) if balance_duals is None else self._prices(balance_duals),
        )

    def _prices(self, duals: Floats) -> Floats:
        """Per MWh: a period's dual is worth its length."""
        by_row = duals.reshape(self.instance.num_periods, -1) / self.instance.period_h
        return by_row[:, self.instance.islands] if self.physics is Physics.DISPATCH else by_row


def formulate_dc(
    instance: OptimalPowerFlow, physics: Physics = Physics.DC, directions: Ints | None = None
) -> LinearFlow:
    """DC optimal power flow in the convention of ``physics``.

    ``directions`` is that of :meth:`~apportion.models.power_flow.devices.Devices.of`.

    Examples
    --------
    >>> from apportion.instances.generate.power_flow import generate_power_flow
    >>> formulate_dc(generate_power_flow(1, buses=5)).model.compile().num_columns
    7
    """
    flow, device_columns = _with_devices(instance, physics, directions)
    model, periods, buses = flow.model, instance.num_periods, len(instance.buses)
    fixed = np.tile(instance.buses.reference, (periods, 1))
    reach = angle_reach(instance, physics)
    angle = model.add_variables(
        "angle", (periods, buses), lower=np.where(fixed, 0.0, -reach), upper=np.where(fixed, 0.0, reach)
    ).ravel()
    linear = Susceptance.of(instance, physics)
    meets = incidence(instance)
    scaled = sparse.csr_array(sparse.diags_array(instance.base_mva * linear.b) @ meets)
    flows = over_periods(scaled, periods) @ angle
    shifted = instance.base_mva * linear.b * linear.shift
    add_balance(
        flow, device_columns, over_periods(sparse.csr_array(meets.T @ scaled), periods) @ angle, meets.T @ shifted
    )
    add_flow_limits(flow, flows, linear)
    return flow


def formulate_dispatch(instance: OptimalPowerFlow, directions: Ints | None = None) -> LinearFlow:
    """Economic dispatch: each island is one bus."""
    flow, device_columns = _with_devices(instance, Physics.DISPATCH, directions)
    periods, buses = instance.num_periods, len(instance.buses)
    islands = int(instance.islands.max()) + 1
    entries = (np.ones(buses), (instance.islands, np.arange(buses)))
    gather = over_periods(sparse.csr_array(entries, shape=(islands, buses)), periods)
    given = gather @ flow.devices.injection
    flow.model.add_constraints("balance", _times(given, flow, device_columns) == gather @ _demand(instance))
    return flow


def _with_devices(
    instance: OptimalPowerFlow, physics: Physics, directions: Ints | None
) -> tuple[LinearFlow, dict[str, LinearExpression]]:
    devices = Devices.of(instance, directions)
    model = Model(instance.name or "power flow", sense="minimise")
    columns: dict[str, LinearExpression] = {}
    for name in _BLOCKS:
        where = devices.slices[name]
        shape = (instance.num_periods, (where.stop - where.start) // instance.num_periods)
        low, high = devices.lower[where].reshape(shape), devices.upper[where].reshape(shape)
        columns[name] = model.add_variables(name, shape, lower=low, upper=high).ravel()
    flow = LinearFlow(instance, physics, devices, model)
    if len(devices.row_lower):
        rows = _times(devices.rows, flow, columns)
        model.add_constraints("devices", rows, lower=devices.row_lower, upper=devices.row_upper)
    linear = sum(((columns[n] * devices.linear[s]).sum() for n, s in devices.slices.items() if s.stop > s.start), 0.0)
    power = columns["power"]
    square = devices.quadratic[devices.slices["power"]]
    total = linear + devices.constant
    model.minimise(total + (power * power * square).sum() if square.any() else total)
    return flow, columns


def _times(matrix: sparse.csr_array, flow: LinearFlow, columns: dict[str, LinearExpression]) -> LinearExpression:
    """``matrix @ z``, block by block."""
    by_column = sparse.csc_array(matrix)
    parts = []
    for name, where in flow.devices.slices.items():
        block = sparse.csr_array(by_column[:, where])
        if block.nnz or name == "power":
            parts.append(block @ columns[name])
    return sum(parts[1:], parts[0])


def _demand(instance: OptimalPowerFlow) -> Floats:
    """Load and shunts at a voltage of 1, flat."""
    return (instance.load_mw + instance.buses.shunt_mw).ravel()


def add_balance(
    flow: LinearFlow, columns: dict[str, LinearExpression], leaving: LinearExpression, shifted: Floats
) -> None:
    """What is given to a bus serves its load and shunt and leaves through its branches."""
    given = _times(flow.devices.injection, flow, columns)
    side = _demand(flow.instance) - np.tile(shifted, flow.instance.num_periods)
    flow.model.add_constraints("balance", given - leaving == side)


def add_flow_limits(flow: LinearFlow, flows: LinearExpression, linear: Susceptance) -> None:
    """Flows within the rates, and angle differences within their limits: one ranged row for both."""
    instance = flow.instance
    low, high = flow_limits(instance, linear)
    limited = np.isfinite(low) | np.isfinite(high)
    rows = np.flatnonzero(np.tile(limited, instance.num_periods))
    low, high = (np.tile(side[limited], instance.num_periods) for side in (low, high))
    if len(rows):
        flow.model.add_constraints("branch", flows[rows], lower=low, upper=high)


def flow_limits(instance: OptimalPowerFlow, linear: Susceptance) -> tuple[Floats, Floats]:
    """Least and most of ``base b (angle_f - angle_t)`` in MW, from rates and angle limits, shape (branches,)."""
    scale = instance.base_mva * linear.b
    shifted = scale * linear.shift
    angles = angle_limits(instance)
    sides = np.sort(
        np.vstack([np.where(np.isinf(side), side * np.sign(scale), side * scale) for side in angles]), axis=0
    )
    rate = instance.branches.rate_mva
    low, high = np.maximum(sides[0], shifted - rate), np.minimum(sides[1], shifted + rate)
    return low, high


def angle_reach(instance: OptimalPowerFlow, physics: Physics) -> Floats:
    """A bound on the size of each angle, from the limits along the way to the reference; infinite without, (buses,)."""
    linear = Susceptance.of(instance, physics)
    low, high = flow_limits(instance, linear)
    widest = np.maximum(np.abs(low), np.abs(high)) / np.abs(instance.base_mva * linear.b)
    branches = instance.branches
    ends = np.concatenate((branches.from_bus, branches.to_bus)), np.concatenate((branches.to_bus, branches.from_bus))
    reach = np.where(instance.buses.reference, 0.0, np.inf)
    steps = np.concatenate((widest, widest))
    while True:
        shorter = reach.copy()
        np.minimum.at(shorter, ends[1], reach[ends[0]] + steps)
        if np.array_equal(shorter, reach):
            return reach
        reach = shorter
