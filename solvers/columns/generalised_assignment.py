"""Generalised assignment by branch and price: each column is the set of jobs of one agent (Savelsbergh 1997)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apportion.instances.core import Sense
from apportion.instances.errors import CapabilityError, Fault, PlanError
from apportion.instances.generate.benchmark_programs import assignment_program
from apportion.instances.validation import FaultList
from apportion.solvers.backends import backend_named
from apportion.solvers.columns import kernels
from apportion.solvers.columns.formulation import Branch, Column, Duals, Floats, Formulation, Ints, Priced
from apportion.solvers.columns.tree import ColumnAnswer, TreeSettings, branch_and_price
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer

_MOST_CELLS = 30_000_000
_TOLERANCE = 1e-6
_NEAR_NODES = 500
_NEAR_S = 10.0
_NEAR_EACH = 2
_NEAR_ALL = 3

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class AssignmentPlan:
    """The agent of each job."""

    problem: ClassVar[str] = "generalised-assignment"
    agents: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"agents": list(self.agents)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        try:
            return cls(tuple(int(i) for i in data["agents"]))
        except (KeyError, TypeError, ValueError) as error:
            raise PlanError("plan", [Fault("agents", f"must list an agent per job ({error})")]) from None


@dataclass(frozen=True, eq=False)
class Assignment:
    """The data of one problem: ``cost`` and ``use`` of shape (agents, jobs), ``capacity`` of shape (agents,)."""

    cost: Floats
    use: Ints
    capacity: Ints
    whole: bool
    table: Floats
    options: SolveOptions
    monitor: Monitor

    @property
    def shape(self) -> tuple[int, int]:
        """Agents and jobs."""
        agents, jobs = self.cost.shape
        return agents, jobs

    def column(self, agent: int, jobs: Ints) -> Column:
        """The column of an agent that does ``jobs`` (ascending)."""
        return Column(float(self.cost[agent, jobs].sum()), jobs, np.ones(len(jobs)), agent, agent)


@dataclass(eq=False)
class AssignmentNode:
    """A node: which agents may do which jobs, and the jobs and agents that are left (all but in a dive)."""

    data: Assignment
    allowed: Bools
    jobs: Bools
    agents: Bools

    def formulation(self) -> Formulation:
        """Every job left once, every agent left with one set of jobs, which may be empty."""
        once = self.jobs.astype(np.float64)
        cost = np.where(self.allowed, self.data.cost, inf)
        cheapest = np.where(self.allowed, np.minimum(self.data.cost, 0.0), 0.0).sum(axis=1)
        worst = float(np.max(np.where(np.isfinite(cost), np.abs(cost), 0.0), initial=1.0))
        return Formulation(
            row_lower=once,
            row_upper=once,
            block_least=np.zeros(len(self.agents)),
            block_most=self.agents.astype(np.float64),
            least_cost=cheapest,
            pricing=self,
            branching=self,
            fixing=self,
            repair=self,
            tightening=self,
            penalty=worst,
            step=1.0 if self.data.whole else 0.0,
        )

    # -- pricing -----------------------------------------------------------------------------------------------------

    def price(self, duals: Duals) -> Priced:
        """One knapsack per agent."""
        least = np.zeros(len(self.agents))
        columns = []
        for agent in np.flatnonzero(self.agents).tolist():
            profit = duals.rows - duals.cost_weight * self.data.cost[agent]
            jobs = np.flatnonzero(self.allowed[agent] & (profit > 0.0))
            value, taken = self._knapsack(agent, profit[jobs], jobs)
            least[agent] = -value
            if taken.any():
                columns.append(self.data.column(agent, jobs[taken]))
        return Priced(columns, least)

    def _knapsack(self, agent: int, profit: Floats, jobs: Ints) -> tuple[float, Bools]:
        capacity, use = int(self.data.capacity[agent]), self.data.use[agent, jobs]
        taken = np.zeros(len(jobs), np.bool_)
        if int(use.sum()) <= capacity:
            return float(profit.sum()), ~taken
        kernels.fill_binary(profit, use, self.data.table, capacity)
        kernels.pack_binary(profit, use, self.data.table, capacity, taken)
        return float(self.data.table[0, capacity]), taken

    # -- branching ---------------------------------------------------------------------------------------------------

    def branch(self, columns: Sequence[Column], values: Floats, pool: Sequence[Column]) -> list[Branch]:
        """Give a job to an agent, or forbid it: the pair whose share is nearest to one half from above."""
        share = self._share(columns, values)
        if not ((share > _TOLERANCE) & (share < 1 - _TOLERANCE)).any():
            return []
        score = np.where(share < 1 - _TOLERANCE, share, -1.0)
        agent, job = divmod(int(np.argmax(score)), share.shape[1])
        mine, others = self.allowed.copy(), self.allowed.copy()
        others[agent, job] = False
        mine[:, job] = False
        mine[agent, job] = True
        return [self._child(mine, pool), self._child(others, pool)]

    def _share(self, columns: Sequence[Column], values: Floats) -> Floats:
        share = np.zeros(self.data.cost.shape)
        for column, value in zip(columns, values.tolist(), strict=True):
            share[column.block, column.rows] += value
        return share

    def _child(self, allowed: Bools, pool: Sequence[Column]) -> Branch:
        node = replace(self, allowed=allowed)
        return Branch(node.formulation(), [c for c in pool if allowed[c.block, c.rows].all()])

    def fix(self, columns: Sequence[Column], counts: Ints, pool: Sequence[Column]) -> Branch | None:
        """These agents and their jobs are done; the others share the rest."""
        if (counts > 1).any():
            return None
        jobs, agents, allowed = self.jobs.copy(), self.agents.copy(), self.allowed.copy()
        for column in columns:
            if not (agents[column.block] and jobs[column.rows].all()):
                return None
            agents[column.block] = False
            jobs[column.rows] = False
        allowed &= agents[:, None] & jobs[None]
        if not allowed[:, jobs].any(axis=0).all():
            return None
        return replace(self, jobs=jobs, agents=agents)._child(allowed, pool)

    # -- heuristics and tightening -----------------------------------------------------------------------------------

    def improve(self, columns: Sequence[Column], values: Floats, duals: Duals) -> list[Column] | None:
        """Solve the compact model over the pairs of the relaxation and those that cost the Lagrangian bound least."""
        agents, jobs = self.data.shape
        loss = np.array([self._losses(agent, duals)[1] for agent in range(agents)])
        near = np.zeros((agents, jobs), np.bool_)
        near[np.argsort(loss, axis=0, kind="stable")[:_NEAR_EACH], np.arange(jobs)[None]] = True
        near.ravel()[np.argsort(loss, axis=None, kind="stable")[: _NEAR_ALL * jobs]] = True
        near = (near | (self._share(columns, values) > _TOLERANCE)) & self.allowed
        chosen = solve_compact(self.data, near, _NEAR_NODES, _NEAR_S)
        return None if chosen is None else self._sets(chosen)

    def _sets(self, chosen: Ints) -> list[Column]:
        busy = np.unique(chosen).tolist()
        return [self.data.column(agent, np.flatnonzero(chosen == agent)) for agent in busy]

    def tighten(self, duals: Duals, columns: Sequence[Column], cutoff: float) -> Branch | None:
        """Forbid each pair whose Lagrangian bound, with it forced in, reaches the cutoff, and force those needed.

        The bound with a pair forced is the one at ``duals`` with that agent's knapsack solved under the condition
        (Posta, Ferland and Michelon 2012, An exact method with variable fixing for the generalized assignment problem).
        """
        agents, jobs = self.data.shape
        best = np.zeros(agents)
        loss_in, loss_out = np.full((agents, jobs), inf), np.zeros((agents, jobs))
        for agent in range(agents):
            best[agent], loss_in[agent], loss_out[agent] = self._losses(agent, duals)
        bound = float(duals.rows @ self.jobs) - float(best.sum())
        margin = self._hopeless_above(cutoff)
        out = self.allowed & (bound + loss_in > margin)
        needed = self.allowed & (bound + loss_out > margin)
        allowed = self.allowed & ~out
        for agent, job in np.argwhere(needed).tolist():
            allowed[np.arange(agents) != agent, job] = False
        if np.array_equal(allowed, self.allowed):
            return None
        return self._child(allowed, columns)

    def _hopeless_above(self, cutoff: float) -> float:
        """No solution that costs more than this is better than the cutoff; whole costs are only compared as such."""
        reached = ceil(cutoff - _TOLERANCE) - 1.0 if self.data.whole else cutoff
        return reached + _TOLERANCE * max(1.0, 1e-3 * abs(cutoff))

    def _losses(self, agent: int, duals: Duals) -> tuple[float, Floats, Floats]:
        """The agent's best profit, and by how much it falls with each job forced in and forced out."""
        data, capacity = self.data, int(self.data.capacity[agent])
        loss_in, loss_out = np.full(len(self.jobs), inf), np.zeros(len(self.jobs))
        jobs = np.flatnonzero(self.allowed[agent])
        profit, use = duals.rows[jobs] - data.cost[agent, jobs], data.use[agent, jobs]
        kernels.fill_binary(profit, use, data.table, capacity)
        inside, outside = np.zeros(len(jobs)), np.zeros(len(jobs))
        kernels.forced_profits(profit, use, data.table, capacity, np.zeros(capacity + 1), inside, outside)
        best = float(data.table[0, capacity])
        loss_in[jobs], loss_out[jobs] = best - inside, best - outside
        return best, loss_in, loss_out


