"""Apportion as a solver of Pyomo: importing this module registers ``SolverFactory("apportion")``.

Pyomo has no discovery of solvers that live outside it, and ``import apportion`` leaves it alone, so this import is the
one line that a model needs.

Examples
--------
>>> import pyomo.environ as pyo
>>> import apportion.pyomo
>>> model = pyo.ConcreteModel()
>>> model.x = pyo.Var(bounds=(0, 4))
>>> model.limit = pyo.Constraint(expr=2 * model.x <= 6)
>>> model.value = pyo.Objective(expr=5 * model.x, sense=pyo.maximize)
>>> model.dual = pyo.Suffix(direction=pyo.Suffix.IMPORT)
>>> found = pyo.SolverFactory("apportion").solve(model, timelimit=10)
>>> str(found.solver.termination_condition), pyo.value(model.x), model.dual[model.limit]
('optimal', 3.0, 2.5)
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Mapping, Sequence
from math import inf
from typing import IO, Any

import pyomo.environ  # noqa: F401 (loads the plugins of Pyomo, the factory among them)
from pyomo.common.collections import ComponentMap
from pyomo.common.config import Bool, ConfigValue, In, NonNegativeInt
from pyomo.contrib.solver.common.base import Availability, LegacySolverWrapper, SolverBase
from pyomo.contrib.solver.common.config import BranchAndBoundConfig
from pyomo.contrib.solver.common.factory import SolverFactory
from pyomo.contrib.solver.common.results import Results, SolutionStatus, TerminationCondition
from pyomo.contrib.solver.common.solution_loader import SolutionLoader
from pyomo.contrib.solver.common.util import (
    IncompatibleModelError,
    NoDualsError,
    NoFeasibleSolutionError,
    NoOptimalSolutionError,
    NoReducedCostsError,
    NoSolutionError,
)

from apportion import __version__
from apportion.brought import ModelResult, Settings, solve_model
from apportion.instances.errors import CapabilityError, ModelError, OptionError
from apportion.instances.program import Floats
from apportion.models.conversion.pyomo import PyomoImport, import_model
from apportion.report import TABLE_HEADING, event_line, number, percent, seconds, status_text
from apportion.solvers.backends import BACKENDS
from apportion.solvers.backends.registry import is_installed
from apportion.solvers.events import Event, EventKind
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Limit, Status

__all__ = ["Apportion", "ApportionConfig", "LegacyApportion"]

_log = logging.getLogger(__name__)
_BACKENDS = (None, *BACKENDS)

_ENDS = {
    Status.OPTIMAL: TerminationCondition.convergenceCriteriaSatisfied,
    Status.INFEASIBLE: TerminationCondition.provenInfeasible,
    Status.UNBOUNDED: TerminationCondition.unbounded,
    Status.INFEASIBLE_OR_UNBOUNDED: TerminationCondition.infeasibleOrUnbounded,
    Status.ERROR: TerminationCondition.error,
}
_LIMITS = {
    Limit.TIME: TerminationCondition.maxTimeLimit,
    Limit.NODES: TerminationCondition.iterationLimit,
    Limit.ITERATIONS: TerminationCondition.iterationLimit,
    Limit.SOLUTIONS: TerminationCondition.iterationLimit,
    Limit.OBJECTIVE: TerminationCondition.objectiveLimit,
    Limit.INTERRUPTED: TerminationCondition.interrupted,
    Limit.MEMORY: TerminationCondition.unknown,
    Limit.METHOD: TerminationCondition.unknown,
    Limit.OTHER: TerminationCondition.unknown,
}
_STATUSES = {Status.OPTIMAL: SolutionStatus.optimal, Status.FEASIBLE: SolutionStatus.feasible}


class ApportionConfig(BranchAndBoundConfig):  # type: ignore[misc]
    """What Pyomo's own configuration has, and ``seed``, ``backend``, ``method``, ``deterministic`` and ``warmstart``.

    ``solver_options`` takes every field of :class:`~apportion.solvers.options.SolveOptions` by its name.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.declare("seed", ConfigValue(domain=NonNegativeInt, default=None, description="Of everything random."))
        self.declare("backend", ConfigValue(domain=In(_BACKENDS), default=None, description="highs, cp-sat or scip."))
        self.declare("method", ConfigValue(domain=str, default=None, description="default, heuristics, lns, portfolio"))
        self.declare("deterministic", ConfigValue(domain=Bool, default=False, description="Repeat exactly."))
        self.declare(
            "warmstart", ConfigValue(domain=Bool, default=False, description="Begin with the values in the model.")
        )


