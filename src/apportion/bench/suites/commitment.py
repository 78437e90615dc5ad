"""Unit commitment to a proven gap: ours, the same formulation on bare HiGHS, and Egret's tight formulation on HiGHS."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from math import exp, inf, isfinite, log
from pathlib import Path
from typing import Any, NamedTuple

from apportion.bench.registry import Context, Measurement, Target, spec

_GAP = 1e-3
_BARE = "bare HiGHS"
_EGRET = "egret"
_FASTER = 1.0 / 6.0


@dataclass(frozen=True)
class Day:
    """An instance file, how long each may take, and the CPU seconds in which ours should prove the gap."""

    name: str
    limit_s: float
    bar_s: float
    gap: float = _GAP
    peers: bool = True

    @property
    def real(self) -> str:
        """Where it lies in the folder of real instances."""
        return f"power/pglib-uc/{self.name}.json"


DAYS = (
    Day("rts_gmlc/2020-06-09", 120.0, 10.0),
    Day("rts_gmlc/2020-03-05", 120.0, 10.0),
    Day("rts_gmlc/2020-09-20", 120.0, 10.0),
    Day("rts_gmlc/2020-12-23", 180.0, 10.0),
    Day("rts_gmlc/2020-01-27", 180.0, 120.0),
    Day("ca/2015-06-01_reserves_0", 180.0, 12.0),
    Day("ca/2014-09-01_reserves_0", 180.0, 12.0),
    Day("ca/2015-03-01_reserves_3", 180.0, 12.0),
    Day("ca/Scenario400_reserves_1", 180.0, 12.0),
    Day("ferc/2015-05-01_lw", 180.0, 60.0, peers=False),
    Day("ferc/2015-07-01_hw", 180.0, 60.0, peers=False),
    Day("ferc/2015-12-01_lw", 180.0, 60.0, peers=False),
)


class _Run(NamedTuple):
    """What one solve took and proved."""

    cpu_s: float
    primal: float
    dual: float
    gap: float
    build_s: float
    peak_mib: float
    note: str


@spec("power", "commitment")
def commitment(context: Context) -> Iterator[Measurement]:
    """CPU seconds until a gap of 0.1 % is proven, alternating with the peers in fresh processes, one thread each."""
    days = DAYS[:1] if context.quick else DAYS
    ratios: dict[str, list[float]] = {_BARE: [], _EGRET: []}
    for day in days:
        real = None if context.quick else context.data_file(day.real)
        path = real or Path(str(files("apportion.instances") / "data" / "commitment_small.json"))
        limit = 5.0 if context.quick or real is None else day.limit_s
        ours = _in_fresh_process(_ours, path, limit, day.gap)
        yield from _own_rows(day, ours)
        for peer, run in _peers(context, day):
            theirs = _in_fresh_process(run, path, limit, day.gap)
            late = not theirs.gap <= day.gap
            note = f"gap of the peer {theirs.gap:.2%}" + (", stopped at its limit" if late else "") + theirs.note
            yield Measurement(day.name, "cpu s", ours.cpu_s, theirs.cpu_s, peer, cpu_s=theirs.cpu_s, note=note)
            if ours.gap <= day.gap and isfinite(theirs.cpu_s):
                ratios[peer].append(ours.cpu_s / theirs.cpu_s)
    for peer, found in ratios.items():
        if found:
            mean = exp(sum(map(log, found)) / len(found))
            note = "geometric mean of ours / peer; a peer stopped at its limit counts with its limit"
            target = Target("ours", "<=", _FASTER) if peer == _EGRET and not context.quick else None
            yield Measurement(f"{len(found)} days", f"ratio to {peer}", mean, target=target, note=note)


def _own_rows(day: Day, ours: _Run) -> Iterator[Measurement]:
    row = partial(Measurement, day.name, seeds=(0,), cpu_s=ours.cpu_s)
    reached = ours.gap <= day.gap
    note = ours.note + ("" if reached else f"; {day.gap:.1%} was not proven in the time given")
    yield row("gap", ours.gap, target=Target("ours", "<=", day.gap), note=note)
    yield row("cpu s", ours.cpu_s, target=Target("ours", "<=", day.bar_s))
    yield row("objective", ours.primal)
    yield row("bound", ours.dual)
    yield row("build cpu s", ours.build_s, target=Target("ours", "<=", 0.5))
    yield row("peak memory MiB", ours.peak_mib)


def _peers(context: Context, day: Day) -> Iterator[tuple[str, Callable[[Path, float, float], _Run]]]:
    if not day.peers:
        return
    if context.wants("highs") or context.wants("reference"):
        yield _BARE, _bare
    if context.wants(_EGRET) and not context.quick and find_spec("egret") is not None:
        yield _EGRET, _egret


def _in_fresh_process(run: Callable[[Path, float, float], _Run], path: Path, limit: float, gap: float) -> _Run:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, (path, limit, gap))


def _ours(path: Path, limit: float, gap: float) -> _Run:
    from apportion.api import solve
    from apportion.instances.commitment import UnitCommitment
    from apportion.instances.reading import read
    from apportion.models.commitment.arrays import formulate

    instance = read(path)
    began = time.process_time()
    if isinstance(instance, UnitCommitment):
        formulate(instance).model.compile()
    build_s = time.process_time() - began
    _compile(instance)
    began = time.process_time()
    result = solve(path, time_limit_s=limit, gap=gap)
    cpu_s = time.process_time() - began
    passed = result.verdict is not None and result.verdict.ok
    bounds, memory = result.bounds, result.timings.peak_memory_mb
    note = f"{result.status}; check {'passed' if passed else 'FAILED'}"
    return _Run(cpu_s, bounds.primal, bounds.dual, bounds.gap if passed else inf, build_s, memory, note)


def _compile(instance: Any) -> None:
    """Compilation is cached and not counted."""
    from apportion.solvers.commitment.hull import merit_order_prices
    from apportion.solvers.commitment.prices import Prices, UnitPricing

    pricing = UnitPricing(instance)
    prices = merit_order_prices(pricing)
    pricing.answer(Prices(prices, 0.0 * prices), margins=True)


def _bare(path: Path, limit: float, gap: float) -> _Run:
    """HiGHS with its defaults on our formulation."""
    from apportion.instances.commitment import UnitCommitment
    from apportion.instances.core import Sense
    from apportion.instances.reading import read
    from apportion.models.commitment.arrays import formulate
    from apportion.solvers.backends import backend_named
    from apportion.solvers.events import Monitor
    from apportion.solvers.options import SolveOptions

    began = time.process_time()
    instance = read(path)
    if not isinstance(instance, UnitCommitment):
        raise TypeError(path)
    program = formulate(instance).model.compile()
    build_s = time.process_time() - began
    monitor = Monitor(Sense.MINIMISE, None, limit)
    answer = backend_named("highs").run(program, SolveOptions.build(gap=gap, time_limit_s=limit), monitor)
    bounds = answer.bounds
    return _Run(time.process_time() - began, bounds.primal, bounds.dual, bounds.gap, build_s, 0.0, "")


def _egret(path: Path, limit: float, gap: float) -> _Run:
    """Egret's default, the tight formulation, through Pyomo's in-memory interface of HiGHS."""
    import egret.models.unit_commitment as egret_models
    from egret.parsers.pglib_uc_parser import create_ModelData
    from pyomo.contrib.appsi.solvers.highs import Highs

    began = time.process_time()
    model = egret_models.create_tight_unit_commitment_model(create_ModelData(str(path)))
    build_s = time.process_time() - began
    solver = Highs()
    solver.config.time_limit = limit
    solver.config.mip_gap = gap
    solver.config.load_solution = False
    solver.highs_options = {"threads": 1}
    found = solver.solve(model)
    primal, dual = found.best_feasible_objective, found.best_objective_bound
    primal, dual = inf if primal is None else float(primal), -inf if dual is None else float(dual)
    distance = abs(primal - dual) / max(1e-10, abs(primal)) if isfinite(primal) else inf
    return _Run(time.process_time() - began, primal, dual, distance, build_s, 0.0, "")
