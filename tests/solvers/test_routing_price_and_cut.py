"""Price and cut against brute force and slow twins."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.core import Sense
from apportion.instances.generate.routing import generate_routing
from apportion.instances.reading import read
from apportion.instances.routing import Routes, VehicleRouting
from apportion.models.checking import check
from apportion.solvers.events import Monitor
from apportion.solvers.routing.bounding.cutting import PriceAndCut
from apportion.solvers.routing.bounding.labelling import kernels as labels
from apportion.solvers.routing.bounding.master import Duals, Master
from apportion.solvers.routing.bounding.partition import Partition
from apportion.solvers.routing.bounding.pricing import Network, Prices, Pricing, packed
from apportion.solvers.routing.bounding.rows import Row, capacity_cuts, coefficients, flattened, flows, triple_cuts
from apportion.solvers.routing.bounds import Effort, prove
from realdata import data_file
from routing_brute import optimum, random_instance, tiny

Route = tuple[int, ...]


def _never() -> bool:
    return False


def _endless() -> float:
    return inf


def _monitor() -> Monitor:
    return Monitor(Sense.MINIMISE)


def _alone(instance: VehicleRouting) -> Routes | None:
    """Each client on a route of its own, where that is a plan."""
    plan = Routes(tuple((client,) for client in range(1, instance.num_clients + 1)))
    return plan if check(instance, plan).ok else None


@settings(max_examples=50, deadline=None)
@given(tiny)
def test_it_proves_the_optimum_of_tiny_instances(instance: VehicleRouting) -> None:
    best = optimum(instance)
    if best == inf:
        return
    seen: list[float] = []
    search = PriceAndCut(instance, _alone(instance), 1.0)
    search.improve(_endless, seen.append, 10**7, _monitor())
    assert max(seen, default=0.0) <= best + 1e-6
    assert search.bound <= best + 1e-6
    if search.settled:
        assert search.length == pytest.approx(best)
        assert search.plan is not None
        assert check(instance, search.plan).ok


@pytest.mark.parametrize("seed", range(8))
def test_it_settles_tiny_instances_from_a_poor_plan(seed: int) -> None:
    instance = random_instance(seed + 500, 6, timed=seed % 2 == 0, symmetric=seed % 3 > 0)
    start = _alone(instance)
    if start is None:
        return
    search = PriceAndCut(instance, start, 1.0)
    search.improve(_endless, lambda _: None, 10**7, _monitor())
    assert search.settled
    assert search.length == pytest.approx(optimum(instance))


@pytest.mark.parametrize("seed", range(4))
def test_settled_plans_of_larger_instances_agree_with_the_relaxation_alone(seed: int) -> None:
    instance = generate_routing(seed, clients=14, time_windows=seed % 2 == 0)
    plan = _alone(instance)
    assert plan is not None
    bounds: list[float] = []
    search = PriceAndCut(instance, plan, 0.1)
    search.improve(_endless, bounds.append, 10**7, _monitor())
    assert bounds == sorted(bounds)
    assert search.plan is not None
    assert check(instance, search.plan).ok
    assert search.bound <= search.length + 1e-6
    without = PriceAndCut(instance, None, 0.1)
    without.improve(_endless, lambda _: None, 10**6, _monitor())
    assert without.bound <= search.length + 1e-6


@settings(max_examples=40, deadline=None)
@given(tiny, st.integers(0, 10**6))
def test_the_bound_is_true_at_any_duals(instance: VehicleRouting, seed: int) -> None:
    best = optimum(instance)
    if best == inf:
        return
    random = np.random.default_rng(seed)
    master = Master(instance)
    rows = _random_rows(instance, random, 3)
    master.add_rows(rows)
    clients = random.uniform(0.0, 60.0, master.size)
    clients[0] = -random.uniform(0.0, 20.0)
    cuts = np.array([random.uniform(0.0, 20.0) * (1.0 if row.memory is None else -1.0) for row in rows])
    duals = Duals(clients, cuts)
    pricing = Pricing(Network.of(instance, int(random.integers(1, 6))))
    pricing.middle *= float(random.uniform(0.3, 1.7))
    found = pricing.cheapest(master.prices(duals), labels.EXACT, _never)
    assert found.complete
    assert master.bound(duals, found.gains) <= best + 1e-6


def _random_rows(instance: VehicleRouting, random: np.random.Generator, each: int) -> list[Row]:
    size = instance.num_clients + 1
    rows = []
    for _ in range(each):
        inside = random.random(size) < 0.5
        inside[0] = False
        needed = ceil(float(instance.demand[inside].sum()) / instance.capacity - 1e-9)
        rows.append(Row(inside, None, float(needed)))
        if size > 3:
            inside = np.zeros(size, np.bool_)
            inside[random.choice(size - 1, 3, replace=False) + 1] = True
            memory = inside | (random.random(size) < 0.5)
            memory[0] = False
            rows.append(Row(inside, memory, 1.0))
    return rows


class _Twin:
    """Every ng-route by depth-first search without dominance, its cost from the whole route."""

    def __init__(self, instance: VehicleRouting, network: Network, rows: list[Row], duals: Duals) -> None:
        self.instance, self.near, self.rows, self.duals = instance, network.near, rows, duals
        self.totals: dict[Route, float] = {}
        self._go((), float(instance.ready[0]), 0.0, frozenset())

    def _go(self, route: Route, time: float, load: float, seen: frozenset[int]) -> None:
        instance = self.instance
        here = route[-1] if route else 0
        for there in range(1, instance.num_clients + 1):
            if there in seen or there == here:
                continue
            arrives = time + (instance.service[here] if here else 0.0) + instance.duration[here, there]
            begins = max(arrives, instance.ready[there])
            if begins > instance.due[there] or load + instance.demand[there] > instance.capacity:
                continue
            longer = (*route, there)
            if begins + instance.service[there] + instance.duration[there, 0] <= instance.due[0]:
                self.totals[longer] = self._cost(longer)
            kept = frozenset(client for client in seen if self.near[there, client]) | {there}
            self._go(longer, begins, load + instance.demand[there], kept)

    def _cost(self, route: Route) -> float:
        stops = (0, *route, 0)
        total = float(sum(self.instance.distance[a, b] for a, b in pairwise(stops)))
        total -= float(self.duals.clients[list(route)].sum() + self.duals.clients[0])
        for row, dual in zip(self.rows, self.duals.cuts, strict=True):
            total -= float(dual) * _count(row, route)
        return total


def _count(row: Row, route: Route) -> int:
    """What a route counts in a cut, straight from the definition."""
    if row.memory is None:
        return sum(row.inside[b] and not row.inside[a] for a, b in pairwise((0, *route)))
    total, run = 0, 0
    for client in (*route, 0):
        if not row.memory[client]:
            total, run = total + run // 2, 0
        else:
            run += int(row.inside[client])
    return total + run // 2


def _priced(seed: int, clients: int = 7) -> tuple[VehicleRouting, Master, Duals, Pricing]:
    random = np.random.default_rng(seed)
    timed = seed % 2 == 0
    if timed:
        instance = generate_routing(seed, clients=clients, time_windows=True, window_width=40.0)
    else:
        instance = generate_routing(seed, clients=clients, route_length=4.0)
    master = Master(instance)
    rows = _random_rows(instance, random, 2)
    master.add_rows(rows)
    duals = random.uniform(0.0, 120.0, clients + 1)
    duals[0] = -5.0
    cuts = np.array([random.uniform(0.0, 30.0) * (1.0 if row.memory is None else -1.0) for row in rows])
    return instance, master, Duals(duals, cuts), Pricing(Network.of(instance, (2, 3, 7)[seed % 3]), 200_000)


@pytest.mark.kernels
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("middle", [0.2, 0.5, 0.9])
def test_both_directions_meet_at_the_cheapest_route(seed: int, middle: float) -> None:
    instance, master, duals, pricing = _priced(seed)
    start = float(pricing.network.ahead.ready[0])
    pricing.middle = start + middle * (pricing.network.horizon - start)
    found = pricing.cheapest(master.prices(duals), labels.EXACT, _never)
    twin = _Twin(instance, pricing.network, master.rows, duals)
    least = min(twin.totals.values())
    assert found.complete
    assert min(found.gains) == pytest.approx(min(least, 0.0))
    assert found.routes or least > -1e-6
    for route in found.routes:
        assert twin.totals[route] < 0.0


@pytest.mark.kernels
@pytest.mark.parametrize("seed", range(6))
def test_arcs_are_kept_exactly_where_a_cheap_route_runs(seed: int) -> None:
    instance, master, duals, pricing = _priced(seed)
    twin = _Twin(instance, pricing.network, master.rows, duals)
    limit = float(np.quantile(list(twin.totals.values()), 0.3)) + 1e-6
    kept = pricing.arcs_below(master.prices(duals), limit, _never)
    expected = np.zeros_like(pricing.network.arcs)
    for route, total in twin.totals.items():
        if total < limit:
            for a, b in pairwise((0, *route, 0)):
                expected[a, b] = True
    assert kept is not None
    np.testing.assert_array_equal(kept, expected)


@pytest.mark.kernels
@pytest.mark.parametrize("seed", range(6))
def test_the_list_holds_the_shortest_route_of_every_set(seed: int) -> None:
    instance, master, duals, pricing = _priced(seed)
    twin = _Twin(instance, pricing.network, master.rows, duals)
    limit = float(np.quantile(list(twin.totals.values()), 0.5)) + 1e-6
    listed = pricing.enumerate(master.prices(duals), limit, 10_000, _never)
    assert listed is not None
    shortest: dict[frozenset[int], float] = {}
    for route in twin.totals:
        if len(set(route)) == len(route):
            key = frozenset(route)
            shortest[key] = min(shortest.get(key, inf), master.length(route))
    for route in listed:
        assert twin.totals[route] < limit
        shortest_of_all = shortest[frozenset(route)]
        assert master.length(route) >= shortest_of_all - 1e-9
    # a set whose shortest route is cheap enough is there with it
    found = {frozenset(route): master.length(route) for route in listed}
    for route, total in twin.totals.items():
        key = frozenset(route)
        if len(key) == len(route) and total < limit and master.length(route) <= shortest[key] + 1e-9:
            assert found[key] == pytest.approx(shortest[key])


def test_coefficients_match_the_definition() -> None:
    random = np.random.default_rng(3)
    instance = random_instance(3, 8, timed=False)
    rows = _random_rows(instance, random, 6)
    routes = [tuple(random.integers(1, 9, random.integers(1, 12)).tolist()) for _ in range(40)]
    expected = [[_count(row, route) for row in rows] for route in routes]
    np.testing.assert_array_equal(coefficients(rows, routes), expected)
    flat, starts = flattened(routes)
    assert tuple(flat[starts[3] : starts[4]].tolist()) == routes[3]


def test_triples_are_the_violated_ones() -> None:
    """Three routes over pairs of three clients, half of each: the classic violated triple."""
    routes = [(1, 2), (2, 3), (1, 3), (4,), (5, 4, 5)]
    values = np.array([0.5, 0.5, 0.5, 0.75, 0.25])
    cuts = triple_cuts(6, routes, values, {}, 10, 5)
    assert [np.flatnonzero(cut.inside).tolist() for cut in cuts] == [[1, 2, 3]]
    assert float(values @ coefficients(cuts, routes)[:, 0]) == pytest.approx(1.5)
    # with all of the memory that it needs it does not come again
    known: dict[frozenset[int], Row] = {frozenset((1, 2, 3)): cuts[0]}
    assert triple_cuts(6, routes, values, known, 10, 5) == []


@pytest.mark.parametrize("seed", range(5))
def test_capacity_cuts_are_violated_and_need_what_they_say(seed: int) -> None:
    random = np.random.default_rng(seed)
    instance = random_instance(seed, 9, timed=False)
    routes = [tuple(random.permutation(np.arange(1, 10))[: random.integers(2, 6)].tolist()) for _ in range(8)]
    values = random.uniform(0.1, 0.5, 8)
    for cut in capacity_cuts(instance, routes, values, 20):
        assert cut.right_side == ceil(float(instance.demand[cut.inside].sum()) / instance.capacity - 1e-9)
        assert float(values @ coefficients([cut], routes)[:, 0]) < cut.right_side


def test_flows_count_both_ends_of_a_single_visit() -> None:
    used = flows(3, [(1,), (1, 2)], np.array([0.5, 1.0]))
    np.testing.assert_allclose(used, [[0.0, 2.0, 1.0], [2.0, 0.0, 1.0], [1.0, 1.0, 0.0]])


def test_words_hold_the_flags() -> None:
    flags = np.random.default_rng(1).random((3, 130)) < 0.5
    words = packed(flags, labels.BITS)
    assert words.shape == (3, 3)
    back = [[bool(words[row, i // labels.BITS] >> (i % labels.BITS) & 1) for i in range(130)] for row in range(3)]
    np.testing.assert_array_equal(back, flags)


def test_a_table_sums_the_prices_of_a_byte() -> None:
    prices = Prices.of(np.zeros((2, 2)), np.zeros((9, 2), np.bool_), np.zeros((9, 2), np.bool_), np.arange(9.0))
    assert prices.table.shape == (1, 7, 256)
    assert prices.table[0, 0, 0b101] == 2.0
    assert prices.table[0, 1, 1] == 8.0


def test_the_partition_of_all_routes_is_the_optimum() -> None:
    instance = random_instance(21, 5, timed=True)
    master = Master(instance)
    pricing = Pricing(Network.of(instance), 100_000)
    zero = Duals(np.zeros(6), np.zeros(0))
    routes = pricing.enumerate(master.prices(zero), inf, 10_000, _never)
    assert routes is not None
    partition = Partition(instance, routes, [], 10_000.0)
    assert partition.close(_endless, lambda _: None, _monitor())
    assert partition.plan is not None
    assert check(instance, partition.plan).ok
    assert check(instance, partition.plan).objective == pytest.approx(optimum(instance))
    none = Partition(instance, routes, [], optimum(instance) - 1.0)
    assert none.close(_endless, lambda _: None, _monitor())
    assert none.plan is None


def test_clients_that_advance_nothing_end_as_well() -> None:
    """No demand, no service, one place: labels must not go round in circles."""
    size = 7
    distance = np.ones((size, size)) - np.eye(size)
    distance[1:4, 1:4] = 0.0
    demand = np.array([0.0, 0, 0, 0, 1, 1, 1])
    plain = VehicleRouting.capacitated("idle", distance, demand, 2.0)
    search = PriceAndCut(plain, _alone(plain), 1.0)
    search.improve(_endless, lambda _: None, 10**6, _monitor())
    assert search.settled
    assert search.length == pytest.approx(optimum(plain))


def test_an_early_stop_leaves_a_true_bound() -> None:
    instance = generate_routing(2, clients=30, time_windows=True)
    full = PriceAndCut(instance, _alone(instance), 0.1)
    full.improve(_endless, lambda _: None, 10**7, _monitor())
    for most in (0, 500, 2000, 20_000):
        stopped = PriceAndCut(instance, _alone(instance), 0.1)
        stopped.improve(_endless, lambda _: None, most, _monitor())
        assert stopped.bound <= full.length + 1e-6
    idle = PriceAndCut(instance, None, 0.1)
    idle.improve(lambda: 0.0, lambda _: None, 10**7, _monitor())
    assert (idle.bound, idle.rounds) == (0.0, 0)


def test_too_little_room_proves_nothing() -> None:
    instance = generate_routing(3, clients=30, time_windows=True)
    pricing = Pricing(Network.of(instance), 20)
    master = Master(instance)
    duals = Duals(np.full(31, 50.0), np.zeros(0))
    assert not pricing.cheapest(master.prices(duals), labels.EXACT, _never).complete
    assert pricing.arcs_below(master.prices(duals), 1.0, _never) is None
    assert pricing.enumerate(master.prices(duals), 1.0, 10, _never) is None


def test_the_middle_moves_to_the_side_with_more_labels() -> None:
    pricing = Pricing(Network.of(generate_routing(3, clients=30, time_windows=True)), 100)
    before = pricing.middle
    pricing.last_labels = 9000, 1000
    pricing.balance()
    assert pricing.middle < before
    pricing.last_labels = 1000, 9000
    pricing.balance()
    assert pricing.middle == pytest.approx(before)


def test_the_proof_hands_over_a_shorter_plan() -> None:
    corner = np.array([[0.0, 3, 4], [3, 0, 5], [4, 5, 0]])
    instance = VehicleRouting.capacitated("corner", corner, [0, 1, 1], 2.0)
    heard: list[Routes] = []
    monitor = _monitor()
    counts = prove(instance, _alone(instance), monitor, Effort(), lambda: False, heard.append)
    assert [check(instance, plan).objective for plan in heard] == [pytest.approx(optimum(instance))]
    assert monitor.bounds.dual == pytest.approx(optimum(instance))
    assert counts["columns"] > 0


def _published(instance: VehicleRouting, relative: str) -> Routes:
    lines = data_file(relative).read_text(encoding="utf-8").splitlines()
    routes = [line.split(":")[1] for line in lines if line.startswith("Route")]
    plan = Routes(tuple(tuple(map(int, route.split())) for route in routes))
    assert check(instance, plan).ok
    return plan


@pytest.mark.data
@pytest.mark.parametrize(("name", "best"), [("R101", 1637.7), ("RC101", 1619.8), ("C101", 827.3)])
def test_solomon_optima_are_proven(name: str, best: float) -> None:
    instance = read(data_file(f"logistics/vrptw/solomon/{name}.txt"))
    assert isinstance(instance, VehicleRouting)
    plan = _published(instance, f"logistics/vrptw/solomon/{name}.sol")
    bounds: list[float] = []
    search = PriceAndCut(instance, plan, 0.1)
    search.improve(_endless, bounds.append, 10**7, _monitor())
    assert search.settled
    assert search.length == pytest.approx(best)
    assert max(bounds) <= best + 1e-6


@pytest.mark.data
def test_no_bound_of_a_capacitated_file_passes_its_optimum() -> None:
    instance = read(data_file("logistics/cvrp/X/X-n101-k25.vrp"))
    assert isinstance(instance, VehicleRouting)
    bounds: list[float] = []
    search = PriceAndCut(instance, None, 1.0)
    search.improve(_endless, bounds.append, 1_500_000, _monitor())
    assert 27_200.0 < max(bounds) <= 27_591.0 + 1e-6
