"""Policies by prices of GPU types: exact to a stated gap, with the bound that the prices prove."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from apportion.instances.fleet import FleetAllocation
from apportion.solvers.allocation import kernels
from apportion.solvers.allocation.prices import TOLERANCE, Anchor, Priced, Reply, best_prices

Floats = NDArray[np.float64]

_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Market:
    """The jobs as the kernels want them: rates (J, T), GPUs of each job as numbers (J,), capacities (T,)."""

    rates: Floats
    sizes: Floats
    capacity: Floats

    @classmethod
    def of(cls, snapshot: FleetAllocation) -> Market:
        """The market of a snapshot, without sharing."""
        rates = np.ascontiguousarray(snapshot.rates)
        return cls(rates, snapshot.scale_factor.astype(np.float64), snapshot.num_gpus.astype(np.float64))

    def equal_prices(self, worth: float) -> Floats:
        """The same price for every GPU so that the whole fleet costs ``worth``."""
        return np.full(len(self.capacity), worth / max(1.0, float(self.capacity.sum())))

    def usual_level(self, need: Floats) -> float:
        """About the level that the fleet can give: a size to begin with, nothing proven."""
        top = self.rates.max(axis=1, initial=0.0)
        part = np.divide(need, top, out=np.zeros_like(need), where=top > 0)
        busy = float(self.sizes @ part) / max(1.0, float(self.capacity.sum()))
        most = max(busy, float(part.max(initial=0.0)))
        return 1.0 / most if most > 0 else 1.0

    def within(self, x: Floats) -> Floats:
        """``x`` (J, T) without what rounding adds beyond capacities and whole times."""
        load = self.sizes @ x
        shrink = np.minimum(1.0, self.capacity / np.maximum(load, 1e-300))
        x = x * shrink
        fitted: Floats = x / np.maximum(1.0, x.sum(axis=1))[:, None]
        return fitted

    def empty(self) -> Anchor:
        """Nothing for anyone, worth 0."""
        return self.anchor(0.0, np.zeros_like(self.rates))

    def anchor(self, value: float, x: Floats) -> Anchor:
        """An allocation (J, T) that is known to be allowed."""
        return Anchor(value, self.sizes @ x, x)


@dataclass(frozen=True, eq=False)
class LevelOracle:
    """Maximise the level L with ``rate >= fixed + need * L``; ``need`` and ``fixed`` are (J,) steps per second."""

    market: Market
    need: Floats
    fixed: Floats
    _top: Floats = field(init=False)
    _keys: Floats = field(init=False)
    _jumps: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Make the work arrays of the kernel."""
        rates = self.market.rates
        size = rates.shape[0] * (rates.shape[1] + 1)
        object.__setattr__(self, "_top", rates.max(axis=1, initial=0.0))
        object.__setattr__(self, "_keys", np.empty(size))
        object.__setattr__(self, "_jumps", np.empty(size))

    def __call__(self, price: Floats) -> Reply | None:
        """The best level when GPUs have prices, with the load of the cheapest way to it."""
        market = self.market
        level = kernels.best_level(market.rates, market.sizes, price, self.fixed, self.need, self._keys, self._jumps)
        load, x = np.zeros(len(price)), np.zeros_like(market.rates)
        cost = kernels.spread(market.rates, market.sizes, price, self._wanted(level), 1.0, x, load)
        if not np.isfinite(cost):
            return None
        return Reply(level - cost + float(market.capacity @ price), level, load)

    def _wanted(self, level: float) -> Floats:
        # the slowest job ends the level: rounding must not put it beyond its speed
        wanted = self.fixed + self.need * level
        near = wanted <= self._top * (1.0 + _ROUNDING)
        return np.where(near, np.minimum(wanted, self._top), wanted)

    def mix(self, priced: Priced, anchor: Anchor) -> Floats:
        """The shares (J, T) that the weights of ``priced`` combine to."""
        market = self.market
        x, load = priced.anchored * anchor.x, np.zeros(len(market.capacity))
        for k in np.flatnonzero(priced.weights):
            wanted = self._wanted(float(priced.values[k]))
            kernels.spread(market.rates, market.sizes, priced.points[k], wanted, float(priced.weights[k]), x, load)
        return market.within(x)


def highest_level(
    market: Market,
    need: Floats,
    fixed: Floats | None = None,
    anchor: Anchor | None = None,
    *,
    start: Floats | None = None,
    tolerance: float = TOLERANCE,
) -> tuple[Floats, Priced] | None:
    """The shares (J, T) with the highest level L, ``rate >= fixed + need * L``, and the prices that prove it.

    With ``fixed`` the ``anchor`` must be an allocation that reaches it, its value the level it has. None when some
    job cannot be as fast as ``fixed``, or no job needs anything.
    """
    if not (need > 0).any():
        return None
    oracle = LevelOracle(market, need, np.zeros(len(need)) if fixed is None else fixed)
    first = market.equal_prices(market.usual_level(need)) if start is None else start
    known = market.empty() if anchor is None else anchor
    priced = best_prices(oracle, market.capacity, first, known, tolerance=tolerance)
    return None if priced is None else (oracle.mix(priced, known), priced)


