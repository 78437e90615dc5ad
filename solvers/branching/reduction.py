"""The program as HiGHS's presolve leaves it, the cuts of HiGHS's root, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import highspy
import numpy as np
import scipy.sparse

from apportion.instances.core import Sense
from apportion.instances.program import MixedIntegerProgram, SparseColumns
from apportion.solvers.backends.callbacks import Guard
from apportion.solvers.backends.highs import pass_model, quiet_solver
from apportion.solvers.backends.simplex import must
from apportion.solvers.backends.watch import run_watched
from apportion.solvers.branching.protocol import Floats, Ints
from apportion.solvers.branching.relaxation import Rows
from apportion.solvers.events import Monitor
from apportion.solvers.heuristics.arrays import Problem, problem_of

_Presolve = highspy.HighsPresolveStatus
_Types = highspy.cb.HighsCallbackType
_NAMED = "c"
_WIDE_ROW = 0.04
_MANY_ENTRIES = 40
_DENSE_CUT = 0.25
_FEW_ENTRIES = 100


class Outcome(Enum):
    """What presolve says."""

    SEARCH = auto()
    INFEASIBLE = auto()
    OPEN = auto()
    """Infeasible or unbounded, or not finished."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """A presolved program to be minimised.

    ``offset`` is what its objective leaves out, with the sign of the minimised one. ``origin`` maps its columns to
    those of the original, -1 for none, shape (n,). ``restore`` turns its values into values of the original.
    """

    outcome: Outcome
    problem: Problem
    offset: float
    origin: Ints
    restore: Callable[[Floats], Floats] = field(repr=False)


def unreduced(program: MixedIntegerProgram) -> Reduced:
    """The program itself, without presolve."""
    origin = np.arange(program.num_columns, dtype=np.int64)
    offset = program.sense.sign * program.offset
    return Reduced(Outcome.SEARCH, problem_of(program), offset, origin, lambda values: values)


def reduced(program: MixedIntegerProgram, monitor: Monitor) -> Reduced:
    """Presolve with HiGHS; the reductions keep at least one optimum."""
    solver = _solver(monitor)
    pass_model(solver, program)
    for column in range(program.num_columns):  # presolve keeps the names of the columns that remain
        solver.passColName(column, f"{_NAMED}{column}")
    _watched(solver.presolve, monitor, lambda: None)
    status = solver.getModelPresolveStatus()
    if status == _Presolve.kNotReduced:
        return unreduced(program)
    if status == _Presolve.kInfeasible:
        return _without(program, Outcome.INFEASIBLE)
    if status not in (_Presolve.kReduced, _Presolve.kReducedToEmpty):
        return _without(program, Outcome.OPEN)
    lp = solver.getPresolvedLp()
    small = _program_of(lp, program.name)
    origin = _origins(lp)

    def restore(values: Floats) -> Floats:
        solution = highspy.HighsSolution()
        solution.col_value = values.tolist()
        solution.value_valid = True
        must(solver.postsolve(solution))
        return np.array(solver.getSolution().col_value, np.float64)

    return Reduced(Outcome.SEARCH, problem_of(small), float(lp.offset_), origin, restore)


def _without(program: MixedIntegerProgram, outcome: Outcome) -> Reduced:
    plain = unreduced(program)
    return Reduced(outcome, plain.problem, plain.offset, plain.origin, plain.restore)


def _program_of(lp: Any, name: str) -> MixedIntegerProgram:
    matrix = lp.a_matrix_
    whole = [kind != highspy.HighsVarType.kContinuous for kind in lp.integrality_]
    if not lp.num_col_:
        columns = SparseColumns.empty(0)
    else:
        columns = SparseColumns(
            np.array(matrix.start_, np.int32), np.array(matrix.index_, np.int32), np.array(matrix.value_, np.float64)
        )
    return MixedIntegerProgram(
        name,
        Sense.MINIMISE,
        np.array(lp.col_cost_, np.float64),
        columns,
        np.array(lp.row_lower_, np.float64),
        np.array(lp.row_upper_, np.float64),
        np.array(lp.col_lower_, np.float64),
        np.array(lp.col_upper_, np.float64),
        np.array(whole or np.zeros(lp.num_col_), np.bool_),
    )


def _origins(lp: Any) -> Ints:
    return np.array([int(name[1:]) if name.startswith(_NAMED) else -1 for name in lp.col_names_], np.int64)


@dataclass
class Root:
    """What HiGHS's root gave: cuts, solutions as they came (values of shape (n,)), and its claim when it finished."""

    cuts: Rows
    solutions: list[Floats] = field(default_factory=list)
    infeasible: bool = False


