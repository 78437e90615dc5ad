"""MPS: what HiGHS reads equals a naive twin, what is wrong is refused with its line, and nothing crashes."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.core import Sense
from apportion.instances.errors import InstanceError, PlanError
from apportion.instances.formats import mps
from apportion.instances.generate.program import KINDS, generate_program
from apportion.instances.program import (
    Indicator,
    MixedIntegerProgram,
    SparseColumns,
    SpecialOrderedSet,
    VariableValues,
)
from apportion.instances.reading import Source, read, write
from apportion.models.algebra import Model

SOURCE = Source(Path("folder/tiny.mps"))
TINY = """NAME          TINY
OBJSENSE
    MAX
ROWS
 N  COST
 L  LIM1
 G  LIM2
 E  BAL
 N  FREE
COLUMNS
    X1  COST  1.5  LIM1  1.0
    X1  LIM2  -1.0  FREE  3
    M1  'MARKER'  'INTORG'
    X2  COST  2.0  LIM1  1.0
    X2  BAL  1e0
    M2  'MARKER'  'INTEND'
    X3  BAL  -1.0
RHS
    RHS  LIM1  4.0  LIM2  -1.0
    RHS  COST  -7  BAL  2
RANGES
    RNG  LIM1  2.5  BAL  -3
BOUNDS
 UP BND  X1  4.0
 LO BND  X2  1
 FR BND  X3
QUADOBJ
    X1 X1 -2.0
    X1 X3 1.0
