"""The open nodes of a branch and bound, and which comes next."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any

from apportion.solvers.branching.protocol import Floats, Ints

_BOUND_EVERY = 10
_PLUNGE_SHARE = 0.25
_LEAST_PLUNGE = 2


class Selection(StrEnum):
    """Which node comes next."""

    BEST_ESTIMATE = "best-estimate"
    """Plunge into children; then the node whose solutions are estimated best, at times the one of least bound."""
    BEST_FIRST = "best-first"
    """Always a node of least bound, deeper ones first among equals."""


@dataclass(eq=False, slots=True)
class OpenNode:
    """A node that waits: its bound and estimate, and all that its linear program needs.

    ``positions``, ``lower``, ``upper`` are the integer columns whose bounds differ from the root's, by their position
    among the integer columns. ``branched`` is the last branching: position, 0 for down or 1 for up, distance.
    """

    bound: float
    estimate: float
    depth: int
    positions: Ints
    lower: Floats
    upper: Floats
    basis: Any
    branched: tuple[int, int, float] | None = None
    parent_objective: float = -inf
    order: int = 0
    done: bool = field(default=False)


class OpenNodes:
    """All nodes that wait, by bound and by estimate; taken nodes stay in the heaps until they come up."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._by_bound: list[tuple[float, int, int, OpenNode]] = []
        self._by_estimate: list[tuple[float, int, OpenNode]] = []
        self._next: OpenNode | None = None
        self._made = 0
        self._taken = 0
        self._plunged = 0
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    @property
    def bound(self) -> float:
        """The least bound of the nodes that wait; infinite without any."""
        while self._by_bound and self._by_bound[0][3].done:
            heapq.heappop(self._by_bound)
        return self._by_bound[0][0] if self._by_bound else inf

    def push(self, node: OpenNode, *, preferred: bool = False) -> None:
        """Add a node; the preferred child of the node just done is where plunging goes on."""
        self._made += 1
        self._waiting += 1
        node.order = self._made
        node.done = False
        heapq.heappush(self._by_bound, (node.bound, -node.depth, node.order, node))
        if self._selection is Selection.BEST_ESTIMATE:
            heapq.heappush(self._by_estimate, (node.estimate, node.order, node))
        if preferred:
            self._next = node

    def take(self, cutoff: float) -> OpenNode | None:
        """The next node with a bound below ``cutoff``; None when there is none. Others are dropped."""
        while True:
            node = self._pick(cutoff)
            if node is None:
                return None
            node.done = True
            self._waiting -= 1
            if node.bound < cutoff:
                self._taken += 1
                return node

    def _pick(self, cutoff: float) -> OpenNode | None:
        least = self.bound
        if least == inf and not self._by_bound:
            return None
        plunge, self._next = self._next, None
        if self._selection is Selection.BEST_ESTIMATE:
            if plunge is not None and not plunge.done and self._worth(plunge, least, cutoff):
                self._plunged += 1
                return plunge
            self._plunged = 0
            while self._by_estimate and self._by_estimate[0][2].done:
                heapq.heappop(self._by_estimate)
            if self._taken % _BOUND_EVERY:
                return self._by_estimate[0][2]
        return self._by_bound[0][3]

    def _worth(self, node: OpenNode, least: float, cutoff: float) -> bool:
        """Whether plunging may go on into ``node``: near the best bound, or not far yet."""
        if cutoff == inf or self._plunged < _LEAST_PLUNGE:
            return True
        return node.bound <= least + _PLUNGE_SHARE * (cutoff - least)
