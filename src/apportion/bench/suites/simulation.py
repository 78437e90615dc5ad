"""Jobs over time: the published simulations of Gavel and Shockwave repeated, then beaten; large traces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.instances.formats.job_traces import read_trace
from apportion.instances.generate.trace import generate_trace
from apportion.instances.trace import Fleet, JobTrace
from apportion.scheduling.simulator.record import Simulation
from apportion.scheduling.simulator.rounds import GAVEL, SHOCKWAVE, RoundRules
from apportion.scheduling.simulator.run import simulate
from apportion.scheduling.simulator.view import RoundView
from apportion.solvers.rounds.fractions import BOUND_ERROR, shortest_makespan

_GAVEL_FLEET = "v100:8,p100:16,k80:24"
_TABLE = "gpu/gavel/physical_cluster_throughputs.json.gz"
_MAKESPAN_TRACE = "gpu/gavel/traces/minimize_makespan.trace"
_FAIRNESS_TRACE = "gpu/gavel/traces/max_min_fairness.trace"
_SHOCKWAVE_TRACE = "gpu/shockwave/120_0.2_5_100_40_25_0_0.5_0.5_0.6_0.3_0.09_0.01_multigpu_dynamic.trace.gz"
_STREAM, _STREAM_TABLE = "gpu/gavel/continuous_multi_seed0.csv.gz", "gpu/gavel/simulation_throughputs.json.gz"
_STREAM_RATE, _STREAM_LAS_H, _STREAM_SHARED_H = 2.6, 36.44, 30.51
_COUNTED = slice(4000, 5000)
_WITHIN_PERCENT = 1.0


@dataclass(frozen=True)
class _Run:
    outcome: Simulation
    cpu_s: float

    def figure(self, name: str) -> float:
        return self.outcome.figures()[name]


def _run(trace: JobTrace, fleet: Fleet, policy: str, rules: RoundRules = GAVEL) -> _Run:
    began = time.process_time()
    outcome = simulate(trace, fleet, policy, rules)
    return _Run(outcome, time.process_time() - began)


def _repeated(case: str, run: _Run, name: str, published: float, source: str) -> Measurement:
    """How far the repetition of a published figure is off, in percent."""
    ours = run.figure(name)
    target = Target("ours", "<=", _WITHIN_PERCENT)
    note = f"published {published:g}, reproduced {ours:.4g}"
    metric = f"{run.outcome.policy} {name}, deviation %"
    return Measurement(
        case, metric, 100.0 * abs(ours / published - 1.0), None, source, target, cpu_s=run.cpu_s, note=note
    )


def _beaten(
    case: str, run: _Run, name: str, published: float, source: str, bar: float, theirs: _Run | None = None
) -> Measurement:
    """Ours beside what was published, and beside what the published policy gives here."""
    return Measurement(
        case,
        f"{run.outcome.policy} {name}",
        run.figure(name),
        published,
        source,
        Target("ours", "<=", bar),
        cpu_s=run.cpu_s,
        published=published,
        reproduced=None if theirs is None else theirs.figure(name),
    )


def makespan_bound_h(trace: JobTrace, fleet: Fleet) -> float:
    """A lower bound on the makespan of jobs that all arrive at time 0, in hours; no sharing of GPUs."""
    onto = trace.onto(fleet)
    count, types = onto.num_jobs, len(fleet.types)
    nothing = np.zeros(count)
    view = RoundView(
        onto, fleet, 0.0, 1.0, np.arange(count), onto.steps, onto.steps, onto.throughput, onto.alone_s,
        np.zeros((count, types)), np.zeros(types), nothing.astype(np.int64) - 1, np.array(fleet.num_gpus), count,
    )  # fmt: skip
    return shortest_makespan(view.allocation_problem())[0] * (1.0 - BOUND_ERROR) / 3600.0


@spec("cluster", "gavel")
def gavel(context: Context) -> Iterator[Measurement]:
    """Gavel's two physical traces on 8 V100, 16 P100 and 24 K80."""
    found = [context.data_file(name) for name in (_TABLE, _MAKESPAN_TRACE, _FAIRNESS_TRACE)]
    if context.quick or None in found:
        yield from _quick("gavel", "gavel-las", "shortest")
        return
    table, first, second = found
    fleet = Fleet.parse(_GAVEL_FLEET)
    together, stream = read_trace(str(first), table), read_trace(str(second), table)
    source = "Gavel"
    las = _run(stream, fleet, "gavel-las")
    makespan = _run(together, fleet, "gavel-makespan")
    yield _repeated("gavel", makespan, "makespan_h", 17.40, source)
    yield _repeated("gavel", _run(together, fleet, "gavel-makespan-agnostic"), "makespan_h", 20.71, source)
    yield _repeated("gavel", las, "mean_jct_h", 3.82, source)
    yield _repeated("gavel", _run(stream, fleet, "gavel-las-agnostic"), "mean_jct_h", 5.20, source)
    exact = _run(together, fleet, "makespan-exact")
    bound = makespan_bound_h(together, fleet)
    yield _beaten("gavel", exact, "makespan_h", 17.40, source, 17.0, makespan)
    gap = 100.0 * (exact.figure("makespan_h") / bound - 1.0)
    note = f"no schedule without shared GPUs is shorter than {bound:.3f} h"
    yield Measurement("gavel", "makespan-exact gap to the bound, %", gap, target=Target("ours", "<=", 1.0), note=note)
    yield _beaten("gavel", _run(stream, fleet, "shortest"), "mean_jct_h", 3.82, source, 3.4, las)


