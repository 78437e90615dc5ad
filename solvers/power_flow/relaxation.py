"""Bounds from the second-order cone relaxation: on the cost, and on the power that must stay unserved."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from apportion.instances.power_flow import OptimalPowerFlow
from apportion.models.power_flow.soc import Relaxation, formulate_soc
from apportion.solvers.backends.quadratic import tangent_bound
from apportion.solvers.events import Monitor
from apportion.solvers.power_flow.ipopt import Ipopt, IpoptAnswer

Floats = NDArray[np.float64]

_ROUNDING = 1e-9
_SETTINGS = {"ipopt.mu_strategy": "adaptive", "ipopt.max_iter": 300}


@dataclass(frozen=True, eq=False)
class SocBound:
    """What the relaxation proves: no plan costs less than ``bound``.

    The bound is the Lagrangian one of tangent half-spaces and boxes, true for whatever point and multipliers Ipopt
    stopped at, up to rounding, for which 1e-9 of it is given away.
    """

    bound: float
    relaxation: Relaxation
    answer: IpoptAnswer


def soc_bound(instance: OptimalPowerFlow, monitor: Monitor, elastic: bool = False) -> SocBound:
    """Solve the relaxation with Ipopt and prove a bound from its multipliers.

    With ``elastic`` the bound is one on the MW and MVAr that balances must miss in total; positive, it proves that the
    instance has no plan.
    """
    relaxation = formulate_soc(instance, elastic)
    answer = Ipopt(relaxation.program, monitor, "relaxation", _SETTINGS).solve(relaxation.start())
    bound = -inf
    if np.isfinite(answer.row_duals).all() and np.isfinite(answer.values).all():
        values = np.clip(answer.values, relaxation.program.lower, relaxation.program.upper)
        outer, duals = relaxation.outer(values, answer.row_duals)
        bound = tangent_bound(outer, values, duals, 0.0)
    return SocBound(bound - _ROUNDING * abs(bound) if np.isfinite(bound) else -inf, relaxation, answer)


@dataclass(frozen=True, eq=False)
class Shortfall:
    """At least ``total`` MW and MVAr of balances must be missed; ``by_bus`` is where they may be, in MW."""

    total: float
    by_bus: Floats

    @property
    def proves_infeasible(self) -> bool:
        """Whether the bound is clear of what rounding and tolerances could make."""
        return self.total > _CLEAR_MW


_CLEAR_MW = 1e-3


def shortfall(instance: OptimalPowerFlow, monitor: Monitor) -> Shortfall:
    """How much power the relaxation shows to be missing, and at which buses it would leave it unserved."""
    found = soc_bound(instance, monitor, elastic=True)
    shape = instance.num_periods, len(instance.buses)
    size = shape[0] * shape[1]
    slack = found.answer.values[found.relaxation.slack]
    missing = (slack[:size] - slack[2 * size : 3 * size]) * instance.base_mva
    return Shortfall(found.bound, missing.reshape(shape))
