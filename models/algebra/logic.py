"""Ordered sets and indicators of a model, one entry for each set or row."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from apportion.instances.errors import ModelError
from apportion.instances.program import Indicator, Ints, SpecialOrderedSet
from apportion.models.algebra.blocks import Constraints
from apportion.models.algebra.expressions import LinearExpression


def ordered_sets_of(
    members: LinearExpression, order: int, weights: ArrayLike | None, where: str
) -> list[SpecialOrderedSet]:
    """One set along the last axis of ``members`` for each position of the other axes."""
    if order not in (1, 2) or not members.ndim:
        raise ModelError(f"{where}: needs order 1 or 2 and at least one axis, got {order} and {members.shape}")
    columns = members.columns()
    length = columns.shape[-1]
    values = np.arange(1.0, length + 1) if weights is None else np.asarray(weights, np.float64)
    if values.shape != (length,) or not np.all(np.isfinite(values)) or np.any(np.diff(values) <= 0):
        raise ModelError(f"{where}: weights must be {length} increasing numbers, got shape {values.shape}")
    fixed = tuple(values.tolist())
    return [SpecialOrderedSet(order, tuple(row), fixed) for row in columns.reshape(-1, length).tolist()]


def indicators_of(switches: Ints, rows: Constraints, active: bool) -> list[Indicator]:
    """One indicator for each row of ``rows``; ``switches`` holds its binary column."""
    edges = np.concatenate(([0], np.cumsum(rows.counts)))
    return [
        Indicator(
            int(column),
            active,
            tuple(rows.columns[edges[k] : edges[k + 1]].tolist()),
            tuple(rows.coefficients[edges[k] : edges[k + 1]].tolist()),
            float(rows.lower[k]),
            float(rows.upper[k]),
        )
        for k, column in enumerate(switches)
    ]
