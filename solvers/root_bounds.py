"""Root bounds and proofs of infeasibility that are safe: a solver proposes, exact arithmetic judges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns
from apportion.models.program.exact import Positions, columns_of
from apportion.models.program.safe_bound import implied_bounds, safe_dual_bound
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.elastic import elastic_program
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status

_GRIDS = (40, 30, 20, 10)
_SHIFTS = (1e-10, 1e-8, 1e-6, 1e-4, 1e-2)
_MOST_OPEN = 2000
_NEGLIGIBLE = Fraction(1, 10**9)


def root_bound(
    program: MixedIntegerProgram, row_duals: Floats | None = None, options: SolveOptions | None = None
) -> Fraction | None:
    """The best bound of the linear relaxation that exact arithmetic confirms; None when there is none.

    Parameters
    ----------
    program
        Integrality, ordered sets and indicators are left out. A quadratic objective has no such bound here.
    row_duals
        Shape (m,), from any source; found by one LP solve when None.
    options
        Limits, threads and seed of that solve.
    """
    options = options or SolveOptions()
    if program.hessian is not None and program.hessian.num_nonzeros:
        return None
    usable = row_duals is not None and np.shape(row_duals) == (program.num_rows,)
    duals = row_duals if usable else _run(program.relaxed(), options).row_duals
    return None if duals is None else safe_from(program, duals, options)


def prove_infeasible(program: MixedIntegerProgram, options: SolveOptions | None = None) -> bool:
    """Whether a weighted sum of the rows shows in exact arithmetic that no values within the bounds satisfy them.

    The weights are the duals of the least total violation. False proves nothing: the LP may have a plan where the
    integers have none.
    """
    if (program.lower > program.upper).any() or (program.row_lower > program.row_upper).any():
        return True
    relaxed = replace(program.relaxed(), cost=np.zeros(program.num_columns), offset=0.0, hessian=None)
    relaxed = replace(relaxed, sense=Sense.MINIMISE)
    duals = farkas_duals(relaxed, options or SolveOptions())
    if duals is None:
        return False
    bound = safe_from(relaxed, duals, options or SolveOptions())
    return bound is not None and bound > 0


def farkas_duals(program: MixedIntegerProgram, options: SolveOptions) -> Floats | None:
    """Row duals of the least total violation of the rows, shape (m,); None when the solve does not end."""
    elastic = elastic_program(program.relaxed(), np.ones(program.num_rows))
    return _run(elastic.program, options).row_duals


def safe_from(program: MixedIntegerProgram, row_duals: Floats, options: SolveOptions) -> Fraction | None:
    """The best bound among the duals as they are and their repairs; None when no repair makes it finite.

    A column without the bound that its reduced cost asks for makes the bound infinite; rounding alone can do that.
    Repairs, in order until one loses next to nothing: duals on a grid, where sums of small whole coefficients cancel
    exactly; bounds that the rows imply; a step towards duals that leave such columns a margin.
    """
    first = safe_dual_bound(program, row_duals)
    if first.value is not None:
        return first.value
    ideal = _ideal(program, row_duals, first.open_columns)
    sign, best = program.sense.sign, None
    for found in _repaired(program, row_duals, first.open_columns, options):
        if found is not None and (best is None or sign * (found - best) > 0):
            best = found
        if best is not None and sign * (ideal - best) <= _NEGLIGIBLE * max(Fraction(1), abs(ideal)):
            break
    return best


def _ideal(program: MixedIntegerProgram, row_duals: Floats, open_columns: Positions) -> Fraction:
    """What the bound would be if the reduced costs of ``open_columns`` vanished: no bound, a mark to reach."""
    lower, upper = program.lower.copy(), program.upper.copy()
    lower[open_columns], upper[open_columns] = 0.0, 0.0
    value = safe_dual_bound(program, row_duals, lower, upper).value
    return Fraction(0) if value is None else value


def _repaired(
    program: MixedIntegerProgram, row_duals: Floats, open_columns: Positions, options: SolveOptions
) -> Iterator[Fraction | None]:
    for bits in _GRIDS:
        yield safe_dual_bound(program, np.rint(row_duals * 2.0**bits) / 2.0**bits).value
    if len(open_columns) <= _MOST_OPEN:
        lower, upper = implied_bounds(program, open_columns)
        yield safe_dual_bound(program, row_duals, lower, upper).value
    for duals in _shifted(program, row_duals, options):
        yield safe_dual_bound(program, duals).value


def _shifted(program: MixedIntegerProgram, row_duals: Floats, options: SolveOptions) -> Iterator[Floats]:
    """Steps of growing size from ``row_duals`` towards duals inside the dual cone (Steffy and Wolter 2013)."""
    inner = _interior_duals(program, options)
    if inner is None:
        return
    for step in _SHIFTS:
        yield (1.0 - step) * row_duals + step * inner


def _interior_duals(program: MixedIntegerProgram, options: SolveOptions) -> Floats | None:
    """Row duals that give every column with one infinite bound a reduced cost with the right sign and a margin.

    The LP over ``y`` and the margin ``t``: maximise ``t <= 1`` with ``c_j - A_j'y >= t`` where only the lower bound is
    finite, ``<= -t`` where only the upper one is, and ``= 0`` where neither is.
    """
    m, sign = program.num_rows, program.sense.sign
    below, above = np.isfinite(program.lower), np.isfinite(program.upper)
    wanted = np.flatnonzero(~(below & above))
    place = np.full(program.num_columns, -1)
    place[wanted] = np.arange(len(wanted))
    entries = place[columns_of(program.matrix)]
    kept = entries >= 0
    order = np.argsort(program.matrix.rows[kept], kind="stable")
    by_row = np.bincount(program.matrix.rows[kept], minlength=m)
    margin = np.where(below[wanted], 1.0, np.where(above[wanted], -1.0, 0.0))
    marked = np.flatnonzero(margin)
    cost = sign * program.cost[wanted]
    dual = MixedIntegerProgram(
        name=f"inner duals of {program.name}",
        sense=Sense.MAXIMISE,
        cost=np.concatenate((np.zeros(m), [1.0])),
        matrix=SparseColumns(
            np.concatenate(([0], np.cumsum(by_row), [int(by_row.sum()) + len(marked)])).astype(np.int32),
            np.concatenate((entries[kept][order], marked)).astype(np.int32),
            np.concatenate((program.matrix.values[kept][order], margin[marked])),
        ),
        row_lower=np.where(below[wanted], -np.inf, cost),
        row_upper=np.where(above[wanted], np.inf, cost),
        lower=np.concatenate((np.where(np.isfinite(program.row_upper), -np.inf, 0.0), [0.0])),
        upper=np.concatenate((np.where(np.isfinite(program.row_lower), np.inf, 0.0), [1.0])),
        integer=np.zeros(m + 1, np.bool_),
    )
    answer = _run(dual, options)
    if answer.values is None or answer.values[-1] <= 0.0:
        return None
    return sign * answer.values[:m]


def _run(program: MixedIntegerProgram, options: SolveOptions) -> BackendAnswer:
    """One LP solve; what it says is never believed, only used."""
    monitor = Monitor(program.sense, None, options.time_limit_s)
    plain = SolveOptions(options.time_limit_s, threads=options.threads, seed=options.seed)
    answer = backend_named("highs").run(program, plain, monitor)
    return answer if answer.status is not Status.ERROR else replace(answer, values=None, row_duals=None)
