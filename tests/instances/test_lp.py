"""LP files: read, written, refused with line and column."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.core import Sense
from apportion.instances.errors import InstanceError
from apportion.instances.formats import lp
from apportion.instances.generate.program import KINDS, generate_program
from apportion.instances.program import MixedIntegerProgram, SparseColumns
from apportion.instances.reading import Source, read, write
from apportion.models.algebra import Model

SOURCE = Source(Path("folder/tiny.lp"))
TINY = """\\ a comment
Maximize
 obj: 2 x + 3 y - 1.5 z + 4 + [ -2 x ^2 + 4 x * y ] / 2
Subject To
 c1: x + y + z <= 10
 c2: x - y >= -8
 c3: 3 x = 1
Bounds
 x <= 4
 -1 <= y <= 5
 z free
General
 y
Binary
 b
End
"""


def test_tiny_in_full() -> None:
    program = lp.parse(TINY, SOURCE)
    assert program.name == "tiny"
    assert program.sense is Sense.MAXIMISE
    assert program.column_names == ("x", "y", "z", "b")
    assert program.row_names == ("c1", "c2", "c3")
    assert program.offset == 4.0
    np.testing.assert_array_equal(program.cost, [2, 3, -1.5, 0])
    np.testing.assert_array_equal(program.lower, [0, -1, -np.inf, 0])
    np.testing.assert_array_equal(program.upper, [4, 5, np.inf, 1])
    np.testing.assert_array_equal(program.integer, [False, True, False, True])
    np.testing.assert_array_equal(program.row_lower, [-np.inf, -8, 1])
    np.testing.assert_array_equal(program.row_upper, [10, np.inf, 1])
    assert program.hessian is not None
    np.testing.assert_array_equal(program.hessian.starts, [0, 2, 2, 2, 2])
    np.testing.assert_array_equal(program.hessian.rows, [0, 1])
    np.testing.assert_array_equal(program.hessian.values, [-2.0, 2.0])


def by_name(program: MixedIntegerProgram) -> dict[str, object]:
    """A program as dictionaries by name: LP files order their columns by appearance."""
    matrix = {}
    for j, column in enumerate(program.column_names):
        for k in range(program.matrix.starts[j], program.matrix.starts[j + 1]):
            matrix[program.row_names[program.matrix.rows[k]], column] = program.matrix.values[k]
    columns = zip(program.lower, program.upper, program.cost, program.integer, strict=True)
    rows = zip(program.row_lower, program.row_upper, strict=True)
    quadratic = {}
    if program.hessian is not None:
        for j, column in enumerate(program.column_names):
            for k in range(program.hessian.starts[j], program.hessian.starts[j + 1]):
                quadratic[frozenset((column, program.column_names[program.hessian.rows[k]]))] = program.hessian.values[
                    k
                ]
    return {
        "matrix": matrix,
        "columns": dict(zip(program.column_names, columns, strict=True)),
        "rows": dict(zip(program.row_names, rows, strict=True)),
        "quadratic": quadratic,
        "objective": (program.sense, program.offset),
    }


def test_written_and_read_again_it_is_the_same() -> None:
    program = lp.parse(TINY, SOURCE)
    assert by_name(lp.parse(lp.render(program), SOURCE)) == by_name(program)


@pytest.mark.parametrize("kind", KINDS)
def test_generated_programs_come_back(kind: str, tmp_path: Path) -> None:
    program = generate_program(5, kind)
    write(program, tmp_path / "one.lp")
    again = read(tmp_path / "one.lp")
    assert isinstance(again, MixedIntegerProgram)
    renamed = replace(
        program,
        column_names=tuple(name.replace("[", "(").replace("]", ")") for name in program.column_names),
        row_names=tuple(name.replace("[", "(").replace("]", ")") for name in program.row_names),
    )
    assert by_name(again) == by_name(renamed)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_random_programs_come_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns, rows = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    dense = np.round(rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.5), 3)
    dense[np.arange(rows), rng.integers(columns, size=rows)] = 2.5  # rows without entries are left out
    entry_column, entry_row = np.nonzero(dense.T)
    starts = np.searchsorted(entry_column, np.arange(columns + 1)).astype(np.int32)
    low = rng.choice([-np.inf, -3.0, 0.0, 1.0], columns)
    sides = rng.integers(3, size=rows)
    program = MixedIntegerProgram(
        name="random",
        sense=Sense.MAXIMISE if rng.random() < 0.5 else Sense.MINIMISE,
        cost=np.round(rng.normal(size=columns), 3) * (rng.random(columns) < 0.7),
        matrix=SparseColumns(starts, entry_row.astype(np.int32), dense[entry_row, entry_column]),
        row_lower=np.where(sides == 0, -np.inf, 1.5),
        row_upper=np.where(sides == 1, np.inf, 1.5),
        lower=low,
        upper=np.where(np.isinf(low), 0.0, low) + rng.choice([0.0, 2.0, np.inf], columns),
        integer=rng.random(columns) < 0.4,
        offset=float(rng.integers(-3, 4)),
        column_names=tuple(f"v({j})" for j in range(columns)),
        row_names=tuple(f"w({i})" for i in range(rows)),
    )
    assert by_name(lp.parse(lp.render(program), SOURCE)) == by_name(program)


def test_names_that_lp_cannot_hold_are_replaced() -> None:
    model = Model("names")
    x = model.add_variables("ship", (2, 2))
    model.add_variables("idle", upper=3)
    model.add_constraints("a b", x.sum(axis=0) <= 1)
    text = lp.render(model.compile(names=True))
    again = lp.parse(text, SOURCE)
    assert sorted(again.column_names) == ["idle", "ship(0,0)", "ship(0,1)", "ship(1,0)", "ship(1,1)"]
    assert again.row_names == ("a_b(0)", "a_b(1)")
    awkward = Model("awkward")
    awkward.add_constraints("end", awkward.add_variables("3e") + awkward.add_variables("free") <= 1)
    assert lp.parse(lp.render(awkward.compile(names=True)), SOURCE).column_names == ("x0", "x1")


WRONG = [
    ("3 y", "nan y", ["line 3, column"]),
    ("<= 10", "<= nan", ["line 5, column", "nan"]),
    ("<= 10", "<= ten", ["line 5", "ten"]),
    ("<= 10", "", ["line 6"]),
    ("End\n", "", ["line 15", "end"]),
    ("Subject To", "Hello there", ["line 4"]),
    ("3 y", "1e30 y", ["variable y", "1e20"]),
    ("c2:", "c1:", ["constraints[1]", "'c1'"]),
    ("Binary", "Semi-continuous", ["variable b", "semi-continuous"]),
    ("Binary", "SOS", ["line 14", "SOS"]),
    ("x <= 4", "x <= -4", ["variable x", "cross"]),
    ("x + y + z", "x + 4", ["line 5", "constant", "Maybe"]),
    ("x + y + z", "x + [ x ^2 ]", ["line 5", "quadratic"]),
    ("c3: 3 x", "c3: b = 1 -> 3 x", ["line 7", "indicator"]),
]


@pytest.mark.parametrize(("old", "new", "words"), WRONG, ids=[f"{old} to {new}" for old, new, _ in WRONG])
def test_what_is_wrong_is_named_with_its_place(old: str, new: str, words: list[str]) -> None:
    assert old in TINY
    with pytest.raises(InstanceError) as caught:
        lp.parse(TINY.replace(old, new, 1), SOURCE)
    for word in ["folder/tiny.lp", *words]:
        assert word in str(caught.value)
    assert "/tmp" not in str(caught.value)


def test_every_truncation_is_refused() -> None:
    for length in range(TINY.index("End") + 2):
        with pytest.raises(InstanceError):
            lp.parse(TINY[:length], SOURCE)


TOKENS = [
    "nan",
    "inf",
    "1e400",
    "-1",
    "\0",
    "é",
    "[",
    "]",
    "/ 2",
    "^",
    "<=",
    "=",
    "free",
    "End",
    ":",
    "->",
    "semi",
    "\\",
]


def test_mutations_never_crash() -> None:
    for seed in range(600):
        rng, text = random.Random(seed), TINY
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(text) + 1)
            pieces = [text[:place], rng.choice(TOKENS), text[place + rng.choice([0, 0, 1, 9]) :]]
            text = "".join(pieces if rng.random() < 0.7 else pieces[::2])
        with contextlib.suppress(InstanceError):
            assert lp.parse(text, SOURCE).num_columns >= 0


@settings(max_examples=50, deadline=None)
@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=100))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InstanceError):
        lp.parse(text, SOURCE)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    lp.render(lp.parse(TINY, SOURCE))
    with pytest.raises(InstanceError):
        lp.parse(TINY.replace("End", ""), SOURCE)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
