"""The default method of programs: choose a backend, hand over the start, round the integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np

from apportion.instances.errors import BackendMissingError
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.models.checking import check
from apportion.solvers.advisor import Advisor
from apportion.solvers.backends import BACKENDS, backend_named, refusal, require
from apportion.solvers.backends.base import Backend, BackendAnswer
from apportion.solvers.backends.registry import is_installed
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.status import Status

_NEARLY_WHOLE = 1e-4
_PREFERENCE = ("highs", "scip", "cp-sat")


def solve_program(
    instance: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,
) -> Answer[VariableValues]:
    """Solve any linear, mixed-integer or quadratic program.

    The backend is ``options.backend``, or else HiGHS, and SCIP for what HiGHS cannot express. The start comes from the
    options, or else from the advisor when it passes the check. Integer columns of the answer are whole numbers.

    Raises
    ------
    CapabilityError
        When the backend asked for cannot express the program; the message says which can.
    BackendMissingError
        When no installed backend can.
    """
    backend = _choose(instance, options)
    require(instance, backend)
    start = start_values(instance, options, monitor, advisor)
    native = backend.run(instance, options, monitor, start)
    if native.status is Status.INFEASIBLE_OR_UNBOUNDED:
        native = infeasible_or_unbounded(instance, backend, options, monitor, native)
    if native.values is not None:
        native = replace(native, values=with_whole_numbers(instance, native.values, options, monitor))
    return Answer(
        status=native.status,
        bounds=native.bounds,
        plan=None if native.values is None else VariableValues.from_array(instance, native.values),
        limit=native.limit,
        counts=native.counts,
        native_status=f"{backend.name}: {native.native_status}",
        native=native,
    )


def _choose(program: MixedIntegerProgram, options: SolveOptions) -> Backend:
    if options.backend is not None:
        return backend_named(options.backend)
    able = [name for name in _PREFERENCE if not refusal(program, name)] or [_PREFERENCE[0]]
    for name in able:
        if is_installed(name):
            return backend_named(name)
    wanted = " or ".join(BACKENDS[name].distribution for name in able)
    raise BackendMissingError(f"no installed backend can solve {program.name!r}\nMaybe pip install {wanted}")


def start_values(
    program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, advisor: Advisor | None
) -> Floats | None:
    """The values to begin with, shape (n,), NaN where unknown; None without any.

    The start of the options comes first, and the caller has checked it; then the advisor's when it passes the check,
    then the advisor's hint.
    """
    if options.start is not None:
        return cast("VariableValues", options.start).to_array(program)
    if advisor is None:
        return None
    advice = advisor.advise(program)
    if advice.start is not None:
        verdict = check(program, advice.start)
        if verdict.ok:
            return cast("VariableValues", advice.start).to_array(program)
        monitor.log(f"the advisor's start is rejected: {verdict.violations[0]}")
    return _hinted(program, advice.hint)


def _hinted(program: MixedIntegerProgram, hint: Mapping[int, float]) -> Floats | None:
    if not hint:
        return None
    values = np.full(program.num_columns, np.nan)
    for column, value in hint.items():
        values[column] = value
    return values


def infeasible_or_unbounded(
    program: MixedIntegerProgram, backend: Backend, options: SolveOptions, monitor: Monitor, native: BackendAnswer
) -> BackendAnswer:
    """Decide which of the two ``native`` is: the program without its objective tells.

    With rational data a feasible mixed-integer program is unbounded when its relaxation is (Meyer 1974). With ordered
    sets, indicators or a quadratic objective that does not follow, and the answer stays open.
    """
    if program.ordered_sets or program.indicators or program.hessian is not None:
        return native
    silent = Monitor(program.sense, None, monitor.time_limit_s, monitor.cancelled, monitor.started)
    plain = replace(program, cost=np.zeros(program.num_columns), offset=0.0)
    answer = backend.run(plain, options, silent)
    if answer.status.has_plan:
        return replace(native, status=Status.UNBOUNDED, native_status=f"{native.native_status}, feasible")
    if answer.status is Status.INFEASIBLE:
        return replace(native, status=Status.INFEASIBLE, native_status=f"{native.native_status}, infeasible")
    return native


def with_whole_numbers(program: MixedIntegerProgram, values: Floats, options: SolveOptions, monitor: Monitor) -> Floats:
    """Round the integer columns of ``values``; when a row then breaks, solve for the continuous ones again.

    Values that rounding cannot mend come back as they are: the check will name them.
    """
    if not program.integer.any():
        return values
    rounded = values.copy()
    rounded[program.integer] = np.round(values[program.integer])
    if not np.abs(rounded - values).max(initial=0.0) <= _NEARLY_WHOLE:
        return values  # not what rounding may hide: the check will name it
    if np.array_equal(rounded, values) or _holds(program, rounded):
        return rounded
    plain = program.hessian is None and not (program.ordered_sets or program.indicators)
    if plain and not program.integer.all() and is_installed("highs"):
        fixed = replace(
            program,
            lower=np.where(program.integer, rounded, program.lower),
            upper=np.where(program.integer, rounded, program.upper),
        ).relaxed()
        silent = Monitor(program.sense, None, max(1.0, monitor.remaining_s))
        answer = backend_named("highs").run(fixed, options, silent)
        if answer.values is not None:
            answer.values[program.integer] = rounded[program.integer]
            if _holds(program, answer.values):
                return answer.values
    return values


def _holds(program: MixedIntegerProgram, values: Floats) -> bool:
    return check(program, VariableValues.from_array(program, values)).ok