def solve_compact(data: Assignment, allowed: Bools, nodes: int, seconds: float) -> Ints | None:
    """The agent of each job by HiGHS on the compact model over the pairs ``allowed``; None when it finds none."""
    agents, jobs = data.shape
    cost, use = np.where(allowed, data.cost, 0.0), data.use.astype(np.float64)
    program = assignment_program("compact", cost, use, data.capacity.astype(np.float64))
    program = replace(program, upper=allowed.astype(np.float64).ravel())
    limit = inf if data.options.deterministic else min(seconds, 0.25 * data.monitor.remaining_s)
    if limit <= 0.0:
        return None
    silent = Monitor(Sense.MINIMISE, None, limit, data.monitor.cancelled)
    options = SolveOptions(seed=data.options.seed, gap=0.0, node_limit=nodes, deterministic=data.options.deterministic)
    values = backend_named("highs").run(program, options, silent).values
    return None if values is None else np.argmax(values.reshape(agents, jobs), axis=0)


def solve_generalised_assignment(
    cost: ArrayLike,
    resource: ArrayLike,
    capacity: ArrayLike,
    options: SolveOptions | None = None,
    monitor: Monitor | None = None,
    *,
    settings: TreeSettings | None = None,
) -> Answer[AssignmentPlan]:
    """Give every job to one agent at least cost, within what each agent can do.

    Parameters
    ----------
    cost, resource
        Shape (agents, jobs). Resources are whole numbers, costs any.
    capacity
        Shape (agents,).
    options, monitor, settings
        As for :func:`~apportion.solvers.columns.tree.branch_and_price`.

    Raises
    ------
    InstanceError
        When shapes differ, a resource is not a whole number or negative, or a number is not finite.
    CapabilityError
        When jobs by capacity are too many cells for the knapsack table.

    Examples
    --------
    >>> answer = solve_generalised_assignment([[1, 4, 5], [3, 2, 2]], [[2, 2, 2], [1, 1, 1]], [2, 2])
    >>> str(answer.status), answer.plan, answer.bounds
    ('optimal', AssignmentPlan(agents=(0, 1, 1)), Bounds(primal=5.0, dual=5.0))
    """
    options = options or SolveOptions()
    monitor = monitor or Monitor(Sense.MINIMISE, None, options.time_limit_s)
    data = _validated(cost, resource, capacity, options, monitor)
    jobs = data.shape[1]
    node = _root(data)
    if not node.allowed.any(axis=0).all():
        return _answer(ColumnAnswer.infeasible(), None)
    native = branch_and_price(node.formulation(), [], options, monitor, settings=settings)
    plan = None
    if native.chosen is not None:
        chosen = np.zeros(jobs, np.int64)
        for column in native.chosen:
            chosen[column.rows] = column.block
        plan = AssignmentPlan(tuple(chosen.tolist()))
    return _answer(native, plan)