_PUBLISHED = {
    "gandiva-fair": {"makespan_h": 32367.4 / 3600, "mean_jct_h": 12574.3 / 3600, "worst_fairness": 1.8536},
    "gavel-throughput": {"makespan_h": 31909.0 / 3600, "mean_jct_h": 9654.7 / 3600, "worst_fairness": 4.9758},
    "gavel-las": {"makespan_h": 33207.7 / 3600, "mean_jct_h": 11274.1 / 3600, "worst_fairness": 2.947},
    "gavel-makespan-agnostic": {"makespan_h": 24204.8 / 3600, "mean_jct_h": 19806.7 / 3600},
}
_BEST = {
    "makespan_h": 24197.4 / 3600,
    "mean_jct_h": 9654.7 / 3600,
    "worst_fairness": 1.7838,
    "unfair_percent": 5.0,
}
_HOLDER = {"mean_jct_h": "gavel-throughput"}
"""The repeated policy that holds the best published figure; Shockwave's own is not repeated."""


@spec("cluster", "shockwave")
def shockwave(context: Context) -> Iterator[Measurement]:
    """Shockwave's 120 jobs on 32 GPUs."""
    path = context.data_file(_SHOCKWAVE_TRACE)
    if context.quick or path is None:
        yield from _quick("shockwave", "gandiva-fair", "planner")
        return
    trace, fleet = read_trace(path), Fleet.parse("v100:32")
    again = {policy: _run(trace, fleet, policy, SHOCKWAVE) for policy in _PUBLISHED}
    for policy, figures in _PUBLISHED.items():
        for name, published in figures.items():
            yield _repeated("shockwave", again[policy], name, published, "Shockwave's table")
    ours = _run(trace, fleet, "planner", SHOCKWAVE)
    for name, best in _BEST.items():
        theirs = again.get(_HOLDER.get(name, ""))
        yield _beaten("shockwave", ours, name, best, "best published", best, theirs)


@spec("cluster", "continuous")
def continuous(context: Context) -> Iterator[Measurement]:
    """Gavel's endless stream of jobs on several GPUs: 36 of each type, 2.6 jobs an hour, jobs 4,000 to 4,999 count."""
    path, table = context.data_file(_STREAM), context.data_file(_STREAM_TABLE)
    if context.quick or path is None or table is None:
        yield from _quick("continuous", "gavel-las", "shortest")
        return
    trace, fleet = read_trace(path, table, _STREAM_RATE), Fleet.parse("v100:36,p100:36,k80:36")
    las = _run(trace, fleet, "gavel-las")
    ours = _run(trace, fleet, "shortest")
    again, better = (float(np.mean(run.outcome.completion_s[_COUNTED]) / 3600.0) for run in (las, ours))
    note = f"published {_STREAM_LAS_H:g}, reproduced {again:.4g}; with shared GPUs {_STREAM_SHARED_H:g} was published"
    deviation = 100.0 * abs(again / _STREAM_LAS_H - 1.0)
    yield Measurement(
        "continuous",
        "gavel-las mean JCT, deviation %",
        deviation,
        target=Target("ours", "<=", 3.0),
        cpu_s=las.cpu_s,
        note=note,
    )
    yield Measurement(
        "continuous",
        "shortest mean JCT of jobs 4000-4999, h",
        better,
        _STREAM_LAS_H,
        "Gavel",
        Target("ours", "<=", _STREAM_SHARED_H),
        cpu_s=ours.cpu_s,
        published=_STREAM_LAS_H,
        reproduced=again,
    )


@spec("cluster", "scale")
def scale(context: Context) -> Iterator[Measurement]:
    """Tens of thousands of jobs from event to event."""
    cases = (
        ("gpu/chronus/trace_job_Philly_SLO.csv.gz", "gpu:1280", "queue-edf-preempt"),
        ("gpu/philly/philly_jobs.csv.gz", "gpu:768", "queue-srwf"),
    )
    rules = RoundRules(restart_s=60.0)
    _run(generate_trace(jobs=4), Fleet.parse("v100:8"), "queue-fifo")
    for relative, cluster, policy in cases:
        path = context.data_file(relative)
        if context.quick or path is None:
            trace, cluster = generate_trace(seed=2, jobs=300, deadlines=0.5), "v100:16,k80:8"
        else:
            trace = read_trace(path)
        run = _run(trace, Fleet.parse(cluster), policy, rules)
        lost = trace.num_jobs - int(run.outcome.finished.sum())
        note = f"{trace.num_jobs} jobs, {lost} not finished, mean JCT {run.figure('mean_jct_h'):.3f} h on {cluster}"
        target = Target("ours", "<=", 60.0)
        yield Measurement(
            "scale", f"{policy} {trace.name}, CPU s", run.cpu_s, target=target, cpu_s=run.cpu_s, note=note
        )


def _quick(case: str, baseline: str, ours: str) -> Iterator[Measurement]:
    trace, fleet = generate_trace(seed=7, jobs=24), Fleet.parse("v100:4,p100:4,k80:4")
    theirs, better = _run(trace, fleet, baseline), _run(trace, fleet, ours)
    for name in ("makespan_h", "mean_jct_h"):
        metric = f"{ours} {name}, generated"
        yield Measurement(case, metric, better.figure(name), theirs.figure(name), baseline, cpu_s=better.cpu_s)
