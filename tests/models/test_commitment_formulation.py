"""The tight formulation against a slow, literal transcription of the library's reference model, and brute force."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest

from apportion.instances.commitment import ProductionPoint, StartupCategory, ThermalUnit, UnitCommitment
from apportion.instances.core import Sense
from apportion.instances.generate.commitment import generate_commitment
from apportion.instances.program import MixedIntegerProgram
from apportion.models.algebra import LinearExpression, Model
from apportion.models.commitment.arrays import decode, formulate
from apportion.models.commitment.check import check
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status


def run(program: MixedIntegerProgram) -> BackendAnswer:
    return backend_named("highs").run(program, SolveOptions(gap=0.0), Monitor(Sense.MINIMISE))


def reference(instance: UnitCommitment) -> Model:
    """The equations of MODEL.tex, one by one, numbered as in the library's uc_model.py."""
    T = instance.num_periods
    model = Model("reference", sense="minimise")
    demand: list[Any] = [0.0] * T
    reserves: list[Any] = [0.0] * T
    cost: Any = 0.0
    for g, unit in enumerate(instance.thermal):
        cost = cost + _reference_unit(model, g, unit, T, demand, reserves)
    for w, source in enumerate(instance.renewable):
        p = model.add_variables(f"pw{w}", (T,), lower=source.power_min_mw, upper=source.power_max_mw)  # (24)
        for t in range(T):
            demand[t] = demand[t] + p[t]
    for t in range(T):
        model.add_constraints(f"demand{t}", demand[t] == instance.demand_mw[t])  # (2)
        model.add_constraints(f"reserve{t}", reserves[t] >= instance.reserve_mw[t])  # (3)
    model.minimise(cost)
    return model


def _reference_unit(  # noqa: C901 - one line per equation of the paper
    model: Model, g: int, unit: ThermalUnit, T: int, demand: list[Any], reserves: list[Any]
) -> LinearExpression:
    rows = itertools.count()

    def add(relation: Any) -> None:
        model.add_constraints(f"unit{g} row{next(rows)}", relation)

    S, L = len(unit.startup), len(unit.production)
    p = model.add_variables(f"p{g}", (T,))
    r = model.add_variables(f"r{g}", (T,))
    u, v, w = (model.add_variables(f"{name}{g}", (T,), upper=1, integer=True) for name in "uvw")
    d = model.add_variables(f"d{g}", (S, T), upper=1, integer=True)
    l = model.add_variables(f"l{g}", (L, T), upper=1)  # noqa: E741
    on0, pmin, pmax = int(unit.initially_on), unit.power_min_mw, unit.power_max_mw
    above0 = on0 * (unit.initial_power_mw - pmin)
    short_start, short_stop = max(pmax - unit.startup_limit_mw, 0.0), max(pmax - unit.shutdown_limit_mw, 0.0)
    UT, DT = min(unit.min_up_h, T), min(unit.min_down_h, T)
    lag = [category.lag_h for category in unit.startup]
    cost: Any = 0.0
    if on0:
        for t in range(min(unit.min_up_h - unit.initial_up_h, T)):
            add(u[t] == 1)  # (4)
    else:
        for t in range(min(unit.min_down_h - unit.initial_down_h, T)):
            add(u[t] == 0)  # (5)
    for s in range(S - 1):
        for t in range(max(1, lag[s + 1] - unit.initial_down_h + 1), min(lag[s + 1] - 1, T) + 1):
            add(d[s, t - 1] == 0)  # (7)
    add(p[0] + r[0] - above0 <= unit.ramp_up_mw)  # (8)
    add(above0 - p[0] <= unit.ramp_down_mw)  # (9)
    add(above0 + short_stop * w[0] <= (pmax - pmin) * on0)  # (10)
    for t in range(T):
        cost = cost + unit.production[0].cost * u[t]
        before = u[t - 1] if t else on0
        add(u[t] - before == v[t] - w[t])  # (6), (12)
        add(u[t] >= int(unit.must_run))  # (11)
        if t + 1 >= UT and UT:
            add(v[t - UT + 1 : t + 1].sum() <= u[t])  # (13)
        if t + 1 >= DT and DT:
            add(w[t - DT + 1 : t + 1].sum() <= 1 - u[t])  # (14)
        for s in range(S - 1):
            if t + 1 >= lag[s + 1]:
                recent: Any = 0.0
                for i in range(lag[s], lag[s + 1]):
                    recent = recent + w[t - i]
                add(d[s, t] <= recent)  # (15)
        add(v[t] == d[:, t].sum())  # (16)
        add(p[t] + r[t] <= (pmax - pmin) * u[t] - short_start * v[t])  # (17)
        if t + 1 < T:
            add(p[t] + r[t] <= (pmax - pmin) * u[t] - short_stop * w[t + 1])  # (18)
        if t:
            add(p[t] + r[t] - p[t - 1] <= unit.ramp_up_mw)  # (19)
            add(p[t - 1] - p[t] <= unit.ramp_down_mw)  # (20)
        steps = [point.power_mw - unit.production[0].power_mw for point in unit.production]
        prices = [point.cost - unit.production[0].cost for point in unit.production]
        add(p[t] == (np.array(steps) * l[:, t]).sum())  # (21)
        cost = cost + (np.array(prices) * l[:, t]).sum()  # (22)
        add(u[t] == l[:, t].sum())  # (23)
        cost = cost + (np.array([category.cost for category in unit.startup]) * d[:, t]).sum()
        demand[t] = demand[t] + p[t] + pmin * u[t]
        reserves[t] = reserves[t] + r[t]
    return cost  # type: ignore[no-any-return]


