"""A bound of a linear program from any row duals: true whatever they are, tight when they are optimal."""

from __future__ import annotations

from math import inf

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram

_NEGLIGIBLE = 1e-9


def lagrangian_bound(program: MixedIntegerProgram, row_duals: Floats, negligible: float = _NEGLIGIBLE) -> float:
    """Relax the rows with ``row_duals`` (shape (m,), d objective / d right-hand side) and bound what is left.

    With ``d = c - A'y`` every feasible ``x`` of a minimisation costs at least the sum of ``y_i`` times the side of row
    ``i`` that it prices and of ``d_j`` times the bound of ``x_j`` that is cheapest: weak duality, for any ``y``
    (Neumaier and Shcherbina 2004, without the directed rounding). Infinite when it needs a bound that is not there,
    unless the price on it is ``negligible`` beside the cost.
    """
    sign = program.sense.sign
    prices = sign * np.array(row_duals, np.float64)
    prices[
        (np.abs(prices) <= negligible) & ~np.isfinite(np.where(prices > 0, program.row_lower, program.row_upper))
    ] = 0
    matrix = program.matrix
    products = matrix.values * prices[matrix.rows]
    sums = np.concatenate(([0.0], np.cumsum(products)))
    reduced = sign * program.cost - (sums[matrix.starts[1:]] - sums[matrix.starts[:-1]])
    missing = ~np.isfinite(np.where(reduced > 0, program.lower, program.upper))
    reduced[missing & (np.abs(reduced) <= negligible * np.maximum(1.0, np.abs(program.cost)))] = 0.0
    bound = _cheapest(prices, program.row_lower, program.row_upper) + _cheapest(reduced, program.lower, program.upper)
    return sign * bound + program.offset if np.isfinite(bound) else -sign * inf


def _cheapest(prices: Floats, lower: Floats, upper: Floats) -> float:
    """The least of ``prices . x`` over the box."""
    used = prices != 0.0
    sides = np.where(prices[used] > 0.0, lower[used], upper[used])
    return -inf if not np.isfinite(sides).all() else float(prices[used] @ sides)
