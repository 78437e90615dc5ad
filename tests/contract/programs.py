"""Small programs with known answers, which every backend must give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from apportion.instances.core import Sense
from apportion.instances.program import (
    Floats,
    Indicator,
    MixedIntegerProgram,
    SparseColumns,
    SpecialOrderedSet,
)
from apportion.solvers.status import Status

MIN, MAX = Sense.MINIMISE, Sense.MAXIMISE


def columns_of(rows: Sequence[Sequence[float]] | Floats, num_columns: int) -> SparseColumns:
    """A dense matrix by columns, without its zeros."""
    matrix = np.array(rows, np.float64).reshape(-1, num_columns) if num_columns else np.zeros((0, 0))
    starts, entries, values = [0], [], []
    for column in range(num_columns):
        where = np.flatnonzero(matrix[:, column])
        entries += where.tolist()
        values += matrix[where, column].tolist()
        starts.append(len(entries))
    return SparseColumns(np.array(starts, np.int32), np.array(entries, np.int32), np.array(values, np.float64))


def program(
    cost: Sequence[float],
    rows: Sequence[Sequence[float]] | Floats = (),
    row_lower: Sequence[float] | Floats = (),
    row_upper: Sequence[float] | Floats = (),
    *,
    lower: Sequence[float] | float = 0.0,
    upper: Sequence[float] | float = 10.0,
    integer: Sequence[bool] | bool = False,
    sense: Sense = MIN,
    **more: Any,
) -> MixedIntegerProgram:
    """A program from dense data."""
    size = len(cost)
    return MixedIntegerProgram(
        name="case",
        sense=sense,
        cost=np.array(cost, np.float64),
        matrix=columns_of(rows, size),
        row_lower=np.array(row_lower, np.float64),
        row_upper=np.array(row_upper, np.float64),
        lower=np.broadcast_to(np.array(lower, np.float64), (size,)),
        upper=np.broadcast_to(np.array(upper, np.float64), (size,)),
        integer=np.broadcast_to(np.array(integer, np.bool_), (size,)),
        **more,
    )


def integral(original: MixedIntegerProgram) -> MixedIntegerProgram:
    """The same program with every column integer."""
    return replace(original, integer=np.ones(original.num_columns, np.bool_))


def knapsack(size: int = 30, rows: int = 5, seed: int = 0, sense: Sense = MAX) -> MixedIntegerProgram:
    """A multi-dimensional knapsack (or covering) problem that takes a while."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(5, 60, (rows, size)).astype(float)
    capacity = np.floor(weights.sum(axis=1) / 3)
    nothing = np.full(rows, sense.sign * inf)
    low, high = (nothing, capacity) if sense is MAX else (capacity, nothing)
    value = (rng.integers(5, 60, size) + weights.mean(axis=0)).round().tolist()
    return program(value, weights, low, high, upper=1.0, integer=True, sense=sense)


def market_split() -> MixedIntegerProgram:
    """A market-split problem: no backend here finishes it within seconds."""
    rng = np.random.default_rng(4)
    weights = rng.integers(0, 100, (5, 40)).astype(float)
    half = np.floor(weights.sum(axis=1) / 2)
    slacks = np.hstack([np.eye(5), -np.eye(5)])
    cost = [0.0] * 40 + [1.0] * 10
    return program(cost, np.hstack([weights, slacks]), half, half, upper=[1.0] * 40 + [2000.0] * 10, integer=True)


def triangle(matrix: Sequence[Sequence[float]]) -> SparseColumns:
    """The lower triangle of a symmetric matrix, by columns."""
    return columns_of(np.tril(np.array(matrix, np.float64)), len(matrix))


@dataclass(frozen=True)
class Case:
    """A program, the status that is due and, with OPTIMAL, the objective."""

    name: str
    build: Callable[[], MixedIntegerProgram]
    status: tuple[Status, ...] = (Status.OPTIMAL,)
    objective: float = 0.0


_DIET = ([[1.0, 2.0], [3.0, 1.0]], [4.0, 6.0], [inf, inf])
_CAKES = ([[1.0, 2.0], [3.0, 1.0]], [-inf, -inf], [4.0, 6.0])
_OPEN = (Status.UNBOUNDED, Status.INFEASIBLE_OR_UNBOUNDED)
_INFEASIBLE = (Status.INFEASIBLE, Status.INFEASIBLE_OR_UNBOUNDED)