ENDATA
"""


def naive(text: str) -> dict[str, object]:  # noqa: C901
    """Read a free MPS file in the plainest way: dictionaries by name."""
    section, integer, sense = "", False, "MIN"
    rows: dict[str, str] = {}
    matrix: dict[tuple[str, str], float] = {}
    rhs: dict[str, float] = {}
    ranges: dict[str, float] = {}
    lower: dict[str, float] = {}
    upper: dict[str, float] = {}
    integers: dict[str, bool] = {}
    quadratic: dict[tuple[str, str], float] = {}
    for line in text.splitlines():
        words = line.split()
        if not words or line[0] == "*":
            continue
        if not line[0].isspace():
            section = words[0]
            if section == "ENDATA":
                break
            sense = words[1][:3] if section == "OBJSENSE" and len(words) > 1 else sense
        elif section == "OBJSENSE":
            sense = words[0][:3].upper()
        elif section == "ROWS":
            rows[words[1]] = words[0]
        elif section == "COLUMNS" and words[1] == "'MARKER'":
            integer = words[2] == "'INTORG'"
        elif section == "COLUMNS":
            integers[words[0]] = integer
            lower[words[0]], upper[words[0]] = 0.0, 1.0 if integer else np.inf
            for row, value in zip(words[1::2], words[2::2], strict=True):
                matrix[row, words[0]] = float(value)
        elif section in ("RHS", "RANGES"):
            pairs = words[len(words) % 2 :]
            for row, value in zip(pairs[::2], pairs[1::2], strict=True):
                (rhs if section == "RHS" else ranges)[row] = float(value)
        elif section == "QUADOBJ":
            quadratic[words[0], words[1]] = float(words[2])
        elif section == "BOUNDS":
            _bound(words, lower, upper, integers)
    return {
        "sense": sense,
        "rows": rows,
        "matrix": matrix,
        "rhs": rhs,
        "ranges": ranges,
        "lower": lower,
        "upper": upper,
        "integer": integers,
        "quadratic": quadratic,
    }


def _bound(words: list[str], lower: dict[str, float], upper: dict[str, float], integers: dict[str, bool]) -> None:
    kind = words[0]
    name = words[-1] if kind in ("FR", "MI", "PL", "BV") else words[-2]
    value = float(words[-1]) if kind not in ("FR", "MI", "PL", "BV") else 0.0
    if kind in ("LO", "LI", "FX"):
        lower[name] = value
    if kind in ("UP", "UI", "FX"):
        upper[name] = value
    if kind in ("FR", "MI"):
        lower[name] = -np.inf
    if kind in ("FR", "PL"):
        upper[name] = np.inf
    if kind == "BV":
        lower[name], upper[name] = 0.0, 1.0
    if kind in ("BV", "LI", "UI"):
        integers[name] = True


def test_tiny_in_full() -> None:
    program = mps.parse(TINY, SOURCE)
    assert program.name == "tiny"
    assert program.sense is Sense.MAXIMISE
    assert program.column_names == ("X1", "X2", "X3")
    assert program.row_names == ("LIM1", "LIM2", "BAL")
    assert program.offset == 7.0
    np.testing.assert_array_equal(program.cost, [1.5, 2.0, 0.0])
    np.testing.assert_array_equal(program.row_lower, [1.5, -1.0, -1.0])
    np.testing.assert_array_equal(program.row_upper, [4.0, np.inf, 2.0])
    np.testing.assert_array_equal(program.lower, [0.0, 1.0, -np.inf])
    np.testing.assert_array_equal(program.integer, [False, True, False])
    assert program.upper[0] == 4.0
    assert program.hessian is not None
    np.testing.assert_array_equal(program.hessian.starts, [0, 2, 2, 2])
    np.testing.assert_array_equal(program.hessian.rows, [0, 2])
    np.testing.assert_array_equal(program.hessian.values, [-2.0, 1.0])


def assert_same(program: MixedIntegerProgram, other: MixedIntegerProgram) -> None:
    """Every number of two programs is the same."""
    for name in ("cost", "row_lower", "row_upper", "lower", "upper", "integer"):
        np.testing.assert_array_equal(getattr(program, name), getattr(other, name), err_msg=name)
    for name in ("matrix", "hessian"):
        ours, theirs = getattr(program, name), getattr(other, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            for part in ("starts", "rows", "values"):
                np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part))
    assert (program.sense, program.offset) == (other.sense, other.offset)


def test_written_and_read_again_it_is_the_same() -> None:
    program = mps.parse(TINY, SOURCE)
    assert_same(program, mps.parse(mps.render(program), SOURCE))


@pytest.mark.parametrize("kind", KINDS)
def test_generated_programs_come_back_with_their_names(kind: str, tmp_path: Path) -> None:
    program = generate_program(5, kind)
    for name in ("one.mps", "two.mps.gz"):
        write(program, tmp_path / name)
        again = read(tmp_path / name)
        assert isinstance(again, MixedIntegerProgram)
        assert_same(program, again)
        assert again.column_names == program.column_names
        assert again.row_names == program.row_names


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_random_programs_come_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns, rows = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    dense = np.round(rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.6), 3)
    entry_column, entry_row = np.nonzero(dense.T)
    starts = np.searchsorted(entry_column, np.arange(columns + 1)).astype(np.int32)
    low = rng.choice([-np.inf, -3.5, 0.0, 1.0], columns)
    row_low = rng.choice([-np.inf, -2.0, 1.25], rows)
    integer = rng.random(columns) < 0.4
    low = np.where(integer, np.ceil(low), low)
    program = MixedIntegerProgram(
        name="random",
        sense=Sense.MAXIMISE if rng.random() < 0.5 else Sense.MINIMISE,
        cost=np.round(rng.normal(size=columns), 3),
        matrix=SparseColumns(starts, entry_row.astype(np.int32), dense[entry_row, entry_column]),
        row_lower=row_low,
        row_upper=np.where(np.isinf(row_low), 7.5, np.maximum(row_low, -9.0) + rng.choice([0.0, 1.5, np.inf], rows)),
        lower=low,
        upper=np.where(np.isinf(low), 0.0, low) + rng.choice([0.0, 2.0, np.inf], columns),
        integer=integer,
        offset=float(rng.integers(-3, 4)),
        column_names=tuple(f"x y[{j}]" for j in range(columns)),
        row_names=tuple(f"row {i}" for i in range(rows)),
    )
    again = mps.parse(mps.render(program), SOURCE)
    assert_same(program, again)
    assert again.column_names == tuple(f"x_y[{j}]" for j in range(columns))


def test_fixed_layout_with_blanks_in_names() -> None:
    def card(kind: str, *fields: str) -> str:
        spots = (f" {kind:<2} ", *(f"{f:<{w}}" for f, w in zip(fields, (10, 10, 15, 10, 12), strict=False)))
        return "".join(spots).rstrip() + "\n"

    text = (
        "NAME          BLANKS\nROWS\n N  THE COST\n L  ROW ONE\nCOLUMNS\n"
        + card("", "COL A", "THE COST", "-1.0", "ROW ONE", "2.0")
        + card("", "COL B", "THE COST", "-2.0", "ROW ONE", "1.0")
        + "RHS\n"
        + card("", "RHS", "ROW ONE", "4.0")
        + "BOUNDS\n"
        + card("UP", "BND", "COL B", "3.0")
        + "ENDATA\n"
    )
    program = mps.parse(text, SOURCE)
    assert program.column_names == ("COL A", "COL B")
    assert program.row_names == ("ROW ONE",)
    np.testing.assert_array_equal(program.cost, [-1.0, -2.0])
    np.testing.assert_array_equal(program.upper, [np.inf, 3.0])
    assert "COL_A" in mps.render(program)


WRONG = [
    ("ENDATA\n", "", ["line 29", "ENDATA", "truncated"]),
    ("BOUNDS", "BONDS", ["line 23", "'BONDS'", "not a section"]),
    ("BOUNDS", "SOS", ["line 23", "ordered sets"]),
    ("QUADOBJ", "INDICATORS", ["line 27", "indicator"]),
    ("COST  2.0", "COST  nan", ["line 14", "'nan'", "not a number"]),
    ("COST  2.0", "COST  abc", ["line 14", "'abc'"]),
    ("COST  2.0", "COST  2.0D1", ["line 14", "'2.0D1'"]),
    ("COST  2.0", "COST  1e400", ["line 14", "1e+20"]),
    ("LIM2  -1.0  FREE", "LIM9  -1.0  FREE", ["line 12", "'LIM9'", "names no row"]),
    ("RHS  LIM1", "RHS  LIM9", ["line 19", "'LIM9'"]),
    ("RHS  COST", "RHS2  COST", ["line 20", "another set"]),
    ("COST  -7  BAL", "COST  -7  LIM1", ["line 20", "twice"]),
    ("UP BND  X1", "UP BND  X9", ["line 24", "'X9'", "names no column"]),
    ("UP BND  X1", "ZZ BND  X1", ["line 24", "'ZZ'"]),
    ("UP BND  X1", "SC BND  X1", ["line 24", "semi-continuous"]),
    ("UP BND  X1  4.0", "UP", ["line 24"]),
    ("LO BND  X2  1", "LI BND  X2  1.5", ["line 25", "whole", "'1.5'"]),
    (" G  LIM2", " G  LIM1", ["line 7", "repeats", "'LIM1'"]),
    (" G  LIM2", " Q  LIM2", ["line 7", "'Q'"]),
    ("    X3  BAL", "    X1  BAL", ["line 17", "'X1'", "ended before"]),
    ("X1  LIM2", "X1  LIM1", ["line 12", "second entry", "'LIM1'"]),
    ("X1 X3 1.0", "X1 X9 1.0", ["line 29", "'X9'"]),
    ("    MAX", "    MOST", ["line 3", "'MOST'"]),
    ("RANGES", "RHS", ["line 21", "repeats"]),
    ("ROWS", "rows", ["line 4", "capitals"]),
    ("FR BND  X3", "UP BND  X3 -4", ["X3", "cross", "Maybe"]),
    ("X2  COST  2.0  LIM1  1.0", "X2  COST  2.0  LIM1", ["line 14"]),
]


@pytest.mark.parametrize(("old", "new", "words"), WRONG, ids=[f"{old} to {new}" for old, new, _ in WRONG])
def test_what_is_wrong_is_named_with_its_line(old: str, new: str, words: list[str]) -> None:
    assert TINY.count(old) >= 1
    with pytest.raises(InstanceError) as caught:
        mps.parse(TINY.replace(old, new, 1), SOURCE)
    for word in ["folder/tiny.mps", *words]:
        assert word in str(caught.value)


def test_infinite_bounds_are_bounds() -> None:
    for word in ("inf", "Infinity", "1e30"):
        program = mps.parse(TINY.replace("UP BND  X1  4.0", f"UP BND  X1  {word}"), SOURCE)
        assert program.upper[0] == np.inf
        with pytest.raises(InstanceError, match="BAL"):
            mps.parse(TINY.replace("BAL  2", f"BAL  {word}"), SOURCE)


def test_all_faults_at_once_and_not_too_many() -> None:
    with pytest.raises(InstanceError) as caught:
        mps.parse(TINY.replace("1.0", "one"), SOURCE)
    assert len(caught.value.faults) == 6
    with pytest.raises(InstanceError) as caught:
        mps.parse(TINY.replace("COLUMNS\n", "COLUMNS\n" + "    bad line\n" * 500), SOURCE)
    assert len(caught.value.faults) == 21


@pytest.mark.parametrize("text", ["NAME\n", "hello world\n", "\n\n", "\0" * 50, "ENDATA\n", "* only a comment\n"])
def test_hopeless_files(text: str) -> None:
    with pytest.raises(InstanceError):
        mps.parse(text, SOURCE)


def test_every_truncation_is_refused() -> None:
    end = TINY.index("ENDATA")
    for length in range(end + 5):
        with pytest.raises(InstanceError):
            mps.parse(TINY[:length], SOURCE)


TOKENS = [
    *("nan", "-inf", "1e400", "-1", "1e-400", "x" * 300, "\0", "é", "ENDATA", "RANGES", "'MARKER' 'INTORG'", "ROWS"),
    *(" N COST", "*", "1_0", "0x10", "MI BND X1", " BV BND X2\n", " LI BND X1 1\n", "RHS", "99999999999999999999"),
]


def mutated(rng: random.Random, text: str, tokens: list[str]) -> str:
    """Cut, drop, shuffle, repeat or replace a few pieces."""
    for _ in range(rng.randint(1, 3)):
        place, lines, words = rng.randrange(len(text) + 1), text.split("\n"), text.split(" ")
        choice = rng.randrange(7)
        if choice == 0:
            text = text[:place] + text[place + rng.randint(1, 20) :]
        elif choice == 1:
            text = text[:place] + rng.choice(tokens) + text[place:]
        elif choice == 2:
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            text = "\n".join(lines)
        elif choice == 3:
            del lines[rng.randrange(len(lines))]
            text = "\n".join(lines)
        elif choice == 4:
            words[rng.randrange(len(words))] = rng.choice(tokens)
            text = " ".join(words)
        elif choice == 5:
            rng.shuffle(lines)
            text = "\n".join(lines) if rng.random() < 0.2 else text
        else:
            text = text[:place] + chr(rng.randrange(1, 256)) + text[place + 1 :]
    return text


def _assert_agrees(program: MixedIntegerProgram, text: str) -> None:
    """What was accepted means what the naive twin reads."""
    twin = naive(text)
    rows, matrix, rhs, ranges = (twin[k] for k in ("rows", "matrix", "rhs", "ranges"))
    assert isinstance(rows, dict)
    assert isinstance(matrix, dict)
    assert isinstance(rhs, dict)
    assert isinstance(ranges, dict)
    objective = next((name for name, kind in rows.items() if kind == "N"), "")
    names = [name for name, kind in rows.items() if kind != "N"]
    assert list(program.row_names) == names
    assert (program.sense is Sense.MAXIMISE) == (twin["sense"] == "MAX")
    found = {}
    for j, column in enumerate(program.column_names):
        assert program.cost[j] == matrix.get((objective, column), 0.0)
        for k in range(program.matrix.starts[j], program.matrix.starts[j + 1]):
            found[names[program.matrix.rows[k]], column] = program.matrix.values[k]
    # HiGHS drops entries that are tiny
    wanted = {key: value for key, value in matrix.items() if rows[key[0]] != "N" and abs(value) > 1e-9}
    assert found == wanted
    for i, name in enumerate(names):
        value, spread = rhs.get(name, 0.0), ranges.get(name)
        low = value if rows[name] in "GE" else -np.inf
        high = value if rows[name] in "LE" else np.inf
        if spread is not None:
            if rows[name] == "L" or (rows[name] == "E" and spread < 0):
                low = value - abs(spread)
            else:
                high = value + abs(spread)
        assert (program.row_lower[i], program.row_upper[i]) == (low, high)


def test_mutations_are_refused_or_read_rightly() -> None:
    accepted = 0
    for seed in range(1500):
        text = mutated(random.Random(seed), TINY, TOKENS)
        try:
            program = mps.parse(text, SOURCE)
        except InstanceError:
            continue
        accepted += 1
        _assert_agrees(program, text)
    assert accepted > 20


@settings(max_examples=50, deadline=None)
@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_an_instance_error(text: str) -> None:
    with pytest.raises(InstanceError):
        mps.parse(text, SOURCE)


def test_ordered_sets_and_indicators_cannot_be_written() -> None:
    model = Model("logic")
    x = model.add_variables("x", 3, upper=1, integer=True)
    program = model.compile()
    for extra in (
        {"ordered_sets": (SpecialOrderedSet(1, (0, 1), (1.0, 2.0)),)},
        {"indicators": (Indicator(0, True, (1,), (1.0,), 0.0, 1.0),)},
    ):
        logical = MixedIntegerProgram(**{**vars(program), **extra})
        with pytest.raises(InstanceError, match="cannot be written"):
            mps.render(logical)
    assert x.shape == (3,)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    mps.render(mps.parse(TINY, SOURCE))
    with pytest.raises(InstanceError):
        mps.parse(TINY.replace("ENDATA", ""), SOURCE)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_plan_comes_back_from_its_solution_file() -> None:
    program = mps.parse(TINY, SOURCE)
    plan = VariableValues({"X1": 1.25, "X3": -2.0})
    text = mps.render_plan(program, plan)
    assert mps.parse_plan(text, program) == plan
    expected = 7 + 1.5 * 1.25 + (-2.0 * 1.25**2) / 2 + 1.0 * 1.25 * -2.0
    assert f"Objective {expected:.17g}" in text


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("# Columns 3", "# Columns three", "# Columns"),
        ("# Columns 3", "Columns", "# Columns"),
        ("X1 1.25", "X1 nan", "finite"),
        ("X1 1.25", "X9 1.25", "names no variable"),
        ("X2 0", "X1 0", "twice"),
        ("# Columns 3", "# Columns 900", "finite"),
    ],
)
def test_wrong_solution_files(old: str, new: str, word: str) -> None:
    program = mps.parse(TINY, SOURCE)
    text = mps.render_plan(program, VariableValues({"X1": 1.25}))
    assert old in text
    with pytest.raises(PlanError) as caught:
        mps.parse_plan(text.replace(old, new, 1), program)
    assert word in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_mutated_solution_files_are_plan_errors_or_plans(seed: int) -> None:
    program = mps.parse(TINY, SOURCE)
    text = mutated(random.Random(seed), mps.render_plan(program, VariableValues({"X1": 1.25})), TOKENS)
    with contextlib.suppress(PlanError):
        assert set(mps.parse_plan(text, program).values) <= {"X1", "X2", "X3"}
