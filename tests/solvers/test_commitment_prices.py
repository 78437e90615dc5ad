"""Unit prices against the mathematical model: the dynamic program, its margins, the best bound, the excluded states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.commitment import UnitCommitment
from apportion.instances.core import Sense
from apportion.instances.generate.commitment import generate_commitment
from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.models.checking import check
from apportion.models.commitment.arrays import Formulation, formulate
from apportion.solvers.backends import backend_named
from apportion.solvers.commitment import method
from apportion.solvers.commitment.hull import best_prices
from apportion.solvers.commitment.prices import Prices, UnitPricing
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance

PERIODS = 8


def _instance(seed: int) -> UnitCommitment:
    made = generate_commitment(seed=seed, units=4, periods=PERIODS)
    assert isinstance(made, UnitCommitment)
    return made


def _prices(instance: UnitCommitment, seed: int) -> Prices:
    random = np.random.default_rng(seed)
    reserve = random.uniform(0.0, 20.0, PERIODS) * (random.random(PERIODS) < 0.7)
    return Prices(random.uniform(5.0, 60.0, PERIODS), np.where(instance.reserve_mw > 0.0, reserve, 0.0))


def _columns(formulation: Formulation, name: str) -> np.ndarray:
    count = formulation.model.compile().num_columns
    return formulation.model.split(np.arange(count, dtype=np.float64))[name].astype(np.int64)


def _priced_program(formulation: Formulation, prices: Prices) -> MixedIntegerProgram:
    """The units alone, paid for what they give: the slow twin."""
    program = formulation.model.compile()
    cost = np.array(program.cost)
    held = np.flatnonzero(formulation.instance.reserve_mw > 0.0)
    power = _columns(formulation, "power")
    cost[power] -= prices.energy
    cost[power[:, held]] += prices.reserve[held]
    cost[_columns(formulation, "commit")] -= prices.energy * formulation.fleet.power_min[:, None]
    cost[_columns(formulation, "available")] -= prices.reserve[held]
    cost[_columns(formulation, "renewable")] -= prices.energy
    lower, upper = np.array(program.row_lower), np.array(program.row_upper)
    for name in ("demand", "reserve", "capacity"):
        rows = formulation.model.constraints[name].rows
        lower[rows], upper[rows] = -np.inf, np.inf
    return replace(program, cost=cost, row_lower=lower, row_upper=upper)


def _optimum(program: MixedIntegerProgram) -> float:
    answer = backend_named("highs").run(program, SolveOptions.build(gap=0.0), Monitor(Sense.MINIMISE), None)
    return answer.bounds.primal


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_units_answer_as_the_model_does(seed: int) -> None:
    instance = _instance(seed)
    prices = _prices(instance, seed)
    answer = UnitPricing(instance).answer(prices)
    slow = _optimum(_priced_program(formulate(instance), prices))
    slow += float(prices.energy @ instance.demand_mw + prices.reserve @ instance.reserve_mw)
    assert answer.bound == pytest.approx(slow, rel=1e-6, abs=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_the_schedules_cost_what_they_are_said_to(seed: int) -> None:
    instance = _instance(seed)
    prices = _prices(instance, seed)
    pricing = UnitPricing(instance)
    answer = pricing.answer(prices)
    output = answer.power + pricing.fleet.power_min[:, None] * answer.committed
    income = output @ prices.energy + answer.reserve @ prices.reserve
    assert answer.cost - income == pytest.approx(answer.least, rel=1e-7, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_margins_are_what_each_state_costs(seed: int) -> None:
    instance = _instance(seed)
    prices = _prices(instance, seed)
    formulation = formulate(instance)
    priced, commit = _priced_program(formulation, prices), _columns(formulation, "commit")
    answer = UnitPricing(instance).answer(prices, margins=True)
    random = np.random.default_rng(seed)
    base = answer.bound - answer.least.sum()
    for g, t in zip(random.integers(0, 4, 5), random.integers(0, PERIODS, 5), strict=True):
        for state, least in ((0.0, answer.least_off), (1.0, answer.least_on)):
            column = commit[g, t]
            lower, upper = np.array(priced.lower), np.array(priced.upper)
            if not lower[column] <= state <= upper[column]:
                continue
            lower[column] = upper[column] = state
            slow = _optimum(replace(priced, lower=lower, upper=upper))
            slow += float(prices.energy @ instance.demand_mw + prices.reserve @ instance.reserve_mw)
            fast = answer.bound - answer.least[g] + least[g, t]
            assert fast == pytest.approx(slow, rel=1e-6, abs=1e-4), (g, t, state, base)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_prices_prove_at_least_the_linear_relaxation(seed: int) -> None:
    instance = _instance(seed)
    program = formulate(instance).model.compile()
    monitor = Monitor(Sense.MINIMISE)
    hull = best_prices(UnitPricing(instance), monitor, 1e-7)
    optimum = _optimum(program)
    relaxed = _optimum(program.relaxed())
    assert hull.bound <= optimum + 1e-6 * abs(optimum)
    assert hull.bound >= relaxed - 1e-5 * abs(relaxed)
    assert hull.most >= hull.bound - 1e-6 * abs(hull.bound)
    assert monitor.bounds.dual == hull.bound


@pytest.mark.parametrize("seed", range(6))
def test_prices_and_relaxation_lead_to_the_same_optimum(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = generate_commitment(seed=seed, units=6, periods=12)
    by_relaxation = solve_instance(instance, SolveOptions.build(gap=1e-6))
    monkeypatch.setattr(method, "LARGE", 0)
    by_prices = solve_instance(instance, SolveOptions.build(gap=1e-6))
    assert by_prices.bounds.primal == pytest.approx(by_relaxation.bounds.primal, rel=3e-6)
    assert by_prices.plan is not None
    assert check(instance, by_prices.plan).ok


def test_excluded_states_are_in_no_better_plan() -> None:
    """Fixing what prices exclude keeps the optimum, whatever incumbent they are measured against."""
    for seed in range(4):
        instance = _instance(seed)
        formulation = formulate(instance)
        program = formulation.model.compile()
        optimum = _optimum(program)
        search = method._Search(formulation, program, SolveOptions(), Monitor(Sense.MINIMISE))
        search.objective = optimum
        narrowed = search.narrowed()
        assert np.any(narrowed.lower != program.lower) or np.any(narrowed.upper != program.upper)
        assert _optimum(narrowed) == pytest.approx(optimum, rel=1e-7)


def test_an_hour_that_cannot_be_served_ends_as_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "LARGE", 0)
    instance = _instance(1)
    demand = np.array(instance.demand_mw)
    demand[3] = 10.0 * sum(unit.power_max_mw for unit in instance.thermal)
    result = solve_instance(replace(instance, demand_mw=demand), SolveOptions())
    assert result.status.value == "infeasible"


def _values(prices: Prices) -> Floats:
    return np.concatenate((prices.energy, prices.reserve))


def test_the_same_prices_come_again() -> None:
    instance = _instance(5)
    first, second = (best_prices(UnitPricing(instance), Monitor(Sense.MINIMISE)) for _ in range(2))
    assert np.array_equal(_values(first.answer.prices), _values(second.answer.prices))
