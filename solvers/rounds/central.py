"""Linear programs whose answer lies in the middle of the optimal face, as interior-point solvers give it.

Published schedulers were run with such a solver: among the many allocations that are equally good it takes one that
treats equal jobs equally, and the rounds that follow depend on which one is taken.
"""

from __future__ import annotations

import numpy as np

from apportion.instances.errors import BackendError
from apportion.instances.program import Floats
from apportion.instances.trace import Longs
from apportion.solvers.rounds import kernels

_MOST_STEPS = 200
_TOLERANCE = 1e-9
_TO_BOUNDARY = 0.9995
_ACCEPTED = 1e-6


def central_optimum(objective: Floats, matrix: Floats, right: Floats, *, tolerance: float = _TOLERANCE) -> Floats:
    """Maximise ``objective @ x`` with ``matrix @ x <= right`` and ``x >= 0``; an answer inside the optimal face.

    Mehrotra's predictor-corrector method with slacks; dense, for a few hundred rows. With a zero objective the answer
    is near the analytic centre of the feasible set.

    Parameters
    ----------
    objective
        Shape (n,).
    matrix, right
        Shapes (m, n) and (m,).
    tolerance
        On feasibility and on the gap, relative.

    Raises
    ------
    BackendError
        When the method does not converge: the program is infeasible or unbounded.

    Examples
    --------
    >>> halves = central_optimum(np.ones(2), np.ones((1, 2)), np.ones(1))
    >>> np.allclose(halves, 0.5, atol=1e-6)
    True
    """
    rows, columns = matrix.shape
    scale = max(1.0, float(np.abs(objective).max(initial=0.0)))
    cost = np.concatenate((-objective / scale, np.zeros(rows)))
    x = np.ones(columns + rows) * max(1.0, float(np.abs(right).max(initial=1.0)) / max(1, columns))
    z = np.ones(columns + rows)
    y = np.zeros(rows)
    nearest, reached = x, np.inf
    width = 1.0 + float(np.abs(right).max(initial=0.0))
    for _ in range(_MOST_STEPS):
        primal = right - matrix @ x[:columns] - x[columns:]
        dual = cost - z
        dual[:columns] -= matrix.T @ y
        dual[columns:] -= y
        gap = float(x @ z) / len(x)
        error = max(gap, float(np.abs(primal).max(initial=0.0)) / width, float(np.abs(dual).max()) / 10.0)
        if error < reached:
            nearest, reached = x, error
        if error < tolerance or not np.isfinite(error):
            break
        step = _step(matrix, primal, dual, gap, x, z, columns)
        if step is None:
            break
        x, y, z = x + step[0], y + step[1], z + step[2]
    # rounding ends the progress of degenerate programs a little earlier than asked
    if reached > max(tolerance, _ACCEPTED):
        raise BackendError("the interior-point method finds no optimum\nMaybe the program is infeasible or unbounded")
    answer: Floats = nearest[:columns]
    return answer


def central_level(ratio: Floats, has_row: Longs, num_gpus: Longs, capacity: Longs) -> tuple[Floats, float]:
    """The highest level L that every job reaches, and fractions in the middle of those that reach it.

    Maximise L with ``ratio[j] @ x[j] >= L`` for the jobs with a row, ``sum(x[j]) <= 1`` and
    ``num_gpus @ x <= capacity``: the program that :func:`central_optimum` solves when it is written out, with the
    work of a step linear in the jobs.

    Parameters
    ----------
    ratio
        Shape (J, T), 0 where a job cannot run.
    has_row
        Shape (J,), 1 for the jobs that must reach the level.
    num_gpus, capacity
        Shapes (J,) and (T,).

    Raises
    ------
    BackendError
        When the method does not converge.

    Examples
    --------
    >>> x, level = central_level(np.ones((2, 1)), np.ones(2, np.int64), np.ones(2, np.int64), np.ones(1, np.int64))
    >>> round(level, 6), np.allclose(x, 0.5, atol=1e-6)
    (0.5, True)
    """
    jobs, types = ratio.shape
    rows = 2 * jobs + types
    best, out = np.zeros((jobs, types)), np.zeros(3)
    tables = [np.zeros((jobs, types)) for _ in range(6)]
    by_job = [np.zeros(jobs) for _ in range(8)]
    by_type = [np.zeros(types) for _ in range(4)]
    step = [np.zeros(rows) for _ in range(3)]
    reached = kernels.central_level(
        np.array(ratio, np.float64), np.array(has_row, np.int64), np.array(num_gpus, np.float64),
        np.array(capacity, np.float64), int((ratio > 0).sum()) + 1, _MOST_STEPS, _TOLERANCE,
        np.zeros((jobs, types)), tables[0], by_job[0], by_job[1], by_job[2], by_job[3], by_job[4], by_job[5],
        by_type[0], by_type[1], by_type[2], np.zeros((types + 1, types + 2)), np.zeros((jobs, 8)), by_job[6], by_job[7],
        by_type[3], tables[1], tables[2], tables[3], tables[4], tables[5], step[0], step[1], step[2], best, out,
    )  # fmt: skip
    if reached > max(_TOLERANCE, _ACCEPTED):
        raise BackendError("the interior-point method finds no level\nMaybe a job cannot run at all")
    return best, float(out[0])


