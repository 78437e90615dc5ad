from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.errors import InstanceError
from apportion.instances.formats import orlib
from apportion.instances.program import MixedIntegerProgram
from realdata import data_file

Reader = Callable[[Path], MixedIntegerProgram]

GOOD: dict[str, tuple[Reader, str, tuple[int, int]]] = {
    "set cover": (orlib.read_set_cover, "2 3\n4 5 6\n2\n1 2\n1\n3\n", (2, 3)),
    "assignment": (orlib.read_assignment, "2 3\n1 2 3\n4 5 6\n1 1 1\n2 2 2\n3 4\n", (5, 6)),
    "facility": (orlib.read_facility, "2 1\n10 100\n20 200\n5\n7 8\n", (5, 4)),
    "single source": (orlib.read_single_source, "2 1\n10 20\n100 200\n5\n7 8\n", (5, 4)),
    "knapsack": (orlib.read_multi_knapsack, "1\n3 2 0\n5 6 7\n1 2 3\n4 5 6\n8 9\n", (2, 3)),
    "bin packing": (orlib.read_bin_packing, "1\n u3_00\n 10 3 2\n6\n5\n4\n", (7, 16)),
    "network": (orlib.read_network_design, "TITLE\n2 2 1\n1 2 3 10 50 1 1\n2 1 4 10 60 1 1\n1 2 5\n", (6, 4)),
}


def _write(tmp_path_factory: pytest.TempPathFactory, text: str) -> Path:
    path = tmp_path_factory.mktemp("orlib") / "instance.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", list(GOOD))
def test_a_small_file_becomes_a_program(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    read, text, shape = GOOD[kind]
    program = read(_write(tmp_path_factory, text))
    assert (program.num_rows, program.num_columns) == shape
    assert program.name.startswith("instance")


def test_the_numbers_end_where_they_belong(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = orlib.read_facility(_write(tmp_path_factory, GOOD["facility"][1]))
    assert program.cost.tolist() == [100.0, 200.0, 7.0, 8.0]
    assert program.integer.tolist() == [True, True, False, False]
    assert -10.0 in program.matrix.values
    assert -20.0 in program.matrix.values


@pytest.mark.parametrize("kind", list(GOOD))
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_broken_files_are_instance_errors(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    read, text, _ = GOOD[kind]
    words = text.split()
    at = data.draw(st.integers(0, len(words) - 1))
    damage = data.draw(st.sampled_from(("nan", "inf", "-1", "1e300", "x", "", "0", "1.5", "99999999999", "cut", "dup")))
    changed = {"cut": words[:at], "dup": [*words[:at], words[at], *words[at:]]}.get(
        damage, [*words[:at], damage, *words[at + 1 :]]
    )
    body = "\n".join(changed)
    path = _write(tmp_path_factory, f"TITLE\n{body.removeprefix('TITLE')}" if kind == "network" else body)
    try:
        program = read(path)
    except InstanceError as error:
        assert str(path) in str(error)  # noqa: PT017 either outcome is right
        return
    assert np.isfinite(program.cost).all()


@pytest.mark.parametrize("kind", list(GOOD))
def test_an_empty_file_is_an_instance_error(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(InstanceError, match="line"):
        GOOD[kind][0](_write(tmp_path_factory, ""))


@pytest.mark.data
@pytest.mark.parametrize(
    ("relative", "read", "shape"),
    [
        ("setcover/scp41.txt", orlib.read_set_cover, (200, 1000)),
        ("gap/chu1997/d05100.txt", orlib.read_assignment, (105, 500)),
        ("facility/orlib_cap/cap41.txt", orlib.read_facility, (866, 816)),
        ("facility/sscflp_holmberg/p1.txt", orlib.read_single_source, (560, 510)),
        ("packing/mknap/mknapcb1.txt", orlib.read_multi_knapsack, (5, 100)),
        ("network/mcnd/c33.dow", orlib.read_network_design, None),
        ("packing/1d/binpack1.txt", orlib.read_bin_packing, None),
    ],
)
def test_published_files(relative: str, read: Reader, shape: tuple[int, int] | None) -> None:
    program = read(data_file(f"logistics/{relative}"))
    if shape is not None:
        assert (program.num_rows, program.num_columns) == shape
    assert program.num_columns > 0


@pytest.mark.data
def test_the_optimum_of_cap41_is_the_published_one() -> None:
    from apportion.solvers.solve import solve_instance

    program = orlib.read_facility(data_file("logistics/facility/orlib_cap/cap41.txt"))
    assert solve_instance(program, method="heuristics").objective == pytest.approx(1040444.375, rel=1e-6)
