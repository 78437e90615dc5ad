"""Rich instances: validation, JSON that holds everything, and readers that never raise anything but InstanceError."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.errors import InstanceError, PlanError
from apportion.instances.formats import cordeau, li_lim, rich_json, vrplib_rich
from apportion.instances.plans import read_plan, write_plan
from apportion.instances.reading import Source, read, write
from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting, VehicleType
from apportion.instances.rich_rules import Balance, Break, Lock, Traffic
from apportion.instances.routing import Rounding
from realdata import data_file
from rich_random import FEATURES, TIMED, random_rich

LINE = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
VAN = VehicleType(2, (2.0,))

FLEET = """NAME: fleet
TYPE: HFVRP
DIMENSION: 3
VEHICLES: 3
EDGE_WEIGHT_TYPE: EUC_2D
NODE_COORD_SECTION
1 0 0
2 3 4
3 1 1
DEMAND_SECTION
1 0
2 2
3 1
CAPACITY_SECTION
1 5
2 5
3 9
VEHICLES_FIXED_COST_SECTION
1 10
2 10
3 15
DEPOT_SECTION
1
EOF
"""
PAIRS = "2\t10\t1\n0\t0\t0\t0\t0\t100\t0\t0\t0\n1\t3\t4\t5\t0\t50\t1\t0\t2\n2\t6\t8\t-5\t0\t90\t1\t1\t0\n"
DEPOTS = "2 2 2 2\n0 8\n50 8\n1 3 4 0 5 1 2 1 2\n2 6 8 1 3 1 2 1 2\n3 0 0 0 0 0 0\n4 9 9 0 0 0 0\n"
READERS = {"vrplib": (vrplib_rich.parse, FLEET), "li-lim": (li_lim.parse, PAIRS), "cordeau": (cordeau.parse, DEPOTS)}
_RULES = frozenset({"fleet", "prizes", "late", "traffic", "breaks", "balance", "locks"})
READERS["json"] = (rich_json.parse, rich_json.render(random_rich(1, 3, _RULES)))
SOURCE = Source(Path("some.txt"))


def test_vehicles_that_are_alike_become_one_type() -> None:
    instance = vrplib_rich.parse(FLEET, SOURCE)
    assert [(v.count, v.capacity, v.fixed_cost) for v in instance.vehicles] == [(2, (5.0,), 10.0), (1, (9.0,), 15.0)]
    assert instance.distance[0, 2] == 1.414
    assert instance.rounding is Rounding.NEAREST_3_DECIMALS


def test_pairs_and_depots_are_read() -> None:
    pairs = li_lim.parse(PAIRS, SOURCE)
    assert pairs.pairs == ((1, 2),)
    assert pairs.vehicles[0].due == 100
    depots = cordeau.parse(DEPOTS, SOURCE)
    assert depots.num_depots == 2
    assert [v.most_duration for v in depots.vehicles] == [inf, 50]
    assert depots.distance[0, 2] == 5.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 8), st.frozensets(st.sampled_from(FEATURES + TIMED), max_size=6))
def test_json_holds_everything(seed: int, clients: int, features: frozenset[str]) -> None:
    instance = random_rich(seed, clients, features)
    again = rich_json.parse(rich_json.render(instance), SOURCE)
    for name, value in vars(instance).items():
        other = getattr(again, name)
        if isinstance(value, Traffic):
            assert (value.times, value.speeds) == (other.times, other.speeds)
            assert np.array_equal(value.profile, other.profile) if value.profile is not None else other.profile is None
            continue
        assert np.array_equal(value, other) if isinstance(value, np.ndarray) else value == other, name


def test_files_are_told_apart_by_their_content(tmp_path: Path) -> None:
    for name, text in (("a.vrp", FLEET), ("b.txt", PAIRS), ("c.txt", DEPOTS)):
        (tmp_path / name).write_text(text)
        assert read(tmp_path / name).problem == "rich-routing"
    instance = read(tmp_path / "a.vrp")
    write(instance, tmp_path / "d.json")
    assert isinstance(read(tmp_path / "d.json"), RichRouting)


def test_plans_round_trip(tmp_path: Path) -> None:
    instance = vrplib_rich.parse(FLEET, SOURCE)
    plan = RichRoutes((RichRoute(1, (2, 1)),))
    for name in ("plan.json", "plan.sol"):
        write_plan(plan, tmp_path / name, instance)
        assert read_plan(tmp_path / name, instance) == plan


@pytest.mark.parametrize(
    "data",
    [{}, {"routes": 3}, {"routes": [3]}, {"routes": [{"vehicle": 0}]}, {"routes": [{"vehicle": True, "stops": []}]}],
)
def test_plans_of_another_form_are_refused(data: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        RichRoutes.from_dict(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_depots": 0}, "num_depots: must lie in"),
        ({"vehicles": ()}, "vehicles: must not be empty"),
        ({"vehicles": (replace(VAN, count=0),)}, "count: must be at least 1"),
        ({"vehicles": (replace(VAN, capacity=(nan,)),)}, "capacity: must be 1 finite"),
        ({"vehicles": (replace(VAN, start=3),)}, "start: must be a depot"),
        ({"vehicles": (replace(VAN, ready=5.0, due=2.0),)}, "must not lie before ready"),
        ({"vehicles": (replace(VAN, reload=0, time_cost=1.0),)}, "reloads do not go with"),
        ({"vehicles": (replace(VAN, serves=frozenset({0})),)}, "names no client"),
        ({"groups": ((1, 9),)}, "must name clients"),
        ({"groups": ((1, 2), (2, 3))}, "another group or pair"),
        ({"pairs": ((1, 2),), "shipment": np.array([[0.0], [1], [-2], [0]])}, "must unload what it loads"),
        ({"shipment": np.array([[0.0], [1], [-1], [0]])}, "belongs to no pair"),
        ({"ready": np.array([0.0, 9, 0, 0]), "due": np.array([9.0, 1, 9, 9])}, "must not lie before ready"),
        ({"distance": np.full((4, 4), nan)}, "must be a number"),
        ({"release": np.array([0.0, -1, 0, 0])}, "must be at least 0"),
        ({"late_cost": np.array([0.0, -1, 0, 0])}, "late_cost.*must be at least 0"),
        ({"vehicles": (replace(VAN, breaks=(Break(5.0, 2.0, 1.0),)),)}, "latest: must not lie before earliest"),
        ({"vehicles": (replace(VAN, overtime_cost=-1.0),)}, "overtime_cost: must be finite"),
        ({"traffic": Traffic((0.0, 0.0), ((1.0, 1.0),))}, "times: must be finite and increasing"),
        ({"traffic": Traffic((0.0,), ((0.0,),))}, "finite numbers above 0"),
        ({"traffic": Traffic((0.0,), ((1.0,), (2.0,)))}, "which way has which"),
        ({"traffic": Traffic((0.0,), ((1.0,),), np.full((4, 4), 1))}, "whole numbers in 0..0"),
        ({"balance": Balance("weight")}, "measure: must be one of distance"),  # type: ignore[arg-type]
        ({"balance": Balance("load", range_cost=nan)}, "range_cost: must be finite"),
        ({"locks": (Lock(0, ()),)}, "stops: must not be empty"),
        ({"locks": (Lock(3, (1,)),)}, "vehicle: must lie in 0..0"),
        ({"locks": (Lock(0, (1,)), Lock(0, (1,)))}, "names a client of another place"),
        ({"locks": (Lock(0, (1,)), Lock(0, (2,)), Lock(0, (3,)))}, "fewer vehicles of this type than locks"),
        ({"locks": (Lock(0, (1,), leaves=nan),)}, "leaves: must be finite"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], message: str) -> None:
    good = RichRouting.simple("line", LINE, [VAN])
    with pytest.raises(InstanceError, match=message):
        replace(good, **change)  # type: ignore[arg-type]


def test_json_reports_all_faults_at_once() -> None:
    text = '{"problem": "rich-routing", "locations": [{"x": "a"}], "vehicles": [{"count": 0}], "colour": 1}'
    with pytest.raises(InstanceError) as caught:
        rich_json.parse(text, SOURCE)
    assert {fault.place for fault in caught.value.faults} == {
        "locations[0].x",
        "vehicles[0].count",
        "vehicles[0].capacity",
        "colour",
    }


@pytest.mark.parametrize("kind", sorted(READERS))
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_broken_files_are_instance_errors(kind: str, data: st.DataObject) -> None:
    parse, text = READERS[kind]
    words = text.split(" ") if kind != "li-lim" else text.split("\t")
    gap = "\t" if kind == "li-lim" else " "
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(words) - 1))
        wrong = data.draw(st.sampled_from(["", "nan", "-1", "1e400", "x", "99999999999", "\n", "2.5", "null", "[]"]))
        words = [*words[:place], wrong, *words[place + data.draw(st.integers(0, 2)) :]]
    broken = gap.join(words)[: data.draw(st.integers(0, 4000))]
    with suppress(InstanceError):
        assert isinstance(parse(broken, SOURCE), RichRouting)


@pytest.mark.data
@pytest.mark.parametrize(("file", "clients"), [("rich/MDVRP/p01.txt", 50), ("pdptw/li_lim/lc101.txt", 106)])
def test_real_files_are_read(file: str, clients: int) -> None:
    instance = read(data_file(f"logistics/{file}"))
    assert isinstance(instance, RichRouting)
    assert instance.num_clients == clients
