"""Fix and propagate from Python: orders, preferences and what to do with a dive that ended early."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from apportion.instances.program import Floats
from apportion.solvers.heuristics.arrays import Ints, Problem, start_values
from apportion.solvers.heuristics.dive import kernels
from apportion.solvers.heuristics.dive.kernels import Decisions
from apportion.solvers.heuristics.propagation.driver import domain_of
from apportion.solvers.heuristics.propagation.kernels import CONFLICT, CONSISTENT, EFFORT

_MOST_SPLITS = 50
"""Open decisions about one column that there is room for: each takes a value from its range."""


class Guide(StrEnum):
    """What the order and the preferred values of a dive come from."""

    COST = "cost"
    LOCKS = "locks"
    RANDOM = "random"


@dataclass(frozen=True, eq=False)
class Dive:
    """Where a dive ended.

    ``values`` (n,) has the fixed columns at their value and the others at the nearest to their preference;
    ``complete`` says that every integer column is fixed without a conflict, ``infeasible`` that no point is feasible.
    """

    values: Floats
    lower: Floats
    upper: Floats
    complete: bool
    infeasible: bool
    effort: int


def dive(problem: Problem, order: Ints, preferred: Floats, backtracks: int, effort: int) -> Dive:
    """Fix the integer columns of ``order`` near ``preferred`` (n,) with propagation and limited backtracking."""
    domain = domain_of(problem)
    widths = np.clip((problem.upper - problem.lower)[order], 1.0, _MOST_SPLITS)
    size = int(widths.sum()) + 1
    trail, place, left = (np.zeros(size, np.int64) for _ in range(3))
    decisions = Decisions(trail, place, np.zeros(size), left)
    outcome = kernels.dive(problem, domain, decisions, order, preferred, backtracks, effort)
    lower = np.maximum(domain.lower, problem.lower)
    upper = np.minimum(domain.upper, problem.upper)
    values = np.clip(np.nan_to_num(preferred), lower, np.maximum(lower, upper))
    values = np.where(problem.integer, np.clip(np.rint(values), lower, np.maximum(lower, upper)), values)
    return Dive(values, lower, upper, outcome == CONSISTENT, outcome == CONFLICT, int(domain.marks[EFFORT]))


def guide(problem: Problem, kind: Guide, random: np.random.Generator) -> tuple[Ints, Floats]:
    """The order of the integer columns and a preferred value for every column.

    By cost: the cheaper bound, dearest first for what a column does to its rows. By locks: the bound that fewer rows
    forbid, most locked first. At random: both at random, near zero where a bound is infinite.
    """
    columns = np.flatnonzero(problem.integer).astype(np.int64)
    entry = np.repeat(np.arange(problem.num_columns), np.diff(problem.col_starts))
    if kind is Guide.RANDOM:
        preferred = start_values(problem)
        boxed = np.isfinite(problem.lower) & np.isfinite(problem.upper)
        preferred[boxed] = random.uniform(problem.lower[boxed], problem.upper[boxed])
        return random.permutation(columns), preferred
    up, down = _locks(problem, entry)
    towards_lower = np.where(problem.cost == 0.0, down <= up, problem.cost > 0.0)
    importance = np.abs(problem.cost) / (1e-9 + _effect(problem, entry))
    if kind is Guide.LOCKS:
        towards_lower = down <= up
        importance = (up + down).astype(np.float64)
    towards = np.where(towards_lower, problem.lower, problem.upper)
    away = np.where(towards_lower, problem.upper, problem.lower)
    preferred = np.where(np.isfinite(towards), towards, np.where(np.isfinite(away), away, 0.0))
    noise = random.uniform(0.0, 1e-6, len(columns))
    order = columns[np.argsort(-(importance[columns] * (1.0 + noise)), kind="stable")]
    return order, preferred


def _locks(problem: Problem, entry: Ints) -> tuple[Ints, Ints]:
    """How many rows may break when a column grows, and when it shrinks."""
    above = np.isfinite(problem.row_upper)[problem.col_rows]
    below = np.isfinite(problem.row_lower)[problem.col_rows]
    positive = problem.col_values > 0.0
    up = np.bincount(entry, np.where(positive, above, below), problem.num_columns)
    down = np.bincount(entry, np.where(positive, below, above), problem.num_columns)
    return up.astype(np.int64), down.astype(np.int64)


def _effect(problem: Problem, entry: Ints) -> Floats:
    """How much of the rows' sides one unit of a column takes, summed over its rows."""
    sides = np.maximum(
        np.where(np.isfinite(problem.row_lower), np.abs(problem.row_lower), 0.0),
        np.where(np.isfinite(problem.row_upper), np.abs(problem.row_upper), 0.0),
    )
    share = np.abs(problem.col_values) / np.maximum(1.0, sides[problem.col_rows])
    return np.asarray(np.bincount(entry, share, problem.num_columns), np.float64)
