"""Why a program is unbounded: a direction that keeps every rule and improves the objective for ever."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns
from apportion.models.explaining import Ray
from apportion.solvers.explaining.feasibility import Budget
from apportion.solvers.status import Status

_NEGLIGIBLE = 1e-9


def find_ray(program: MixedIntegerProgram, budget: Budget) -> Ray | None:
    """The shortest direction (in the sum of its amounts) that improves the objective by 1 and keeps every rule.

    Integrality does not matter: with rational figures some multiple of the direction is whole (Meyer 1974). A quadratic
    objective must be flat along it. None when there is no such direction or the program has ordered sets or indicators.
    """
    if program.ordered_sets or program.indicators:
        return None
    answer = budget.run(_ray_program(program), "highs")
    if answer.status is not Status.OPTIMAL or answer.values is None:
        return None
    n = program.num_columns
    direction = answer.values[:n] - answer.values[n:]
    order = np.argsort(-np.abs(direction), kind="stable")
    used = [int(j) for j in order if abs(direction[j]) > _NEGLIGIBLE]
    return Ray(tuple((program.column_name(j), float(direction[j])) for j in used), str(program.sense))


def recession(lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """The ranges that a direction must keep: a finite side must not be approached."""
    return np.where(np.isfinite(lower), 0.0, -np.inf), np.where(np.isfinite(upper), 0.0, np.inf)


def _ray_program(program: MixedIntegerProgram) -> MixedIntegerProgram:
    """Minimise the length of ``p - q`` over the recession cone, with an improvement of 1."""
    n, m = program.num_columns, program.num_rows
    blocks = [_as_scipy(program.matrix, (m, n)), sparse.csc_array(program.sense.sign * program.cost.reshape(1, n))]
    low, high = recession(program.row_lower, program.row_upper)
    improvement = np.array([-1.0])
    row_lower, row_upper = [low, improvement], [high, improvement]
    if program.hessian is not None and program.hessian.num_nonzeros:
        triangle = _as_scipy(program.hessian, (n, n))
        blocks.append(sparse.csc_array(triangle + sparse.tril(triangle, -1).T))
        row_lower.append(np.zeros(n))
        row_upper.append(np.zeros(n))
    half = sparse.vstack(blocks, format="csc")
    both = sparse.csc_array(sparse.hstack([half, -half], format="csc"))
    least, most = recession(program.lower, program.upper)
    return MixedIntegerProgram(
        name=f"ray of {program.name}",
        sense=Sense.MINIMISE,
        cost=np.ones(2 * n),
        matrix=SparseColumns(both.indptr.astype(np.int32), both.indices.astype(np.int32), both.data),
        row_lower=np.concatenate(row_lower),
        row_upper=np.concatenate(row_upper),
        lower=np.zeros(2 * n),
        upper=np.concatenate((most, -least)),
        integer=np.zeros(2 * n, np.bool_),
    )


def _as_scipy(matrix: SparseColumns, shape: tuple[int, int]) -> sparse.csc_array:
    return sparse.csc_array((matrix.values, matrix.rows, matrix.starts), shape=shape)
