from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.routing import Routes, VehicleRouting
from apportion.models.checking import check
from apportion.models.routing.check import follow, impossible
from routing_brute import optimum, random_instance, route_distance, route_is_feasible, tiny

LINE = np.abs(np.arange(4.0)[:, None] - np.arange(4.0)[None, :])


def _line(**changes: object) -> VehicleRouting:
    facts: dict[str, object] = {
        "name": "line",
        "distance": LINE,
        "duration": 2.0 * LINE,
        "demand": np.array([0.0, 1, 1, 1]),
        "capacity": 2.0,
        "ready": np.array([0.0, 0, 10, 0]),
        "due": np.array([30.0, 5, 12, 30]),
        "service": np.array([0.0, 1, 1, 1]),
        "num_vehicles": 2,
    }
    return VehicleRouting(**(facts | changes))  # type: ignore[arg-type]


def _rules(instance: VehicleRouting, *routes: tuple[int, ...]) -> list[tuple[str, str, float]]:
    return [(v.rule, v.place, v.amount) for v in check(instance, Routes(routes)).violations]


def test_a_good_plan_and_its_measures() -> None:
    verdict = check(_line(), Routes(((1, 2), (3,))))
    assert verdict.ok
    assert verdict.objective == 10.0
    assert verdict.measures == {
        "routes": 2.0,
        "distance": 10.0,
        "duration": 28.0,  # 0-1-2-0: 2, 1 service, 2, wait until 10, 1 service, 4 home = 15; 0-3-0: 13
        "waiting": 5.0,
        "largest load": 2.0,
    }


def test_times_along_a_route() -> None:
    times = follow(_line(), (1, 2))
    assert times.begins == (2.0, 10.0, 15.0)
    assert (times.distance, times.duration, times.waiting, times.load) == (4.0, 15.0, 5.0, 2.0)


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        (((1, 2),), [("unserved", "client 3", 1.0)]),
        (((1, 2), (3, 1)), [("served_twice", "client 1", 1.0), ("time_window", "route 2, client 1", 6.0)]),
        (((1, 2), (3, 9)), [("unknown_client", "client 9", 1.0)]),
        (((1,), (2,), (3,)), [("num_vehicles", "fleet", 1.0)]),
        (((1, 2, 3), ()), [("capacity", "route 1", 1.0)]),
    ],
)
def test_each_rule_by_name_and_amount(
    routes: tuple[tuple[int, ...], ...], expected: list[tuple[str, str, float]]
) -> None:
    assert _rules(_line(), *routes) == expected


def test_windows_and_the_closing_depot() -> None:
    early = _line(due=np.array([14.0, 5, 12, 14]))
    assert ("depot_closes", "route 1", 1.0) in _rules(early, (1, 2), (3,))


def test_empty_routes_do_not_count() -> None:
    assert check(_line(), Routes(((1, 2), (), (3,), ()))).ok


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_it_agrees_with_enumeration_on_random_plans(seed: int, timed: bool) -> None:
    instance = random_instance(seed, 5, timed=timed, symmetric=False)
    random = np.random.default_rng(seed)
    order = (random.permutation(5) + 1).tolist()
    cut = int(random.integers(0, 6))
    routes = tuple(route for route in (tuple(order[:cut]), tuple(order[cut:])) if route)
    verdict = check(instance, Routes(routes))
    fits = all(route_is_feasible(instance, route) for route in routes)
    assert verdict.ok == (fits and len(routes) <= (instance.num_vehicles or 5))
    assert verdict.objective == pytest.approx(sum(route_distance(instance, route) for route in routes))


@settings(max_examples=50, deadline=None)
@given(tiny)
def test_reasons_for_the_impossible_are_proofs(instance: VehicleRouting) -> None:
    if impossible(instance):
        assert optimum(instance) == inf


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"demand": np.array([0.0, 3, 1, 1])}, "client 1 asks for 3, a vehicle carries 2"),
        ({"due": np.array([30.0, 1, 12, 30])}, "client 1 closes at 1, no vehicle is there before 2"),
        ({"due": np.array([12.0, 5, 12, 12])}, "from client 2 no vehicle is back before 15, the depot closes at 12"),
        ({"num_vehicles": 1}, "the clients ask for 3, 1 vehicles carry 2"),
    ],
)
def test_reasons_name_the_client_and_the_shortage(changes: dict[str, object], reason: str) -> None:
    assert reason in impossible(_line(**changes))


def test_nothing_is_impossible_about_a_good_instance() -> None:
    assert impossible(_line()) == ()
