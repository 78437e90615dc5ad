"""The solver floor: large-neighbourhood search against bare HiGHS, the race of solvers against each of them."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log, nan

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.suites.solvers import CASES, Case, warm_up
from apportion.instances.core import Sense
from apportion.instances.generate.benchmark_programs import benchmark_program
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
_LONGER = 1.5
_LEAST_S = 1e-3
_FINISHED = (Status.OPTIMAL, Status.INFEASIBLE)

_HARD = (
    "facility-200x100",
    "independent-set-1000",
    "multi-knapsack-30x500",
    "assignment-20x200",
    "d10400",
    "d20200",
    "lot-sizing-20x30",
    "lot-sizing-30x40",
    "network-30x200x20",
    "scpnre1",
    "scpclr10",
    "set-cover-1000x2000",
)
"""Of a size that HiGHS rarely ends in a minute (those that it does are not counted) or solves best within seconds."""

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
_QUICK_HARD = Case("set-cover-500x1000", "set-cover", (("rows", 500), ("columns", 1000)))
_QUICK_RACE = Case("independent-set-40", "independent-set", (("nodes", 40),))


@dataclass(frozen=True)
class Run:
    """How one solve ended: CPU seconds of this process and of those it started, and wall-clock seconds."""

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
    began_cpu, began_all, began = time.process_time(), _cpu_of_all(), time.perf_counter()

    def listen(_event: Event) -> None:
        if time.process_time() - began_cpu > cpu_limit_s:
            stop.set()

    options = SolveOptions(time_limit_s=wall_limit_s, seed=1, backend=backend)
    result = solve_instance(program, options, method=method, listener=listen, cancelled=stop)
    spent, wall = _cpu_of_all() - began_all, time.perf_counter() - began
    objective = result.objective if result.plan is not None else program.sense.sign * inf
    note = f"{result.status} {result.objective:.8g}{f' ({result.message})' if result.message else ''}"
    return Run(objective, result.bounds.dual, result.status in _FINISHED, spent, wall, note)


def _cpu_of_all() -> float:
    """CPU seconds of this process and of the processes that it started and has seen end."""
    return sum(os.times()[:4])


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
    cases = [_QUICK_HARD] if context.quick else _cases(_HARD)
    limit = _QUICK_LIMIT_S if context.quick else context.limit_s or _LIMIT_S
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
    """Seconds to the end of the race against the fastest solver alone on the same cores, one thread each.

    A solver alone may use half as long again as the race and a second more: one that needs longer is not the fastest.
    The CPU seconds of the race count all racers, also those in processes of their own; divided by the cores they say
    what the ratio would be on a machine with nothing else to do, as far as the race keeps every core busy.
    """
    cases = [_QUICK_RACE] if context.quick else _cases(_RACED)
    limit = _QUICK_RACE_LIMIT_S if context.quick else _RACE_LIMIT_S
    walls: list[float] = []
    cpus: list[float] = []
    cpu_s = 0.0
    if not context.quick:
        _import_solvers()
    for case in cases:
        measured = _raced(case.program(context), limit)
        walls += [measured.wall_ratio] if isfinite(measured.wall_ratio) else []
        cpus += [measured.cpu_ratio] if isfinite(measured.cpu_ratio) else []
        cpu_s += measured.spent_s
        yield Measurement(
            case.name,
            f"wall-clock seconds, {_cores()} cores, limit {limit:g} s",
            measured.race.wall_s,
            measured.best.wall_s,
            f"{measured.best_name} alone",
            seeds=(1,),
            cpu_s=measured.spent_s,
            note=measured.note,
        )
    yield from _race_summary(walls, cpus, cpu_s)


def _race_summary(walls: list[float], cpus: list[float], cpu_s: float) -> Iterator[Measurement]:
    case = f"{len(walls)} programs that a solver finishes"
    for what, ratios, target in (
        ("wall-clock seconds", walls, Target("ratio", "<=", _SLOWER_BAR)),
        (f"CPU seconds of all racers / {_cores()}", [ratio / _cores() for ratio in cpus], None),
    ):
        yield Measurement(
            case,
            f"largest ratio of {what}, {_cores()} cores",
            max(ratios, default=float("nan")),
            1.0 if ratios else None,
            "the fastest alone, one core",
            target,
            (1,),
            cpu_s,
            note=f"geometric mean {exp(sum(map(log, ratios)) / len(ratios)):.3g}" if ratios else "none finished",
        )


@dataclass(frozen=True)
class Raced:
    """A race beside the fastest single solver; the ratios are NaN when no solver finishes alone."""

    race: Run
    best: Run
    best_name: str
    spent_s: float
    note: str

    @property
    def wall_ratio(self) -> float:
        """Wall-clock seconds of the race per second of the fastest alone."""
        return self.race.wall_s / max(_LEAST_S, self.best.wall_s) if self.best.finished else nan

    @property
    def cpu_ratio(self) -> float:
        """CPU seconds of all racers per CPU second of the fastest alone."""
        return self.race.cpu_s / max(_LEAST_S, self.best.cpu_s) if self.best.finished else nan


def _raced(program: MixedIntegerProgram, limit: float) -> Raced:
    able = [name for name in ("highs", "cp-sat", "scip") if not refusal(program, name) and is_installed(name)]
    race = solved(program, "portfolio", inf, limit)
    alone_s = min(limit, _LONGER * race.wall_s + 1.0) if race.finished else limit
    singles = {name: solved(program, "default", inf, alone_s, name) for name in able}
    best = min(singles, key=lambda name: (not singles[name].finished, singles[name].wall_s))
    spent = race.cpu_s + sum(run.cpu_s for run in singles.values())
    told = ", ".join(f"{name} {run.wall_s:.2f} s ({run.cpu_s:.2f} CPU) {run.note}" for name, run in singles.items())
    raced = Raced(race, singles[best], best, spent, "")
    ratios = f"wall ratio {raced.wall_ratio:.3g}, CPU ratio {raced.cpu_ratio:.3g}"
    return replace(raced, note=f"{ratios}; portfolio {race.wall_s:.2f} s ({race.cpu_s:.2f} CPU) {race.note}; {told}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _import_solvers() -> None:
    """Load every backend, so that no solver alone and no race pays for it in this process."""
    program = benchmark_program("set-cover", 0, rows=10, columns=20)
    for name in ("highs", "cp-sat", "scip"):
        if is_installed(name):
            solve_instance(program, SolveOptions(backend=name))