def harder(instance: UnitCommitment, seed: int) -> UnitCommitment:
    """The same day with the units' limits drawn anew: slow ramps, odd start and stop limits, long and short runs."""
    random = np.random.default_rng(seed)
    units = []
    for unit in instance.thermal:
        span = unit.power_max_mw - unit.power_min_mw
        draw = random.uniform(0.2, 1.2, 4)
        must_run = bool(random.random() < 0.1) and (unit.initially_on or unit.initial_down_h >= 3)
        lags = sorted(random.choice(np.arange(3, 9), 2, replace=False).tolist())
        min_down = int(random.integers(1, 4))
        costs = np.sort(random.uniform(5.0, 400.0, 3)).round(1).tolist()
        categories = [StartupCategory(min_down, costs[0])]
        categories += [StartupCategory(lag, cost) for lag, cost in zip(lags, costs[1:], strict=True) if lag > min_down]
        units.append(
            replace(
                unit,
                ramp_up_mw=round(draw[0] * span, 1),
                ramp_down_mw=round(draw[1] * span, 1),
                startup_limit_mw=round(unit.power_min_mw + draw[2] * span, 1),
                shutdown_limit_mw=round(unit.power_min_mw + draw[3] * span, 1),
                min_up_h=int(random.integers(1, 6)),
                min_down_h=min_down,
                must_run=must_run,
                startup=tuple(categories[: int(random.integers(1, 4))]),
                production=unit.production if random.random() < 0.7 else (unit.production[0], unit.production[-1]),
            )
        )
    units[-1] = _able_to_fill(units[-1], 2.0 * float(instance.demand_mw.max()))
    swing = random.uniform(0.55, 1.4, instance.num_periods)
    return replace(instance, thermal=tuple(units), demand_mw=np.round(swing * instance.demand_mw, 2))


def _able_to_fill(unit: ThermalUnit, size: float) -> ThermalUnit:
    """A dear unit that can follow any load, so that the day can be met whatever the others are allowed."""
    return replace(
        unit,
        power_min_mw=0.0,
        power_max_mw=size,
        ramp_up_mw=size,
        ramp_down_mw=size,
        startup_limit_mw=size,
        shutdown_limit_mw=size,
        initial_power_mw=0.0,
        min_up_h=1,
        min_down_h=1,
        must_run=False,
        initial_down_h=0 if unit.initially_on else 2,
        startup=(StartupCategory(1, 30.0), StartupCategory(3, 45.0)),
        production=(ProductionPoint(0.0, 10.0), ProductionPoint(size, 10.0 + 80.0 * size)),
    )


def cost_of(instance: UnitCommitment) -> float:
    """The optimum of the tight formulation, after its plan has passed the check; infinite when infeasible."""
    formulation = formulate(instance)
    answer = run(formulation.model.compile())
    if answer.values is None:
        assert answer.status is Status.INFEASIBLE
        return inf
    verdict = check(instance, decode(formulation, answer.values))
    assert verdict.ok, verdict.violations
    assert verdict.objective == pytest.approx(answer.bounds.primal, rel=1e-6)
    return answer.bounds.primal


def counted_too_cold(instance: UnitCommitment) -> UnitCommitment:
    """Long off at the start: then equation (7) of the reference binds no hour but the first ones rightly.

    It forbids warm categories in the first hours of the horizon by the initial hours off, also to a second start that
    follows a short stop. With all categories but one gone for units that are off, it has nothing to forbid.
    """
    units = [
        unit if unit.initially_on else replace(unit, startup=unit.startup[:1], initial_down_h=unit.initial_down_h)
        for unit in instance.thermal
    ]
    return replace(instance, thermal=tuple(units))


