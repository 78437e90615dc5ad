"""A program as a bipartite graph with features: what a net sees of it.

One node per column and per row, one edge per entry. The features follow Gasse, Chételat, Ferroni, Charlin and Lodi
(2019), "Exact combinatorial optimization with graph convolutional neural networks", without those that only a solver
in the middle of a tree has; what is remembered of earlier days is added (:class:`Memory` of ``learned.memory``).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import OptionError
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.branching.relaxation import Ended, Relaxation, Rows
from apportion.solvers.heuristics.arrays import Problem, expressible, problem_of

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

COLUMN_FEATURES = (
    "cost",
    "integer",
    "binary",
    "has lower bound",
    "has upper bound",
    "root value",
    "root fraction",
    "root at lower",
    "root at upper",
    "root reduced cost",
    "degree",
    "mean size of entries",
    "usual value",
    "certainty of the usual value",
    "last value",
)
ROW_FEATURES = (
    "side",
    "equality",
    "at most",
    "at least",
    "root tight",
    "root dual",
    "cosine with the cost",
    "degree",
)
_TIGHT = 1e-6
_SMALL = 1e-12


@dataclass(frozen=True, eq=False)
class RootPoint:
    """The optimum of the relaxation: ``values`` and ``reduced_costs`` of shape (n,), ``duals`` (m,), minimised."""

    objective: float
    values: Floats
    reduced_costs: Floats
    duals: Floats


@dataclass(frozen=True, eq=False)
class ProgramGraph:
    """Features of ``n`` columns and ``m`` rows, and the entries both ways, in single precision.

    Parameters
    ----------
    columns
        Shape (n, len(COLUMN_FEATURES)).
    rows
        Shape (m, len(ROW_FEATURES)).
    row_starts, row_columns, row_values
        Row ``i`` has ``row_starts[i]:row_starts[i + 1]`` of the two others; values are divided by the row's norm.
    col_starts, col_rows, col_values
        The same entries by columns.
    """

    columns: Singles
    rows: Singles
    row_starts: Ints
    row_columns: Ints
    row_values: Singles
    col_starts: Ints
    col_rows: Ints
    col_values: Singles

    @property
    def num_edges(self) -> int:
        """How many entries there are."""
        return len(self.row_columns)


@dataclass(frozen=True, eq=False)
class Usual:
    """What earlier solves say of each column, shape (n,) each: mean, certainty from 0 to 1, and the last value."""

    mean: Floats
    certainty: Floats
    last: Floats

    @classmethod
    def unknown(cls, num_columns: int) -> Usual:
        """Nothing is remembered."""
        return cls(np.full(num_columns, 0.5), np.zeros(num_columns), np.full(num_columns, 0.5))


def root_point(problem: Problem, seed: int = 0, seconds: float = inf) -> RootPoint | None:
    """Solve the relaxation; None when it has no optimum in time."""
    relaxation = Relaxation(problem, Rows.none(problem.num_columns), seed, seconds)
    if relaxation.solve(None, inf) is not Ended.OPTIMAL:
        return None
    values, reduced_costs, duals = relaxation.solution()
    return RootPoint(relaxation.objective, values, reduced_costs, duals)


def program_graph(program: MixedIntegerProgram, root: RootPoint, usual: Usual | None = None) -> ProgramGraph:
    """The graph of ``program`` at the optimum of its relaxation.

    Raises
    ------
    OptionError
        For ordered sets, indicators or a quadratic objective, which the graph does not hold.

    Examples
    --------
    >>> from apportion.instances.generate.benchmark_programs import benchmark_program
    >>> program = benchmark_program("set-cover", seed=1, rows=6, columns=9)
    >>> graph = program_graph(program, root_point(problem_of(program)))
    >>> graph.columns.shape, graph.rows.shape, graph.num_edges == program.matrix.num_nonzeros
    ((9, 15), (6, 8), True)
    """
    if not expressible(program):
        raise OptionError(f"{program.name!r} has ordered sets, indicators or a quadratic objective: it has no graph")
    return graph_of_problem(problem_of(program), root, usual)


def graph_of_problem(problem: Problem, root: RootPoint, usual: Usual | None = None) -> ProgramGraph:
    """As :func:`program_graph`, of a program that is normalised already."""
    degrees = np.diff(problem.row_starts)
    row_of = np.repeat(np.arange(problem.num_rows), degrees)
    squares = np.bincount(row_of, problem.row_values**2, minlength=problem.num_rows)
    norms = np.sqrt(np.maximum(squares, _SMALL))
    cost_norm = float(np.sqrt((problem.cost**2).sum())) or 1.0
    return ProgramGraph(
        columns=_columns(problem, root, usual or Usual.unknown(problem.num_columns), norms, cost_norm),
        rows=_rows(problem, root, norms, cost_norm, row_of),
        row_starts=problem.row_starts,
        row_columns=problem.row_columns,
        row_values=(problem.row_values / norms[row_of]).astype(np.float32),
        col_starts=problem.col_starts,
        col_rows=problem.col_rows,
        col_values=(problem.col_values / norms[problem.col_rows]).astype(np.float32),
    )


def _columns(problem: Problem, root: RootPoint, usual: Usual, norms: Floats, cost_norm: float) -> Singles:
    size = problem.num_columns
    lower, upper, values = problem.lower, problem.upper, root.values
    bounded = np.isfinite(lower) & np.isfinite(upper) & (upper > lower)
    width = np.where(bounded, upper - lower, 1.0)
    above = np.where(np.isfinite(lower), values - np.where(np.isfinite(lower), lower, 0.0), values)
    place = np.where(bounded, above / width, above / (1.0 + np.abs(above)))
    degrees = np.diff(problem.col_starts)
    column_of = np.repeat(np.arange(size), degrees)
    sizes = np.bincount(column_of, np.abs(problem.col_values) / norms[problem.col_rows], minlength=size)
    scale = np.sqrt(size) / cost_norm
    features = (
        scale * problem.cost,
        problem.integer,
        problem.integer & (lower == 0.0) & (upper == 1.0),
        np.isfinite(lower),
        np.isfinite(upper),
        place,
        np.where(problem.integer, np.abs(values - np.rint(values)), 0.0),
        values <= lower + _TIGHT,
        values >= upper - _TIGHT,
        np.clip(scale * root.reduced_costs, -10.0, 10.0),
        np.log1p(degrees),
        sizes / np.maximum(1, degrees),
        usual.mean,
        usual.certainty,
        usual.last,
    )
    return np.stack(features, 1).astype(np.float32)


def _rows(problem: Problem, root: RootPoint, norms: Floats, cost_norm: float, row_of: Ints) -> Singles:
    low, high = np.isfinite(problem.row_lower), np.isfinite(problem.row_upper)
    equal = low & high & (problem.row_lower == problem.row_upper)
    side = np.where(high, problem.row_upper, np.where(low, problem.row_lower, 0.0)) / norms
    activity = problem.activity(root.values)
    slack = np.minimum(activity - problem.row_lower, problem.row_upper - activity)
    with_cost = np.bincount(row_of, problem.row_values * problem.cost[problem.row_columns], minlength=problem.num_rows)
    degrees = np.diff(problem.row_starts)
    features = (
        np.sign(side) * np.log1p(np.abs(side)),
        equal,
        high & ~equal,
        low & ~equal,
        slack <= _TIGHT * (1.0 + np.abs(activity)),
        np.clip(np.sqrt(problem.num_columns) / cost_norm * norms * root.duals, -10.0, 10.0),
        with_cost / (norms * cost_norm),
        np.log1p(degrees),
    )
    return np.stack(features, 1).astype(np.float32)
