"""Every policy keeps the rules, and the fast methods agree with the programs solved in full."""

from __future__ import annotations

from dataclasses import replace
from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocation_twins import highest_level as twin_level
from allocation_twins import least_by_orders, least_total_completion, water_levels
from apportion.instances.fleet import FleetAllocation, FleetShares
from apportion.instances.generate.fleet import generate_fleet
from apportion.models.allocation.check import check
from apportion.solvers.allocation import goodput, linear, matching, packed, priced, requirements
from apportion.solvers.allocation.allocation import Allocation, effective_throughputs
from apportion.solvers.allocation.deadlines import deadlines, soft_deadlines
from apportion.solvers.allocation.hierarchy import entity_paces
from apportion.solvers.allocation.objectives import fair_needs
from apportion.solvers.allocation.parts import by_parts
from apportion.solvers.allocation.policies import LINEAR_POLICIES, POLICIES, agnostic

FLEETS = {
    "crowded": generate_fleet(1, jobs=30, gpus_per_type=8, entities=3, promised_fraction=0.3),
    "roomy": generate_fleet(2, jobs=6, gpus_per_type=8),
    "shared": generate_fleet(3, jobs=14, gpus_per_type=8, sharing=True),
    "distinct": generate_fleet(4, jobs=12, types=2, gpus_per_type=8, sharing=True, distinct=True),
    "one type": generate_fleet(5, jobs=12, types=1, gpus_per_type=8),
    "many types": generate_fleet(6, jobs=20, types=8, gpus_per_type=8),
}


def with_pending() -> FleetAllocation:
    table = {"big": [1.0, 2.0], "idle": [0.0, 0.0], "a": [3.0, 1.0], "b": [2.0, 2.0]}
    return FleetAllocation.build("pending", {"v": 2, "k": 2}, table, scale_factor=[8, 1, 1, 2])


FLEETS["pending"] = with_pending()
FLEETS["nobody"] = FleetAllocation.build("nobody", {"v": 1}, {})
FLEETS["no gpus"] = FleetAllocation.build("no gpus", {"v": 0}, {"a": [1.0]})


def assert_allowed(fleet: FleetAllocation, found: Allocation) -> None:
    """Time of each job, GPUs of each type, nothing where a job cannot run: by the independent check."""
    assert found.x.shape == fleet.usable.shape
    assert found.y.shape == (fleet.num_pairs, fleet.num_types)
    plain = fleet.with_objective("max-min-fairness")
    verdict = check(plain, FleetShares.from_arrays(plain, found.x, found.y))
    assert verdict.ok, verdict.violations[:3]
    assert set(found.pending) == set(np.flatnonzero(~fleet.runnable).tolist())


@pytest.mark.parametrize("fleet", FLEETS.values(), ids=FLEETS.keys())
@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_keeps_the_rules_on_every_fleet(name: str, fleet: FleetAllocation) -> None:
    found = POLICIES[name](fleet)
    assert_allowed(fleet, found)
    again = POLICIES[name](fleet)
    assert np.array_equal(found.x, again.x)


