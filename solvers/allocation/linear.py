"""The policies by their linear programs, solved with HiGHS: the reference for the fast methods."""

from __future__ import annotations

from math import isfinite

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import BackendError
from apportion.instances.fleet import FleetAllocation
from apportion.models.algebra import Model
from apportion.models.allocation.arrays import Formulation, base, level_program, sum_program
from apportion.solvers.allocation.allocation import Allocation, allocated
from apportion.solvers.allocation.requirements import FinishTimes
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Bounds, Status

Floats = NDArray[np.float64]

_MOST_ROUNDS = 100
_MARGINAL = 1e-7
_SLACK = 1e-7


def run_model(model: Model) -> tuple[Floats, Bounds] | None:
    """Solve a program exactly; None when it is infeasible."""
    answer = _answer(model)
    return None if answer is None or answer.values is None else (answer.values, answer.bounds)


def _answer(model: Model) -> BackendAnswer | None:
    options = SolveOptions(gap=1e-9)
    answer = backend_named("highs").run(model.compile(), options, Monitor(model.sense))
    if answer.status in (Status.INFEASIBLE, Status.INFEASIBLE_OR_UNBOUNDED):
        return None
    if answer.values is None or not isfinite(answer.bounds.primal):
        raise BackendError(f"HiGHS ends {model.compile().name!r} with {answer.native_status}")
    return answer


def highest_level(
    snapshot: FleetAllocation, need: Floats, *, packed: bool = False, fixed: Floats | None = None
) -> Allocation | None:
    """The shares with the highest level L where ``rate >= fixed + need * L``.

    None when ``fixed`` is too much or nobody needs anything.
    """
    scale = float(need.max(initial=0.0))
    if scale <= 0.0:
        return None
    formulation = level_program(snapshot, need / scale, packed=packed, fixed=fixed)
    found = run_model(formulation.model)
    if found is None:
        return None
    values, bounds = found
    return _allocated(formulation, values, bounds.primal / scale, bounds.dual / scale)


def _allocated(formulation: Formulation, values: Floats, objective: float, bound: float) -> Allocation:
    x, y = formulation.shares(values)
    return allocated(formulation.instance, x, y, objective, bound)


def highest_value(
    snapshot: FleetAllocation, value: Floats, least: Floats, *, packed: bool = False, pair_value: Floats | None = None
) -> Allocation | None:
    """The shares that maximise ``sum value * x + pair_value * y`` with ``rate >= least``; None when out of reach."""
    formulation = sum_program(snapshot, value, least, packed=packed, pair_value=pair_value)
    found = run_model(formulation.model)
    if found is None:
        return None
    return _allocated(formulation, found[0], found[1].primal, found[1].dual)


def fairest_finish(snapshot: FleetAllocation, *, packed: bool = False, tolerance: float = 1e-7) -> Allocation | None:
    """The smallest worst finish-time ratio by bisection, one linear program for each ratio tried."""
    times = FinishTimes.of(snapshot)
    if not (times.steps > 0).any():
        return None
    top = np.maximum(snapshot.rates.max(axis=1, initial=0.0), _fastest_in_pairs(snapshot) if packed else 0.0)
    low = float(times.ratios(top).max())
    high, best = low, None
    while best is None:
        best = _keeps(snapshot, times, high, packed=packed)
        if best is None:
            low, high = high, 2.0 * high
    while high - low > tolerance * high:
        middle = (low + high) / 2.0
        found = _keeps(snapshot, times, middle, packed=packed)
        if found is None:
            low = middle
        else:
            high, best = middle, found
    reached = float(times.ratios(best.throughputs(snapshot)).max())
    return allocated(snapshot, best.x, best.y, reached, low)


def _keeps(snapshot: FleetAllocation, times: FinishTimes, ratio: float, *, packed: bool) -> Allocation | None:
    need = times.needs(ratio)
    if not np.isfinite(need).all():
        return None
    found = highest_level(snapshot, need, packed=packed)
    return found if found is not None and found.objective >= 1.0 - 1e-9 else None


def _fastest_in_pairs(snapshot: FleetAllocation) -> Floats:
    top = np.zeros(snapshot.num_jobs)
    for side in (0, 1):
        np.maximum.at(top, snapshot.pairs[:, side], snapshot.pair_rates[:, side, :].max(axis=1, initial=0.0))
    return top


def highest_welfare(
    snapshot: FleetAllocation, weights: Floats, *, packed: bool = False, tolerance: float = 1e-7
) -> Allocation | None:
    """Maximise ``sum weights * log(rate)`` with tangents of the logarithm, added until they touch (Kelley 1960)."""
    able = np.flatnonzero(snapshot.runnable & (weights > 0))
    if not len(able):
        return None
    formulation = base(snapshot, packed=packed)
    model, rate = formulation.model, formulation.rate
    gain = model.add_variables("gain", (len(able),), lower=-np.inf)
    model.maximise((weights[able] * gain).sum())
    equal = snapshot.isolated_throughputs[able]
    for k, factor in enumerate((0.25, 1.0, 4.0)):
        model.add_constraints(f"tangent{k}", gain <= _tangent(rate[able], factor * equal))
    best: Allocation | None = None
    for k in range(_MOST_ROUNDS):
        found = run_model(model)
        if found is None:
            return None
        values, bounds = found
        x, y = formulation.shares(values)
        reached = allocated(snapshot, x, y).throughputs(snapshot)[able]
        welfare = float(weights[able] @ np.log(np.maximum(reached, 1e-300)))
        if best is None or welfare > best.objective:
            best = allocated(snapshot, x, y, welfare, bounds.dual)
        if bounds.dual - best.objective <= tolerance * float(weights[able].sum()):
            return allocated(snapshot, best.x, best.y, best.objective, bounds.dual)
        at = np.maximum(reached, 1e-3 * equal)
        model.add_constraints(f"more{k}", gain <= _tangent(rate[able], at))
    return best


def _tangent(rate: object, at: Floats) -> object:
    return rate / at + (np.log(at) - 1.0)  # type: ignore[operator]


def water_filling(snapshot: FleetAllocation, need: Floats, *, packed: bool = False) -> Allocation | None:
    """Lexicographic max-min by repeated linear programs; duals tell whose level cannot rise any more."""
    active = (need > 0) & snapshot.runnable
    if not active.any():
        return None
    fixed = np.zeros(len(need))
    first, last = None, None
    while active.any():
        scale = float(need[active].max())
        asked = np.where(active, need / scale, 0.0)
        formulation = level_program(snapshot, asked, packed=packed, fixed=fixed)
        answer = _answer(formulation.model)
        if answer is None or answer.values is None or answer.row_duals is None:
            break
        level = answer.bounds.primal / scale
        last = _allocated(formulation, answer.values, level, answer.bounds.dual / scale)
        first = first or last
        marginal = np.abs(formulation.model.split_rows(answer.row_duals)["level"]) * asked * active.sum()
        stuck = active & (marginal > _MARGINAL)
        stuck = stuck if stuck.any() else active
        fixed = np.where(stuck, need * level * (1.0 - _SLACK), fixed)
        active &= ~stuck
    if first is None or last is None:
        return None
    return allocated(snapshot, last.x, last.y, first.objective, first.bound)
