"""HiGHS: linear, mixed-integer and convex quadratic programs, handed over as arrays."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import highspy
import numpy as np

from apportion.instances.core import Sense
from apportion.instances.errors import BackendError, CapabilityError, OptionError
from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.solvers.backends.base import BackendAnswer, Capabilities
from apportion.solvers.backends.callbacks import Guard
from apportion.solvers.backends.companion import Companion
from apportion.solvers.backends.lagrangian import lagrangian_bound
from apportion.solvers.backends.proof import settle
from apportion.solvers.backends.quadratic import objective_at, tangent_bound
from apportion.solvers.backends.registry import BACKENDS, require
from apportion.solvers.backends.small_values import has_small, small_that_matters
from apportion.solvers.backends.trivial import trivial_answer
from apportion.solvers.backends.watch import run_watched
from apportion.solvers.convexity import is_convex
from apportion.solvers.events import Monitor
from apportion.solvers.options import Setting, SolveOptions
from apportion.solvers.status import Bounds, Limit, Status

Native: Any = highspy.HighsModelStatus
STATUS: dict[Any, tuple[Status, Limit | None]] = {
    Native.kNotset: (Status.ERROR, None),
    Native.kLoadError: (Status.ERROR, None),
    Native.kModelError: (Status.ERROR, None),
    Native.kPresolveError: (Status.ERROR, None),
    Native.kSolveError: (Status.ERROR, None),
    Native.kPostsolveError: (Status.ERROR, None),
    Native.kModelEmpty: (Status.OPTIMAL, None),
    Native.kOptimal: (Status.OPTIMAL, None),
    Native.kInfeasible: (Status.INFEASIBLE, None),
    Native.kUnboundedOrInfeasible: (Status.INFEASIBLE_OR_UNBOUNDED, None),
    Native.kUnbounded: (Status.UNBOUNDED, None),
    Native.kObjectiveBound: (Status.NO_SOLUTION, Limit.OBJECTIVE),
    Native.kObjectiveTarget: (Status.NO_SOLUTION, Limit.OBJECTIVE),
    Native.kTimeLimit: (Status.NO_SOLUTION, Limit.TIME),
    Native.kIterationLimit: (Status.NO_SOLUTION, Limit.ITERATIONS),
    Native.kUnknown: (Status.NO_SOLUTION, Limit.OTHER),
    Native.kSolutionLimit: (Status.NO_SOLUTION, Limit.NODES),
    Native.kInterrupt: (Status.NO_SOLUTION, Limit.INTERRUPTED),
    Native.kMemoryLimit: (Status.NO_SOLUTION, Limit.MEMORY),
    Native.kHighsInterrupt: (Status.NO_SOLUTION, Limit.INTERRUPTED),
}
"""Every native code; ``NO_SOLUTION`` becomes ``FEASIBLE`` when a feasible point comes with it."""

LETTERS = dict.fromkeys("CFHIJRYZlpuz", "H") | {"B": "T", "T": "T", "P": "T", "L": "L", "S": "R", "U": "R", "X": "S"}
"""The letter that HiGHS prints before an incumbent -> ours."""

_SOURCE = re.compile(r"^ ([A-Za-z])\s+\d")
_START_TAKEN = "MIP start solution is feasible"
_INFINITE = 1e20
_NEGLIGIBLE = 1e-9
_DROPPED = 1e-9
_LEAST_DROPPED = 1e-12
_DUAL_TOLERANCE = 1e-6
_CERTIFIED = 1e-6
_OWN = {"output_flag", "log_to_console", "log_file", "threads", "random_seed", "time_limit", "mip_rel_gap"}
_Types = highspy.cb.HighsCallbackType
_INTERRUPTS = frozenset(
    int(kind)
    for kind in (
        _Types.kCallbackSimplexInterrupt,
        _Types.kCallbackIpmInterrupt,
        _Types.kCallbackMipInterrupt,
        _Types.__members__.get("kHighsCallbackQpInterrupt", _Types.kCallbackMipInterrupt),
    )
)


class Highs:
    """HiGHS behind the protocol of :class:`~apportion.solvers.backends.base.Backend`.

    A ``companion`` gets the incumbents of a mixed-integer program, turns to work, and may offer better points.
    """

    name: str = "highs"
    capabilities: Capabilities = BACKENDS["highs"].capabilities

    def __init__(self, companion: Companion | None = None) -> None:
        self._companion = companion

    def run(
        self,
        program: MixedIntegerProgram,
        options: SolveOptions,
        monitor: Monitor,
        start: Floats | None = None,
    ) -> BackendAnswer:
        """Solve ``program``; see :meth:`~apportion.solvers.backends.base.Backend.run`.

        A continuous program takes no start (a line in the log says so). A quadratic objective must be convex.

        Raises
        ------
        CapabilityError
            For ordered sets, indicators, a quadratic objective that is not convex or comes with integers.
        OptionError
            For an unknown setting or a wrong value.
        BackendError
            When another thread count was fixed before, or HiGHS refuses the model.
        """
        require(program, self)
        _require_convex(program)
        solver = quiet_solver()
        _apply(solver, program, options)
        answer = trivial_answer(program)
        if answer is not None:
            return answer
        pass_model(solver, program)
        _pass_start(solver, program, start, monitor)
        answer = _run(solver, program, options, monitor, self._companion)
        if _doubtful(program, answer) and "qp_regularization_value" not in options.highs.settings:
            solver.clearSolver()
            solver.setOptionValue("qp_regularization_value", 0.0)
            answer = _run(solver, program, options, monitor, self._companion)
        return answer


def _run(
    solver: Any,
    program: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    companion: Companion | None = None,
) -> BackendAnswer:
    solver.setOptionValue("time_limit", monitor.remaining_s)
    listener = _Listener(solver, program.is_mixed_integer, monitor, companion)
    returned: list[Any] = []
    run_watched(lambda: returned.append(_run_here(solver)), listener.stop, monitor, listener.guard)
    listener.finish()
    if returned[0] == highspy.HighsStatus.kError or solver.getModelStatus() == Native.kNotset:
        _explain_failure(solver, listener, options)
    return _answer(solver, program, options, monitor)


def _run_here(solver: Any) -> Any:
    """Run in a thread made for it: its scheduler, which fixes the number of threads, goes when the thread does."""
    try:
        return solver.run()
    finally:
        highspy._core._Highs.resetThreadScheduler(False)


def _doubtful(program: MixedIntegerProgram, answer: BackendAnswer) -> bool:
    """Whether HiGHS called a quadratic program optimal and its own duals do not prove it.

    Its regularisation adds ``1e-7 |x|^2 / 2`` to the objective: harmless near the origin, wrong far from it, and an
    unbounded program then seems to have an optimum.
    """
    return program.hessian is not None and answer.limit is Limit.OTHER and answer.values is not None


def quiet_solver() -> Any:
    """A solver that prints nothing, not even its banner: the log goes through the callback."""
    solver = highspy._core._Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("log_to_console", False)
    solver.setOptionValue("output_flag", True)
    return solver


def _apply(solver: Any, program: MixedIntegerProgram, options: SolveOptions) -> None:
    block = options.highs
    threads = 1 if options.deterministic else options.threads
    own: dict[str, Setting] = {
        "threads": threads,
        "random_seed": options.seed,
        "mip_rel_gap": options.gap,
        "presolve": "choose" if block.presolve else "off",
    }
    if threads == 1:
        own["parallel"] = "off"
    if options.node_limit is not None and program.is_mixed_integer:
        own["mip_max_nodes"] = options.node_limit
    if block.mip_heuristic_effort is not None:
        own["mip_heuristic_effort"] = block.mip_heuristic_effort
    for name, value in own.items():
        _set(solver, name, value)
    for name, value in _checked(solver, block.settings).items():
        _set(solver, name, value)


def _checked(solver: Any, settings: Mapping[str, Setting]) -> Mapping[str, Setting]:
    for name in settings:
        if name in _OWN:
            raise OptionError(f"highs setting {name!r} is set by a field of SolveOptions\nMaybe {_own_field(name)}")
        if solver.getOptionType(name)[0] != highspy.HighsStatus.kOk:
            known = _known_settings(solver)
            near = difflib.get_close_matches(name, known, n=3) or ["see the list of options of HiGHS"]
            raise OptionError(f"unknown highs setting {name!r}\nMaybe {', '.join(near)}")
    return settings


def _own_field(name: str) -> str:
    fields = {"random_seed": "seed", "time_limit": "time_limit_s", "mip_rel_gap": "gap", "threads": "threads"}
    return fields.get(name, "listener=, which receives every log line")


def _known_settings(solver: Any) -> list[str]:
    options = highspy.HighsOptions()
    return [n for n in dir(options) if not n.startswith("_") and solver.getOptionType(n)[0] == highspy.HighsStatus.kOk]


def _set(solver: Any, name: str, value: Setting) -> None:
    returned, kind = solver.getOptionType(name)
    wanted = bool if kind == highspy._core.HighsOptionType.kBool else None
    mismatched = wanted is bool and not isinstance(value, bool)
    if returned == highspy.HighsStatus.kOk and not mismatched:
        returned = solver.setOptionValue(name, value)
    if returned == highspy.HighsStatus.kError or mismatched:
        now = solver.getOptionValue(name)[1]
        raise OptionError(f"highs setting {name} cannot be {value!r}\nMaybe a {type(now).__name__} such as {now!r}")


def _require_convex(program: MixedIntegerProgram) -> None:
    if program.hessian is None or not program.hessian.num_nonzeros:
        return
    if not is_convex(program):
        shape = "convex" if program.sense is Sense.MINIMISE else "concave"
        message = f"highs needs a {shape} objective to {program.sense} (program {program.name!r})"
        raise CapabilityError(f"{message}\nMaybe backend 'scip'")


def pass_model(solver: Any, program: MixedIntegerProgram) -> None:
    """Hand the arrays over, without a loop over rows or columns; raise what HiGHS says when it refuses them."""
    matrix, hessian = program.matrix, program.hessian
    _keep_small_values(solver, program)
    integrality = program.integer.astype(np.int32)
    quadratic = hessian is not None and hessian.num_nonzeros > 0
    returned = solver.passModel(
        program.num_columns,
        program.num_rows,
        matrix.num_nonzeros,
        hessian.num_nonzeros if quadratic and hessian is not None else 0,
        int(highspy.MatrixFormat.kColwise),
        int(highspy.HessianFormat.kTriangular),
        program.sense.sign,
        program.offset,
        program.cost,
        program.lower,
        np.maximum(program.lower, program.upper),
        program.row_lower,
        np.maximum(program.row_lower, program.row_upper),
        matrix.starts,
        matrix.rows,
        matrix.values,
        hessian.starts if quadratic and hessian is not None else np.zeros(1, np.int32),
        hessian.rows if quadratic and hessian is not None else np.zeros(0, np.int32),
        hessian.values if quadratic and hessian is not None else np.zeros(0),
        integrality,
    )
    if returned == highspy.HighsStatus.kError:
        raise BackendError(f"highs refuses the model {program.name!r}{_suspicion(program)}")


def _keep_small_values(solver: Any, program: MixedIntegerProgram) -> None:
    """HiGHS drops coefficients up to its ``small_matrix_value``: lower it, or refuse what would change the model."""
    if not has_small(program, _DROPPED):
        return
    _set(solver, "small_matrix_value", _LEAST_DROPPED)
    name = small_that_matters(program, _LEAST_DROPPED)
    if name:
        message = f"highs drops coefficients up to {_LEAST_DROPPED:g}, and variable {name} has one that matters"
        raise CapabilityError(f"{message}\nMaybe scale the variable or its row")


def _suspicion(program: MixedIntegerProgram) -> str:
    largest = float(np.abs(program.matrix.values).max(initial=0.0))
    dearest = float(np.abs(program.cost).max(initial=0.0))
    return f"\nMaybe scale it: the largest coefficient is {largest:g}, the largest cost {dearest:g}"


def _pass_start(solver: Any, program: MixedIntegerProgram, start: Floats | None, monitor: Monitor) -> None:
    if start is None:
        return
    if not program.is_mixed_integer:
        monitor.log("highs takes no start for a continuous program: left out")
        return
    known = np.flatnonzero(np.isfinite(start)).astype(np.int32)
    values = np.clip(start[known], program.lower[known], program.upper[known])
    if len(known) and solver.setSolution(len(known), known, values) == highspy.HighsStatus.kError:
        monitor.log("highs refuses the start")


class _Listener:
    """Turns HiGHS's callbacks into events and asks it to stop."""

    def __init__(self, solver: Any, mixed_integer: bool, monitor: Monitor, companion: Companion | None = None) -> None:
        self.guard = Guard()
        self.complaints: list[str] = []
        self._monitor = monitor
        self._mixed_integer = mixed_integer
        self._companion = companion if mixed_integer else None
        self._pending: float | None = None
        self._unsourced = "H"
        self._stopping = False
        solver.setCallback(self._called, None)
        kinds = [int(_Types.kCallbackLogging), *sorted(_INTERRUPTS)]
        if mixed_integer:
            kinds += [int(_Types.kCallbackMipImprovingSolution), int(_Types.kCallbackMipLogging)]
        if self._companion is not None:
            kinds.append(int(_Types.kCallbackMipUserSolution))
        for kind in kinds:
            solver.startCallback(_Types(kind))
        self._solver = solver

    def _called(self, kind: int, message: str, out: Any, back: Any, _data: object) -> None:
        self.guard.run(lambda: self._heard(kind, message, out))
        companion = self._companion
        if companion is not None:
            self.guard.run(lambda: _consult(companion, kind, out, back))
        if kind in _INTERRUPTS:
            back.user_interrupt = self.guard.failed or self._stopping or self._monitor.should_stop

    def stop(self) -> None:
        """Ask HiGHS to stop at its next callback."""
        self._stopping = True

    def _heard(self, kind: int, message: str, out: Any) -> None:
        if kind == int(_Types.kCallbackLogging):
            self._log(message, out)
            return
        if kind == int(_Types.kCallbackMipImprovingSolution):
            self._flush()
            self._pending = out.objective_function_value
            return
        if self._mixed_integer:
            if kind == int(_Types.kCallbackMipLogging):
                self._flush()
                self._monitor.node(max(0, out.mip_node_count))
            if abs(out.mip_dual_bound) < _INFINITE:
                self._monitor.bound(out.mip_dual_bound)

    def _log(self, message: str, out: Any) -> None:
        if out.log_type in (highspy._core.HighsLogType.kError, highspy._core.HighsLogType.kWarning):
            self.complaints.append(message.strip())
        if _START_TAKEN in message:
            self._unsourced = "S"
        source = _SOURCE.match(message)
        if source:
            self._flush(LETTERS.get(source.group(1), "H"))
        if self._monitor.listener is not None:
            for line in message.splitlines():
                if line.strip():
                    self._monitor.log(line, "highs")

    def _flush(self, letter: str = "") -> None:
        """Report the incumbent that waits for the log line with its source; a start has no such line."""
        if self._pending is not None:
            self._monitor.incumbent(self._pending, letter or self._unsourced)
            self._pending, self._unsourced = None, "H"

    def finish(self) -> None:
        """Cut the callbacks off, report what waits, and raise what a callback raised."""
        for kind in _Types.__members__.values():
            if int(_Types.kCallbackMin) <= int(kind) <= int(_Types.kCallbackMax):
                self._solver.stopCallback(kind)
        self.guard.run(self._flush)
        self.guard.raise_if_failed()


