"""The solver floor: large-neighbourhood search against bare HiGHS, the race of solvers against each of them."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, inf, log

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.suites.solvers import CASES, Case, warm_up
from apportion.instances.core import Sense
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.backends import refusal
from apportion.solvers.backends.registry import is_installed
from apportion.solvers.events import Event
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status

_LIMIT_S = 60.0
_QUICK_LIMIT_S = 1.6
_RACE_LIMIT_S = 30.0
_QUICK_RACE_LIMIT_S = 1.5
_WALL_PER_CPU = 4.0
_BETTER_BAR = 0.7
_WORSE_BAR = 0.001
_SLOWER_BAR = 1.25
_SAME = 1e-9
_FINISHED = (Status.OPTIMAL, Status.INFEASIBLE)

_HARD = (
    "set-cover-500x1000",
    "set-cover-1000x2000",
    "facility-200x100",
    "multi-knapsack-30x500",
    "assignment-20x200",
    "lot-sizing-20x30",
    "lot-sizing-30x40",
    "network-30x200x20",
    "scpnre1",
    "scpclr10",
    "d20200",
    "d10400",
    "e20200",
    "mknapcb1",
    "c41",
)
_RACED = (
    "auction-200x1000",
    "facility-100x100",
    "independent-set-500",
    "bin-packing-60",
    "scpa2",
    "cap134",
    "lot-sizing-20x30",
    "c33",
)
_QUICK_RACE = Case("independent-set-40", "independent-set", (("nodes", 40),))


@dataclass(frozen=True)
class Run:
    """How one solve ended: CPU seconds of this process and wall-clock seconds."""

    objective: float
    dual: float
    finished: bool
    cpu_s: float
    wall_s: float
    note: str


def _cases(names: tuple[str, ...]) -> list[Case]:
    known = {case.name: case for case in CASES}
    return [known[name] for name in names if name in known]


def solved(
    program: MixedIntegerProgram, method: str, cpu_limit_s: float, wall_limit_s: float, backend: str | None = None
) -> Run:
    """Solve within ``cpu_limit_s`` of this process, as far as events come to stop it, and ``wall_limit_s``."""
    stop = threading.Event()
    began_cpu, began = time.process_time(), time.perf_counter()

    def listen(_event: Event) -> None:
        if time.process_time() - began_cpu > cpu_limit_s:
            stop.set()

    options = SolveOptions(time_limit_s=wall_limit_s, seed=1, backend=backend)
    result = solve_instance(program, options, method=method, listener=listen, cancelled=stop)
    spent, wall = time.process_time() - began_cpu, time.perf_counter() - began
    objective = result.objective if result.plan is not None else program.sense.sign * inf
    note = f"{result.status} {result.objective:.8g}{f' ({result.message})' if result.message else ''}"
    return Run(objective, result.bounds.dual, result.status in _FINISHED, spent, wall, note)


def advantage(ours: float, theirs: float, sense: Sense) -> float:
    """How much better ours is, relative to theirs; infinite when only one has a plan.

    >>> advantage(99.0, 100.0, Sense.MINIMISE)
    0.01
    """
    if ours == theirs:
        return 0.0
    if abs(theirs) == inf or abs(ours) == inf:
        return inf if abs(theirs) == inf else -inf
    return sense.sign * (theirs - ours) / max(1e-10, abs(theirs))


def _both(program: MixedIntegerProgram, limit: float) -> tuple[Run, Run]:
    wall = _WALL_PER_CPU * limit
    return solved(program, "default", limit, wall), solved(program, "lns", limit, wall)


@spec("solvers", "lns")
def lns(context: Context) -> Iterator[Measurement]:
    """Better plans than bare HiGHS after the same CPU seconds, on programs that HiGHS does not finish."""
    cases = _cases(_HARD[:1] if context.quick else _HARD)
    limit = _QUICK_LIMIT_S if context.quick else _LIMIT_S
    gains: list[float] = []
    cpu_s = 0.0
    pool = None if context.quick else multiprocessing.get_context("spawn").Pool(1)
    try:
        if pool is not None:
            pool.apply(warm_up)
        for case in cases:
            program = case.program(context)
            alone, ours = _both(program, limit) if pool is None else pool.apply(_both, (program, limit))
            cpu_s += alone.cpu_s + ours.cpu_s
            if not alone.finished:
                gains.append(advantage(ours.objective, alone.objective, program.sense))
            note = f"highs {alone.note}, lns {ours.note}{'; highs finishes: not counted' if alone.finished else ''}"
            yield Measurement(
                case.name,
                f"objective after {limit:g} CPU s",
                ours.objective,
                alone.objective,
                "highs alone",
                seeds=(1,),
                cpu_s=alone.cpu_s + ours.cpu_s,
                note=note,
            )
    finally:
        if pool is not None:
            pool.terminate()
            pool.join()
    yield from _lns_summary(gains, limit, cpu_s)


def _lns_summary(gains: list[float], limit: float, cpu_s: float) -> Iterator[Measurement]:
    count = len(gains)
    better, worse = sum(gain > _SAME for gain in gains), sum(gain < -_SAME for gain in gains)
    yield Measurement(
        f"{count} programs that highs does not finish",
        f"share with a better objective after {limit:g} CPU s",
        better / count if count else float("nan"),
        target=Target("ours", ">=", _BETTER_BAR),
        seeds=(1,),
        cpu_s=cpu_s,
        note=f"better on {better}, equal on {count - better - worse}, worse on {worse}",
    )
    yield Measurement(
        f"{count} programs that highs does not finish",
        "the largest share by which the objective is worse",
        max((-gain for gain in gains), default=float("nan")),
        target=Target("ours", "<=", _WORSE_BAR),
        seeds=(1,),
        cpu_s=cpu_s,
    )


@spec("solvers", "portfolio")
def portfolio(context: Context) -> Iterator[Measurement]:
    """Wall-clock seconds to the end of the race against those of the fastest solver alone, one thread each."""
    cases = [_QUICK_RACE] if context.quick else _cases(_RACED)
    limit = _QUICK_RACE_LIMIT_S if context.quick else _RACE_LIMIT_S
    cores = len(os.sched_getaffinity(0))
    ratios: list[float] = []
    cpu_s = 0.0
    for case in cases:
        program = case.program(context)
        able = [name for name in ("highs", "cp-sat", "scip") if not refusal(program, name) and is_installed(name)]
        raced = solved(program, "portfolio", inf, limit)
        singles = {name: solved(program, "default", inf, limit, name) for name in able}
        best = min(singles, key=lambda name: (not singles[name].finished, singles[name].wall_s))
        if singles[best].finished:
            ratios.append(raced.wall_s / max(1e-3, singles[best].wall_s))
        spent = raced.cpu_s + sum(run.cpu_s for run in singles.values())
        cpu_s += spent
        told = ", ".join(f"{name} {run.wall_s:.2f} s {run.note}" for name, run in singles.items())
        yield Measurement(
            case.name,
            f"wall-clock seconds, {cores} cores, limit {limit:g} s",
            raced.wall_s,
            singles[best].wall_s,
            f"{best} alone",
            seeds=(1,),
            cpu_s=spent,
            note=f"portfolio {raced.note}; {told}",
        )
    yield Measurement(
        f"{len(ratios)} programs that a solver finishes",
        f"largest ratio of wall-clock seconds, {cores} cores",
        max(ratios, default=float("nan")),
        1.0 if ratios else None,
        "the fastest alone",
        Target("ratio", "<=", _SLOWER_BAR),
        (1,),
        cpu_s,
        note=f"geometric mean {exp(sum(map(log, ratios)) / len(ratios)):.3g}" if ratios else "none finished",
    )
