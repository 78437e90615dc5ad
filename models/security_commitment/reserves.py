"""Reserve products over the variables of the units: what each unit holds, the room it needs, the requirements."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.security_commitment import ReserveProduct, SecurityConstrainedCommitment
from apportion.models.algebra import LinearExpression
from apportion.models.security_commitment.formulation import SecureFormulation

Ints = NDArray[np.int64]


def add_reserves(f: SecureFormulation) -> None:
    """What units hold of each product, and the requirements.

    Where a unit may hold one product above its output, that is what it could give less what it gives: no variable.
    A flexible product is a change after the period: it needs room, but does not count in the ramp that led here.
    """
    instance, fleet = f.instance, f.units
    asked = [product for product in instance.reserves if product.requirement_mw.any()]
    offers = np.zeros(fleet.shape[0], np.int64)
    for product in asked:
        if product.kind.upwards and not product.kind.flexible:
            offers[units_of(instance, product)] += 1
    groups: dict[tuple[bool, bool], list[LinearExpression]] = {}
    for k, product in enumerate(instance.reserves):
        if product not in asked:
            continue
        simple = product.kind.upwards and not product.kind.flexible
        held = _held(f, product, k, single=(offers == 1) & simple)
        f.held[product.name] = held
        groups.setdefault((product.kind.upwards, product.kind.flexible), []).append(held)
        _add_requirement(f, product, k, held)
        if product.kind.flexible:
            _add_flexible(f, product, k, held)
    _add_room(f, offers, {key: _sum(parts) for key, parts in groups.items()})
    if len(asked) == 1 and asked[0].kind.upwards and not asked[0].kind.flexible:
        _add_capacity(f, asked[0])


def _sum(parts: list[LinearExpression]) -> LinearExpression:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _add_room(f: SecureFormulation, offers: Ints, held: dict[tuple[bool, bool], LinearExpression]) -> None:
    """All that a unit holds fits between its output and its limits."""
    fleet = f.units
    ready, flexible = held.get((True, False)), held.get((True, True))
    if ready is not None:
        rows = np.flatnonzero(offers >= 1)
        several = (offers[rows] > 1)[:, None] * 1.0
        f.model.add_constraints("held", fleet.available[rows] - fleet.power[rows] >= several * ready[rows])
    if flexible is not None:
        f.model.add_constraints("room_above", fleet.available + flexible <= fleet.fleet.span[:, None] * fleet.commit)
    below = [part for key, part in held.items() if not key[0]]
    if below:
        f.model.add_constraints("room_below", _sum(below) <= fleet.power)


def units_of(instance: SecurityConstrainedCommitment, product: ReserveProduct) -> Ints:
    """Positions of the units that may hold a product."""
    return np.array(sorted(instance.unit_index[name] for name in product.units), dtype=np.int64)


def _held(f: SecureFormulation, product: ReserveProduct, k: int, single: NDArray[np.bool_]) -> LinearExpression:
    """What each unit holds of a product, shape (units, periods); no variable for those with this ``single`` offer."""
    fleet = f.units
    count, periods = fleet.shape
    members = units_of(f.instance, product)
    own = members[~single[members]]
    most = fleet.fleet.span[own]
    variables = f.model.add_variables(f"reserve_{k}", (len(own), periods), upper=most[:, None])
    spread = sparse.coo_array((np.ones(len(own)), (own, np.arange(len(own)))), shape=(count, len(own)))
    held: LinearExpression = spread.tocsr() @ variables
    if single[members].any():
        chosen = np.zeros(count)
        chosen[members[single[members]]] = 1.0
        held = held + sparse.diags_array(chosen).tocsr() @ (fleet.available - fleet.power)
    return held


def _add_requirement(f: SecureFormulation, product: ReserveProduct, k: int, held: LinearExpression) -> None:
    total = held.sum(axis=0)
    if product.shortfall_penalty is not None:
        short = f.model.add_variables(f"shortfall_{k}", (f.instance.num_periods,), upper=product.requirement_mw)
        f.blocks[f"shortfall {product.name}"] = short
        total = total + short
    f.model.add_constraints(f"reserve_{k}", total >= product.requirement_mw)


def _add_flexible(f: SecureFormulation, product: ReserveProduct, k: int, held: LinearExpression) -> None:
    """A change of output that has to be possible until the next period, in which the unit runs as well."""
    members = units_of(f.instance, product)
    fleet = f.units.fleet
    ramp = fleet.ramp_up if product.kind.upwards else fleet.ramp_down
    most = np.minimum(ramp, fleet.span)[members, None]
    rows = held[members]
    f.model.add_constraints(f"flexible_{k}", rows <= most * f.units.commit[members, :])
    later = rows[:, :-1] <= most * f.units.commit[members, 1:]
    f.model.add_constraints(f"flexible_later_{k}", later)


def _add_capacity(f: SecureFormulation, product: ReserveProduct) -> None:
    """The knapsack in the states that balance and reserve imply: solvers find cover cuts in it.

    It is valid with a share of the fleet in the zone, since units outside count with their whole output.
    """
    fleet, instance = f.units, f.instance
    most = (fleet.fleet.power_min + fleet.fleet.span)[:, None]
    supply = (most * fleet.commit).sum(axis=0) + f.blocks["profiled"].sum(axis=0) + f.blocks["discharge"].sum(axis=0)
    supply = supply + f.blocks["curtail"].sum(axis=0)
    name = f"shortfall {product.name}"
    if name in f.blocks:
        supply = supply + f.blocks[name]
    needed = instance.load_mw.sum(axis=0) + product.requirement_mw
    f.model.add_constraints("capacity", supply >= needed)