def node_of(cost: ArrayLike, resource: ArrayLike, capacity: ArrayLike) -> AssignmentNode:
    """The root node of a problem, for column generation by hand; arguments as for the solve."""
    return _root(_validated(cost, resource, capacity, SolveOptions(), Monitor(Sense.MINIMISE)))


def _root(data: Assignment) -> AssignmentNode:
    agents, jobs = data.shape
    allowed = data.use <= data.capacity[:, None]
    return AssignmentNode(data, allowed, np.ones(jobs, np.bool_), np.ones(agents, np.bool_))


def _validated(
    cost: ArrayLike, resource: ArrayLike, capacity: ArrayLike, options: SolveOptions, monitor: Monitor
) -> Assignment:
    faults = FaultList("generalised assignment")
    price, use, room = (np.asarray(a, np.float64) for a in (cost, resource, capacity))
    faults.require(price.ndim == 2 and price.size > 0, "cost", "must have shape (agents, jobs)", price.shape)
    faults.require(use.shape == price.shape, "resource", "must have the shape of cost", use.shape)
    faults.require(room.shape == price.shape[:1], "capacity", "must be one per agent", room.shape)
    faults.raise_if_any()
    faults.require(bool(np.isfinite(price).all()), "cost", "must be finite numbers")
    whole = np.isfinite(use) & (use == np.floor(use)) & (use >= 0)
    for agent, job in np.argwhere(~whole)[:5].tolist():
        faults.add(f"resource[{agent}][{job}]", "must be a whole number, at least 0", float(use[agent, job]))
    for agent in np.flatnonzero(~(np.isfinite(room) & (room >= 0))).tolist():
        faults.add(f"capacity[{agent}]", "must be a number, at least 0", float(room[agent]))
    faults.raise_if_any()
    used = np.minimum(np.floor(room), use.sum(axis=1))
    cells = (price.shape[1] + 1) * (float(used.max()) + 1)
    if cells > _MOST_CELLS:
        message = f"a knapsack table of {price.shape[1]} jobs by {used.max():g} units of capacity is too large"
        raise CapabilityError(f"{message}\nMaybe a coarser unit of the resource")
    table = np.zeros((price.shape[1] + 1, int(used.max()) + 1))
    integral = bool((price == np.floor(price)).all())
    return Assignment(
        price,
        np.minimum(use, used[:, None] + 1).astype(np.int64),
        used.astype(np.int64),
        integral,
        table,
        options,
        monitor,
    )


def _answer(native: ColumnAnswer, plan: AssignmentPlan | None) -> Answer[AssignmentPlan]:
    return Answer(
        status=native.status,
        bounds=native.bounds,
        plan=plan,
        limit=native.limit,
        counts={"nodes": native.nodes, "rounds": native.rounds, "columns": native.columns},
        native_status=f"branch and price: {native.status}",
        extras={"root_bound": native.root_bound},
        native=native,
    )
