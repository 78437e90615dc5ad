"""Exact search in stages: served GPUs first, then served tasks, then nodes, each kept as a floor for the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Protocol

from apportion.instances.cluster import MILLI_PER_GPU, ClusterPlacement, Placement
from apportion.instances.core import Sense
from apportion.models.cluster.arrays import placement_model
from apportion.models.cluster.classes import Classes
from apportion.models.cluster.cpsat import placement_cp
from apportion.solvers.backends import backend_named
from apportion.solvers.cluster.patterns import Stage
from apportion.solvers.cluster.state import score_of
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Limit, Status

STAGES = (Stage.SERVED, Stage.TASKS, Stage.NODES)
_FLOOR_SLACK = 1e-6


@dataclass(frozen=True)
class StageAnswer:
    """What one stage found; ``bound`` is proven, in GPUs, tasks or nodes."""

    plan: Placement | None
    bound: float
    status: Status
    limit: Limit | None
    counts: Mapping[str, int]
    native_status: str


class StageSearch(Protocol):
    """A formulation that can be solved stage by stage."""

    def run(self, stage: Stage, start: Placement | None, options: SolveOptions, monitor: Monitor) -> StageAnswer:
        """Solve one stage from ``start``."""
        ...

    def keep(self, stage: Stage, value: float) -> None:
        """Keep at least ``value`` of a stage from now on."""
        ...


class CpSatSearch:
    """The CP-SAT formulation by stages."""

    def __init__(self, instance: ClusterPlacement, classes: Classes) -> None:
        self._built = placement_cp(instance, classes)

    def run(self, stage: Stage, start: Placement | None, options: SolveOptions, monitor: Monitor) -> StageAnswer:
        """Solve one stage from ``start``."""
        from apportion.solvers.backends.cp_sat import solve_cp_model

        built = self._built
        if start is not None:
            built.hint(start)
        if stage is Stage.NODES:
            built.model.minimize(built.nodes_used)
        else:
            built.model.maximize(built.served_milli if stage is Stage.SERVED else built.served_tasks)
        scale = 1.0 / MILLI_PER_GPU if stage is Stage.SERVED else 1.0
        inner = _inner_monitor(stage, monitor, scale)
        found = solve_cp_model(built.model, options, inner)
        plan = None
        if found.solution is not None:
            solution = found.solution
            plan = built.decode(lambda variable: solution[variable.index])
        return StageAnswer(
            plan, found.bounds.dual * scale, found.status, found.limit, found.counts, found.native_status
        )

    def keep(self, stage: Stage, value: float) -> None:
        """Keep at least ``value`` of a stage from now on."""
        if stage is Stage.SERVED:
            self._built.model.add(self._built.served_milli >= round(value * MILLI_PER_GPU))
        elif stage is Stage.TASKS:
            self._built.model.add(self._built.served_tasks >= round(value))


class MipSearch:
    """The array formulation by stages, on any backend."""

    def __init__(self, instance: ClusterPlacement, classes: Classes, backend: str) -> None:
        self._built = placement_model(instance, classes)
        self._backend = backend_named(backend)

    def run(self, stage: Stage, start: Placement | None, options: SolveOptions, monitor: Monitor) -> StageAnswer:
        """Solve one stage from ``start``."""
        built = self._built
        if stage is Stage.NODES:
            built.model.minimise(built.nodes_used)
        else:
            built.model.maximise(built.served_gpus if stage is Stage.SERVED else built.served_tasks)
        values = None if start is None else built.start(start)
        inner = _inner_monitor(stage, monitor, 1.0)
        found = self._backend.run(built.model.compile(), options, inner, values)
        plan = None if found.values is None else built.decode(found.values)
        return StageAnswer(plan, found.bounds.dual, found.status, found.limit, found.counts, found.native_status)

    def keep(self, stage: Stage, value: float) -> None:
        """Keep at least ``value`` of a stage from now on."""
        if stage is Stage.SERVED:
            self._built.model.add_constraints("keep_served", self._built.served_gpus >= value - _FLOOR_SLACK)
        elif stage is Stage.TASKS:
            self._built.model.add_constraints("keep_tasks", self._built.served_tasks >= value - _FLOOR_SLACK)


def _inner_monitor(stage: Stage, monitor: Monitor, scale: float) -> Monitor:
    """A monitor for one stage: the first speaks to ``monitor`` in GPUs, the later ones only in words."""

    def relay(event: Event) -> None:
        if event.kind is EventKind.LOG:
            monitor.log(event.message, event.letter)
        elif stage is not Stage.SERVED:
            return
        elif event.kind is EventKind.INCUMBENT:
            monitor.incumbent(event.bounds.primal * scale, event.letter, event.message)
        elif event.kind is EventKind.BOUND:
            monitor.bound(event.bounds.dual * scale, event.message)
        elif event.kind is EventKind.NODE:
            monitor.node(event.nodes)

    sense = Sense.MINIMISE if stage is Stage.NODES else Sense.MAXIMISE
    listener = None if monitor.listener is None and stage is not Stage.SERVED else relay
    return Monitor(sense, listener, monitor.time_limit_s, monitor.cancelled, monitor.started)


@dataclass(frozen=True)
class Staged:
    """The best plan of all stages with what is proven of each; ``status`` and ``limit`` are those of the first."""

    plan: Placement | None
    bounds: dict[Stage, float]
    status: Status
    limit: Limit | None
    counts: dict[str, int]
    native_status: str


def solve_in_stages(
    instance: ClusterPlacement,
    search: StageSearch,
    start: Placement | None,
    options: SolveOptions,
    monitor: Monitor,
    known: Mapping[Stage, float] | None = None,
) -> Staged:
    """Run ``search`` through the stages until one finds nothing or the time is up.

    ``known`` holds bounds that are proven already; a stage that its start proves to be optimal is not run.
    """
    bounds = {Stage.SERVED: inf, Stage.TASKS: float(len(instance.tasks)), Stage.NODES: 0.0} | dict(known or {})
    plan, counts = start, {"nodes": 0}
    first: StageAnswer | None = None
    for stage in STAGES:
        answer = _stage_answer(instance, search, stage, plan, bounds[stage], options, monitor)
        first = first or answer
        if isfinite(answer.bound):
            bounds[stage] = _better(stage, bounds[stage], answer.bound)
        plan = answer.plan or plan
        counts["nodes"] += int(answer.counts.get("nodes", 0))
        if plan is None or monitor.should_stop:
            break
        search.keep(stage, stage_value(instance, stage, plan))
    status, limit, native = (first.status, first.limit, first.native_status) if first else (Status.ERROR, None, "")
    if plan is not None and status is Status.NO_SOLUTION:
        status = Status.FEASIBLE
    return Staged(plan, bounds, status, limit, counts, native)


def _stage_answer(
    instance: ClusterPlacement,
    search: StageSearch,
    stage: Stage,
    plan: Placement | None,
    bound: float,
    options: SolveOptions,
    monitor: Monitor,
) -> StageAnswer:
    gap = options.gap if stage is Stage.SERVED else 0.0
    if plan is not None:
        value = stage_value(instance, stage, plan)
        if abs(value - bound) <= max(gap * abs(value), _FLOOR_SLACK):
            return StageAnswer(plan, bound, Status.OPTIMAL, None, {}, "the start meets the bound")
    return search.run(stage, plan, replace(options, gap=gap), monitor)


def _better(stage: Stage, one: float, other: float) -> float:
    return max(one, other) if stage is Stage.NODES else min(one, other)


def stage_value(instance: ClusterPlacement, stage: Stage, plan: Placement) -> float:
    """What a plan reaches in a stage, in GPUs, tasks or nodes."""
    score = score_of(instance, plan)
    if stage is Stage.SERVED:
        return score.served_milli / MILLI_PER_GPU
    return float(score.tasks if stage is Stage.TASKS else len(instance.nodes) - score.idle_nodes)