@pytest.mark.parametrize("seed", range(14))
def test_same_optimum_as_the_reference(seed: int) -> None:
    day = generate_commitment(seed=seed, units=5, periods=8 + seed % 5, renewables=seed % 3)
    instance = counted_too_cold(harder(day, seed) if seed % 3 else day)
    expected = run(reference(instance).compile())
    assert cost_of(instance) == pytest.approx(inf if expected.values is None else expected.bounds.primal, rel=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_relaxation_is_no_weaker_than_the_reference(seed: int) -> None:
    instance = counted_too_cold(generate_commitment(seed=seed, units=8, periods=16))
    ours, theirs = (run(model.compile().relaxed()) for model in (formulate(instance).model, reference(instance)))
    assert ours.bounds.dual >= theirs.bounds.dual - 1e-6 * abs(theirs.bounds.dual)


def brute_force(instance: UnitCommitment) -> float:
    """The least cost over every on/off table whose dispatch, a plain linear program, exists."""
    best = inf
    shape = instance.num_units, instance.num_periods
    for bits in itertools.product((False, True), repeat=shape[0] * shape[1]):
        committed = np.array(bits).reshape(shape)
        if not _states_allowed(instance, committed):
            continue
        best = min(best, _start_costs(instance, committed) + _dispatch_cost(instance, committed, best))
    return best


def _runs(unit: ThermalUnit, row: np.ndarray[Any, Any]) -> list[tuple[bool, int, int]]:
    """(on, hours, hours before the horizon) of each stretch of equal states."""
    past = unit.initial_up_h if unit.initially_on else unit.initial_down_h
    states = [unit.initially_on, *row.tolist()]
    stretches: list[tuple[bool, int, int]] = []
    for state, group in itertools.groupby(states):
        stretches.append((state, len(list(group)), 0))
    first = stretches[0]
    stretches[0] = (first[0], first[1] - 1 + past, past)
    return stretches


def _states_allowed(instance: UnitCommitment, committed: np.ndarray[Any, Any]) -> bool:
    for unit, row in zip(instance.thermal, committed, strict=True):
        if unit.must_run and not row.all():
            return False
        for on, hours, _ in _runs(unit, row)[:-1]:
            if hours < (unit.min_up_h if on else unit.min_down_h):
                return False
    return True


def _start_costs(instance: UnitCommitment, committed: np.ndarray[Any, Any]) -> float:
    total = 0.0
    for unit, row in zip(instance.thermal, committed, strict=True):
        for on, hours, _ in _runs(unit, row)[:-1]:
            if not on:
                total += max(category.cost for category in unit.startup if category.lag_h <= hours)
    return total


def _dispatch_cost(instance: UnitCommitment, committed: np.ndarray[Any, Any], best: float) -> float:
    periods = instance.num_periods
    capacity = np.array([unit.power_max_mw for unit in instance.thermal]) @ committed
    capacity = capacity + sum(unit.power_max_mw for unit in instance.renewable)
    if np.any(capacity < instance.demand_mw + instance.reserve_mw - 1e-6):
        return inf
    model = Model("dispatch", sense="minimise")
    supply: list[Any] = [0.0] * periods
    held: list[Any] = [0.0] * periods
    cost: Any = 0.0
    for g, unit in enumerate(instance.thermal):
        p, r, c = (
            model.add_variables(f"{name}{g}", (periods,), lower=low) for name, low in (("p", 0), ("r", 0), ("c", -1e9))
        )
        on = [unit.initially_on, *committed[g].tolist(), committed[g, -1]]
        for t in range(periods):
            lines = [f"unit {g} hour {t} {k}" for k in range(40)]
            most = unit.power_max_mw
            if not on[t + 1]:
                model.add_constraints(lines.pop(), p[t] + r[t] == 0)
                model.add_constraints(lines.pop(), c[t] == 0)
            else:
                if not on[t]:
                    most = min(most, unit.startup_limit_mw)
                if not on[t + 2]:
                    most = min(most, unit.shutdown_limit_mw)
                model.add_constraints(lines.pop(), p[t] >= unit.power_min_mw)
                model.add_constraints(lines.pop(), p[t] + r[t] <= most)
                points = unit.production
                for a, b in itertools.pairwise(points):
                    slope = (b.cost - a.cost) / (b.power_mw - a.power_mw)
                    model.add_constraints(lines.pop(), c[t] >= a.cost + slope * (p[t] - a.power_mw))
                cost = cost + c[t]
            above = p[t] - unit.power_min_mw * on[t + 1]
            earlier: Any = (
                p[t - 1] - unit.power_min_mw * on[t] if t else unit.initial_power_mw - unit.power_min_mw * on[0]
            )
            model.add_constraints(lines.pop(), above + r[t] - earlier <= unit.ramp_up_mw)
            model.add_constraints(lines.pop(), earlier - above <= unit.ramp_down_mw)
            supply[t] = supply[t] + p[t]
            held[t] = held[t] + r[t]
        if unit.initially_on and not committed[g, 0] and unit.initial_power_mw > unit.shutdown_limit_mw:
            return inf
    least = sum((unit.power_min_mw for unit in instance.renewable), np.zeros(periods))
    most_renewable = sum((unit.power_max_mw for unit in instance.renewable), np.zeros(periods))
    x = model.add_variables("renewable", (periods,), lower=least, upper=most_renewable)
    for t in range(periods):
        model.add_constraints(f"demand {t}", supply[t] + x[t] == instance.demand_mw[t])
        model.add_constraints(f"reserve {t}", held[t] >= instance.reserve_mw[t])
    model.minimise(cost)
    answer = run(model.compile())
    return answer.bounds.primal if answer.values is not None else inf


@pytest.mark.parametrize("seed", range(10))
def test_brute_force_agrees(seed: int) -> None:
    units, periods = ((2, 5), (3, 4), (2, 6))[seed % 3]
    day = generate_commitment(seed=seed, units=units, periods=periods, renewables=1)
    instance = harder(day, seed) if seed % 4 else day
    assert cost_of(instance) == pytest.approx(brute_force(instance), rel=1e-6)
