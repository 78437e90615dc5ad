"""Slow, obvious twins of the kernels and small random programs for them."""

from __future__ import annotations

import itertools
from math import inf

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from apportion.instances.core import Sense
from apportion.instances.generate.benchmark_programs import Rows
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.heuristics.arrays import Problem, problem_of

Floats = NDArray[np.float64]


def small_program(
    cost: list[float],
    rows: list[tuple[list[float], float, float]],
    *,
    lower: list[float] | None = None,
    upper: list[float] | None = None,
    integer: list[bool] | None = None,
    sense: Sense = Sense.MINIMISE,
) -> MixedIntegerProgram:
    """A program from dense rows ``(coefficients, lower, upper)``."""
    size = len(cost)
    block = Rows()
    for coefficients, low, high in rows:
        used = np.flatnonzero(coefficients)
        block.add(np.zeros(len(used), np.int64), used, np.array(coefficients)[used], np.array([low]), high)
    if not rows:
        block.add(np.zeros(0, np.int64), np.zeros(0, np.int64), 1.0, np.zeros(0), np.zeros(0))
    made = block.program(
        "small",
        np.array(cost, np.float64),
        np.array(upper if upper is not None else [1.0] * size),
        np.array(integer if integer is not None else [True] * size),
        sense,
    )
    if lower is None:
        return made
    return MixedIntegerProgram(
        made.name,
        made.sense,
        made.cost,
        made.matrix,
        made.row_lower,
        made.row_upper,
        np.array(lower, np.float64),
        made.upper,
        made.integer,
    )


@st.composite
def small_programs(draw: st.DrawFn) -> MixedIntegerProgram:
    """Up to five integer columns in small boxes and four two-sided rows with small whole coefficients."""
    size = draw(st.integers(1, 5))
    number = st.integers(-4, 4).map(float)
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        coefficients = draw(st.lists(number, min_size=size, max_size=size))
        kind = draw(st.sampled_from(("<=", ">=", "=", "range", "free")))
        side = draw(st.integers(-6, 6).map(float))
        low = {"<=": -inf, ">=": side, "=": side, "range": side, "free": -inf}[kind]
        high = {"<=": side, ">=": inf, "=": side, "range": side + draw(st.integers(0, 4)), "free": inf}[kind]
        rows.append((coefficients, low, high))
    lower = draw(st.lists(st.integers(-2, 1).map(float), min_size=size, max_size=size))
    upper = [low + draw(st.integers(0, 3)) for low in lower]
    cost = draw(st.lists(number, min_size=size, max_size=size))
    sense = draw(st.sampled_from(list(Sense)))
    return small_program(cost, rows, lower=lower, upper=upper, sense=sense)


def points(problem: Problem) -> list[Floats]:
    """Every integer point of the box that meets all rows."""
    ranges = [range(int(low), int(high) + 1) for low, high in zip(problem.lower, problem.upper, strict=True)]
    every = (np.array(point, np.float64) for point in itertools.product(*ranges))
    return [point for point in every if breaks(problem, point) == 0.0]


def dense(problem: Problem) -> Floats:
    """The matrix, shape (m, n)."""
    matrix = np.zeros((problem.num_rows, problem.num_columns))
    for i in range(problem.num_rows):
        for p in range(problem.row_starts[i], problem.row_starts[i + 1]):
            matrix[i, problem.row_columns[p]] = problem.row_values[p]
    return matrix


def row_breaks(problem: Problem, values: Floats) -> Floats:
    """By how much each row is broken, with the kernels' tolerance, shape (m,)."""
    activity = dense(problem) @ values
    amount = np.maximum(np.maximum(problem.row_lower - activity, activity - problem.row_upper), 0.0)
    return np.where(amount > 1e-7, amount, 0.0)


def breaks(problem: Problem, values: Floats) -> float:
    """The largest break of a row."""
    return float(row_breaks(problem, values).max(initial=0.0))


def move_score(
    problem: Problem, values: Floats, weight: Floats, column: int, value: float, best: float, step: float, price: float
) -> float:
    """The score of a move of local search, from the definition."""
    after_values = values.copy()
    after_values[column] = value
    before, after = row_breaks(problem, values), row_breaks(problem, after_values)
    total = 0.0
    for i in np.flatnonzero(dense(problem)[:, column]):
        if before[i] > 0.0 and after[i] == 0.0:
            total += weight[i]
        elif before[i] == 0.0 and after[i] > 0.0:
            total -= weight[i]
        elif before[i] > 0.0:
            total += 0.5 * weight[i] * np.sign(before[i] - after[i])
    now, then, target = problem.cost @ values, problem.cost @ after_values, best - step
    if then < now and best < inf:
        total += price if then <= target < now else 0.5 * price
    elif then > now and best < inf and now > target:
        total -= 0.5 * price
    elif then > now and best < inf and then > target:
        total -= price
    return float(total)


def propagated(problem: Problem) -> tuple[Floats, Floats] | None:
    """Tighten integer bounds row by row until nothing changes; None at a conflict."""
    lower, upper = problem.lower.copy(), problem.upper.copy()
    matrix = dense(problem)
    changed = True
    while changed:
        changed = False
        for i in range(problem.num_rows):
            for j in np.flatnonzero(matrix[i]):
                others = np.delete(matrix[i], j)
                low, high = np.delete(lower, j), np.delete(upper, j)
                least = float(np.minimum(others * low, others * high).sum())
                most = float(np.maximum(others * low, others * high).sum())
                sides = sorted(
                    ((problem.row_lower[i] - most) / matrix[i, j], (problem.row_upper[i] - least) / matrix[i, j])
                )
                new_low = max(lower[j], np.ceil(sides[0] - 1e-6))
                new_high = min(upper[j], np.floor(sides[1] + 1e-6))
                if new_low > new_high:
                    return None
                changed = changed or new_low > lower[j] or new_high < upper[j]
                lower[j], upper[j] = new_low, new_high
    activity_least = np.minimum(matrix * lower, matrix * upper).sum(axis=1)
    activity_most = np.maximum(matrix * lower, matrix * upper).sum(axis=1)
    if (activity_least > problem.row_upper + 1e-6).any() or (activity_most < problem.row_lower - 1e-6).any():
        return None
    return lower, upper


def jump_cost(problem: Problem, values: Floats, weight: Floats, column: int, value: float) -> float:
    """The weighted violation of all rows when ``column`` takes ``value``."""
    after = values.copy()
    after[column] = value
    activity = dense(problem) @ after
    amount = np.maximum(np.maximum(problem.row_lower - activity, activity - problem.row_upper), 0.0)
    return float(weight @ amount)


def small_problem(program: MixedIntegerProgram) -> Problem:
    """The kernels' view of a program."""
    return problem_of(program)