def _consult(companion: Companion, kind: int, out: Any, back: Any) -> None:
    """Give the companion what HiGHS tells, and HiGHS what the companion offers."""
    if kind == int(_Types.kCallbackMipImprovingSolution):
        companion.heard(np.array(out.mip_solution, np.float64))
    elif kind in _INTERRUPTS:
        companion.turn()
    elif kind == int(_Types.kCallbackMipUserSolution):
        companion.turn()
        values = companion.offer()
        if values is not None:
            back.setSolution(values)


def _explain_failure(solver: Any, listener: _Listener, options: SolveOptions) -> None:
    said = " ".join(listener.complaints) or solver.modelStatusToString(solver.getModelStatus())
    if "scheduler" in said:
        message = f"highs cannot run with threads={options.threads}: an earlier solve of this process fixed another"
        raise BackendError(f"{message} ({said})\nMaybe the same threads= for every solve, or another process")
    raise BackendError(f"highs failed: {said}")


def _answer(solver: Any, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor) -> BackendAnswer:
    native = solver.getModelStatus()
    status, limit = STATUS[native]
    info, solution = solver.getInfo(), solver.getSolution()
    feasible = info.primal_solution_status == highspy.kSolutionStatusFeasible
    values = None
    if status in (Status.OPTIMAL, Status.NO_SOLUTION) and feasible:
        values = np.array(solution.col_value, np.float64)
        status = Status.FEASIBLE if status is Status.NO_SOLUTION else status
    if status is Status.OPTIMAL and values is None:
        raise BackendError("highs claims an optimum and gives no feasible point")
    if status is Status.UNBOUNDED and program.is_mixed_integer and not feasible:
        status = Status.INFEASIBLE_OR_UNBOUNDED
    if limit is Limit.INTERRUPTED and not monitor.cancelled.is_set():
        limit = Limit.TIME
    if limit is Limit.NODES and options.node_limit is None:
        limit = Limit.SOLUTIONS
    if limit is Limit.OTHER and monitor.should_stop:
        limit = Limit.INTERRUPTED if monitor.cancelled.is_set() else Limit.TIME
    dual_valid = not program.is_mixed_integer and bool(solution.dual_valid)
    row_duals = np.array(solution.row_dual, np.float64) if dual_valid else None
    reduced = np.array(solution.col_dual, np.float64) if dual_valid else None
    bounds = _bounds(program, info, status, values, row_duals)
    status, limit = settle(status, limit, bounds, options.gap)
    return BackendAnswer(
        status=status,
        bounds=bounds,
        limit=limit,
        values=values,
        row_duals=row_duals if status is Status.OPTIMAL else None,
        reduced_costs=reduced if status is Status.OPTIMAL else None,
        counts=_counts(info, program.is_mixed_integer),
        native_status=solver.modelStatusToString(native),
    )


