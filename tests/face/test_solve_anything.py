"""``apportion.solve`` for files, array models, Pyomo, CP-SAT and MathOpt."""

from __future__ import annotations

import subprocess
import sys
import threading
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest
from ortools.math_opt.python import mathopt
from ortools.sat.python import cp_model

import apportion
from apportion.api import ModelResult
from apportion.instances.core import Sense
from apportion.instances.errors import CapabilityError, ModelError, OptionError
from apportion.instances.program import Indicator, SpecialOrderedSet, VariableValues
from apportion.models.constraint_model.rules import RULES
from apportion.solvers.events import Event, EventKind
from apportion.solvers.status import Limit, Status
from contract.programs import MAX, knapsack, program

# ---------------------------------------------------------------- programs and files


def test_an_instance() -> None:
    result = apportion.solve(program([3, 4], [[1, 2], [3, 1]], [4, 6], [inf, inf], integer=True))
    assert result.status is Status.OPTIMAL
    assert result.objective == 10.0
    assert result.bounds.dual == 10.0
    assert result.plan == VariableValues({"x0": 2.0, "x1": 1.0})
    assert result.verdict is not None
    assert result.verdict.ok
    assert result.native_status == "highs: Optimal"


def test_a_file(tmp_path: Path) -> None:
    instance = knapsack(12, 2)
    path = tmp_path / "sack.mps"
    apportion.write(instance, path)
    result = apportion.solve(path)
    assert result.instance == "sack"
    assert result.timings.read_s > 0
    assert result.objective == pytest.approx(apportion.solve(instance).objective)


def test_features_choose_the_backend() -> None:
    sets = program([3, 5, 4], upper=[2, 1, 2], sense=MAX, ordered_sets=(SpecialOrderedSet(1, (0, 1, 2), (1, 2, 3)),))
    assert apportion.solve(sets).native_status.startswith("scip")
    switch = program([-5, 1], upper=[1, 9], integer=True, indicators=(Indicator(0, False, (1,), (1.0,), 2.0, inf),))
    result = apportion.solve(switch, backend="cp-sat")
    assert (result.objective, result.native_status) == (-5.0, "cp-sat: OPTIMAL")
    with pytest.raises(CapabilityError, match=r"backend 'cp-sat' or 'scip'"):
        apportion.solve(switch, backend="highs")


@pytest.mark.parametrize("backend", ["highs", "scip"])
def test_infeasible_or_unbounded_is_decided(backend: str) -> None:
    unbounded = program([-1, -1], [[1, -1]], [0], [inf], upper=inf, integer=True)
    assert apportion.solve(unbounded, backend=backend).status is Status.UNBOUNDED
    both = program([-1, -1], [[1, -1], [1, -1]], [2, -inf], [inf, 1], upper=inf)
    assert apportion.solve(both, backend=backend).status is Status.INFEASIBLE


def test_integers_come_out_whole() -> None:
    """A switch that the solver leaves at 1e-7 must not open a door of size one million."""
    instance = program([-1, 10], [[1, -1e6]], [-inf], [0], upper=[0.5, 1], integer=[False, True])
    result = apportion.solve(instance)
    assert result.plan is not None
    values = result.plan.to_array(instance)
    assert values[1] in (0.0, 1.0)
    assert result.status is Status.OPTIMAL


def test_a_rejected_start_is_an_event() -> None:
    instance = knapsack(10, 2)
    events: list[Event] = []
    everything = VariableValues({f"x{j}": 1.0 for j in range(10)})
    result = apportion.solve(instance, start=everything, listener=events.append)
    assert result.status is Status.OPTIMAL
    assert any("the start is rejected: row upper side at row r" in e.message for e in events)


def test_cancelled_before_it_starts() -> None:
    cancelled = threading.Event()
    cancelled.set()
    result = apportion.solve(knapsack(60, 8), cancelled=cancelled)
    assert result.limit is Limit.INTERRUPTED


