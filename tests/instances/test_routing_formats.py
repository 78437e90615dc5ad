"""VRPLIB and Solomon files: round trips, refusals by place, and fuzzing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.errors import InstanceError, OptionError
from apportion.instances.formats import solomon, vrplib
from apportion.instances.generate.routing import generate_routing
from apportion.instances.reading import Source, read, write
from apportion.instances.routing import Rounding, VehicleRouting, with_rounding

VRP = """NAME : toy
COMMENT : "three"
TYPE : CVRP
DIMENSION : 4
EDGE_WEIGHT_TYPE : EUC_2D
CAPACITY : 10
NODE_COORD_SECTION
1 0 0
2 0 3
3 4 0
4 4 3
DEMAND_SECTION
1 0
2 3
3 4
4 5
DEPOT_SECTION
1
-1
EOF
"""
EXPLICIT = """NAME : square
TYPE : VRPTW
DIMENSION : 3
VEHICLES : 2
CAPACITY : 5
SERVICE_TIME : 2
EDGE_WEIGHT_TYPE : EXPLICIT
EDGE_WEIGHT_FORMAT : FULL_MATRIX
EDGE_WEIGHT_SECTION
0 1 2
3 0 4
5 6 0
DEMAND_SECTION
1 0
2 2
3 3
TIME_WINDOW_SECTION
1 0 100
2 5 20
3 0 50
DEPOT_SECTION
1
-1
EOF
"""
SOLOMON = """toy

VEHICLE
NUMBER     CAPACITY
  3         200

CUSTOMER
CUST NO.   XCOORD.   YCOORD.    DEMAND   READY TIME  DUE DATE   SERVICE   TIME

    0      40         50          0          0       1236          0
    1      45         68         10        912        967         90
    2      45         70         30        825        870         90
