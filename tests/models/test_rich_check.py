"""Each rule is broken once, and the published plans keep them all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apportion.instances.formats import vrplib_rich
from apportion.instances.reading import read
from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting, VehicleType
from apportion.models.rich_routing.check import check, drive
from realdata import data_file

LINE = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
VAN = VehicleType(2, (2.0,))


def _rules(instance: RichRouting, *routes: RichRoute) -> set[str]:
    return {violation.rule for violation in check(instance, RichRoutes(routes)).violations}


def _line(vehicle: VehicleType = VAN, **more: object) -> RichRouting:
    return RichRouting.simple("line", LINE, [vehicle], **more)  # type: ignore[arg-type]


ALL = RichRoute(0, (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("rule", "instance", "route"),
    [
        ("unserved", _line(), RichRoute(0, (1, 2, 3))),
        ("served_twice", _line(), RichRoute(0, (1, 2, 3, 4, 4))),
        ("unknown_client", _line(), RichRoute(0, (1, 2, 3, 4, 9))),
        ("unknown_vehicle", _line(), RichRoute(3, (1, 2, 3, 4))),
        ("capacity", _line(delivery=[[0], [1], [1], [1], [0]]), ALL),
        ("capacity", _line(pickup=np.array([[0.0], [1], [1], [1], [0]])), ALL),
        ("time_window", _line(due=np.array([9.0, 9, 9, 2, 9])), ALL),
        ("shift", _line(replace(VAN, due=7.0)), ALL),
        ("duration", _line(replace(VAN, most_duration=7.0)), ALL),
        ("distance", _line(replace(VAN, most_distance=7.0)), ALL),
        ("skill", _line(replace(VAN, serves=frozenset({1, 2, 3}))), ALL),
        ("reload", _line(), RichRoute(0, (1, 2, 0, 3, 4))),
        ("group_served_twice", _line(groups=((1, 2),)), ALL),
        ("group_unserved", _line(groups=((1, 2),)), RichRoute(0, (3, 4))),
        ("pair_split", _line(pairs=((1, 2),)), RichRoute(0, (1, 3, 4))),
        ("pair_order", _line(pairs=((2, 1),)), ALL),
        (
            "backhaul_order",
            _line(
                pickup=np.array([[0.0], [1], [0], [0], [0]]), delivery=[[0], [0], [1], [1], [0]], backhauls_last=True
            ),
            ALL,
        ),
    ],
)
def test_each_rule(rule: str, instance: RichRouting, route: RichRoute) -> None:
    assert rule in _rules(instance, route)


def test_a_good_plan_breaks_nothing_and_prizes_are_added() -> None:
    prize = np.array([np.inf, np.inf, np.inf, np.inf, 5.0])
    instance = _line(replace(VAN, fixed_cost=10.0), prize=prize)
    verdict = check(instance, RichRoutes((RichRoute(0, (1, 2, 3)),)))
    assert verdict.ok
    assert verdict.objective == 6.0 + 10.0 + 5.0
    assert _rules(instance, RichRoute(0, (1,)), RichRoute(0, (2,)), RichRoute(0, (3,))) == {"fleet"}


def test_waiting_that_a_later_start_avoids_is_not_counted() -> None:
    ready = np.array([0.0, 50, 0, 0, 0])
    instance = _line(ready=ready, due=np.array([100.0, 60, 100, 100, 100]))
    assert drive(instance, RichRoute(0, (1, 2, 3, 4))).duration == 8.0
    assert drive(instance, RichRoute(0, (4, 1))).duration == 8.0


def test_release_times_hold_back_the_trip_that_carries_the_goods() -> None:
    truck = VehicleType(1, (4.0,), reload=0, most_reloads=1)
    release = np.array([0.0, 0, 10, 0, 0])
    due = np.array([99.0, 5, 99, 99, 99])
    instance = _line(truck, release=release, due=due)
    assert "time_window" in _rules(instance, ALL)
    assert not _rules(instance, RichRoute(0, (1, 0, 2, 3, 4)))


PUBLISHED = (
    *("HFVRP/X101-FSMFD", "HFVRP/X298-FSMD", "MDVRPTW/PR11A", "SDVRPTW/PR01", "PCVRPTW/C1_10_1", "VRPB/X-n524-50-k125"),
    *("MTVRPTWR/C201R0.25", "MTVRPTWR/R201R0.5", "MTVRPTWR/RC205R0.75", "GVRP/G-n262-k25-C131-V12"),
)
VALUES = (3517024.483, 3502992.445, 6655.548, 1655.42, 24539.1, 154156.0, 1500.6, 1442.6, 1877.8, 3229.0)


@pytest.mark.data
@pytest.mark.parametrize(("file", "value"), list(zip(PUBLISHED, VALUES, strict=True)), ids=PUBLISHED)
def test_published_plans_check_at_their_value(file: str, value: float) -> None:
    path = data_file(f"logistics/rich/{file}.vrp")
    instance = read(path)
    assert isinstance(instance, RichRouting)
    verdict = check(instance, vrplib_rich.parse_plan(path.with_suffix(".sol").read_text(), instance))
    assert verdict.ok, verdict.violations
    assert verdict.objective == pytest.approx(value)
