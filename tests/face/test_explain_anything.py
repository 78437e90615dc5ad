# pyright: reportOperatorIssue=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyomo.environ as pyo
import pytest
from ortools.math_opt.python import mathopt
from ortools.sat.python import cp_model

import apportion
from apportion.instances.errors import OptionError
from apportion.instances.reading import write
from apportion.models.explaining import Diagnosis


def depot(sense: str = "") -> apportion.Model:
    model = apportion.Model("depot")
    ship = model.add_variables("ship", shape=2, upper=100)
    model.add_constraints("supply", ship.sum() <= 30)
    model.add_constraints("demand", ship >= ([20, 22.5] if sense == "" else [1, 2]))
    if sense:
        model.maximise((ship * [3.0, 2.0]).sum())
    return model


def concrete(name: str = "theirs") -> Any:
    return pyo.ConcreteModel(name=name)


def in_pyomo() -> Any:
    model = concrete(name="depot")
    model.ship = pyo.Var(range(2), bounds=(0, 100))
    model.supply = pyo.Constraint(expr=model.ship[0] + model.ship[1] <= 30)
    model.demand = pyo.Constraint(range(2), rule=lambda m, i: m.ship[i] >= (20, 22.5)[i])
    model.cost = pyo.Objective(expr=model.ship[0])
    return model


def in_mathopt() -> Any:
    model = mathopt.Model(name="depot")
    ship = [model.add_variable(lb=0, ub=100, name=f"ship[{i}]") for i in range(2)]
    model.add_linear_constraint(ship[0] + ship[1] <= 30, name="supply")
    for i, least in enumerate((20, 22.5)):
        model.add_linear_constraint(ship[i] >= least, name=f"demand[{i}]")
    return model


def in_cp_sat() -> Any:
    model = cp_model.CpModel()
    ship = [model.new_int_var(0, 100, f"ship[{i}]") for i in range(2)]
    model.add(ship[0] + ship[1] <= 30).with_name("supply")
    for i, least in enumerate((20, 23)):
        model.add(ship[i] >= least).with_name(f"demand[{i}]")
    return model


@pytest.mark.parametrize("make", [depot, in_pyomo, in_mathopt, in_cp_sat], ids=["array", "pyomo", "mathopt", "cp-sat"])
def test_a_conflict_is_told_in_the_names_of_the_model(make: Any) -> None:
    explanation = apportion.explain(make(), time_limit_s=30)
    assert explanation.diagnosis is Diagnosis.INFEASIBLE
    told = str(explanation)
    for word in ("supply", "demand[0]", "demand[1]"):
        assert word in told


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "depot.mps"
    write(depot().compile(names=True), path)
    assert apportion.explain(path).diagnosis is Diagnosis.INFEASIBLE
    assert apportion.explain(str(path), time_limit_s=30).conflict is not None


def test_duals_and_ranges() -> None:
    told = str(apportion.explain(depot("maximise")))
    assert "one unit more of supply (limit 30) changes the objective by +3" in told
    assert "ship[0] = 28 stays while its cost of 3 lies in 2 to inf" in told


def test_an_unbounded_direction() -> None:
    model = apportion.Model("endless")
    x = model.add_variables("x", shape=2)
    model.add_constraints("rows", x[0] - x[1] <= 1)
    model.maximise(x[0])
    explanation = apportion.explain(model)
    assert explanation.diagnosis is Diagnosis.UNBOUNDED
    assert explanation.ray is not None


def test_with_integers_the_duals_are_labelled() -> None:
    model = apportion.Model("mixed")
    x = model.add_variables("x", upper=5, integer=True)
    y = model.add_variables("y", upper=9)
    model.add_constraints("row", 2 * x + y <= 7.5)
    model.maximise(3 * x + y)
    explanation = apportion.explain(model)
    assert explanation.sensitivity is not None
    assert explanation.sensitivity.integers_fixed


def test_unknown_options_and_things_are_errors() -> None:
    with pytest.raises(OptionError, match="Maybe time_limit_s"):
        apportion.explain(depot(), time_limt_s=3)
    with pytest.raises(OptionError, match="nothing explains a dict"):
        apportion.explain({})
