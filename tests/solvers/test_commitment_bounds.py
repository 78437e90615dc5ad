"""Prices, cuts and parts in numbers of like units: whatever they claim holds for the full model of every unit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.core import Sense
from apportion.models.checking import check
from apportion.models.commitment.alike import Alike
from apportion.models.commitment.arrays import formulate
from apportion.solvers.backends import backend_named
from apportion.solvers.commitment import method
from apportion.solvers.commitment.counts import Counted, losses
from apportion.solvers.commitment.covers import Cover, Covers
from apportion.solvers.commitment.hull import Hull, PriceSearch
from apportion.solvers.commitment.prices import Answer, Prices, UnitPricing
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status
from tiny_fleets import PERIODS, full_optimum, optimum, tiny_fleet

SEEDS = st.integers(0, 10**6)


def strengthened(instance: UnitCommitment) -> tuple[Alike, UnitPricing, Hull]:
    alike = Alike.of(instance)
    pricing = UnitPricing(alike.instance, alike.count)
    return alike, pricing, PriceSearch(pricing, Monitor(Sense.MINIMISE), 1e-6).strengthen()


def at_most(bound: float, best: float) -> bool:
    return bound <= best + 1e-6 * max(1.0, abs(best))


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_cuts_raise_the_bound_and_never_above_the_optimum(seed: int) -> None:
    instance = tiny_fleet(seed)
    best = full_optimum(instance)
    alike = Alike.of(instance)
    search = PriceSearch(UnitPricing(alike.instance, alike.count), Monitor(Sense.MINIMISE), 1e-6)
    without = search.converge()
    with_cuts = search.strengthen()
    assert at_most(without.bound, best)
    assert at_most(with_cuts.bound, best)
    assert with_cuts.bound >= without.bound
    assert best == inf or not with_cuts.infeasible


def test_cuts_do_close_gaps() -> None:
    gained = 0
    for seed in range(6):
        instance = tiny_fleet(seed)
        alike = Alike.of(instance)
        search = PriceSearch(UnitPricing(alike.instance, alike.count), Monitor(Sense.MINIMISE), 1e-6)
        gained += search.converge().bound * (1.0 + 1e-3) < search.strengthen().bound
    assert gained >= 2


def starts_of(answer: Answer, pricing: UnitPricing) -> np.ndarray:
    before = np.column_stack((pricing.fleet.initially_on, answer.committed[:, :-1]))
    return answer.committed & ~before


def random_mix(pricing: UnitPricing, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of running and starting units in a mix of schedules at random prices."""
    shape = pricing.can_on.shape
    commit, start = np.zeros(shape), np.zeros(shape)
    needed = pricing.instance.reserve_mw > 0.0
    for part in random.dirichlet(np.ones(3)):
        energy, reserve = random.uniform(0.0, 60.0, shape[1:]), random.uniform(0.0, 20.0, shape[1:])
        answer = pricing.answer(Prices(energy, np.where(needed, reserve, 0.0)))
        commit += part * pricing.count[:, None] * answer.committed
        start += part * pricing.count[:, None] * starts_of(answer, pricing)
    return commit, start


def least_slack(cover: Cover, instance: UnitCommitment, alike: Alike) -> float:
    """The least slack of a cut over every plan of the full model, by HiGHS; infinite when there is no plan."""
    formulation = formulate(instance)
    on, start = np.zeros((2, *formulation.shape))
    for k, members in enumerate(alike.members):
        on[list(members)], start[list(members)] = cover.on[k], cover.start[k]
    program = formulation.model.compile()
    cost = np.nan_to_num(formulation.model.pack({"commit": on, "start": start}))
    answer = backend_named("highs").run(replace(program, cost=cost), SolveOptions(gap=0.0), Monitor(Sense.MINIMISE))
    if answer.values is None:
        return inf
    blocks = formulation.model.split(answer.values)
    commit, begun = (np.rint(blocks[name]) for name in ("commit", "start"))
    numbers = (np.array([block[list(units)].sum(axis=0) for units in alike.members]) for block in (commit, begun))
    return cover.slack(*numbers)


@pytest.mark.parametrize("seed", range(1000, 1024))
def test_no_plan_violates_a_cut(seed: int) -> None:
    """The cuts of mixes at random prices, each minimised over all plans: starts, stops, initial states, counts."""
    random = np.random.default_rng(seed)
    instance = tiny_fleet(seed, most_alike=2, periods=5)
    alike = Alike.of(instance)
    pricing = UnitPricing(alike.instance, alike.count)
    covers = [cover for _ in range(10) for cover in Covers(pricing).violated(*random_mix(pricing, random))]
    for k in random.permutation(len(covers))[:4]:
        assert least_slack(covers[k], instance, alike) >= -1e-6


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_parts_prove_no_more_than_the_optimum(seed: int) -> None:
    instance = tiny_fleet(seed)
    best = full_optimum(instance)
    alike, pricing, hull = strengthened(instance)
    assume(not hull.infeasible)
    counted = Counted.of(alike, hull)
    assert at_most(optimum(counted.program), best)
    loss = losses(pricing, hull)
    for room in (0.0, 1e-3 * abs(hull.bound), 0.05 * abs(hull.bound), inf):
        part = counted.within(hull, loss, room)
        assert at_most(min(optimum(part.program), part.reach), best)
    assert counted.near(hull, 0).reach == -inf


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_no_plan_with_a_state_costs_less_than_said(seed: int) -> None:
    """Force one of the units of a kind to be off, or on, in some hour of the full model."""
    random = np.random.default_rng(seed)
    instance = tiny_fleet(seed)
    alike, pricing, hull = strengthened(instance)
    assume(not hull.infeasible)
    loss = losses(pricing, hull)
    formulation = formulate(instance)
    program = formulation.model.compile()
    columns = formulation.model.split(np.arange(program.num_columns, dtype=np.float64))["commit"].astype(np.int64)
    for _ in range(5):
        kind, hour, state = random.integers(len(loss[0])), random.integers(PERIODS), int(random.integers(2))
        column = columns[random.choice(alike.members[kind]), hour]
        lower, upper = np.array(program.lower), np.array(program.upper)
        if lower[column] <= state <= upper[column]:
            lower[column] = upper[column] = state
            least = hull.bound + float(loss[state, kind, hour])
            assert at_most(least, optimum(replace(program, lower=lower, upper=upper)))


