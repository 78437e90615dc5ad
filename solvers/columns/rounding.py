"""Integer solutions from a relaxation over columns: the restricted master as an integer program, and a dive."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np

from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram, SparseColumns
from apportion.solvers.backends import backend_named
from apportion.solvers.columns.formulation import Column, Formulation, Ints
from apportion.solvers.columns.generation import Ended, Generated, Smoothing, generate
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions

_WHOLE = 1e-6
_TOLERANCE = 1e-6
_MASTER_NODES = 300
_MASTER_S = 10.0
_MOST_COLUMNS = 3_000


def is_whole(values: Floats) -> bool:
    """Whether all ``values`` are whole numbers.

    >>> is_whole(np.array([1.0, 2.0000001])), is_whole(np.array([0.5]))
    (True, False)
    """
    return bool((np.abs(values - np.round(values)) <= _WHOLE).all())


def repeat(columns: Sequence[Column], values: Floats) -> list[Column]:
    """Each column as often as its rounded value says."""
    counts = np.round(values).astype(np.int64)
    return [column for column, count in zip(columns, counts, strict=True) for _ in range(count)]


def solves(formulation: Formulation, chosen: Sequence[Column]) -> bool:
    """Whether the columns, each used once per mention, meet every row and every block."""
    activity = np.zeros(formulation.num_rows)
    used = np.zeros(formulation.num_blocks)
    for column in chosen:
        activity[column.rows] += column.values
        used[column.block] += 1
    return bool(
        (activity >= formulation.row_lower - _TOLERANCE).all()
        and (activity <= formulation.row_upper + _TOLERANCE).all()
        and (used >= formulation.block_least).all()
        and (used <= formulation.block_most).all()
    )


def restricted_program(formulation: Formulation, columns: Sequence[Column]) -> MixedIntegerProgram:
    """The master over ``columns`` alone as an integer program."""
    base = formulation.num_rows
    lengths = [len(c.rows) + 1 for c in columns]
    return MixedIntegerProgram(
        name="restricted master",
        sense=Sense.MINIMISE,
        cost=np.array([c.cost for c in columns]),
        matrix=SparseColumns(
            np.concatenate(([0], np.cumsum(lengths))).astype(np.int32),
            np.concatenate([np.append(c.rows, base + c.block) for c in columns]).astype(np.int32),
            np.concatenate([np.append(c.values, 1.0) for c in columns]),
        ),
        row_lower=np.concatenate((formulation.row_lower, formulation.block_least)),
        row_upper=np.concatenate((formulation.row_upper, formulation.block_most)),
        lower=np.zeros(len(columns)),
        upper=np.full(len(columns), inf),
        integer=np.ones(len(columns), np.bool_),
    )


def restricted_master(
    formulation: Formulation, generated: Generated, options: SolveOptions, monitor: Monitor
) -> list[Column] | None:
    """The best integer solution over the columns generated, as far as a few hundred nodes of HiGHS find it."""
    columns = nearest(generated, _MOST_COLUMNS)
    if not columns:
        return None
    program = restricted_program(formulation, columns)
    limit = inf if options.deterministic else min(_MASTER_S, 0.25 * monitor.remaining_s)
    if limit <= 0.0:
        return None
    silent = Monitor(Sense.MINIMISE, None, limit, monitor.cancelled)
    nodes = _MASTER_NODES if options.node_limit is None else max(1, min(_MASTER_NODES, options.node_limit))
    ours = SolveOptions(seed=options.seed, gap=options.gap, node_limit=nodes, deterministic=options.deterministic)
    answer = backend_named("highs").run(program, ours, silent)
    return None if answer.values is None else repeat(columns, answer.values)


def nearest(generated: Generated, most: int) -> list[Column]:
    """The ``most`` columns of least reduced cost, all when they are few."""
    columns = generated.columns
    if len(columns) <= most:
        return columns
    reduced = np.array([c.reduced_cost(generated.duals) for c in columns])
    kept = np.argsort(reduced, kind="stable")[:most]
    return [columns[j] for j in sorted(kept.tolist())]


def dive(
    formulation: Formulation, generated: Generated, monitor: Monitor, cutoff: float, smoothing: Smoothing
) -> tuple[list[Column] | None, list[Column]]:
    """Fix whole parts, or the largest fraction, generate columns for the rest, and so on.

    The columns made on the way suit what is left, which rounding of the first relaxation lacks (Sadykov, Vanderbeck,
    Pessoa, Tahiri and Uchoa 2019, Primal heuristics for branch and price, INFORMS Journal on Computing 31). Returned
    are the solution, if any, and all columns known at the end.
    """
    chosen: list[Column] = []
    pool = {c.key: c for c in generated.columns}
    rest = generated
    while rest.used and formulation.fixing is not None and not monitor.should_stop:
        fixed, counts = _largest(rest)
        chosen += [column for column, count in zip(fixed, counts.tolist(), strict=True) for _ in range(count)]
        spent = sum(c.cost for c in chosen)
        branch = formulation.fixing.fix(fixed, counts, rest.columns)
        if branch is None or spent >= cutoff:
            break
        formulation = branch.formulation
        if not (formulation.row_lower > _TOLERANCE).any() and not (formulation.block_least > 0).any():
            return chosen, list(pool.values())
        rest = generate(formulation, branch.columns, monitor, cutoff=cutoff - spent, smoothing=smoothing)
        pool.update((c.key, c) for c in rest.columns)
        if rest.ended is not Ended.CONVERGED:
            break
        if is_whole(rest.values):
            return chosen + repeat(rest.used, rest.values), list(pool.values())
    return None, list(pool.values())


def _largest(generated: Generated) -> tuple[list[Column], Ints]:
    """The columns with a whole part and these parts; without any, the one with the largest fraction."""
    counts = np.floor(generated.values + _WHOLE).astype(np.int64)
    if not counts.any():
        counts[int(np.argmax(generated.values))] = 1
    fixed = np.flatnonzero(counts)
    return [generated.used[j] for j in fixed.tolist()], counts[fixed]
