"""Unit commitment day after day: a year of windows without a seam error, and what starting from yesterday saves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from apportion.bench.registry import Context, Measurement, Target, spec

if TYPE_CHECKING:
    from apportion.instances.commitment import UnitCommitment

_FIRST_DAY = date(2020, 1, 1)
_YEAR = 365
_DAY_H = 24
_GAP = 1e-3
_ROLLING_GAP = 1e-2
_LIMIT_S = 60.0
_SAMPLE = (date(2020, 1, 27), date(2020, 3, 5), date(2020, 6, 8))
"""Where the stretches of days begin on which cold and warm are compared: winter, spring, summer."""

_SAMPLE_DAYS = 4


def _days(context: Context, first: date, days: int) -> tuple[UnitCommitment, str]:
    """Real days of RTS-GMLC (its series end with June and begin again), or generated ones."""
    from apportion.instances.formats.rts_gmlc import Choice, read_rts_gmlc
    from apportion.instances.generate.commitment import generate_commitment

    real = None if context.quick else context.data_file("power/rts-gmlc/SourceData/gen.csv")
    if real is not None:
        return read_rts_gmlc(Choice(real.parents[1], first, days, repeat=True)), ""
    return generate_commitment(seed=first.day, units=5, periods=_DAY_H * days), "generated stand-in"


@spec("power", "year")
def year(context: Context) -> Iterator[Measurement]:
    """CPU seconds of consecutive days of 24 hours, each solved cold and from the plan of the day before."""
    stretches, days = (_SAMPLE[:1], 2) if context.quick else (_SAMPLE, _SAMPLE_DAYS)
    total = {"cold": 0.0, "warm": 0.0}
    open_days = {"cold": 0, "warm": 0}
    for first in stretches:
        instance, note = _days(context, first, days)
        spent = {"cold": 0.0, "warm": 0.0}
        for found in _compared(instance, days, context.limit_s or _LIMIT_S):
            for kind, (cpu_s, gap) in found.items():
                spent[kind] += cpu_s
                open_days[kind] += not gap <= _GAP
        for kind, cpu_s in spent.items():
            total[kind] += cpu_s
        yield Measurement(
            f"{days} days from {first}",
            "warm CPU s",
            spent["warm"],
            spent["cold"],
            "cold",
            cpu_s=spent["cold"],
            note=note,
        )
    unproven = f"days not proven to {_GAP:.1%}: {open_days['warm']} warm, {open_days['cold']} cold"
    yield Measurement(
        f"{len(stretches) * days} days",
        "warm CPU s",
        total["warm"],
        total["cold"],
        "cold",
        target=None if context.quick else Target("ratio", "<=", 0.5),
        cpu_s=total["cold"],
        note=unproven,
    )


def _compared(instance: UnitCommitment, days: int, limit_s: float) -> Iterator[dict[str, tuple[float, float]]]:
    """CPU seconds and gap of each day but the first, cold and warm, of the very same instance."""
    from apportion.instances.commitment_windows import FleetState
    from apportion.solvers.commitment_chain.memory import Memory
    from apportion.solvers.options import SolveOptions
    from apportion.solvers.solve import solve_instance

    options = SolveOptions(gap=_GAP, time_limit_s=limit_s)
    state, memory = FleetState.before(instance), None
    for day in range(days):
        part = state.continued(instance, day * _DAY_H, _DAY_H)
        found: dict[str, tuple[float, float]] = {}
        plan: Any = None
        for kind in ("cold", "warm"):
            began = time.process_time()
            result = solve_instance(part, options, advisor=memory if kind == "warm" else None)
            gap = inf if result.plan is None else result.bounds.gap
            found[kind] = (time.process_time() - began, gap)
            plan = result.plan or plan
        if plan is None:
            return
        if memory is not None:
            yield found
        memory, state = Memory(plan, _DAY_H), state.after(plan)


@spec("power", "rolling")
def rolling(context: Context) -> Iterator[Measurement]:
    """Rules broken by the joined plan of 365 days: windows of 36 hours of which 24 are carried out."""
    from apportion.solvers.commitment_chain.roll import roll
    from apportion.solvers.options import SolveOptions

    days = 3 if context.quick else _YEAR
    instance, note = _days(context, _FIRST_DAY, days)
    options = SolveOptions(gap=_ROLLING_GAP, time_limit_s=context.limit_s or _LIMIT_S)
    rolled = roll(instance, 36, 24, options=options)
    broken = inf if rolled.verdict is None else float(len(rolled.verdict.violations))
    case = f"{days} days"
    said = f"{len(rolled.windows)} windows, {rolled.retries} planned again"
    rest = note or "January to June twice"
    yield Measurement(
        case, "rules broken", broken, target=Target("ours", "<=", 0.0), cpu_s=rolled.cpu_s, note=f"{said}; {rest}"
    )
    yield Measurement(case, "CPU s", rolled.cpu_s, cpu_s=rolled.cpu_s)
    if isfinite(rolled.cost):
        parts = sum(window.cost for window in rolled.windows)
        yield Measurement(case, "cost", rolled.cost, parts, "sum of the windows", note="the check against the windows")
