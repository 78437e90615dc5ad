"""A request that comes in now: the place is the cheapest of all, and the rest of the plan stays."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.errors import OptionError
from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting, VehicleType
from apportion.instances.rich_rules import Lock
from apportion.models.rich_routing.check import check, violations_of
from apportion.models.rich_routing.driving import drive
from apportion.solvers.options import SolveOptions
from apportion.solvers.rich_routing.insertion import Dispatcher, insert_now
from apportion.solvers.solve import solve_instance
from rich_random import random_rich

LINE = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))
VAN = VehicleType(2, (9.0,))


def _cost(instance: RichRouting, route: RichRoute) -> float:
    """Infinite when the route breaks a rule."""
    return inf if violations_of(instance, route) else drive(instance, route).cost


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.frozensets(st.sampled_from(["fleet", "windows", "late", "traffic", "prizes"])))
def test_no_other_place_is_cheaper(seed: int, features: frozenset[str]) -> None:
    instance = random_rich(seed, 7, features)
    result = solve_instance(instance, SolveOptions(node_limit=20, seed=seed % 1000))
    if result.plan is None or not result.plan.routes:
        return
    client = result.plan.routes[0].stops[0]
    rest = [RichRoute(r.vehicle, tuple(s for s in r.stops if s != client)) for r in result.plan.routes]
    plan = RichRoutes(tuple(route for route in rest if route.stops))
    if any(violations_of(instance, route) for route in plan.routes):
        return
    found = insert_now(instance, plan, client)
    tried = [inf]
    for route in plan.routes:
        for place in range(len(route.stops) + 1):
            longer = RichRoute(route.vehicle, (*route.stops[:place], client, *route.stops[place:]))
            tried.append(_cost(instance, longer) - _cost(instance, route))
    for kind, vehicle in enumerate(instance.vehicles):
        if sum(route.vehicle == kind for route in plan.routes) < vehicle.count:
            tried.append(_cost(instance, RichRoute(kind, (client,))))
    assert found is not None
    assert found.added_cost == pytest.approx(min(tried), abs=1e-6)
    others = [tuple(s for s in r.stops if s != client) for r in found.plan.routes]
    assert sorted(filter(None, others)) == sorted(r.stops for r in plan.routes)


def test_what_is_settled_stays_and_the_rest_may_follow() -> None:
    instance = RichRouting.simple("line", LINE, [VAN], locks=(Lock(0, (4, 2), leaves=7.0),))
    desk = Dispatcher(instance, RichRoutes((RichRoute(0, (4, 2)),)))
    found = desk.insert(3)
    assert found is not None
    assert found.plan.routes in ((RichRoute(0, (4, 2, 3)),), (RichRoute(0, (3,)), RichRoute(0, (4, 2))))
    with pytest.raises(OptionError, match="served already"):
        desk.insert(4)
    with pytest.raises(OptionError, match="no client"):
        desk.insert(0)


def test_a_request_without_a_place_changes_nothing() -> None:
    instance = RichRouting.simple("line", LINE, [VehicleType(1, (2.0,))], delivery=[[0], [1], [1], [1], [0], [0]])
    plan = RichRoutes((RichRoute(0, (1, 2)),))
    desk = Dispatcher(instance, plan)
    assert desk.insert(3) is None
    assert desk.plan() == plan


def test_a_pair_is_inserted_whole() -> None:
    shipment = np.array([[0.0], [1], [-1], [0], [0], [0]])
    instance = RichRouting.simple("line", LINE, [VAN], pairs=((1, 2),), shipment=shipment)
    found = insert_now(instance, RichRoutes((RichRoute(0, (3,)),)), 2)
    assert found is not None
    assert found.plan.routes == (RichRoute(0, (1, 2, 3)),) or found.added_cost == 0.0


def test_a_plan_that_breaks_a_rule_is_refused() -> None:
    instance = RichRouting.simple("line", LINE, [VehicleType(1, (1.0,))], delivery=[[0], [1], [1], [1], [1], [1]])
    with pytest.raises(OptionError, match="breaks a rule"):
        Dispatcher(instance, RichRoutes((RichRoute(0, (1, 2)),)))


@pytest.mark.parametrize("seed", range(4))
def test_planning_anew_keeps_the_running_routes(seed: int) -> None:
    instance = random_rich(seed, 10, frozenset({"fleet", "windows"}))
    first = solve_instance(instance, SolveOptions(node_limit=200))
    if first.plan is None:
        return
    locks = tuple(Lock(route.vehicle, route.stops[:1]) for route in first.plan.routes)
    again = solve_instance(replace(instance, locks=locks), SolveOptions(node_limit=200, start=first.plan))
    assert again.plan is not None, again.message
    assert check(replace(instance, locks=locks), again.plan).ok
    assert {route.stops[:1] for route in again.plan.routes} >= {lock.stops for lock in locks}
