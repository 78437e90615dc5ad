"""What rich routing may have beyond places, vehicles and loads: breaks, traffic, balance, and a running plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, isnan
from typing import Literal, get_args

import numpy as np

from apportion.instances.validation import FaultList

Profiles = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Measure = Literal["distance", "duration", "load", "stops"]
MEASURES: tuple[str, ...] = get_args(Measure)


@dataclass(frozen=True)
class Break:
    """A rest of ``length`` between two services (or before the way back) that begins within a window.

    A route that is over by ``latest`` needs none.
    """

    earliest: float
    latest: float
    length: float

    def faults(self, faults: FaultList, place: str) -> None:
        """Add what is wrong with the numbers."""
        for name in ("earliest", "latest", "length"):
            value = getattr(self, name)
            faults.require(isfinite(value) and value >= 0, f"{place}.{name}", "must be finite, at least 0", value)
        faults.require(self.earliest <= self.latest, f"{place}.latest", "must not lie before earliest", self.latest)


@dataclass(frozen=True, eq=False)
class Traffic:
    """Speeds that change over the day: from ``times[j]`` on a way of profile ``p`` is driven at ``speeds[p][j]``.

    A way of duration ``d`` is done when the speed integrated over time reaches ``d``, so that arrival is a
    piecewise-linear function of departure and who leaves later never arrives earlier. Before ``times[0]`` the first
    speed holds, after the last time the last.

    Parameters
    ----------
    times
        Increasing.
    speeds
        For each profile one positive number for each time; 1 drives the durations of the instance.
    profile
        Shape (n, n): the profile of each way; None when there is only one.
    """

    times: tuple[float, ...]
    speeds: tuple[tuple[float, ...], ...]
    profile: Profiles | None = field(default=None, repr=False)

    def faults(self, faults: FaultList, size: int) -> None:
        """Add what is wrong for ``size`` locations."""
        faults.require(bool(self.times), "traffic.times", "must not be empty")
        rising = all(isfinite(time) for time in self.times) and list(self.times) == sorted(set(self.times))
        faults.require(rising, "traffic.times", "must be finite and increasing", list(self.times))
        faults.require(bool(self.speeds), "traffic.speeds", "must not be empty", hint="give at least one profile")
        for number, speeds in enumerate(self.speeds):
            good = len(speeds) == len(self.times) and all(isfinite(speed) and speed > 0 for speed in speeds)
            what = f"must be {len(self.times)} finite numbers above 0"
            faults.require(good, f"traffic.speeds[{number}]", what, list(speeds))
        if self.profile is None:
            faults.require(len(self.speeds) <= 1, "traffic.profile", "must say which way has which of the profiles")
            return
        profile = np.asarray(self.profile)
        inside = profile.shape == (size, size) and profile.dtype.kind in "iu"
        inside = inside and bool(((profile >= 0) & (profile < len(self.speeds))).all())
        what = f"must be {size} rows of {size} whole numbers in 0..{len(self.speeds) - 1}"
        faults.require(inside, "traffic.profile", what, list(profile.shape))


@dataclass(frozen=True)
class Balance:
    """The price of unequal routes, by one measure of those that are used.

    ``longest_cost`` for each unit of the largest, ``range_cost`` for each unit between the largest and the smallest.
    ``load`` is what a route delivers and takes aboard in the first dimension, ``stops`` counts clients and reloads.
    """

    measure: Measure
    longest_cost: float = 0.0
    range_cost: float = 0.0

    def faults(self, faults: FaultList) -> None:
        """Add what is wrong with the measure and the numbers."""
        known = f"must be one of {', '.join(MEASURES)}"
        faults.require(self.measure in MEASURES, "balance.measure", known, self.measure)
        for name in ("longest_cost", "range_cost"):
            value = getattr(self, name)
            faults.require(isfinite(value) and value >= 0, f"balance.{name}", "must be finite, at least 0", value)


@dataclass(frozen=True)
class Lock:
    """A route under way: a vehicle of a type whose first stops are settled, the past or the next one included.

    Windows, shifts and lateness of these stops are history and not judged; loads are.

    Parameters
    ----------
    vehicle
        The number of the type.
    stops
        At least one, in order; further stops may only follow.
    begin
        When the vehicle left its depot, by default when its shift begins.
    leaves
        It is not free to leave the last of ``stops`` before that time.
    """

    vehicle: int
    stops: tuple[int, ...]
    begin: float | None = None
    leaves: float | None = None

    def faults(self, faults: FaultList, place: str) -> None:
        """Add what is wrong with the numbers themselves."""
        faults.require(bool(self.stops), f"{place}.stops", "must not be empty", hint="a route without stops is free")
        for name in ("begin", "leaves"):
            value = getattr(self, name)
            good = value is None or (not isnan(value) and isfinite(value) and value >= 0)
            faults.require(good, f"{place}.{name}", "must be finite, at least 0", value)