def test_a_part_holds_the_plan_that_it_is_given() -> None:
    instance = tiny_fleet(3)
    alike, pricing, hull = strengthened(instance)
    counted = Counted.of(alike, hull)
    values = backend_named("highs").run(counted.program, SolveOptions(), Monitor(Sense.MINIMISE)).values
    assert values is not None
    for part in (counted.near(hull, 0, values), counted.within(hull, losses(pricing, hull), 0.0, values)):
        inside = np.rint(values[counted.columns])
        assert np.all(part.program.lower[counted.columns] <= inside)
        assert np.all(part.program.upper[counted.columns] >= inside)


def keeps_minimum_times(instance: UnitCommitment, states: np.ndarray) -> bool:
    for unit, row in zip(instance.thermal, states, strict=True):
        past = unit.initial_up_h if unit.initially_on else unit.initial_down_h
        line = [unit.initially_on] * past + row.tolist()
        changes = [t for t in range(1, len(line)) if line[t] != line[t - 1]]
        for begin, end in pairwise([0, *changes]):
            if end - begin < (unit.min_up_h if line[begin] else unit.min_down_h):
                return False
    return True


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_numbers_come_apart_into_schedules(seed: int) -> None:
    """Of plans of the full model at random costs, and of the model in numbers: minimum times hold for each unit."""
    random = np.random.default_rng(seed)
    instance = tiny_fleet(seed)
    alike = Alike.of(instance)
    for formulation in (formulate(instance), formulate(alike.instance, alike.count)):
        program = formulation.model.compile()
        cost = np.nan_to_num(formulation.model.pack({"commit": random.uniform(-50.0, 50.0, formulation.shape)}))
        answer = backend_named("highs").run(replace(program, cost=cost), SolveOptions(), Monitor(Sense.MINIMISE))
        if answer.values is None:
            return
        running = np.rint(formulation.model.split(answer.values)["commit"]).astype(np.int64)
        if formulation.shape[0] == instance.num_units:
            running = alike.counted(running.astype(np.bool_)).astype(np.int64)
        states = alike.spread(running)
        assert states is not None
        assert np.array_equal(alike.counted(states), running)
        assert keeps_minimum_times(instance, states)


@pytest.mark.parametrize("large", [0, 10**9], ids=["prices", "relaxation"])
@pytest.mark.parametrize("seed", range(12))
def test_both_routes_find_the_optimum(seed: int, large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "LARGE", large)
    instance = tiny_fleet(seed + 100)
    best = full_optimum(instance)
    result = solve_instance(instance, SolveOptions(gap=1e-7))
    if best == inf:
        assert result.status is Status.INFEASIBLE
        return
    assert result.status is Status.OPTIMAL
    assert isinstance(result.plan, Commitment)
    verdict = check(instance, result.plan)
    assert verdict.ok, verdict.violations
    assert verdict.objective == pytest.approx(best, rel=1e-6, abs=1e-4)
    assert at_most(result.bounds.dual, best)


def test_the_route_by_prices_is_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "LARGE", 0)
    instance = tiny_fleet(7, kinds=3, periods=8)
    one, two = (solve_instance(instance, SolveOptions(gap=1e-4, deterministic=True, seed=3)) for _ in range(2))
    assert one.plan == two.plan
    assert one.bounds == two.bounds


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_payments_for_states_and_starts_are_earned(seed: int) -> None:
    """The dynamic program with the prices that cuts carry, against every schedule's claim: what it says it earns."""
    random = np.random.default_rng(seed)
    alike = Alike.of(tiny_fleet(seed))
    pricing = UnitPricing(alike.instance, alike.count)
    shape = pricing.can_on.shape
    prices = Prices(
        random.uniform(0.0, 60.0, PERIODS),
        np.zeros(PERIODS),
        random.uniform(-400.0, 400.0, shape),
        random.uniform(-400.0, 400.0, shape),
    )
    answer = pricing.answer(prices, margins=True)
    assume(bool(np.all(np.isfinite(answer.cost))))
    assert prices.on is not None
    assert prices.start is not None
    output = answer.power + pricing.fleet.power_min[:, None] * answer.committed
    income = output @ prices.energy + (prices.on * answer.committed).sum(axis=1)
    income += (prices.start * starts_of(answer, pricing)).sum(axis=1)
    assert answer.least == pytest.approx(answer.cost - income, rel=1e-7, abs=1e-5)
    state = np.where(answer.committed, answer.least_on, answer.least_off)
    assert state == pytest.approx(np.repeat(answer.least[:, None], PERIODS, axis=1), rel=1e-7, abs=1e-5)
    assert np.all(np.minimum(answer.least_on, answer.least_off) >= answer.least[:, None] - 1e-5)
