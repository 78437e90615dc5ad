"""Storage on a rolling horizon: plan a window, carry out its first periods, hand the state over, look again.

Source: Rawlings, Mayne and Diehl, "Model Predictive Control", chapter 1 (economic MPC with a terminal constraint).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import OptionError
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import PowerFlowPlan
from apportion.models.power_flow.check import check
from apportion.models.verdict import Verdict
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status

Floats = NDArray[np.float64]

_TABLES = (
    "power_mw",
    "reactive_mvar",
    "voltage",
    "angle_deg",
    "charge_mw",
    "discharge_mw",
    "energy_mwh",
    "price_mwh",
)


@dataclass(frozen=True, eq=False)
class Rolled:
    """What was carried out over the whole horizon and what the check says to it, or the window that had no plan."""

    plan: PowerFlowPlan | None
    verdict: Verdict | None
    num_windows: int
    failed_at: int | None = None
    status: Status = Status.FEASIBLE


def roll(
    instance: OptimalPowerFlow,
    window: int,
    step: int,
    *,
    method: str = "dc",
    options: SolveOptions | None = None,
) -> Rolled:
    """Plan ``window`` periods, carry out ``step``, and go on from the energy that is then stored.

    Every window must leave enough stored that the required final energy can still be reached by charging at full power;
    that is what lets a short window end without emptying the storage that a later one has to fill.

    Parameters
    ----------
    instance
        The whole horizon.
    window, step
        Periods looked at and periods carried out, ``1 <= step <= window``.
    method, options
        How each window is solved.

    Raises
    ------
    OptionError
        When step or window are out of range, or ramps limit the change across a seam.

    Examples
    --------
    >>> from apportion.instances.generate.power_flow import generate_power_flow
    >>> day = generate_power_flow(1, buses=4, periods=6, storage=1)
    >>> rolled = roll(day, window=4, step=2)
    >>> rolled.num_windows, rolled.verdict.ok
    (3, True)
    """
    if not 1 <= step <= window:
        raise OptionError(f"step must lie in 1..window, got step {step!r} and window {window!r}")
    if instance.num_periods > step and np.isfinite(instance.generators.ramp_mw_h).any():
        raise OptionError(f"{instance.name}: ramps are not handed from one window to the next\nMaybe step >= periods")
    energy = np.array(instance.storage.initial_mwh)
    carried: list[PowerFlowPlan] = []
    for first in range(0, instance.num_periods, step):
        length = min(window, instance.num_periods - first)
        part = instance.window(first, length, energy, least_at(instance, first + length))
        result: Any = solve_instance(part, options, method=method)
        if result.plan is None:
            return Rolled(None, None, len(carried) + 1, first, result.status)
        kept = _head(result.plan, min(step, length))
        # within the rounding that the window's own check allows
        energy = np.clip(kept.energy_mwh[-1], instance.storage.energy_min_mwh, instance.storage.energy_max_mwh)
        carried.append(kept)
    tables: dict[str, Any] = {name: np.vstack([getattr(p, name) for p in carried]) for name in _TABLES}
    plan = replace(carried[0], **tables)
    return Rolled(plan, check(instance, plan), len(carried))


def least_at(instance: OptimalPowerFlow, periods: int) -> Floats:
    """The energy that must be stored after ``periods`` so that the final one can still be reached, shape (units,)."""
    storage = instance.storage
    hours = (instance.num_periods - periods) * instance.period_h
    reachable = storage.final_min_mwh - hours * storage.charge_efficiency * storage.charge_max_mw
    return np.maximum(storage.energy_min_mwh, reachable)


def _head(plan: PowerFlowPlan, periods: int) -> PowerFlowPlan:
    return replace(plan, **{name: getattr(plan, name)[:periods] for name in _TABLES})
