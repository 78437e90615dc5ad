"""The methods: AC by Ipopt with a bound from the cone relaxation, DC and dispatch by HiGHS with prices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Sense
from apportion.instances.errors import BackendError
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import Physics, PowerFlowPlan
from apportion.models.power_flow.ac import AcFlow, formulate_ac
from apportion.models.power_flow.dc import LinearFlow, formulate_dc, formulate_dispatch
from apportion.solvers.advisor import Advisor
from apportion.solvers.backends import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.power_flow.ipopt import Ipopt, IpoptAnswer
from apportion.solvers.power_flow.relaxation import Shortfall, SocBound, shortfall, soc_bound
from apportion.solvers.power_flow.tangents import run_quadratic
from apportion.solvers.result import Answer
from apportion.solvers.solve import limit_reached
from apportion.solvers.status import Bounds, Limit, Status

Ints = NDArray[np.int64]
PlanAnswer = Answer[PowerFlowPlan]

_OVERLAP_MW = 1e-5
_MOST_REPAIRS = 4
_RANDOM_STARTS = 3


def solve_ac(
    instance: OptimalPowerFlow, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> PlanAnswer:
    """AC optimal power flow in polar coordinates, then a bound from the cone relaxation.

    Ipopt finds a local optimum. It starts from ``options.start`` or flat; where that fails, from the DC solution, from
    the relaxation, and from random points (``options.seed``). An infinite ``options.gap`` asks for no bound.
    """
    return _solve_ac(instance, options, monitor, advisor, rectangular=False)


def solve_ac_rectangular(
    instance: OptimalPowerFlow, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> PlanAnswer:
    """The same in rectangular coordinates."""
    return _solve_ac(instance, options, monitor, advisor, rectangular=True)


def solve_soc(
    instance: OptimalPowerFlow, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
) -> PlanAnswer:
    """The cone relaxation first, then AC optimal power flow from its voltages."""
    began = time.perf_counter()
    found = soc_bound(instance, monitor)
    monitor.bound(found.bound, "cone relaxation")
    spent = time.perf_counter() - began
    answer = _solve_ac(instance, options, monitor, advisor, rectangular=False, found=found)
    return replace(answer, extras={**answer.extras, "relaxation (s)": spent})


def solve_dc(
    instance: OptimalPowerFlow,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,  # noqa: ARG001
) -> PlanAnswer:
    """DC optimal power flow in the convention of PowerModels, with the price at each bus."""
    return _solve_linear(instance, options, monitor, lambda d: formulate_dc(instance, Physics.DC, d))


def solve_dc_matpower(
    instance: OptimalPowerFlow,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,  # noqa: ARG001
) -> PlanAnswer:
    """DC optimal power flow in the convention of MATPOWER, with the price at each bus."""
    return _solve_linear(instance, options, monitor, lambda d: formulate_dc(instance, Physics.DC_MATPOWER, d))


def solve_dispatch(
    instance: OptimalPowerFlow,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,  # noqa: ARG001
) -> PlanAnswer:
    """Economic dispatch: the network is left out, each island has one price."""
    return _solve_linear(instance, options, monitor, lambda d: formulate_dispatch(instance, d))


# linear physics


def _solve_linear(
    instance: OptimalPowerFlow,
    options: SolveOptions,
    monitor: Monitor,
    formulate: Callable[[Ints | None], LinearFlow],
) -> PlanAnswer:
    began = time.perf_counter()
    flow = formulate(None)
    program = flow.model.compile()
    build_s = time.perf_counter() - began
    backend = backend_named(options.backend or "highs")
    quiet = Monitor(Sense.MINIMISE, None, monitor.remaining_s, monitor.cancelled)
    answer = run_quadratic(backend, program, options, quiet)
    dual, counts = answer.bounds.dual, dict(answer.counts)
    directions: Ints | None = None
    for attempt in range(_MOST_REPAIRS):
        if answer.values is None:
            break
        plan = flow.decode(answer.values)
        overlap = overlaps(plan)
        if not overlap.any():
            break
        directions = separated(
            instance, plan, overlap if attempt < _MOST_REPAIRS - 2 else np.ones_like(overlap), directions
        )
        flow = formulate(directions)
        answer = run_quadratic(backend, flow.model.compile(), options, quiet)
    if answer.values is None:
        # devices are bounded, and angles cost nothing
        impossible = answer.status in (Status.INFEASIBLE, Status.INFEASIBLE_OR_UNBOUNDED) and directions is None
        status = Status.INFEASIBLE if impossible else answer.status
        status = Status.NO_SOLUTION if status.has_plan or (status is Status.INFEASIBLE and not impossible) else status
        limit = (answer.limit or Limit.METHOD) if status is Status.NO_SOLUTION else None
        return Answer(status, Bounds(inf, dual), None, limit, build_s, counts, answer.native_status)
    duals = answer.row_duals
    rows = flow.model.constraints["balance"].rows
    plan = flow.decode(answer.values, None if duals is None else duals[rows])
    bounds = Bounds(answer.bounds.primal, dual)
    monitor.incumbent(bounds.primal, "R")
    monitor.bound(dual)
    proven = answer.status is Status.OPTIMAL and bounds.gap <= options.gap
    limit = None if proven else (answer.limit or Limit.METHOD)
    status = Status.OPTIMAL if proven else Status.FEASIBLE
    return Answer(status, bounds, plan, limit, build_s, counts, answer.native_status)


def overlaps(plan: PowerFlowPlan) -> NDArray[np.bool_]:
    """Where a storage unit charges and discharges at once, shape (periods, units)."""
    return np.asarray(np.minimum(plan.charge_mw, plan.discharge_mw) > _OVERLAP_MW)


def separated(instance: OptimalPowerFlow, plan: PowerFlowPlan, overlap: NDArray[np.bool_], before: Ints | None) -> Ints:
    """Directions for the units that overlap: the way in which their energy moves; the others keep theirs."""
    storage = instance.storage
    gained = storage.charge_efficiency * plan.charge_mw - plan.discharge_mw / storage.discharge_efficiency
    chosen = np.where(gained >= 0.0, 1, -1)
    kept = np.zeros_like(chosen) if before is None else before
    return np.where(overlap & (kept == 0), chosen, kept).astype(np.int64)


# alternating current


def _solve_ac(
    instance: OptimalPowerFlow,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None,
    rectangular: bool,
    found: SocBound | None = None,
) -> PlanAnswer:
    began = time.perf_counter()
    flow = formulate_ac(instance, rectangular)
    solver = Ipopt(flow.program, monitor, "ac")
    build_s = time.perf_counter() - began
    answer, tried, missing = None, 0, None
    for start in _starts(flow, options, monitor, advisor, found):
        answer, tried = solver.solve(start), tried + 1
        if answer.status.has_plan or monitor.should_stop:
            break
        monitor.log(f"start {tried} leads to no plan: {answer.native_status}")
        if tried == 1:
            missing = shortfall(instance, monitor)
            if missing.proves_infeasible:
                break
    if answer is None:
        raise BackendError("no start for AC optimal power flow")
    counts = {"iterations": answer.iterations, "starts": tried}
    if not answer.status.has_plan:
        return _without_plan(answer, monitor, build_s, counts, found, missing)
    plan = flow.decode(answer.values, answer.row_duals)
    plan, objective = _apart(instance, plan, answer.objective, monitor, rectangular)
    monitor.incumbent(objective, "R", "local optimum")
    dual = -inf if found is None else found.bound
    if found is None and isfinite(options.gap) and not monitor.should_stop:
        dual = soc_bound(instance, monitor).bound
        monitor.bound(dual, "cone relaxation")
    bounds = Bounds(objective, dual)
    proven = isfinite(options.gap) and bounds.gap <= options.gap
    status, limit = (Status.OPTIMAL, None) if proven else (Status.FEASIBLE, Limit.METHOD)
    if monitor.should_stop and not proven:
        limit = limit_reached(monitor)
    return Answer(status, bounds, plan, limit, build_s, counts, answer.native_status)


def _starts(
    flow: AcFlow, options: SolveOptions, monitor: Monitor, advisor: Advisor | None, found: SocBound | None
) -> Iterator[NDArray[np.float64]]:
    """Points to begin with, the likeliest first; each is made when the one before has failed."""
    advised = advisor.advise(flow.instance).start if advisor is not None else None
    for given in (options.start, advised):
        if isinstance(given, PowerFlowPlan):
            yield flow.encode(given)
    if found is not None:
        yield _relaxed_start(flow, found)
    yield flow.flat_start()
    linear = solve_dc(flow.instance, options.with_(backend=None, start=None), _silent(monitor))
    if linear.plan is not None:
        yield flow.encode(linear.plan)
    if found is None:
        yield _relaxed_start(flow, soc_bound(flow.instance, monitor))
    random = np.random.default_rng(options.seed)
    lower, upper = flow.devices.lower, flow.devices.upper
    shape = flow.instance.num_periods, len(flow.instance.buses)
    generators = flow.instance.generators
    least, most = generators.reactive_min_mvar, generators.reactive_max_mvar
    for _ in range(_RANDOM_STARTS):
        voltage, angle = random.uniform(0.95, 1.05, shape), random.normal(0.0, 0.1, shape)
        reactive = least + (most - least) * random.random((shape[0], len(generators)))
        yield flow.start(voltage, angle, lower + (upper - lower) * random.random(len(lower)), reactive)


def _relaxed_start(flow: AcFlow, found: SocBound) -> NDArray[np.float64]:
    voltage, angle = found.relaxation.voltages(found.answer.values)
    reactive = len(flow.instance.generators) * flow.instance.num_periods
    devices = found.answer.values[-(flow.devices.size + reactive) :] * flow.instance.base_mva
    return flow.start(voltage, angle, devices[: flow.devices.size], devices[flow.devices.size :])


def _silent(monitor: Monitor) -> Monitor:
    return Monitor(Sense.MINIMISE, None, monitor.remaining_s, monitor.cancelled)


def _apart(
    instance: OptimalPowerFlow, plan: PowerFlowPlan, objective: float, monitor: Monitor, rectangular: bool
) -> tuple[PowerFlowPlan, float]:
    """Solve again with a direction for each storage unit that charges and discharges at once."""
    directions: Ints | None = None
    for _ in range(_MOST_REPAIRS):
        overlap = overlaps(plan)
        if not overlap.any() or monitor.should_stop:
            break
        directions = separated(instance, plan, overlap, directions)
        flow = formulate_ac(instance, rectangular, directions)
        answer = Ipopt(flow.program, monitor, "ac, storage apart").solve(flow.encode(plan))
        if not answer.status.has_plan:
            break
        plan, objective = flow.decode(answer.values, answer.row_duals), answer.objective
    return plan, objective


def _without_plan(
    answer: IpoptAnswer,
    monitor: Monitor,
    build_s: float,
    counts: dict[str, int],
    found: SocBound | None,
    missing: Shortfall | None,
) -> PlanAnswer:
    """A proof that there is no plan, or why none was found."""
    dual = -inf if found is None else found.bound
    if monitor.should_stop:
        reached = limit_reached(monitor)
        return Answer(Status.NO_SOLUTION, Bounds(inf, dual), None, reached, build_s, counts, answer.native_status)
    if missing is not None and missing.proves_infeasible:
        monitor.log(f"at least {missing.total:g} MW and MVAr of the balances cannot be met")
        extras = {"missing at least (MW and MVAr)": missing.total}
        return Answer(Status.INFEASIBLE, Bounds(inf, dual), None, None, build_s, counts, answer.native_status, extras)
    status = Status.ERROR if answer.status is Status.ERROR else Status.NO_SOLUTION
    limit = None if status is Status.ERROR else answer.limit or Limit.METHOD
    return Answer(status, Bounds(inf, dual), None, limit, build_s, counts, answer.native_status)
