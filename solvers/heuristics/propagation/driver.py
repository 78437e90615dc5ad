"""Bound propagation from Python."""

from __future__ import annotations

import numpy as np

from apportion.solvers.heuristics.arrays import Problem
from apportion.solvers.heuristics.propagation import kernels
from apportion.solvers.heuristics.propagation.kernels import Domain

_TRAIL_PER_COLUMN = 4
_LEAST_TRAIL = 1000


def domain_of(problem: Problem) -> Domain:
    """A domain with the bounds of ``problem``, every row waiting for :func:`kernels.propagate`."""
    columns, rows = problem.num_columns, problem.num_rows
    trail = _TRAIL_PER_COLUMN * columns + _LEAST_TRAIL
    domain = Domain(
        lower=np.empty(columns),
        upper=np.empty(columns),
        least=np.empty(rows),
        most=np.empty(rows),
        least_open=np.empty(rows, np.int64),
        most_open=np.empty(rows, np.int64),
        widest=np.empty(rows),
        queue=np.zeros(max(1, rows), np.int64),
        queued=np.zeros(rows, np.bool_),
        trail_column=np.empty(trail, np.int64),
        trail_lower=np.empty(trail),
        trail_upper=np.empty(trail),
        marks=np.zeros(4, np.int64),
    )
    kernels.start(problem, domain)
    return domain


def tightened(problem: Problem, effort: int) -> Problem | None:
    """The program in the box that its rows imply; None when a row cannot be met at all.

    Every feasible point stays within the box (up to the tolerance of continuous columns).
    """
    if bool((problem.lower > problem.upper).any()):
        return None
    domain = domain_of(problem)
    if kernels.propagate(problem, domain, effort) == kernels.CONFLICT:
        return None
    return problem.with_bounds(domain.lower, domain.upper)
