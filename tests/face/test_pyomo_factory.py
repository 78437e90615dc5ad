"""Apportion as a solver of Pyomo, against HiGHS behind Pyomo's own interface."""

# pyright: reportOperatorIssue=false

from __future__ import annotations

import io
import logging
import subprocess
import sys
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest
from pyomo.contrib.solver.common.base import SolverBase
from pyomo.contrib.solver.common.factory import SolverFactory as NewFactory
from pyomo.contrib.solver.common.results import SolutionStatus, TerminationCondition
from pyomo.contrib.solver.common.util import (
    IncompatibleModelError,
    NoDualsError,
    NoFeasibleSolutionError,
    NoOptimalSolutionError,
    NoSolutionError,
)

import apportion.pyomo as face
from apportion.instances.errors import OptionError
from apportion.solvers.status import Limit, Status


def concrete(name: str = "theirs") -> Any:
    return pyo.ConcreteModel(name=name)


def blend(sense: Any = pyo.maximize) -> Any:
    """A linear program with two-sided rows, an equation, a fixed variable and both suffixes."""
    model = concrete(name="blend")
    model.x = pyo.Var(["a", "b", "c"], bounds=(0, 5))
    model.fixed = pyo.Var(initialize=1.5)
    model.fixed.fix()
    model.most = pyo.Constraint(expr=model.x["a"] + 2 * model.x["b"] + model.fixed <= 8)
    model.least = pyo.Constraint(expr=model.x["a"] + model.x["b"] + model.x["c"] >= 2)
    model.range = pyo.Constraint(expr=(-3, model.x["c"] - model.x["a"], 1.25))
    model.even = pyo.Constraint(expr=model.x["b"] - 0.5 * model.x["c"] == 0.25)
    model.value = pyo.Objective(
        expr=3 * model.x["a"] + 2 * model.x["b"] + 1.75 * model.x["c"] + model.fixed, sense=sense
    )
    model.dual = pyo.Suffix(direction=pyo.Suffix.IMPORT)
    model.rc = pyo.Suffix(direction=pyo.Suffix.IMPORT)
    return model


