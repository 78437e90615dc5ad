"""Why a commitment is impossible: hours first, then the rules of the model that conflict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from apportion.instances.commitment import UnitCommitment
from apportion.instances.core import Plan
from apportion.instances.program import MixedIntegerProgram, SparseColumns
from apportion.models.algebra import Model
from apportion.models.commitment.arrays import formulate
from apportion.models.commitment.screens import screen_hours
from apportion.models.explaining import Diagnosis, Explanation
from apportion.models.program.groups import groups_of_model
from apportion.solvers.options import SolveOptions


def explain_commitment(
    instance: UnitCommitment, options: SolveOptions | None = None, _plan: Plan | None = None
) -> Explanation:
    """Name the hours that cannot be served; when there are none, explain the mathematical model.

    A relaxation changes demand and reserve alone.
    """
    findings = screen_hours(instance)
    if findings:
        return Explanation(instance.name, Diagnosis.INFEASIBLE, findings)
    from apportion.solvers.explain import explain_program

    model = formulate(instance).model
    groups = [group for group in groups_of_model(model) if group.name != "capacity"]
    weights = {group.name: np.inf for group in groups if group.name not in _MAY_CHANGE}
    explained = explain_program(_apart(instance, model), options, groups=groups, weights=weights)
    return replace(explained, name=instance.name)


_MAY_CHANGE = ("demand", "reserve")


def _apart(instance: UnitCommitment, model: Model) -> MixedIntegerProgram:
    """The model with reserve rows less demand rows, so that a change of demand is one change, not two.

    Capacity is implied by the rows that stay, and in the way of changing demand or reserve: its rows hold nothing.
    """
    program = model.compile(names=True)
    row_lower = program.row_lower.copy()
    row_lower[model.constraints["capacity"].rows] = -np.inf
    hours = np.flatnonzero(instance.reserve_mw > 0.0)
    demand, reserve = model.constraints["demand"].rows[hours], model.constraints["reserve"].rows
    row_lower[reserve] = instance.reserve_mw[hours]
    shape = (program.num_rows, program.num_columns)
    given = program.matrix
    matrix = sparse.csc_array((given.values, given.rows, given.starts), shape=shape)
    ones = np.ones(len(hours))
    less = sparse.coo_array((ones, (reserve, demand)), shape=(shape[0], shape[0])).tocsr()
    apart = sparse.csc_array(matrix - less @ matrix)
    apart.eliminate_zeros()
    apart.sort_indices()
    columns = SparseColumns(apart.indptr.astype(np.int32), apart.indices.astype(np.int32), apart.data)
    return replace(program, matrix=columns, row_lower=row_lower)