class Apportion(SolverBase):  # type: ignore[misc]
    """Apportion behind Pyomo's new solver interface; the legacy one wraps it.

    The plan is checked independently before any value is loaded. Duals are d objective / d right-hand side.
    """

    CONFIG = ApportionConfig()

    def available(self) -> Availability:
        """Whether any backend is installed."""
        found = any(map(is_installed, BACKENDS))
        return Availability.FullLicense if found else Availability.NotFound

    def version(self) -> tuple[int, ...]:
        """The version of Apportion."""
        return tuple(int(part) for part in __version__.split(".") if part.isdecimal())

    def solve(self, model: Any, **keywords: Any) -> Results:
        """Solve ``model``.

        Parameters
        ----------
        model
            A concrete Pyomo model: linear or quadratic, with ordered sets.
        **keywords
            Fields of the configuration, for this solve only.

        Raises
        ------
        IncompatibleModelError
            For what a program cannot express; names the component and the way out.
        NoOptimalSolutionError
            When ``raise_exception_on_nonoptimal_result`` is set, as it is here by default, and there is no optimum.
        NoFeasibleSolutionError
            When ``load_solutions`` is set and there is no plan.
        OptionError
            For unknown options, and ``abs_gap``.
        """
        began, timestamp = time.perf_counter(), dt.datetime.now(dt.UTC)
        own: Any = self.config
        config = own(value=keywords, preserve_implicit=True)
        listener = _Printer(config.tee) if config.tee else None
        settings = Settings(_options(config), config.method, listener)
        try:
            taken = import_model(model)
            start = taken.split(taken.start()) if config.warmstart else None
            result = solve_model(taken, settings, start, began)
        except (ModelError, CapabilityError) as error:
            raise IncompatibleModelError(str(error)) from error
        if listener is not None:
            listener.close(result)
        results = _results(result, taken)
        results.solver_name, results.solver_version, results.solver_config = self.name, self.version(), config
        results.timing_info.start_timestamp = timestamp
        results.timing_info.wall_time = time.perf_counter() - began
        if config.raise_exception_on_nonoptimal_result and result.status is not Status.OPTIMAL:
            raise NoOptimalSolutionError(f"{_words(result)}\n{NoOptimalSolutionError.default_message}")
        if config.load_solutions:
            if result.plan is None:
                raise NoFeasibleSolutionError(f"{_words(result)}\n{NoFeasibleSolutionError.default_message}")
            results.solution_loader.load_solution()
        return results