def test_what_cannot_be_solved() -> None:
    with pytest.raises(OptionError, match="cannot solve a int"):
        apportion.solve(3)
    with pytest.raises(OptionError, match="time_limit_s"):
        apportion.solve(knapsack(5, 1), time_limit=3)
    with pytest.raises(OptionError, match="start maps blocks"):
        apportion.solve(knapsack(5, 1), start={"x": 1.0})


# ---------------------------------------------------------------- array models


def bakery(integer: bool = False) -> apportion.Model:
    model = apportion.Model("bakery")
    cakes = model.add_variables("cakes", shape=(2, 2), upper=5, integer=integer)
    model.add_constraints("oven", cakes.sum(axis=0) <= [4, 7])
    model.maximise((cakes * np.array([[3.0, 2.0], [1.0, 5.0]])).sum())
    return model


def test_array_model() -> None:
    result = apportion.solve(bakery())
    assert isinstance(result, ModelResult)
    assert result.objective == pytest.approx(41.0)
    assert result.timings.build_s > 0
    np.testing.assert_allclose(result.value("cakes"), [[4, 2], [0, 5]])
    np.testing.assert_allclose(result.dual("oven"), [3, 2])
    np.testing.assert_allclose(result.reduced_cost("cakes"), [[0, 0], [-2, 3]])
    assert result.plan is not None
    assert set(result.plan.values) == {"cakes[0,0]", "cakes[0,1]", "cakes[1,1]"}


def test_array_model_without_duals_or_plan() -> None:
    result = apportion.solve(bakery(integer=True))
    assert isinstance(result, ModelResult)
    with pytest.raises(ModelError, match="row duals of 'oven'"):
        result.dual("oven")
    with pytest.raises(ModelError, match="Maybe one of cakes"):
        result.value("bread")
    impossible = bakery()
    impossible.add_constraints("floor", impossible.variables["cakes"].sum() >= 50)
    nothing = apportion.solve(impossible)
    assert isinstance(nothing, ModelResult)
    assert nothing.status is Status.INFEASIBLE
    with pytest.raises(ModelError, match="no plan"):
        nothing.value("cakes")


def test_array_model_starts() -> None:
    model = bakery(integer=True)
    events: list[Event] = []
    apportion.solve(model, start={"cakes": [[4, 2], [0, 5]]}, listener=events.append)
    first = next(e for e in events if e.kind is EventKind.INCUMBENT)
    assert first.bounds.primal == pytest.approx(41.0)
    partial = apportion.solve(model, start={"cakes": [[np.nan, 2], [0, 5]]})
    assert partial.objective == pytest.approx(41.0)
    rejected: list[Event] = []
    apportion.solve(model, start={"cakes": 9.0}, listener=rejected.append)
    assert any("the start is rejected: upper bound at variable cakes[0,0]" in e.message for e in rejected)


# ---------------------------------------------------------------- Pyomo


def pyomo_model() -> Any:
    model = pyo.ConcreteModel("farm")
    model.acres = pyo.Var(["wheat", "corn"], bounds=(0, 5))
    model.water = pyo.Constraint(expr=model.acres["wheat"] + 2 * model.acres["corn"] <= 8)
    model.profit = pyo.Objective(expr=3 * model.acres["wheat"] + 4 * model.acres["corn"], sense=pyo.maximize)
    model.dual = pyo.Suffix(direction=pyo.Suffix.IMPORT)
    model.rc = pyo.Suffix(direction=pyo.Suffix.IMPORT)
    return model


def test_pyomo_round_trip() -> None:
    model = pyomo_model()
    result = apportion.solve(model)
    assert result.objective == pytest.approx(21.0)
    assert result.sense is Sense.MAXIMISE
    assert pyo.value(model.profit) == pytest.approx(21.0)
    assert model.acres["corn"].value == pytest.approx(1.5)
    assert model.dual[model.water] == pytest.approx(2.0)
    assert model.rc[model.acres["wheat"]] == pytest.approx(1.0)


