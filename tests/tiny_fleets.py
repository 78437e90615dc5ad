"""Fleets so small that the full model is solved in milliseconds, with every rule tight somewhere and units alike."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from apportion.instances.commitment import ProductionPoint, RenewableUnit, StartupCategory, ThermalUnit, UnitCommitment
from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.models.commitment.arrays import formulate
from apportion.solvers.backends import backend_named
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions

PERIODS = 6


def optimum(program: MixedIntegerProgram) -> float:
    """By HiGHS; infinite when there is none."""
    answer = backend_named("highs").run(program, SolveOptions(gap=0.0), Monitor(Sense.MINIMISE))
    return inf if answer.values is None else answer.bounds.primal


def full_optimum(instance: UnitCommitment) -> float:
    """The optimum of the full model."""
    return optimum(formulate(instance).model.compile())


def unit_of(random: np.random.Generator, name: str, *, free: bool = False) -> ThermalUnit:
    """A unit with limits drawn anew: minimum times from 1, ramps that bind (unless ``free``), an initial state."""
    least, span = float(random.integers(0, 30)), float(random.integers(5, 60))
    up, down = (
        (span + 5.0, span)
        if free
        else (float(random.integers(2, int(span + 8))), float(random.integers(2, int(span + 8))))
    )
    min_up, min_down = int(random.integers(1, 5)), int(random.integers(1, 4))
    on = bool(random.random() < 0.6)
    must_run = on and bool(random.random() < 0.2)
    lag = min_down + int(random.integers(1, 3))
    hot = float(random.integers(0, 200))
    slope, rise = float(random.integers(10, 50)), float(random.integers(0, 20))
    at_least, knee = float(random.integers(0, 400)), round(0.6 * span, 2)
    points = [ProductionPoint(least, at_least), ProductionPoint(least + knee, at_least + slope * knee)]
    points.append(ProductionPoint(least + span, at_least + slope * span + rise * (span - knee)))
    if random.random() < 0.3:
        points = [points[0], ProductionPoint(least + span, at_least + slope * span)]
    cold = (StartupCategory(lag, hot + float(random.integers(0, 100))),) if random.random() < 0.5 else ()
    return ThermalUnit(
        name=name,
        power_min_mw=least,
        power_max_mw=least + span,
        ramp_up_mw=up,
        ramp_down_mw=down,
        startup_limit_mw=least + float(random.integers(0, int(span + 5))),
        shutdown_limit_mw=least + float(random.integers(0, int(span + 5))),
        min_up_h=min_up,
        min_down_h=min_down,
        initially_on=on,
        initial_power_mw=least + round(random.uniform(0.0, span), 1) if on else 0.0,
        initial_up_h=int(random.integers(1, 5)) if on else 0,
        initial_down_h=0 if on else int(random.integers(1, 5)),
        startup=(StartupCategory(min_down, hot), *cold),
        production=tuple(points),
        must_run=must_run,
    )


def filler(size: float) -> ThermalUnit:
    """Dear, and able to follow any load: with it there is nearly always a plan."""
    return ThermalUnit(
        name="filler",
        power_min_mw=0.0,
        power_max_mw=size,
        ramp_up_mw=size,
        ramp_down_mw=size,
        startup_limit_mw=size,
        shutdown_limit_mw=size,
        min_up_h=1,
        min_down_h=1,
        initially_on=True,
        initial_power_mw=0.0,
        initial_up_h=1,
        initial_down_h=0,
        startup=(StartupCategory(1, 40.0),),
        production=(ProductionPoint(0.0, 20.0), ProductionPoint(size, 20.0 + 90.0 * size)),
    )


def tiny_fleet(seed: int, *, kinds: int = 2, most_alike: int = 3, periods: int = PERIODS) -> UnitCommitment:
    """A few kinds of units, several of each, and a filler that need not suffice: tight reserve, sometimes no plan."""
    random = np.random.default_rng(seed)
    thermal: list[ThermalUnit] = []
    for k in range(kinds):
        unit = unit_of(random, f"kind {k}", free=bool(random.random() < 0.3))
        thermal += [replace(unit, name=f"{unit.name} no {n}") for n in range(int(random.integers(1, most_alike + 1)))]
    capacity = sum(unit.power_max_mw for unit in thermal)
    thermal.append(filler(round(0.4 * capacity + 10.0)))
    demand: Floats = np.round(capacity * random.uniform(0.2, 0.95, periods), 1)
    share = random.uniform(0.05, 0.25) * (random.random(periods) < 0.7)
    wind = RenewableUnit("wind", np.zeros(periods), np.round(0.1 * demand * random.random(periods), 1))
    return UnitCommitment(
        f"tiny fleet {seed}",
        demand,
        np.round(share * demand, 1),
        tuple(thermal),
        (wind,) if random.random() < 0.5 else (),
    )
