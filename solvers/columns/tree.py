"""A small best-bound branch and price: generation at every node, heuristics at some, bounds that are always true."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from apportion.solvers.columns.bounds import round_up
from apportion.solvers.columns.formulation import Column, Formulation
from apportion.solvers.columns.generation import Ended, Generated, Smoothing, generate
from apportion.solvers.columns.rounding import dive, is_whole, nearest, repeat, restricted_master, solves
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Bounds, Limit, Status

_SAME = 1e-9
_DIVE_EVERY = 5
_MASTER_EVERY = 20
_REPAIR_EVERY = 10
_INHERITED = 600


@dataclass(frozen=True, eq=False)
class ColumnAnswer:
    """What branch and price found: the columns of the best solution (one mention per use) or None, and true bounds.

    ``root_bound`` is what generation alone proved; ``rounds`` are solves of a master.
    """

    status: Status
    bounds: Bounds
    chosen: list[Column] | None = field(repr=False)
    limit: Limit | None
    root_bound: float
    nodes: int
    rounds: int
    columns: int

    @classmethod
    def trivial(cls) -> ColumnAnswer:
        """Nothing to do at no cost."""
        return cls(Status.OPTIMAL, Bounds(0.0, 0.0), [], None, 0.0, 0, 0, 0)

    @classmethod
    def infeasible(cls) -> ColumnAnswer:
        """Refused before the search."""
        return cls(Status.INFEASIBLE, Bounds(inf, -inf), None, None, inf, 0, 0, 0)


@dataclass(frozen=True)
class TreeSettings:
    """Which heuristics run, and every how many nodes; 0 for never."""

    smoothing: Smoothing = field(default_factory=Smoothing)
    master_every: int = _MASTER_EVERY
    dive_every: int = _DIVE_EVERY
    repair_every: int = _REPAIR_EVERY


@dataclass(order=True)
class _Node:
    bound: float
    level: int
    order: int
    formulation: Formulation = field(compare=False)
    columns: Sequence[Column] = field(compare=False)


class _Tree:
    """The open nodes, the incumbent, and what is proven."""

    def __init__(
        self,
        root: Formulation,
        options: SolveOptions,
        monitor: Monitor,
        settings: TreeSettings,
        objective: Callable[[Sequence[Column]], float],
    ) -> None:
        self.root, self.options, self.monitor, self.settings = root, options, monitor, settings
        self.objective = objective
        self.open: list[_Node] = []
        self.best: list[Column] | None = None
        self.primal = inf
        self.closed = inf
        self.root_bound = -inf
        self.nodes = self.rounds = self.made = self._order = 0

    @property
    def cutoff(self) -> float:
        """Nodes whose bound is at least this are of no use: they cannot improve by more than the gap asked for."""
        return inf if self.primal == inf else self.primal - self.options.gap * abs(self.primal)

    @property
    def dual(self) -> float:
        """The least bound of all nodes, open and closed."""
        return min(self.primal, self.closed, self.open[0].bound if self.open else inf)

    def push(self, bound: float, level: int, formulation: Formulation, columns: Sequence[Column]) -> None:
        self._order += 1
        heapq.heappush(self.open, _Node(bound, -level, self._order, formulation, columns))

    def offer(self, chosen: list[Column] | None, letter: str, formulation: Formulation) -> None:
        """Keep a solution when it is one and better than the best."""
        if chosen is None or not solves(formulation, chosen):
            return
        objective = self.objective(chosen)
        if objective < self.primal - _SAME * max(1.0, abs(objective)):
            self.best, self.primal = chosen, objective
            self.monitor.incumbent(objective, letter)

    def explore(self, node: _Node) -> bool:
        """Process a node; return False when it was stopped on the way and stays open."""
        generated = self._generate(node)
        node.bound = max(node.bound, generated.bound)
        if generated.ended is Ended.STOPPED:
            heapq.heappush(self.open, node)
            return False
        self.nodes += 1
        if generated.ended is Ended.CONVERGED:
            generated = self._round(node, generated)
        whole = bool(len(generated.values)) and is_whole(generated.values)
        if node.bound >= self.cutoff - _SAME * max(1.0, abs(node.bound)) or whole or not len(generated.values):
            self.closed = min(self.closed, node.bound)
            return True
        self._split(node, generated)
        return True

    def _generate(self, node: _Node) -> Generated:
        others = min(self.closed, self.primal, self.open[0].bound if self.open else inf)
        generated = generate(
            node.formulation,
            node.columns,
            self.monitor,
            cutoff=self.cutoff,
            smoothing=self.settings.smoothing,
            on_bound=lambda bound: self.monitor.bound(min(bound, others)) if bound > node.bound else None,
        )
        self.rounds += generated.rounds
        self.made += generated.made
        if not self.nodes:
            self.root_bound = max(self.root_bound, generated.bound)
        return generated

    def _round(self, node: _Node, generated: Generated) -> Generated:
        """Look for solutions near the relaxation; then tighten the node, and solve it again when that changes it."""
        form, monitor = node.formulation, self.monitor
        if is_whole(generated.values):
            self.offer(repeat(generated.used, generated.values), "T", form)
            return generated
        if form.repair is not None and self._due(self.settings.repair_every) and node.bound < self.cutoff:
            self.offer(form.repair.improve(generated.used, generated.values, generated.duals), "H", form)
        if self._due(self.settings.dive_every) and node.bound < self.cutoff:
            found, pool = dive(form, generated, monitor, self.cutoff, self.settings.smoothing)
            self.offer(found, "H", form)
            generated = replace(generated, columns=pool)
        if self._due(self.settings.master_every) and node.bound < self.cutoff:
            self.offer(restricted_master(form, generated, self.options, monitor), "R", form)
        if form.tightening is None or node.bound >= self.cutoff or self.cutoff == inf:
            return generated
        return self._tighten(node, generated)

    def _tighten(self, node: _Node, generated: Generated) -> Generated:
        """Leave out what cannot beat the cutoff: from then on the node speaks only of what is better than that."""
        tightening = node.formulation.tightening
        tighter = tightening.tighten(generated.duals, generated.columns, self.cutoff) if tightening else None
        if tighter is None:
            return generated
        self.closed = min(self.closed, round_up(self.cutoff, self.root.step))
        node.formulation, node.columns = tighter
        again = self._generate(node)
        if again.ended is Ended.STOPPED:
            return generated
        node.bound = max(node.bound, again.bound)
        if is_whole(again.values) and len(again.values):
            self.offer(repeat(again.used, again.values), "T", node.formulation)
        return again

    def _due(self, every: int) -> bool:
        return every > 0 and (self.nodes - 1) % every == 0

    def _split(self, node: _Node, generated: Generated) -> None:
        branching = node.formulation.branching
        children = (
            []
            if branching is None
            else branching.branch(generated.used, generated.values, nearest(generated, _INHERITED))
        )
        if not children:
            self.closed = min(self.closed, node.bound)
        for child in children:
            self.push(node.bound, 1 - node.level, child.formulation, child.columns)


def branch_and_price(
    formulation: Formulation,
    columns: Sequence[Column],
    options: SolveOptions,
    monitor: Monitor,
    *,
    settings: TreeSettings | None = None,
    start: list[Column] | None = None,
) -> ColumnAnswer:
    """Minimise over all columns in whole numbers.

    Nodes of least bound come first, deeper ones first among equals. Without a branching the search ends after the
    root with what heuristics found. ``options.node_limit`` limits nodes, ``options.deterministic`` takes every clock
    out of the heuristics.

    Parameters
    ----------
    formulation, columns
        The root and columns to begin with.
    options, monitor
        Limits, the stream of events, and the cancel flag.
    settings
        Smoothing and heuristics.
    start
        A solution to begin with, one column per use.
    """
    tree = _Tree(formulation, options, monitor, settings or TreeSettings(), lambda cs: sum(c.cost for c in cs))
    tree.offer(start, "S", formulation)
    tree.push(-inf, 0, formulation, columns)
    limit: Limit | None = None
    while tree.open:
        if monitor.should_stop:
            limit = Limit.INTERRUPTED if monitor.cancelled.is_set() else Limit.TIME
            break
        if options.node_limit is not None and tree.nodes >= options.node_limit:
            limit = Limit.NODES
            break
        if tree.open[0].bound >= tree.cutoff - _SAME:
            break
        if not tree.explore(heapq.heappop(tree.open)) and not monitor.should_stop:
            limit = Limit.OTHER
            break
        monitor.bound(tree.dual)
        monitor.node(tree.nodes)
    return _answer(tree, limit)


def _answer(tree: _Tree, limit: Limit | None) -> ColumnAnswer:
    dual = round_up(tree.dual, tree.root.step)
    tree.monitor.bound(dual)
    bounds = Bounds(tree.primal, dual)
    if tree.best is None:
        status = Status.INFEASIBLE if limit is None and dual == inf else Status.NO_SOLUTION
        bounds = Bounds(inf, -inf if status is Status.INFEASIBLE else dual)
    elif bounds.gap <= max(tree.options.gap, _SAME):
        status, limit = Status.OPTIMAL, None
    else:
        status = Status.FEASIBLE
    if (not status.has_plan and status is not Status.INFEASIBLE) or status is Status.FEASIBLE:
        limit = limit or Limit.METHOD
    return ColumnAnswer(status, bounds, tree.best, limit, tree.root_bound, tree.nodes, tree.rounds, tree.made)
