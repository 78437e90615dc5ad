"""The heuristics one after the other, in units of work that a caller may stop between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

import numpy as np

from apportion.instances.program import Floats
from apportion.solvers.heuristics.arrays import FEASIBILITY_TOLERANCE, Ints, Problem
from apportion.solvers.heuristics.dive.driver import Dive, Guide, dive, guide
from apportion.solvers.heuristics.jump.driver import FeasibilityJump
from apportion.solvers.heuristics.local.driver import LocalSearch
from apportion.solvers.heuristics.propagation.driver import tightened
from apportion.solvers.heuristics.relaxation import Relaxation, Relaxed

Found = Callable[[Floats, float, str], None]

_MOST_CHUNK = 400_000
_LEAST_CHUNK = 2_000
_CHUNK_PER_ENTRY = 40
_PROPAGATION = 20_000_000
_DIVE = 10_000_000
_BACKTRACKS = 60
_JUMP_CHUNKS = 25
_FIRST_CHUNKS = 4
_CHUNKS_BETWEEN = 6
_ROOT_EFFORT = 600_000_000
_ITERATIONS = 5_000
_FLIPS = 40
_AGREEING_DIVES = 2
_AGREEING_SHARE = 0.8
_NEAR_ONE = 0.9
_VARIANTS = ((0.25, 0.5), (0.3, 0.9), (0.1, 0.5))
_MOST_ROUNDS = 40


class Portfolio:
    """Propagation, dives, Feasibility Jump, local search and, with a relaxation, guided dives and exact completion.

    Parameters
    ----------
    problem
        The program.
    seed
        Same seed and efforts, same incumbents.
    found
        Called with each better feasible point, its cost as minimised without the offset, and a letter.

    Attributes
    ----------
    best, objective
        The incumbent (n,) or None, and its cost as minimised, without the offset.
    num_found
        How many incumbents it found itself.
    guided
        Whether the relaxation has been solved and dived into, or is too large for that.
    """

    def __init__(self, problem: Problem, seed: int = 0, found: Found | None = None) -> None:
        self._original = problem
        self._seed = seed
        self._found = found
        size = problem.num_nonzeros + problem.num_rows + problem.num_columns
        self._chunk = min(_MOST_CHUNK, _LEAST_CHUNK + _CHUNK_PER_ENTRY * size)
        self._random = np.random.default_rng(seed)
        self._box: Problem | None = None
        self._search: LocalSearch | None = None
        self._relaxation: Relaxation | None = None
        self._spent = 0
        self._waiting: Floats | None = None
        self.best: Floats | None = None
        self.objective = inf
        self.guided = False
        self.num_found = 0

    @property
    def effort(self) -> int:
        """Nonzeros touched so far, and what stands for them in linear programs."""
        return self._spent + (0 if self._search is None else self._search.effort)

    def offer(self, values: Floats) -> None:
        """Take a feasible point from elsewhere; the work goes on from there if it is better."""
        self._waiting = values

    def work(self) -> Iterator[None]:
        """Do one unit after the other, for ever; it ends only when a row can never be met or nothing is left to do."""
        self._box = tightened(self._original, _PROPAGATION)
        yield
        if self._box is None:
            return
        yield from self._first(self._box)
        if not self._box.integer.any():
            return
        yield from self._polish(self._box)

    def _first(self, box: Problem) -> Iterator[None]:
        """A feasible point by any means: dives, then jumps, then local search from where they ended."""
        ended = []
        for kind in (Guide.COST, Guide.LOCKS):
            order, preferred = guide(box, kind, self._random)
            outcome = self._dive(box, order, preferred)
            yield
            if outcome.infeasible:
                continue
            ended.append(outcome.values)
            if self._complete(outcome, "H"):
                break
        search = LocalSearch(box, ended[0] if ended else None, self._seed + 1)
        self._search = search
        if self.best is not None:
            search.accept(self.best)
            return
        yield from self._jump(box)
        for values in ended:
            for chunk in range(_FIRST_CHUNKS):
                if self.objective < inf:
                    return
                if chunk == 0:
                    search.restart(values)
                self._local()
                yield

    def _jump(self, box: Problem) -> Iterator[None]:
        jumper = FeasibilityJump(box, None, self._seed)
        for _ in range(_JUMP_CHUNKS):
            before = jumper.effort
            met = jumper.run(self._chunk)
            self._spent += jumper.effort - before
            yield
            if met:
                break
        if self._search is not None:
            self._search.restart(jumper.values)
        self._take(jumper.values, "H")

    def _polish(self, box: Problem) -> Iterator[None]:
        for _ in range(_FIRST_CHUNKS):
            self._local()
            yield
        root = None
        if box.num_rows * self._iteration_effort(box) <= _ROOT_EFFORT:
            if self._relaxation is None:
                self._relaxation = Relaxation(box, self._seed)
            root = self._relax(box, 2 * _ROOT_EFFORT // self._iteration_effort(box))
            yield
        if root is not None:
            for share, lift in _VARIANTS:
                yield from self._relaxed_dive(box, root, share, lift)
                self._local()
                yield
        self.guided = True
        while True:
            yield from self._improve(box, root)

    def _improve(self, box: Problem, root: Relaxed | None) -> Iterator[None]:
        """A round of local search, dives near the incumbent, and flips."""
        continuous = self._relaxation is not None and not bool(box.integer.all())
        for _ in range(_CHUNKS_BETWEEN):
            if self._local() and continuous and self.best is not None:
                self._exact(self.best)
            yield
        if root is not None and self.best is not None:
            for _ in range(_AGREEING_DIVES):
                yield from self._agreeing_dive(box, root)
        if continuous and self.best is not None:
            yield from self._flips(box)

    @staticmethod
    def _iteration_effort(box: Problem) -> int:
        """What an iteration of the simplex method costs, in nonzeros of the kernels."""
        return (box.num_nonzeros + box.num_rows + box.num_columns) // 5 + 1

    def _relax(self, box: Problem, iterations: int) -> Relaxed | None:
        if self._relaxation is None:
            return None
        relaxed = self._relaxation.solve(box.lower, box.upper, iterations)
        self._spent += (self._relaxation.iterations + 1) * self._iteration_effort(box)
        return relaxed

    def _agreeing_dive(self, box: Problem, root: Relaxed) -> Iterator[None]:
        """Fix most of the integers on which the relaxation and the incumbent agree, relax and dive (as RINS does)."""
        if self.best is None:
            return
        agree = box.integer & (np.abs(root.values - self.best) <= FEASIBILITY_TOLERANCE)
        kept = agree & (self._random.random(box.num_columns) < _AGREEING_SHARE)
        inside = box.with_bounds(np.where(kept, self.best, box.lower), np.where(kept, self.best, box.upper))
        relaxed = self._relax(inside, _ITERATIONS)
        yield
        if relaxed is not None:
            share, lift = _VARIANTS[int(self._random.integers(len(_VARIANTS)))]
            yield from self._relaxed_dive(inside, relaxed, share, lift)

    def _relaxed_dive(self, box: Problem, root: Relaxed, share: float, lift: float) -> Iterator[None]:
        """Fix the columns that the relaxation has near one, propagate, relax again, until all are fixed.

        ``share`` of the fractional columns are fixed in each round, at ``floor(value + lift)``. A round that leaves no
        feasible relaxation is tried once more with its columns rounded up.
        """
        relaxed, inside = root, box
        for _ in range(_MOST_ROUNDS):
            if relaxed.objective >= self.objective:
                return
            order, height = _by_relaxation(inside, relaxed)
            if not len(order):
                self._take(relaxed.values, "R")
                return
            batch = order[: _how_many(relaxed, order, height, share)]
            for preferred in (np.floor(relaxed.values + lift), np.ceil(relaxed.values - FEASIBILITY_TOLERANCE)):
                outcome = self._dive(inside, batch, preferred)
                yield
                if not outcome.complete:
                    continue
                smaller = inside.with_bounds(outcome.lower, np.maximum(outcome.lower, outcome.upper))
                after = self._relax(smaller, _ITERATIONS)
                yield
                if after is not None:
                    break
            else:
                return
            inside, relaxed = smaller, after

    def _flips(self, box: Problem) -> Iterator[None]:
        """Move one integer column of the incumbent in its cheaper direction and let a linear program do the rest."""
        if self._relaxation is None or self.best is None:
            return
        towards = np.where(box.cost > 0.0, box.lower, box.upper)
        for j in self._random.permutation(np.flatnonzero(box.integer & (box.cost != 0.0)))[:_FLIPS]:
            if self._waiting is not None:
                return
            values = self.best.copy()
            if values[j] == towards[j]:
                continue
            values[j] += np.sign(towards[j] - values[j])
            self._exact(values)
            yield

    def _exact(self, values: Floats) -> bool:
        """Take the best continuous values for the integers of ``values``."""
        if self._relaxation is None:
            return False
        point = self._relaxation.complete(values, _ITERATIONS)
        self._spent += (self._relaxation.iterations + 1) * self._iteration_effort(self._original)
        return point is not None and self._take(point, "R")

    def _dive(self, box: Problem, order: Ints, preferred: Floats) -> Dive:
        outcome = dive(box, order, preferred, _BACKTRACKS, _DIVE)
        self._spent += outcome.effort
        return outcome

    def _complete(self, outcome: Dive, letter: str) -> bool:
        """Take the end of a dive, with the best continuous values when there are some."""
        if not outcome.complete:
            return False
        if self._take(outcome.values, letter):
            return True
        if self._original.integer.all():
            return False
        if self._relaxation is None and self._box is not None:
            self._relaxation = Relaxation(self._box, self._seed)
        return self._exact(outcome.values)

    def _local(self) -> bool:
        """A chunk of local search, from the point that waits if that is better."""
        search = self._search
        if search is None:
            return False
        if self._waiting is not None:
            values, self._waiting = self._waiting, None
            if self._original.violation(values) <= FEASIBILITY_TOLERANCE:
                self._keep(values, "")
        if not search.run(self._chunk) or search.best is None:
            return False
        return self._take(search.best, "L")

    def _take(self, values: Floats, letter: str) -> bool:
        """Keep a point that is feasible in the original program and better."""
        if self._original.violation(values) > FEASIBILITY_TOLERANCE:
            return False
        return self._keep(values, letter)

    def _keep(self, values: Floats, letter: str) -> bool:
        cost = float(self._original.cost @ values)
        if cost >= self.objective:
            return False
        self.best, self.objective = values.copy(), cost
        if self._search is not None and self._search.objective > cost:
            self._search.accept(values)
        if letter:
            self.num_found += 1
            if self._found is not None:
                self._found(self.best, cost, letter)
        return True


def _by_relaxation(box: Problem, relaxed: Relaxed) -> tuple[Ints, Floats]:
    """The open integer columns, farthest above their lower bound first, and how far; those at it dearest first."""
    columns = np.flatnonzero(box.integer & (box.lower < box.upper)).astype(np.int64)
    height = relaxed.values[columns] - np.where(np.isfinite(box.lower[columns]), box.lower[columns], 0.0)
    order = np.lexsort((-relaxed.reduced_costs[columns], -np.round(height, 6)))
    return columns[order], height[order]


def _how_many(relaxed: Relaxed, order: Ints, height: Floats, share: float) -> int:
    """Those near one, and a share of those between; all when none is between."""
    values = relaxed.values[order]
    fractional = np.abs(values - np.rint(values)) > FEASIBILITY_TOLERANCE
    if not fractional.any():
        return len(order)
    return int((height >= _NEAR_ONE).sum() + max(1, np.ceil(share * fractional.sum())))
