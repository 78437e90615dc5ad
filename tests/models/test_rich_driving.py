"""The clock of a route: lateness, overtime, breaks, traffic, balance, and routes under way."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting, VehicleType
from apportion.instances.rich_rules import Balance, Break, Lock, Traffic
from apportion.models.rich_routing.check import check
from apportion.models.rich_routing.driving import arrives, drive, latest_departure
from apportion.models.rich_routing.explain import explain_rich_routing
from apportion.models.rich_routing.unserved import why_unserved
from apportion.solvers.rich_routing.timetable.kernels import arrival, departure

LINE = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
VAN = VehicleType(2, (9.0,))
ALL = RichRoute(0, (1, 2, 3, 4))
RUSH = Traffic((0.0, 10.0, 20.0), ((1.0, 0.5, 2.0),))


def _line(vehicle: VehicleType = VAN, **more: object) -> RichRouting:
    return RichRouting.simple("line", LINE, [vehicle], **more)  # type: ignore[arg-type]


def _rules(instance: RichRouting, *routes: RichRoute) -> list[str]:
    return [violation.rule for violation in check(instance, RichRoutes(routes)).violations]


def test_lateness_and_overtime_cost_by_the_unit() -> None:
    late = np.array([0.0, 0, 0, 3, 0])
    instance = _line(replace(VAN, overtime_after=6.0, overtime_cost=5.0), soft_due=np.full(5, 1.0), late_cost=late)
    verdict = check(instance, RichRoutes((ALL,)))
    assert verdict.ok
    assert verdict.objective == 8.0 + 3.0 * 2.0 + 5.0 * 2.0
    assert verdict.measures["cost of lateness"] == 6.0
    assert verdict.measures["cost of overtime"] == 10.0


def test_a_hard_window_stays_hard() -> None:
    due = np.array([inf, inf, inf, 2.0, inf])
    instance = _line(due=due, soft_due=np.full(5, 1.0), late_cost=np.full(5, 1.0))
    assert _rules(instance, ALL) == ["time_window"]


@pytest.mark.parametrize(
    ("breaks", "taken", "rules"),
    [
        ((Break(2.0, 3.0, 5.0),), (2,), []),
        ((Break(2.0, 3.0, 5.0),), (), ["break"]),
        ((Break(2.0, 3.0, 5.0),), (4,), ["break"]),
        ((Break(9.0, 12.0, 5.0),), (), []),
        ((Break(0.0, 3.0, 1.0), Break(2.0, 5.0, 1.0)), (1, 1), ["break_order"]),
        ((Break(0.0, 3.0, 1.0), Break(2.0, 5.0, 1.0)), (1, 3), []),
        ((), (1,), ["break_order"]),
        ((Break(2.0, 3.0, 5.0),), (7,), ["break_order"]),
    ],
)
def test_breaks(breaks: tuple[Break, ...], taken: tuple[int, ...], rules: list[str]) -> None:
    assert _rules(_line(replace(VAN, breaks=breaks)), replace(ALL, breaks=taken)) == rules


def test_a_break_takes_time_and_waits_for_its_window() -> None:
    instance = _line(replace(VAN, breaks=(Break(6.0, 9.0, 5.0),)))
    driven = drive(instance, replace(ALL, breaks=(4,)))
    assert driven.visits[-1].begins == 8.0 + 5.0
    assert drive(instance, replace(ALL, breaks=(1,))).visits[1].begins == 6.0 + 5.0


def test_traffic_slows_what_is_driven_in_it() -> None:
    driven = drive(_line(traffic=RUSH, service=np.array([0.0, 8, 0, 0, 0])), ALL)
    assert [visit.begins for visit in driven.visits] == [1.0, 10.0, 12.0, 14.0, 20.5]


@settings(max_examples=50, deadline=None)
@given(st.floats(-5, 60), st.floats(0, 40), st.lists(st.floats(0.2, 3), min_size=3, max_size=3))
def test_arrival_and_departure_are_inverse_and_agree_with_the_kernels(
    leaves: float, takes: float, speeds: list[float]
) -> None:
    traffic = Traffic((0.0, 10.0, 20.0), (tuple(speeds),))
    then = arrives(traffic, (0, 1), leaves, takes)
    assert latest_departure(traffic, (0, 1), then, takes) == pytest.approx(leaves)
    assert arrives(traffic, (0, 1), leaves + 1.0, takes) >= then
    done = np.concatenate([[0.0], np.cumsum(np.array(speeds[:2]) * 10.0)])
    clocks = np.array([[[0.0, 10.0, 20.0], done, speeds]])
    assert arrival.py_func(clocks, 0, leaves, takes) == pytest.approx(then)
    assert departure.py_func(clocks, 0, then, takes) == pytest.approx(leaves)


@pytest.mark.parametrize(("measure", "cost"), [("stops", 7.0), ("distance", 20.0), ("load", 4.0), ("duration", 20.0)])
def test_balance(measure: str, cost: float) -> None:
    balance = Balance(measure, longest_cost=1.0, range_cost=2.0)  # type: ignore[arg-type]
    instance = _line(delivery=[[0], [1], [1], [1], [0]], balance=balance)
    verdict = check(instance, RichRoutes((RichRoute(0, (1,)), RichRoute(0, (2, 3, 4)))))
    assert verdict.measures["cost of unbalance"] == cost


def test_routes_under_way_go_on_and_the_past_is_not_judged() -> None:
    due = np.array([inf, inf, inf, 2.0, inf])
    instance = _line(due=due, locks=(Lock(0, (3,), begin=4.0, leaves=10.0),))
    assert _rules(instance, RichRoute(0, (3, 4, 2, 1))) == []
    assert _rules(instance, ALL) == ["time_window", "lock"] or "lock" in _rules(instance, ALL)
    assert drive(instance, RichRoute(0, (3, 4, 2, 1))).visits[1].begins == 11.0
    assert drive(instance, RichRoute(0, (3, 4, 2, 1))).duration == 15.0 - 4.0


def test_a_reason_for_each_client_that_is_left_out() -> None:
    prize = np.array([inf, 1.0, 1.0, 1.0, 1.0])
    instance = RichRouting.simple(
        "line",
        LINE,
        [VehicleType(1, (2.0,), serves=frozenset({1, 2, 3}), due=7.0)],
        delivery=[[0], [2], [1], [3], [0]],
        due=np.array([inf, inf, 1.0, inf, inf]),
        prize=prize,
    )
    plan = RichRoutes((RichRoute(0, (1,)),))
    left = {reason.clients[0]: reason.reason for reason in why_unserved(instance, plan)}
    assert left[2].startswith("its window closes at 1, the first vehicle could be there at 2")
    assert left[3] == "it asks for more than any vehicle that may serve it carries"
    assert left[4] == "no type of vehicle may serve it"
    explained = explain_rich_routing(instance, None, plan)
    assert len(explained.findings) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"due": 3.0}, "before its shift ends"),
        ({"most_distance": 3.0}, "longer than any route may be"),
    ],
)
def test_limits_that_a_client_alone_breaks(change: dict[str, float], words: str) -> None:
    instance = _line(replace(VAN, **change), prize=np.array([inf, 1, 1, 1, 1]))  # type: ignore[arg-type]
    left = {reason.clients[0]: reason.reason for reason in why_unserved(instance, RichRoutes(()))}
    assert words in left[4]
    assert "serving it would add 2, more than its prize of 1" in left[1]