class LegacyApportion(LegacySolverWrapper, Apportion):  # type: ignore[misc]
    """The interface of ``pyomo.environ.SolverFactory``; ``options`` are those of ``apportion.solve``."""

    def solve(  # pyright: ignore[reportIncompatibleMethodOverride] (Pyomo spells out every keyword)
        self, model: Any, *, warmstart: bool | None = None, **keywords: Any
    ) -> Any:
        """Solve ``model``; ``warmstart`` begins with the values that its variables have."""
        if warmstart is None:
            return super().solve(model, **keywords)
        before = self.config.warmstart
        self.config.warmstart = warmstart
        try:
            return super().solve(model, **keywords)
        finally:
            self.config.warmstart = before

    def warm_start_capable(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Yes."""
        return True


class _Loader(SolutionLoader):  # type: ignore[misc]
    """Hands the values and duals of a result to the model that they belong to."""

    def __init__(self, taken: PyomoImport, result: ModelResult) -> None:
        self._pyomo_model = taken.pyomo_model
        self._taken = taken
        self._result = result

    def get_number_of_solutions(self) -> int:
        """One, or none without a checked plan."""
        return 0 if self._result.plan is None else 1

    def load_vars(self, vars_to_load: Sequence[Any] | None = None) -> None:
        """Load values into the variables."""
        if vars_to_load is None:
            self._taken.load(self._values())
        else:
            super().load_vars(vars_to_load)

    def load_import_suffixes(self) -> None:
        """Load ``dual`` and ``rc`` where the model imports them; one without figures stays empty, with a warning."""
        suffixes = self._collect_and_clear_import_suffixes()
        for name, get in (("dual", self.get_duals), ("rc", self.get_reduced_costs)):
            if name in suffixes:
                try:
                    suffixes[name].update(get())
                except (NoDualsError, NoReducedCostsError) as error:
                    _log.warning("suffix %r stays empty: %s", name, error)

    def get_vars(self, vars_to_load: Sequence[Any] | None = None) -> Mapping[Any, float]:
        """Values by variable."""
        return _chosen(self._taken.columns, self._values(), vars_to_load)

    def get_duals(self, cons_to_load: Sequence[Any] | None = None) -> dict[Any, float]:
        """Duals by constraint: d objective / d right-hand side."""
        duals = self._result.native.row_duals if self._result.plan is not None else None
        if duals is None:
            raise NoDualsError("there are no duals; linear programs solved to optimality by HiGHS have them")
        return dict(_chosen(self._taken.rows, duals, cons_to_load))

    def get_reduced_costs(self, vars_to_load: Sequence[Any] | None = None) -> Mapping[Any, float]:
        """Reduced costs by variable: d objective / d bound."""
        costs = self._result.native.reduced_costs if self._result.plan is not None else None
        if costs is None:
            raise NoReducedCostsError("there are no reduced costs; linear programs solved by HiGHS have them")
        return _chosen(self._taken.columns, costs, vars_to_load)

    def _values(self) -> Floats:
        plan = self._result.plan
        if plan is None:
            raise NoSolutionError(_words(self._result))
        return plan.to_array(self._taken.compile(names=True))


def _chosen(components: Sequence[Any], values: Floats, wanted: Sequence[Any] | None) -> Mapping[Any, float]:
    """Values by component: of all, or of those wanted; a component that is not part of the program is left out."""
    known = ComponentMap(zip(components, values.tolist(), strict=False))
    found: Mapping[Any, float] = known
    if wanted is not None:
        found = ComponentMap((each, known[each]) for each in wanted if each in known)
    return found


def _options(config: Any) -> SolveOptions:
    """The configuration as options; ``solver_options`` come last."""
    if config.abs_gap is not None:
        raise OptionError(f"abs_gap is not offered, got {config.abs_gap!r}\nMaybe rel_gap")
    given = {
        "time_limit_s": inf if config.time_limit is None else config.time_limit,
        "gap": config.rel_gap,
        "threads": config.threads,
        "seed": config.seed,
        "backend": config.backend,
        "deterministic": config.deterministic,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return SolveOptions.build(**{**chosen, **config.solver_options.value()})


def _results(result: ModelResult, taken: PyomoImport) -> Any:
    results: Any = Results()
    results.solution_loader = _Loader(taken, result)
    results.termination_condition = _end_of(result)
    results.solution_status = _STATUSES.get(result.status, SolutionStatus.noSolution)
    results.incumbent_objective = None if result.plan is None else result.objective
    results.objective_bound = result.bounds.dual
    results.extra_info.status = status_text(result.status, result.limit)
    results.extra_info.method = result.method
    results.extra_info.native_status = result.native_status
    results.extra_info.message = result.message
    return results


def _end_of(result: ModelResult) -> TerminationCondition:
    if result.status in _ENDS:
        return _ENDS[result.status]
    return TerminationCondition.unknown if result.limit is None else _LIMITS[result.limit]


def _words(result: ModelResult) -> str:
    told = status_text(result.status, result.limit)
    return f"{result.instance} is {told}" + (f": {result.message}" if result.message else "")


class _Printer:
    """Writes the events of a solve to the streams of ``tee``."""

    def __init__(self, streams: Sequence[IO[str]]) -> None:
        self._streams = tuple(streams)

    def __call__(self, event: Event) -> None:
        match event.kind:
            case EventKind.START:
                self._write(f"apportion {__version__}: {event.message}\n{TABLE_HEADING}")
            case EventKind.INCUMBENT | EventKind.BOUND:
                self._write(event_line(event))
            case EventKind.LOG:
                self._write(event.message)
            case EventKind.END:
                self._write(f"{event.message} after {seconds(event.time_s)}")
            case EventKind.NODE:
                pass

    def close(self, result: ModelResult) -> None:
        """Say what the solve came to."""
        bounds = result.bounds
        figures = f"objective {number(bounds.primal)}, bound {number(bounds.dual)}, gap {percent(bounds.gap)}"
        self._write("; ".join(filter(None, [figures, result.message])))

    def _write(self, text: str) -> None:
        for stream in self._streams:
            stream.write(f"{text.rstrip()}\n")
            stream.flush()


SolverFactory.register("apportion", doc="Apportion: HiGHS, CP-SAT and SCIP, every plan checked")(
    Apportion, LegacyApportion
)
