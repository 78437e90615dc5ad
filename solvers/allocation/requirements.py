"""Policies whose demands grow with one number: finish-time fairness and water-filling, by prices of GPU types.

Whatever the prices, an allocation pays at most what the whole fleet costs. So a number at which the cheapest way to
meet all demands costs more is out of reach: from any prices follows a bound, found as the root of one monotone
function. A sequence of such roots ends at the best number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from apportion.instances.fleet import FleetAllocation
from apportion.solvers.allocation import kernels
from apportion.solvers.allocation.priced import Market, highest_level
from apportion.solvers.allocation.prices import TOLERANCE, Anchor

Floats = NDArray[np.float64]

_MOST_ROUNDS = 60
_ROOT = 1e-12
_MARGINAL = 1e-6
_SHARP = 1e-10


@dataclass(frozen=True, eq=False)
class FinishTimes:
    """Finish-time fairness (Themis): seconds alone on a fair part of the fleet against seconds in the shared fleet."""

    steps: Floats
    elapsed_s: Floats
    alone_s: Floats

    @classmethod
    def of(cls, snapshot: FleetAllocation) -> FinishTimes:
        """From the isolated share of every job; jobs that can never run or are done ask for nothing."""
        rate = snapshot.isolated_throughputs
        steps = np.where(snapshot.runnable & (rate > 0), snapshot.steps_left, 0.0)
        alone = snapshot.isolated_so_far_s + steps / np.where(rate > 0, rate, 1.0)
        return cls(steps, snapshot.elapsed_s, alone)

    def ratios(self, rate: Floats) -> Floats:
        """The finish-time ratio of every job at ``rate`` (J,); infinite for one that gets nothing, 0 for one done."""
        with np.errstate(divide="ignore"):
            left = np.divide(self.steps, rate, out=np.zeros_like(rate), where=self.steps > 0)
        whole = self.elapsed_s + left
        return np.divide(whole, self.alone_s, out=np.zeros_like(rate), where=self.steps > 0)

    def needs(self, ratio: float) -> Floats:
        """Steps per second at which every job keeps ``ratio``; infinite where that is too late."""
        room = ratio * self.alone_s - self.elapsed_s
        asked = np.full(len(room), np.inf)
        np.divide(self.steps, room, out=asked, where=room > 0)
        return np.where(self.steps > 0, asked, 0.0)


def fairest_finish(
    market: Market, times: FinishTimes, *, tolerance: float = TOLERANCE
) -> tuple[Floats, float, float] | None:
    """The shares with the smallest worst finish-time ratio, that ratio and the bound that the prices prove.

    None when no job has anything to do.
    """
    busy = times.steps > 0
    if not busy.any():
        return None
    top = market.rates.max(axis=1, initial=0.0)
    bound = float(times.ratios(top).max())
    price: Floats | None = None
    x = np.zeros_like(market.rates)
    for _ in range(_MOST_ROUNDS):
        need = np.minimum(times.needs(bound), top)
        found = highest_level(market, need, start=price, tolerance=tolerance)
        if found is None:
            break
        x, priced = found
        price = priced.price
        if priced.value >= 1.0 - 2.0 * tolerance:
            break
        tighter = _least_ratio(market, times, price, bound)
        if tighter <= bound * (1.0 + 1e-10):
            break
        bound = tighter
    reached = times.ratios((market.rates * x).sum(axis=1))
    return x, float(reached.max()), bound


def _least_ratio(market: Market, times: FinishTimes, price: Floats, bound: float) -> float:
    """The ratio below which the demands cost more than the fleet at ``price``."""
    budget = float(market.capacity @ price)
    top = market.rates.max(axis=1, initial=0.0)

    def excess(ratio: float) -> float:
        need = np.minimum(times.needs(ratio), top)
        return float(kernels.total_cost(market.rates, market.sizes, price, need)) - budget

    if excess(bound) <= 0.0:
        return bound
    high = 2.0 * bound
    while excess(high) > 0.0:
        high *= 2.0
    return _root(excess, bound, high)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where ``function`` changes its sign."""
    if function(low) == 0.0:
        return low
    return float(brentq(function, low, high, xtol=_ROOT * abs(high), rtol=_ROOT * 10))


