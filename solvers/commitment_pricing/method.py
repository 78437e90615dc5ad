"""Prices of a commitment, of three kinds, and the account of every unit at them.

``lmp``
    The states are fixed as planned; the duals of demand and reserve in the linear program that is left are what one MW
    more would cost.
``aelmp``
    The same, but units that start fast may be on in part, as in the first phase of the extended prices of MISO (Wang
    et al., "Extended locational marginal pricing", 2013): their starts and their cost at least output enter the price.
``hull``
    Prices of the convex hull: those that prove most, and so need least uplift (Gribik, Hogan and Pope, "Market-clearing
    electricity prices and energy uplift", 2007).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from apportion.instances.commitment import Commitment, Floats, ThermalUnit, UnitCommitment
from apportion.instances.commitment_prices import KINDS, CommitmentPrices
from apportion.instances.core import Sense
from apportion.instances.errors import Fault, OptionError, PlanError
from apportion.models.commitment.arrays import Formulation, formulate
from apportion.models.commitment.check import check
from apportion.solvers.backends import backend_named
from apportion.solvers.commitment.hull import best_prices
from apportion.solvers.commitment.prices import Prices, UnitPricing
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status

HULL_TOLERANCE = 1e-6
"""How far the bound of hull prices may stay below the best one, as a fraction."""


@dataclass(frozen=True)
class PricingOptions:
    """What may be chosen.

    Parameters
    ----------
    fast_start_h
        Units whose shortest run is at most this count as fast (``aelmp``).
    offline_participate
        Whether fast units that are off as planned may set the price (``aelmp``).
    time_limit_s
        Wall-clock seconds for the search of hull prices; the best ones found by then count.
    """

    fast_start_h: int = 1
    offline_participate: bool = True
    time_limit_s: float = inf

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.fast_start_h < 1:
            raise OptionError(f"fast_start_h must be at least 1, got {self.fast_start_h!r}")
        if not self.time_limit_s > 0:
            raise OptionError(f"time_limit_s must be positive, got {self.time_limit_s!r}")


def price_commitment(
    instance: UnitCommitment, plan: Commitment, kind: str = "lmp", options: PricingOptions | None = None
) -> CommitmentPrices:
    """Price the energy and the reserve of each hour, and settle with every unit.

    Parameters
    ----------
    instance, plan
        A plan that keeps every rule of the instance.
    kind
        One of :data:`~apportion.instances.commitment_prices.KINDS`.
    options
        What may be chosen; defaults when None.

    Raises
    ------
    OptionError
        For an unknown kind.
    PlanError
        When the plan is for another instance or breaks a rule: prices would mean nothing.

    Examples
    --------
    >>> from apportion.instances.generate.commitment import generate_commitment
    >>> from apportion.solvers.solve import solve_instance
    >>> day = generate_commitment(seed=2, units=4, periods=6)
    >>> plan = solve_instance(day).plan
    >>> lmp, hull = (price_commitment(day, plan, kind) for kind in ("lmp", "hull"))
    >>> hull.total_uplift <= lmp.total_uplift + 1e-6
    True
    """
    chosen = options or PricingOptions()
    if kind not in KINDS:
        raise OptionError(f"no prices are called {kind!r}\nMaybe {', '.join(KINDS)}")
    plan = plan.aligned_to(instance)
    verdict = check(instance, plan)
    if not verdict.ok:
        message = f"breaks {len(verdict.violations)} rules, so that prices would mean nothing: {verdict.violations[0]}"
        raise PlanError(instance.name, [Fault("plan", message)])
    pricing = UnitPricing(instance)
    if kind == "hull":
        monitor = Monitor(Sense.MINIMISE, None, chosen.time_limit_s)
        prices = best_prices(pricing, monitor, HULL_TOLERANCE).answer.prices
    else:
        relaxed = _fast(instance, chosen) if kind == "aelmp" else np.zeros(instance.num_units, np.bool_)
        prices = marginal_prices(formulate(instance), plan, relaxed, chosen.offline_participate)
    return settle(pricing, plan, prices, kind)


def _fast(instance: UnitCommitment, options: PricingOptions) -> NDArray[np.bool_]:
    return np.array([u.min_up_h <= options.fast_start_h and not u.must_run for u in instance.thermal], np.bool_)


def marginal_prices(
    formulation: Formulation, plan: Commitment, relaxed: NDArray[np.bool_], offline: bool = True
) -> Prices:
    """The duals of demand and reserve with the states fixed as planned, but for the units in ``relaxed``.

    Parameters
    ----------
    formulation
        Of the plan's instance.
    plan
        Aligned to it.
    relaxed
        Which units may be on in part, shape (units,).
    offline
        Whether such a unit may be on, in part, in hours in which it is off as planned.

    Raises
    ------
    PlanError
        When the states allow no dispatch.
    """
    instance, model = formulation.instance, formulation.model
    program = model.compile()
    fixed = _fixed_states(formulation, plan)
    for states in fixed.values():
        states[relaxed] = np.nan
    given = model.pack(fixed)
    lower = np.where(np.isfinite(given), given, program.lower)
    upper = np.where(np.isfinite(given), given, program.upper)
    if not offline:
        columns = model.split(np.arange(program.num_columns, dtype=np.float64))["commit"].astype(np.int64)
        upper[columns[relaxed[:, None] & ~plan.committed]] = 0.0
    row_lower = np.array(program.row_lower)
    row_lower[model.constraints["capacity"].rows] = -np.inf  # implied, and in the way of the duals of demand
    fitting = replace(program.relaxed(), lower=lower, upper=np.maximum(lower, upper), row_lower=row_lower)
    answer = backend_named("highs").run(fitting, SolveOptions(), Monitor(Sense.MINIMISE))
    if answer.status is not Status.OPTIMAL or answer.row_duals is None:
        raise PlanError(instance.name, [Fault("committed", "allows no dispatch that could be priced")])
    duals = model.split_rows(answer.row_duals)
    reserve = np.zeros(instance.num_periods)
    reserve[instance.reserve_mw > 0.0] = np.maximum(duals["reserve"], 0.0)
    # one MW more of demand also has to be covered in the row of demand and reserve together
    energy = duals["demand"] + reserve
    return Prices(energy, reserve)


def _fixed_states(formulation: Formulation, plan: Commitment) -> dict[str, Floats]:
    before = np.concatenate([formulation.fleet.initially_on[:, None], plan.committed[:, :-1]], axis=1)
    on = plan.committed
    states = {"commit": on, "start": on & ~before, "stop": ~on & before}
    return {name: state.astype(np.float64) for name, state in states.items()}


def settle(pricing: UnitPricing, plan: Commitment, prices: Prices, kind: str) -> CommitmentPrices:
    """The account of every unit at ``prices``: its income, its cost, and the most it could earn by itself."""
    instance = pricing.instance
    answer = pricing.answer(prices)
    cost = np.array([unit_cost(unit, plan.committed[g], plan.power_mw[g]) for g, unit in enumerate(instance.thermal)])
    income = plan.power_mw @ prices.energy + plan.reserve_mw @ prices.reserve
    supplied = plan.renewable_mw.sum(axis=0)
    held = plan.reserve_mw.sum(axis=0)
    return CommitmentPrices(
        kind=kind,
        energy=prices.energy,
        reserve=prices.reserve,
        unit_names=instance.unit_names,
        cost=cost,
        income=income,
        best_profit=-answer.least,
        renewable_lost=max(0.0, float(prices.energy @ (answer.renewable - supplied))),
        reserve_surplus=max(0.0, float(prices.reserve @ (held - instance.reserve_mw))),
        bound=answer.bound,
    )


def unit_cost(unit: ThermalUnit, committed: NDArray[np.bool_], power_mw: Floats) -> float:
    """What the planned hours of a unit cost: its starts and its production."""
    powers = [point.power_mw for point in unit.production]
    costs = [point.cost for point in unit.production]
    total = float(np.interp(power_mw[committed], powers, costs).sum())
    on, off_h = unit.initially_on, unit.initial_down_h
    for now in committed.tolist():
        if now and not on:
            reached = [category.cost for category in unit.startup if category.lag_h <= off_h]
            total += reached[-1] if reached else unit.startup[0].cost
        on, off_h = now, 0 if now else off_h + 1
    return total
