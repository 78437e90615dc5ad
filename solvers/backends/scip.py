"""SCIP through PySCIPOpt: linear, mixed-integer and quadratic programs, ordered sets and indicators."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import numpy as np
from pyscipopt import Eventhdlr, Heur, Model
from pyscipopt.scip import PY_SCIP_EVENTTYPE, PY_SCIP_HEURTIMING, PY_SCIP_RESULT, PY_SCIP_STATUS, Expr, ExprCons, Term

from apportion.instances.errors import BackendError, CapabilityError, OptionError
from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.solvers.backends.base import BackendAnswer, Capabilities
from apportion.solvers.backends.callbacks import Guard
from apportion.solvers.backends.companion import Companion
from apportion.solvers.backends.proof import settle
from apportion.solvers.backends.quadratic import objective_at
from apportion.solvers.backends.registry import BACKENDS, require
from apportion.solvers.backends.small_values import small_that_matters
from apportion.solvers.backends.trivial import trivial_answer
from apportion.solvers.backends.watch import run_watched
from apportion.solvers.events import Monitor
from apportion.solvers.options import Setting, SolveOptions
from apportion.solvers.status import Bounds, Limit, Status

STATUS: dict[str, tuple[Status, Limit | None]] = {
    "UNKNOWN": (Status.ERROR, None),
    "OPTIMAL": (Status.OPTIMAL, None),
    "INFEASIBLE": (Status.INFEASIBLE, None),
    "UNBOUNDED": (Status.UNBOUNDED, None),
    "INFORUNBD": (Status.INFEASIBLE_OR_UNBOUNDED, None),
    "USERINTERRUPT": (Status.NO_SOLUTION, Limit.INTERRUPTED),
    "NODELIMIT": (Status.NO_SOLUTION, Limit.NODES),
    "TOTALNODELIMIT": (Status.NO_SOLUTION, Limit.NODES),
    "STALLNODELIMIT": (Status.NO_SOLUTION, Limit.NODES),
    "TIMELIMIT": (Status.NO_SOLUTION, Limit.TIME),
    "MEMLIMIT": (Status.NO_SOLUTION, Limit.MEMORY),
    "GAPLIMIT": (Status.OPTIMAL, None),
    "PRIMALLIMIT": (Status.NO_SOLUTION, Limit.OBJECTIVE),
    "DUALLIMIT": (Status.NO_SOLUTION, Limit.OBJECTIVE),
    "SOLLIMIT": (Status.NO_SOLUTION, Limit.SOLUTIONS),
    "BESTSOLLIMIT": (Status.NO_SOLUTION, Limit.SOLUTIONS),
    "RESTARTLIMIT": (Status.NO_SOLUTION, Limit.OTHER),
}
"""Every native code by its name in ``pyscipopt.SCIP_STATUS``; ``NO_SOLUTION`` becomes ``FEASIBLE`` with a solution."""

NATIVE_NAMES = tuple(sorted(name for name in dir(PY_SCIP_STATUS) if not name.startswith("_")))

_OWN = {
    "limits/time": "time_limit_s",
    "limits/gap": "gap",
    "limits/nodes": "node_limit",
    "randomization/randomseedshift": "seed",
    "parallel/maxnthreads": "threads",
    "display/verblevel": "listener=, which receives the events",
}
_INFINITE = 1e20
_DROPPED = 1e-9
_PRIMAL_UNKNOWN = 1e19


class Scip:
    """SCIP behind the protocol of :class:`~apportion.solvers.backends.base.Backend`.

    A ``companion`` hears the incumbents and may offer better points before each node; it gets no turns. ``plugins`` is
    called with the model, its variables and the guard of callbacks before the search, to include further plugins.
    """

    name: str = "scip"
    capabilities: Capabilities = BACKENDS["scip"].capabilities

    def __init__(
        self,
        companion: Companion | None = None,
        plugins: Callable[[Any, list[Any], Guard], None] | None = None,
    ) -> None:
        self._companion = companion
        self._plugins = plugins

    def run(
        self,
        program: MixedIntegerProgram,
        options: SolveOptions,
        monitor: Monitor,
        start: Floats | None = None,
    ) -> BackendAnswer:
        """Solve ``program``; see :meth:`~apportion.solvers.backends.base.Backend.run`.

        SCIP works in one thread whatever ``options.threads`` says. A quadratic objective need not be convex.

        Raises
        ------
        CapabilityError
            For a coefficient that SCIP takes for zero and that matters.
        OptionError
            For an unknown setting or a wrong value.
        """
        require(program, self)
        model = Model(program.name or "program", defaultPlugins=True)
        model.hideOutput()
        _apply(model, options)
        answer = trivial_answer(program)
        if answer is not None:
            return answer
        name = small_that_matters(program, _DROPPED)
        if name:
            message = f"scip drops coefficients up to {_DROPPED:g}, and variable {name} has one that matters"
            raise CapabilityError(f"{message}\nMaybe backend 'highs', or scale the variable")
        variables = _build(model, program)
        _pass_start(model, program, variables, start, monitor)
        model.setParam("limits/time", min(_INFINITE, monitor.remaining_s))
        guard = Guard()
        listener = _Listener(guard, monitor, "H" if start is None else "S")
        if self._companion is not None:
            listener.share(self._companion, variables)
            partner = _Partner(guard, self._companion, variables)
            timing = PY_SCIP_HEURTIMING.BEFORENODE
            model.includeHeur(partner, "apportion", "takes a partner's points", "A", priority=10**6, timingmask=timing)
        model.includeEventhdlr(listener, "apportion", "streams events and stops on request")
        if self._plugins is not None:
            self._plugins(model, variables, guard)
        run_watched(model.optimizeNogil, model.interruptSolve, monitor, guard)
        listener.report_incumbent(model, listener.first_letter)
        return _answer(model, program, variables, options, monitor)


def _apply(model: Any, options: SolveOptions) -> None:
    model.setParam("randomization/randomseedshift", options.seed)
    model.setParam("limits/gap", options.gap)
    model.setParam("misc/catchctrlc", False)
    if options.node_limit is not None:
        model.setParam("limits/nodes", options.node_limit)
    if not options.scip.presolve:
        model.setParam("presolving/maxrounds", 0)
    known = model.getParams()
    for name, value in options.scip.settings.items():
        _set(model, known, name, value)


def _set(model: Any, known: dict[str, Any], name: str, value: Setting) -> None:
    if name in _OWN:
        raise OptionError(f"scip setting {name!r} is set by a field of SolveOptions\nMaybe {_OWN[name]}")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or ["a name such as 'limits/solutions'"]
        raise OptionError(f"unknown scip setting {name!r}\nMaybe {', '.join(near)}")
    now = known[name]
    kind: tuple[type, ...] = (int, float) if isinstance(now, float) else (type(now),)
    fits = isinstance(value, kind) and isinstance(value, bool) == isinstance(now, bool)
    advice = f"Maybe a {type(now).__name__} such as {now!r}"
    wrong = OptionError(f"scip setting {name} cannot be {value!r}\n{advice}")
    if not fits:
        raise wrong
    try:
        model.setParam(name, value)
    except (ValueError, LookupError, OverflowError) as error:
        raise wrong from error


def _build(model: Any, program: MixedIntegerProgram) -> list[Any]:
    lower = np.where(np.isneginf(program.lower), -_INFINITE, program.lower).tolist()
    upper = np.maximum(program.lower, program.upper)
    upper = np.where(np.isposinf(upper), _INFINITE, upper).tolist()
    kinds = np.where(program.integer, "I", "C").tolist()
    costs = program.cost.tolist()
    variables = [
        model.addVar(name=f"x{j}", vtype=kinds[j], lb=lower[j], ub=upper[j], obj=costs[j])
        for j in range(program.num_columns)
    ]
    terms = [Term(variable) for variable in variables]
    _add_rows(model, program, terms)
    if program.sense.sign > 0:
        model.setMinimize()
    else:
        model.setMaximize()
    model.addObjoffset(program.offset)
    _add_quadratic(model, program, variables)
    _add_sets(model, program, variables)
    _add_indicators(model, program, variables, terms)
    return variables


def _add_rows(model: Any, program: MixedIntegerProgram, terms: list[Any]) -> None:
    matrix = program.matrix
    columns = np.repeat(np.arange(program.num_columns), np.diff(matrix.starts))
    order = np.argsort(matrix.rows, kind="stable")
    ends = np.concatenate(([0], np.cumsum(np.bincount(matrix.rows, minlength=program.num_rows)))).tolist()
    columns_by_row, values_by_row = columns[order].tolist(), matrix.values[order].tolist()
    lower, upper = program.row_lower.tolist(), np.maximum(program.row_lower, program.row_upper).tolist()
    for row in range(program.num_rows):
        begin, end = ends[row], ends[row + 1]
        row_terms: dict[Any, float] = {}
        for column, value in zip(columns_by_row[begin:end], values_by_row[begin:end], strict=True):
            row_terms[terms[column]] = row_terms.get(terms[column], 0.0) + value
        _add_row(model, row_terms, lower[row], upper[row])


def _sides(lower: float, upper: float) -> tuple[float | None, float | None]:
    return (None if lower <= -_INFINITE else lower, None if upper >= _INFINITE else upper)


def _add_row(model: Any, row_terms: dict[Any, float], lower: float, upper: float) -> None:
    left, right = _sides(lower, upper)
    if row_terms and not (left is None and right is None):
        model.addCons(ExprCons(Expr(row_terms), left, right))


def _add_quadratic(model: Any, program: MixedIntegerProgram, variables: list[Any]) -> None:
    """SCIP has linear objectives: a free variable takes the value of the quadratic part from one side."""
    hessian = program.hessian
    if hessian is None or not hessian.num_nonzeros:
        return
    columns = np.repeat(np.arange(program.num_columns), np.diff(hessian.starts)).tolist()
    total: dict[Any, float] = {}
    for row, column, value in zip(hessian.rows.tolist(), columns, hessian.values.tolist(), strict=True):
        weight = 0.5 * value if row == column else value
        term = Term(variables[row], variables[column])
        total[term] = total.get(term, 0.0) + weight
    part = model.addVar(name="quadratic part", vtype="C", lb=None, ub=None, obj=1.0)
    quadratic = Expr(total) - part
    if program.sense.sign > 0:
        model.addCons(quadratic <= 0.0)
    else:
        model.addCons(quadratic >= 0.0)


def _add_sets(model: Any, program: MixedIntegerProgram, variables: list[Any]) -> None:
    for ordered in program.ordered_sets:
        members = [variables[column] for column in ordered.columns]
        add = model.addConsSOS1 if ordered.order == 1 else model.addConsSOS2
        add(members, list(ordered.weights))


def _add_indicators(model: Any, program: MixedIntegerProgram, variables: list[Any], terms: list[Any]) -> None:
    """SCIP's indicators take one side at a time and a binary of their own."""
    for indicator in program.indicators:
        switch = variables[indicator.column]
        binary = model.addVar(vtype="B")
        model.addCons(switch - binary == 0.0)
        row = Expr(
            {terms[column]: value for column, value in zip(indicator.columns, indicator.coefficients, strict=True)}
        )
        left, right = _sides(indicator.lower, indicator.upper)
        if right is not None:
            model.addConsIndicator(row <= right, binary, activeone=indicator.active)
        if left is not None:
            model.addConsIndicator(-row <= -left, binary, activeone=indicator.active)