@pytest.mark.parametrize("name", LINEAR_POLICIES)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_fast_methods_agree_with_the_programs(name: str, seed: int) -> None:
    fleet = generate_fleet(
        seed, jobs=10, types=2 + seed % 3, gpus_per_type=8 + seed % 5, sharing="packed" in name, promised_fraction=0.3
    )
    fast, whole = POLICIES[name](fleet), LINEAR_POLICIES[name](fleet)
    assert_allowed(fleet, fast)
    assert_allowed(fleet, whole)
    if name == "sia":  # rounding: a gap is left, and both bounds are true
        assert fast.objective <= whole.objective + 1e-6 <= fast.bound + 2e-6
        assert fast.objective >= 0.98 * whole.objective
        return
    assert fast.objective == pytest.approx(whole.objective, rel=2e-6, abs=1e-9)
    for found in (fast, whole):
        better = name.startswith(("finish", "makespan", "min-cost"))
        beyond = found.bound - whole.objective if better else whole.objective - found.bound
        assert beyond <= 1e-6 * max(1e-3, abs(whole.objective))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_levels_with_fixed_rates_match_a_dense_program(seed: int) -> None:
    fleet = generate_fleet(seed, jobs=7, gpus_per_type=8, distinct=True)
    fleet = replace(fleet, num_gpus=np.array([1, 2, 3]))
    need = np.where(fleet.runnable, fair_needs(fleet), 0.0)
    if not need.any():
        return
    market = priced.Market.of(fleet)
    first = priced.highest_level(market, need)
    assert first is not None
    fixed = effective_throughputs(fleet, first[0]) * 0.5
    found = priced.highest_level(market, need, fixed, market.anchor(0.0, first[0]))
    assert found is not None
    assert found[1].value == pytest.approx(twin_level(fleet, need, fixed), rel=1e-6, abs=1e-9)
    assert found[1].bound >= found[1].value - 1e-9


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_water_filling_is_lexicographic(seed: int) -> None:
    random = np.random.default_rng(seed)
    fleet = generate_fleet(seed, jobs=9, gpus_per_type=8, distinct=True)
    some = np.where(random.random((9, 3)) < 0.3, 0.0, fleet.throughputs)
    fleet = replace(fleet, throughputs=some, num_gpus=random.integers(0, 6, 3))
    need = np.where(fleet.runnable, fair_needs(fleet), 0.0)
    expected = np.sort(water_levels(fleet, need))
    found = requirements.water_filling(priced.Market.of(fleet), need)
    if found is None:
        assert not need.any()
        return
    assert np.sort(found[1]) == pytest.approx(expected, rel=1e-3, abs=1e-6)
    whole = linear.water_filling(fleet, need)
    assert whole is not None
    rate = whole.throughputs(fleet)
    levels = np.divide(rate, need, out=np.zeros(9), where=need > 0)
    assert np.sort(levels) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_prices_are_those_of_a_market() -> None:
    fleet = generate_fleet(8, jobs=40, gpus_per_type=8)
    market = priced.Market.of(fleet)
    found = priced.highest_welfare(market, fleet.weights, np.where(fleet.usable, 1e-3, 0.0))
    assert found is not None
    x, proof = found
    spent = (fleet.scale_factor[:, None] * x * proof.price).sum(axis=1)
    assert (spent <= fleet.weights * (1 + 1e-3)).all()  # less only when its whole time is used
    whole_time = x.sum(axis=1) > 1 - 1e-3
    assert spent[~whole_time] == pytest.approx(fleet.weights[~whole_time], rel=1e-3)
    unsold = proof.price * (fleet.num_gpus - fleet.scale_factor @ x)
    assert unsold == pytest.approx(np.zeros(3), abs=1e-2)


def test_like_jobs_collapse_and_get_the_same() -> None:
    fleet = replace(generate_fleet(9, jobs=40, models=3, sharing=True), weights=np.ones(40))
    need = fair_needs(fleet)
    classes = packed.collapse(fleet, need)
    assert classes is not None
    assert len(classes.first) < 13
    fast, whole = packed.highest_level(fleet, need), linear.highest_level(fleet, need, packed=True)
    assert fast is not None
    assert whole is not None
    assert fast.objective == pytest.approx(whole.objective, rel=1e-6)
    assert_allowed(fleet, fast)
    rate = fast.throughputs(fleet)
    for number in range(len(classes.first)):
        assert np.ptp(rate[classes.of_job == number]) <= 1e-6 * rate.max()


def test_pairs_that_differ_do_not_collapse() -> None:
    fleet = replace(generate_fleet(9, jobs=40, models=3, sharing=True), weights=np.ones(40))
    table = fleet.pair_throughputs.copy()
    table[0] *= 0.9
    odd = replace(fleet, pair_throughputs=table)
    assert packed.collapse(odd, fair_needs(odd)) is None
    missing = replace(fleet, pairs=fleet.pairs[1:], pair_throughputs=fleet.pair_throughputs[1:])
    assert packed.collapse(missing, fair_needs(missing)) is None


