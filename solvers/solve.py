"""The one way of an instance through the house: method, decode, check, result."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import resource
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apportion.instances.core import Instance, Plan, Sense
from apportion.instances.program import MixedIntegerProgram
from apportion.models.checking import check
from apportion.models.program.ranges import range_warnings
from apportion.models.verdict import Verdict
from apportion.solvers.advisor import Advisor
from apportion.solvers.events import Listener, Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.registry import method_of
from apportion.solvers.result import Answer, Result, Timings
from apportion.solvers.status import Bounds, Limit, Status

_PACKAGES = ("apportion", "highspy", "ortools", "pyscipopt", "numpy", "numba")
_OBJECTIVE_TOLERANCE = 1e-5
_ABSOLUTE_TOLERANCE = 1e-6


def solve_instance(
    instance: Instance,
    options: SolveOptions | None = None,
    *,
    method: str | None = None,
    listener: Listener | None = None,
    advisor: Advisor | None = None,
    cancelled: threading.Event | None = None,
    read_s: float = 0.0,
) -> Result[Any]:
    """Solve ``instance`` and check the plan; a plan that fails the check is never returned as a solution.

    Parameters
    ----------
    instance
        Any instance.
    options
        Limits, seed, threads and backend blocks; defaults when None.
    method
        One of :func:`~apportion.solvers.registry.methods_of`; None takes the default.
    listener
        Called with every :class:`~apportion.solvers.events.Event`, perhaps from a solver's thread.
    advisor
        Advice that may be wrong.
    cancelled
        Setting it from another thread or a signal handler stops the solve, which keeps its incumbent.
    read_s
        Seconds that reading took, for the report.
    """
    options = options or SolveOptions()
    name, run = method_of(instance.problem, method)
    monitor = Monitor(instance.sense, listener, options.time_limit_s, cancelled or threading.Event())
    cpu_before = time.process_time()
    monitor.start(f"{instance.problem} {instance.name} with {name}")
    options = _checked_start(instance, options, monitor)
    if isinstance(instance, MixedIntegerProgram):
        for warning in range_warnings(instance):
            monitor.log(f"warning: {warning}")
    began = time.perf_counter()
    answer = run(instance, options, monitor, advisor)
    solved = time.perf_counter()
    verdict = check(instance, answer.plan) if answer.plan is not None else None
    checked = time.perf_counter()
    timings = Timings(
        read_s=read_s,
        build_s=answer.build_s,
        solve_s=max(0.0, solved - began - answer.build_s),
        check_s=checked - solved,
        cpu_s=time.process_time() - cpu_before,
        peak_memory_mb=peak_memory_mb(),
    )
    result = _judge(instance, name, answer, verdict, timings, options)
    if options.verify:
        from apportion.solvers.second_opinion import verified

        began = time.perf_counter()
        result = verified(instance, result, options, monitor)
        cpu_s = time.process_time() - cpu_before
        result = replace(result, timings=replace(timings, verify_s=time.perf_counter() - began, cpu_s=cpu_s))
    monitor.end(f"{result.status}{f' ({result.limit} limit)' if result.limit else ''}")
    return result


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    return dict(_installed_versions())


@functools.cache
def _installed_versions() -> Mapping[str, str]:
    """Looked up once: reading the metadata of six packages costs more than solving a small instance."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_mb() -> float:
    """The most memory that this process has held, in MiB."""
    scale = 2**20 if platform.system() == "Darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def _checked_start(instance: Instance, options: SolveOptions, monitor: Monitor) -> SolveOptions:
    """Drop a start that breaks a rule, and say which."""
    if options.start is None:
        return options
    verdict = check(instance, options.start)
    if verdict.ok:
        return options
    monitor.log(f"the start is rejected: {verdict.violations[0]}, {len(verdict.violations)} violations in all")
    return replace(options, start=None)


def _judge(
    instance: Instance,
    method: str,
    answer: Answer[Plan],
    verdict: Verdict | None,
    timings: Timings,
    options: SolveOptions,
) -> Result[Any]:
    """Turn an answer and the verdict on it into a result that claims only what the check confirmed."""
    status, bounds, limit, message = answer.status, answer.bounds, answer.limit, ""
    plan, rejected = answer.plan, None
    if verdict is not None:
        message = _distrust(instance.sense, answer, verdict)
        if message:
            status, limit, rejected, plan = Status.ERROR, None, plan, None
            bounds = Bounds.unknown(instance.sense)
        else:
            bounds = Bounds(verdict.objective, _honest_dual(instance.sense, verdict.objective, answer.bounds.dual))
            if status is Status.OPTIMAL and not _proven(bounds, options.gap):
                status, limit = Status.FEASIBLE, Limit.METHOD
                message = f"the method claims an optimum, its own bound leaves a gap of {bounds.gap:.3%}"
    elif status.has_plan:
        status, limit, message = Status.ERROR, None, f"the method claims {answer.status} and has no plan"
    return Result(
        instance=instance.name,
        problem=instance.problem,
        method=method,
        sense=instance.sense,
        status=status,
        bounds=bounds,
        plan=plan,
        limit=limit,
        verdict=verdict,
        timings=timings,
        counts=dict(answer.counts),
        extras=dict(answer.extras),
        seed=options.seed,
        versions=versions(),
        native_status=answer.native_status,
        message=message,
        rejected_plan=rejected,
        native=answer.native,
    )


def _distrust(sense: Sense, answer: Answer[Plan], verdict: Verdict) -> str:
    """Why a checked answer is not to be believed, or an empty string."""
    if not answer.status.has_plan:
        return f"the method returns a plan with status {answer.status}"
    if not verdict.ok:
        return f"the plan fails the check: {verdict.violations[0]}, {len(verdict.violations)} violations in all"
    claimed = Bounds(verdict.objective, answer.bounds.dual)
    if claimed.contradict(sense, _OBJECTIVE_TOLERANCE):
        return f"the bound {answer.bounds.dual:g} lies beyond a checked plan of {verdict.objective:g}"
    return ""


def _proven(bounds: Bounds, gap: float) -> bool:
    """Whether the bounds meet within ``gap`` or within rounding."""
    meet = abs(bounds.primal - bounds.dual) <= _ABSOLUTE_TOLERANCE
    return meet or bounds.gap <= gap + _OBJECTIVE_TOLERANCE


def _honest_dual(sense: Sense, objective: float, dual: float) -> float:
    """Within the tolerance a bound may pass the objective by rounding: then both are equal."""
    return min(dual, objective) if sense is Sense.MINIMISE else max(dual, objective)


def limit_reached(monitor: Monitor) -> Limit:
    """Which limit a method met that stops when ``monitor.should_stop``."""
    return Limit.INTERRUPTED if monitor.cancelled.is_set() else Limit.TIME
