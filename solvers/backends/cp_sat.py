"""CP-SAT: bounded integer programs, and constraint models that users bring."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from ortools.sat.python import cp_model

from apportion.instances.errors import BackendError, OptionError
from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.models.conversion.cp_sat import CpSatProgram, to_cp_sat
from apportion.solvers.backends.base import BackendAnswer, Capabilities
from apportion.solvers.backends.callbacks import Guard
from apportion.solvers.backends.companion import Companion
from apportion.solvers.backends.proof import settle
from apportion.solvers.backends.registry import BACKENDS, require
from apportion.solvers.backends.trivial import trivial_answer
from apportion.solvers.backends.watch import run_watched
from apportion.solvers.events import Monitor
from apportion.solvers.options import Setting, SolveOptions
from apportion.solvers.status import Bounds, Limit, Status

Native = cp_model.CpSolverStatus
STATUS: dict[Any, tuple[Status, Limit | None]] = {
    Native.UNKNOWN: (Status.NO_SOLUTION, Limit.OTHER),
    Native.MODEL_INVALID: (Status.ERROR, None),
    Native.FEASIBLE: (Status.FEASIBLE, Limit.OTHER),
    Native.INFEASIBLE: (Status.INFEASIBLE, None),
    Native.OPTIMAL: (Status.OPTIMAL, None),
}
"""Every native code; which limit it was is told by the clock, the cancel flag and the conflicts."""

_OWN = {
    "max_time_in_seconds": "time_limit_s",
    "relative_gap_limit": "gap",
    "num_workers": "threads",
    "num_search_workers": "threads",
    "random_seed": "seed",
    "log_search_progress": "listener=, which receives every log line",
    "log_to_stdout": "listener=, which receives every log line",
}
_LONGEST_S = 1e9
_FINEST = 1e-3
_LOCAL_SEARCH = ("ls", "lns", "rins", "rens", "violation", "jump", "fj", "feasibility_pump")


@dataclass(frozen=True, eq=False)
class CpAnswer:
    """What CP-SAT found for a model of its own: ``solution`` has one whole number per variable, or is None."""

    status: Status
    bounds: Bounds
    limit: Limit | None
    solution: tuple[int, ...] | None
    counts: Mapping[str, int]
    native_status: str


class CpSat:
    """CP-SAT behind the protocol of :class:`~apportion.solvers.backends.base.Backend`.

    A ``companion`` hears the incumbents; CP-SAT takes none while it runs and gives no turns.
    """

    name: str = "cp-sat"
    capabilities: Capabilities = BACKENDS["cp-sat"].capabilities

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

        ``options.node_limit`` counts conflicts here: CP-SAT has no nodes.

        Raises
        ------
        CapabilityError
            For continuous or unbounded columns, ordered sets, a quadratic objective, or coefficients that cannot be
            made whole.
        OptionError
            For an unknown setting or a wrong value.
        """
        require(program, self)
        parameters = _parameters(options, monitor)
        answer = trivial_answer(program)
        if answer is not None:
            return answer
        converted = to_cp_sat(program, options.cp_sat.coefficient_scale)
        _hint(converted.model.proto, program, start)
        finest = min(1.0, max(_FINEST, 1.0 / converted.objective_scale))
        parameters.relative_gap_limit = options.gap * finest
        found = _search(converted.model, parameters, options, monitor, converted.objective_slack, self._companion)
        return _as_backend_answer(program, converted, found, options)


def solve_cp_model(model: cp_model.CpModel, options: SolveOptions, monitor: Monitor) -> CpAnswer:
    """Solve a CP-SAT model that a user brings; ``monitor.sense`` must be that of its objective.

    Raises
    ------
    OptionError
        For an unknown setting or a wrong value.
    """
    return _search(model, _parameters(options, monitor), options, monitor, 0.0)


def _parameters(options: SolveOptions, monitor: Monitor) -> Any:
    parameters = cp_model.SatParameters()
    parameters.num_workers = options.threads
    parameters.random_seed = options.seed
    parameters.relative_gap_limit = options.gap
    parameters.cp_model_presolve = options.cp_sat.presolve
    parameters.log_to_stdout = False
    parameters.catch_sigint_signal = False
    parameters.log_search_progress = monitor.listener is not None
    if isfinite(monitor.time_limit_s):
        parameters.max_time_in_seconds = min(_LONGEST_S, monitor.remaining_s)
    if options.deterministic and options.threads > 1:
        parameters.interleave_search = True
    if options.node_limit is not None:
        parameters.max_number_of_conflicts = options.node_limit
    for name, value in options.cp_sat.settings.items():
        _set(parameters, name, value)
    return parameters


def _set(parameters: Any, name: str, value: Setting) -> None:
    if name in _OWN:
        raise OptionError(f"cp-sat setting {name!r} is set by a field of SolveOptions\nMaybe {_OWN[name]}")
    known = [field for field in dir(parameters) if not field.startswith(("_", "clear_", "has_"))]
    if name not in known or callable(getattr(parameters, name)):
        near = difflib.get_close_matches(name, known, n=3) or ["a field of SatParameters"]
        raise OptionError(f"unknown cp-sat setting {name!r}\nMaybe {', '.join(near)}")
    now = getattr(parameters, name)
    choices: Mapping[str, Any] = getattr(type(now), "__members__", {})
    shown = ", ".join(choices) or f"a {type(now).__name__} such as {now!r}"
    wrong = OptionError(f"cp-sat setting {name} cannot be {value!r}\nMaybe {shown}")
    if choices and value not in choices:
        raise wrong
    if not choices and isinstance(now, bool) != isinstance(value, bool):
        raise wrong
    try:
        setattr(parameters, name, choices[str(value)] if choices else value)
    except TypeError as error:
        raise wrong from error


