"""Kernels against slow and obvious twins."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.generate.routing import generate_routing
from apportion.instances.routing import Routes, VehicleRouting
from apportion.models.checking import check
from apportion.models.routing.check import follow
from apportion.solvers.routing import kernels
from apportion.solvers.routing.annealing import kernels as annealing
from apportion.solvers.routing.search import Search, construction_order, nearest, scale_of
from routing_brute import random_instance, route_distance, route_is_feasible

pytestmark = [
    pytest.mark.kernels,
    # without compilation NumPy says that the random numbers wrap around, as they should
    pytest.mark.filterwarnings("ignore:overflow encountered in scalar multiply:RuntimeWarning"),
]

seeds = st.integers(0, 10**6)


def _search(instance: VehicleRouting, routes: tuple[tuple[int, ...], ...]) -> Search:
    """A search whose current routes are ``routes``; clients outside them stay absent."""
    search = Search.begin(instance, 1)
    search.place(Routes(routes), np.zeros(0, np.int32))
    return search


def _current(search: Search) -> list[tuple[int, ...]]:
    """The routes as the chains say, forwards, after checking that backwards says the same."""
    data, nodes, facts, fleet = search.data, search.state.nodes, search.state.facts, search.state.fleet
    routes = []
    for route in range(len(fleet)):
        forwards, client = [], int(fleet[route, kernels.FIRST])
        while client:
            forwards.append(client)
            after = int(nodes[client, kernels.SUCC])
            assert nodes[client, kernels.ROUTE] == route
            assert facts[client, kernels.GO] == data.distance[client, after]
            assert facts[client, kernels.GO_TIME] == data.duration[client, after]
            client = after
        backwards, client = [], int(fleet[route, kernels.LAST])
        while client:
            backwards.append(client)
            client = int(nodes[client, kernels.PRED])
        assert forwards == backwards[::-1]
        assert len(forwards) == fleet[route, kernels.SIZE]
        assert search.state.lists[kernels.SLOTS, fleet[route, kernels.PLACE]] == route
        assert (fleet[route, kernels.PLACE] < search.state.counters[kernels.NUM_USED]) == bool(forwards)
        routes.append(tuple(forwards))
    return routes


def _times_are_right(search: Search, routes: list[tuple[int, ...]]) -> None:
    """EARLY and LATE of every client against two plain loops."""
    facts, duration = search.state.facts, search.data.duration
    for route in routes:
        here, leaves = 0, facts[0, kernels.EARLY]
        for client in route:
            begins = max(leaves + duration[here, client], facts[client, kernels.READY])
            assert facts[client, kernels.EARLY] == pytest.approx(begins)
            here, leaves = client, begins + facts[client, kernels.SERVICE]
        after, latest = 0, facts[0, kernels.LATE]
        for client in route[::-1]:
            latest -= duration[client, after] + facts[client, kernels.SERVICE]
            latest = min(latest, facts[client, kernels.DUE])
            assert facts[client, kernels.LATE] == pytest.approx(latest)
            after = client


def _some_feasible_route(instance: VehicleRouting, seed: int) -> tuple[int, ...]:
    random = np.random.default_rng(seed)
    route: tuple[int, ...] = ()
    for client in random.permutation(np.arange(1, instance.num_clients + 1)).tolist():
        if route_is_feasible(instance, (*route, client)):
            route = (*route, client)
    return route[: max(1, len(route) - 1)]


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_times_and_cost_of_a_route(seed: int) -> None:
    instance = random_instance(seed, 7, timed=True, symmetric=False)
    route = _some_feasible_route(instance, seed)
    if not route or not route_is_feasible(instance, route):
        return
    search = _search(instance, (route,))
    assert kernels.route_cost(search.data.distance, search.state.nodes, search.state.fleet, 0) == pytest.approx(
        route_distance(instance, route)
    )
    early = search.state.facts[list(route), kernels.EARLY]
    assert early.tolist() == pytest.approx(follow(instance, route).begins[:-1])
    for place, client in enumerate(route):
        latest = float(search.state.facts[client, kernels.LATE])
        assert _in_time_from(instance, route[place:], latest)
        assert not _in_time_from(instance, route[place:], latest + 1.0)


def _in_time_from(instance: VehicleRouting, rest: tuple[int, ...], begins: float) -> bool:
    time, here = begins, rest[0]
    if time > instance.due[here]:
        return False
    for stop in (*rest[1:], 0):
        time += float(instance.service[here] + instance.duration[here, stop])
        time = max(time, float(instance.ready[stop])) if stop else time
        if time > instance.due[stop]:
            return False
        here = stop
    return True


@settings(max_examples=50, deadline=None)
@given(seeds, st.booleans())
def test_the_cheapest_place_is_the_one_that_trying_all_finds(seed: int, timed: bool) -> None:
    instance = random_instance(seed, 7, timed=timed, symmetric=False)
    route = _some_feasible_route(instance, seed)
    if not route or not route_is_feasible(instance, route):
        return
    search = _search(instance, (route,))
    data, state = search.data, search.state
    for client in set(range(1, 8)) - set(route):
        used = state.counters[kernels.NUM_USED]
        delta, _, before = annealing.cheapest_anywhere(
            data, state.nodes, state.facts, state.fleet, state.load, state.lists, used, client
        )
        tried = [(*route[:k], client, *route[k:]) for k in range(len(route) + 1)]
        costs = [route_distance(instance, t) for t in tried if route_is_feasible(instance, t)]
        expected = min(costs, default=inf) - route_distance(instance, route)
        assert delta == pytest.approx(expected)
        if expected < inf:
            state_arrays = state.nodes, state.facts, state.fleet, state.load, state.lists, state.counters
            kernels.link(data.distance, data.duration, *state_arrays, client, 0, before)
            after = _current(search)[0]
            assert route_distance(instance, after) == pytest.approx(min(costs))
            return


@settings(max_examples=20, deadline=None)
@given(seeds, st.booleans(), st.sampled_from([0.0, 1.0, 1000.0]))
def test_the_state_stays_whole_through_accepted_and_refused_iterations(
    seed: int, timed: bool, temperature: float
) -> None:
    instance = generate_routing(seed, clients=25, time_windows=timed)
    search = Search.begin(instance, seed)
    search.place(None, construction_order(instance), 5)
    for _ in range(20):
        search.run(7, temperature, 1.0, 0.3)
        routes = [route for route in _current(search) if route]
        if timed:
            _times_are_right(search, routes)
        verdict = check(instance, Routes(tuple(routes)))
        assert verdict.ok, verdict.violations
        assert verdict.objective * search.scale == pytest.approx(search.state.totals[kernels.CURRENT])
        assert search.best <= verdict.objective + 1e-6
        assert search.state.fleet[:, kernels.IS_CHANGED].sum() == 0
        assert check(instance, search.plan()).objective == pytest.approx(search.best)
        for route, clients in enumerate(_current(search)):
            assert search.state.load[route] == pytest.approx(instance.demand[list(clients)].sum())
    search.restart()
    assert check(instance, Routes(tuple(r for r in _current(search) if r))).objective == pytest.approx(search.best)


def test_chunks_do_not_change_the_result() -> None:
    instance = generate_routing(1, clients=40, time_windows=True)
    results = []
    for chunks in ([2000], [500, 500, 1000], [1] * 50 + [1950]):
        search = Search.begin(instance, 9)
        search.place(None, construction_order(instance))
        temperature = 100.0
        for chunk in chunks:
            temperature = search.run(chunk, temperature, 0.999, 0.1)
        results.append((search.plan(), search.best, search.iterations))
    assert results[0] == results[1] == results[2]


def test_clients_without_a_vehicle_are_counted_and_later_served() -> None:
    demand = [0, *[5] * 8]
    distance = np.random.default_rng(2).integers(1, 9, (9, 9)).astype(np.float64)
    instance = VehicleRouting.capacitated("pairs", distance, demand, 10, num_vehicles=4)
    search = _search(instance, ((1,), (2,), (3,), (4, 5)))
    search.place(None, construction_order(instance))
    search.run(500, 1.0, 1.0, 0.1)
    assert search.num_absent == 0
    assert check(instance, search.plan()).ok


def test_uniform_numbers_fill_the_unit_interval() -> None:
    random = np.array([12345], np.uint64)
    draws = np.array([kernels.uniform(random) for _ in range(20_000)])
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    counts, _ = np.histogram(draws, bins=10, range=(0.0, 1.0))
    assert abs(counts - 2000).max() < 250
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.03


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 12))
def test_neighbours_are_the_nearest(seed: int, count: int) -> None:
    apart = np.random.default_rng(seed).random((9, 9))
    neighbours = nearest(apart, count)
    for location in range(9):
        others = sorted(set(range(1, 9)) - {location}, key=lambda client: apart[location, client])
        expected = others[: min(count, 8)]
        assert neighbours[location, : len(expected)].tolist() == expected


def test_scale_makes_distances_whole_or_says_that_nothing_does() -> None:
    assert scale_of(generate_routing(1, clients=5)) == 1.0
    assert scale_of(generate_routing(1, clients=5, time_windows=True)) == 10.0
    thirds = np.full((3, 3), 1.0 / 3.0)
    assert scale_of(VehicleRouting.capacitated("thirds", thirds, [0, 1, 1], 2)) == 0.0


@settings(max_examples=20, deadline=None)
@given(seeds, st.booleans())
def test_savings_give_a_plan(seed: int, timed: bool) -> None:
    instance = random_instance(seed, 8, timed=timed, symmetric=seed % 2 == 0)
    alone = Routes(tuple((client,) for client in range(1, 9)))
    if not check(instance, alone).ok:
        return
    merged = Search.begin(instance, 1).merged(instance)
    verdict = check(instance, merged)
    assert verdict.ok, verdict.violations
    assert verdict.objective <= check(instance, alone).objective + 1e-9


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_taking_out_and_putting_back_restores_everything(seed: int) -> None:
    instance = generate_routing(seed % 50, clients=15, time_windows=True)
    search = Search.begin(instance, 1)
    search.place(search.merged(instance), construction_order(instance))
    data, state = search.data, search.state
    arrays = state.nodes, state.facts, state.fleet, state.load, state.lists, state.counters
    before, random, log = _current(search), np.random.default_rng(seed), []
    cost = float(state.totals[kernels.CURRENT])
    for client in (random.permutation(15)[:6] + 1).tolist():
        place = int(state.nodes[client, kernels.ROUTE]), int(state.nodes[client, kernels.PRED])
        cost += kernels.unlink(data.distance, data.duration, *arrays, client)
        log.append((client, *place))
        now = kernels.total_cost(data.distance, state.nodes, state.fleet, state.lists, state.counters[kernels.NUM_USED])
        assert now == pytest.approx(cost)
    for client, route, after in log[::-1]:
        kernels.link(data.distance, data.duration, *arrays, client, route, after)
    assert _current(search) == before


def test_a_special_iteration_is_rarer_where_it_succeeds_less_often() -> None:
    totals = np.zeros(kernels.NUM_TOTALS)
    totals[[kernels.GAIN, kernels.GAIN_OPENING]] = 0.04, 0.02
    assert annealing.rate(totals, kernels.GAIN_OPENING, 0.1) == pytest.approx(0.05)
    totals[kernels.GAIN_OPENING] = 0.0
    assert 0.0 < annealing.rate(totals, kernels.GAIN_OPENING, 0.1) < 0.03


def test_another_seed_goes_another_way() -> None:
    instance = generate_routing(1, clients=40)
    ways = []
    for seed in (5, 6):
        search = Search.begin(instance, seed)
        search.place(search.merged(instance), construction_order(instance))
        search.run(200, 1000.0, 1.0, 0.1)
        ways.append(search.current())
    assert ways[0] != ways[1]
