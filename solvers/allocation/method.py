"""How a fleet allocation is solved: by prices of GPU types, by its linear program, by water-filling, or by parts."""

from __future__ import annotations

from math import inf, isfinite

from apportion.instances.errors import CapabilityError
from apportion.instances.fleet import FleetAllocation, FleetShares
from apportion.solvers.advisor import Advisor
from apportion.solvers.allocation.allocation import Allocation
from apportion.solvers.allocation.objectives import optimise
from apportion.solvers.allocation.parts import by_parts
from apportion.solvers.allocation.policies import water_filling_packed, water_filling_perf
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer
from apportion.solvers.status import Bounds, Limit, Status

_PROVEN = 1e-6


def allocate(
    instance: FleetAllocation,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,  # noqa: ARG001
) -> Answer[FleetShares]:
    """Solve by prices of GPU types, and by a program over classes of like jobs where pairs share.

    The plan comes with a bound that the prices prove, within about one part in ten million.
    """
    return _answer(instance, optimise(instance), options, monitor)


def allocate_by_program(
    instance: FleetAllocation,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,  # noqa: ARG001
) -> Answer[FleetShares]:
    """Solve the linear program in full (a sequence of them for finish-time fairness and Nash welfare)."""
    return _answer(instance, optimise(instance, by_program=True), options, monitor)


def allocate_by_water_filling(
    instance: FleetAllocation,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,  # noqa: ARG001
) -> Answer[FleetShares]:
    """Max-min fairness where, after the poorest, the next poorest are raised, and so on.

    Raises
    ------
    CapabilityError
        For another objective.
    """
    if instance.objective != "max-min-fairness":
        raise CapabilityError(f"water-filling is for max-min-fairness, not {instance.objective}\nMaybe the default")
    filled = water_filling_packed(instance) if instance.num_pairs else water_filling_perf(instance)
    if not instance.runnable.any():
        filled = Allocation(filled.x, filled.y, 0.0, 0.0, filled.pending)
    return _answer(instance, filled, options, monitor)


def allocate_by_parts(
    instance: FleetAllocation,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,  # noqa: ARG001
) -> Answer[FleetShares]:
    """Split jobs and GPUs at random into 8 parts and solve the linear program of each (POP); no bound."""
    found = by_parts(instance, parts=8, seed=options.seed)
    if found is None:
        failed = "a part cannot keep its promised times; the whole fleet may"
        return Answer.nothing(instance.sense, Status.NO_SOLUTION, Limit.METHOD, failed)
    return _answer(instance, found, options, monitor)


def _answer(
    instance: FleetAllocation, found: Allocation | None, options: SolveOptions, monitor: Monitor
) -> Answer[FleetShares]:
    """A plan with its bounds; promises that cannot be kept make an instance infeasible."""
    if found is None:
        return Answer.nothing(instance.sense, Status.INFEASIBLE, native_status="the promised times cannot all be kept")
    monitor.incumbent(found.objective, "R")
    if isfinite(found.bound):
        monitor.bound(found.bound)
    bounds = Bounds(found.objective, found.bound if found.bound == found.bound else -instance.sense.sign * inf)
    plan = FleetShares.from_arrays(instance, found.x, found.y)
    proven = bounds.gap <= max(options.gap, _PROVEN) or bounds.primal == bounds.dual
    return Answer(
        Status.OPTIMAL if proven else Status.FEASIBLE,
        bounds,
        plan,
        limit=None if proven else Limit.METHOD,
        counts={"pending": len(found.pending)},
    )
