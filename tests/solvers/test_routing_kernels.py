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
    nodes, fleet = search.state.nodes, search.state.fleet
    routes = []
    for route in range(fleet.shape[1] - 1):
        forwards, client = [], int(fleet[kernels.FIRST, route])
        while client:
            forwards.append(client)
            assert nodes[kernels.ROUTE, client] == route
            client = int(nodes[kernels.SUCC, client])
        backwards, client = [], int(fleet[kernels.LAST, route])
        while client:
            backwards.append(client)
            client = int(nodes[kernels.PRED, client])
        assert forwards == backwards[::-1]
        assert len(forwards) == fleet[kernels.SIZE, route]
        routes.append(tuple(forwards))
    return routes


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
    early = search.state.times[kernels.EARLY, list(route)]
    assert early.tolist() == pytest.approx(follow(instance, route).begins[:-1])
    for place, client in enumerate(route):
        latest = float(search.state.times[kernels.LATE, client])
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
        room = data.capacity - float(instance.demand[client])
        delta, _, before = kernels.cheapest_anywhere(
            data.distance,
            data.duration,
            data.facts,
            room,
            timed,
            state.nodes,
            state.fleet,
            state.load,
            state.times,
            client,
        )
        tried = [(*route[:k], client, *route[k:]) for k in range(len(route) + 1)]
        costs = [route_distance(instance, t) for t in tried if route_is_feasible(instance, t)]
        expected = min(costs, default=inf) - route_distance(instance, route)
        assert delta == pytest.approx(expected)
        if expected < inf:
            kernels.insert(data.facts, state.nodes, state.fleet, state.load, client, 0, before)
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
        verdict = check(instance, Routes(tuple(routes)))
        assert verdict.ok, verdict.violations
        assert verdict.objective * search.scale == pytest.approx(search.state.totals[kernels.CURRENT])
        assert search.best <= verdict.objective + 1e-6
        assert search.state.fleet[kernels.IS_TOUCHED].sum() == 0
        free = search.state.fleet[kernels.FREE, : search.state.counters[kernels.NUM_FREE]]
        sizes = search.state.fleet[kernels.SIZE, :-1]
        assert sorted(free.tolist()) == np.flatnonzero(sizes == 0).tolist()
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
