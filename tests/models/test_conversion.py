"""Models to and from MPS, Pyomo and MathOpt: the same optimum, and the way back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest
from ortools.math_opt.python import mathopt

from apportion.instances.core import Sense
from apportion.instances.errors import ModelError
from apportion.instances.generate.program import KINDS, generate_program
from apportion.instances.program import MixedIntegerProgram
from apportion.models.algebra import Model
from apportion.models.conversion.pyomo import PyomoImport, read_values
from apportion.solvers.backends import backend_named
from apportion.solvers.backends.base import BackendAnswer
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status


def optimum(program: MixedIntegerProgram) -> BackendAnswer:
    """Solve with HiGHS; the answer must be optimal."""
    answer = backend_named("highs").run(program, SolveOptions(threads=1), Monitor(sense=program.sense, time_limit_s=60))
    assert answer.status is Status.OPTIMAL
    return answer


def _lp() -> Model:
    model = Model("blend", sense="maximise")
    mix = model.add_variables("mix", (2, 3), upper=[[4.0], [5.0]])
    slack = model.add_variables("slack", lower=-np.inf, upper=2)
    model.add_constraints("limit", mix.sum(axis=0) + slack <= [3, 4, 5])
    model.add_constraints("window", mix[0] - mix[1], lower=-1, upper=2)
    model.add_constraints("balance", mix.sum() - 2 * slack == 6)
    model.maximise((mix * [[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]]).sum() - slack + 10)
    return model


def _mip() -> Model:
    model = _lp()
    build = model.add_variables("build", 3, upper=[1, 1, 4], integer=True)
    model.add_constraints("needs", model.variables["mix"].sum(axis=0) <= 2.5 * build)
    model.maximise((model.variables["mix"] * 2).sum() - build.sum() * 1.5)
    return model


def _qp() -> Model:
    model = _lp()
    mix = model.variables["mix"]
    model.minimise(((mix - [[1.0, 2.0, 3.0]]) ** 2).sum() + mix[0, 0] * mix[1, 0] + mix.sum() - 3)
    return model


MODELS = {"lp": _lp, "mip": _mip, "qp": _qp}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    return MODELS[request.param]()


def test_mps_keeps_the_optimum_and_the_names(model: Model, tmp_path: Path) -> None:
    model.to_mps(tmp_path / "model.mps")
    again = Model.from_mps(tmp_path / "model.mps")
    assert again.compile(names=True).column_names == model.compile(names=True).column_names
    assert optimum(again.compile()).bounds.primal == pytest.approx(optimum(model.compile()).bounds.primal)


def test_mathopt_there_and_back(model: Model) -> None:
    program = model.compile(names=True)
    again = Model.from_mathopt(model.to_mathopt()).compile(names=True)
    assert again.column_names == program.column_names
    assert again.row_names == program.row_names
    assert (again.sense, again.offset) == (program.sense, program.offset)
    for name in ("cost", "lower", "upper", "row_lower", "row_upper", "integer"):
        np.testing.assert_array_equal(getattr(again, name), getattr(program, name))
    np.testing.assert_array_equal(again.matrix.values, program.matrix.values)
    if program.hessian is not None:
        assert again.hessian is not None
        np.testing.assert_array_equal(again.hessian.rows, program.hessian.rows)
        np.testing.assert_array_equal(again.hessian.values, program.hessian.values)


@pytest.mark.parametrize("kind", ["lp", "mip"])
def test_mathopt_finds_the_same_optimum(kind: str) -> None:
    model = MODELS[kind]()
    result = mathopt.solve(model.to_mathopt(), mathopt.SolverType.GSCIP)
    assert result.termination.reason is mathopt.TerminationReason.OPTIMAL
    assert result.objective_value() == pytest.approx(optimum(model.compile()).bounds.primal)


def test_mathopt_takes_indicators_and_refuses_ordered_sets() -> None:
    model = _mip()
    build = model.variables["build"]
    model.add_indicator("off", build[:2], model.variables["mix"][0, :2] <= 0, active=False)
    program = model.compile()
    again = Model.from_mathopt(model.to_mathopt()).compile()
    assert again.indicators == program.indicators
    model.add_ordered_set("one", model.variables["mix"], order=1)
    with pytest.raises(ModelError, match="ordered sets"):
        model.to_mathopt()


def test_mathopt_refuses_what_has_no_place() -> None:
    theirs = mathopt.Model(name="cone")
    x = theirs.add_variable(lb=0, ub=1)
    theirs.add_quadratic_constraint(x * x <= 1)
    with pytest.raises(ModelError, match="quadratic constraints"):
        Model.from_mathopt(theirs)


def test_pyomo_has_a_component_for_each_block(model: Model) -> None:
    theirs = model.to_pyomo()
    assert theirs.mix[1, 2].ub == 5
    assert theirs.slack.lb is None
    assert len(theirs.limit) == 3
    window = theirs.window[1]
    assert (window.lower, window.upper) == (-1, 2)
    assert theirs.balance.equality


def test_pyomo_there_and_back_keeps_the_optimum(model: Model) -> None:
    ours = optimum(model.compile())
    back = Model.from_pyomo(model.to_pyomo())
    answer = optimum(back.compile())
    assert answer.bounds.primal == pytest.approx(ours.bounds.primal)
    assert back.sense is model.sense
    assert answer.values is not None
    back.load(answer.values)
    values = read_values(model, back.pyomo_model)
    objective = next(iter(back.pyomo_model.component_data_objects(pyo.Objective)))
    assert pyo.value(objective) == pytest.approx(ours.bounds.primal)
    np.testing.assert_allclose(model.pack(model.split(values)), values)


@pytest.mark.parametrize("kind", KINDS)
def test_generated_programs_survive_every_road(kind: str, tmp_path: Path) -> None:
    sizes = {"set-cover": {"elements": 15, "sets": 20}, "knapsack": {"items": 12, "resources": 2}}
    sizes |= {"facility": {"sites": 3, "clients": 5}, "assignment": {"workers": 3, "jobs": 6}}
    program = generate_program(2, kind, **sizes[kind])
    best = optimum(program).bounds.primal
    model = Model.from_program(program)
    model.to_mps(tmp_path / "model.mps")
    roads = [
        Model.from_mps(tmp_path / "model.mps"),
        Model.from_pyomo(model.to_pyomo()),
        Model.from_mathopt(model.to_mathopt()),
    ]
    for road in roads:
        assert optimum(road.compile()).bounds.primal == pytest.approx(best)


def _pyomo_plant() -> Any:
    plant = pyo.ConcreteModel("plant")
    plant.units = pyo.Set(initialize=["coal", "gas", "oil"])
    plant.price = pyo.Param(plant.units, initialize={"coal": 2.0, "gas": 3.0, "oil": 9.0}, mutable=True)
    plant.power = pyo.Var(plant.units, bounds=(0, 50))
    plant.on = pyo.Var(plant.units, domain=pyo.Binary)
    plant.spill = pyo.Var(domain=pyo.NonNegativeReals)
    plant.shift = pyo.Var(initialize=4.0)
    plant.shift.fix(4.0)
    plant.demand = pyo.Constraint(expr=sum(plant.power[u] for u in plant.units) - plant.spill + plant.shift == 64)
    plant.cap = pyo.Constraint(plant.units, rule=lambda m, u: m.power[u] <= 40 * m.on[u])
    plant.window = pyo.Constraint(expr=(-10, plant.power["coal"] - plant.power["gas"] + 1, 30))
    plant.left_out = pyo.Constraint(expr=plant.power["coal"] <= 1)
    plant.left_out.deactivate()
    plant.side = pyo.Block()
    plant.side.least = pyo.Constraint(expr=2 * (plant.power["gas"] + plant.on["gas"]) + 1 >= plant.spill)
    plant.cost = pyo.Objective(expr=sum(plant.price[u] * plant.power[u] + 5 * plant.on[u] for u in plant.units) + 7)
    return plant


def test_a_pyomo_model_is_read_solved_and_loaded() -> None:
    plant = _pyomo_plant()
    imported = Model.from_pyomo(plant)
    assert isinstance(imported, PyomoImport)
    program = imported.compile(names=True)
    assert program.name == "plant"
    assert "power[coal]" in program.column_names
    assert "shift" not in program.column_names
    assert set(program.row_names) == {"demand", "cap[coal]", "cap[gas]", "cap[oil]", "window", "side.least"}
    answer = optimum(program)
    assert answer.values is not None
    imported.load(answer.values)
    assert pyo.value(plant.cost) == pytest.approx(answer.bounds.primal)
    # by hand: gas and coal cover 60, coal at most 29 above gas
    assert answer.bounds.primal == pytest.approx(2 * 40 + 3 * 20 + 10 + 7)
    assert plant.on["coal"].value == 1
    assert pyo.value(plant.demand.body) == pytest.approx(64)
    assert not plant.power["coal"].stale
    np.testing.assert_allclose(imported.start(), np.round(answer.values, 9), atol=1e-6)


def test_mutable_parameters_are_read_anew() -> None:
    plant = _pyomo_plant()
    before = optimum(Model.from_pyomo(plant).compile()).bounds.primal
    plant.price["coal"] = 4.0
    assert optimum(Model.from_pyomo(plant).compile()).bounds.primal > before


def test_duals_go_to_the_suffix_and_have_the_sign_of_a_derivative() -> None:
    for sense in (pyo.minimize, pyo.maximize):
        model = pyo.ConcreteModel()
        model.dual = pyo.Suffix(direction=pyo.Suffix.IMPORT)
        model.rc = pyo.Suffix(direction=pyo.Suffix.IMPORT)
        model.x = pyo.Var([0, 1], bounds=(0, 10))
        model.limit = pyo.Param(initialize=8.0, mutable=True)
        towards = 1 if sense == pyo.minimize else -1
        model.row = pyo.Constraint(expr=towards * (model.x[0] + 2 * model.x[1]) >= towards * model.limit)
        model.cost = pyo.Objective(expr=3 * model.x[0] + 5 * model.x[1], sense=sense)

        imported = Model.from_pyomo(model)
        answer = optimum(imported.compile())
        assert answer.values is not None
        imported.load(answer.values, answer.row_duals, answer.reduced_costs)
        model.limit = 8.25
        raised = optimum(Model.from_pyomo(model).compile())
        by_difference = (raised.bounds.primal - answer.bounds.primal) / (towards * 0.25)
        assert model.dual[model.row] == pytest.approx(by_difference)
        reduced = [model.rc[model.x[k]] for k in (0, 1)]
        rows = np.array([1.0, 2.0]) * towards * model.dual[model.row]
        np.testing.assert_allclose(reduced, np.array([3.0, 5.0]) - rows)


def test_duals_by_block_are_d_objective_d_right_hand_side() -> None:
    for sense in Sense:
        rhs = {"limit": np.array([3.0, 4.0, 5.0]), "floor": np.array([1.0, 0.5])}

        def build(rhs: dict[str, Any], sense: Sense = sense) -> Model:
            model = Model("duals")
            x = model.add_variables("x", (2, 3), upper=6)
            model.add_constraints("limit", x.sum(axis=0) <= rhs["limit"])
            model.add_constraints("floor", x.sum(axis=1) >= rhs["floor"])
            cost = (x * [[1.0, 2.0, 4.0], [2.5, 1.5, 3.0]]).sum()
            (model.minimise if sense is Sense.MINIMISE else model.maximise)(cost)
            return model

        model = build(rhs)
        base = optimum(model.compile())
        assert base.row_duals is not None
        duals = model.split_rows(base.row_duals)
        for block, values in rhs.items():
            for k in range(len(values)):
                moved = {**rhs, block: values + 0.01 * (np.arange(len(values)) == k)}
                change = optimum(build(moved).compile()).bounds.primal - base.bounds.primal
                assert duals[block][k] == pytest.approx(change / 0.01, abs=1e-6)


def test_pyomo_quadratic_objective() -> None:
    model = pyo.ConcreteModel()
    model.x = pyo.Var([0, 1], bounds=(-5, 5))
    model.row = pyo.Constraint(expr=model.x[0] + model.x[1] >= 1)
    model.cost = pyo.Objective(expr=(model.x[0] - 2) ** 2 + model.x[0] * model.x[1] + 2 * model.x[1] ** 2)
    answer = optimum(Model.from_pyomo(model).compile())
    # x0 = 16/7, x1 = -4/7 without the row, which holds there
    assert answer.bounds.primal == pytest.approx((2 / 7) ** 2 - 64 / 49 + 32 / 49)


def test_pyomo_ordered_sets_both_ways() -> None:
    model = pyo.ConcreteModel()
    model.x = pyo.Var([1, 2, 3], bounds=(0, 1))
    model.one = pyo.SOSConstraint(var=model.x, sos=1, weights={1: 3.0, 2: 1.0, 3: 2.0})
    model.cost = pyo.Objective(expr=model.x[1], sense=pyo.maximize)
    imported = Model.from_pyomo(model)
    (ordered,) = imported.compile().ordered_sets
    assert [imported.columns[j].index() for j in ordered.columns] == [2, 3, 1]
    assert ordered.weights == (1.0, 2.0, 3.0)
    again = Model.from_pyomo(imported.to_pyomo())
    assert again.compile().ordered_sets[0].weights == ordered.weights


def _nonlinear(m: Any) -> None:
    m.bad = pyo.Constraint(expr=m.x * m.x <= 1)


def _logical(m: Any) -> None:
    m.flag = pyo.BooleanVar()
    m.bad = pyo.LogicalConstraint(expr=m.flag)


def _two_objectives(m: Any) -> None:
    m.second = pyo.Objective(expr=m.x)


def _cubic(m: Any) -> None:
    m.cost.deactivate()
    m.bad = pyo.Objective(expr=m.x**3)


def _infinite(m: Any) -> None:
    m.bad = pyo.Constraint(expr=math.inf * m.x <= 1)


def _nan_bound(m: Any) -> None:
    m.bad = pyo.Constraint(expr=m.x <= math.inf - math.inf)


def _unset(m: Any) -> None:
    m.p = pyo.Param(mutable=True)
    m.bad = pyo.Constraint(expr=m.p * m.x <= 1)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_nonlinear, ["'bad'", "not linear"]),
        (_logical, ["'bad'", "LogicalConstraint", "Maybe"]),
        (_two_objectives, ["'cost'", "'second'", "deactivate"]),
        (_cubic, ["'bad'", "neither linear nor quadratic"]),
        (_infinite, ["bad"]),
        (_nan_bound, ["bad"]),
        (_unset, ["p"]),
    ],
)
def test_what_a_program_cannot_hold_is_named(spoil: Any, words: list[str]) -> None:
    model = pyo.ConcreteModel("spoilt")
    model.x = pyo.Var(bounds=(0, 1))
    model.cost = pyo.Objective(expr=model.x)
    spoil(model)
    with pytest.raises(ModelError) as caught:
        Model.from_pyomo(model)
    for word in words:
        assert word in str(caught.value)


def test_abstract_models_are_refused() -> None:
    with pytest.raises(ModelError, match="create_instance"):
        Model.from_pyomo(pyo.AbstractModel())


def test_block_names_that_pyomo_needs_itself_are_changed() -> None:
    model = Model("names")
    x = model.add_variables("name", 2)
    model.add_constraints("x", x <= 1)
    y = model.add_variables("x")
    model.minimise(x.sum() + y)
    theirs = model.to_pyomo()
    assert theirs.name == "names"
    assert theirs.component("name_block") is not None
    assert theirs.component("x_rows") is not None
    theirs.component("name_block")[0].set_value(3.0)
    np.testing.assert_array_equal(read_values(model, theirs), [3.0, np.nan, np.nan])


def test_indicators_have_no_place_in_pyomo() -> None:
    model = Model("logic")
    x = model.add_variables("x", upper=1, integer=True)
    model.add_indicator("off", x, x <= 0)
    with pytest.raises(ModelError, match="indicator"):
        model.to_pyomo()