def test_pyomo_subclass_and_integers() -> None:
    class Farm(pyo.ConcreteModel):  # type: ignore[misc]
        pass

    model = Farm()
    model.x = pyo.Var(domain=pyo.NonNegativeIntegers)
    model.c = pyo.Constraint(expr=2 * model.x <= 7)
    model.o = pyo.Objective(expr=-model.x)
    assert apportion.solve(model).objective == -3.0
    assert model.x.value == 3
    assert isinstance(model.x.value, int | float)


def test_pyomo_infeasible_leaves_the_model_alone() -> None:
    model = pyomo_model()
    model.more = pyo.Constraint(expr=model.acres["wheat"] >= 4)
    model.less = pyo.Constraint(expr=model.acres["wheat"] <= 3)
    assert apportion.solve(model).status is Status.INFEASIBLE
    assert model.acres["wheat"].value is None


# ---------------------------------------------------------------- CP-SAT


def shop() -> tuple[cp_model.CpModel, list[Any]]:
    model = cp_model.CpModel()
    lengths = [2, 3, 4]
    starts = [model.new_int_var(0, 20, f"s{k}") for k in range(3)]
    spans = [model.new_fixed_size_interval_var(starts[k], lengths[k], f"j{k}") for k in range(3)]
    model.add_no_overlap(spans)
    end = model.new_int_var(0, 30, "end")
    model.add_max_equality(end, [starts[k] + lengths[k] for k in range(3)])
    model.minimize(end)
    return model, starts


def test_cp_sat() -> None:
    model, _ = shop()
    before = str(model.proto)
    events: list[Event] = []
    result = apportion.solve(model, listener=events.append)
    assert result.status is Status.OPTIMAL
    assert result.objective == 9
    assert result.bounds.dual == 9
    assert result.verdict is not None
    assert result.verdict.ok
    assert result.message == ""
    assert any(e.kind is EventKind.INCUMBENT for e in events)
    assert str(model.proto) == before


def test_cp_sat_start_maximise_and_feasibility() -> None:
    model, starts = shop()
    best = apportion.solve(model)
    events: list[Event] = []
    again = apportion.solve(model, start=best.plan, listener=events.append)
    assert again.objective == 9
    assert next(e for e in events if e.kind is EventKind.INCUMBENT).letter == "S"
    model.maximize(0.5 * starts[0] + 1.0)
    assert apportion.solve(model).objective == pytest.approx(11.0)
    bare = cp_model.CpModel()
    bare.add(bare.new_int_var(0, 5, "x") >= 3)
    assert apportion.solve(bare).status is Status.OPTIMAL
    bare.add_bool_or([])
    assert apportion.solve(bare).status is Status.INFEASIBLE


def test_cp_sat_invalid_model_says_why() -> None:
    model = cp_model.CpModel()
    model.new_int_var(0, 5, "odd")
    model.proto.variables[0].domain.extend([7])
    with pytest.raises(apportion.BackendError, match="odd domain"):
        apportion.solve(model)
    with pytest.raises(CapabilityError, match="constraint model"):
        apportion.solve(shop()[0], backend="highs")


def test_cp_sat_names_what_was_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RULES, "no_overlap")
    assert apportion.solve(shop()[0]).message == "not checked: unknown kind (1)"


# ---------------------------------------------------------------- MathOpt


def test_mathopt() -> None:
    model = mathopt.Model(name="tiny")
    v = model.add_integer_variable(lb=0, ub=5, name="v")
    model.add_linear_constraint(2 * v <= 7)
    model.maximize(2 * v + 1)
    result = apportion.solve(model)
    assert result.objective == 7.0
    assert result.plan == VariableValues({"v": 3.0})


def test_nothing_heavy_is_imported_to_recognise_a_model() -> None:
    code = (
        "import sys, apportion.api, apportion.brought\n"
        "assert apportion.brought.kind_of(3) is None\n"
        "heavy = {'ortools', 'pyomo', 'highspy', 'pyscipopt', 'scipy', 'numba', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
