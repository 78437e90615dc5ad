"""The independent check of the thermal units of a secure commitment: unit by unit, period by period."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.instances.security_commitment import FREE, SecurityConstrainedCommitment, SitedUnit
from apportion.instances.security_plan import SecureCommitment
from apportion.models.verdict import TOLERANCE, Violation

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class UnitCosts:
    """What one unit costs."""

    starting: float
    stopping: float
    producing: float
    starts: int


@dataclass(frozen=True)
class _Run:
    """One unit's rows of a plan: output, and what it holds above it (ready or flexible) and below it."""

    sited: SitedUnit
    on: Bools
    power: Floats
    ready: Floats
    flexible_up: Floats
    below: Floats
    counts_at_shutdown: bool

    def changes(self) -> Iterator[tuple[int, bool, int]]:
        """Each period in which the state changes, whether to on, and for how many periods the old one lasted."""
        unit = self.sited.unit
        state = unit.initially_on
        lasted = unit.initial_up_h if state else unit.initial_down_h
        for t, on in enumerate(self.on.tolist()):
            if on == state:
                lasted += 1
                continue
            yield t, on, lasted
            state, lasted = on, 1


def exceeding(rule: str, where: str, excess: Floats, most: int = 20) -> Iterator[Violation]:
    """A violation for each period in which ``excess`` (MW) is more than rounding, the first ``most`` of them."""
    for t in np.flatnonzero(~(excess <= TOLERANCE))[:most]:
        yield Violation(rule, f"{where}, period {t + 1}" if where else f"period {t + 1}", float(excess[t]), "MW")


def check_units(
    instance: SecurityConstrainedCommitment, plan: SecureCommitment
) -> tuple[list[Violation], list[UnitCosts]]:
    """All that is wrong with the units of an aligned plan, and what each costs."""
    violations: list[Violation] = []
    costs = []
    for g, sited in enumerate(instance.thermal):
        run = _run_of(instance, plan, g, sited)
        violations += [*_states(run), *_limits(run), *_ramps(run)]
        costs.append(_costs(run))
    violations += _reserves(instance, plan)
    return violations, costs


def _run_of(instance: SecurityConstrainedCommitment, plan: SecureCommitment, g: int, sited: SitedUnit) -> _Run:
    ready, flexible, below = (np.zeros(instance.num_periods) for _ in range(3))
    for product in instance.reserves:
        held = plan.reserve_mw[product.name][g]
        if not product.kind.upwards:
            below = below + held
        elif product.kind.flexible:
            flexible = flexible + held
        else:
            ready = ready + held
    counts = instance.reserve_counts_at_shutdown
    return _Run(sited, plan.committed[g], plan.power_mw[g], ready, flexible, below, counts)


def _states(run: _Run) -> Iterator[Violation]:
    unit, name = run.sited.unit, run.sited.name
    if unit.must_run and not run.on.all():
        yield Violation("must run", f"{name}, period {int(np.argmin(run.on)) + 1}", 1.0)
    fixed = run.sited.fixed_commitment
    if fixed is not None:
        for t in np.flatnonzero((fixed != FREE) & (fixed != run.on)):
            yield Violation("fixed commitment", f"{name}, period {t + 1}", 1.0)
    for at, on, lasted in run.changes():
        least = unit.min_down_h if on else unit.min_up_h
        if lasted < least:
            rule = "minimum down time" if on else "minimum up time"
            yield Violation(rule, f"{name}, period {at + 1}", float(least - lasted), "periods")


def _limits(run: _Run) -> Iterator[Violation]:
    unit, name, on = run.sited.unit, run.sited.name, run.on
    top = run.power + run.ready + run.flexible_up
    yield from exceeding("output while off", name, np.where(on, 0.0, np.abs(run.power)))
    yield from exceeding("reserve while off", name, np.where(on, 0.0, np.abs(top - run.power) + np.abs(run.below)))
    yield from exceeding("minimum output", name, np.where(on, unit.power_min_mw - run.power + run.below, 0.0))
    yield from exceeding("maximum output", name, np.where(on, top - unit.power_max_mw, 0.0))
    full = run.power + run.ready
    for t, started, _ in run.changes():
        if started:
            excess = full[t] - unit.startup_limit_mw
            yield from _once("start-up limit", name, t, excess)
        else:
            last = run.power if not run.counts_at_shutdown else full
            before = last[t - 1] if t else unit.initial_power_mw
            yield from _once("shut-down limit", name, t, before - unit.shutdown_limit_mw)


def _once(rule: str, name: str, t: int, excess: float) -> Iterator[Violation]:
    if excess > TOLERANCE:
        yield Violation(rule, f"{name}, period {t + 1}", float(excess), "MW")


def _ramps(run: _Run) -> Iterator[Violation]:
    """Ramps bind the output above the minimum, which is 0 while off; ready reserve has to be within reach."""
    unit = run.sited.unit
    above = np.where(run.on, run.power - unit.power_min_mw, 0.0)
    first = min(max(unit.initial_power_mw - unit.power_min_mw, 0.0), unit.power_max_mw) if unit.initially_on else 0.0
    before = np.append(first, above[:-1])
    yield from exceeding("ramp up", unit.name, above + run.ready - before - unit.ramp_up_mw)
    yield from exceeding("ramp down", unit.name, before - above - unit.ramp_down_mw)


def _costs(run: _Run) -> UnitCosts:
    unit = run.sited.unit
    starting = 0.0
    starts = stops = 0
    for _, started, lasted in run.changes():
        if not started:
            stops += 1
            continue
        starts += 1
        reached = [category.cost for category in unit.startup if category.lag_h <= lasted]
        starting += reached[-1] if reached else unit.startup[0].cost
    points = [(point.power_mw, point.cost) for point in unit.production]
    curve = np.interp(run.power[run.on], [p for p, _ in points], [c for _, c in points])
    return UnitCosts(starting, stops * run.sited.shutdown_cost, float(curve.sum()), starts)


def _reserves(instance: SecurityConstrainedCommitment, plan: SecureCommitment) -> Iterator[Violation]:
    """Who may hold what, and what flexible products ask of the next period."""
    for product in instance.reserves:
        table = plan.reserve_mw[product.name]
        eligible = set(product.units)
        for g, sited in enumerate(instance.thermal):
            held, name = table[g], f"{product.name}, {sited.name}"
            yield from exceeding("negative reserve", name, -held)
            if sited.name not in eligible:
                yield from exceeding("reserve of a unit outside the zone", name, np.abs(held))
            if product.kind.flexible and held.any():
                ramp = sited.unit.ramp_up_mw if product.kind.upwards else sited.unit.ramp_down_mw
                later = np.append(plan.committed[g][1:], True)
                yield from exceeding("flexible ramp", name, held - ramp)
                yield from exceeding("flexible ramp of a unit that stops", name, np.where(later, 0.0, held))