def test_first_come_first_served() -> None:
    table = {"a": [1.0, 2.0], "b": [5.0, 1.0], "c": [1.0, 1.0], "d": [1.0, 1.0]}
    fleet = FleetAllocation.build(
        "q", {"v": 1, "k": 2}, table, arrival_s=[3.0, 1.0, 2.0, 4.0], scale_factor=[1, 1, 2, 1]
    )
    served = POLICIES["fifo-perf"](fleet).x
    assert served.tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]
    short = replace(fleet, steps_left=np.array([1.0, 100.0, 100.0, 1.0]))
    assert POLICIES["srtf"](short).x.tolist() == [[0, 1], [0, 1], [0, 0], [1, 0]]
    kept = replace(fleet, current_type=np.array([1, -1, -1, -1]))
    assert POLICIES["fifo"](kept).x[0].tolist() == [0, 1]
    assert POLICIES["fifo"](kept).x[1].tolist() in ([1, 0], [0, 1])
    assert POLICIES["fifo"](kept).x[3].tolist() == [0, 0], "nobody overtakes c"


def test_fifo_packed_lets_the_next_join_the_best_partner() -> None:
    fleet = FleetAllocation.build(
        "p",
        {"v": 2},
        {"a": [1.0], "b": [1.0], "c": [1.0]},
        pairs=[[0, 2], [1, 2]],
        pair_throughputs=[[[0.8], [0.8]], [[0.9], [0.9]]],
    )
    found = POLICIES["fifo-packed"](fleet)
    assert found.y.tolist() == [[0.0], [1.0]]
    assert found.x.tolist() == [[1.0], [0.0], [0.0]]


def test_gandiva_packs_only_what_gains() -> None:
    table = {name: [1.0] for name in "abcd"}
    pairs = [[0, 1], [2, 3]]
    fleet = FleetAllocation.build("g", {"v": 2}, table, pairs=pairs, pair_throughputs=[[[0.8], [0.8]], [[0.3], [0.3]]])
    found = POLICIES["gandiva"](fleet)
    assert found.y[1].sum() == 0
    assert found.y[0].sum() == pytest.approx(2 / 3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), jobs=st.integers(1, 8))
def test_matching_has_the_least_mean_completion_time(seed: int, jobs: int) -> None:
    random = np.random.default_rng(seed)
    seconds = random.uniform(1.0, 100.0, (jobs, 2))
    seconds[random.random((jobs, 2)) < 0.2] = np.inf
    seconds[~np.isfinite(seconds).any(axis=1), 0] = 5.0
    gpus = random.integers(1, 3, 2)
    place, total = matching.match(seconds, gpus)
    assert total == pytest.approx(least_total_completion(seconds, gpus), rel=1e-6)
    for kind in range(2):
        running = matching.first_to_run(place, kind)
        assert len(running) == min(gpus[kind], (place[:, 0] == kind).sum())