def _pass_start(
    model: Any, program: MixedIntegerProgram, variables: list[Any], start: Floats | None, monitor: Monitor
) -> None:
    if start is None:
        return
    known = np.flatnonzero(np.isfinite(start))
    helpers = bool(program.indicators) or program.hessian is not None
    solution = model.createPartialSol() if len(known) < len(start) or helpers else model.createSol()
    values = np.clip(start[known], program.lower[known], program.upper[known])
    for column, value in zip(known.tolist(), values.tolist(), strict=True):
        model.setSolVal(solution, variables[column], value)
    if not model.addSol(solution):
        monitor.log("scip refuses the start")


class _Listener(Eventhdlr):  # type: ignore[misc]
    """Turns SCIP's events into ours and asks it to stop."""

    def __init__(self, guard: Guard, monitor: Monitor, first_letter: str) -> None:
        self.first_letter = first_letter
        self._guard = guard
        self._monitor = monitor
        self._kinds = (
            PY_SCIP_EVENTTYPE.BESTSOLFOUND,
            PY_SCIP_EVENTTYPE.NODEFEASIBLE,
            PY_SCIP_EVENTTYPE.NODEINFEASIBLE,
            PY_SCIP_EVENTTYPE.NODEBRANCHED,
            PY_SCIP_EVENTTYPE.LPSOLVED,
            PY_SCIP_EVENTTYPE.PRESOLVEROUND,
        )
        self._told = 0.0
        self._companion: Companion | None = None
        self._variables: list[Any] = []
        self._shared: float | None = None

    def share(self, companion: Companion, variables: list[Any]) -> None:
        """Let ``companion`` hear the values of incumbents."""
        self._companion, self._variables = companion, variables

    def eventinit(self) -> None:
        """Subscribe."""
        for kind in self._kinds:
            self.model.catchEvent(kind, self)

    def eventexit(self) -> None:
        """Unsubscribe."""
        for kind in self._kinds:
            self.model.dropEvent(kind, self)

    def eventexec(self, event: Any) -> None:
        """Called by SCIP."""
        self._guard.run(lambda: self._heard(event.getType()))
        if self._guard.failed or self._monitor.should_stop:
            self.model.interruptSolve()

    def report_incumbent(self, model: Any, letter: str) -> None:
        """Report the best solution that SCIP holds; the monitor leaves out what is no better."""
        if model.getNSols() > 0:
            best = model.getBestSol()
            value = model.getSolObjVal(best)
            self._monitor.incumbent(value, letter)
            if self._companion is not None and value != self._shared:
                self._shared = value
                self._companion.heard(np.array([model.getSolVal(best, v) for v in self._variables], np.float64))

    def _heard(self, kind: int) -> None:
        model, monitor = self.model, self._monitor
        if kind == PY_SCIP_EVENTTYPE.BESTSOLFOUND:
            self.report_incumbent(model, "T" if model.getNNodes() > 1 else "H")
        else:  # a start is stored before the first event that can be caught
            self.report_incumbent(model, self.first_letter)
        if kind == PY_SCIP_EVENTTYPE.PRESOLVEROUND:
            monitor.log(f"presolve: {model.getNVars()} variables, {model.getNConss()} constraints")
        dual = model.getDualbound()
        if abs(dual) < _PRIMAL_UNKNOWN:
            monitor.bound(dual)
        now = monitor.elapsed_s
        if kind != PY_SCIP_EVENTTYPE.LPSOLVED and now - self._told >= 1.0:
            self._told = now
            monitor.node(int(model.getNTotalNodes()))


