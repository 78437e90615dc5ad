"""Bounds from any prices at all: Lagrangian, and Farley's where blocks may be used without limit."""

from __future__ import annotations

from math import ceil, inf, isfinite

import numpy as np

from apportion.solvers.columns.formulation import Duals, Floats, Formulation, Priced

_ROUNDING = 1e-6


def lagrangian_bound(formulation: Formulation, duals: Duals, priced: Priced) -> float:
    """The best bound that prices and pricing prove, whatever the prices are.

    With ``r_k`` at most the least reduced cost of block ``k`` the Lagrangian value is::

        sum of b_i u_i  +  sum of min(least_k r_k, most_k r_k)

    Prices scaled by ``t`` in [0, 1] have reduced costs of at least ``(1 - t) least_cost_k + t r_k``, so the value at
    ``t u`` is known without pricing again. The largest ``t`` at which none is negative gives the bound of Farley (1990)
    and needs no ``most_k``. Both are evaluated, and the better one is returned; it may be minus infinity.

    References
    ----------
    .. [1] A. A. Farley (1990), A note on bounding a class of linear programming problems, including cutting stock
       problems, Operations Research 38, 922-923.
    .. [2] M. E. Luebbecke, J. Desrosiers (2005), Selected topics in column generation, Operations Research 53.
    """
    worth = row_worth(formulation, duals.rows)
    weight = duals.cost_weight
    best = _value(formulation, priced.least, worth)
    scale = _farley_scale(formulation, priced.least, weight)
    if 0.0 < scale < 1.0:
        least = (1.0 - scale) * weight * formulation.least_cost + scale * priced.least
        best = max(
            best, _value(formulation, np.where(priced.least < 0.0, np.maximum(least, 0.0), least), scale * worth)
        )
    return best


def signed(formulation: Formulation, prices: Floats) -> Floats:
    """Prices with the sign that their rows allow."""
    allowed = np.where(np.isinf(formulation.row_upper), np.maximum(prices, 0.0), prices)
    return np.where(np.isinf(formulation.row_lower), np.minimum(allowed, 0.0), allowed)


def row_worth(formulation: Formulation, prices: Floats) -> float:
    """What the linking rows are worth at ``prices``: the least over all activities that the rows allow.

    Minus infinity for a price of the wrong sign, so that it can prove nothing false.
    """
    right = np.where(prices > 0.0, formulation.row_lower, formulation.row_upper)
    return float(np.where(prices == 0.0, 0.0, prices) @ np.where(prices == 0.0, 0.0, right))


def _value(formulation: Formulation, least: Floats, worth: float) -> float:
    used = np.where(least < 0.0, formulation.block_most, formulation.block_least)
    if (np.isinf(used) & (least < 0.0)).any():
        return -inf
    counts = (used != 0.0) & (least != 0.0)  # a block without columns has an infinite least, an open one may be idle
    return worth + float((least[counts] * used[counts]).sum())


def _farley_scale(formulation: Formulation, least: Floats, weight: float) -> float:
    """The largest scale of the prices at which no reduced cost can be negative; -1 when there is none."""
    negative = least < 0.0
    if not negative.any():
        return 1.0
    cost = weight * formulation.least_cost[negative]
    return float((cost / (cost - least[negative])).min()) if (cost > 0.0).all() else -1.0


def round_up(bound: float, step: float) -> float:
    """The least objective that an integer solution can have when ``bound`` is proven and it is a multiple of ``step``.

    >>> round_up(19.2, 1.0), round_up(19.0000000001, 1.0), round_up(19.2, 0.0)
    (20.0, 19.0, 19.2)
    """
    if not step or not isfinite(bound):
        return bound
    return step * ceil(bound / step - _ROUNDING)
