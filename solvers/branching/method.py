"""The method "branch-and-bound" of programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.solvers.advisor import Advisor
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.backends.proof import settle
from apportion.solvers.backends.trivial import trivial_answer
from apportion.solvers.branching.host import BranchSettings, Search
from apportion.solvers.branching.incumbent import Incumbent
from apportion.solvers.branching.reduction import Outcome, Reduced, Root, is_wide, reduced, root_cuts, unreduced
from apportion.solvers.branching.relaxation import Rows
from apportion.solvers.branching.rules import First
from apportion.solvers.events import Monitor
from apportion.solvers.heuristics.arrays import expressible
from apportion.solvers.options import SolveOptions
from apportion.solvers.program import solve_program, start_values
from apportion.solvers.result import Answer
from apportion.solvers.status import Bounds, Limit, Status


def branch_and_bound(
    instance: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,
    *,
    settings: BranchSettings | None = None,
) -> Answer[VariableValues]:
    """Solve a program by the branch and bound of this package.

    Programs without integers, those with ordered sets, indicators or a quadratic objective, and those whose relaxation
    is unbounded go to the default method. One thread works, whatever ``options.threads`` says.

    Parameters
    ----------
    instance
        Any program.
    options, monitor
        As for every method. ``options.node_limit`` limits nodes; ``backend="scip"`` lets SCIP do the search with the
        same branching rule.
    advisor
        A start, and columns to branch on first.
    settings
        The branching rule and the parts.

    Examples
    --------
    >>> from apportion.instances.generate.benchmark_programs import benchmark_program
    >>> from apportion.solvers.branching.rules import FullStrong
    >>> program = benchmark_program("set-cover", seed=1, rows=30, columns=50)
    >>> settings = BranchSettings(rule=FullStrong(), cuts=False)
    >>> answer = branch_and_bound(program, SolveOptions(), Monitor(program.sense), settings=settings)
    >>> str(answer.status), answer.bounds.primal
    ('optimal', 297.0)
    """
    if not expressible(instance) or not instance.integer.any() or options.backend == "cp-sat":
        return solve_program(instance, options, monitor, advisor)
    settings = _advised(settings or BranchSettings(), instance, advisor)
    start = start_values(instance, options, monitor, advisor)
    if options.backend == "scip":
        from apportion.solvers.branching.scip_rule import run_scip

        native = run_scip(instance, options, monitor, settings.rule, start)
    else:
        found = trivial_answer(instance) or _search(instance, options, monitor, settings, start)
        if found is None:
            return solve_program(instance, options, monitor, advisor)
        native = found
    return Answer(
        status=native.status,
        bounds=native.bounds,
        plan=None if native.values is None else VariableValues.from_array(instance, native.values),
        limit=native.limit,
        counts=native.counts,
        native_status=native.native_status,
        native=native,
    )


def _advised(settings: BranchSettings, instance: MixedIntegerProgram, advisor: Advisor | None) -> BranchSettings:
    first: Sequence[int] = advisor.advise(instance).branch_first if advisor is not None else ()
    return replace(settings, rule=First(first, settings.rule)) if first else settings


def _search(
    program: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    settings: BranchSettings,
    start: Floats | None,
) -> BackendAnswer | None:
    """Presolve, cut, search; None when the relaxation is unbounded or presolve cannot tell."""
    presolved = settings.presolve and options.highs.presolve
    small = reduced(program, monitor) if presolved else unreduced(program)
    if small.outcome is Outcome.INFEASIBLE:
        return BackendAnswer(Status.INFEASIBLE, Bounds.unknown(program.sense), native_status="presolve: infeasible")
    if small.outcome is Outcome.OPEN and not monitor.should_stop:
        return None
    incumbent = Incumbent(program, small, options.gap, monitor)
    if start is not None and np.isfinite(start).all() and not incumbent.adopt(start, "S"):
        monitor.log("the start is rejected: it breaks a row")
    if not small.problem.num_columns:
        solved = incumbent.offer(np.zeros(0), "R")
        return _answer(program, options, monitor, incumbent, None, solved=solved)
    root = _cuts(small, options, monitor, settings)
    for values in root.solutions:
        incumbent.offer(values, "H")
    search = Search(small, root.cuts, incumbent, options, monitor, settings)
    if not root.infeasible:
        search.run()
    if search.unbounded:
        return None
    return _answer(program, options, monitor, incumbent, search, solved=search.limit is None)


def _cuts(small: Reduced, options: SolveOptions, monitor: Monitor, settings: BranchSettings) -> Root:
    wanted = not is_wide(small.problem) if settings.cuts is None else settings.cuts
    if not wanted or options.node_limit == 0 or monitor.should_stop:
        return Root(Rows.none(small.problem.num_columns))
    return root_cuts(small.problem, options.seed, monitor)


def _answer(
    program: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    incumbent: Incumbent,
    search: Search | None,
    *,
    solved: bool,
) -> BackendAnswer:
    cost = search.bound if search is not None else incumbent.primal
    if solved and incumbent.values is None and cost == inf:
        return BackendAnswer(Status.INFEASIBLE, Bounds.unknown(program.sense), native_status="infeasible")
    dual = incumbent.claim(cost) if isfinite(cost) else Bounds.unknown(program.sense).dual
    if isfinite(dual):
        monitor.bound(dual)
    bounds = Bounds(incumbent.objective, dual)
    limit = None if search is None else search.limit
    status = Status.OPTIMAL if incumbent.values is not None else Status.NO_SOLUTION
    status, other = settle(status, limit, bounds, options.gap)
    limit = None if status is Status.OPTIMAL else limit or other or Limit.OTHER
    counts = {} if search is None else {"nodes": search.nodes, "probes": search.probes, "iterations": search.iterations}
    return BackendAnswer(status, bounds, limit, incumbent.values, None, None, counts, f"branch and bound: {status}")
