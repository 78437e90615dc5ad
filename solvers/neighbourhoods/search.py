"""The search itself: choose a neighbourhood, solve its program, check what comes back, learn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apportion.instances.errors import BackendError
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.models.program.check import check, objective
from apportion.solvers.backends import backend_named, refusal
from apportion.solvers.backends.base import Backend, BackendAnswer
from apportion.solvers.backends.registry import is_installed
from apportion.solvers.events import Monitor
from apportion.solvers.neighbourhoods.budget import Budget
from apportion.solvers.neighbourhoods.choice import Bandit, inherit, resize
from apportion.solvers.neighbourhoods.pieces import all_pieces
from apportion.solvers.neighbourhoods.situation import Neighbourhood, Root, Situation, Structure
from apportion.solvers.neighbourhoods.subproblem import SubProgram, restricted
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Bounds, Status

_POOL = 12
_BETTER = 1e-9
_FINE_GAP = 1e-7  # a gain smaller than the gap of the whole program is still a gain
_LEAST_SIZE = 20
_LARGEST_CP_SAT = 200_000
_ENDED = (Status.OPTIMAL, Status.INFEASIBLE, Status.INFEASIBLE_OR_UNBOUNDED)


@dataclass(frozen=True)
class Limits:
    """What one small program may use: CPU seconds, or branch-and-bound nodes to repeat exactly."""

    cpu_s: float
    nodes: int | None = None


class Search:
    """Large-neighbourhood search over one program.

    Parameters
    ----------
    program
        Linear, with integer columns.
    options
        Seed, gap and threads of the small programs.
    monitor
        Hears every improvement; no bound ever comes from here.
    declared
        Neighbourhoods of the problem's own.

    Attributes
    ----------
    incumbent, objective
        The best checked point (n,) or None, and its objective.
    finished
        Whether a program that frees all that an improvement can need was solved to its end.
    relaxed
        Whether the relaxation was tried.
    rounds, wins
        Small programs solved, and how many improved.
    """

    def __init__(
        self,
        program: MixedIntegerProgram,
        options: SolveOptions,
        monitor: Monitor,
        declared: Sequence[Neighbourhood] = (),
        solvers: Sequence[Backend] | None = None,
    ) -> None:
        self._program = program
        self._options = options.with_(start=None, node_limit=None)
        self._finely = self._options.with_(gap=min(options.gap, _FINE_GAP))
        self._monitor = monitor
        self._structure = Structure(program)
        self._rng = np.random.default_rng(options.seed)
        self._pieces = all_pieces(declared)
        self._solvers = list(solvers) if solvers is not None else _solvers(program)
        self._which_piece = Bandit([piece.name for piece in self._pieces])
        self._which_solver = Bandit([solver.name for solver in self._solvers])
        self._pool: list[Floats] = []
        self._root: Root | None = None
        self.relaxed = False
        self.incumbent: Floats | None = None
        self.objective = Bounds.unknown(program.sense).primal
        self.finished = False
        self.rounds = 0
        self.wins = 0

    def adopt(self, values: Floats, letter: str = "", message: str = "") -> bool:
        """Take a point (n,) that passes the check and is better; one that is only different joins the pool.

        With a ``letter`` the monitor hears of an improvement.
        """
        point = np.array(values, np.float64)
        if not np.isfinite(point).all():
            return False
        point[self._program.integer] = np.rint(point[self._program.integer])
        value = objective(self._program, point)
        better = self.incumbent is None or self._gain(value) > 0.0
        if not check(self._program, VariableValues.from_array(self._program, point)).ok:
            return False
        if not better:
            self._pool = [*self._pool, point][-_POOL:]
            return False
        if self.incumbent is not None:
            self._pool = [*self._pool, self.incumbent][-_POOL:]
        self.incumbent, self.objective, self.finished = point, value, False
        if letter:
            self._monitor.incumbent(value, letter, message)
        return True

    def _gain(self, value: float) -> float:
        """How much better than the incumbent, relative to it; 0 when it is not clearly so."""
        gain = self._program.sense.sign * (self.objective - value) / max(1.0, abs(self.objective))
        return gain if gain > _BETTER else 0.0

    def relax(self, cpu_s: float) -> None:
        """Solve the relaxation, once; without an end in ``cpu_s`` the search goes on without it."""
        if self.relaxed:
            return
        self.relaxed = True
        budget = Budget(self._monitor, self._program.sense, cpu_s)
        answer = backend_named("highs").run(self._program.relaxed(), self._options, budget)
        if answer.status is Status.OPTIMAL and answer.values is not None and answer.reduced_costs is not None:
            self._root = Root(answer.values, answer.reduced_costs, answer.bounds.primal)

    def improve(self, limits: Limits) -> bool:
        """One round: a neighbourhood, its program, the check, the lesson. Whether the incumbent is better."""
        if self.incumbent is None or self.finished:
            return False
        which = self._which_piece.draw(self._rng)
        arm = self._which_piece.arms[which]
        inherit(arm, self._which_piece.arms)
        situation = self._situation(self.incumbent, arm.share)
        if not situation.open.any():
            self.finished = True
            return False
        restriction = self._pieces[which].restrict(situation)
        if restriction is None or not restriction.free.any():
            self._which_piece.learn(which, 0.0, 0.0)
            return False
        part = restricted(self._program, self._structure, self.incumbent, restriction)
        before, began = self.objective, time.process_time()
        which_solver = self._choose_solver(part)
        answer = self._solve(self._solvers[which_solver], part, limits)
        improved = answer.values is not None and self.adopt(part.lifted(answer.values), "L", arm.name)
        spent, effort = float(sum(answer.counts.values())), 1.0  # work that repeats exactly
        if limits.nodes is None:
            spent = time.process_time() - began
            effort = spent / limits.cpu_s
        gain = abs(before - self.objective) / max(1.0, abs(before)) if improved else 0.0
        self.rounds += 1
        self.wins += improved
        ended = answer.status in _ENDED
        self._which_piece.learn(which, gain, spent)
        self._which_solver.learn(which_solver, gain, spent, ended=ended)
        resize(arm, finished=ended, improved=improved, effort=effort)
        whole = restriction.radius is None and restriction.step is None
        self.finished = ended and not improved and whole and bool(restriction.free[situation.open].all())
        return improved

    def _situation(self, incumbent: Floats, share: float) -> Situation:
        program = self._program
        free = np.zeros(program.num_columns, np.bool_)
        free[self._structure.integers] = True
        if self._root is not None:
            slack = abs(self.objective - self._root.objective)
            free &= np.abs(self._root.reduced_costs) < slack * (1.0 + _BETTER) + _BETTER
        size = max(_LEAST_SIZE, int(share * free.sum()))
        pool = tuple(self._pool)
        return Situation(program, self._structure, incumbent, self.objective, pool, self._root, free, size, self._rng)

    def _choose_solver(self, part: SubProgram) -> int:
        """The first for a part too large to convert, or else one that the bandit draws."""
        if part.program.matrix.num_nonzeros > _LARGEST_CP_SAT:
            return 0
        return self._which_solver.draw(self._rng)

    def _solve(self, solver: Backend, part: SubProgram, limits: Limits) -> BackendAnswer:
        budget = Budget(self._monitor, part.program.sense, limits.cpu_s)
        options = self._finely.with_(node_limit=limits.nodes, seed=(self._options.seed + self.rounds) % 2**31)
        try:
            return solver.run(part.program, options, budget, part.start)
        except BackendError as error:
            self._monitor.log(f"{solver.name} gives a neighbourhood up: {error}")
            return BackendAnswer(Status.ERROR, budget.bounds)

    def summary(self) -> str:
        """What each neighbourhood and each solver did, in one line."""
        arms = [*self._which_piece.arms, *self._which_solver.arms]
        return ", ".join(f"{arm.name} {arm.wins}/{arm.tries}" for arm in arms if arm.tries)


def _solvers(program: MixedIntegerProgram) -> list[Backend]:
    """HiGHS, and CP-SAT where it can express the program."""
    found = [backend_named("highs")]
    if not refusal(program, "cp-sat") and is_installed("cp-sat"):
        found.append(backend_named("cp-sat"))
    return found
