"""What a point and its row duals prove about a convex quadratic program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.solvers.backends.lagrangian import lagrangian_bound


def objective_at(program: MixedIntegerProgram, values: Floats) -> float:
    """The objective with its offset and quadratic part at ``values``, shape (n,)."""
    linear = program.offset + float(program.cost @ values)
    return linear if program.hessian is None else linear + 0.5 * float(values @ _times_hessian(program, values))


def tangent_bound(program: MixedIntegerProgram, values: Floats, row_duals: Floats, negligible: float) -> float:
    """The Lagrangian bound of the tangent at ``values``.

    A convex function lies above each of its tangents, so what bounds the tangent over the rows and the box bounds the
    program, whatever ``values`` and ``row_duals`` are. ``negligible`` is the size up to which a reduced cost of a
    column without the bound it needs counts as zero.
    """
    if program.hessian is None:
        return lagrangian_bound(program, row_duals, negligible)
    slope = _times_hessian(program, values)
    at_values = program.offset - 0.5 * float(values @ slope)
    tangent = replace(program, cost=program.cost + slope, offset=at_values, hessian=None)
    return lagrangian_bound(tangent, row_duals, negligible)


def _times_hessian(program: MixedIntegerProgram, values: Floats) -> Floats:
    hessian = program.hessian
    if hessian is None:
        return np.zeros(program.num_columns)
    columns = np.repeat(np.arange(program.num_columns), np.diff(hessian.starts))
    beside = hessian.rows != columns
    by_rows = np.bincount(hessian.rows, hessian.values * values[columns], program.num_columns)
    across = np.bincount(columns[beside], hessian.values[beside] * values[hessian.rows[beside]], program.num_columns)
    return np.asarray(by_rows + across, np.float64)