def is_wide(problem: Problem) -> bool:
    """Whether rows hold so many columns that cuts would be dense and cost more than they bring."""
    mean = problem.num_nonzeros / max(1, problem.num_rows)
    return mean >= _MANY_ENTRIES and mean >= _WIDE_ROW * problem.num_columns


def root_cuts(problem: Problem, seed: int, monitor: Monitor) -> Root:
    """Let HiGHS separate cuts at its root, without its presolve, restarts and heuristics, and stop it there.

    Cuts hold for every point that is better than the solutions that come with them.
    """
    root = Root(Rows.none(problem.num_columns))
    if not problem.num_rows or not problem.integer.any():
        return root
    solver = _solver(monitor)
    for name, value in (
        ("presolve", "off"),
        ("random_seed", seed),
        ("mip_max_nodes", 1),
        ("mip_heuristic_effort", 0.0),
        ("mip_allow_restart", False),
        ("mip_detect_symmetry", False),
        ("mip_rel_gap", 0.0),
    ):
        must(solver.setOptionValue(name, value))
    pass_model(solver, _as_program(problem))
    heard = _Listener(solver, root)
    _watched(solver.run, monitor, heard.stop)
    if heard.guard.failed:
        heard.guard.raise_if_failed()
    root.infeasible = solver.getModelStatus() == highspy.HighsModelStatus.kInfeasible and not root.solutions
    return root


def _as_program(problem: Problem) -> MixedIntegerProgram:
    columns = SparseColumns(problem.col_starts.astype(np.int32), problem.col_rows.astype(np.int32), problem.col_values)
    return MixedIntegerProgram(
        "root",
        Sense.MINIMISE,
        problem.cost,
        columns,
        problem.row_lower,
        problem.row_upper,
        problem.lower,
        problem.upper,
        problem.integer,
    )


class _Listener:
    """Takes the cut pool and the solutions of a run, then asks HiGHS to stop."""

    def __init__(self, solver: Any, root: Root) -> None:
        self.guard = Guard()
        self._root = root
        self._stopping = False
        solver.setCallback(self._called, None)
        for kind in (_Types.kCallbackMipGetCutPool, _Types.kCallbackMipImprovingSolution, _Types.kCallbackMipInterrupt):
            solver.startCallback(kind)

    def stop(self) -> None:
        self._stopping = True

    def _called(self, kind: int, _message: str, out: Any, back: Any, _data: object) -> None:
        if kind == int(_Types.kCallbackMipGetCutPool):
            self.guard.run(lambda: self._take(out))
            self._stopping = True
        elif kind == int(_Types.kCallbackMipImprovingSolution):
            self.guard.run(lambda: self._root.solutions.append(np.array(out.mip_solution, np.float64)))
        elif kind == int(_Types.kCallbackMipInterrupt):
            back.user_interrupt = self._stopping or self.guard.failed

    def _take(self, out: Any) -> None:
        columns, many = int(out.cutpool_num_col), int(out.cutpool_num_cut)
        data = (
            np.array(out.cutpool_value, np.float64),
            np.array(out.cutpool_index, np.int64),
            np.array(out.cutpool_start, np.int64)[: many + 1],
        )
        if not many:
            return
        matrix = scipy.sparse.csr_array(data, shape=(many, columns))
        cuts = Rows(matrix, np.array(out.cutpool_lower)[:many], np.array(out.cutpool_upper)[:many])
        entries = np.diff(matrix.indptr)
        self._root.cuts = cuts.kept(np.flatnonzero(entries <= max(_FEW_ENTRIES, _DENSE_CUT * columns)))


def _solver(monitor: Monitor) -> Any:
    solver = quiet_solver()
    for name, value in (("output_flag", False), ("threads", 1), ("parallel", "off")):
        must(solver.setOptionValue(name, value))
    must(solver.setOptionValue("time_limit", monitor.remaining_s))
    return solver


def _watched(work: Callable[[], Any], monitor: Monitor, stop: Callable[[], None]) -> None:
    """Run in a thread of its own, whose scheduler goes with it: threads of HiGHS are fixed per thread."""

    def inside() -> None:
        try:
            work()
        finally:
            highspy._core._Highs.resetThreadScheduler(False)

    run_watched(inside, stop, monitor, Guard())
