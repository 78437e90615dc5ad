"""The parts of a security-constrained commitment: buses, lines, units at buses, storage, loads, reserve products."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from apportion.instances.commitment import ThermalUnit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FREE = -1
"""In ``SitedUnit.fixed_commitment``: the plan decides."""


class ReserveKind(StrEnum):
    """What a reserve product is for."""

    SPINNING = "spinning"
    REGULATION_UP = "regulation-up"
    REGULATION_DOWN = "regulation-down"
    FLEXIBLE_UP = "flexible-up"
    FLEXIBLE_DOWN = "flexible-down"

    @property
    def upwards(self) -> bool:
        """Whether it is room above the output."""
        return self not in (ReserveKind.REGULATION_DOWN, ReserveKind.FLEXIBLE_DOWN)

    @property
    def flexible(self) -> bool:
        """Whether it is a change of output that must be possible until the next period."""
        return self in (ReserveKind.FLEXIBLE_UP, ReserveKind.FLEXIBLE_DOWN)


@dataclass(frozen=True, eq=False)
class SitedUnit:
    """A thermal unit at a bus.

    Parameters
    ----------
    unit
        Times in periods, ramps in MW per period, costs per period.
    bus
        Name of its bus.
    fixed_commitment
        Shape (periods,): 1 on, 0 off, :data:`FREE` for the plan to decide; None for all free.
    shutdown_cost
        Cost of each stop.
    """

    unit: ThermalUnit
    bus: str
    fixed_commitment: Ints | None = None
    shutdown_cost: float = 0.0

    @property
    def name(self) -> str:
        """Name of the unit."""
        return self.unit.name


@dataclass(frozen=True, eq=False)
class ProfiledUnit:
    """A source that gives anything between two profiles, shape (periods,), at ``cost`` per MW, shape (periods,)."""

    name: str
    bus: str
    power_min_mw: Floats
    power_max_mw: Floats
    cost: Floats


@dataclass(frozen=True, eq=False)
class Bus:
    """A node with a load, shape (periods,); a negative load is an infeed."""

    name: str
    load_mw: Floats


@dataclass(frozen=True, eq=False)
class Line:
    """A line whose flow follows Kirchhoff's laws.

    Parameters
    ----------
    from_bus, to_bus
        Flow counts from the first to the second.
    susceptance
        Any unit, the same for all lines; only the ratios matter. Negative for a series capacitor, never zero.
    limit_mw, emergency_limit_mw
        Most flow in either direction, with all lines in place and after an outage, shape (periods,); infinite for none.
    overload_penalty
        Cost per MW above the limit, shape (periods,), of the worst case of the period; None makes the limits hard.
    """

    name: str
    from_bus: str
    to_bus: str
    susceptance: float
    limit_mw: Floats
    emergency_limit_mw: Floats
    overload_penalty: Floats | None = None


@dataclass(frozen=True)
class DirectLink:
    """A line whose flow is set at will, such as direct current: from ``-reverse_limit_mw`` to ``limit_mw``."""

    name: str
    from_bus: str
    to_bus: str
    limit_mw: float
    reverse_limit_mw: float


@dataclass(frozen=True)
class Contingency:
    """Lines that fail together. What is left of their island must hang together."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Storage:
    """A store of energy at a bus. All but ``initial_mwh`` and the last levels have shape (periods,).

    Parameters
    ----------
    level_min_mwh, level_max_mwh
        Energy held at the end of each period.
    initial_mwh
        Energy before the first period.
    last_min_mwh, last_max_mwh
        Energy after the last period.
    charge_min_mw, charge_max_mw, discharge_min_mw, discharge_max_mw
        Rates while charging, while discharging; else 0.
    charge_efficiency, discharge_efficiency
        Energy stored per energy taken, energy given per energy taken from the store.
    loss
        Share of the level that is lost in a period.
    charge_cost, discharge_cost
        Cost per MW.
    simultaneous
        Whether it may charge and discharge in the same period.
    """

    name: str
    bus: str
    level_min_mwh: Floats
    level_max_mwh: Floats
    initial_mwh: float
    last_min_mwh: float
    last_max_mwh: float
    charge_min_mw: Floats
    charge_max_mw: Floats
    discharge_min_mw: Floats
    discharge_max_mw: Floats
    charge_efficiency: Floats
    discharge_efficiency: Floats
    loss: Floats
    charge_cost: Floats
    discharge_cost: Floats
    simultaneous: Bools


@dataclass(frozen=True, eq=False)
class PriceSensitiveLoad:
    """A load that is served, up to ``demand_mw``, where its ``revenue`` per MW is worth it; both per period."""

    name: str
    bus: str
    demand_mw: Floats
    revenue: Floats


@dataclass(frozen=True, eq=False)
class ReserveProduct:
    """What has to be held ready.

    Parameters
    ----------
    kind
        Spinning and regulation up are room above the output, within ramps and limits; regulation down is room below.
        Flexible up and down are changes of output that must be possible until the next period, in which the unit runs.
    requirement_mw
        Shape (periods,).
    units
        Names of the thermal units that may hold it: its zone.
    shortfall_penalty
        Cost per MW that is missing; None makes the requirement hard.
    """

    name: str
    kind: ReserveKind
    requirement_mw: Floats
    units: tuple[str, ...]
    shortfall_penalty: float | None = None
