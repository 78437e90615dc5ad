"""Prices of energy by bus: what one more MWh of load would cost there, and how much of it is the network's doing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apportion.instances.commitment import Floats
from apportion.instances.core import Json
from apportion.instances.errors import PlanError
from apportion.instances.validation import FaultList


@dataclass(frozen=True, eq=False)
class BusPrices:
    """Locational marginal prices of a plan.

    Parameters
    ----------
    bus_names
        The rows.
    energy, congestion
        Price per MWh without and because of limits on flows, shape (buses, periods). ``energy`` is that of the bus's
        island, at the reference that splits prices in two; only the sum does not depend on it.
    cost
        Of the dispatch at the planned states.
    """

    bus_names: tuple[str, ...]
    energy: Floats
    congestion: Floats
    cost: float

    def __post_init__(self) -> None:
        """Check shapes; the arrays become read-only."""
        faults = FaultList("bus prices")
        shape = np.shape(self.energy)
        faults.require(len(shape) == 2 and shape[0] == len(self.bus_names), "energy", "must have a row for each bus")
        for name in ("energy", "congestion"):
            object.__setattr__(self, name, faults.array(name, getattr(self, name), shape=shape))
        if faults.faults:
            raise PlanError(faults.source, faults.faults)

    @property
    def price(self) -> Floats:
        """Energy and congestion, shape (buses, periods)."""
        return self.energy + self.congestion

    def to_dict(self) -> Json:
        """JSON-ready data."""
        table = zip(self.bus_names, self.energy.tolist(), self.congestion.tolist(), self.price.tolist(), strict=True)
        parts = ("energy", "congestion", "price")
        return {
            "kind": "lmp",
            "cost": self.cost,
            "buses": {name: dict(zip(parts, rows, strict=True)) for name, *rows in table},
        }