class _Partner(Heur):  # type: ignore[misc]
    """Hands SCIP the points that a companion offers."""

    def __init__(self, guard: Guard, companion: Companion, variables: list[Any]) -> None:
        self._guard = guard
        self._companion = companion
        self._variables = variables

    def heurexec(self, heurtiming: Any, nodeinfeasible: bool) -> dict[str, Any]:  # noqa: ARG002 (SCIP calls it)
        """Called by SCIP."""
        taken: list[bool] = []
        self._guard.run(lambda: taken.append(self._try()))
        return {"result": PY_SCIP_RESULT.FOUNDSOL if taken == [True] else PY_SCIP_RESULT.DIDNOTFIND}

    def _try(self) -> bool:
        values = self._companion.offer()
        if values is None:
            return False
        solution = self.model.createSol(self)
        for variable, value in zip(self._variables, values.tolist(), strict=True):
            self.model.setSolVal(solution, variable, value)
        return bool(self.model.trySol(solution))


def _answer(
    model: Any, program: MixedIntegerProgram, variables: list[Any], options: SolveOptions, monitor: Monitor
) -> BackendAnswer:
    native = model.getStatus()
    status, limit = STATUS.get(native.upper(), (Status.ERROR, None))
    if status is Status.ERROR:
        raise BackendError(f"scip ended with status {native!r}")
    values = None
    unknown = Bounds.unknown(program.sense)
    primal, dual = unknown.primal, unknown.dual
    if status in (Status.OPTIMAL, Status.NO_SOLUTION):
        if model.getNSols() > 0:
            best = model.getBestSol()
            values = np.array([model.getSolVal(best, variable) for variable in variables], np.float64)
            primal = objective_at(program, values)
            status = Status.FEASIBLE if status is Status.NO_SOLUTION else status
        found = float(model.getDualbound())
        dual = found if abs(found) < _PRIMAL_UNKNOWN else dual
    if status is Status.OPTIMAL and values is None:
        raise BackendError("scip claims an optimum and gives no solution")
    if limit is Limit.INTERRUPTED and not monitor.cancelled.is_set():
        limit = Limit.TIME
    bounds = Bounds(primal, dual)
    status, limit = settle(status, limit, bounds, options.gap)
    counts = {"nodes": int(model.getNTotalNodes()), "iterations": int(model.getNLPIterations())}
    return BackendAnswer(status, bounds, limit, values, counts=counts, native_status=native)
