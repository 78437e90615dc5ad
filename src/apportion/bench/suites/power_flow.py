"""Optimal power flow on pglib-opf: objective and bound beside the published ones, and CPU seconds of a solve."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from math import isfinite, nan

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.runner import median_and_spread
from apportion.instances.generate.power_flow import generate_power_flow
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import PowerFlowPlan
from apportion.instances.reading import read
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.power_flow.relaxation import soc_bound
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance

_FOLDER = "power/pglib-opf"
_WITHIN = 1e-4
_GAP_WITHIN = 0.03
_REPEATS = 3
_AC_SECONDS = {"pglib_opf_case118_ieee": 0.3, "pglib_opf_case300_ieee": 0.5, "pglib_opf_case1354_pegase": 3.0}
_DC_SECONDS = {"pglib_opf_case2383wp_k": 0.5}


@dataclass(frozen=True, eq=False)
class _Case:
    """A network with what is published about it; NaN when nothing is."""

    instance: OptimalPowerFlow
    ac: float = nan
    dc: float = nan
    gap_percent: float = nan


def _cases(context: Context) -> Iterator[_Case]:
    baseline = context.data_file(f"{_FOLDER}/baseline.csv")
    if context.quick or baseline is None:
        yield _Case(generate_power_flow(1, 10))
        return
    with baseline.open(encoding="utf-8") as lines:
        rows = {row["case"]: row for row in csv.DictReader(lines)}
    for group in ("", "api/", "sad/"):
        for name, row in rows.items():
            path = context.data_file(f"{_FOLDER}/{group}{name}.m")
            if path is None:
                continue
            instance = read(path)
            assert isinstance(instance, OptimalPowerFlow)  # noqa: S101 for the type checker
            linear = float(row["dc_obj"]) if row["dc_obj"] != "inf." else nan
            yield _Case(instance, float(row["ac_obj"]), linear, float(row["soc_gap_pct"]))


def _timed(instance: OptimalPowerFlow, method: str, repeats: int) -> tuple[Result[PowerFlowPlan], list[float]]:
    """The result without a bound, and CPU seconds of building, solving and checking."""
    runs = [_timed_once(instance, method) for _ in range(repeats)]
    return runs[-1][0], [seconds for _, seconds in runs]


def _timed_once(instance: OptimalPowerFlow, method: str) -> tuple[Result[PowerFlowPlan], float]:
    began = time.process_time()
    result = solve_instance(instance, SolveOptions(gap=float("inf")), method=method)
    return result, time.process_time() - began


@spec("power", "ac-opf")
def ac_flow(context: Context) -> Iterator[Measurement]:
    """How far the objective is from the published one, how far the gap of the relaxation is, and CPU seconds."""
    if not find_spec("casadi"):
        yield Measurement("ac-opf", "objective", nan, note="casadi (extra power) is not installed")
        return
    _timed(generate_power_flow(1, 4), "ac", 1)
    for case in _cases(context):
        instance = case.instance
        result, seconds = _timed(instance, "ac", 1 if context.quick else _REPEATS)
        middle, spread = median_and_spread(seconds)
        name = instance.name
        note = f"objective {result.bounds.primal:.8g}, {result.counts.get('iterations', 0)} iterations, {result.status}"
        if isfinite(case.ac):
            off = abs(result.bounds.primal / case.ac - 1.0)
            yield Measurement(
                name, "AC objective, relative distance", off, target=Target("ours", "<=", _WITHIN), note=note
            )
        bar = _AC_SECONDS.get(name)
        target = None if bar is None else Target("ours", "<=", bar)
        yield Measurement(name, "AC CPU s", middle, target=target, spread=spread, cpu_s=sum(seconds), note=note)
        yield _relaxed(case, result.bounds.primal)


def _relaxed(case: _Case, objective: float) -> Measurement:
    """The gap that the relaxation leaves, beside the published one: at most as wide, and never negative."""
    began = time.process_time()
    bound = soc_bound(case.instance, Monitor(case.instance.sense)).bound
    spent = time.process_time() - began
    gap = 100.0 * (1.0 - bound / objective)
    published = case.gap_percent if isfinite(case.gap_percent) else None
    note = f"bound {bound:.8g}, published gap {case.gap_percent:g} %; {spent:.2f} CPU s"
    most = 100.0 if published is None else published + _GAP_WITHIN
    target = Target("ours", "<=", most if gap >= 0.0 else -1.0)
    return Measurement(
        case.instance.name, "relaxation gap %", gap, published, "published", target, cpu_s=spent, note=note
    )


@spec("power", "dc-opf")
def dc_flow(context: Context) -> Iterator[Measurement]:
    """How far the DC objective is from the published one in the same convention, and CPU seconds."""
    _timed(generate_power_flow(1, 4), "dc", 1)
    for case in _cases(context):
        result, seconds = _timed(case.instance, "dc", 1 if context.quick else _REPEATS)
        middle, spread = median_and_spread(seconds)
        name, note = case.instance.name, f"objective {result.bounds.primal:.8g}, {result.status}"
        if isfinite(case.dc):
            off = abs(result.bounds.primal / case.dc - 1.0)
            yield Measurement(
                name, "DC objective, relative distance", off, target=Target("ours", "<=", _WITHIN), note=note
            )
        bar = _DC_SECONDS.get(name)
        target = None if bar is None else Target("ours", "<=", bar)
        yield Measurement(name, "DC CPU s", middle, target=target, spread=spread, cpu_s=sum(seconds), note=note)