def _step(
    matrix: Floats, primal: Floats, dual: Floats, gap: float, x: Floats, z: Floats, columns: int
) -> tuple[Floats, Floats, Floats] | None:
    """Predictor and corrector; None when the equations are singular to working precision."""
    normal = _factor(matrix, x, z, columns)
    try:
        aff = _direction(matrix, normal, primal, dual, -x * z, x, z, columns)
        alpha_p, alpha_d = _longest(x, aff[0]), _longest(z, aff[2])
        wanted = float((x + alpha_p * aff[0]) @ (z + alpha_d * aff[2])) / len(x)
        sigma = min(1.0, max((wanted / max(gap, 1e-300)) ** 3, 1e-3))
        dx, dy, dz = _direction(matrix, normal, primal, dual, sigma * gap - x * z - aff[0] * aff[2], x, z, columns)
    except np.linalg.LinAlgError:
        return None
    alpha_p, alpha_d = _TO_BOUNDARY * _longest(x, dx), _TO_BOUNDARY * _longest(z, dz)
    return alpha_p * dx, alpha_d * dy, alpha_d * dz


def _factor(matrix: Floats, x: Floats, z: Floats, columns: int) -> Floats:
    weight = x / z
    normal = (matrix * weight[:columns]) @ matrix.T
    normal[np.diag_indices_from(normal)] += weight[columns:]
    return normal


def _direction(
    matrix: Floats, normal: Floats, primal: Floats, dual: Floats, comp: Floats, x: Floats, z: Floats, columns: int
) -> tuple[Floats, Floats, Floats]:
    weight = x / z
    part = weight * dual - comp / z
    dy: Floats = np.linalg.solve(normal, primal + matrix @ part[:columns] + part[columns:]).astype(np.float64)
    back = np.concatenate((matrix.T @ dy, dy))
    dz: Floats = dual - back
    dx: Floats = (comp - x * dz) / z
    return dx, dy, dz


def _longest(value: Floats, step: Floats) -> float:
    falling = step < 0
    return min(1.0, float((-value[falling] / step[falling]).min(initial=np.inf)))


def share_rows(num_gpus: Longs, capacity: Longs, usable: Longs) -> tuple[Floats, Floats]:
    """Rows of the usual constraints on fractions: the GPUs of each type, and the time of each job.

    Parameters
    ----------
    num_gpus
        GPUs of each job, (J,).
    capacity
        GPUs of each type, (T,).
    usable
        Positions (job, type) that may be positive, (N, 2).

    Returns
    -------
    matrix, right
        Shapes (T + J, N) and (T + J,).
    """
    jobs, types = len(num_gpus), len(capacity)
    matrix = np.zeros((types + jobs, len(usable)))
    columns = np.arange(len(usable))
    matrix[usable[:, 1], columns] = num_gpus[usable[:, 0]]
    matrix[types + usable[:, 0], columns] = 1.0
    return matrix, np.concatenate((capacity.astype(np.float64), np.ones(jobs)))