def knapsack(num: int = 12) -> Any:
    random = np.random.default_rng(3)
    weight, worth = random.integers(5, 30, num).tolist(), random.integers(5, 40, num).tolist()
    model = concrete(name="bag")
    model.take = pyo.Var(range(num), domain=pyo.Binary)
    model.bag = pyo.Constraint(expr=sum(weight[i] * model.take[i] for i in range(num)) <= sum(weight) // 2)
    model.worth = pyo.Objective(expr=sum(worth[i] * model.take[i] for i in range(num)), sense=pyo.maximize)
    return model


def impossible() -> Any:
    model = concrete(name="impossible")
    model.x = pyo.Var(bounds=(0, 1))
    model.row = pyo.Constraint(expr=model.x >= 2)
    model.value = pyo.Objective(expr=model.x)
    return model


def endless() -> Any:
    model = concrete(name="endless")
    model.x = pyo.Var(bounds=(0, None))
    model.y = pyo.Var(bounds=(0, None))
    model.row = pyo.Constraint(expr=model.x - model.y <= 1)
    model.value = pyo.Objective(expr=model.x, sense=pyo.maximize)
    return model


@pytest.mark.parametrize("sense", [pyo.minimize, pyo.maximize], ids=["minimise", "maximise"])
def test_values_duals_and_reduced_costs_are_those_of_pyomos_highs(sense: Any) -> None:
    theirs, ours = blend(sense), blend(sense)
    their_results = pyo.SolverFactory("highs").solve(theirs)
    results = pyo.SolverFactory("apportion").solve(ours)
    assert pyo.value(ours.value) == pytest.approx(pyo.value(theirs.value))
    for name in ("most", "least", "range", "even"):
        assert ours.dual[ours.component(name)] == pytest.approx(theirs.dual[theirs.component(name)]), name
    for index in ours.x:
        assert ours.x[index].value == pytest.approx(theirs.x[index].value)
        assert ours.rc[ours.x[index]] == pytest.approx(theirs.rc[theirs.x[index]])
    assert ours.fixed not in ours.rc
    assert str(results.solver.termination_condition) == "optimal"
    for bound in ("lower_bound", "upper_bound"):
        assert getattr(results.problem, bound) == pytest.approx(getattr(their_results.problem, bound))


@pytest.mark.parametrize("sense", [pyo.minimize, pyo.maximize], ids=["minimise", "maximise"])
def test_a_dual_is_what_one_more_unit_of_the_right_hand_side_is_worth(sense: Any) -> None:
    model = blend(sense)
    solver: Any = pyo.SolverFactory("apportion")
    solver.solve(model)
    before: Any = pyo.value(model.value)
    dual, step = model.dual[model.even], 1e-3
    model.even.set_value(model.x["b"] - 0.5 * model.x["c"] == 0.25 + step)
    solver.solve(model)
    after: Any = pyo.value(model.value)
    assert (after - before) / step == pytest.approx(dual, abs=1e-6)


def test_an_integer_program_and_its_results() -> None:
    model, theirs = knapsack(), knapsack()
    results: Any = NewFactory("apportion").solve(model, rel_gap=0.0)
    pyo.SolverFactory("highs").solve(theirs)
    assert pyo.value(model.worth) == pytest.approx(pyo.value(theirs.worth))
    assert results.termination_condition is TerminationCondition.convergenceCriteriaSatisfied
    assert results.solution_status is SolutionStatus.optimal
    assert results.incumbent_objective == pytest.approx(results.objective_bound)
    assert results.solver_name == "apportion"
    assert results.timing_info.wall_time > 0
    assert {variable.value for variable in model.take.values()} <= {0, 1}


def test_new_and_legacy_factory_know_it() -> None:
    assert isinstance(NewFactory("apportion"), SolverBase)
    legacy = pyo.SolverFactory("apportion")
    assert legacy.available()
    assert legacy.warm_start_capable()
    assert face.Apportion().version() == (0, 1, 0)


def test_importing_apportion_alone_does_not_import_pyomo() -> None:
    code = "import sys, apportion; sys.exit('pyomo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("make", "condition", "word"),
    [
        (impossible, TerminationCondition.provenInfeasible, "infeasible"),
        (endless, TerminationCondition.unbounded, "unbounded"),
    ],
    ids=["infeasible", "unbounded"],
)
def test_without_an_optimum_it_raises_as_pyomos_own_solvers_do(
    make: Any, condition: TerminationCondition, word: str
) -> None:
    solver: Any = NewFactory("apportion")
    with pytest.raises(NoOptimalSolutionError, match=word):
        solver.solve(make())
    with pytest.raises(NoFeasibleSolutionError, match=word):
        solver.solve(make(), raise_exception_on_nonoptimal_result=False)
    with pytest.raises(NoFeasibleSolutionError, match=word):
        pyo.SolverFactory("apportion").solve(make())
    results: Any = solver.solve(make(), raise_exception_on_nonoptimal_result=False, load_solutions=False)
    assert results.termination_condition is condition
    assert results.solution_status is SolutionStatus.noSolution
    assert results.incumbent_objective is None
    assert results.solution_loader.get_solution_ids() == []
    with pytest.raises(NoSolutionError):
        results.solution_loader.get_vars()
    with pytest.raises(NoDualsError):
        results.solution_loader.get_duals()
    legacy = pyo.SolverFactory("apportion").solve(make(), load_solutions=False)
    assert str(legacy.solver.termination_condition) == word


def test_load_solutions_false_leaves_the_model_alone_until_the_loader_is_asked() -> None:
    model = blend()
    results: Any = NewFactory("apportion").solve(model, load_solutions=False)
    assert all(variable.value is None for variable in model.x.values())
    assert not len(model.dual)
    loader = results.solution_loader
    assert loader.get_solution_ids() == [None]
    only = loader.get_vars([model.x["a"]])
    assert list(only) == [model.x["a"]]
    loader.load_vars([model.x["a"]])
    assert model.x["b"].value is None
    loader.load_solution()
    assert all(variable.value is not None and not variable.stale for variable in model.x.values())
    assert set(model.dual) == {model.most, model.least, model.range, model.even}
    legacy = pyo.SolverFactory("apportion").solve(blend(), load_solutions=False)
    assert len(legacy.solution) == 1


