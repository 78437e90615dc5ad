"""Security-constrained commitment as arrays: the tight unit model, storage, loads, reserves, one balance per island.

The units are those of :mod:`apportion.models.commitment.arrays` (its sources are named there). The rows that limit
flows are not part of the model: there are lines times outages times periods of them, and few bind.
:mod:`apportion.models.security_commitment.flows` writes those that a solve needs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.commitment import UnitCommitment
from apportion.instances.islands import islands_of
from apportion.instances.security_commitment import FREE, SecurityConstrainedCommitment
from apportion.models.algebra import LinearExpression, Model
from apportion.models.commitment import arrays as units
from apportion.models.commitment.fleet import Fleet, Matches, Segments
from apportion.models.security_commitment.formulation import Injection, SecureFormulation
from apportion.models.security_commitment.reserves import add_reserves

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def formulate(instance: SecurityConstrainedCommitment) -> SecureFormulation:
    """Write the whole model but the limits on flows.

    Examples
    --------
    >>> from apportion.instances.generate.security_commitment import generate_security_commitment
    >>> formulation = formulate(generate_security_commitment(seed=1, buses=5, units=3, periods=4))
    >>> formulation.model.compile().num_rows > 0
    True
    """
    model = Model(instance.name or "secure commitment", sense="minimise")
    fleet = _unit_blocks(instance, model)
    add_unit_rows(fleet)
    blocks = _other_blocks(instance, model)
    injection = _injection(instance, fleet, blocks)
    formulation = SecureFormulation(instance, model, fleet, injection, _net(instance, fleet, blocks), blocks)
    add_storage(formulation)
    add_balance(formulation)
    add_reserves(formulation)
    model.minimise(total_cost(formulation))
    return formulation


def _unit_blocks(instance: SecurityConstrainedCommitment, model: Model) -> units.Formulation:
    """The variables of the thermal units, as the formulation of one bus has them."""
    periods = instance.num_periods
    zero = np.zeros(periods)
    alone = UnitCommitment(model.name, zero, zero, tuple(sited.unit for sited in instance.thermal))
    fleet, segments = Fleet.of(alone), Segments.of(alone)
    if not instance.reserve_counts_at_shutdown:
        fleet = replace(fleet, last_hour=fleet.span)
    shape = fleet.num_units, periods
    hour = np.arange(periods)
    fixed = np.array(
        [
            np.full(periods, FREE) if sited.fixed_commitment is None else sited.fixed_commitment
            for sited in instance.thermal
        ]
    ).reshape(shape)
    on = fleet.must_run[:, None] | (hour < fleet.held_on[:, None]) | (fixed == 1)
    off = (hour < fleet.held_off[:, None]) | (fixed == 0)
    least_power = np.zeros(shape)
    least_power[:, 0] = np.maximum(fleet.initially_above - fleet.ramp_down, 0.0)
    shutdown = np.array([sited.unit.shutdown_limit_mw for sited in instance.thermal]) - fleet.power_min
    # below its minimum output a unit cannot stop; solvers see it in the integers only
    most_stop = np.repeat((shutdown >= -1e-9)[:, None] * 1.0, periods, axis=1)
    stops_first = fleet.initially_on & (fleet.initially_above <= np.minimum(shutdown, fleet.ramp_down) + 1e-9)
    most_stop[:, 0] *= stops_first
    matches = Matches.of(alone, fleet)
    ready = _may_hold_upwards(instance)
    commit = model.add_variables("commit", shape, lower=on * 1.0, upper=1.0 - off, integer=True)
    start = model.add_variables("start", shape, upper=1.0)
    stop = model.add_variables("stop", shape, upper=most_stop)
    power = model.add_variables("power", shape, lower=least_power, upper=fleet.span[:, None])
    available = model.add_variables("available", (len(ready), periods), upper=fleet.span[ready, None])
    spread = sparse.coo_array((np.ones(len(ready)), (ready, np.arange(len(ready)))), shape=(shape[0], len(ready)))
    others = np.ones(shape[0])
    others[ready] = 0.0
    return units.Formulation(
        alone,
        fleet,
        segments,
        matches,
        model,
        commit=commit,
        start=start,
        stop=stop,
        power=power,
        available=spread.tocsr() @ available + sparse.diags_array(others).tocsr() @ power,
        segment=model.add_variables(
            "segment", (len(segments.unit), periods), upper=(segments.upper - segments.lower)[:, None]
        ),
        match=model.add_variables("match", (len(matches.unit),), upper=1.0),
        renewable=model.add_variables("none", (periods,), upper=0.0),
        count=np.ones(shape[0]),
    )


def _may_hold_upwards(instance: SecurityConstrainedCommitment) -> Ints:
    """Positions of the units that may hold a product above their output which someone asks for."""
    names = {
        name
        for product in instance.reserves
        if product.kind.upwards and not product.kind.flexible and product.requirement_mw.any()
        for name in product.units
    }
    return np.array(sorted(instance.unit_index[name] for name in names), dtype=np.int64)


def add_unit_rows(f: units.Formulation) -> None:
    """Everything that binds each thermal unit by itself."""
    if not f.shape[0]:
        return
    units.add_logic(f)
    units.add_minimum_times(f)
    units.add_generation_limits(f)
    units.add_power_limits_before_stops(f)
    units.add_ramps(f)
    units.add_segments(f)
    units.add_startup_matching(f)


def _table(items: tuple[object, ...], name: str, periods: int) -> Floats:
    return np.array([getattr(item, name) for item in items], dtype=np.float64).reshape(len(items), periods)


def _other_blocks(instance: SecurityConstrainedCommitment, model: Model) -> dict[str, LinearExpression]:
    """Variables of all but the thermal units; curtailment and surplus only where they are allowed."""
    periods = instance.num_periods
    zero = np.zeros((len(instance.buses), periods))

    def block(name: str, items: tuple[object, ...], lower: str | Floats, upper: str | Floats) -> LinearExpression:
        least, most = (_table(items, end, periods) if isinstance(end, str) else end for end in (lower, upper))
        return model.add_variables(name, (len(items), periods), lower=least, upper=most)

    stores = instance.storage
    none = np.zeros((len(stores), periods))
    most_level = _table(stores, "level_max_mwh", periods)
    least_level = _table(stores, "level_min_mwh", periods)
    for s, store in enumerate(stores):
        least_level[s, -1] = max(least_level[s, -1], store.last_min_mwh)
        most_level[s, -1] = min(most_level[s, -1], store.last_max_mwh)
    links = instance.links
    reverse = np.array([[-link.reverse_limit_mw] * periods for link in links]).reshape(len(links), periods)
    forward = np.array([[link.limit_mw] * periods for link in links]).reshape(len(links), periods)
    curtail = np.maximum(instance.load_mw, 0.0) if instance.curtailment_penalty is not None else zero
    kept = np.flatnonzero(curtail.any(axis=1))
    thrown = np.arange(len(instance.buses)) if instance.surplus_penalty is not None else np.zeros(0, np.int64)
    most_thrown = 1e7 * np.ones((len(thrown), periods))
    return {
        "profiled": block("profiled", instance.profiled, "power_min_mw", "power_max_mw"),
        "charge": block("charge", stores, none, "charge_max_mw"),
        "discharge": block("discharge", stores, none, "discharge_max_mw"),
        "level": block("level", stores, least_level, most_level),
        "served": block("served", instance.loads, np.zeros((len(instance.loads), periods)), "demand_mw"),
        "link": block("link", links, reverse, forward),
        "curtail": block("curtail", tuple(kept.tolist()), zero[kept], curtail[kept]),
        "surplus": block("surplus", tuple(thrown.tolist()), zero[thrown], most_thrown),
    }


def curtailable(instance: SecurityConstrainedCommitment) -> Ints:
    """Positions of the buses with a block row of curtailment."""
    if instance.curtailment_penalty is None:
        return np.zeros(0, np.int64)
    return np.flatnonzero((instance.load_mw > 0.0).any(axis=1))


def _sites(
    instance: SecurityConstrainedCommitment, fleet: units.Formulation, blocks: dict[str, LinearExpression]
) -> list[tuple[LinearExpression, Ints, Floats]]:
    """Each block that feeds buses: the expression, the bus of each of its rows, MW per unit."""
    index = instance.bus_index

    def at(items: tuple[object, ...], name: str = "bus") -> Ints:
        return np.array([index[getattr(item, name)] for item in items], dtype=np.int64)

    thermal, stores = at(instance.thermal), at(instance.storage)
    one, many = np.ones(len(thermal)), np.ones(len(stores))
    curtailed = curtailable(instance)
    thrown = np.arange(blocks["surplus"].shape[0])
    linked = np.ones(len(instance.links))
    return [
        (fleet.commit, thermal, fleet.fleet.power_min),
        (fleet.power, thermal, one),
        (blocks["profiled"], at(instance.profiled), np.ones(len(instance.profiled))),
        (blocks["discharge"], stores, many),
        (blocks["charge"], stores, -many),
        (blocks["served"], at(instance.loads), -np.ones(len(instance.loads))),
        (blocks["link"], at(instance.links, "from_bus"), -linked),
        (blocks["link"], at(instance.links, "to_bus"), linked),
        (blocks["curtail"], curtailed, np.ones(len(curtailed))),
        (blocks["surplus"], thrown, -np.ones(len(thrown))),
    ]


def _injection(
    instance: SecurityConstrainedCommitment, fleet: units.Formulation, blocks: dict[str, LinearExpression]
) -> Injection:
    first, bus, factor = [], [], []
    for block, sites, factors in _sites(instance, fleet, blocks):
        begin = getattr(block, "first")  # noqa: B009
        first.append(begin + np.arange(len(sites)) * instance.num_periods)
        bus.append(sites)
        factor.append(factors)
    return Injection(np.concatenate(first), np.concatenate(bus), np.concatenate(factor))


def _net(
    instance: SecurityConstrainedCommitment, fleet: units.Formulation, blocks: dict[str, LinearExpression]
) -> LinearExpression:
    """What goes into the network at each bus, shape (buses, periods)."""
    net: LinearExpression | Floats = -instance.load_mw
    for block, sites, factors in _sites(instance, fleet, blocks):
        if len(sites):
            where = (factors, (sites, np.arange(len(sites))))
            net = sparse.coo_array(where, shape=(len(instance.buses), len(sites))).tocsr() @ block + net
    if not isinstance(net, LinearExpression):
        raise TypeError("an instance without anything that feeds it")
    return net


def add_storage(f: SecureFormulation) -> None:
    """Levels follow from charging, discharging and losses; a binary where both at once or small rates are forbidden."""
    stores, periods = f.instance.storage, f.instance.num_periods
    if not stores:
        return
    charge, discharge, level = f.blocks["charge"], f.blocks["discharge"], f.blocks["level"]
    hours = f.instance.period_h
    kept = 1.0 - _table(stores, "loss", periods)
    gained = hours * _table(stores, "charge_efficiency", periods)
    taken = hours / _table(stores, "discharge_efficiency", periods)
    initial = np.array([store.initial_mwh for store in stores])
    change = gained * charge - taken * discharge
    f.model.add_constraints("level_first", level[:, 0] - change[:, 0] == kept[:, 0] * initial)
    f.model.add_constraints("level", level[:, 1:] - kept[:, 1:] * level[:, :-1] - change[:, 1:] == 0.0)
    least = {word: _table(stores, f"{word}_min_mw", periods) for word in ("charge", "discharge")}
    most = {word: _table(stores, f"{word}_max_mw", periods) for word in ("charge", "discharge")}
    exclusive = ~np.array([store.simultaneous for store in stores]).reshape(len(stores), periods)
    small = (least["charge"] > 0.0) | (least["discharge"] > 0.0)
    s, t = np.nonzero(exclusive | small)
    if not len(s):
        return
    states = {}
    for word, flow in (("charge", charge), ("discharge", discharge)):
        state = f.model.add_variables(f"is_{word}", (len(s),), upper=1.0, integer=True)
        f.model.add_constraints(f"least_{word}", flow[s, t] >= least[word][s, t] * state)
        f.model.add_constraints(f"most_{word}", flow[s, t] <= most[word][s, t] * state)
        states[word] = state
    both = np.flatnonzero(exclusive[s, t])
    f.model.add_constraints("either", states["charge"][both] + states["discharge"][both] <= 1.0)


def add_balance(f: SecureFormulation) -> None:
    """What goes into each island adds up to nothing."""
    count = len(f.instance.buses)
    island = islands_of(count, *f.instance.line_ends)
    member = sparse.coo_array((np.ones(count), (island, np.arange(count)))).tocsr()
    f.model.add_constraints("balance", member @ f.net == 0.0)


def total_cost(f: SecureFormulation) -> LinearExpression:
    """Starting, running, producing; storing; what is not served and not held; less what loads pay."""
    cost = units.total_cost(f.units) if f.units.shape[0] else 0.0 * f.units.renewable.sum()
    instance, periods = f.instance, f.instance.num_periods
    stops = np.array([sited.shutdown_cost for sited in instance.thermal])
    if stops.any():
        cost = cost + (stops[:, None] * f.units.stop).sum()
    cost = cost + (_table(instance.profiled, "cost", periods) * f.blocks["profiled"]).sum()
    for word in ("charge", "discharge"):
        cost = cost + (_table(instance.storage, f"{word}_cost", periods) * f.blocks[word]).sum()
    cost = cost - (_table(instance.loads, "revenue", periods) * f.blocks["served"]).sum()
    for word, penalty in (("curtail", instance.curtailment_penalty), ("surplus", instance.surplus_penalty)):
        if penalty is not None:
            cost = cost + (penalty * f.blocks[word]).sum()
    for product in instance.reserves:
        name = f"shortfall {product.name}"
        if name in f.blocks and product.shortfall_penalty is not None:
            cost = cost + (product.shortfall_penalty * f.blocks[name]).sum()
    total: LinearExpression = cost
    return total
