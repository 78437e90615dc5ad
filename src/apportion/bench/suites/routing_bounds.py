"""Proven bounds of plain vehicle routing: how far below the plan, and how often the plan is proven to be the best.

No free routing solver gives a bound, so there is no peer; the best known value stands in its column. All files take
about 70 minutes: ten for each of Solomon's, five for each other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from math import isfinite, nan
from pathlib import Path

from apportion.api import solve
from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.suites.sweep import _best_known
from apportion.solvers.status import Status

_SHIPPED = Path(str(files("apportion.instances") / "data"))
_BOUND_S, _PROOF_S, _QUICK_S = 300.0, 600.0, 2.0
_CLOSE, _WIDER = 0.01, 0.025
_HALF = 0.5


@dataclass(frozen=True)
class _Case:
    """A file, the gap it should reach, and the seconds it gets."""

    file: str
    gap: float
    seconds: float

    @property
    def name(self) -> str:
        return Path(self.file).stem


_SOLOMON = tuple(
    _Case(f"logistics/vrptw/solomon/{name}.txt", _WIDER if name.startswith("RC") else _CLOSE, _PROOF_S)
    for name in ("C101", "C104", "R101", "R108", "R112", "RC101", "RC108")
)
_OTHERS = (
    _Case("logistics/vrptw/homberger/R1_2_1.txt", _CLOSE, _BOUND_S),
    *(
        _Case(f"logistics/cvrp/X/{name}.vrp", _WIDER, _BOUND_S)
        for name in ("X-n101-k25", "X-n125-k30", "X-n157-k13", "X-n200-k36", "X-n251-k28")
    ),
)
_STAND_INS = ("routing_small.vrp", "routing_windows.txt")


@spec("routing", "bounds")
def bounds(context: Context) -> Iterator[Measurement]:
    """The gap between plan and bound of every file, its bound, and the share of Solomon's that are proven."""
    if context.quick:
        for name in _STAND_INS:
            result = solve(_SHIPPED / name, time_limit_s=_QUICK_S, gap=0.0, seed=1)
            yield Measurement(name, "proven gap", result.bounds.gap, seeds=(1,), cpu_s=result.timings.cpu_s)
        return
    proven: list[bool] = []
    for case in (*_SOLOMON, *_OTHERS):
        path = context.data_file(case.file)
        if path is None:
            continue
        seed, limit = context.seeds[0], context.limit_s or case.seconds
        begun = time.perf_counter()
        result = solve(path, time_limit_s=limit, gap=0.0, seed=seed)
        took = time.perf_counter() - begun
        is_optimal = result.status is Status.OPTIMAL
        if case in _SOLOMON:
            proven.append(is_optimal)
        note = f"{'optimal' if is_optimal else 'open'} after {took:.0f} s; plan {result.objective:g}"
        best, cpu_s, seeds = _best_known(context, case.name), result.timings.cpu_s, (seed,)
        target = Target("ours", "<=", case.gap)
        yield Measurement(
            case.name, f"proven gap within {limit:g} s", result.bounds.gap, None, "", target, seeds, cpu_s, 0.0, note
        )
        bound = result.bounds.dual if isfinite(result.bounds.dual) else nan
        # a bound above the best known value would be a false claim
        below = Target("ratio", "<=", 1.0)
        yield Measurement(case.name, "bound", bound, best, "best known", below, seeds, cpu_s, 0.0, note)
    if proven:
        share = sum(proven) / len(proven)
        yield Measurement(
            "Solomon type 1", "share proven optimal", share, None, "", Target("ours", ">=", _HALF), context.seeds[:1]
        )