def test_matching_on_one_gpu_is_shortest_first() -> None:
    seconds = np.array([[5.0], [1.0], [3.0], [2.0]])
    place, total = matching.match(seconds, np.array([1]))
    assert total == least_by_orders(seconds[:, 0])
    assert matching.first_to_run(place, 0).tolist() == [1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_adaptive_configurations(seed: int) -> None:
    random = np.random.default_rng(seed)
    gpus, kinds = np.array([1, 2, 4, 1, 2, 4]), np.array([0, 0, 0, 1, 1, 1])
    speed = random.uniform(1.0, 5.0, (10, 2)).repeat(3, axis=1) * gpus ** random.uniform(0.5, 1.0, (10, 1))
    current = random.integers(-1, 6, 10)
    worth = goodput.sia_worth(speed, current, random.uniform(0.5, 1.0, 10))
    choices = goodput.Choices(worth, gpus, kinds, np.array([6, 5]))
    fast, value, bound = goodput.choose(choices)
    exact, best, above = goodput.choose_by_program(choices)
    assert (choices.load(fast) <= choices.capacity).all()
    assert (choices.load(exact) <= choices.capacity).all()
    assert value <= best + 1e-6
    assert best <= min(bound, above) + 1e-6
    assert value >= 0.9 * best


def test_goodput_and_restarts() -> None:
    assert goodput.restart_factor(np.array([0.0, 970.0]), np.zeros(2), np.full(2, 30.0)) == pytest.approx([0.0, 0.97])
    worth = goodput.sia_worth(np.array([[1.0, 1.2]]), np.array([0]), np.array([0.5]))
    assert worth[0, 0] > worth[0, 1], "a small gain does not pay for a restart"
    fresh = goodput.sia_worth(np.array([[1.0, 1.2]]), np.array([-1]), np.array([0.5]))
    assert fresh[0, 1] > fresh[0, 0]


def test_promises_that_do_not_fit_together() -> None:
    table = {"a": [1.0], "b": [1.0], "c": [1.0]}
    fleet = FleetAllocation.build(
        "d", {"v": 1}, table, steps_left=[10.0, 10.0, 10.0], slo_s=[10.0, 15.0, np.inf], weights=[1.0, 3.0, 1.0]
    )
    strict, soft = deadlines(fleet), soft_deadlines(fleet)
    assert strict.objective == pytest.approx(3.0)
    assert soft.objective == pytest.approx(3.5)
    assert strict.x.sum() == pytest.approx(1.0)
    both = replace(fleet, slo_s=np.array([10.0, 20.0, np.inf]))
    kept = deadlines(both)
    assert kept.objective == pytest.approx(4.0)
    assert kept.x[:, 0] == pytest.approx([1.0, 0.0, 0.0], abs=1e-6), "the later promise can wait"


def test_hierarchy_shares_by_entity_first() -> None:
    table = {name: [1.0] for name in "abcd"}
    entities = ("x", "y", "y", "y")
    fleet = FleetAllocation.build("h", {"v": 2}, table, entities=entities, entity_rules={"y": "fifo"})
    assert entity_paces(fleet, np.ones(4, np.bool_)).tolist() == [1.0, 1.0, 0.0, 0.0]
    found = POLICIES["hierarchical"](fleet)
    assert found.x[:, 0] == pytest.approx([1.0, 1.0, 0.0, 0.0], abs=1e-6)
    three = replace(fleet, num_gpus=np.array([3]), entity_rules={}, entity_weights={"y": 2.0})
    assert POLICIES["hierarchical"](three).x[:, 0] == pytest.approx([1.0, 2 / 3, 2 / 3, 2 / 3], abs=1e-6)


def test_agnostic_policies_do_not_see_throughputs() -> None:
    fleet = FLEETS["crowded"]
    other = replace(fleet, throughputs=fleet.throughputs * np.array([1.0, 3.0, 0.5]))
    for name in ("max-min", "makespan", "water-filling", "finish-time-fairness"):
        assert np.array_equal(POLICIES[name](fleet).x, POLICIES[name](other).x)
    assert set(np.unique(agnostic(fleet).throughputs)) <= {0.0, 1.0}


def test_parts_are_feasible_and_no_better() -> None:
    fleet = generate_fleet(3, jobs=64, gpus_per_type=64)
    found = by_parts(fleet, parts=4)
    assert found is not None
    assert_allowed(fleet, found)
    assert found.objective <= POLICIES["max-min-perf"](fleet).objective * (1 + 1e-6)
    assert isnan(found.bound)


def test_thousands_of_jobs_have_a_certificate() -> None:
    fleet = generate_fleet(1, jobs=4000, distinct=True)
    found = POLICIES["max-min-perf"](fleet)
    assert_allowed(fleet, found)
    assert 0 <= found.bound - found.objective <= 1e-6 * found.objective
