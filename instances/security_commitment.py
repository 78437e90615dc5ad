"""Security-constrained unit commitment: units on a network whose lines must hold, also after any listed outage.

The thermal units are those of :mod:`apportion.instances.commitment`, but here **their times count periods**, which may
be shorter than an hour; their ramps are MW per period and their production costs are per period: a quarter of the
hourly cost where ``period_h`` is 0.25. Every other cost per MW is per period too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from apportion.instances.core import Sense
from apportion.instances.security_faults import GROUPS, Checker
from apportion.instances.security_parts import (
    FREE,
    Bus,
    Contingency,
    DirectLink,
    Line,
    PriceSensitiveLoad,
    ProfiledUnit,
    ReserveKind,
    ReserveProduct,
    SitedUnit,
    Storage,
)
from apportion.instances.validation import FaultList

__all__ = [
    "FREE",
    "Bus",
    "Contingency",
    "DirectLink",
    "Line",
    "PriceSensitiveLoad",
    "ProfiledUnit",
    "ReserveKind",
    "ReserveProduct",
    "SecurityConstrainedCommitment",
    "SitedUnit",
    "Storage",
    "with_parts",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Place = Callable[[str, str, str], str]


def _plain_place(kind: str, name: str, field_name: str) -> str:
    head = f"{kind}[{name}]" if name else kind
    return f"{head}.{field_name}" if field_name else head


@dataclass(frozen=True, eq=False)
class SecurityConstrainedCommitment:
    """Serve all loads at least cost, with reserves, over lines that hold in every listed outage.

    Parameters
    ----------
    name
        What to call it.
    period_h
        Length of a period in hours.
    buses, thermal, profiled, storage, loads
        The nodes and what is connected to them; ``loads`` are the price-sensitive ones.
    lines, links, contingencies
        The network and the outages that it must withstand.
    reserves
        The reserve products.
    curtailment_penalty, surplus_penalty
        Cost per MW of load not served, and of generation that is thrown away, at any bus, shape (periods,); None
        forbids it.
    reserve_counts_at_shutdown
        Whether reserve counts against a unit's limit in its last period on.
    place
        Says where a fault lies, in a reader's words: ``place(kind, name, field)``.

    Raises
    ------
    InstanceError
        With every fault found: shapes, ranges, unknown or repeated names, islands that nothing can feed, outages that
        split the network.
    """

    problem: ClassVar[str] = "security-constrained-commitment"
    name: str
    period_h: float
    buses: tuple[Bus, ...]
    thermal: tuple[SitedUnit, ...]
    lines: tuple[Line, ...] = ()
    contingencies: tuple[Contingency, ...] = ()
    profiled: tuple[ProfiledUnit, ...] = ()
    storage: tuple[Storage, ...] = ()
    loads: tuple[PriceSensitiveLoad, ...] = ()
    links: tuple[DirectLink, ...] = ()
    reserves: tuple[ReserveProduct, ...] = ()
    curtailment_penalty: Floats | None = None
    surplus_penalty: Floats | None = None
    reserve_counts_at_shutdown: bool = False
    place: Place = field(default=_plain_place, repr=False)

    def __post_init__(self) -> None:
        """Check everything once; the arrays become read-only."""
        faults = FaultList(self.name or "security-constrained commitment")
        for kind in GROUPS:
            object.__setattr__(self, kind, tuple(getattr(self, kind)))
        Checker(faults, self).check()
        faults.raise_if_any()

    @property
    def sense(self) -> Sense:
        """Cost is to be low."""
        return Sense.MINIMISE

    @property
    def num_periods(self) -> int:
        """How many periods are planned."""
        return len(self.buses[0].load_mw) if self.buses else 0

    @cached_property
    def bus_index(self) -> Mapping[str, int]:
        """Position of each bus by name."""
        return {bus.name: position for position, bus in enumerate(self.buses)}

    @cached_property
    def unit_index(self) -> Mapping[str, int]:
        """Position of each thermal unit by name."""
        return {sited.name: position for position, sited in enumerate(self.thermal)}

    @cached_property
    def line_index(self) -> Mapping[str, int]:
        """Position of each line by name."""
        return {line.name: position for position, line in enumerate(self.lines)}

    @cached_property
    def load_mw(self) -> Floats:
        """Fixed load, shape (buses, periods)."""
        return np.array([bus.load_mw for bus in self.buses])

    @cached_property
    def line_ends(self) -> tuple[Ints, Ints]:
        """Positions of the buses that each line leaves and enters, shape (lines,) each."""
        ends = [(self.bus_index[line.from_bus], self.bus_index[line.to_bus]) for line in self.lines]
        table = np.array(ends, dtype=np.int64).reshape(len(ends), 2)
        return table[:, 0], table[:, 1]

    def summary(self) -> dict[str, object]:
        """What it is in a few figures."""
        limited = sum(bool(np.isfinite(line.limit_mw).any()) for line in self.lines)
        total = self.load_mw.sum(axis=0)
        return {
            "periods": self.num_periods,
            "period (h)": self.period_h,
            "buses": len(self.buses),
            "lines": len(self.lines),
            "lines with a limit": limited,
            "contingencies": len(self.contingencies),
            "thermal units": len(self.thermal),
            "profiled units": len(self.profiled),
            "storage units": len(self.storage),
            "price-sensitive loads": len(self.loads),
            "direct links": len(self.links),
            "reserve products": len(self.reserves),
            "thermal capacity (MW)": round(sum(sited.unit.power_max_mw for sited in self.thermal), 3),
            "load, least and most (MW)": (round(float(total.min()), 3), round(float(total.max()), 3)),
        }


def with_parts(instance: SecurityConstrainedCommitment, **parts: Any) -> SecurityConstrainedCommitment:
    """A copy with some fields changed, checked again."""
    return replace(instance, **parts)
