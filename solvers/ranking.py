"""Which backend will probably finish a program first: told from cheap features of its rows, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from apportion.instances.program import MixedIntegerProgram

Mask = NDArray[np.bool_]
_SAME = 1e-9
_MOSTLY = 0.5
_LARGEST_CP_SAT = 200_000


@dataclass(frozen=True)
class Shape:
    """What the ranking looks at: counts, and shares of the columns or of the rows (0 to 1).

    ``integer`` and ``binary`` are shares of the columns. Each share of rows counts one kind: ``packing``, ``covering``
    and ``partitioning`` have only ones on binaries and at most, at least or exactly one on the right; ``knapsack`` has
    coefficients of one sign that differ; ``links`` has both signs; ``pairs`` are the packing rows of two columns.
    ``row_length`` is the mean number of entries of a row; ``equal_costs`` says that all costs that are not zero agree.
    """

    columns: int
    rows: int
    nonzeros: int
    integer: float
    binary: float
    packing: float
    covering: float
    partitioning: float
    knapsack: float
    links: float
    pairs: float
    row_length: float
    equal_costs: bool


def shape_of(program: MixedIntegerProgram) -> Shape:
    """Count; one pass over the entries.

    >>> from apportion.instances.generate.benchmark_programs import benchmark_program
    >>> shape = shape_of(benchmark_program("set-cover", 1, rows=20, columns=50))
    >>> shape.covering, shape.binary, shape.links
    (1.0, 1.0, 0.0)
    """
    columns, rows = max(1, program.num_columns), max(1, program.num_rows)
    binary = program.integer & (program.lower == 0.0) & (program.upper == 1.0)
    matrix = program.matrix
    shape = (program.num_rows, program.num_columns)
    by_rows = scipy.sparse.csc_array((matrix.values, matrix.rows, matrix.starts), shape=shape).tocsr()
    length = np.diff(by_rows.indptr)
    row_of = np.repeat(np.arange(program.num_rows), length)

    def all_of(holds: Mask) -> Mask:
        return np.asarray(np.bincount(row_of, ~holds, program.num_rows) == 0, np.bool_)

    ones = all_of((by_rows.data == 1.0) & binary[by_rows.indices]) & (length > 0)
    one_sign = all_of(by_rows.data > 0.0) | all_of(by_rows.data < 0.0)
    at_most = (program.row_upper == 1.0) & (program.row_lower <= 0.0)
    packing = ones & at_most
    cost = program.cost[program.cost != 0.0]
    return Shape(
        columns=program.num_columns,
        rows=program.num_rows,
        nonzeros=matrix.num_nonzeros,
        integer=float(program.integer.sum()) / columns,
        binary=float(binary.sum()) / columns,
        packing=float(packing.sum()) / rows,
        covering=float((ones & (program.row_lower == 1.0) & (program.row_upper > 1.0)).sum()) / rows,
        partitioning=float((ones & (program.row_lower == 1.0) & (program.row_upper == 1.0)).sum()) / rows,
        knapsack=float((one_sign & ~ones).sum()) / rows,
        links=float((~one_sign).sum()) / rows,
        pairs=float((packing & (length == 2)).sum()) / rows,
        row_length=matrix.num_nonzeros / rows,
        equal_costs=bool(len(cost) == 0 or np.ptp(cost) <= _SAME * abs(float(cost[0]))),
    )


def preference(shape: Shape) -> tuple[str, ...]:
    """All backends, the one that probably finishes a program of this shape soonest first.

    Where the order comes from is told in the page on neighbourhoods and the portfolio: single solvers measured on
    generated programs of other seeds and sizes than those of the benchmark.
    """
    if shape.integer < 1.0:
        return ("highs", "scip", "cp-sat")
    if shape.pairs > _MOSTLY:
        return ("scip", "highs", "cp-sat")
    if shape.covering > _MOSTLY or shape.binary < _MOSTLY or shape.nonzeros > _LARGEST_CP_SAT:
        return ("highs", "scip", "cp-sat")
    return ("cp-sat", "highs", "scip")


def ranked(program: MixedIntegerProgram, names: Sequence[str]) -> list[str]:
    """The backends ``names`` in the order in which they will probably finish ``program``, the favourite first."""
    order = preference(shape_of(program))
    return sorted(names, key=order.index)
