"""Convex quadratic programs by linear ones: each square is the highest of its tangents, and more come where it matters.

Source: Kelley, "The cutting-plane method for solving convex programs", 1960. It stands in where the active-set
method of HiGHS cycles on a degenerate program.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from apportion.instances.errors import BackendError
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns
from apportion.solvers.backends.base import Backend, BackendAnswer
from apportion.solvers.events import Monitor
from apportion.solvers.options import HighsOptions, SolveOptions
from apportion.solvers.status import Bounds, Limit, Status

_FIRST = 9
_ROUNDS = 40
_CLOSE = 1e-8
_QP_STEPS = 20


def run_quadratic(
    backend: Backend, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor
) -> BackendAnswer:
    """Run ``program``, whose squares are separable; when HiGHS does not end on them, by tangents."""
    if program.hessian is None or backend.name != "highs":
        return backend.run(program, options, monitor)
    steps = _QP_STEPS * (program.num_rows + program.num_columns) + 1000
    block = options.highs
    limited = HighsOptions(block.presolve, block.mip_heuristic_effort, {"qp_iteration_limit": steps, **block.settings})
    try:
        answer = backend.run(program, options.with_(highs=limited), monitor)
    except BackendError as error:
        # its active-set method may claim an optimum that its own check then refuses
        monitor.log(f"tangents take over: {error}")
        return by_tangents(backend, program, options, monitor)
    if answer.status in (Status.OPTIMAL, Status.INFEASIBLE) or monitor.should_stop:
        return answer
    return by_tangents(backend, program, options, monitor)


def by_tangents(
    backend: Backend, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor
) -> BackendAnswer:
    """Solve linear programs with more and more tangents until cost and bound meet."""
    hessian = program.hessian
    if hessian is None:
        return backend.run(program, options, monitor)
    diagonal = np.zeros(program.num_columns)
    diagonal[hessian.rows] = 0.5 * hessian.values
    squared = np.flatnonzero(diagonal)
    spread = np.linspace(0.0, 1.0, _FIRST)[:, None]
    points = program.lower[squared] + spread * (program.upper - program.lower)[squared]
    best: BackendAnswer | None = None
    dual = -inf
    for _ in range(_ROUNDS):
        answer = backend.run(_linear(program, diagonal, squared, points), options, monitor)
        if answer.values is None:
            return answer if best is None else _settled(best, dual, answer.limit)
        values = answer.values[: program.num_columns]
        dual = max(dual, answer.bounds.dual)
        cost = float(program.offset + program.cost @ values + diagonal @ values**2)
        if best is None or cost < best.bounds.primal:
            best = replace(
                answer,
                values=values,
                bounds=Bounds(cost, dual),
                row_duals=None if answer.row_duals is None else answer.row_duals[: program.num_rows],
                reduced_costs=None,
            )
        if best.bounds.primal - dual <= _CLOSE * max(1.0, abs(cost)):
            break
        points = np.vstack([points, values[squared]])
    assert best is not None  # noqa: S101 for the type checker
    return _settled(best, dual, None)


def _settled(best: BackendAnswer, dual: float, limit: Limit | None) -> BackendAnswer:
    bounds = Bounds(best.bounds.primal, min(dual, best.bounds.primal))
    proven = bounds.gap <= 10 * _CLOSE
    status = Status.OPTIMAL if proven else Status.FEASIBLE
    return replace(best, bounds=bounds, status=status, limit=None if proven else limit or Limit.METHOD)


def _linear(
    program: MixedIntegerProgram, diagonal: Floats, squared: NDArray[np.intp], points: Floats
) -> MixedIntegerProgram:
    """The program with a column for each square above its tangents at ``points`` (tangents, squares)."""
    count, columns = len(squared), program.num_columns
    at = points.ravel()
    curve = np.tile(diagonal[squared], len(points))
    row = np.arange(len(at))
    square = columns + np.tile(np.arange(count), len(points))
    entries = np.concatenate((np.ones(len(at)), -2.0 * curve * at))
    places = np.tile(row, 2), np.concatenate((square, np.tile(squared, len(points))))
    cuts = sparse.csr_array((entries, places), shape=(len(at), columns + count))
    matrix = program.matrix
    before = sparse.csc_array((matrix.values, matrix.rows, matrix.starts), shape=(program.num_rows, columns))
    whole = sparse.csc_array(
        sparse.vstack([sparse.hstack([before, sparse.csr_array((program.num_rows, count))]), cuts])
    )
    whole.sort_indices()
    most = diagonal[squared] * np.maximum(program.lower[squared] ** 2, program.upper[squared] ** 2)
    return replace(
        program,
        cost=np.append(program.cost, np.ones(count)),
        matrix=SparseColumns(whole.indptr.astype(np.int32), whole.indices.astype(np.int32), whole.data),
        row_lower=np.append(program.row_lower, -curve * at**2),
        row_upper=np.append(program.row_upper, np.full(len(at), np.inf)),
        lower=np.append(program.lower, np.zeros(count)),
        upper=np.append(program.upper, most),
        integer=np.zeros(columns + count, np.bool_),
        hessian=None,
        column_names=(),
        row_names=(),
    )
