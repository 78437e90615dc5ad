"""The network of a secure commitment against networks from which lines are really taken, and the check of a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apportion.instances.generate.security_commitment import generate_security_commitment
from apportion.instances.security_commitment import (
    Contingency,
    Line,
    SecurityConstrainedCommitment,
    with_parts,
)
from apportion.instances.security_plan import SecureCommitment
from apportion.models.checking import check
from apportion.models.security_commitment.network import BASE, FlowRow, network_of, row_name, rows_named
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance

Floats = NDArray[np.float64]

DAY = generate_security_commitment(seed=1, buses=6, units=4, periods=6)


def plain_flows(instance: SecurityConstrainedCommitment, net: Floats, out: tuple[str, ...] = ()) -> Floats:
    """Flows by a dense solve of the network without some lines; these carry nothing."""
    kept = [line.name not in out for line in instance.lines]
    susceptance = np.array([line.susceptance for line in instance.lines]) * kept
    drop = np.zeros((len(instance.lines), len(instance.buses)))
    for k, line in enumerate(instance.lines):
        drop[k, instance.bus_index[line.from_bus]] = 1.0
        drop[k, instance.bus_index[line.to_bus]] = -1.0
    flow_of = susceptance[:, None] * drop
    return np.asarray(flow_of @ np.linalg.pinv(drop.T @ flow_of) @ net)


def with_pairs(instance: SecurityConstrainedCommitment) -> SecurityConstrainedCommitment:
    """The instance with outages of two parallel lines together and of single ones."""
    line = instance.lines[0]
    twins = tuple(
        Line(name, line.from_bus, line.to_bus, 7.0, line.limit_mw, line.emergency_limit_mw, line.overload_penalty)
        for name in ("twin-1", "twin-2")
    )
    cases = (*instance.contingencies, Contingency("twins", ("twin-1", "twin-2")), Contingency("twin", ("twin-2",)))
    return with_parts(instance, lines=(*instance.lines, *twins), contingencies=cases)


def test_shares_are_those_of_networks_without_the_lines() -> None:
    instance = with_pairs(DAY)
    network = network_of(instance)
    random = np.random.default_rng(0)
    net = random.normal(size=(len(instance.buses), 3))
    net -= net.mean(axis=0)
    base = plain_flows(instance, net)
    assert np.allclose(network.factors @ net, base)
    for c, case in enumerate(instance.contingencies):
        expected = plain_flows(instance, net, case.lines)
        for line in network.watched:
            weights = network.weights(FlowRow(int(line), c, 0))
            assert np.allclose(weights @ net, expected[line]), (case.name, line)


def test_row_names_come_back() -> None:
    rows = [FlowRow(0, BASE, 2), FlowRow(3, 1, 0)]
    names = [row_name(DAY, row) for row in rows]
    assert rows_named(DAY, [*names, "9:out-line-1:line-2", "x", "1:nothing:line-1"]) == rows


@pytest.fixture(scope="module")
def plan() -> SecureCommitment:
    result = solve_instance(DAY, SolveOptions(gap=1e-3))
    assert result.plan is not None
    found: SecureCommitment = result.plan
    return found


def rules(plan: SecureCommitment, instance: SecurityConstrainedCommitment = DAY) -> set[str]:
    return {violation.rule for violation in check(instance, plan).violations}


def moved(table: Floats, row: int, amount: float) -> Floats:
    copy = table.copy()
    copy[row] += amount
    return copy


def test_plan_is_accepted_and_priced(plan: SecureCommitment) -> None:
    verdict = check(DAY, plan)
    assert verdict.ok, verdict.violations[:3]
    parts = [
        value for name, value in verdict.measures.items() if "cost" in name or "penalty" in name or "revenue" in name
    ]
    assert sum(parts) == pytest.approx(verdict.objective)


@pytest.mark.parametrize(
    ("field", "amount", "rule"),
    [
        ("power_mw", 1.0, "power balance"),
        ("power_mw", 1e4, "maximum output"),
        ("power_mw", -1e4, "minimum output"),
        ("profiled_mw", 1e4, "profiled maximum"),
        ("charge_mw", 100.0, "charge rate"),
        ("level_mwh", 5.0, "storage level"),
        ("level_mwh", 500.0, "storage range"),
        ("served_mw", 50.0, "load served beyond demand"),
        ("curtailed_mw", 1e4, "curtailment"),
        ("surplus_mw", -5.0, "surplus"),
    ],
    ids=str,
)
def test_check_finds_what_is_broken(plan: SecureCommitment, field: str, amount: float, rule: str) -> None:
    row = int(np.argmax(plan.committed.all(axis=1))) if field == "power_mw" else 0
    change: dict[str, Any] = {field: moved(getattr(plan, field), row, amount)}
    assert rule in rules(replace(plan, **change))


def test_check_finds_broken_states(plan: SecureCommitment) -> None:
    flipped = plan.committed.copy()
    flipped[:, 1::2] = ~flipped[:, 1::2]
    assert {"output while off", "minimum up time"} & rules(replace(plan, committed=flipped))
    reserve = {name: table + 1e3 for name, table in plan.reserve_mw.items()}
    assert {"maximum output", "ramp up"} & rules(replace(plan, reserve_mw=reserve))


def test_hard_limits_are_violations_and_soft_ones_cost(plan: SecureCommitment) -> None:
    tight = tuple(
        replace(line, limit_mw=0.5 * line.limit_mw, emergency_limit_mw=0.5 * line.emergency_limit_mw)
        for line in DAY.lines
    )
    soft = check(with_parts(DAY, lines=tight), plan)
    assert soft.ok
    assert soft.measures["overload penalty"] > 0.0
    hard = with_parts(DAY, lines=tuple(replace(line, overload_penalty=None) for line in tight))
    found = [violation for violation in check(hard, plan).violations if violation.rule == "line limit"]
    assert found
    # the worst case of a line and period, by networks from which the lines are really taken
    from apportion.models.security_commitment.check import _injections

    net = _injections(hard, plan)
    worst = np.zeros((len(hard.lines), hard.num_periods))
    base = np.abs(plain_flows(hard, net))
    for case in hard.contingencies:
        after = np.abs(plain_flows(hard, net, case.lines))
        worst = np.maximum(worst, after - np.array([line.emergency_limit_mw for line in hard.lines]))
    worst = np.maximum(worst, base - np.array([line.limit_mw for line in hard.lines]))
    assert sum(violation.amount for violation in found) == pytest.approx(worst.clip(0.0).sum(), rel=1e-3)
    assert soft.measures["overload penalty"] == pytest.approx(5000.0 * worst.clip(0.0).sum())
