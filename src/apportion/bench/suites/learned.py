"""Learned advice on unseen days, against HiGHS with yesterday's plan to begin with, to the same proven gap.

``series``: programs of one structure with the numbers of a day. Every way takes its turn on each day, one thread, CPU
seconds; the figures are geometric means over the days, with a 95 % interval of the speed-up from resampled days. The
advice without a net (relaxation, all earlier days, nearest days) stands beside the net, which has to beat it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.instances.core import Instance
from apportion.instances.generate.series import series_program
from apportion.instances.program import MixedIntegerProgram
from apportion.learned.advisors.loading import shipped
from apportion.learned.advisors.simple import NearestAdvisor, RelaxationAdvisor, UnanimousAdvisor
from apportion.learned.advisors.start import StartAdvisor
from apportion.learned.memory import Memory
from apportion.solvers.advisor import Advice, Advisor
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status

GAP = 1e-3
_WALL_LIMIT_S = 300.0
_SPEED_UP = Target("ratio", "<=", 1 / 2.5)
_DAYS = 10
_RESAMPLED = 2000
SIZES: dict[str, dict[str, int]] = {
    "facility-day": {"customers": 100, "facilities": 60},
    "network-day": {"nodes": 20, "arcs": 80, "commodities": 15},
}
_QUICK = {"facility-day": {"customers": 12, "facilities": 6}}
_TRAINED_FROM = 1_000_000


@dataclass(frozen=True)
class Yesterday:
    """The values of the nearest day as a start."""

    memory: Memory

    def advise(self, instance: Instance) -> Advice:
        """See :class:`~apportion.solvers.advisor.Advisor`."""
        if not isinstance(instance, MixedIntegerProgram):
            return Advice()
        values = self.memory.values[self.memory.nearest(instance, 1)[0]]
        return Advice(hint=dict(zip(map(int, np.flatnonzero(instance.integer)), map(float, values), strict=True)))


def _seconds(program: MixedIntegerProgram, method: str, advisor: Advisor | None, limit_s: float) -> float:
    """CPU seconds to the proven gap; infinite when it is not proven in time."""
    begun = time.process_time()
    options = SolveOptions(gap=GAP, time_limit_s=limit_s)
    result = solve_instance(program, options, method=method, advisor=advisor)
    return time.process_time() - begun if result.status is Status.OPTIMAL else float("inf")


def _learned_from(make: Callable[[int], MixedIntegerProgram], days: int) -> Memory:
    programs = [make(_TRAINED_FROM + day) for day in range(days)]
    plans = [solve_instance(program, SolveOptions(gap=GAP)).plan for program in programs]
    kept = [
        (program, plan.to_array(program)) for program, plan in zip(programs, plans, strict=True) if plan is not None
    ]
    return Memory.of([program for program, _ in kept], [values for _, values in kept])


@spec("learned", "series")
def series(context: Context) -> Iterator[Measurement]:
    """Each series: HiGHS cold and from yesterday's plan, the simple advice, the net."""
    for name, sizes in (_QUICK if context.quick else SIZES).items():
        make = _maker(name, sizes)
        net: StartAdvisor | None = None
        if context.quick:
            memory = _learned_from(make, 4)
        else:
            net = StartAdvisor.load(shipped(name))
            if net.memory is None or not net.memory.knows(make(0)):
                raise AssertionError(f"the shipped weights of {name} are of other sizes")
            memory = net.memory
        yield from _one(name, make, memory, net, context)


def _maker(name: str, sizes: dict[str, int]) -> Callable[[int], MixedIntegerProgram]:
    return lambda day: series_program(name, day, **sizes)


def _one(
    name: str, make: Callable[[int], MixedIntegerProgram], memory: Memory, net: StartAdvisor | None, context: Context
) -> Iterator[Measurement]:
    ways: dict[str, tuple[str, Advisor | None]] = {
        "HiGHS cold": ("default", None),
        "HiGHS from yesterday": ("default", Yesterday(memory)),
        "fixing by the relaxation": ("advised", RelaxationAdvisor()),
        "fixing by all days": ("advised", UnanimousAdvisor(memory)),
        "fixing by the nearest days": ("advised", NearestAdvisor(memory)),
    }
    if net is not None:
        ways["fixing by the net"] = ("advised", net)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    days = range(2 if context.quick else _DAYS)
    for day in days:
        program = make(day)
        for way, (method, advisor) in ways.items():
            seconds[way].append(_seconds(program, method, advisor, context.limit_s or _WALL_LIMIT_S))
    means = {way: float(np.exp(np.log(figures).mean())) for way, figures in seconds.items()}
    peer = min(("HiGHS cold", "HiGHS from yesterday"), key=lambda way: means[way])
    for way in ways:
        spread = float(np.max(seconds[way]) / np.min(seconds[way]))
        note = f"slowest / fastest day {spread:.1f}"
        if ways[way][0] == "advised":
            low, high = _interval(np.array(seconds[way]), np.array(seconds[peer]))
            worst = float(np.max(np.array(seconds[way]) / np.array(seconds[peer])))
            note = f"speed-up {means[peer] / means[way]:.2f} (95 % {low:.2f} to {high:.2f}), worst day {worst:.2f}"
        target = _SPEED_UP if ways[way][0] == "advised" and not context.quick else None
        yield Measurement(
            case=f"{name}: {way}",
            metric=f"CPU s to a proven {GAP:.1%}, {len(days)} unseen days",
            ours=means[way],
            peer=None if way == peer else means[peer],
            peer_name="" if way == peer else peer,
            target=target,
            seeds=tuple(days),
            cpu_s=float(np.sum(seconds[way])),
            note=note,
        )


def _interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """95 % of the geometric mean of theirs / ours over days drawn again and again."""
    logs, random = np.log(theirs / ours), np.random.default_rng(0)
    drawn = random.choice(logs, (_RESAMPLED, len(logs))).mean(1)
    low, high = np.exp(np.quantile(drawn, (0.025, 0.975)))
    return float(low), float(high)