def _hint(proto: Any, program: MixedIntegerProgram, start: Floats | None) -> None:
    if start is None:
        return
    known = np.flatnonzero(np.isfinite(start))
    values = np.clip(np.round(start[known]), np.ceil(program.lower[known]), np.floor(program.upper[known]))
    proto.solution_hint.vars.extend(known.tolist())
    proto.solution_hint.values.extend(values.astype(np.int64).tolist())


class _Incumbents(cp_model.CpSolverSolutionCallback):  # type: ignore[misc]
    """Reports every improving solution with a letter for the worker that found it."""

    def __init__(self, guard: Guard, monitor: Monitor, companion: Companion | None = None) -> None:
        super().__init__()
        self._guard = guard
        self._monitor = monitor
        self._companion = companion

    def on_solution_callback(self) -> None:
        """Called by CP-SAT."""
        self._guard.run(self._report)

    def _report(self) -> None:
        response = self.Response()
        letter = letter_of(response.solution_info)
        self._monitor.incumbent(response.objective_value, letter, response.solution_info)
        if self._companion is not None:
            self._companion.heard(np.array(response.solution, np.float64))


def letter_of(worker: str) -> str:
    """Our letter for the name that CP-SAT gives to the worker that found a solution.

    >>> letter_of("complete_hint"), letter_of("rins_lns"), letter_of("main")
    ('S', 'L', 'T')
    """
    name = worker.lower()
    if "hint" in name:
        return "S"
    parts = name.replace("(", "_").replace(" ", "_").split("_")
    if any(part in _LOCAL_SEARCH for part in parts):
        return "L"
    return "R" if "lp" in parts and "lb" in parts else "T"


def _search(
    model: Any,
    parameters: Any,
    options: SolveOptions,
    monitor: Monitor,
    slack: float,
    companion: Companion | None = None,
) -> CpAnswer:
    guard = Guard()
    solver = cp_model.CpSolver()
    solver.parameters = parameters
    with_objective = model.has_objective()
    bounds = _Bounds(monitor, slack)
    if with_objective:
        solver.best_bound_callback = lambda bound: guard.run(lambda: bounds.heard(bound))
    if monitor.listener is not None:
        solver.log_callback = lambda text: guard.run(lambda: _log(monitor, text))
    callback = _Incumbents(guard, monitor, companion) if with_objective else None
    run_watched(lambda: _ignore(solver.solve(model, callback)), solver.stop_search, monitor, guard)
    native = solver.response_proto.status
    if native == Native.MODEL_INVALID:
        raise BackendError(f"cp-sat refuses the model: {model.validate() or 'it gives no reason'}")
    return _cp_answer(solver.response_proto, native, options, monitor, bounds if with_objective else None)


def _ignore(_status: Any) -> None:
    """The response holds the status."""


class _Bounds:
    """Widens the bounds of CP-SAT by what rounding the objective may be off, and keeps the best."""

    def __init__(self, monitor: Monitor, slack: float) -> None:
        self._monitor = monitor
        self._slack = monitor.sense.sign * slack
        self.best = Bounds.unknown(monitor.sense).dual

    def heard(self, bound: float) -> None:
        """Report a bound."""
        sign = self._monitor.sense.sign
        self.best = sign * max(sign * self.best, sign * self.widened(bound))
        self._monitor.bound(self.best)

    def widened(self, bound: float) -> float:
        """The bound on the true objective."""
        return bound - self._slack


def _log(monitor: Monitor, text: str) -> None:
    for line in text.splitlines():
        if line.strip():
            monitor.log(line, "cp-sat")


def _cp_answer(response: Any, native: Any, options: SolveOptions, monitor: Monitor, heard: _Bounds | None) -> CpAnswer:
    status, limit = STATUS[native]
    bounds = Bounds.unknown(monitor.sense)
    if status.has_plan and heard is None:
        bounds = Bounds(0.0, 0.0)
    elif status.has_plan and heard is not None:
        bounds = Bounds(float(response.objective_value), heard.widened(float(response.best_objective_bound)))
    elif status is Status.NO_SOLUTION and heard is not None:
        bounds = Bounds(bounds.primal, heard.best)
    if limit is Limit.OTHER:
        limit = _limit(response, options, monitor)
    counts = {"nodes": int(response.num_branches), "conflicts": int(response.num_conflicts)}
    solution = tuple(int(v) for v in response.solution) if status.has_plan else None
    return CpAnswer(status, bounds, limit, solution, counts, native.name)


def _limit(response: Any, options: SolveOptions, monitor: Monitor) -> Limit:
    if monitor.cancelled.is_set():
        return Limit.INTERRUPTED
    if monitor.remaining_s <= 0.0:
        return Limit.TIME
    if options.node_limit is not None and response.num_conflicts >= options.node_limit:
        return Limit.NODES
    near_the_end = response.wall_time >= monitor.time_limit_s * 0.9
    return Limit.TIME if near_the_end else Limit.OTHER


def _as_backend_answer(
    program: MixedIntegerProgram, converted: CpSatProgram, found: CpAnswer, options: SolveOptions
) -> BackendAnswer:
    bounds, values = found.bounds, None
    if found.solution is not None:
        values = np.array(found.solution, np.float64)
        primal = program.offset + float(program.cost @ values)
        dual = bounds.dual if program.cost.any() else primal
        if found.status is Status.OPTIMAL and abs(dual - primal) <= converted.objective_slack + 1e-9 * abs(primal):
            dual = primal
        bounds = Bounds(primal, dual)
    status, limit = settle(found.status, found.limit, bounds, options.gap)
    return BackendAnswer(status, bounds, limit, values, counts=found.counts, native_status=found.native_status)
