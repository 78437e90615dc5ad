"""Models: blocks, names, errors, compilation, values by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from apportion.instances.core import Sense
from apportion.instances.errors import ModelError
from apportion.models.algebra import Model


@pytest.fixture
def model() -> Model:
    model = Model("plant")
    commit = model.add_variables("commit", (2, 3), upper=1, integer=True)
    power = model.add_variables("power", (2, 3), upper=[[5.0], [7.0]])
    model.add_constraints("capacity", power <= 5 * commit)
    model.add_constraints("ramp", power[:, 1:] - power[:, :-1], lower=-2, upper=[[1.0], [3.0]])
    model.add_constraints("total", power.sum() == 9)
    model.minimise((commit * [[1.0], [2.0]]).sum() + 0.5 * power.sum() + 4)
    return model


def test_blocks_have_their_places(model: Model) -> None:
    assert list(model.variables) == ["commit", "power"]
    assert (model.num_columns, model.num_rows) == (12, 6 + 4 + 1)
    ramp = model.constraints["ramp"]
    assert ramp.shape == (2, 2)
    np.testing.assert_array_equal(ramp.rows, [[6, 7], [8, 9]])
    program = model.compile()
    np.testing.assert_array_equal(program.integer, [True] * 6 + [False] * 6)
    np.testing.assert_array_equal(program.row_lower[6:10], -2.0)
    np.testing.assert_array_equal(program.row_upper[6:10], [1, 1, 3, 3])
    assert program.row_lower[10] == program.row_upper[10] == 9.0
    assert program.offset == 4.0
    assert "12 variables, 11 rows" in repr(model)


def test_names_only_when_asked(model: Model) -> None:
    assert model.compile().column_names == ()
    program = model.compile(names=True)
    assert program.column_names[4] == "commit[1,1]"
    assert program.row_names[-2:] == ("ramp[1,1]", "total")
    assert len(set(program.column_names)) == 12


def test_compile_is_kept_until_something_changes(model: Model) -> None:
    first = model.compile()
    assert model.compile() is first
    model.add_variables("late")
    assert model.compile() is not first
    assert model.compile().num_columns == 13
    assert first.num_columns == 12
    model.maximise(model.variables["late"] * 2)
    assert model.compile().sense is Sense.MAXIMISE
    assert model.compile().cost[-1] == 2.0


def test_split_and_pack_are_inverse(model: Model) -> None:
    values = np.arange(12.0)
    blocks = model.split(values)
    assert blocks["power"].shape == (2, 3)
    np.testing.assert_array_equal(model.pack(blocks), values)
    partial = model.pack({"commit": 1.0})
    np.testing.assert_array_equal(partial[:6], 1.0)
    assert np.isnan(partial[6:]).all()
    rows = model.split_rows(np.arange(11.0))
    assert rows["total"].shape == ()
    np.testing.assert_array_equal(rows["ramp"], [[6, 7], [8, 9]])


def test_empty_models_and_blocks_compile() -> None:
    program = Model("empty").compile()
    assert (program.num_columns, program.num_rows) == (0, 0)
    model = Model("none")
    x = model.add_variables("x", (0, 3))
    model.add_constraints("rows", x.sum(axis=1) <= 1)
    model.add_constraints("columns", x.sum(axis=0) <= 1)
    model.minimise(x.sum())
    assert (model.compile().num_columns, model.compile().num_rows) == (0, 3)


def test_a_quadratic_objective_compiles_to_half_x_q_x() -> None:
    model = Model("quadratic")
    x = model.add_variables("x", 2)
    model.minimise((x**2).sum() + 3 * (x[0] * x[1]) + x.sum())
    program = model.compile()
    assert program.hessian is not None
    np.testing.assert_array_equal(program.hessian.starts, [0, 2, 3])
    np.testing.assert_array_equal(program.hessian.rows, [0, 1, 1])
    np.testing.assert_array_equal(program.hessian.values, [2.0, 3.0, 2.0])
    model.minimise((x * x - x * x).sum() + x.sum())
    assert model.compile().hessian is None


def test_ordered_sets_by_the_last_axis(model: Model) -> None:
    model.add_ordered_set("segments", model.variables["power"], order=2, weights=[1.0, 2.0, 4.0])
    first, second = model.compile().ordered_sets
    assert (first.order, first.columns, first.weights) == (2, (6, 7, 8), (1.0, 2.0, 4.0))
    assert second.columns == (9, 10, 11)


def test_indicators_broadcast(model: Model) -> None:
    commit, power = model.variables["commit"], model.variables["power"]
    model.add_indicator("off", commit, power <= 0, active=False)
    model.add_indicator("cap", commit[0, 0], power.sum(axis=0) + 1 <= 8)
    indicators = model.compile().indicators
    assert len(indicators) == 9
    assert (indicators[4].column, indicators[4].active, indicators[4].columns) == (4, False, (10,))
    assert (indicators[4].lower, indicators[4].upper) == (-np.inf, 0.0)
    assert {one.column for one in indicators[6:]} == {0}
    assert indicators[8].columns == (8, 11)
    assert indicators[8].upper == 7.0


def test_later_writes_into_the_data_change_nothing() -> None:
    bound, factor, flags = np.ones(2), np.array([2.0, 3.0]), np.array([True, False])
    model = Model("copies")
    x = model.add_variables("x", 2, upper=bound, integer=flags)
    scaled = factor * x
    model.add_constraints("rows", scaled, upper=bound)
    bound[:], factor[:], flags[:] = 9.0, 9.0, True
    model.minimise(scaled.sum())
    program = model.compile()
    np.testing.assert_array_equal(program.upper, 1.0)
    np.testing.assert_array_equal(program.row_upper, 1.0)
    np.testing.assert_array_equal(program.cost, [2.0, 3.0])
    np.testing.assert_array_equal(program.integer, [True, False])


def test_integrality_by_element() -> None:
    model = Model("mixed")
    model.add_variables("x", 3, integer=[True, False, True])
    np.testing.assert_array_equal(model.compile().integer, [True, False, True])


def test_from_program_gives_the_same_program_and_takes_more(model: Model) -> None:
    power = model.variables["power"]
    model.minimise((power * power).sum() + model.variables["commit"].sum() + 1)
    program = model.compile(names=True)
    again = Model.from_program(program)
    assert again.compile(names=True) is program
    rebuilt = Model.from_program(program)
    extra = rebuilt.add_constraints("extra", rebuilt.variables["columns"][0] >= 1)
    grown = rebuilt.compile(names=True)
    assert extra.first == program.num_rows
    assert grown.row_names == (*program.row_names, "extra")
    assert grown.column_names == program.column_names
    np.testing.assert_array_equal(grown.cost, program.cost)
    assert program.hessian is not None
    assert grown.hessian is not None
    np.testing.assert_array_equal(grown.hessian.values, program.hessian.values)
    np.testing.assert_array_equal(grown.matrix.values.sum(), program.matrix.values.sum() + 1)


def test_names_from_elsewhere_must_not_meet_new_ones(model: Model) -> None:
    again = Model.from_program(model.compile(names=True))
    again.add_constraints("total", again.variables["columns"][0] <= 1)
    with pytest.raises(ModelError, match="constraint 'total': two have that name"):
        again.compile(names=True)
    assert again.compile().num_rows == 12


def _other(model: Model) -> Any:
    return Model("other").add_variables("strange", 3)


WRONG: list[tuple[Callable[[Model, Any], object], list[str]]] = [
    (lambda m, p: m.add_variables("power"), ["variables 'power'", "already"]),
    (lambda m, p: m.add_constraints("ramp", p <= 1), ["constraints 'ramp'", "already"]),
    (lambda m, p: m.add_variables("a[0]"), ["'a[0]'", "brackets"]),
    (lambda m, p: m.add_variables(""), ["''"]),
    (lambda m, p: m.add_variables("z", (2, -1)), ["'z'", "negative"]),
    (lambda m, p: m.add_variables("z", 2, lower=[0, np.nan]), ["variables 'z': lower[1]", "nan"]),
    (lambda m, p: m.add_variables("z", 2, upper=-np.inf), ["variables 'z': upper", "-inf"]),
    (lambda m, p: m.add_variables("z", 2, upper=[1, 2, 3]), ["variables 'z': upper", "(3,)", "(2,)"]),
    (lambda m, p: m.add_variables("z", 2, lower="low"), ["variables 'z': lower", "str"]),
    (lambda m, p: m.add_variables("z", 2, integer=1), ["variables 'z': integer", "True"]),
    (lambda m, p: m.add_constraints("c", p <= np.full((2, 3), np.nan)), ["constraints 'c'", "right-hand", "[0,0]"]),
    (lambda m, p: m.add_constraints("c", np.array([1, np.inf, 1]) * p <= 1), ["constraints 'c'[0,1]", "inf"]),
    (lambda m, p: m.add_constraints("c", p, lower=np.nan), ["constraints 'c': lower", "nan"]),
    (lambda m, p: m.add_constraints("c", p, upper=[1, 2]), ["constraints 'c': upper", "(2,)"]),
    (lambda m, p: m.add_constraints("c", p <= 1, upper=3), ["constraints 'c'", "already"]),
    (lambda m, p: m.add_constraints("c", np.array([True])), ["constraints 'c'", "ndarray"]),  # type: ignore[arg-type]
    (lambda m, p: m.add_constraints("c", _other(m) <= 1), ["constraints 'c'", "'strange'", "'other'"]),
    (lambda m, p: p[0] + _other(m), ["'strange'", "'other'", "'plant'"]),
    (lambda m, p: m.minimise(p), ["objective", "(2, 3)", ".sum()"]),
    (lambda m, p: m.minimise(p.sum() * np.nan), ["objective", "'power'"]),
    (lambda m, p: m.minimise(_other(m).sum()), ["objective", "'strange'"]),
    (lambda m, p: m.split(np.zeros(3)), ["values", "(12,)", "(3,)"]),
    (lambda m, p: m.split_rows(np.zeros(3)), ["row values", "(11,)"]),
    (lambda m, p: m.pack({"powr": 1}), ["'powr'", "power"]),
    (lambda m, p: m.pack({"power": np.zeros(5)}), ["'power'", "(5,)", "(2, 3)"]),
    (lambda m, p: m.add_ordered_set("s", 2 * p, 1), ["'power'", "plain"]),
    (lambda m, p: m.add_ordered_set("s", p, 3), ["ordered set 's'", "3"]),
    (lambda m, p: m.add_ordered_set("s", p, 1, weights=[3, 2, 1]), ["ordered set 's'", "increasing"]),
    (lambda m, p: m.add_indicator("i", p[0, 0], p.sum() <= 1), ["indicator 'i'", "'power'", "binary"]),
    (lambda m, p: m.add_indicator("i", m.variables["commit"], p[0, :2] <= 1), ["indicator 'i'", "align"]),
    (lambda m, p: Model("x", sense="smallest"), ["'x'", "'smallest'", "minimise"]),
]


@pytest.mark.parametrize(("write", "words"), WRONG, ids=[" ".join(words) for _, words in WRONG])
def test_errors_name_the_block(model: Model, write: Callable[[Model, Any], object], words: list[str]) -> None:
    before = (model.num_columns, model.num_rows)
    with pytest.raises(ModelError) as caught:
        write(model, model.variables["power"])
    for word in words:
        assert word in str(caught.value)
    assert (model.num_columns, model.num_rows) == before
