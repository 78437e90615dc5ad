"""The best Lagrangian bound of unit commitment, and the mix of schedules that attains it.

First a subgradient ascent with Polyak's step towards a target that falls when it is not reached; each step costs one
pricing of the fleet. Then the Dantzig-Wolfe master over the schedules met so far
(:mod:`apportion.solvers.commitment.mix`), in turns with pricing. Then cuts on what capacity each hour needs
(:mod:`apportion.solvers.commitment.covers`), which carry prices of their own: with them the bound leaves that of the
convex hulls behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apportion.solvers.commitment.covers import Cover, Covers
from apportion.solvers.commitment.mix import Master, Mix, Offer
from apportion.solvers.commitment.prices import Answer, Prices, UnitPricing
from apportion.solvers.events import Monitor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ASCENT_STEPS = 60
START_SCALES = (0.5, 0.8, 1.0, 1.2, 1.5)
"""Multiples of the merit-order prices tried first."""

START_RESERVE_SHARES = (0.0, 0.1)
OPTIMISM = 0.03
"""How far above the best bound the first target of the ascent lies, as a fraction of it."""

PATIENCE = 4
"""Steps without a better bound after which the target comes nearer."""

MOMENTUM = 0.3
BOX = 0.2
"""First half-width of the box around the prices, as a fraction of them."""

COVER_BOX = 0.1
"""The same once cuts have been added."""

MOST_ROUNDS = 200
COVER_ROUNDS = 20
COVER_GAIN = 5e-6
"""A round of cuts that raises the bound by less than this fraction is the last."""


@dataclass(frozen=True, eq=False)
class Hull:
    """The best prices found.

    ``answer`` is how the units answer to them, and ``bound`` what they prove together with ``covers``. ``share`` is how
    many of each unit are on in the master's mix of schedules, shape (units, periods). ``most`` is what no prices can
    prove more than, infinite where the search was cut short. ``infeasible`` says that the bound exceeds what running
    everything all the time would cost: there is no commitment.
    """

    answer: Answer
    bound: float
    share: Floats
    most: float
    covers: tuple[Cover, ...] = ()
    infeasible: bool = False


def best_prices(pricing: UnitPricing, monitor: Monitor, tolerance: float = 5e-5) -> Hull:
    """Search for the prices that prove most; see :class:`PriceSearch`.

    Examples
    --------
    >>> from apportion.instances.core import Sense
    >>> from apportion.instances.generate.commitment import generate_commitment
    >>> pricing = UnitPricing(generate_commitment(seed=1, units=5, periods=12))
    >>> found = best_prices(pricing, Monitor(Sense.MINIMISE))
    >>> found.bound <= found.most
    True
    """
    return PriceSearch(pricing, monitor, tolerance).converge()


class PriceSearch:
    """Prices as one vector: energy of all hours, then reserve of the hours that need some, then one for each cut.

    Parameters
    ----------
    pricing
        The units.
    monitor
        Hears of each better bound; its clock and its cancel flag end the search.
    tolerance
        How far the bound may stay below the best one, as a fraction of it.
    """

    def __init__(self, pricing: UnitPricing, monitor: Monitor, tolerance: float = 5e-5) -> None:
        self._pricing = pricing
        self._monitor = monitor
        self._tolerance = tolerance
        instance = pricing.instance
        self._periods = instance.num_periods
        self._needed = np.flatnonzero(instance.reserve_mw > 0.0)
        self._required = np.concatenate((instance.demand_mw, instance.reserve_mw[self._needed]))
        self._covers: list[Cover] = []
        self._met: list[Offer] = []
        self._ceiling = _most_cost(pricing)
        self._leader = self._first()
        self._mix: Mix | None = None
        self._master: Master | None = None

    def _first(self) -> Offer:
        """At no price at all; then at multiples of the merit-order prices."""
        none = np.zeros(len(self._required))
        answer = self._pricing.answer(Prices(none[: self._periods], none[: self._periods]))
        self._monitor.bound(answer.bound, "prices")
        self._leader = Offer(answer, self._supply(answer), none, answer.bound)
        for scale in START_SCALES:
            for share in START_RESERVE_SHARES:
                energy = scale * merit_order_prices(self._pricing)
                self._ask(np.concatenate((energy, share * energy[self._needed])))
        return self._leader

    def _ask(self, vector: Floats) -> Offer:
        """Price the fleet, and keep the answer when it is the best."""
        rows = len(self._required)
        reserve = np.zeros(self._periods)
        reserve[self._needed] = np.maximum(vector[self._periods : rows], 0.0)
        worth = np.maximum(vector[rows:], 0.0)
        on = start = None
        if len(worth):
            on = np.tensordot(worth, np.stack([cover.on for cover in self._covers]), 1)
            start = np.tensordot(worth, np.stack([cover.start for cover in self._covers]), 1)
        answer = self._pricing.answer(Prices(vector[: self._periods].copy(), reserve, on, start))
        bound = answer.bound + float(worth @ [cover.least for cover in self._covers])
        asked = np.concatenate((answer.prices.energy, reserve[self._needed], worth))
        offer = Offer(answer, self._supply(answer), asked, bound)
        if bound > self._leader.bound:
            self._leader = offer
            self._monitor.bound(bound, "prices")
        return offer

    def _supply(self, answer: Answer) -> Floats:
        """What each unit gives to each row, shape (units, rows)."""
        energy = answer.power + self._pricing.fleet.power_min[:, None] * answer.committed
        return np.concatenate((energy, answer.reserve[:, self._needed]), axis=1)

    def _shortage(self, offer: Offer) -> Floats:
        """How far the units stay below what is required: the subgradient."""
        missing: Floats = self._required - self._pricing.count @ offer.supply
        missing[: self._periods] -= offer.answer.renewable
        return missing

    @property
    def _is_over(self) -> bool:
        """Whether to stop: told to, or the bound exceeds every cost."""
        return self._monitor.should_stop or self._leader.bound > self._ceiling

    def _ascend(self) -> None:
        """Subgradient steps from the best prices on."""
        at = self._leader.prices
        target = self._leader.bound + OPTIMISM * abs(self._leader.bound)
        direction: Floats | None = None
        missed = 0
        for _ in range(ASCENT_STEPS):
            if self._is_over:
                return
            before = self._leader.bound
            offer = self._ask(at)
            self._met.append(offer)
            missed = 0 if offer.bound > before + 1e-6 * abs(before) else missed + 1
            if missed >= PATIENCE:
                at, direction, missed = self._leader.prices, None, 0
                target = self._leader.bound + (target - self._leader.bound) / 2.0
                offer = self._leader
            slope = self._shortage(offer)
            direction = slope if direction is None else MOMENTUM * direction + slope
            length = float(direction @ direction)
            if length <= 0.0:
                return
            at = at + max(target - offer.bound, 0.0) / length * direction
            at[self._periods :] = np.maximum(at[self._periods :], 0.0)

    def converge(self) -> Hull:
        """The master and the pricing in turns until the bound is within the tolerance of the best."""
        if self._master is None:
            self._ascend()
            self._master = Master(self._pricing, self._required, self._leader, self._met)
            self._met = []
        return self._settle(self._master, BOX)

    def strengthen(self) -> Hull:
        """Add cuts and converge again, in rounds, as long as the bound gains by it."""
        hull = self.converge()
        finder = Covers(self._pricing)
        for _ in range(COVER_ROUNDS):
            if self._is_over or self._mix is None or self._master is None:
                break
            covers = finder.violated(self._mix.share, self._mix.start)
            if not covers:
                break
            before = self._leader.bound
            self._covers += covers
            self._master.cut(covers)
            self._leader = self._leader.with_covers(len(covers))
            hull = self._settle(self._master, COVER_BOX)
            if self._leader.bound - before < COVER_GAIN * abs(before):
                break
        return hull

    def _settle(self, master: Master, box: float) -> Hull:
        scale = np.abs(self._leader.prices[: self._periods])
        others = np.full(len(self._leader.prices) - self._periods, scale.mean())
        width = box * np.maximum(np.concatenate((scale, others)), 0.05 * scale.mean())
        most = np.inf
        for _ in range(MOST_ROUNDS):
            if self._is_over:
                break
            mix = master.solve(self._leader.prices, width)
            if mix is None:
                break
            self._mix = mix
            before = self._leader.bound
            offer = self._ask(mix.prices)
            fresh = master.add(offer, mix)
            room = mix.value - before
            close = self._tolerance * abs(mix.value)
            if not mix.at_the_edge:
                most = min(most, mix.value)
            if mix.value - self._leader.bound <= close:
                if not mix.at_the_edge:
                    break
                width = 3.0 * width
            elif offer.bound > before:
                width = 1.5 * width if offer.bound - before > room / 2.0 else width
            elif fresh:
                width = 0.6 * width
        leader = self._leader
        share = self._mix.share if self._mix is not None else self._pricing.count[:, None] * leader.answer.committed
        return Hull(leader.answer, leader.bound, share, most, tuple(self._covers), leader.bound > self._ceiling)


def _most_cost(pricing: UnitPricing) -> float:
    """More than any commitment costs: every unit at full output and started anew in every hour."""
    units = pricing.instance.thermal
    hourly = [max(unit.production[-1].cost, unit.production[0].cost) + unit.startup[-1].cost for unit in units]
    return 1.0 + (1.0 + 1e-6) * pricing.instance.num_periods * max(float(pricing.count @ hourly), 0.0)


def merit_order_prices(pricing: UnitPricing) -> Floats:
    """What the last unit costs per MW at full output when the cheapest come first, shape (periods,)."""
    instance, fleet = pricing.instance, pricing.fleet
    needed = instance.demand_mw + instance.reserve_mw - pricing.most_renewable
    if not fleet.num_units:
        return np.zeros(len(needed))
    most = fleet.power_min + fleet.span
    full = np.array([unit.production[-1].cost for unit in instance.thermal]) / np.maximum(most, 1e-9)
    order = np.argsort(full, kind="stable")
    last = np.searchsorted(np.cumsum((pricing.count * most)[order]), needed)
    prices: Floats = full[order[np.minimum(last, len(order) - 1)]]
    return prices
