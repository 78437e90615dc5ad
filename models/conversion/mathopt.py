"""Programs to and from OR-Tools MathOpt, through its protocol buffers: no loop over rows or columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from ortools.math_opt import model_pb2
from ortools.math_opt.python import mathopt
from scipy import sparse

from apportion.instances.core import Sense
from apportion.instances.errors import ModelError
from apportion.instances.program import Floats, Indicator, MixedIntegerProgram, SparseColumns

_REFUSED = (
    "quadratic_constraints",
    "second_order_cone_constraints",
    "auxiliary_objectives",
    "sos1_constraints",
    "sos2_constraints",
)


def export_program(program: MixedIntegerProgram) -> mathopt.Model:
    """Return ``program`` as a MathOpt model; column ``j`` has id ``j`` and row ``i`` has id ``i``."""
    if program.ordered_sets:
        raise ModelError(f"model {program.name!r}: MathOpt for Python has no ordered sets\nMaybe backend 'scip'")
    proto = model_pb2.ModelProto(name=program.name)
    proto.variables.ids.extend(range(program.num_columns))
    proto.variables.lower_bounds.extend(program.lower)
    proto.variables.upper_bounds.extend(program.upper)
    proto.variables.integers.extend(program.integer)
    proto.variables.names.extend(program.column_names)
    _write_objective(program, proto.objective)
    rows = proto.linear_constraints
    rows.ids.extend(range(program.num_rows))
    rows.lower_bounds.extend(program.row_lower)
    rows.upper_bounds.extend(program.row_upper)
    rows.names.extend(program.row_names)
    _write_matrix(program.matrix, program.num_rows, proto.linear_constraint_matrix)
    for key, indicator in enumerate(program.indicators):
        entry = proto.indicator_constraints[key]
        entry.indicator_id, entry.activate_on_zero = indicator.column, not indicator.active
        entry.lower_bound, entry.upper_bound = indicator.lower, indicator.upper
        for column, coefficient in sorted(zip(indicator.columns, indicator.coefficients, strict=True)):
            entry.expression.ids.append(column)
            entry.expression.values.append(coefficient)
    return mathopt.Model.from_model_proto(proto)


def _write_objective(program: MixedIntegerProgram, objective: Any) -> None:
    objective.maximize = program.sense is Sense.MAXIMISE
    objective.offset = program.offset
    used = np.flatnonzero(program.cost)
    objective.linear_coefficients.ids.extend(used)
    objective.linear_coefficients.values.extend(program.cost[used])
    if program.hessian is None:
        return
    # the lower triangle by columns is the upper triangle by rows, the order that MathOpt wants
    first = np.repeat(np.arange(program.num_columns), np.diff(program.hessian.starts))
    second = program.hessian.rows
    objective.quadratic_coefficients.row_ids.extend(first)
    objective.quadratic_coefficients.column_ids.extend(second)
    objective.quadratic_coefficients.coefficients.extend(program.hessian.values * np.where(first == second, 0.5, 1.0))


def _write_matrix(matrix: SparseColumns, num_rows: int, target: Any) -> None:
    shape = (num_rows, len(matrix.starts) - 1)
    by_row = sparse.csc_array((matrix.values, matrix.rows, matrix.starts), shape=shape).tocsr()
    target.row_ids.extend(np.repeat(np.arange(num_rows), np.diff(by_row.indptr)))
    target.column_ids.extend(by_row.indices)
    target.coefficients.extend(by_row.data)


def import_program(model: mathopt.Model) -> MixedIntegerProgram:
    """Return a MathOpt model as a program; raise :class:`ModelError` for what a program cannot hold."""
    proto = model.export_model()
    for kind in _REFUSED:
        if getattr(proto, kind):
            raise ModelError(f"MathOpt model {proto.name!r}: {kind.replace('_', ' ')} cannot be expressed")
    columns, rows = proto.variables, proto.linear_constraints
    place = np.zeros(max(columns.ids, default=-1) + 1, np.int32)
    place[list(columns.ids)] = np.arange(len(columns.ids))
    row_place = np.zeros(max(rows.ids, default=-1) + 1, np.int32)
    row_place[list(rows.ids)] = np.arange(len(rows.ids))
    cost = np.zeros(len(columns.ids))
    linear = proto.objective.linear_coefficients
    cost[place[list(linear.ids)]] = list(linear.values)
    return MixedIntegerProgram(
        name=proto.name or "mathopt",
        sense=Sense.MAXIMISE if proto.objective.maximize else Sense.MINIMISE,
        cost=cost,
        matrix=_columns_of(proto.linear_constraint_matrix, row_place, place, len(rows.ids), len(columns.ids)),
        row_lower=_floats(rows.lower_bounds),
        row_upper=_floats(rows.upper_bounds),
        lower=_floats(columns.lower_bounds),
        upper=_floats(columns.upper_bounds),
        integer=np.array(columns.integers, np.bool_),
        offset=proto.objective.offset,
        hessian=_hessian_of(proto.objective.quadratic_coefficients, place, len(columns.ids)),
        indicators=tuple(_indicator_of(entry, place) for _, entry in sorted(proto.indicator_constraints.items())),
        column_names=_names(columns.names, "x"),
        row_names=_names(rows.names, "r"),
    )


def _floats(values: Any) -> Floats:
    return np.array(values, np.float64)


def _names(names: Any, letter: str) -> tuple[str, ...]:
    unique = len(set(names)) == len(names)
    return tuple(name or f"{letter}{k}" for k, name in enumerate(names)) if any(names) and unique else ()


def _columns_of(matrix: Any, row_place: Any, place: Any, num_rows: int, num_columns: int) -> SparseColumns:
    where = (row_place[list(matrix.row_ids)], place[list(matrix.column_ids)])
    by_column = sparse.coo_array((_floats(matrix.coefficients), where), shape=(num_rows, num_columns)).tocsc()
    by_column.sum_duplicates()
    return SparseColumns(by_column.indptr.astype(np.int32), by_column.indices.astype(np.int32), by_column.data)


def _hessian_of(matrix: Any, place: Any, num_columns: int) -> SparseColumns | None:
    if not matrix.row_ids:
        return None
    return _columns_of(
        type(matrix)(
            row_ids=matrix.column_ids,
            column_ids=matrix.row_ids,
            coefficients=_floats(matrix.coefficients)
            * np.where(_floats(matrix.row_ids) == _floats(matrix.column_ids), 2.0, 1.0),
        ),
        place,
        place,
        num_columns,
        num_columns,
    )


def _indicator_of(entry: Any, place: Any) -> Indicator:
    return Indicator(
        int(place[entry.indicator_id]),
        not entry.activate_on_zero,
        tuple(int(place[i]) for i in entry.expression.ids),
        tuple(entry.expression.values),
        entry.lower_bound,
        entry.upper_bound,
    )
