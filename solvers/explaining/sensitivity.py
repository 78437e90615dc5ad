"""What limits are worth around an optimum, and how far costs and limits may move before it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.models.explaining import ColumnSensitivity, RowSensitivity, Sensitivity
from apportion.models.program.groups import Group
from apportion.solvers.explaining.feasibility import Budget
from apportion.solvers.explaining.native import Ranges, ranges_of

_NEGLIGIBLE = 1e-9


def find_sensitivity(
    program: MixedIntegerProgram, groups: Sequence[Group], budget: Budget, plan: Floats | None = None
) -> Sensitivity | None:
    """Duals and ranging of a linear program; with integers, of the program that is left when they keep ``plan``.

    None for a quadratic objective, ordered sets or indicators, without a plan for the integers, or when the time is up.
    """
    if program.ordered_sets or program.indicators or (program.hessian is not None and program.hessian.num_nonzeros):
        return None
    fixed = program
    if program.integer.any():
        if plan is None:
            return None
        whole = np.rint(plan)
        fixed = replace(
            program.relaxed(),
            lower=np.where(program.integer, whole, program.lower),
            upper=np.where(program.integer, whole, program.upper),
        )
    ranges = ranges_of(fixed, budget.options, budget.remaining_s)
    if ranges is None:
        return None
    return Sensitivity(
        rows=_rows(program, groups, ranges),
        columns=_columns(program, ranges),
        objective=ranges.objective,
        integers_fixed=bool(program.integer.any()),
    )


def _rows(program: MixedIntegerProgram, groups: Sequence[Group], ranges: Ranges) -> tuple[RowSensitivity, ...]:
    group_of = np.full(program.num_rows, -1, np.int64)
    for position, group in enumerate(groups):
        group_of[group.rows] = position
    priced = np.flatnonzero(np.abs(ranges.row_duals) > _NEGLIGIBLE)
    order = priced[np.argsort(-np.abs(ranges.row_duals[priced]), kind="stable")]
    return tuple(
        RowSensitivity(
            group=groups[int(group_of[i])].name if group_of[i] >= 0 else "",
            name=program.row_name(i),
            dual=float(ranges.row_duals[i]),
            limit=_limit(program, i, float(ranges.activity[i])),
            lower=float(ranges.row_lower[i]),
            upper=float(ranges.row_upper[i]),
        )
        for i in order.tolist()
    )


def _limit(program: MixedIntegerProgram, row: int, activity: float) -> float:
    """The side of a row that its activity sits on."""
    sides = (float(program.row_lower[row]), float(program.row_upper[row]))
    return min(sides, key=lambda side: abs(side - activity))


def _columns(program: MixedIntegerProgram, ranges: Ranges) -> tuple[ColumnSensitivity, ...]:
    """Continuous columns, largest value first; a fixed integer has no range of its own."""
    shown = np.flatnonzero(~program.integer)
    order = shown[np.argsort(-np.abs(ranges.values[shown]), kind="stable")]
    return tuple(
        ColumnSensitivity(
            name=program.column_name(j),
            value=float(ranges.values[j]),
            cost=float(program.cost[j]),
            cost_lower=float(ranges.cost_lower[j]),
            cost_upper=float(ranges.cost_upper[j]),
            reduced_cost=float(ranges.reduced_costs[j]),
        )
        for j in order.tolist()
    )