"""
SOURCE = Source(Path("toy.vrp"))


def _vrp(text: str = VRP) -> VehicleRouting:
    return vrplib.parse(text, SOURCE)


def _faults(text: str) -> list[str]:
    with pytest.raises(InstanceError) as raised:
        _vrp(text)
    return [str(fault) for fault in raised.value.faults]


def test_coordinates_are_rounded_to_the_nearest_integer() -> None:
    instance = _vrp()
    assert instance.name == "toy"
    assert instance.distance.tolist() == [[0, 3, 4, 5], [3, 0, 5, 4], [4, 5, 0, 3], [5, 4, 3, 0]]
    assert instance.rounding is Rounding.NEAREST
    assert instance.num_vehicles is None
    assert instance.capacity == 10


def test_matrices_windows_and_vehicles() -> None:
    instance = _vrp(EXPLICIT)
    assert instance.distance.tolist() == [[0, 1, 2], [3, 0, 4], [5, 6, 0]]
    assert instance.due.tolist() == [100, 20, 50]
    assert instance.service.tolist() == [0, 2, 2]
    assert instance.num_vehicles == 2
    assert not instance.is_symmetric


@pytest.mark.parametrize(
    ("layout", "numbers"),
    [
        ("LOWER_ROW", "1 2 3"),
        ("UPPER_ROW", "1 2\n3"),
        ("LOWER_DIAG_ROW", "0 1 0 2 3 0"),
        ("UPPER_DIAG_ROW", "0 1 2\n0 3\n0"),
        ("FULL_MATRIX", "0 1 2 1 0 3 2 3 0"),
    ],
)
def test_every_layout_of_a_matrix(layout: str, numbers: str) -> None:
    text = EXPLICIT.replace("FULL_MATRIX", layout).replace("0 1 2\n3 0 4\n5 6 0", numbers)
    assert _vrp(text).distance.tolist() == [[0, 1, 2], [1, 0, 3], [2, 3, 0]]


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("2 0 3\n", "", "NODE_COORD_SECTION: misses a node, got 2"),
        ("2 0 3\n", "2 0 3\n2 0 3\n", "NODE_COORD_SECTION row 3: repeats the node"),
        ("2 0 3\n", "2 0 x\n", "NODE_COORD_SECTION row 2"),
        ("2 0 3\n", "2 0 nan\n", "NODE_COORD_SECTION row 2"),
        ("2 0 3\n", "9 0 3\n", "NODE_COORD_SECTION row 2: the node must lie in 1..4"),
        ("2 3\n", "2 -3\n", "demand[1]: must be at least 0"),
        ("4 5\n", "", "DEMAND_SECTION: misses a node"),
        ("DIMENSION : 4", "DIMENSION : four", "DIMENSION"),
        ("DIMENSION : 4", "DIMENSION : 1e30", "DIMENSION"),
        ("DIMENSION : 4\n", "", "DIMENSION: is missing"),
        ("CAPACITY : 10\n", "", "CAPACITY: is missing"),
        ("CAPACITY : 10", "CAPACITY : -10", "capacity"),
        ("CAPACITY : 10", "CAPACITY : 10\nCAPACITY : 11", "CAPACITY: stands twice"),
        ("EUC_2D", "GEO", "EDGE_WEIGHT_TYPE"),
        ("TYPE : CVRP", "TYPE : TSP", "TYPE: must be one of"),
        ("\n1\n-1", "\n1\n2\n-1", "DEPOT_SECTION: must name node 1 alone"),
        ("DEPOT_SECTION", "BACKHAUL_SECTION\n2\nDEPOT_SECTION", "BACKHAUL_SECTION: is not supported"),
        ("CAPACITY : 10", "CAPACITY : 10\nDISTANCE : 50", "DISTANCE: is not supported"),
    ],
)
def test_wrong_files_are_refused_by_section_and_row(old: str, new: str, place: str) -> None:
    assert old in VRP
    faults = _faults(VRP.replace(old, new, 1) if old != "2 3\n" else VRP.replace("\n2 3\n", "\n2 -3\n"))
    assert any(fault.startswith(place) for fault in faults), faults


def test_several_faults_come_at_once() -> None:
    assert len(_faults(VRP.replace("2 0 3", "2 0 x").replace("CAPACITY : 10", "CAPACITY : ten"))) == 2


@pytest.mark.parametrize("time_windows", [False, True])
def test_vrplib_round_trip(time_windows: bool, tmp_path: Path) -> None:
    instance = generate_routing(1, clients=12, time_windows=time_windows)
    write(instance, tmp_path / "toy.vrp")
    _same(instance, read(tmp_path / "toy.vrp"))


def test_vrplib_keeps_an_asymmetric_matrix(tmp_path: Path) -> None:
    write(_vrp(EXPLICIT), tmp_path / "toy.vrp")
    _same(_vrp(EXPLICIT), read(tmp_path / "toy.vrp"))


@pytest.mark.parametrize("rounding", [Rounding.TRUNCATE_1_DECIMAL, Rounding.NONE, Rounding.NEAREST])
def test_solomon_round_trip_keeps_the_rounding(rounding: Rounding, tmp_path: Path) -> None:
    instance = with_rounding(generate_routing(2, clients=12, time_windows=True), rounding)
    write(instance, tmp_path / "toy.txt")
    back = read(tmp_path / "toy.txt")
    _same(instance, back)
    assert isinstance(back, VehicleRouting)
    assert back.rounding is rounding


def _same(first: VehicleRouting, second: object) -> None:
    assert isinstance(second, VehicleRouting)
    assert (second.name, second.capacity, second.num_vehicles) == (first.name, first.capacity, first.num_vehicles)
    for field in ("distance", "duration", "demand", "ready", "due", "service"):
        assert np.array_equal(getattr(first, field), getattr(second, field)), field


def test_solomon_refuses_to_lose_anything() -> None:
    with pytest.raises(OptionError, match="matrix"):
        solomon.render(_vrp(EXPLICIT))
    with pytest.raises(OptionError, match="window"):
        solomon.render(generate_routing(1, clients=3))


def test_solomon_reads() -> None:
    instance = solomon.parse(SOLOMON, SOURCE)
    assert (instance.name, instance.num_vehicles, instance.capacity) == ("toy", 3, 200.0)
    assert instance.distance[0, 1] == 18.6
    assert instance.ready.tolist() == [0, 912, 825]


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("   10        912", "  -10        912", "demand[1]"),
        ("   10        912", "  ten        912", "line 11"),
        ("    2      45", "    1      45", "line 12: repeats the number"),
        ("    2      45", "    7      45", "CUSTOMER: misses number 2"),
        ("912        967", "967        912", "due[1]: must not lie before ready"),
        ("  3         200", "  3.5       200", "line 5"),
        ("  3         200", "", "VEHICLE"),
        ("CUSTOMER\n", "", "has no line CUSTOMER"),
        ("967         90", "967", "line 11"),
        ("912        967", "912        1e999", "line 11"),
    ],
)
def test_wrong_solomon_files_are_refused_by_line(old: str, new: str, place: str) -> None:
    assert old in SOLOMON
    with pytest.raises(InstanceError) as raised:
        solomon.parse(SOLOMON.replace(old, new), SOURCE)
    faults = [str(fault) for fault in raised.value.faults]
    assert any(fault.startswith(place) for fault in faults), faults


WORDS = [
    "nan",
    "inf",
    "-1",
    "0",
    "1e999",
    "9" * 5000,
    "x",
    "",
    "-1e308",
    "1e308",
    "1.5",
    "\x00",
    "EOF",
    "DEMAND_SECTION",
]
CASES = [(VRP, vrplib.parse), (EXPLICIT, vrplib.parse), (SOLOMON, solomon.parse)]


def _mangled(data: st.DataObject, text: str) -> str:
    lines = text.split("\n")
    at = data.draw(st.integers(0, len(lines) - 1))
    what = data.draw(st.sampled_from(["cut", "drop", "twice", "swap", "word", "noise"]))
    if what == "cut":
        return "\n".join(lines[:at])
    if what == "drop":
        del lines[at]
    elif what == "twice":
        lines.insert(at, lines[at])
    elif what == "swap":
        other = data.draw(st.integers(0, len(lines) - 1))
        lines[at], lines[other] = lines[other], lines[at]
    elif what == "word":
        words = lines[at].split()
        if words:
            words[data.draw(st.integers(0, len(words) - 1))] = data.draw(st.sampled_from(WORDS))
        lines[at] = " ".join(words)
    else:
        lines.insert(at, data.draw(st.text(max_size=20)))
    return "\n".join(lines)


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(0, len(CASES) - 1), st.integers(1, 3))
def test_mangled_files_are_instances_or_clear_refusals(data: st.DataObject, case: int, times: int) -> None:
    text, parse = CASES[case]
    for _ in range(times):
        text = _mangled(data, text)
    try:
        read_back = parse(text, SOURCE).summary()
    except InstanceError as error:
        read_back = {"fault": str(error.faults[0]), "source": error.source}
    assert read_back.get("source", "toy.vrp") == "toy.vrp"
    assert len(read_back) >= 2


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200))
def test_noise_is_refused(text: str) -> None:
    for parse in (vrplib.parse, solomon.parse):
        with pytest.raises(InstanceError):
            parse(text, SOURCE)
