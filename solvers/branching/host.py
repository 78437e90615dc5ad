"""A branch and bound over HiGHS's linear programs whose branching rule, node choice and parts are open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from math import floor, inf, isfinite
from typing import Any

import numpy as np

from apportion.solvers.branching.incumbent import Incumbent
from apportion.solvers.branching.kernels import enter, fix_by_costs
from apportion.solvers.branching.protocol import BranchingRule, Floats, Ints, Node, Probe, Snapshot, ask
from apportion.solvers.branching.pseudo_costs import PseudoCosts
from apportion.solvers.branching.reduction import Reduced
from apportion.solvers.branching.relaxation import Ended, Relaxation, Rows
from apportion.solvers.branching.rules import Reliability
from apportion.solvers.branching.tree import OpenNode, OpenNodes, Selection
from apportion.solvers.events import Monitor
from apportion.solvers.heuristics.arrays import Problem
from apportion.solvers.heuristics.portfolio import Portfolio
from apportion.solvers.heuristics.propagation.driver import domain_of
from apportion.solvers.heuristics.propagation.kernels import CONFLICT, Domain
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Limit

_FRACTIONAL = 1e-6
_PROPAGATION = 5_000_000
_ROOT_HEURISTICS = 60_000_000
_HEURISTICS_EVERY = 10
_TIGHT = 1e-9
_SAME_VALUE = 1e-6


@dataclass(frozen=True)
class BranchSettings:
    """What the branch and bound does besides branching.

    Parameters
    ----------
    rule
        The branching rule.
    selection
        Which node comes next.
    presolve
        Whether HiGHS presolves first.
    cuts
        Whether HiGHS separates cuts at its root; None leaves them out where rows are so long that cuts would be dense.
    heuristics
        Whether the heuristics for programs look for solutions, at the root and at times later.
    tighten
        Whether a child that a probe shows to be empty tightens the node. Without it that child is only not explored.
    """

    rule: BranchingRule = field(default_factory=Reliability)
    selection: Selection = Selection.BEST_ESTIMATE
    presolve: bool = True
    cuts: bool | None = None
    heuristics: bool = True
    tighten: bool = True


class _Then(Enum):
    """What to do with a node next."""

    SPLIT = auto()
    AGAIN = auto()
    CLOSE = auto()
    STOP = auto()


@dataclass(eq=False)
class _Here:
    """The node that is being explored: its linear program as it was solved last, and probes of its candidates."""

    node: OpenNode
    objective: float
    values: Floats
    reduced_costs: Floats
    row_duals: Floats
    basis: Any
    fractional: Ints
    probes: dict[int, Probe] = field(default_factory=dict)


class Search:
    """The tree of one reduced program.

    Attributes
    ----------
    limit
        Why it stopped before the tree was done, or None.
    nodes
        How many nodes had their linear program solved, or were cut off by propagation.
    unbounded
        Whether the root relaxation has no optimum: then nothing is proven.
    """

    def __init__(
        self,
        reduced: Reduced,
        cuts: Rows,
        incumbent: Incumbent,
        options: SolveOptions,
        monitor: Monitor,
        settings: BranchSettings,
    ) -> None:
        self._problem, self._cuts, self._origin = reduced.problem, cuts, reduced.origin
        self._options, self._monitor, self._settings = options, monitor, settings
        self._incumbent = incumbent
        self._columns = np.flatnonzero(reduced.problem.integer).astype(np.int64)
        self._pseudo = PseudoCosts(len(self._columns))
        self._open = OpenNodes(settings.selection)
        self._unresolved = inf
        self._here_bound = inf
        self._known = inf
        self._root: tuple[float, Floats, Floats] | None = None
        self._work: Iterator[None] | None = None
        self.nodes = self.probes = 0
        self.limit: Limit | None = None
        self.unbounded = False
        self._domain: Domain
        self._lp: Relaxation

    @property
    def bound(self) -> float:
        """What no solution can cost less than, as the reduced program minimises it; infinite when there is none."""
        least = min(self._open.bound, self._here_bound, self._unresolved, self._incumbent.cutoff)
        return min(self._incumbent.round_up(least), self._incumbent.primal)

    @property
    def iterations(self) -> int:
        """Simplex iterations so far, probes included."""
        return self._lp.iterations

    def run(self) -> None:
        """Explore until no node is left, or a limit is reached."""
        self._lp = self._relaxation()
        self._here_bound = -inf
        if not self._settle(self._problem):
            self._here_bound = inf
            return
        if self._settings.heuristics:
            self._look()
        empty = np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
        self._open.push(OpenNode(-inf, -inf, 0, *empty, None))
        self._here_bound = inf
        while self.limit is None and not self.unbounded:
            if self._stopped():
                return
            self._helped()
            node = self._open.take(self._incumbent.cutoff)
            if node is None:
                return
            self._here_bound = node.bound
            if self._explore(node) is _Then.STOP:
                self._open.push(node)
            self._here_bound = inf
            self._report()

    def _report(self) -> None:
        if isfinite(self.bound):
            self._monitor.bound(self._incumbent.claim(self.bound))
        self._monitor.node(self.nodes)

    def _stopped(self) -> bool:
        limit = self._options.node_limit
        if self._monitor.should_stop:
            self.limit = Limit.INTERRUPTED if self._monitor.cancelled.is_set() else Limit.TIME
        elif limit is not None and self.nodes >= limit:
            self.limit = Limit.NODES
        return self.limit is not None

    # ------------------------------------------------------------ the root

    def _relaxation(self) -> Relaxation:
        """The linear program with the cuts that are tight at its optimum."""
        seed, seconds = self._options.seed, self._monitor.remaining_s
        lp = Relaxation(self._problem, self._cuts, seed, seconds)
        if not len(self._cuts) or lp.solve(None, inf) is not Ended.OPTIMAL:
            return lp
        duals = lp.solution()[2][self._problem.num_rows :]
        return Relaxation(self._problem, self._cuts.kept(np.flatnonzero(np.abs(duals) > _TIGHT)), seed, seconds)

    def _settle(self, problem: Problem) -> bool:
        """Take ``problem``'s box for the root's, tightened by its rows; False when that leaves nothing."""
        if bool((problem.lower > problem.upper).any()):
            return False
        nothing = np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
        domain = domain_of(problem)
        if enter(problem, domain, *nothing, False, _PROPAGATION) == CONFLICT:
            return False
        lower, upper = domain.lower.copy(), domain.upper.copy()
        free = ~problem.integer  # continuous columns keep their bounds: tightening those would add tolerances up
        lower[free], upper[free] = problem.lower[free], problem.upper[free]
        self._problem = problem.with_bounds(lower, upper)
        self._domain = domain_of(self._problem)
        enter(self._problem, self._domain, *nothing, False, _PROPAGATION)
        self._domain.marks[2] = 0
        self._base = lower[self._columns], upper[self._columns]
        self._known = self._incumbent.cutoff
        return True

    def _helped(self) -> None:
        """Let a better incumbent shrink the root's box, and the heuristics have their turn."""
        if self._work is not None and self.nodes % _HEURISTICS_EVERY == 1:
            next(self._work, None)
        if self._root is None or self._incumbent.cutoff >= self._known:
            return
        self._known = self._incumbent.cutoff
        objective, reduced_costs, _ = self._root
        problem = self._problem
        lower, upper = np.empty(len(self._columns)), np.empty(len(self._columns))
        slack = self._incumbent.cutoff - objective
        if fix_by_costs(self._columns, reduced_costs, slack, problem.lower, problem.upper, lower, upper):
            tighter = problem.lower.copy(), problem.upper.copy()
            tighter[0][self._columns], tighter[1][self._columns] = lower, upper
            if not self._settle(problem.with_bounds(*tighter)):
                self._open = OpenNodes(self._settings.selection)

    def _look(self) -> None:
        """Run the heuristics until they have dived into the relaxation, or have done enough."""
        portfolio = Portfolio(self._problem, self._options.seed, lambda x, _, letter: self._found(x, letter))
        self._work = portfolio.work()
        for _ in self._work:
            if portfolio.guided or portfolio.effort >= _ROOT_HEURISTICS or self._monitor.should_stop:
                return

    def _found(self, values: Floats, letter: str) -> None:
        self._incumbent.offer(values, letter)

    # ------------------------------------------------------------ a node

    def _explore(self, node: OpenNode) -> _Then:
        """Propagate, relax, tighten, decide, and split or close."""
        self.nodes += 1
        lower, upper = node.lower, node.upper
        columns = self._columns[node.positions]
        if enter(self._problem, self._domain, columns, lower, upper, True, _PROPAGATION) == CONFLICT:
            return _Then.CLOSE
        basis, then = node.basis, _Then.AGAIN
        while then is _Then.AGAIN:
            here = self._relax(node, basis)
            if isinstance(here, _Then):
                return here
            basis = here.basis
            then = self._tightened(here)
            if then is _Then.SPLIT:
                then = self._branch(here)
        return then

    def _relax(self, node: OpenNode, basis: Any) -> _Here | _Then:
        """Solve the linear program of the node in its present box."""
        lp, cutoff = self._lp, self._incumbent.cutoff
        lp.move(self._domain.lower[self._columns], self._domain.upper[self._columns])
        ended = lp.solve(basis, cutoff)
        if ended in (Ended.INFEASIBLE, Ended.BEYOND):
            return _Then.CLOSE
        if ended is Ended.STOPPED or (ended is not Ended.OPTIMAL and self._monitor.should_stop):
            self.limit = self.limit or Limit.TIME
            return _Then.STOP
        if ended is not Ended.OPTIMAL:
            self.unbounded = self._root is None
            self._unresolved = min(self._unresolved, node.bound)
            return _Then.CLOSE
        objective = lp.objective
        self._learn(node, objective)
        node.bound = max(node.bound, objective)
        self._here_bound = node.bound
        values, reduced_costs, duals = lp.solution()
        if self._root is None:
            self._root = objective, reduced_costs, values
            self._report()
        if self._incumbent.round_up(objective) >= cutoff:
            return _Then.CLOSE
        at = values[self._columns]
        fractional = np.flatnonzero(np.abs(at - np.rint(at)) > _FRACTIONAL).astype(np.int64)
        return _Here(node, objective, values, reduced_costs, duals, lp.basis(), fractional)

    def _learn(self, node: OpenNode, objective: float) -> None:
        """Update the pseudo-cost of the branching that made the node, once."""
        if node.branched is not None:
            position, direction, distance = node.branched
            self._pseudo.update(position, direction, objective - node.parent_objective, distance)
            node.branched = None

    def _tightened(self, here: _Here) -> _Then:
        """Close an integral node; else fix by reduced costs and propagate."""
        if not len(here.fractional):
            self._integral(here)
            return _Then.CLOSE
        slack = self._incumbent.cutoff - here.objective
        if slack == inf:
            return _Then.SPLIT
        lower, upper = np.empty(len(self._columns)), np.empty(len(self._columns))
        domain, columns = self._domain, self._columns
        if not fix_by_costs(columns, here.reduced_costs, slack, domain.lower, domain.upper, lower, upper):
            return _Then.SPLIT
        if enter(self._problem, domain, columns, lower, upper, False, _PROPAGATION) == CONFLICT:
            return _Then.CLOSE
        at = here.values[columns]
        outside = (at < domain.lower[columns] - _FRACTIONAL) | (at > domain.upper[columns] + _FRACTIONAL)
        if outside.any():
            return _Then.AGAIN
        self._lp.move(domain.lower[columns], domain.upper[columns])
        return _Then.SPLIT

    def _integral(self, here: _Here) -> None:
        """Take the solution of the linear program; with rounded integers solve for the others again if need be."""
        if self._incumbent.offer(here.values, "T"):
            return
        whole = np.rint(here.values[self._columns])
        self._lp.move(whole, whole)
        if self._lp.solve(here.basis, inf) is Ended.OPTIMAL and self._incumbent.offer(self._lp.solution()[0], "T"):
            return
        self._unresolved = min(self._unresolved, here.objective)

    # ------------------------------------------------------------ a branching

    def _branch(self, here: _Here) -> _Then:
        """Ask the rule, use what its probes have shown, and make the children."""
        position = ask(self._settings.rule, self._view(here))
        if self._monitor.should_stop:
            return _Then.STOP
        if self._settings.tighten and here.probes:
            then = self._use(here)
            if then is not _Then.SPLIT:
                return then
        self._split(here, position)
        return _Then.CLOSE

    def _view(self, here: _Here) -> Node:
        positions = here.fractional
        columns = self._columns[positions]
        means, counts = self._pseudo.of(positions)
        return Node(
            number=self.nodes - 1,
            depth=here.node.depth,
            objective=here.objective,
            bound=self.bound,
            cutoff=self._incumbent.cutoff,
            candidates=self._origin[columns],
            values=here.values[columns],
            costs=self._problem.cost[columns],
            reduced_costs=here.reduced_costs[columns],
            lower=self._domain.lower[columns],
            upper=self._domain.upper[columns],
            pseudo_costs=means,
            counts=counts,
            mean_iterations=self._lp.iterations / max(1, self._lp.solves),
            probe=lambda position, iterations: self._probe(here, position, iterations),
            snapshot=lambda: self._snapshot(here),
        )

    def _snapshot(self, here: _Here) -> Snapshot:
        domain = self._domain
        return Snapshot(here.values, here.reduced_costs, domain.lower.copy(), domain.upper.copy(), here.row_duals)

    def _probe(self, here: _Here, position: int, iterations: int) -> Probe:
        known = here.probes.get(position)
        if known is not None and known.exact:
            return known
        if self._monitor.should_stop:
            return Probe(here.objective, here.objective, exact=False)
        self.probes += 1
        place = int(here.fractional[position])
        column = int(self._columns[place])
        value = float(here.values[column])
        sides = (
            (float(self._domain.lower[column]), float(floor(value)), value - floor(value)),
            (float(floor(value) + 1), float(self._domain.upper[column]), floor(value) + 1 - value),
        )
        found, exact = [], True
        for direction, (lower, upper, distance) in enumerate(sides):
            objective, finished = self._child(here, place, lower, upper, iterations)
            exact &= finished
            found.append(objective)
            if finished and objective < inf:
                self._pseudo.update(place, direction, objective - here.objective, distance)
        here.probes[position] = Probe(found[0], found[1], exact=exact)
        return here.probes[position]

    def _child(self, here: _Here, place: int, lower: float, upper: float, iterations: int) -> tuple[float, bool]:
        """The objective of a child's linear program, infinite when it is of no use, and whether it was finished."""
        if lower > upper:
            return inf, True
        cutoff = self._incumbent.cutoff
        ended = self._lp.probe(place, lower, upper, here.basis, cutoff, iterations)
        if ended in (Ended.INFEASIBLE, Ended.BEYOND):
            return inf, True
        objective = max(here.objective, self._lp.probed_objective)
        if ended is Ended.OPTIMAL:
            return (inf if self._incumbent.round_up(objective) >= cutoff else objective), True
        return (objective if ended is Ended.SHORT else here.objective), False

    def _use(self, here: _Here) -> _Then:
        """Leave out children that a probe has shown to be of no use."""
        columns, lower, upper = [], [], []
        for position, probe in here.probes.items():
            if not probe.exact or inf not in (probe.down, probe.up):
                continue
            if probe.down == probe.up:
                return _Then.CLOSE
            column = int(self._columns[here.fractional[position]])
            value = here.values[column]
            columns.append(column)
            lower.append(np.ceil(value) if probe.down == inf else -inf)
            upper.append(np.floor(value) if probe.up == inf else inf)
        if not columns:
            return _Then.SPLIT
        box = np.array(columns, np.int64), np.array(lower, np.float64), np.array(upper, np.float64)
        if enter(self._problem, self._domain, *box, False, _PROPAGATION) == CONFLICT:
            return _Then.CLOSE
        return _Then.AGAIN

    def _split(self, here: _Here, position: int) -> None:
        place = int(here.fractional[position])
        value = float(here.values[self._columns[place]])
        lower, upper = self._domain.lower[self._columns], self._domain.upper[self._columns]
        differs = (lower != self._base[0]) | (upper != self._base[1])
        differs[place] = True
        positions = np.flatnonzero(differs).astype(np.int64)
        at = int(np.searchsorted(positions, place))
        estimates = self._estimates(here, position)
        probe = here.probes.get(position)
        bounds = (probe.down, probe.up) if probe is not None and probe.exact else (here.objective, here.objective)
        preferred = self._preferred(place, value)
        for direction in (1 - preferred, preferred):
            bound = max(here.node.bound, bounds[direction])
            if self._incumbent.round_up(bound) >= self._incumbent.cutoff or bound == inf:
                continue
            low, high = lower[positions], upper[positions]
            (low if direction else high)[at] = floor(value) + direction
            distance = floor(value) + 1 - value if direction else value - floor(value)
            child = OpenNode(
                bound, max(bound, estimates[direction]), here.node.depth + 1, positions, low, high, here.basis
            )
            child.branched = (place, direction, distance)
            child.parent_objective = here.objective
            self._open.push(child, preferred=direction == preferred)

    def _estimates(self, here: _Here, position: int) -> tuple[float, float]:
        """What the best solutions of both children may cost, by pseudo-costs (Forrest, Hirst and Tomlin 1974)."""
        means, _ = self._pseudo.of(here.fractional)
        at = here.values[self._columns[here.fractional]]
        fractions = at - np.floor(at)
        down, up = means[:, 0] * fractions, means[:, 1] * (1.0 - fractions)
        least = np.minimum(down, up)
        others = here.objective + float(least.sum()) - float(least[position])
        return others + float(down[position]), others + float(up[position])

    def _preferred(self, place: int, value: float) -> int:
        """Plunge away from the root's value (Achterberg 2007, section 6.4), or else to the nearer side."""
        if self._root is not None:
            moved = value - float(self._root[2][self._columns[place]])
            if abs(moved) > _SAME_VALUE:
                return int(moved > 0)
        return int(value - floor(value) >= 0.5)
