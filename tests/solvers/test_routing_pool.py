"""Set partitioning over a pool of routes against enumeration."""

from __future__ import annotations

from itertools import combinations
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.core import Sense
from apportion.instances.generate.routing import generate_routing
from apportion.instances.routing import Routes
from apportion.models.checking import check
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.routing.pool import RoutePool
from apportion.solvers.solve import solve_instance
from routing_brute import best_route, optimum, random_instance, route_is_feasible


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_all_routes_in_the_pool_give_the_optimum(seed: int, timed: bool) -> None:
    instance = random_instance(seed, 5, timed=timed)
    best = optimum(instance)
    alone = Routes(tuple((client,) for client in range(1, 6)))
    if best == inf or not check(instance, alone).ok:
        return
    pool = RoutePool(instance)
    for size in range(1, 6):
        for group in combinations(range(1, 6), size):
            orders = [group, group[::-1], (*group[1:], group[0]), (*group[2:], *group[:2])]
            pool.add([order for order in orders if route_is_feasible(instance, order)])
    improved = pool.polished(alone, inf, SolveOptions(), Monitor(Sense.MINIMISE))
    if improved is None:
        return
    verdict = check(instance, improved)
    assert verdict.ok
    assert best - 1e-9 <= verdict.objective < check(instance, alone).objective
    for route in improved.routes:
        assert best_route(instance, route) <= verdict.objective


def test_nothing_new_is_not_solved_again() -> None:
    instance = generate_routing(1, clients=6)
    pool = RoutePool(instance)
    plan = Routes(tuple((client,) for client in range(1, 7)))
    pool.add(list(plan.routes))
    assert pool.polished(plan, inf, SolveOptions(), Monitor(Sense.MINIMISE)) is None
    assert len(pool) == 6


def test_cycles_from_nothing_and_polishing_repeat_exactly() -> None:
    instance = generate_routing(4, clients=20, time_windows=True, route_length=5.0)
    first, second = (solve_instance(instance, SolveOptions(deterministic=True, seed=2, gap=0.0)) for _ in range(2))
    assert first.plan == second.plan
    assert first.counts == second.counts
    assert first.objective == pytest.approx(second.objective)
