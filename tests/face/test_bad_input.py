"""Programs that are empty, senseless or badly scaled, on every way in."""

# pyright: reportOperatorIssue=false

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest
from ortools.math_opt.python import mathopt
from ortools.sat.python import cp_model

import apportion
from apportion.instances.errors import ApportionError, BackendError, CapabilityError, InstanceError, ModelError
from apportion.instances.program import MixedIntegerProgram
from apportion.models.program.ranges import range_warnings
from apportion.solvers.events import Event, EventKind
from apportion.solvers.status import Status
from tiny_programs import make_program

BACKENDS = ("highs", "cp-sat", "scip")


def one(
    row: float = 1.0,
    limits: tuple[float, float] = (0.0, 9.0),
    cost: float = 1.0,
    bounds: tuple[float, float] = (0.0, 3.0),
) -> MixedIntegerProgram:
    """One whole variable in one row."""
    return make_program([[row]], [limits[0]], [limits[1]], [cost], [bounds[0]], [bounds[1]], integer=True)


# Programs as they are


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("program", "objective"),
    [
        (make_program([], [], [], [], [], []), 0.0),
        (make_program([], [], [], [1], [1], [3], integer=True), 1.0),
        (one(limits=(-inf, inf), bounds=(1, 3)), 1.0),
        (one(limits=(3, 1e15), bounds=(-1e15, 1e15)), 3.0),
    ],
    ids=["empty", "no rows", "free row", "huge integers"],
)
def test_odd_programs_are_solved(program: MixedIntegerProgram, objective: float, backend: str) -> None:
    result = apportion.solve(program, backend=backend)
    assert result.status is Status.OPTIMAL
    assert result.objective == objective


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "program",
    [
        one(bounds=(4, 3)),
        one(limits=(9, 0)),
        one(limits=(inf, inf)),
        one(bounds=(0.2, 0.8)),
        one(row=0.0, limits=(1, inf)),
    ],
    ids=["bounds cross", "row crosses", "row at infinity", "no whole number", "row without entries"],
)
def test_impossible_bounds_are_infeasible(program: MixedIntegerProgram, backend: str) -> None:
    result = apportion.solve(program, backend=backend)
    assert result.status is Status.INFEASIBLE
    assert "no value between" in result.native_status or "no entries" in result.native_status


@pytest.mark.parametrize("bounds", [(inf, inf), (-inf, -inf)], ids=["above all", "below all"])
@pytest.mark.parametrize("backend", ["highs", "scip"])
def test_bounds_at_the_wrong_infinity_are_infeasible(bounds: tuple[float, float], backend: str) -> None:
    assert apportion.solve(one(bounds=bounds), backend=backend).status is Status.INFEASIBLE


@pytest.mark.parametrize("number", [nan, inf, -inf], ids=str)
@pytest.mark.parametrize("what", ["row", "cost"])
def test_numbers_that_are_none_are_named(what: str, number: float) -> None:
    with pytest.raises(InstanceError, match="must be a finite number"):
        one(row=number) if what == "row" else one(cost=number)


@pytest.mark.parametrize("what", ["limits", "bounds"])
def test_bounds_that_are_no_numbers_are_named(what: str) -> None:
    with pytest.raises(InstanceError, match="must be a number, got nan"):
        one(limits=(nan, 3)) if what == "limits" else one(bounds=(nan, 3))


def test_two_columns_of_one_name_are_refused() -> None:
    program = make_program([[1, 1]], [3], [inf], [1, 2], [0, 0], [2, 5], integer=True)
    with pytest.raises(InstanceError, match="repeats the identifier"):
        MixedIntegerProgram(**{**vars(program), "column_names": ("a", "a")})


def test_two_rows_of_one_name_are_solved() -> None:
    program = make_program([[1], [1]], [3, 1], [inf, inf], [1], [0], [5], row_names=("r", "r"))
    assert apportion.solve(program).objective == 3.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_backend_would_drop_is_refused_and_named(backend: str) -> None:
    program = make_program([[1e-12, 1e12]], [1], [inf], [1, 1], [0, 0], [1e13, 5], integer=True)
    with pytest.raises(CapabilityError, match=r"x0|r0"):
        apportion.solve(program, backend=backend)


# Ranges


def heard(problem: Any) -> list[str]:
    """The warnings that a solve logs."""
    events: list[Event] = []
    apportion.solve(problem, listener=events.append)
    return [e.message for e in events if e.kind is EventKind.LOG and e.message.startswith("warning: ")]


def test_wide_ranges_are_warned_with_the_name_of_the_block() -> None:
    model = apportion.Model("plant")
    flow = model.add_variables("flow", shape=2, upper=10)
    model.add_constraints("cap", flow * [1e-5, 1e6] <= 1)
    model.maximise((flow * [1e-6, 1e6]).sum())
    assert heard(model) == [
        "warning: the coefficients span 11 orders of magnitude, from 1e-05 (flow in cap) to 1e+06 (flow in cap)",
        "warning: the costs span 12 orders of magnitude, from 1e-06 (flow) to 1e+06 (flow)",
    ]