@dataclass(frozen=True, eq=False)
class ValueOracle:
    """Maximise ``sum value * x`` (``value`` (J, T)) with ``rate >= least`` (J,)."""

    market: Market
    value: Floats
    least: Floats

    def __call__(self, price: Floats) -> Reply | None:
        """What every job chooses at these prices."""
        x, load = np.zeros_like(self.market.rates), np.zeros(len(price))
        worth = self._choose(price, 1.0, x, load)
        if not np.isfinite(worth):
            return None
        return Reply(worth + float(self.market.capacity @ price), worth + float(load @ price), load)

    def _choose(self, price: Floats, part: float, x: Floats, load: Floats) -> float:
        market = self.market
        return float(kernels.best_value(market.rates, market.sizes, price, self.value, self.least, part, x, load))

    def mix(self, priced: Priced, anchor: Anchor) -> Floats:
        """The shares (J, T) that the weights of ``priced`` combine to."""
        x, load = priced.anchored * anchor.x, np.zeros(len(self.market.capacity))
        for k in np.flatnonzero(priced.weights):
            self._choose(priced.points[k], float(priced.weights[k]), x, load)
        return self.market.within(x)


def highest_value(
    market: Market, value: Floats, least: Floats, *, tolerance: float = TOLERANCE
) -> tuple[Floats, Priced] | None:
    """The shares (J, T) of the highest value with ``rate >= least``, and the prices that prove it.

    None when no allocation reaches ``least``.
    """
    anchor = market.empty()
    if (least > 0).any():
        found = highest_level(market, least, tolerance=tolerance)
        if found is None or found[1].value < 1.0 - tolerance:
            return None
        x = found[0] / max(1.0, found[1].value)
        anchor = market.anchor(float((value * x).sum()), x)
    oracle = ValueOracle(market, value, least)
    worth = float(np.abs(value).max(initial=0.0))
    start = market.equal_prices(worth * min(len(value), float(market.capacity.sum())))
    priced = best_prices(oracle, market.capacity, start, anchor, tolerance=tolerance, scale=worth * 1e-3)
    return None if priced is None else (oracle.mix(priced, anchor), priced)


@dataclass(frozen=True, eq=False)
class LogarithmOracle:
    """Maximise ``sum weights * log(rate)``, both (J,)."""

    market: Market
    weights: Floats

    def __call__(self, price: Floats) -> Reply:
        """The rate that every job buys at these prices."""
        market = self.market
        wanted, x, load = np.zeros(len(self.weights)), np.zeros_like(market.rates), np.zeros(len(price))
        worth = kernels.best_logarithm(market.rates, market.sizes, price, self.weights, wanted)
        cost = kernels.spread(market.rates, market.sizes, price, wanted, 1.0, x, load)
        return Reply(worth + float(market.capacity @ price), worth + cost, load)

    def mix(self, priced: Priced, anchor: Anchor) -> Floats:
        """The shares (J, T) that the weights of ``priced`` combine to."""
        market = self.market
        x, load = priced.anchored * anchor.x, np.zeros(len(market.capacity))
        for k in np.flatnonzero(priced.weights):
            price, wanted = priced.points[k], np.zeros(len(self.weights))
            kernels.best_logarithm(market.rates, market.sizes, price, self.weights, wanted)
            kernels.spread(market.rates, market.sizes, price, wanted, float(priced.weights[k]), x, load)
        return market.within(x)


def highest_welfare(
    market: Market, weights: Floats, equal: Floats, *, tolerance: float = TOLERANCE
) -> tuple[Floats, Priced] | None:
    """The shares (J, T) that maximise ``sum weights * log(rate)``; ``equal`` (J, T) gives every job something.

    The prices are those of the Eisenberg-Gale program: the market in which each job has its weight to spend.
    """
    able = market.rates.max(axis=1, initial=0.0) > 0
    budgets = np.where(able, weights, 0.0)
    if not able.any():
        return None
    rate = (market.rates * equal).sum(axis=1)[able]
    anchor = market.anchor(float(budgets[able] @ np.log(rate)), equal)
    oracle = LogarithmOracle(market, budgets)
    total = float(budgets.sum())
    start = market.equal_prices(total)
    priced = best_prices(oracle, market.capacity, start, anchor, tolerance=tolerance, scale=total)
    return None if priced is None else (oracle.mix(priced, anchor), priced)
