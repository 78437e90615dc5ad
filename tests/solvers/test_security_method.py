"""The method of secure commitment: against all rows at once, against angles, on published cases, with advice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apportion.instances.core import Instance, Sense
from apportion.instances.generate.security_commitment import generate_security_commitment
from apportion.instances.reading import read
from apportion.instances.security_commitment import (
    DirectLink,
    ReserveKind,
    ReserveProduct,
    SecurityConstrainedCommitment,
    with_parts,
)
from apportion.models.security_commitment.arrays import formulate
from apportion.models.security_commitment.network import network_of, row_name
from apportion.solvers.advisor import Advice
from apportion.solvers.backends.registry import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.explain import explain
from apportion.solvers.options import SolveOptions
from apportion.solvers.security_commitment.kernels import worst_cases
from apportion.solvers.security_commitment.screening import Screen
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status
from realdata import data_file

Floats = NDArray[np.float64]
GAP = 1e-6


def by_angles(instance: SecurityConstrainedCommitment) -> float:
    """The optimum with the angles of every case as variables: another way to write the network, all rows at once."""
    f = formulate(instance)
    model, periods = f.model, instance.num_periods
    start, end = instance.line_ends
    num_lines, num_buses = len(instance.lines), len(instance.buses)
    drop = np.zeros((num_lines, num_buses))
    drop[np.arange(num_lines), start] = 1.0
    drop[np.arange(num_lines), end] = -1.0
    over = model.add_variables("over", (num_lines, periods))
    cost = f.model.compile().cost
    index = instance.line_index
    for c, out in enumerate([(), *(case.lines for case in instance.contingencies)]):
        kept = np.array([line.name not in out for line in instance.lines])
        susceptance = np.array([line.susceptance for line in instance.lines]) * kept
        angle = model.add_variables(f"angle_{c}", (num_buses, periods), lower=-1e4, upper=1e4)
        flow = (susceptance[:, None] * drop) @ angle
        model.add_constraints(f"nodes_{c}", f.net - drop.T @ flow == 0.0)
        for line in instance.lines:
            limit = line.limit_mw if c == 0 else line.emergency_limit_mw
            k = index[line.name]
            if np.isfinite(limit).all():
                model.add_constraints(f"over_{c}_{k}", flow[k] - over[k] <= limit)
                model.add_constraints(f"under_{c}_{k}", flow[k] + over[k] >= -limit)
    program = model.compile()
    penalty = np.zeros((num_lines, periods))
    for k, line in enumerate(instance.lines):
        penalty[k] = 1e9 if line.overload_penalty is None else line.overload_penalty
    whole = np.zeros(program.num_columns)
    whole[: len(cost)] = cost
    block = model.variables["over"]
    whole[block.first : block.last] = penalty.ravel()
    answer = backend_named("highs").run(replace(program, cost=whole), SolveOptions(gap=GAP), Monitor(Sense.MINIMISE))
    assert answer.status is Status.OPTIMAL
    return answer.bounds.primal


def agree(instance: SecurityConstrainedCommitment, gap: float = 1e-5) -> None:
    result = solve_instance(instance, SolveOptions(gap=gap))
    assert result.verdict is not None
    assert result.verdict.ok, result.verdict.violations[:3]
    assert result.status is Status.OPTIMAL, result.message
    expected = by_angles(instance)
    room = 2.0 * gap * abs(expected) + 1e-3
    assert result.bounds.dual <= expected + room
    assert result.objective == pytest.approx(expected, abs=room)


@pytest.mark.parametrize("seed", [0, 1])
def test_same_optimum_as_with_angles(seed: int) -> None:
    agree(generate_security_commitment(seed=seed, buses=4, units=3, periods=5))


def test_hard_limits_and_links() -> None:
    day = generate_security_commitment(seed=5, buses=4, units=3, periods=4, tightness=1.5)
    lines = tuple(replace(line, overload_penalty=None) for line in day.lines)
    cable = (DirectLink("cable", day.buses[0].name, day.buses[2].name, 15.0, 5.0),)
    agree(with_parts(day, lines=lines, links=cable))


def test_several_products() -> None:
    day = generate_security_commitment(seed=6, buses=4, units=4, periods=5, tightness=2.0)
    names = tuple(sited.name for sited in day.thermal)
    load = day.load_mw.sum(axis=0)
    products = tuple(
        ReserveProduct(kind.value, kind, share * load, zone, penalty)
        for kind, share, zone, penalty in (
            (ReserveKind.SPINNING, 0.03, names, 1100.0),
            (ReserveKind.REGULATION_UP, 0.01, names[:2], 1200.0),
            (ReserveKind.REGULATION_DOWN, 0.01, names, 1200.0),
            (ReserveKind.FLEXIBLE_UP, 0.02, names, 900.0),
            (ReserveKind.FLEXIBLE_DOWN, 0.02, names[1:], 900.0),
        )
    )
    result = solve_instance(with_parts(day, reserves=products), SolveOptions(gap=1e-4))
    assert result.status is Status.OPTIMAL
    plain = solve_instance(with_parts(day, reserves=()), SolveOptions(gap=1e-4))
    assert plain.bounds.dual <= result.objective


@pytest.mark.long
def test_stores_that_may_not_do_both() -> None:
    day = generate_security_commitment(seed=7, buses=4, units=3, periods=5, stores=2, tightness=2.0)
    periods = day.num_periods
    stores = (
        replace(day.storage[0], charge_min_mw=np.full(periods, 5.0), discharge_min_mw=np.full(periods, 4.0)),
        replace(day.storage[1], simultaneous=np.ones(periods, np.bool_), charge_cost=np.full(periods, -3.0)),
    )
    agree(with_parts(day, storage=stores))


@pytest.mark.long
def test_half_hours_and_fixed_states() -> None:
    day = generate_security_commitment(seed=8, buses=4, units=4, periods=6, tightness=2.0)
    fixed = np.full(6, -1)
    fixed[2:4] = 1
    first = replace(day.thermal[-1], fixed_commitment=fixed, shutdown_cost=40.0)
    changed = with_parts(day, period_h=0.5, thermal=(*day.thermal[:-1], first))
    agree(changed)
    result = solve_instance(changed, SolveOptions(gap=1e-4))
    assert result.plan is not None
    assert result.plan.committed[-1, 2:4].all()


def test_impossible_states_are_infeasible() -> None:
    day = generate_security_commitment(seed=1, buses=4, units=3, periods=4)
    on = replace(day.thermal[0], fixed_commitment=np.array([1, 0, 1, 0]))
    slow = replace(on, unit=replace(on.unit, min_up_h=3, min_down_h=max(3, on.unit.min_down_h)))
    result = solve_instance(with_parts(day, thermal=(slow, *day.thermal[1:])), SolveOptions())
    assert result.status is Status.INFEASIBLE


class PutIn:
    """An advisor that names the rows of another day."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def advise(self, instance: Instance) -> Advice:
        return Advice(put_in=self.names)


