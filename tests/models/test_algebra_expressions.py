"""Expressions against NumPy: whatever is written must evaluate and compile as the same arrays would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.errors import ModelError
from apportion.instances.program import MixedIntegerProgram
from apportion.models.algebra import LinearExpression, Model, QuadraticExpression, concatenate

Floats = NDArray[np.float64]
Pair = tuple[LinearExpression, Floats]


def dense(program: MixedIntegerProgram) -> Floats:
    """The matrix of a program, dense, by a plain loop."""
    matrix = np.zeros((program.num_rows, program.num_columns))
    for j in range(program.num_columns):
        for k in range(program.matrix.starts[j], program.matrix.starts[j + 1]):
            matrix[program.matrix.rows[k], j] += program.matrix.values[k]
    return matrix


def dense_hessian(program: MixedIntegerProgram) -> Floats:
    """Q in full from its lower triangle."""
    full = np.zeros((program.num_columns, program.num_columns))
    assert program.hessian is not None
    for j in range(program.num_columns):
        for k in range(program.hessian.starts[j], program.hessian.starts[j + 1]):
            i = program.hessian.rows[k]
            assert i >= j
            full[i, j] += program.hessian.values[k]
            if i != j:
                full[j, i] += program.hessian.values[k]
    return full


def _indexed(pair: Pair, rng: np.random.Generator) -> Pair:
    expression, value = pair
    if not value.ndim or not value.size:
        return expression[None], value[None]
    length = value.shape[0]
    keys: list[Any] = [
        slice(None, None, -1),
        slice(1, None),
        int(rng.integers(-length, length)) if length else slice(None),
        rng.integers(0, length, size=3),
        rng.integers(0, length, size=(2, 2)),
        rng.random(length) < 0.5,
        rng.random(value.shape) < 0.5,
        (Ellipsis, None),
        None,
        (Ellipsis, rng.integers(0, value.shape[-1], size=2)),
    ]
    key = keys[rng.integers(len(keys))]
    return expression[key], value[key]


def _summed(pair: Pair, rng: np.random.Generator) -> Pair:
    expression, value = pair
    axes: list[Any] = [None, *range(-value.ndim, value.ndim)]
    if value.ndim > 1:
        axes.append((0, -1))
    axis = axes[rng.integers(len(axes))]
    return expression.sum(axis=axis), np.asarray(value.sum(axis=axis))


def _scaled(pair: Pair, rng: np.random.Generator) -> Pair:
    expression, value = pair
    array = rng.integers(-3, 4, size=value.shape).astype(float)
    choice = rng.integers(6)
    if choice == 0:
        return -expression, -value
    if choice == 1:
        return 2 * expression + array, 2 * value + array
    if choice == 2:
        return array - expression * array, array - value * array
    if choice == 3:
        return (expression - 1.5) / 4, (value - 1.5) / 4
    if choice == 4:
        return array[..., None] * expression[..., None], array[..., None] * value[..., None]
    return expression + np.ones((2, *value.shape)), value + np.ones((2, *value.shape))


def _reshaped(pair: Pair, rng: np.random.Generator) -> Pair:
    expression, value = pair
    choice = rng.integers(4)
    if choice == 0:
        return expression.T, value.T
    if choice == 1:
        return expression.ravel(), value.ravel()
    if choice == 2:
        return expression.reshape(value.shape[::-1]), value.reshape(value.shape[::-1])
    order = tuple(int(a) for a in rng.permutation(value.ndim))
    return expression.transpose(*order), value.transpose(*order)


def _multiplied(pair: Pair, rng: np.random.Generator) -> Pair:
    expression, value = pair
    if not value.ndim:
        return pair
    left = rng.integers(-2, 3, size=(3, value.shape[0])).astype(float)
    right = rng.integers(-2, 3, size=(value.shape[-1], 2)).astype(float)
    choice = rng.integers(5)
    if choice == 0 and value.ndim <= 2:
        return sparse.csr_array(left) @ expression, left @ value
    if choice == 1 and value.ndim <= 2:
        return left @ expression, left @ value
    if choice == 2:
        return expression @ right, value @ right
    if choice == 3:
        return expression @ sparse.csc_array(right), value @ right
    return expression @ right[:, 0], np.asarray(value @ right[:, 0])


def _combined(pair: Pair, rng: np.random.Generator) -> Pair:
    expression, value = pair
    other, other_value = 3 - 2 * expression, 3 - 2 * value
    choice = rng.integers(4)
    if choice == 0:
        return expression + other, value + other_value
    if choice == 1:
        return other - expression, other_value - value
    if choice == 2 and value.ndim:
        axis = int(rng.integers(value.ndim))
        return concatenate([expression, other, value], axis), np.concatenate([value, other_value, value], axis)
    return expression - expression, value - value


STEPS: tuple[Callable[[Pair, np.random.Generator], Pair], ...] = (
    _indexed,
    _summed,
    _scaled,
    _reshaped,
    _multiplied,
    _combined,
)


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(st.sampled_from(STEPS), max_size=7),
    seed=st.integers(0, 2**20),
    shape=st.sampled_from([(), (3,), (2, 3), (2, 1, 3), (0, 2), (1,)]),
)
def test_random_expressions_agree_with_numpy(
    steps: list[Callable[[Pair, np.random.Generator], Pair]], seed: int, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(seed)
    model = Model("random")
    first = model.add_variables("first", 4)
    block = model.add_variables("block", shape)
    point = rng.integers(-5, 6, size=model.num_columns).astype(float)
    pair: Pair = (block + first[2], model.split(point)["block"] + point[2])
    for step in steps:
        if pair[1].size <= 2000:
            pair = step(pair, rng)
    expression, value = pair
    assert expression.shape == value.shape
    np.testing.assert_allclose(model.evaluate(expression, point), value, atol=1e-7)
    model.add_constraints("rows", expression >= 0)
    program = model.compile()
    activity = dense(program) @ point - program.row_lower
    np.testing.assert_allclose(activity, value.ravel(), atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_random_quadratics_agree_with_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = Model("quadratic")
    x, y = model.add_variables("x", (2, 3)), model.add_variables("y", 3)
    point = rng.normal(size=model.num_columns)
    values = model.split(point)
    X, Y = values["x"], values["y"]
    weight = rng.normal(size=(2, 3))
    expression = (x - 1) * (x.sum(axis=1)[:, None] + 2) + weight * (x * y) - (y**2)
    expected = (X - 1) * (X.sum(axis=1)[:, None] + 2) + weight * (X * Y) - Y**2
    assert isinstance(expression, QuadraticExpression)
    np.testing.assert_allclose(model.evaluate(expression, point), expected)
    np.testing.assert_allclose(model.evaluate(expression.sum(axis=0), point), expected.sum(axis=0))
    np.testing.assert_allclose(model.evaluate(expression.sum(axis=-1), values), expected.sum(axis=-1))
    total = 3 - (expression.sum() / 2 + y.sum() + 1)
    value = 3 - (expected.sum() / 2 + Y.sum() + 1)
    model.minimise(total)
    program = model.compile()
    quadratic = point @ dense_hessian(program) @ point / 2
    assert program.offset + program.cost @ point + quadratic == pytest.approx(value)


def test_transport_matrix_equals_a_dense_twin() -> None:
    model = Model("transport")
    ship = model.add_variables("ship", (3, 4), upper=np.arange(4.0))
    model.add_constraints("supply", ship.sum(axis=1) <= [1, 2, 3])
    model.add_constraints("demand", ship.sum(axis=0) >= [1, 1, 1, 1])
    program = model.compile()
    expected = np.zeros((7, 12))
    for i in range(3):
        for j in range(4):
            expected[i, 4 * i + j] = 1
            expected[3 + j, 4 * i + j] = 1
    np.testing.assert_array_equal(dense(program), expected)
    np.testing.assert_array_equal(program.row_upper, [1, 2, 3, np.inf, np.inf, np.inf, np.inf])
    np.testing.assert_array_equal(program.row_lower, [-np.inf] * 3 + [1] * 4)
    np.testing.assert_array_equal(program.upper, np.tile(np.arange(4.0), 3))


def test_repeated_entries_add_up_and_zeros_vanish() -> None:
    model = Model("repeats")
    x = model.add_variables("x", 2)
    model.add_constraints("row", x[[0, 0, 1]].sum() - x[1] <= 3)
    assert model.compile().matrix.num_nonzeros == 1
    np.testing.assert_array_equal(dense(model.compile()), [[2, 0]])


def test_a_skewed_sparse_product_does_not_blow_up() -> None:
    size = 20_000
    matrix: Any = sparse.vstack([sparse.csr_array(np.ones((1, size))), sparse.eye_array(size)])
    model = Model("skewed")
    x = model.add_variables("x", size)
    model.add_constraints("rows", matrix @ x <= 1)
    assert model.compile().matrix.num_nonzeros == 2 * size


def test_long_python_sums_stay_small() -> None:
    model = Model("long")
    x = model.add_variables("x", 500)
    total: Any = 0
    for k in range(500):
        total = total + k * x[k]
    assert len(total.parts) <= 65
    model.minimise(total)
    np.testing.assert_array_equal(model.compile().cost, np.arange(500.0))


def test_builtin_sum_and_iteration() -> None:
    model = Model("iteration")
    x = model.add_variables("x", (3, 2))
    total = sum(row.sum() for row in x)
    np.testing.assert_allclose(model.evaluate(total, np.ones(6)), 6.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        iter(x[0, 0])


def test_operators_leave_the_operands_alone() -> None:
    model = Model("frozen")
    x = model.add_variables("x", 3)
    before = model.evaluate(x, np.arange(3.0)).copy()
    _ = (2 * x + 1)[::-1].sum() - x
    np.testing.assert_array_equal(model.evaluate(x, np.arange(3.0)), before)


def test_numpy_on_either_side_gives_expressions() -> None:
    model = Model("sides")
    x = model.add_variables("x", 2)
    array = np.array([1.0, 2.0])
    for expression in (array + x, array - x, array * x, x + array, np.float64(2) * x):
        assert isinstance(expression, LinearExpression)
        assert expression.shape == (2,)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda x, y: x + y, ["'x'", "'y'", "(2, 3)", "(2,)", "None"]),
        (lambda x, y: x <= np.zeros(7), ["'x'", "(7,)"]),
        (lambda x, y: np.ones((2, 7)) @ x, ["'x'", "do not align"]),
        (lambda x, y: x @ np.ones(7), ["'x'", "do not align"]),
        (lambda x, y: x.reshape(5), ["'x'"]),
        (lambda x, y: x.sum(axis=4), ["'x'", "axis 4"]),
        (lambda x, y: x.sum(axis=(0, 0)), ["'x'", "twice"]),
        (lambda x, y: x / 0, ["'x'", "zero"]),
        (lambda x, y: x**3, ["'x'", "power 3"]),
        (lambda x, y: x + "text", ["'x'", "str"]),
        (lambda x, y: concatenate([x, y]), ["'x'", "'y'"]),
        (lambda x, y: x != 1, ["'x'", "!="]),
        (lambda x, y: bool(x), ["'x'", "truth"]),
        (lambda x, y: 0 <= x <= 1, ["'x'", "truth", "lower="]),
        (lambda x, y: (y * y) * y, ["'y'", "quadratic"]),
        (lambda x, y: (y * y).sum() <= 1, ["'y'", "objective"]),
        (lambda x, y: np.full((2, 2), np.nan) @ x, ["'x'", "finite"]),
        (lambda x, y: y * x, ["'y'", "'x'", "align"]),
        (lambda x, y: x @ y, ["vectors"]),
    ],
)
def test_errors_name_the_blocks(write: Callable[[Any, Any], object], words: list[str]) -> None:
    model = Model("errors")
    x, y = model.add_variables("x", (2, 3)), model.add_variables("y", 2)
    with pytest.raises(ModelError) as caught:
        write(x, y)
    for word in words:
        assert word in str(caught.value)


def test_index_errors_are_numpys() -> None:
    x = Model("index").add_variables("x", 3)
    with pytest.raises(IndexError):
        x[5]
