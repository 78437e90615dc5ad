"""The mix of known schedules that meets all requirements at least cost: the Dantzig-Wolfe master.

Its prices are kept in a box around the best ones (Marsten, Hogan and Blankenship, "The boxstep method for large-scale
optimization", 1975): its value over the box says how much better the bound can get.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import highspy
import numpy as np
from numpy.typing import NDArray

from apportion.solvers.backends.simplex import must, quiet_lp
from apportion.solvers.commitment.covers import Cover
from apportion.solvers.commitment.prices import Answer, UnitPricing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

KEPT_SCHEDULES = 5
"""Schedules of each unit, of least reduced cost, that the master begins with."""

_PRIMAL = 4
_USED = 1e-7
_EDGE = 1e-10


@dataclass(frozen=True, eq=False)
class Offer:
    """How units answer to prices: ``supply``, shape (units, rows), ``prices`` as one vector, and what they prove."""

    answer: Answer
    supply: Floats
    prices: Floats
    bound: float

    def with_covers(self, count: int) -> Offer:
        """The same where as many cuts have been added, at no price."""
        return replace(self, prices=np.concatenate((self.prices, np.zeros(count))))


@dataclass(frozen=True, eq=False)
class Mix:
    """A solution of the master: its value, prices, what each unit's best schedule is worth, and the mix.

    ``share`` and ``start``, shape (units, periods), are how many run and start. ``at_the_edge`` says that it uses the
    box, so that its value is no limit for prices outside.
    """

    value: float
    prices: Floats
    unit_prices: Floats
    share: Floats
    start: Floats
    at_the_edge: bool


class Master:
    """A linear program with a row per requirement, one per unit that its schedules add up, and one per cut."""

    def __init__(self, pricing: UnitPricing, required: Floats, leader: Offer, met: Sequence[Offer]) -> None:
        self._count = pricing.count
        self._initially = pricing.fleet.initially_on
        self._units, self._periods = pricing.can_on.shape
        self._rows = len(required)
        self._total = float(np.abs(required).sum())
        self._covers: list[Cover] = []
        self._known: set[tuple[int, bytes]] = set()
        self._unit: Ints = np.zeros(0, np.int64)
        self._column: Ints = np.zeros(0, np.int64)
        self._states: Bools = np.zeros((0, self._periods), np.bool_)
        self._starts: Bools = np.zeros((0, self._periods), np.bool_)
        self._above: list[int] = []
        self._below: list[int] = []
        self._columns = 0
        self._lp = quiet_lp()
        must(self._lp.setOptionValue("simplex_strategy", _PRIMAL))
        most = required.copy()
        most[self._periods :] = np.inf
        self._add_rows(np.concatenate((required, self._count)), np.concatenate((most, self._count)))
        hours, rows = np.arange(self._periods), np.arange(self._rows)
        self._add_single(hours, 1.0, pricing.least_renewable, pricing.most_renewable)
        self._add_edges(rows)
        self._add(leader, np.flatnonzero(np.isfinite(leader.answer.cost)))
        self._add_cheapest(met, leader.prices)

    def _add_rows(self, lower: Floats, upper: Floats) -> None:
        count, none = len(lower), np.zeros(0, np.int32)
        must(self._lp.addRows(count, lower, upper, 0, np.zeros(count, np.int32), none, np.zeros(0)))

    def _add_single(self, rows: Ints, value: float, lower: Floats, upper: Floats) -> list[int]:
        count = len(rows)
        starts = np.arange(count, dtype=np.int32)
        values = np.full(count, value)
        must(self._lp.addCols(count, np.zeros(count), lower, upper, count, starts, rows.astype(np.int32), values))
        self._columns += count
        return list(range(self._columns - count, self._columns))

    def _add_edges(self, rows: Ints) -> None:
        """Columns that supply and take away, at the prices at the edges of the box."""
        none, most = np.zeros(len(rows)), np.full(len(rows), np.inf)
        self._above += self._add_single(rows, 1.0, none, most)
        self._below += self._add_single(rows, -1.0, none, most)

    def _add_cheapest(self, met: Sequence[Offer], prices: Floats) -> None:
        """Of the schedules in ``met``, those of each unit that are cheapest at the best prices."""
        if not met:
            return
        reduced = np.array([offer.answer.cost - offer.supply @ prices for offer in met])
        rank = np.argsort(np.argsort(reduced, axis=0, kind="stable"), axis=0, kind="stable")
        for k, offer in enumerate(met):
            self._add(offer, np.flatnonzero((rank[k] < KEPT_SCHEDULES) & np.isfinite(reduced[k])))

    def add(self, offer: Offer, mix: Mix) -> int:
        """Add the schedules that are new and can improve ``mix``, at whose prices they were made; return how many."""
        worth = offer.answer.least - mix.unit_prices
        return self._add(offer, np.flatnonzero(worth < -_USED * np.maximum(1.0, offer.answer.cost)))

    def _add(self, offer: Offer, units: Ints) -> int:
        fresh = []
        for g in units.tolist():
            key = (g, offer.supply[g].tobytes() + offer.answer.committed[g].tobytes())
            if key not in self._known:
                self._known.add(key)
                fresh.append(g)
        if not fresh:
            return 0
        chosen = np.array(fresh, dtype=np.int64)
        states = offer.answer.committed[chosen]
        starts = states & ~np.column_stack((self._initially[chosen], states[:, :-1]))
        covered = [(c.on[chosen] * states + c.start[chosen] * starts).sum(axis=1) for c in self._covers]
        once = np.zeros((len(chosen), self._units))
        once[np.arange(len(chosen)), chosen] = 1.0
        full = np.column_stack((offer.supply[chosen], once, *covered))
        at, rows = np.nonzero(full)
        begins = np.searchsorted(at, np.arange(len(chosen))).astype(np.int32)
        count, cost = len(chosen), offer.answer.cost[chosen]
        values, most = full[at, rows], np.full(count, np.inf)
        must(self._lp.addCols(count, cost, np.zeros(count), most, len(at), begins, rows.astype(np.int32), values))
        self._column = np.concatenate((self._column, np.arange(self._columns, self._columns + count)))
        self._columns += count
        self._unit = np.concatenate((self._unit, chosen))
        self._states = np.concatenate((self._states, states))
        self._starts = np.concatenate((self._starts, starts))
        return count

    def cut(self, covers: Sequence[Cover]) -> None:
        """Add rows for ``covers``."""
        for cover in covers:
            weight = (cover.on[self._unit] * self._states + cover.start[self._unit] * self._starts).sum(axis=1)
            used = np.flatnonzero(weight)
            index, values = self._column[used].astype(np.int32), weight[used]
            least, most = np.array([cover.least]), np.array([np.inf])
            must(self._lp.addRows(1, least, most, len(used), np.zeros(1, np.int32), index, values))
            self._add_edges(np.array([self._rows + self._units + len(self._covers)]))
            self._covers.append(cover)

    def solve(self, centre: Floats, width: Floats) -> Mix | None:
        """The best mix at prices within ``width`` of ``centre``; None when HiGHS stops without one."""
        least = centre - width
        least[self._periods :] = np.maximum(least[self._periods :], 0.0)
        edges = np.array(self._above + self._below, dtype=np.int32)
        must(self._lp.changeColsCost(len(edges), edges, np.concatenate((centre + width, -least))))
        must(self._lp.run())
        if self._lp.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        solution = self._lp.getSolution()
        values, duals = np.array(solution.col_value), np.array(solution.row_dual)
        used_edges = values[edges]
        # more than required is free where a price may be zero, not an edge of the box
        used_edges[len(self._above) + self._periods :] *= least[self._periods :] > 0.0
        mix = values[self._column]
        share, start = np.zeros((2, self._units, self._periods))
        used = np.flatnonzero(mix > _USED)
        np.add.at(share, self._unit[used], mix[used, None] * self._states[used])
        np.add.at(start, self._unit[used], mix[used, None] * self._starts[used])
        units = slice(self._rows, self._rows + self._units)
        return Mix(
            float(self._lp.getInfo().objective_function_value),
            np.concatenate((duals[: self._rows], duals[units.stop :])),
            duals[units],
            share,
            start,
            bool(used_edges.sum() > _EDGE * self._total),
        )