def test_wide_limits_and_huge_integers_are_warned() -> None:
    model = apportion.Model("stock")
    boxes = model.add_variables("boxes", shape=2, upper=[1e17, 5], integer=True)
    model.add_constraints("least", boxes.sum() >= 1e-2)
    model.minimise(boxes.sum())
    assert range_warnings(model.compile(names=True)) == [
        "the limits span 19 orders of magnitude, from 0.01 (least) to 1e+17 (a bound of boxes)",
        "integer variables may reach 1e+17 (boxes), and above 9e+15 not every whole number is a double",
    ]


@pytest.mark.parametrize("ratio", [1e9, 1e-3], ids=str)
def test_usual_ranges_pass_in_silence(ratio: float) -> None:
    assert range_warnings(make_program([[ratio, 1]], [1], [inf], [1, 1], [0, 0], [inf, 5])) == []


def test_numbers_at_both_ends_of_the_doubles_do_not_overflow() -> None:
    tiny, huge = float(np.nextafter(0, 1)), float(np.finfo(np.float64).max)
    (warning,) = range_warnings(make_program([[tiny, huge]], [1], [inf], [1, 1], [0, 0], [1, 5]))
    assert "632 orders" in warning


# Array models


def array(build: Callable[[apportion.Model], object]) -> apportion.Model:
    model = apportion.Model("mine")
    build(model)
    return model


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda m: m.minimise(nan * m.add_variables("x", 2).sum()), "objective"),
        (lambda m: m.minimise(inf * m.add_variables("x", 2).sum()), "objective"),
        (lambda m: m.add_variables("x", 2, lower=nan), "'x': lower"),
        (lambda m: m.add_variables("x", 2, lower=inf), "'x': lower"),
        (lambda m: (m.add_variables("x", 2), m.add_variables("x", 2)), "'x': there is a block"),
        (lambda m: m.add_constraints("r", inf * m.add_variables("x", 2) <= 2), r"'r'\[0\]"),
        (lambda m: m.add_constraints("r", m.add_variables("x", 2) >= inf), "'r'"),
        (lambda m: m.add_constraints("r", m.add_variables("x", 2) >= np.array(nan)), "'r'"),
    ],
    ids=[
        "nan cost",
        "infinite cost",
        "nan bound",
        "lower inf",
        "same name",
        "inf coefficient",
        "inf limit",
        "nan limit",
    ],
)
def test_array_models_name_the_block(build: Callable[[apportion.Model], object], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        array(build)


@pytest.mark.parametrize(
    ("build", "status"),
    [
        (lambda m: None, Status.OPTIMAL),
        (lambda m: m.add_variables("x", 2, lower=3, upper=1), Status.INFEASIBLE),
        (lambda m: m.add_constraints("r", m.add_variables("x", 2), lower=-inf, upper=inf), Status.OPTIMAL),
        (lambda m: m.add_variables("x", 2, lower=-1e15, upper=1e15, integer=True), Status.OPTIMAL),
    ],
    ids=["empty", "bounds cross", "free row", "huge integers"],
)
def test_odd_array_models(build: Callable[[apportion.Model], object], status: Status) -> None:
    assert apportion.solve(array(build)).status is status


# Files

MPS = """NAME x
ROWS
 N c
 L r
{rows}COLUMNS
 x c 1 r {a}
 y c 1 r 1
{columns}RHS
 RHS r {b}
BOUNDS
{bounds}ENDATA
"""
LP = """minimize
 obj: x + y
subject to
 r: {a} x + y <= {b}
{rows}bounds
{bounds}end
"""


def text_of(template: str, **changes: str) -> str:
    return template.format(**{"a": "1", "b": "1", "rows": "", "columns": "", "bounds": "", **changes})


@pytest.mark.parametrize(
    ("name", "text", "status"),
    [
        ("ok.mps", text_of(MPS), Status.OPTIMAL),
        ("empty.mps", "NAME x\nROWS\n N c\nCOLUMNS\nRHS\nBOUNDS\nENDATA\n", Status.OPTIMAL),
        ("free.mps", text_of(MPS, rows=" N r2\n", columns=" z r2 3\n"), Status.OPTIMAL),
        ("crossed.mps", text_of(MPS, bounds=" LO b x 5\n UP b x 3\n"), None),
        ("huge.mps", text_of(MPS, bounds=" LI b x 0\n UI b x 2000000000\n"), Status.OPTIMAL),
        ("ok.lp", text_of(LP), Status.OPTIMAL),
        ("free.lp", text_of(LP, rows=" s: x + y >= -inf\n"), Status.OPTIMAL),
        ("huge.lp", text_of(LP, bounds=" x <= 1e18\ngeneral\n x\n"), Status.OPTIMAL),
        ("blank.mps", "", None),
        ("blank.lp", "", None),
        ("nan.mps", text_of(MPS, a="nan"), None),
        ("inf.mps", text_of(MPS, a="inf"), None),
        ("overflow.mps", text_of(MPS, a="1e400"), None),
        ("nan-limit.mps", text_of(MPS, b="nan"), None),
        ("same-row.mps", text_of(MPS, rows=" L r\n"), None),
        ("same-column.mps", text_of(MPS, columns=" x r 3\n"), None),
        ("nan.lp", text_of(LP, a="nan"), None),
        ("inf.lp", text_of(LP, a="inf"), None),
        ("overflow.lp", text_of(LP, a="1e400"), None),
        ("inf-limit.lp", text_of(LP, b="-inf"), None),
        ("same-row.lp", text_of(LP, rows=" r: x >= 0\n"), None),
        ("crossed.lp", text_of(LP, bounds=" 5 <= x <= 3\n"), None),
    ],
    ids=lambda value: value if isinstance(value, str) and "\n" not in value and "." in value else "",
)
def test_files_are_solved_or_refused_with_their_name(
    tmp_path: Path, name: str, text: str, status: Status | None
) -> None:
    path = tmp_path / name
    path.write_text(text)
    if status is not None:
        assert apportion.solve(path).status is status
        return
    with pytest.raises(InstanceError) as raised:
        apportion.solve(path)
    assert name in raised.value.source


# Pyomo


def concrete(name: str = "theirs") -> Any:
    return pyo.ConcreteModel(name=name)


def pyomo_model(build: Callable[[Any], object]) -> Any:
    model = concrete(name="theirs")
    model.x = pyo.Var(["a", 1, "1"], bounds=(0, 5))
    build(model)
    if model.component("value") is None:
        model.value = pyo.Objective(expr=model.x["a"] + 2 * model.x[1] + 3 * model.x["1"])
    return model


def add(model: Any, expression: Any) -> None:
    model.row = pyo.Constraint(expr=expression)


@pytest.mark.parametrize(
    "build",
    [
        lambda m: add(m, nan * m.x["a"] >= 1),
        lambda m: add(m, inf * m.x["a"] >= 1),
        lambda m: add(m, (nan, m.x["a"], None)),
        lambda m: add(m, m.x["a"] >= inf),
        lambda m: m.add_component("value", pyo.Objective(expr=nan * m.x["a"])),
    ],
    ids=["nan coefficient", "inf coefficient", "nan limit", "inf limit", "nan cost"],
)
def test_pyomo_models_name_the_component(build: Callable[[Any], object]) -> None:
    with pytest.raises(ModelError, match=r"row|value"):
        apportion.solve(pyomo_model(build))


def test_odd_pyomo_models() -> None:
    assert apportion.solve(pyo.ConcreteModel()).objective == 0.0
    alike = pyomo_model(lambda m: add(m, m.x["a"] + m.x[1] + m.x["1"] >= 11))
    assert apportion.solve(alike).objective == 18.0  # x[1] and x['1'] are two variables
    assert apportion.solve(pyomo_model(lambda m: m.x["a"].setlb(7))).status is Status.INFEASIBLE
    huge = concrete()
    huge.z = pyo.Var(domain=pyo.Integers, bounds=(-(10**18), 10**18))
    huge.row = pyo.Constraint(expr=huge.z >= 3)
    huge.value = pyo.Objective(expr=huge.z)
    assert apportion.solve(huge).objective == 3.0


# OR-Tools


def mathopt_model(
    coefficient: float = 1.0, cost: float = 1.0, bounds: tuple[float, float] = (0.0, 5.0), name: str = "a"
) -> Any:
    model = mathopt.Model(name="theirs")
    x = [model.add_variable(lb=bounds[0], ub=bounds[1], name=name) for _ in range(2)]
    model.add_linear_constraint(coefficient * x[0] + x[1] >= 7, name="row")
    model.add_linear_constraint(lb=-inf, expr=x[0], ub=inf, name="row2")
    model.minimize(cost * x[0] + 2 * x[1])
    return model


def test_odd_mathopt_models() -> None:
    assert apportion.solve(mathopt.Model()).objective == 0.0
    for name in ("a", ""):  # MathOpt allows the same name twice, and none
        assert apportion.solve(mathopt_model(name=name)).objective == 9.0
    assert apportion.solve(mathopt_model(bounds=(6, 5))).status is Status.INFEASIBLE


@pytest.mark.parametrize(
    "given",
    [{"coefficient": nan}, {"coefficient": inf}, {"cost": nan}, {"bounds": (nan, 5.0)}],
    ids=["nan coefficient", "inf coefficient", "nan cost", "nan bound"],
)
def test_mathopt_numbers_that_are_none_are_named(given: dict[str, Any]) -> None:
    with pytest.raises(ApportionError, match="number"):
        apportion.solve(mathopt_model(**given))


def test_odd_constraint_models() -> None:
    assert apportion.solve(cp_model.CpModel()).objective == 0.0
    model = cp_model.CpModel()
    first, second = (model.new_int_var(0, 5, "a") for _ in range(2))
    model.add(first + second >= 7)
    model.minimize(first + 2 * second)
    assert apportion.solve(model).objective == 9.0
    crossed = cp_model.CpModel()
    crossed.minimize(crossed.new_int_var(6, 5, "a"))
    with pytest.raises(BackendError, match='name: "a"'):
        apportion.solve(crossed)
