"""Tiny programs for brute force: hypothesis strategies and exact answers by enumeration."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from apportion.instances.core import Sense
from apportion.instances.program import MixedIntegerProgram, SparseColumns


def make_program(
    matrix: ArrayLike,
    row_lower: ArrayLike,
    row_upper: ArrayLike,
    cost: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    integer: ArrayLike = False,
    sense: Sense = Sense.MINIMISE,
    offset: float = 0.0,
    row_names: tuple[str, ...] = (),
) -> MixedIntegerProgram:
    """A program from dense figures."""
    costs, least = np.array(cost, np.float64), np.array(row_lower, np.float64)
    dense = np.array(matrix, np.float64).reshape(len(least), len(costs))
    columns, rows = np.nonzero(dense.T)
    starts = np.concatenate(([0], np.cumsum(np.bincount(columns, minlength=len(costs)))))
    return MixedIntegerProgram(
        "tiny",
        sense,
        costs,
        SparseColumns(starts.astype(np.int32), rows.astype(np.int32), dense.T[columns, rows]),
        least,
        np.array(row_upper, np.float64),
        np.array(lower, np.float64),
        np.array(upper, np.float64),
        np.broadcast_to(np.array(integer, np.bool_), (len(costs),)),
        offset,
        row_names=row_names,
    )


def dense_of(program: MixedIntegerProgram) -> list[list[Fraction]]:
    """The matrix by rows, as fractions."""
    dense = [[Fraction(0)] * program.num_columns for _ in range(program.num_rows)]
    for j in range(program.num_columns):
        for k in range(program.matrix.starts[j], program.matrix.starts[j + 1]):
            dense[program.matrix.rows[k]][j] += Fraction(float(program.matrix.values[k]))
    return dense


def objective_of(program: MixedIntegerProgram, point: Sequence[Fraction]) -> Fraction:
    terms = zip(program.cost, point, strict=True)
    return Fraction(program.offset) + sum((Fraction(float(c)) * x for c, x in terms), Fraction(0))


def is_feasible(program: MixedIntegerProgram, point: Sequence[Fraction]) -> bool:
    """Whether rows and bounds hold exactly (integrality is not looked at)."""
    activity = [sum((a * x for a, x in zip(row, point, strict=True)), Fraction(0)) for row in dense_of(program)]
    pairs = [*zip(activity, program.row_lower, program.row_upper, strict=True)]
    pairs += [*zip(point, program.lower, program.upper, strict=True)]
    return all((low == -np.inf or v >= Fraction(low)) and (up == np.inf or v <= Fraction(up)) for v, low, up in pairs)


def solve_square(rows: list[list[Fraction]], sides: list[Fraction]) -> list[Fraction] | None:
    """Gauss on fractions; None when singular."""
    size = len(rows)
    table = [[*row, side] for row, side in zip(rows, sides, strict=True)]
    for k in range(size):
        pivot = next((i for i in range(k, size) if table[i][k]), None)
        if pivot is None:
            return None
        table[k], table[pivot] = table[pivot], table[k]
        table[k] = [v / table[k][k] for v in table[k]]
        for i in range(size):
            if i != k and table[i][k]:
                table[i] = [v - table[i][k] * w for v, w in zip(table[i], table[k], strict=True)]
    return [row[-1] for row in table]


def vertices(program: MixedIntegerProgram) -> Iterator[list[Fraction]]:
    """Every feasible vertex of the relaxation, exactly."""
    n = program.num_columns
    unit = [[Fraction(int(i == j)) for j in range(n)] for i in range(n)]
    faces = []
    for row, low, up in zip(
        [*dense_of(program), *unit],
        [*program.row_lower, *program.lower],
        [*program.row_upper, *program.upper],
        strict=True,
    ):
        faces += [(row, Fraction(float(side))) for side in {low, up} if np.isfinite(side)]
    for chosen in itertools.combinations(faces, n):
        point = solve_square([face[0] for face in chosen], [face[1] for face in chosen])
        if point is not None and is_feasible(program, point):
            yield point


def exact_relaxation(program: MixedIntegerProgram) -> Fraction | None:
    """The optimum of the relaxation of a program with finite bounds, exactly; None when infeasible."""
    values = [objective_of(program, point) for point in vertices(program)]
    if not values:
        return None
    return min(values) if program.sense is Sense.MINIMISE else max(values)


def exact_integer(program: MixedIntegerProgram) -> Fraction | None:
    """The optimum of an all-integer program with finite bounds, by enumeration; None when infeasible."""
    ranges = [range(int(np.ceil(a)), int(np.floor(b)) + 1) for a, b in zip(program.lower, program.upper, strict=True)]
    points = ([Fraction(v) for v in point] for point in itertools.product(*ranges))
    values = [objective_of(program, point) for point in points if is_feasible(program, point)]
    if not values:
        return None
    return min(values) if program.sense is Sense.MINIMISE else max(values)


FIGURES = st.sampled_from([-3.0, -2.0, -1.0, -0.7, 0.0, 0.1, 1 / 3, 1.0, 2.0, 3.0])


@st.composite
def tiny_programs(draw: st.DrawFn, *, integer: bool = False, most: int = 3) -> MixedIntegerProgram:
    """Up to ``most`` columns and rows with equalities, one-sided and ranged rows, finite bounds, both senses."""
    n, m = draw(st.integers(1, most)), draw(st.integers(0, most))
    matrix = [[draw(FIGURES) for _ in range(n)] for _ in range(m)]
    row_lower, row_upper = [], []
    for _ in range(m):
        side, kind = draw(FIGURES), draw(st.sampled_from(["<=", ">=", "==", "range"]))
        row_lower.append(-np.inf if kind == "<=" else side)
        row_upper.append(np.inf if kind == ">=" else side + (1.5 if kind == "range" else 0.0))
    lower = [float(draw(st.integers(-2, 1))) for _ in range(n)]
    return make_program(
        matrix,
        row_lower,
        row_upper,
        [draw(FIGURES) for _ in range(n)],
        lower,
        [low + draw(st.integers(0, 3)) for low in lower],
        integer=integer,
        sense=draw(st.sampled_from(list(Sense))),
        offset=draw(FIGURES),
    )
