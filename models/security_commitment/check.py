"""The independent check of a secure commitment: every rule and every outage, from the data alone.

It shares nothing with the formulation. Flows come from angles: the equations of the whole network are factorised once,
and each outage is a correction of low rank (Woodbury) to their solution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from apportion.instances.core import Sense
from apportion.instances.security_commitment import SecurityConstrainedCommitment
from apportion.instances.security_plan import SecureCommitment
from apportion.models.security_commitment.check_units import check_units, exceeding
from apportion.models.verdict import TOLERANCE, Verdict, Violation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FLOW_TOLERANCE = 1e-4
_MOST = 20


def check(instance: SecurityConstrainedCommitment, plan: SecureCommitment) -> Verdict:
    """Verify ``plan`` and recompute its cost.

    Parameters
    ----------
    instance
        The data.
    plan
        A plan for the same units, loads and buses; its rows may come in another order.

    Returns
    -------
    Verdict
        Periods count from 1 in the places. ``measures`` holds the parts of the cost, the energy not served, and the
        worst loading of a line with all lines in place and after an outage.

    Raises
    ------
    PlanError
        When the plan speaks of other things or another number of periods.
    """
    plan = plan.aligned_to(instance)
    violations, costs = check_units(instance, plan)
    net = _injections(instance, plan)
    violations += [*_profiles(instance, plan), *_stores(instance, plan), *_balance(instance, net)]
    flows = _worst_flows(instance, net)
    violations += _overloads(instance, flows)
    violations += _requirements(instance, plan)
    parts = {
        "start-up cost": sum(cost.starting for cost in costs),
        "shut-down cost": sum(cost.stopping for cost in costs),
        "production cost": sum(cost.producing for cost in costs),
        **_other_costs(instance, plan),
        "overload penalty": _overload_cost(instance, flows),
        "reserve shortfall penalty": _shortfall_cost(instance, plan),
    }
    measures = {
        **{name: float(value) for name, value in parts.items()},
        "starts": float(sum(cost.starts for cost in costs)),
        "energy not served (MWh)": float(plan.curtailed_mw.sum() * instance.period_h),
        "worst loading": flows.loading(instance, outage=False),
        "worst loading after an outage": flows.loading(instance, outage=True),
    }
    return Verdict(float(sum(parts.values())), Sense.MINIMISE, tuple(violations), measures)


def _injections(instance: SecurityConstrainedCommitment, plan: SecureCommitment) -> Floats:
    """What goes into the network at each bus, shape (buses, periods)."""
    at = {bus.name: position for position, bus in enumerate(instance.buses)}
    net: Floats = plan.curtailed_mw - plan.surplus_mw - np.array([bus.load_mw for bus in instance.buses])
    for row, sited in zip(plan.power_mw, instance.thermal, strict=True):
        net[at[sited.bus]] += row
    for row, source in zip(plan.profiled_mw, instance.profiled, strict=True):
        net[at[source.bus]] += row
    for given, taken, store in zip(plan.discharge_mw, plan.charge_mw, instance.storage, strict=True):
        net[at[store.bus]] += given - taken
    for row, load in zip(plan.served_mw, instance.loads, strict=True):
        net[at[load.bus]] -= row
    for row, link in zip(plan.link_mw, instance.links, strict=True):
        net[at[link.from_bus]] -= row
        net[at[link.to_bus]] += row
    return net


def _profiles(instance: SecurityConstrainedCommitment, plan: SecureCommitment) -> Iterator[Violation]:
    for row, source in zip(plan.profiled_mw, instance.profiled, strict=True):
        yield from exceeding("profiled minimum", source.name, source.power_min_mw - row)
        yield from exceeding("profiled maximum", source.name, row - source.power_max_mw)
    for row, load in zip(plan.served_mw, instance.loads, strict=True):
        yield from exceeding("load served below nothing", load.name, -row)
        yield from exceeding("load served beyond demand", load.name, row - load.demand_mw)
    for row, link in zip(plan.link_mw, instance.links, strict=True):
        yield from exceeding("link limit", link.name, np.maximum(row - link.limit_mw, -row - link.reverse_limit_mw))
    for curtailed, surplus, bus in zip(plan.curtailed_mw, plan.surplus_mw, instance.buses, strict=True):
        most = np.maximum(bus.load_mw, 0.0) if instance.curtailment_penalty is not None else 0.0 * bus.load_mw
        yield from exceeding("curtailment", bus.name, np.maximum(curtailed - most, -curtailed))
        wasted = np.abs(surplus) if instance.surplus_penalty is None else -surplus
        yield from exceeding("surplus", bus.name, wasted)


def _stores(instance: SecurityConstrainedCommitment, plan: SecureCommitment) -> Iterator[Violation]:
    tables = zip(plan.charge_mw, plan.discharge_mw, plan.level_mwh, instance.storage, strict=True)
    for charge, discharge, level, store in tables:
        name = store.name
        for word, rate, least, most in (
            ("charge", charge, store.charge_min_mw, store.charge_max_mw),
            ("discharge", discharge, store.discharge_min_mw, store.discharge_max_mw),
        ):
            yield from exceeding(f"{word} rate", name, np.maximum(rate - most, -rate))
            # a rate within rounding of zero is no charging at all
            yield from exceeding(f"least {word} rate", name, np.where(rate > TOLERANCE, least - rate, 0.0))
        both = np.where(store.simultaneous, 0.0, np.minimum(charge, discharge))
        yield from exceeding("charge and discharge at once", name, both)
        before = np.append(store.initial_mwh, level[:-1])
        gained = instance.period_h * (charge * store.charge_efficiency - discharge / store.discharge_efficiency)
        yield from exceeding("storage level", name, np.abs((1.0 - store.loss) * before + gained - level))
        yield from exceeding(
            "storage range", name, np.maximum(store.level_min_mwh - level, level - store.level_max_mwh)
        )
        last = max(store.last_min_mwh - level[-1], level[-1] - store.last_max_mwh)
        if last > TOLERANCE:
            yield Violation("last storage level", name, float(last), "MWh")


def _balance(instance: SecurityConstrainedCommitment, net: Floats) -> Iterator[Violation]:
    """Each part of the network that hangs together is in balance."""
    part = _parts(instance)
    for k in range(int(part.max()) + 1):
        members = part == k
        where = "" if part.max() == 0 else f"island of {instance.buses[int(np.argmax(members))].name}"
        size = max(1.0, float(np.abs(net[members]).sum(axis=0).max()))
        # rounding of many terms: a share of their sizes
        yield from exceeding("power balance", where, np.abs(net[members].sum(axis=0)) - 1e-9 * size)


def _parts(instance: SecurityConstrainedCommitment) -> Ints:
    at = {bus.name: position for position, bus in enumerate(instance.buses)}
    ends = [(at[line.from_bus], at[line.to_bus]) for line in instance.lines]
    table = np.array(ends, dtype=np.int64).reshape(len(ends), 2)
    count = len(instance.buses)
    graph = sparse.coo_array((np.ones(len(table)), (table[:, 0], table[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph.tocsr(), directed=False)[1], np.int64)


@dataclass(frozen=True, eq=False)
class _Flows:
    """Sizes of flows, shape (lines, periods): with all lines, the worst after an outage, and which outage that is."""

    base: Floats
    worst: Floats
    case: Ints

    def excess(self, instance: SecurityConstrainedCommitment) -> Floats:
        """MW above the limits in the worst case, shape (lines, periods)."""
        excess = np.zeros(self.base.shape)
        for k, line in enumerate(instance.lines):
            excess[k] = np.maximum(self.base[k] - line.limit_mw, self.worst[k] - line.emergency_limit_mw)
        return np.maximum(excess, 0.0)

    def loading(self, instance: SecurityConstrainedCommitment, outage: bool) -> float:
        """The largest share of its limit that a line carries."""
        flows = self.worst if outage else self.base
        most = 0.0
        for flow, line in zip(flows, instance.lines, strict=True):
            limit = line.emergency_limit_mw if outage else line.limit_mw
            share = np.divide(flow, limit, out=np.zeros_like(flow), where=np.isfinite(limit) & (limit > 0.0))
            most = max(most, float(share.max(initial=0.0)))
        return round(most, 6)


def _worst_flows(instance: SecurityConstrainedCommitment, net: Floats) -> _Flows:
    """Solve for the angles with all lines in place, then correct them for each outage."""
    at = {bus.name: position for position, bus in enumerate(instance.buses)}
    count, num_lines, periods = len(instance.buses), len(instance.lines), instance.num_periods
    if not num_lines:
        empty = np.zeros((0, periods))
        return _Flows(empty, empty, np.zeros((0, periods), np.int64))
    ends = np.array([(at[line.from_bus], at[line.to_bus]) for line in instance.lines])
    susceptance = np.array([line.susceptance for line in instance.lines])
    rows = np.repeat(np.arange(num_lines), 2)
    signs = np.tile([1.0, -1.0], num_lines)
    drop = sparse.csr_array((signs, (rows, ends.ravel())), shape=(num_lines, count))
    flow_of = sparse.diags_array(susceptance).tocsr() @ drop
    part = _parts(instance)
    free = np.setdiff1d(np.arange(count), np.unique(part, return_index=True)[1])
    if not len(free):
        zero = np.zeros((num_lines, periods))
        return _Flows(zero, zero, np.full(zero.shape, -1))
    equations = splu(sparse.csc_array((drop.T @ flow_of)[free][:, free]))
    flow_of, drop = flow_of[:, free], drop[:, free]
    base = flow_of @ equations.solve(net[free])
    worst, case = np.zeros(base.shape), np.full(base.shape, -1)
    index = {line.name: position for position, line in enumerate(instance.lines)}
    outages = [np.array([index[name] for name in contingency.lines]) for contingency in instance.contingencies]
    lines_out = np.unique(np.concatenate([np.zeros(0, np.int64), *outages]))
    if not len(lines_out):
        return _Flows(np.abs(base), worst, case)
    response = np.asarray(equations.solve(drop[lines_out].toarray().T))
    change = flow_of @ response
    watched = np.flatnonzero([np.isfinite(line.emergency_limit_mw).any() for line in instance.lines])
    for c, out in enumerate(outages):
        column = np.searchsorted(lines_out, out)
        inner = np.diag(1.0 / susceptance[out]) - (drop[out] @ response[:, column])
        pushed = np.linalg.solve(inner, base[out] / susceptance[out][:, None])
        after = base[watched] + change[np.ix_(watched, column)] @ pushed
        after[np.isin(watched, out)] = 0.0
        size = np.abs(after)
        more = size > worst[watched]
        worst[watched] = np.where(more, size, worst[watched])
        case[watched] = np.where(more, c, case[watched])
    return _Flows(np.abs(base), worst, case)


def line_loading(instance: SecurityConstrainedCommitment, plan: SecureCommitment) -> Floats:
    """The share of its limit that each line carries in its worst case, shape (lines, periods); 0 without a limit."""
    flows = _worst_flows(instance, _injections(instance, plan.aligned_to(instance)))
    loading = np.zeros(flows.base.shape)
    for k, line in enumerate(instance.lines):
        for flow, limit in ((flows.base[k], line.limit_mw), (flows.worst[k], line.emergency_limit_mw)):
            share = np.divide(flow, limit, out=np.zeros_like(flow), where=np.isfinite(limit) & (limit > 0.0))
            loading[k] = np.maximum(loading[k], share)
    return loading


def _overloads(instance: SecurityConstrainedCommitment, flows: _Flows) -> Iterator[Violation]:
    """Overloads of lines whose limits are hard."""
    excess = flows.excess(instance)
    for k, line in enumerate(instance.lines):
        if line.overload_penalty is not None:
            continue
        for t in np.flatnonzero(excess[k] > _FLOW_TOLERANCE)[:_MOST]:
            above = flows.base[k, t] - line.limit_mw[t]
            outage = "" if above >= excess[k, t] else f" after {instance.contingencies[int(flows.case[k, t])].name}"
            yield Violation("line limit", f"{line.name}{outage}, period {t + 1}", float(excess[k, t]), "MW")


def _overload_cost(instance: SecurityConstrainedCommitment, flows: _Flows) -> float:
    excess = flows.excess(instance)
    penalties = [line.overload_penalty for line in instance.lines]
    return float(
        sum((row * penalty).sum() for row, penalty in zip(excess, penalties, strict=True) if penalty is not None)
    )


def _missing_reserve(instance: SecurityConstrainedCommitment, plan: SecureCommitment) -> Iterator[tuple[int, Floats]]:
    for k, product in enumerate(instance.reserves):
        missing = product.requirement_mw - plan.reserve_mw[product.name].sum(axis=0)
        yield k, np.maximum(missing, 0.0)


def _requirements(instance: SecurityConstrainedCommitment, plan: SecureCommitment) -> Iterator[Violation]:
    for k, missing in _missing_reserve(instance, plan):
        product = instance.reserves[k]
        if product.shortfall_penalty is None:
            yield from exceeding("reserve requirement", product.name, missing)


def _shortfall_cost(instance: SecurityConstrainedCommitment, plan: SecureCommitment) -> float:
    cost = 0.0
    for k, missing in _missing_reserve(instance, plan):
        cost += float(missing.sum()) * (instance.reserves[k].shortfall_penalty or 0.0)
    return cost


def _other_costs(instance: SecurityConstrainedCommitment, plan: SecureCommitment) -> dict[str, float]:
    zero = np.zeros(instance.num_periods)
    curtailment = zero if instance.curtailment_penalty is None else instance.curtailment_penalty
    surplus = zero if instance.surplus_penalty is None else instance.surplus_penalty
    stores = zip(plan.charge_mw, plan.discharge_mw, instance.storage, strict=True)
    return {
        "profiled cost": sum(
            float(row @ source.cost) for row, source in zip(plan.profiled_mw, instance.profiled, strict=True)
        ),
        "storage cost": sum(float(c @ s.charge_cost + d @ s.discharge_cost) for c, d, s in stores),
        "revenue of loads": -sum(
            float(row @ load.revenue) for row, load in zip(plan.served_mw, instance.loads, strict=True)
        ),
        "curtailment penalty": float((plan.curtailed_mw * curtailment).sum()),
        "surplus penalty": float((plan.surplus_mw * surplus).sum()),
    }