def _bounds(
    program: MixedIntegerProgram, info: Any, status: Status, values: Floats | None, row_duals: Floats | None
) -> Bounds:
    """Only what is proven: the dual side of a program stopped early comes from its own duals, never from hope."""
    unknown = Bounds.unknown(program.sense)
    if status in (Status.INFEASIBLE, Status.UNBOUNDED, Status.INFEASIBLE_OR_UNBOUNDED, Status.ERROR):
        return unknown
    primal = unknown.primal if values is None else float(info.objective_function_value)
    if program.is_mixed_integer:
        known = abs(info.mip_dual_bound) < _INFINITE
        return Bounds(primal, float(info.mip_dual_bound) if known else unknown.dual)
    if program.hessian is not None:
        if values is None or row_duals is None:
            return Bounds(primal, unknown.dual)
        return Bounds(objective_at(program, values), _quadratic_dual(program, values, row_duals, status))
    if status is Status.OPTIMAL:
        return Bounds(primal, primal)
    return Bounds(primal, unknown.dual if row_duals is None else lagrangian_bound(program, row_duals))


def _quadratic_dual(program: MixedIntegerProgram, values: Floats, row_duals: Floats, status: Status) -> float:
    """The bound of the tangent; equal to the primal one when that is optimal and they differ by rounding."""
    optimal = status is Status.OPTIMAL
    dual = tangent_bound(program, values, row_duals, _DUAL_TOLERANCE if optimal else _NEGLIGIBLE)
    primal = objective_at(program, values)
    close = abs(dual - primal) <= _CERTIFIED * max(1.0, abs(primal))
    return primal if optimal and close else dual


def _counts(info: Any, mixed_integer: bool) -> dict[str, int]:
    iterations = (
        max(0, info.simplex_iteration_count)
        + max(0, info.ipm_iteration_count)
        + max(0, info.qp_iteration_count)
        + max(0, info.pdlp_iteration_count)
    )
    counts = {"iterations": int(iterations)}
    if mixed_integer:
        counts["nodes"] = max(0, int(info.mip_node_count))
    return counts
