"""What only HiGHS's own interface offers: irreducible infeasible subsystems and ranging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.solvers.backends.highs import pass_model
from apportion.solvers.backends.simplex import must, quiet_lp
from apportion.solvers.options import SolveOptions

Positions = NDArray[np.int64]

_FROM_LP, _IRREDUCIBLE = 2, 4
"""Bits of the option ``iis_strategy``."""
_FREE = 1
"""``IisBoundStatus``: above it, a bound of the column takes part."""


def _solver(options: SolveOptions) -> Any:
    solver = quiet_lp()
    must(solver.setOptionValue("presolve", "choose"))
    must(solver.setOptionValue("random_seed", options.seed))
    return solver


def irreducible_subsystem(
    program: MixedIntegerProgram, options: SolveOptions, time_limit_s: float
) -> tuple[Positions, Positions] | None:
    """Rows and columns (for their bounds) of an infeasible linear program that conflict; None when none is found."""
    solver = _solver(options)
    solver.setOptionValue("time_limit", time_limit_s)
    solver.setOptionValue("iis_strategy", _FROM_LP | _IRREDUCIBLE)
    pass_model(solver, program)
    returned, found = solver.getIis()
    if returned == highspy.HighsStatus.kError or not found.valid_:
        return None
    bounded = [j for j, kind in zip(found.col_index_, found.col_bound_, strict=True) if int(kind) > _FREE]
    return np.sort(np.array(found.row_index_, np.int64)), np.sort(np.array(bounded, np.int64))


@dataclass(frozen=True, eq=False)
class Ranges:
    """Duals of an optimal basis and how far limits and costs may move before it changes.

    ``row_*`` have shape (m,), the others (n,).
    """

    objective: float
    values: Floats
    activity: Floats
    row_duals: Floats
    reduced_costs: Floats
    row_lower: Floats
    row_upper: Floats
    cost_lower: Floats
    cost_upper: Floats


def ranges_of(program: MixedIntegerProgram, options: SolveOptions, time_limit_s: float) -> Ranges | None:
    """Solve a linear program and range its optimal basis; None when it has none in time."""
    solver = _solver(options)
    solver.setOptionValue("time_limit", time_limit_s)
    pass_model(solver, program)
    if solver.run() == highspy.HighsStatus.kError or solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    returned, ranging = solver.getRanging()
    if returned == highspy.HighsStatus.kError or not ranging.valid:
        return None
    solution = solver.getSolution()
    return Ranges(
        objective=float(solver.getInfo().objective_function_value),
        values=np.array(solution.col_value, np.float64),
        activity=np.array(solution.row_value, np.float64),
        row_duals=np.array(solution.row_dual, np.float64),
        reduced_costs=np.array(solution.col_dual, np.float64),
        row_lower=np.array(ranging.row_bound_dn.value_, np.float64),
        row_upper=np.array(ranging.row_bound_up.value_, np.float64),
        cost_lower=np.array(ranging.col_cost_dn.value_, np.float64),
        cost_upper=np.array(ranging.col_cost_up.value_, np.float64),
    )
