"""The cheapest change of limits that makes an infeasible program feasible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from apportion.instances.errors import ModelError
from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.models.explaining import Change, Relaxation
from apportion.models.program.exact import check_exactly
from apportion.models.program.groups import Group
from apportion.models.verdict import TOLERANCE
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.elastic import Elastic, elastic_program
from apportion.solvers.explaining.feasibility import Budget
from apportion.solvers.status import Status

_NEGLIGIBLE = 1e-7


def find_relaxation(
    program: MixedIntegerProgram,
    groups: Sequence[Group],
    budget: Budget,
    backend: str,
    weights: Mapping[str, float] | None = None,
) -> Relaxation | None:
    """Change limits so that a plan becomes possible, at the least weighted total; None when no change does or in time.

    Limits of rows are changed first; the bounds of variables only when rows alone do not suffice, or when ``weights``
    prices a group of bounds.

    Parameters
    ----------
    program
        Infeasible, with no bounds or rows that cross.
    groups
        What its rows and bounds are called.
    budget, backend
        Time, and who solves the elastic program.
    weights
        Price of one unit of change by group; 1 where absent, infinite for what must not change.
    """
    prices = _prices(groups, weights or {})
    only_rows = {g.name: prices[g.name] if len(g.rows) or g.name in (weights or {}) else np.inf for g in groups}
    for chosen in (only_rows, prices):
        elastic = elastic_program(program, *_weights(program, groups, chosen))
        answer = budget.run(elastic.program, backend)
        if answer.values is not None:
            return _described(program, groups, elastic, answer, weighted=bool(weights))
        if answer.status is not Status.INFEASIBLE:
            return None
    return None


def _prices(groups: Sequence[Group], weights: Mapping[str, float]) -> dict[str, float]:
    names = {group.name for group in groups}
    for name, weight in weights.items():
        if name not in names:
            raise ModelError(f"weights: there is no group {name!r}\nMaybe one of {', '.join(sorted(names))}")
        if not weight > 0:
            raise ModelError(f"weights: the price of {name!r} must be positive, got {weight}")
    return {group.name: float(weights.get(group.name, 1.0)) for group in groups}


def _weights(
    program: MixedIntegerProgram, groups: Sequence[Group], prices: Mapping[str, float]
) -> tuple[Floats, Floats]:
    rows, columns = np.full(program.num_rows, np.inf), np.full(program.num_columns, np.inf)
    for group in groups:
        rows[group.rows] = prices[group.name]
        columns[group.columns] = prices[group.name]
    return rows, columns


def _described(
    program: MixedIntegerProgram, groups: Sequence[Group], elastic: Elastic, answer: BackendAnswer, weighted: bool
) -> Relaxation:
    values = answer.values if answer.values is not None else np.zeros(elastic.program.num_columns)
    helped = elastic.slacks(values)
    row_moves, column_moves = helped[: elastic.num_rows], np.zeros(program.num_columns)
    column_moves[elastic.columns] = helped[elastic.num_rows :]
    changes: list[Change] = []
    for group in groups:
        rows = group.rows[np.abs(row_moves[group.rows]) > _NEGLIGIBLE]
        columns = group.columns[np.abs(column_moves[group.columns]) > _NEGLIGIBLE]
        changes += [
            _change(
                group,
                program.row_name(i),
                float(program.row_lower[i]),
                float(program.row_upper[i]),
                float(row_moves[i]),
            )
            for i in rows.tolist()
        ]
        changes += [
            _change(
                group, program.column_name(j), float(program.lower[j]), float(program.upper[j]), float(column_moves[j])
            )
            for j in columns.tolist()
        ]
    changes.sort(key=lambda change: -abs(change.amount))
    return Relaxation(
        changes=tuple(changes),
        cost=answer.bounds.primal,
        cheapest=answer.status is Status.OPTIMAL,
        confirmed=_confirmed(program, row_moves, column_moves, values[: program.num_columns]),
        weighted=weighted,
    )


def _change(group: Group, name: str, lower: float, upper: float, helped: float) -> Change:
    """``helped`` > 0 means that the activity falls short of the lower side by it; < 0 that it exceeds the upper."""
    side = "value" if lower == upper else "lower limit" if helped > 0 else "upper limit"
    return Change(group.name, name, side, float(lower if helped > 0 else upper), -helped)


def _confirmed(program: MixedIntegerProgram, row_moves: Floats, column_moves: Floats, values: Floats) -> bool:
    """Whether ``values`` pass the exact check once the limits are changed."""
    changed = replace(
        program,
        row_lower=program.row_lower - np.maximum(row_moves, 0.0),
        row_upper=program.row_upper - np.minimum(row_moves, 0.0),
        lower=program.lower - np.maximum(column_moves, 0.0),
        upper=program.upper - np.minimum(column_moves, 0.0),
    )
    return check_exactly(changed, values).within(TOLERANCE)