def water_filling(market: Market, need: Floats, *, tolerance: float = TOLERANCE) -> tuple[Floats, Floats, float] | None:
    """Lexicographic max-min: raise the lowest level, then the next, until nobody gains without a poorer one losing.

    ``need`` (J,) is what one unit of level takes in steps per second; 0 for jobs that do not count. Returns the shares,
    the level of each job, and the bound on the lowest level. Jobs whose rate has a positive price at the best prices
    cannot rise any more; the others go on with what is left. That takes at most about as many rounds as there are
    types.
    """
    state = _Filling(market, need, tolerance)
    if not state.active.any():
        return None
    lowest = state.raise_level()
    while state.active.any() and state.rounds < _MOST_ROUNDS:
        state.raise_level()
    return state.anchor.x, state.levels(), lowest


class _Filling:
    """The rounds of water-filling: who still rises, and the rate that everyone has for sure."""

    def __init__(self, market: Market, need: Floats, tolerance: float) -> None:
        self.market, self.need, self.tolerance = market, need, tolerance
        self.top = market.rates.max(axis=1, initial=0.0)
        self.active = (need > 0) & (self.top > 0)
        self.ceiling = np.divide(self.top, need, out=np.zeros_like(need), where=need > 0)
        self.fixed = np.zeros(len(need))
        self.anchor: Anchor = market.empty()
        self.rounds, self.level = 0, 0.0

    def levels(self) -> Floats:
        """The level of every job, (J,)."""
        rate = self._rates()
        level: Floats = np.divide(rate, self.need, out=np.zeros_like(rate), where=self.need > 0)
        return level

    def raise_level(self) -> float:
        """Raise all that still rise as far as they go together, then stop those that cannot go on."""
        self.rounds += 1
        level, bound, price = self._reach()
        capped = self.active & (self.ceiling <= level * (1.0 + 1e-9))
        rising = self.active & ~capped
        goal = np.where(capped, self.top, self.fixed)
        stuck = np.zeros_like(rising)
        if rising.any():
            need = np.where(rising, self.need, 0.0)
            fixed = np.minimum(goal, self._rates())
            found = highest_level(
                self.market, need, fixed, self._anchor(fixed, need), start=price * level, tolerance=_SHARP
            )
            if found is not None:
                x, priced = found
                self.anchor = self.market.anchor(priced.value, x)
                level, price = max(level, priced.value), priced.price
                slopes = np.empty(len(need))
                kernels.marginal_costs(self.market.rates, self.market.sizes, price, fixed + need * priced.value, slopes)
                stuck[rising] = slopes[rising] * self.need[rising] * rising.sum() > _MARGINAL
            if not stuck.any():
                stuck = rising
        reached = np.minimum(np.where(rising, self.need * level, self.top), self._rates())
        self.fixed = np.where(stuck | capped, reached * (1.0 - 1e-9), self.fixed)
        self.active, self.level = rising & ~stuck, level
        return bound

    def _rates(self) -> Floats:
        rate: Floats = (self.market.rates * self.anchor.x).sum(axis=1)
        return rate

    def _demand(self, level: float) -> Floats:
        return np.where(self.active, np.minimum(self.need * level, self.top), self.fixed)

    def _reach(self) -> tuple[float, float, Floats]:
        """The level that all active jobs reach, each at most at its own speed, by roots from above.

        Returns the level, a bound on the lowest one and the prices that prove it.
        """
        level = float(self.ceiling[self.active].max())
        least = float(self.ceiling[self.active].min())
        price = self.market.equal_prices(1.0)
        for _ in range(_MOST_ROUNDS):
            found = highest_level(self.market, self._demand(level), start=price, tolerance=self.tolerance)
            if found is None:
                break
            x, priced = found
            price = priced.price
            if priced.value >= 1.0 - 2.0 * self.tolerance:
                self.anchor = self.market.anchor(level, x)
                return level, min(level, least), price
            lower = self._most_level(price, level)
            if not self.level * (1.0 + 1e-9) < lower < level * (1.0 - 1e-12):
                break
            level = lower
        return self.level, min(level, least), price

    def _most_level(self, price: Floats, high: float) -> float:
        """The level above which the demands cost more than the fleet at ``price``."""
        budget = float(self.market.capacity @ price) * (1.0 + self.tolerance)

        def excess(level: float) -> float:
            cost = kernels.total_cost(self.market.rates, self.market.sizes, price, self._demand(level))
            return float(cost) - budget

        if excess(high) <= 0.0:
            return high
        return self.level if excess(self.level) >= 0.0 else _root(excess, self.level, high)

    def _anchor(self, fixed: Floats, need: Floats) -> Anchor:
        """What is reached now, with the level that the rising jobs have in it."""
        rate = self._rates()
        some = need > 0
        level = float(((rate[some] - fixed[some]) / need[some]).min())
        return self.market.anchor(level, self.anchor.x)
