"""Prices of a commitment: what an hour's energy and reserve are worth, and what that leaves to each unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from apportion.instances.commitment import Floats
from apportion.instances.core import Json
from apportion.instances.errors import PlanError
from apportion.instances.validation import FaultList

KINDS = ("lmp", "aelmp", "hull")
"""Marginal prices at the fixed commitment, with fast units relaxed, and of the convex hull."""

_UNIT_TABLES = ("cost", "income", "best_profit")


@dataclass(frozen=True, eq=False)
class CommitmentPrices:
    """Prices of one plan and the account of every unit at them.

    Parameters
    ----------
    kind
        One of :data:`KINDS`.
    energy, reserve
        Price per MWh, and per MW held for an hour, shape (periods,).
    unit_names
        The rows of the accounts.
    cost, income
        What the plan costs each unit and pays it at these prices, shape (units,).
    best_profit
        The most that each unit could earn at these prices alone, whatever the demand, shape (units,).
    renewable_lost
        What all renewable units together earn less than they could.
    reserve_surplus
        What the reserve beyond the requirement is paid.
    bound
        What these prices prove: no commitment costs less.

    Notes
    -----
    What is paid on the side is exactly the distance to what the prices prove::

        total_uplift = cost of the plan - bound

    so no prices need less of it than those of the convex hull (Gribik, Hogan and Pope 2007).
    """

    columns: ClassVar[tuple[str, ...]] = ("unit", "cost", "income", "profit", "make-whole", "lost opportunity")
    kind: str
    energy: Floats
    reserve: Floats
    unit_names: tuple[str, ...]
    cost: Floats
    income: Floats
    best_profit: Floats
    renewable_lost: float
    reserve_surplus: float
    bound: float

    def __post_init__(self) -> None:
        """Check shapes; the arrays become read-only."""
        faults = FaultList("prices")
        faults.require(self.kind in KINDS, "kind", f"must be one of {', '.join(KINDS)}", self.kind)
        periods, units = np.shape(self.energy), (len(self.unit_names),)
        for name in ("energy", "reserve"):
            object.__setattr__(self, name, faults.array(name, getattr(self, name), shape=periods))
        for name in _UNIT_TABLES:
            object.__setattr__(self, name, faults.array(name, getattr(self, name), shape=units))
        if faults.faults:
            raise PlanError(faults.source, faults.faults)

    @property
    def profit(self) -> Floats:
        """Income less cost, shape (units,)."""
        return self.income - self.cost

    @property
    def make_whole(self) -> Floats:
        """What covers a loss, shape (units,)."""
        return np.maximum(-self.profit, 0.0)

    @property
    def lost_opportunity(self) -> Floats:
        """What each unit earns less than it could by itself, shape (units,); never negative."""
        return np.maximum(self.best_profit - self.profit, 0.0)

    @property
    def total_uplift(self) -> float:
        """Lost opportunities of all units, of the renewables, and what surplus reserve is paid."""
        return float(self.lost_opportunity.sum()) + self.renewable_lost + self.reserve_surplus

    def rows(self) -> list[tuple[str, float, float, float, float, float]]:
        """One row per unit, in the order of :attr:`columns`; those that lose most come first."""
        table = zip(
            self.unit_names,
            self.cost.tolist(),
            self.income.tolist(),
            self.profit.tolist(),
            self.make_whole.tolist(),
            self.lost_opportunity.tolist(),
            strict=True,
        )
        return sorted(table, key=lambda row: (-row[5], -row[4], row[0]))

    def to_dict(self) -> Json:
        """JSON-ready data."""
        units = {
            name: {key: float(getattr(self, key)[g]) for key in (*_UNIT_TABLES, "make_whole", "lost_opportunity")}
            for g, name in enumerate(self.unit_names)
        }
        return {
            "kind": self.kind,
            "energy": self.energy.tolist(),
            "reserve": self.reserve.tolist(),
            "units": units,
            "renewable_lost": self.renewable_lost,
            "reserve_surplus": self.reserve_surplus,
            "bound": self.bound,
            "total_make_whole": float(self.make_whole.sum()),
            "total_uplift": self.total_uplift,
        }

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Rebuild from :meth:`to_dict`; raise :class:`PlanError` when it cannot be."""
        faults = FaultList("prices")
        try:
            units = dict(data["units"])
            tables = {key: np.array([float(row[key]) for row in units.values()]) for key in _UNIT_TABLES}
            energy, reserve = (np.array(data[key], dtype=np.float64) for key in ("energy", "reserve"))
            kind, names = str(data["kind"]), tuple(map(str, units))
            rest = [float(data[key]) for key in ("renewable_lost", "reserve_surplus", "bound")]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            faults.add("", f"is not a file of prices: {type(error).__name__} {error}")
            raise PlanError(faults.source, faults.faults) from error
        return cls(kind, energy, reserve, names, tables["cost"], tables["income"], tables["best_profit"], *rest)
