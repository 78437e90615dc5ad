"""Prices of energy and reserve, and what they prove: the Lagrangian bound of unit commitment.

With a price on the demand and the reserve of each hour the units no longer depend on each other. Each answers with its
cheapest schedule, exactly; the sum is a bound on the cost of every commitment, at any prices. The best such bound is
that of the convex hull of each unit's schedules (Geoffrion, "Lagrangean relaxation for integer programming", 1974),
and the prices there are the convex hull prices (Gribik, Hogan and Pope, "Market-clearing electricity prices and energy
uplift", 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from apportion.instances.commitment import UnitCommitment, marginal_costs
from apportion.models.commitment.fleet import Fleet
from apportion.solvers.commitment.kernels import price_fleet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Prices:
    """Per MW and hour, shape (periods,); ``reserve`` is not negative, and zero where none is required.

    ``on`` and ``start``, shape (units, periods), are paid to a unit for being on and for a start; None for nothing.
    """

    energy: Floats
    reserve: Floats
    on: Floats | None = None
    start: Floats | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """How the units answer to prices.

    ``bound`` is true for every commitment that takes only allowed states. ``least`` is each unit's cost less income,
    ``cost`` its cost alone, shape (units,); ``committed``, ``power`` (above the minimum) and ``reserve`` have shape
    (units, periods); ``renewable`` shape (periods,). ``least_on`` and ``least_off``, shape (units, periods), are what
    each unit's cost less income is at least when it is on, or off, in an hour; empty where they were not asked for.
    """

    prices: Prices
    bound: float
    least: Floats
    cost: Floats
    committed: Bools
    power: Floats
    reserve: Floats
    renewable: Floats
    least_on: Floats
    least_off: Floats


class UnitPricing:
    """The units of an instance, ready to be priced many times.

    Parameters
    ----------
    instance
        The units, demand and reserve.
    count
        How many of each unit there are, shape (units,); None for one. Answers are those of one of them.

    Examples
    --------
    >>> from apportion.instances.generate.commitment import generate_commitment
    >>> pricing = UnitPricing(generate_commitment(seed=1, units=3, periods=6))
    >>> bool(pricing.answer(Prices(np.full(6, 20.0), np.zeros(6))).bound < np.inf)
    True
    """

    def __init__(self, instance: UnitCommitment, count: Floats | None = None) -> None:
        self.instance = instance
        self.count: Floats = np.ones(instance.num_units) if count is None else count
        self.fleet = fleet = Fleet.of(instance)
        periods = instance.num_periods
        hour = np.arange(periods)
        self.can_on: Bools = ~(hour < fleet.held_off[:, None])
        self.can_off: Bools = ~(fleet.must_run[:, None] | (hour < fleet.held_on[:, None]))
        self._numbers = np.column_stack(
            (
                fleet.ramp_up,
                fleet.ramp_down,
                fleet.span,
                fleet.first_hour,
                fleet.last_hour,
                fleet.last_hour_power,
                fleet.initially_above,
                fleet.cost_at_min,
                fleet.power_min,
            )
        )
        self._hours = np.column_stack(
            (fleet.min_up, fleet.min_down, fleet.initially_on.astype(np.int64), fleet.initially_off_h)
        )
        curves = [_curve(instance, g) for g in range(fleet.num_units)]
        self._segment_ends = _ends([len(widths) for widths, _ in curves])
        self._widths = np.concatenate([widths for widths, _ in curves] or [np.zeros(0)])
        self._slopes = np.concatenate([slopes for _, slopes in curves] or [np.zeros(0)])
        self._category_ends = _ends([len(unit.startup) for unit in instance.thermal])
        categories = [category for unit in instance.thermal for category in unit.startup]
        self._lags = np.array([category.lag_h for category in categories], dtype=np.int64)
        self._costs = np.array([category.cost for category in categories], dtype=np.float64)
        most_segments = int(np.diff(self._segment_ends).max(initial=1))
        pieces = (periods + 2) * (most_segments + 4)
        self._run = np.zeros((periods + 1, periods))
        self._work = np.zeros((10, max(pieces, 2 * periods + 2)))
        sources = instance.renewable
        self.least_renewable: Floats = sum((unit.power_min_mw for unit in sources), np.zeros(periods))
        self.most_renewable: Floats = sum((unit.power_max_mw for unit in sources), np.zeros(periods))

    def answer(
        self, prices: Prices, *, margins: bool = False, can_on: Bools | None = None, can_off: Bools | None = None
    ) -> Answer:
        """Let every unit choose; with ``margins`` also say what each state of each hour costs at least."""
        shape = self.can_on.shape
        units = shape[0]
        answered = Answer(
            prices,
            -inf,
            np.zeros(units),
            np.zeros(units),
            np.zeros(shape, np.bool_),
            np.zeros(shape),
            np.zeros(shape),
            np.where(prices.energy > 0.0, self.most_renewable, self.least_renewable),
            np.zeros((units, shape[1] if margins else 0)),
            np.zeros((units, shape[1] if margins else 0)),
        )
        price_fleet(
            self._numbers,
            self._hours,
            self._segment_ends,
            self._widths,
            self._slopes,
            self._category_ends,
            self._lags,
            self._costs,
            np.array(prices.energy, dtype=np.float64),
            np.array(prices.reserve, dtype=np.float64),
            worth_of(prices.on, shape),
            worth_of(prices.start, shape),
            np.array(self.can_on if can_on is None else can_on),
            np.array(self.can_off if can_off is None else can_off),
            self._run,
            self._work,
            answered.committed,
            answered.power,
            answered.reserve,
            answered.least,
            answered.cost,
            answered.least_on,
            answered.least_off,
            margins,
        )
        instance = self.instance
        worth = prices.energy @ (instance.demand_mw - answered.renewable) + prices.reserve @ instance.reserve_mw
        object.__setattr__(answered, "bound", float(self.count @ answered.least + worth))
        return answered


def worth_of(given: Floats | None, shape: tuple[int, int]) -> Floats:
    """What is paid for a state, zero where nothing is said; a copy, as the kernels take no read-only array."""
    return np.zeros(shape) if given is None else np.array(given, dtype=np.float64)


def _curve(instance: UnitCommitment, g: int) -> tuple[Floats, Floats]:
    unit = instance.thermal[g]
    powers = np.array([point.power_mw for point in unit.production])
    if len(powers) < 2:
        return np.array([unit.power_max_mw - unit.power_min_mw]), np.zeros(1)
    return np.diff(powers), np.asarray(marginal_costs(unit), dtype=np.float64)


def _ends(counts: list[int]) -> Ints:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