CASES: tuple[Case, ...] = (
    Case("lp minimise", lambda: program([3, 4], *_DIET), objective=9.6),
    Case("lp maximise", lambda: program([3, 4], *_CAKES, sense=MAX), objective=9.6),
    Case("lp offset", lambda: program([3, 4], *_DIET, offset=-5.0), objective=4.6),
    Case("lp maximise offset", lambda: program([3, 4], *_CAKES, sense=MAX, offset=100.0), objective=109.6),
    Case("lp equality", lambda: program([1, 2], [[1, 1]], [3], [3]), objective=3.0),
    Case("lp ranged", lambda: program([1, 1], [[1, -1], [1, 1]], [1, 2], [2, 8], sense=MAX), objective=8.0),
    Case("lp free row", lambda: program([1, 1], [[1, 1], [5, -7]], [2, -inf], [inf, inf]), objective=2.0),
    Case("lp free column", lambda: program([1], [[1]], [-7], [inf], lower=-inf, upper=inf), objective=-7.0),
    Case("lp no rows", lambda: program([1, -2], lower=-1.0, upper=4.0), objective=-9.0),
    Case("lp no cost", lambda: program([0, 0], [[1, 1]], [1], [2], offset=3.0), objective=3.0),
    Case("lp infeasible", lambda: program([1], [[1], [1]], [5, -inf], [inf, 4]), _INFEASIBLE),
    Case("lp unbounded", lambda: program([-1, -1], [[1, -1]], [0], [inf], upper=inf), _OPEN),
    Case("lp unbounded maximise", lambda: program([1, 1], [[1, -1]], [0], [inf], upper=inf, sense=MAX), _OPEN),
    Case("mip minimise", lambda: program([3, 4], *_DIET, integer=True), objective=10.0),
    Case("mip maximise", lambda: program([3, 4], *_CAKES, sense=MAX, integer=True), objective=8.0),
    Case("mip offset", lambda: program([3, 4], *_CAKES, sense=MAX, integer=True, offset=0.5), objective=8.5),
    Case("mip negative", lambda: program([1, 1], [[2, 3]], [-12.5], [inf], lower=-5.0, integer=True), objective=-5.0),
    Case("mip fractional bounds", lambda: program([1], lower=0.4, upper=1.9, integer=True, sense=MAX), objective=1.0),
    Case("mip fractions", lambda: program([0.25, 0.1], [[0.5, 0.2]], [1.3], [inf], integer=True), objective=0.65),
    Case(
        "mip no denominator",
        lambda: program([np.pi, np.e], [[np.sqrt(2), np.sqrt(3)]], [7.3], [inf], integer=True),
        objective=5 * np.e,
    ),
    Case("mip mixed", lambda: program([1, 1], [[2, 1]], [3.5], [inf], integer=[True, False]), objective=2.0),
    Case("lp small coefficient", lambda: program([1], [[1e-10]], [5], [inf], upper=1e12), objective=5e10),
    Case("mip infeasible", lambda: program([1, 1], [[2, 4]], [3], [3], integer=True), _INFEASIBLE),
    Case("mip unbounded", lambda: program([-1], [[1]], [0], [inf], upper=inf, integer=True), _OPEN),
    Case("mip no whole number", lambda: program([1], lower=0.2, upper=0.8, integer=True), _INFEASIBLE),
    Case("empty", lambda: program([], offset=4.0), objective=4.0),
    Case("empty with a free row", lambda: program([], [], [-1.0], [1.0]), objective=0.0),
    Case("empty and infeasible", lambda: program([], [], [1.0], [inf]), _INFEASIBLE),
    Case("crossed bounds", lambda: program([1, 1], lower=[0, 3], upper=[1, 2]), _INFEASIBLE),
    Case("crossed row", lambda: program([1], [[1]], [3], [2], integer=True), _INFEASIBLE),
    Case("row without entries", lambda: program([1], [[0]], [1], [2], integer=True), _INFEASIBLE),
    Case(
        "qp",
        lambda: program([1, 1], [[1, 1]], [1], [3], lower=-9.0, hessian=triangle([[2, 0.5], [0.5, 2]])),
        objective=1.625,
    ),
    Case(
        "qp concave maximise",
        lambda: program([4, 6], upper=9.0, sense=MAX, offset=1.0, hessian=triangle([[-2, 0], [0, -2]])),
        objective=14.0,
    ),
    Case(
        "qp singular",
        lambda: program([-2, -2], upper=9.0, hessian=triangle([[1, 1], [1, 1]])),
        objective=-2.0,
    ),
    Case(
        "qp integer",
        lambda: program([-3, -5], upper=9.0, integer=True, hessian=triangle([[2, 0], [0, 2]])),
        objective=-8.0,
    ),
    Case(
        "sos1",
        lambda: program(
            [3, 5, 4], upper=[2, 1, 2], sense=MAX, ordered_sets=(SpecialOrderedSet(1, (0, 1, 2), (1, 2, 3)),)
        ),
        objective=8.0,
    ),
    Case(
        "sos2",
        lambda: program([3, 1, 4], upper=1.0, sense=MAX, ordered_sets=(SpecialOrderedSet(2, (0, 1, 2), (1, 2, 3)),)),
        objective=5.0,
    ),
    Case(
        "sos2 by weights",
        lambda: program([3, 1, 4], upper=1.0, sense=MAX, ordered_sets=(SpecialOrderedSet(2, (0, 1, 2), (1, 3, 2)),)),
        objective=7.0,
    ),
    Case(
        "indicator when one",
        lambda: program(
            [5, 1],
            [[1, 1]],
            [-inf],
            [8],
            upper=[1, 10],
            integer=True,
            sense=MAX,
            indicators=(Indicator(0, True, (1,), (1.0,), -inf, 4.0),),
        ),
        objective=9.0,
    ),
    Case(
        "indicator when zero",
        lambda: program(
            [-5, 1],
            upper=[1, 10],
            integer=True,
            sense=MAX,
            indicators=(Indicator(0, False, (1,), (2.0,), 1.0, 8.0),),
        ),
        objective=5.0,
    ),
    Case(
        "indicator equality",
        lambda: program(
            [1, 2],
            upper=[1, 10],
            integer=True,
            indicators=(Indicator(0, False, (1,), (1.0,), 3.0, 3.0),),
        ),
        objective=1.0,
    ),
)
