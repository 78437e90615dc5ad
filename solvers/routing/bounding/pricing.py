"""Routes of negative reduced cost, from both ends of the day to the middle; arcs to keep; enumeration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from apportion.instances.program import Floats
from apportion.instances.routing import VehicleRouting
from apportion.solvers.routing.bounding.labelling import kernels as labels
from apportion.solvers.routing.bounding.labelling.kernels import BITS, CUT_BITS, Flags, Ints, Long

NG_SIZE = 10
MOST_LABELS = 2_000_000
LEAST_GAIN = 1e-6
_BUCKETS = 24
_QUEUES = 400
_CHUNK = 4_000
_MOST_ROUTES = 150
_MOST_STOPS = 4096


@dataclass(eq=False)
class Way:
    """One direction of the network; ``takes``, ``ready``, ``due`` are of its own clock."""

    takes: Floats
    ready: Floats
    due: Floats
    starts: Ints = field(init=False)
    ends: Ints = field(init=False)
    home: Flags = field(init=False)
    stretch: Floats = field(init=False)

    def __post_init__(self) -> None:
        """The buckets of each location share out its window."""
        self.stretch = _BUCKETS / np.maximum(self.due - self.ready, 1e-9)

    def allow(self, arcs: Flags) -> None:
        """Take these arcs (n + 1, n + 1), of this direction, and no others."""
        inner = arcs[:, 1:]
        self.starts = np.concatenate([[0], np.cumsum(inner.sum(axis=1))]).astype(np.int32)
        self.ends = (np.nonzero(inner)[1] + 1).astype(np.int32)
        self.home = np.array(arcs[:, 0])


@dataclass(eq=False)
class Network:
    """What labelling walks on, in both directions. Without windows the load is the clock."""

    distance: Floats
    demand: Floats
    capacity: float
    horizon: float
    ahead: Way
    back: Way
    arcs: Flags
    near: Flags

    @classmethod
    def of(cls, instance: VehicleRouting, ng_size: int = NG_SIZE) -> Network:
        """The network of ``instance``; arcs that capacity or windows forbid are left out."""
        size = instance.num_clients + 1
        demand = np.array(instance.demand)
        capacity = float(instance.capacity) * (1.0 + 1e-9) + 1e-9
        if instance.has_time_windows:
            takes = instance.service[:, None] + instance.duration
            takes[0] = instance.duration[0]
            ready = np.array(instance.ready)
            due = instance.due + 1e-9 * np.maximum(1.0, np.abs(instance.due))
            due = np.minimum(due, ready.max() + takes.max(axis=1).sum() + 1.0)
        else:
            takes = np.tile(demand, (size, 1))
            ready, due = demand.copy(), np.full(size, capacity)
        arcs = ready[:, None] + takes <= due[None, :]
        arcs &= demand[:, None] + demand[None, :] <= capacity
        np.fill_diagonal(arcs, False)
        # out and back alone must be possible in the clock of the day
        horizon = float(due[0])
        near = _near(instance, takes, ng_size)
        ahead = Way(np.ascontiguousarray(takes), ready, due)
        back = Way(np.ascontiguousarray(takes.T), horizon - due, horizon - ready)
        network = cls(np.array(instance.distance, order="C"), demand, capacity, horizon, ahead, back, arcs, near)
        network.allow(arcs)
        return network

    def allow(self, arcs: Flags) -> None:
        """Go on with these arcs only."""
        self.arcs = arcs
        self.ahead.allow(arcs)
        self.back.allow(arcs.T)


def _near(instance: VehicleRouting, takes: Floats, ng_size: int) -> Flags:
    """``near[i, j]``: whether a route at client i remembers that it saw j.

    Clients that advance neither load nor clock are never forgotten, or labels would go round in circles for ever.
    """
    size = instance.num_clients + 1
    apart = instance.distance + instance.distance.T
    np.fill_diagonal(apart, -1.0)
    near = np.zeros((size, size), np.bool_)
    nearest = np.argsort(apart[:, 1:], axis=1, kind="stable")[:, :ng_size] + 1
    np.put_along_axis(near, nearest, True, axis=1)
    idle = (instance.demand <= 0.0) & (takes[:, 1:].min(axis=1, initial=np.inf) <= 0.0)
    near[:, idle] = True
    near[:, 0] = False
    near[0] = False
    return near


def packed(sets: Flags, bits: int) -> Long:
    """Rows of flags as words of ``bits`` bits; shape (rows, words)."""
    words = ceil(sets.shape[1] / bits)
    result = np.zeros((len(sets), words), np.int64)
    for position in range(sets.shape[1]):
        result[:, position // bits] |= sets[:, position].astype(np.int64) << (position % bits)
    return result


@dataclass(frozen=True, eq=False)
class Prices:
    """Reduced costs of arcs (n + 1, n + 1), and the subset-row cuts that cost something.

    ``keep`` and ``hit`` (n + 1, words) say of which cuts a location is in the memory, and a client; ``table`` sums
    the prices of the cuts of each byte of a word.
    """

    reduced: Floats
    keep: Long
    hit: Long
    table: Floats

    @classmethod
    def of(cls, reduced: Floats, hit: Flags, keep: Flags, prices: Floats) -> Prices:
        """From cuts as rows of flags (cuts, n + 1) with ``prices`` (cuts,) of at least 0."""
        owed = np.zeros(ceil(len(prices) / CUT_BITS) * CUT_BITS)
        owed[: len(prices)] = prices
        bit = (np.arange(256)[:, None] >> np.arange(8)[None, :]) & 1
        table = np.ascontiguousarray((owed.reshape(-1, 7, 1, 8) * bit).sum(axis=-1))
        return cls(np.ascontiguousarray(reduced), packed(keep.T, CUT_BITS), packed(hit.T, CUT_BITS), table)


@dataclass(eq=False)
class _Shelf:
    """The labels of one direction."""

    ints: Ints
    amounts: Floats
    memory: Long
    parity: Long
    heads: Ints
    least: Floats
    count: int = 0
    complete: bool = False


@dataclass(frozen=True, eq=False)
class Priced:
    """What one pricing found: the best total by client (n + 1,) and routes that pay, the best first."""

    complete: bool
    gains: Floats
    routes: list[tuple[int, ...]]


class Pricing:
    """Labelling on one network. ``num_labels`` counts the labels extended so far."""

    def __init__(self, network: Network, most_labels: int = MOST_LABELS) -> None:
        self.network = network
        self.most_labels = most_labels
        self.num_labels = 0
        self.middle = 0.5 * (float(network.ahead.ready[0]) + network.horizon)
        self.last_labels = (0, 0)
        self._shelves: dict[tuple[bool, int, int], _Shelf] = {}
        self._stops = np.zeros(_MOST_STOPS, np.int32)
        self._near = packed(network.near, BITS)

    def cheapest(self, prices: Prices, care: int, should_stop: Callable[[], bool]) -> Priced:
        """Routes of negative reduced cost; ``complete`` when none was overlooked, which needs ``care`` EXACT."""
        ahead = self._run(self.network.ahead, prices, care, self.middle, should_stop)
        back = self._run(self.network.back, prices, care, self.network.horizon - self.middle, should_stop)
        self.last_labels = ahead.count, back.count
        gains = np.zeros(len(self.network.demand))
        totals, partners = np.zeros(ahead.count), np.zeros(ahead.count, np.int32)
        net = self.network
        labels.join(
            *self._steps(prices),
            prices.table,
            self.middle,
            ahead.count,
            *_inside(ahead),
            *self._other_end(back),
            net.horizon,
            -LEAST_GAIN,
            totals,
            partners,
            gains,
        )
        complete = care == labels.EXACT and ahead.complete and back.complete
        return Priced(complete, gains, self._routes(ahead, back, totals, partners))

    def balance(self) -> None:
        """Move the middle towards the direction with fewer labels."""
        ahead, back = self.last_labels
        step = 0.05 * (self.network.horizon - float(self.network.ahead.ready[0]))
        if ahead > 1.4 * back and ahead > 500:
            self.middle -= step
        elif back > 1.4 * ahead and back > 500:
            self.middle += step
        self.middle = min(max(self.middle, float(self.network.ahead.ready[0]) + step), self.network.horizon - step)

    def arcs_below(self, prices: Prices, limit: float, should_stop: Callable[[], bool]) -> Flags | None:
        """The arcs on some route of reduced cost below ``limit``; None when there was no time or room to tell."""
        net = self.network
        ahead = self._run(net.ahead, prices, labels.EXACT, net.horizon, should_stop)
        if not ahead.complete:
            return None
        back = self._run(net.back, prices, labels.EXACT, net.horizon, should_stop)
        if not back.complete:
            return None
        kept = np.zeros_like(net.arcs)
        labels.arcs_kept(
            *self._steps(prices),
            prices.table,
            ahead.count,
            *_inside(ahead),
            *self._other_end(back),
            net.horizon,
            limit,
            kept,
        )
        return kept

    def enumerate(
        self, prices: Prices, limit: float, most_routes: int, should_stop: Callable[[], bool]
    ) -> list[tuple[int, ...]] | None:
        """Every elementary route of reduced cost below ``limit``, of those over the same clients the shortest."""
        net = self.network
        back = self._run(net.back, prices, labels.EXACT, net.horizon, should_stop)
        if not back.complete:
            return None
        words, cuts = back.memory.shape[1], back.parity.shape[1]
        most = self.most_labels
        ints, amounts = np.empty((most, 5), np.int32), np.empty((most, 3))
        memory, parity = np.empty((most, words), np.int64), np.empty((most, cuts), np.int64)
        lengths = np.empty(most)
        chains = np.full(1 << 20, labels.NONE, np.int32)
        ends = np.zeros(most_routes, np.int32)
        _plant(ints, amounts, memory, parity, float(net.ahead.ready[0]))
        lengths[0] = 0.0
        progress = np.array([1, 0, 0], np.int64)
        steps = self._steps(prices)
        state = labels.PAUSED
        while state == labels.PAUSED and not should_stop():
            state = labels.enumerate_routes(
                *steps[:3],
                net.distance,
                *steps[3:],
                prices.keep,
                prices.hit,
                prices.table,
                ints,
                amounts,
                lengths,
                memory,
                parity,
                chains,
                *self._other_end(back),
                net.horizon,
                limit,
                ends,
                progress,
                _CHUNK,
            )
        self.num_labels += int(progress[1])
        if state != labels.FINISHED:
            return None
        return list(self._shortest(ints, ends[: int(progress[2])], lengths))

    def _shortest(self, ints: Ints, ends: Ints, lengths: Floats) -> Iterator[tuple[int, ...]]:
        best: dict[frozenset[int], tuple[float, tuple[int, ...]]] = {}
        for label in ends.tolist():
            count = labels.trace(ints, label, self._stops)
            route = tuple(self._stops[:count][::-1].tolist())
            length = float(lengths[label] + self.network.distance[route[-1], 0])
            key = frozenset(route)
            if key not in best or length < best[key][0]:
                best[key] = length, route
        return (route for _, route in best.values())

    def _steps(self, prices: Prices) -> tuple[Ints, Ints, Flags, Floats, Floats, Floats, Floats, Floats, float]:
        way = self.network.ahead
        return (
            way.starts,
            way.ends,
            way.home,
            prices.reduced,
            way.takes,
            way.ready,
            way.due,
            self.network.demand,
            self.network.capacity,
        )

    def _other_end(self, back: _Shelf) -> tuple[Floats, Floats, Ints, Floats, Long, Long, Ints, Floats]:
        return (self.network.back.ready, self.network.back.stretch, *_inside(back), back.heads, back.least)

    def _run(self, way: Way, prices: Prices, care: int, middle: float, should_stop: Callable[[], bool]) -> _Shelf:
        net = self.network
        is_ahead = way is net.ahead
        shelf = self._shelf(is_ahead, len(prices.table))
        shelf.heads[:] = labels.NONE
        shelf.least[:] = np.inf
        first, last = np.full(_QUEUES, labels.NONE, np.int32), np.full(_QUEUES, labels.NONE, np.int32)
        _plant(shelf.ints, shelf.amounts, shelf.memory, shelf.parity, float(way.ready[0]))
        shelf.heads[0, 0] = first[0] = last[0] = 0
        shelf.least[0, 0] = 0.0
        progress = np.array([1, 0, labels.NONE, 0], np.int64)
        width = max(middle - float(way.ready[0]), 1e-9) / _QUEUES
        reduced = prices.reduced if is_ahead else np.ascontiguousarray(prices.reduced.T)
        state = labels.PAUSED
        while state == labels.PAUSED and not should_stop():
            state = labels.extend(
                way.starts,
                way.ends,
                reduced,
                way.takes,
                way.ready,
                way.due,
                net.demand,
                net.capacity,
                self._near,
                prices.keep,
                prices.hit,
                prices.table,
                care,
                middle,
                way.stretch,
                shelf.ints,
                shelf.amounts,
                shelf.memory,
                shelf.parity,
                shelf.heads,
                shelf.least,
                first,
                last,
                width,
                progress,
                _CHUNK,
            )
        self.num_labels += int(progress[labels.NUM_EXTENDED])
        shelf.count = int(progress[labels.NUM_LABELS])
        shelf.complete = state == labels.FINISHED
        return shelf

    def _shelf(self, is_ahead: bool, cuts: int) -> _Shelf:
        size = len(self.network.demand)
        words = ceil(size / BITS)
        key = (is_ahead, words, cuts)
        if key not in self._shelves:
            self._shelves = {other: shelf for other, shelf in self._shelves.items() if other[0] != is_ahead}
            most = self.most_labels
            self._shelves[key] = _Shelf(
                np.empty((most, 5), np.int32),
                np.empty((most, 3)),
                np.empty((most, words), np.int64),
                np.empty((most, cuts), np.int64),
                np.empty((size, _BUCKETS), np.int32),
                np.empty((size, _BUCKETS)),
            )
        return self._shelves[key]

    def _routes(self, ahead: _Shelf, back: _Shelf, totals: Floats, partners: Ints) -> list[tuple[int, ...]]:
        """The best of each last client before the middle, then the best of all."""
        paying = np.flatnonzero(totals < -LEAST_GAIN)
        order = paying[np.argsort(totals[paying], kind="stable")][: 20 * _MOST_ROUTES]
        _, firsts = np.unique(ahead.ints[order, labels.NODE], return_index=True)
        chosen = np.concatenate([order[np.sort(firsts)], order])[: _MOST_ROUTES + len(firsts)]
        routes: dict[tuple[int, ...], None] = {}
        for label in dict.fromkeys(chosen.tolist()):
            count = labels.trace(ahead.ints, label, self._stops)
            begins = tuple(self._stops[:count][::-1].tolist())
            count = labels.trace(back.ints, int(partners[label]), self._stops)
            routes[begins + tuple(self._stops[:count].tolist())] = None
        return list(routes)


def _inside(shelf: _Shelf) -> tuple[Ints, Floats, Long, Long]:
    return shelf.ints, shelf.amounts, shelf.memory, shelf.parity


def _plant(ints: Ints, amounts: Floats, memory: Long, parity: Long, clock: float) -> None:
    """Label 0, at the depot."""
    ints[0] = 0, labels.NONE, labels.NONE, labels.NONE, 0
    amounts[0] = clock, 0.0, 0.0
    memory[0] = 0
    parity[0] = 0