def test_advice_puts_rows_in_and_changes_no_optimum() -> None:
    day = generate_security_commitment(seed=2, buses=5, units=3, periods=5)
    plain = solve_instance(day, SolveOptions(gap=1e-5))
    net = np.random.default_rng(0).normal(scale=100.0, size=(5, 5))
    rows = Screen(network_of(day), 5).broken(net - net.mean(axis=0))
    assert rows
    names = [row_name(day, row) for row in rows]
    advised = solve_instance(day, SolveOptions(gap=1e-5), advisor=PutIn([*names, "no such row"]))
    assert advised.objective == pytest.approx(plain.objective, rel=3e-5)
    assert advised.counts["flow rows"] >= len(rows)


def test_start_is_taken_over() -> None:
    day = generate_security_commitment(seed=2, buses=5, units=3, periods=5)
    first = solve_instance(day, SolveOptions(gap=1e-5))
    found: list[float] = []
    again = solve_instance(
        day,
        SolveOptions(gap=1e-5, start=first.plan),
        listener=lambda event: found.append(event.bounds.primal) if event.letter in ("S", "R") else None,
    )
    assert found[0] <= first.objective * (1.0 + 1e-6)
    assert again.objective == pytest.approx(first.objective, rel=3e-5)


def test_same_seed_same_answer() -> None:
    day = generate_security_commitment(seed=9, buses=5, units=4, periods=6)
    runs: list[Any] = [solve_instance(day, SolveOptions(gap=1e-4, deterministic=True, seed=3)) for _ in range(2)]
    assert runs[0].plan == runs[1].plan
    assert runs[0].bounds == runs[1].bounds


@pytest.mark.kernels
def test_screening_kernel_against_its_twin() -> None:
    day = generate_security_commitment(seed=3, buses=6, units=3, periods=4)
    network = network_of(day)
    net = np.random.default_rng(1).normal(scale=50.0, size=(6, 4))
    flow, lost = (network.factors[network.watched] @ net).T, (network.factors[network.out_line] @ net).T
    excess, case = np.zeros(flow.shape), np.zeros(flow.shape, np.int64)
    worst_cases(
        np.ascontiguousarray(flow),
        np.ascontiguousarray(lost),
        network.share,
        network.case_start,
        network.limit,
        network.emergency_limit,
        np.zeros(flow.shape[1]),
        excess,
        case,
    )
    for t in range(4):
        for m in range(flow.shape[1]):
            ways = [(abs(flow[t, m]) - network.limit[t, m], -1)]
            for c in range(len(network.case_start) - 1):
                entries = range(network.case_start[c], network.case_start[c + 1])
                after = flow[t, m] + sum(network.share[e, m] * lost[t, e] for e in entries)
                ways.append((abs(after) - network.emergency_limit[t, m], c))
            best = max(ways, key=lambda way: way[0])
            assert excess[t, m] == pytest.approx(best[0], abs=1e-9)


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "case14",
        "case14-fixed-status",
        "case14-profiled",
        pytest.param("case14-storage", marks=pytest.mark.long),
        "case14-sub-hourly",
    ],
)
def test_fixtures_against_angles(name: str) -> None:
    found = read(data_file(f"power/unitcommitment_jl/fixtures/{name}.json.gz"))
    assert isinstance(found, SecurityConstrainedCommitment)
    agree(found, gap=1e-4)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "dual", "primal"),
    [("case118/2017-02-01", 5765741.474991, 5766283.501723), ("case300/2017-02-01", 19779491.78066, 19779491.78067)],
    ids=["case118", "case300"],
)
def test_published_interval(name: str, dual: float, primal: float) -> None:
    found = read(data_file(f"power/unitcommitment_jl/matpower/{name}.json.gz"))
    result = solve_instance(found, SolveOptions(gap=1e-4))
    assert result.status is Status.OPTIMAL
    assert result.bounds.dual <= primal + 1e-3
    assert dual - 1e-3 <= result.objective <= max(primal, dual * (1.0 + 1e-4)) + 1e-3


def test_explain_names_period_bus_and_shortfall() -> None:
    day = generate_security_commitment(seed=1, buses=4, units=3, periods=4)
    heavy = tuple(replace(bus, load_mw=bus.load_mw + (1e4 if k == 2 else 0.0)) for k, bus in enumerate(day.buses))
    text = str(explain(with_parts(day, buses=heavy, curtailment_penalty=None)))
    assert "period 1, bus bus-3" in text
    assert "are missing" in text