def test_suffixes_of_an_integer_program_stay_empty_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = knapsack()
    model.dual = pyo.Suffix(direction=pyo.Suffix.IMPORT)
    with caplog.at_level(logging.WARNING, "apportion.pyomo"):
        pyo.SolverFactory("apportion").solve(model)
    assert not len(model.dual)
    assert "suffix 'dual' stays empty" in caplog.text


def test_a_warm_start_is_taken_and_a_wrong_one_is_told() -> None:
    model = knapsack()
    solver: Any = pyo.SolverFactory("apportion", rel_gap=0.0)
    solver.solve(model)
    best = pyo.value(model.worth)
    told = io.StringIO()
    solver.config.tee = [told]
    solver.solve(model, warmstart=True)
    assert pyo.value(model.worth) == best
    assert "rejected" not in told.getvalue()
    assert not solver.config.warmstart
    for variable in model.take.values():
        variable.set_value(1)
    solver.solve(model, warmstart=True, tee=told)
    assert "the start is rejected: row upper side at row bag" in told.getvalue()
    assert pyo.value(model.worth) == best
    model.take[0].set_value(None)
    NewFactory("apportion").solve(model, warmstart=True)
    assert pyo.value(model.worth) == pytest.approx(best, rel=1e-3)


def test_tee_writes_the_table_and_the_end() -> None:
    told = io.StringIO()
    NewFactory("apportion").solve(knapsack(), tee=told)
    lines = told.getvalue().splitlines()
    assert lines[0].startswith("apportion ")
    assert any(line.startswith("optimal after") for line in lines)
    assert lines[-1].startswith("objective ")


def test_tee_true_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    pyo.SolverFactory("apportion").solve(knapsack(), tee=True)
    assert "optimal after" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["highs", "cp-sat", "scip"])
def test_every_backend_by_option(backend: str) -> None:
    model = knapsack()
    results: Any = NewFactory("apportion").solve(model, backend=backend, rel_gap=0.0, seed=3, time_limit=60)
    assert results.extra_info.native_status.startswith(backend)
    again = knapsack()
    pyo.SolverFactory("apportion").solve(again, timelimit=60, options={"backend": backend, "gap": 0.0})
    assert pyo.value(again.worth) == pytest.approx(pyo.value(model.worth))


def test_a_limit_is_the_termination_condition() -> None:
    results: Any = NewFactory("apportion").solve(
        knapsack(40),
        solver_options={"node_limit": 0},
        method="heuristics",
        raise_exception_on_nonoptimal_result=False,
        load_solutions=False,
    )
    assert results.termination_condition in (
        TerminationCondition.iterationLimit,
        TerminationCondition.convergenceCriteriaSatisfied,
    )
    assert results.objective_bound is not None


def test_every_status_and_limit_has_its_word_in_pyomo() -> None:
    mapped = {*face._ENDS, Status.FEASIBLE, Status.NO_SOLUTION}
    assert mapped == set(Status)
    assert set(face._LIMITS) == set(Limit)


def test_unknown_options_are_errors() -> None:
    with pytest.raises(OptionError, match="Maybe time_limit_s"):
        pyo.SolverFactory("apportion").solve(knapsack(), options={"time_limt_s": 3})
    with pytest.raises(OptionError, match="Maybe rel_gap"):
        NewFactory("apportion").solve(knapsack(), abs_gap=1.0)
    with pytest.raises(ValueError, match="backend"):
        NewFactory("apportion").solve(knapsack(), backend="simplex")


def test_what_a_program_cannot_hold_is_an_incompatible_model() -> None:
    model = concrete()
    model.x = pyo.Var(bounds=(0, 1))
    model.row = pyo.Constraint(expr=model.x**3 <= 1)
    model.value = pyo.Objective(expr=model.x)
    with pytest.raises(IncompatibleModelError, match="'row'"):
        pyo.SolverFactory("apportion").solve(model)
    with pytest.raises(IncompatibleModelError, match="continuous"):
        pyo.SolverFactory("apportion").solve(blend(), options={"backend": "cp-sat"})


def test_a_model_without_variables() -> None:
    model = concrete()
    model.value = pyo.Objective(expr=7.0)
    results: Any = NewFactory("apportion").solve(model)
    assert results.incumbent_objective == 7.0
