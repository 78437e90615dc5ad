"""From values of the columns to a plan, and to the injections of which its flows are made."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion.instances.security_plan import SecureCommitment, names_of
from apportion.models.algebra import LinearExpression
from apportion.models.security_commitment.arrays import curtailable
from apportion.models.security_commitment.formulation import SecureFormulation

Floats = NDArray[np.float64]


def injections(f: SecureFormulation, values: Floats) -> Floats:
    """What goes into the network at each bus, shape (buses, periods), from values of the columns, shape (n,)."""
    injection, instance = f.injection, f.instance
    periods = instance.num_periods
    at = values[injection.first[:, None] + np.arange(periods)] * injection.factor[:, None]
    net = -instance.load_mw.copy()
    np.add.at(net, injection.bus, at)
    return net


def decode(f: SecureFormulation, values: Floats) -> SecureCommitment:
    """Turn values of the formulation's columns, shape (n,), into a plan; rounding dust at the bounds is taken off."""
    instance, fleet = f.instance, f.units.fleet
    blocks = f.model.split(values)
    committed = blocks["commit"] > 0.5
    above = np.clip(blocks["power"], 0.0, fleet.span[:, None])
    power = np.where(committed, fleet.power_min[:, None] + above, 0.0)
    shape = (len(instance.buses), instance.num_periods)
    curtailed, surplus = np.zeros(shape), np.zeros(shape)
    curtailed[curtailable(instance)] = _inside(f, blocks, "curtail")
    if instance.surplus_penalty is not None:
        surplus = _inside(f, blocks, "surplus")
    parts: dict[str, Any] = names_of(instance)
    return SecureCommitment(
        **parts,
        committed=committed,
        power_mw=power,
        profiled_mw=_inside(f, blocks, "profiled"),
        charge_mw=_inside(f, blocks, "charge"),
        discharge_mw=_inside(f, blocks, "discharge"),
        level_mwh=_inside(f, blocks, "level"),
        served_mw=_inside(f, blocks, "served"),
        link_mw=_inside(f, blocks, "link"),
        curtailed_mw=curtailed,
        surplus_mw=surplus,
        reserve_mw={
            product.name: _reserve(f, f.held.get(product.name), values, committed) for product in instance.reserves
        },
    )


def _inside(f: SecureFormulation, blocks: dict[str, Floats], name: str) -> Floats:
    variables = f.model.variables[name]
    return np.clip(blocks[name], variables.lower, variables.upper)


def _reserve(
    f: SecureFormulation, held: LinearExpression | None, values: Floats, committed: NDArray[np.bool_]
) -> Floats:
    if held is None:
        return np.zeros(committed.shape)
    return np.where(committed, np.maximum(f.model.evaluate(held, values), 0.0), 0.0)
