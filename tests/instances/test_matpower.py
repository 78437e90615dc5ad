"""The reader of MATPOWER cases: what it reads, and that a fault names table, row and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import read
from apportion.instances.errors import BackendMissingError, InstanceError
from apportion.instances.formats import matpower
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.reading import Source
from realdata import data_file

pytest.importorskip("matpowercaseframes", reason="matpowercaseframes (extra power) is not installed")

CASE = """function mpc = tiny
% a comment; with [brackets]
mpc.version = '2';
mpc.baseMVA = 100.0;
%% bus data
mpc.bus = [
	1	3	0.0	0.0	0	0	1	1.0	0.0	230	1	1.1	0.9;
	2	1	80.0	20.0	1	5	1	1.0	0.0	230	1	1.1	0.9;
	7	2	50.0	10.0	0	0	2	1.0	0.0	230	1	1.1	0.9; % with a comment
	9	4	1.0	1.0	0	0	2	1.0	0.0	230	1	1.1	0.9;
];
mpc.gen = [
	1	0	0	60	-60	1	100	1	150	10;
	7	0	0	30	-30	1	100	1	90	0;
	7	0	0	30	-30	1	100	0	90	0;
];
mpc.gencost = [
	2	0	0	3	0.02	20	5	0;
	1	0	0	2	0	0	90	2700;
	2	0	0	2	1	0	0	0;
];
mpc.branch = [
	1	2	0.01	0.1	0.02	100	0	0	0	0	1	-30	30;
	1	2	0.01	0.1	0.02	0	0	0	0.98	2	1	0	0;
	2	7	0.02	0.2	0.02	80	0	0	0	0	1	-360	360;
	1	7	0.02	0.2	0.02	80	0	0	0	0	0	-360	360;
	7	9	0.02	0.2	0.02	80	0	0	0	0	1	-360	360;
];
"""


def parsed(text: str) -> OptimalPowerFlow:
    return matpower.parse(text, Source(Path("tiny.m")))


def faults_of(text: str) -> str:
    with pytest.raises(InstanceError) as caught:
        parsed(text)
    assert str(caught.value).startswith("tiny.m: ")
    return str(caught.value)


def test_every_column_arrives() -> None:
    case = parsed(CASE)
    assert case.buses.names == ("1", "2", "7")
    assert case.buses.reference.tolist() == [True, False, False]
    assert case.load_mw.tolist() == [[0.0, 80.0, 50.0]]
    assert case.buses.shunt_mvar.tolist() == [0.0, 5.0, 0.0]
    assert case.branches.names == ("1-2", "1-2#2", "2-7")
    assert case.branches.tap.tolist() == [1.0, 0.98, 1.0]
    assert case.branches.rate_mva.tolist() == [100.0, np.inf, 80.0]
    assert case.branches.angle_max_deg.tolist() == [30.0, 360.0, 360.0]
    assert case.generators.names == ("gen-1", "gen-2")
    assert case.generators.cost_quadratic.tolist() == [0.02, 0.0]
    assert case.generators.curves == ((), ((0.0, 0.0), (90.0, 2700.0)))


def test_rows_may_share_a_line() -> None:
    flat = CASE.replace(";\n\t", "; ").replace("[\n\t", "[").replace("; % with a comment", ";")
    one, two = parsed(CASE), parsed(flat)
    np.testing.assert_array_equal(one.branches.reactance, two.branches.reactance)
    assert one.generators.names == two.generators.names


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("\t2\t1\t80.0", "\t1\t1\t80.0", "mpc.bus row 2, BUS_I: repeats the bus number of row 1"),
        ("0.01\t0.1\t0.02\t100", "0.01\t0\t0.02\t100", "mpc.branch row 1, BR_X: must not be zero"),
        ("150\t10", "5\t10", "mpc.gen row 1, PMIN: must be at most the PMAX of 5"),
        ("1.1\t0.9;\n\t2", "0.8\t0.9;\n\t2", "mpc.bus row 1, VMIN: must be at most the VMAX of 0.8"),
        ("80.0\t20.0", "NaN\t20.0", "mpc.bus row 2, column 3: must be a number"),
        ("80.0\t20.0", "Inf\t20.0", "mpc.bus row 2"),
        ("1\t3\t0.0", "1\t2\t0.0", "without a reference bus"),
        ("\t2\t7\t0.02\t0.2\t0.02\t80\t0\t0\t0\t0\t1", "\t2\t7\t0.02\t0.2\t0.02\t80\t0\t0\t0\t0\t0", "reference"),
        (
            "\t7\t0\t0\t30\t-30\t1\t100\t1\t90\t0;\n\t7",
            "\t8\t0\t0\t30\t-30\t1\t100\t1\t90\t0;\n\t7",
            "is no bus of mpc.bus",
        ),
        ("2\t0\t0\t3\t0.02", "2\t0\t0\t9\t0.02", "mpc.gencost row 1, NCOST"),
        ("2\t0\t0\t3\t0.02", "7\t0\t0\t3\t0.02", "mpc.gencost row 1, MODEL"),
        ("2\t0\t0\t3\t0.02", "2\t0\t0\t3\t-0.02", "mpc.gencost row 1, COST: must be at least 0"),
        ("2\t0\t0\t3\t0.02\t20\t5\t0", "2\t0\t0\t4\t0.02\t20\t5\t0", "degree 2 at most"),
        ("\t2\t0\t0\t2\t1\t0\t0\t0;\n", "", "one row for each of the 3 generators"),
        ("mpc.version = '2'", "mpc.version = '1'", "mpc.version"),
        ("mpc.baseMVA = 100.0", "mpc.baseMVA = many", "mpc.baseMVA"),
        ("mpc.branch = [", "mpc.bus(:, 3) = 2;\nmpc.branch = [", "computation"),
        ("mpc.branch = [", "mpc.lines = [", "mpc.branch: is missing"),
        ("mpc.branch = [", "mpc.dcline = [\n1 2 1 5;\n];\nmpc.branch = [", "mpc.dcline row 1"),
        ("230\t1\t1.1\t0.9;\n\t2", "230;\n\t2", "mpc.bus row 1: must have 13 to 17 numbers"),
    ],
)
def test_faults_speak_the_words_of_the_file(before: str, after: str, expected: str) -> None:
    assert before in CASE
    assert expected in faults_of(CASE.replace(before, after, 1))


def test_an_island_without_a_generator_is_named() -> None:
    text = CASE.replace("\t7\t0\t0\t30\t-30\t1\t100\t1", "\t7\t0\t0\t30\t-30\t1\t100\t0", 1)
    text = text.replace("80\t0\t0\t0\t0\t1\t-360", "80\t0\t0\t0\t0\t0\t-360", 1)
    assert "bus 7: belong to an island without a generator, with a load of 50 MW" in faults_of(text)


@given(st.integers(0, 10**6), st.sampled_from(["cut", "swap", "word", "huge", "semicolon", "line"]))
@settings(max_examples=50, deadline=None)
def test_a_spoilt_case_is_an_instance_or_an_instance_error(position: int, how: str) -> None:
    k = position % len(CASE)
    lines = CASE.splitlines(keepends=True)
    spoilt = {
        "cut": CASE[:k],
        "swap": CASE[k:] + CASE[:k],
        "word": CASE[:k] + "x" + CASE[k + 1 :],
        "huge": CASE[:k] + "9e999" + CASE[k + 1 :],
        "semicolon": CASE[:k] + ";" + CASE[k:],
        "line": "".join(lines[: k % len(lines)] + lines[k % len(lines) + 1 :]),
    }[how]
    try:
        parsed(spoilt)
    except InstanceError as error:
        assert error.faults  # noqa: PT017


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> Any:
        return None

    monkeypatch.setattr(matpower, "find_spec", absent)
    with pytest.raises(BackendMissingError, match=r"apportion\[power\]"):
        parsed(CASE)


@pytest.mark.data
def test_a_case_of_the_library_is_read_by_its_content(tmp_path: Path) -> None:
    path = data_file("power/pglib-opf/pglib_opf_case14_ieee.m")
    (tmp_path / "case").write_text(path.read_text())
    for where in (path, tmp_path / "case"):
        case = read(where)
        assert isinstance(case, OptimalPowerFlow)
        assert len(case.branches) == 20
