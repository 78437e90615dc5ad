"""The check of constraint models against CP-SAT itself: both must admit the same assignments."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from ortools.sat import cp_model_pb2
from ortools.sat.python import cp_model

from apportion.instances.constraint_model import ConstraintModel, WholeNumbers
from apportion.instances.core import Sense
from apportion.instances.errors import PlanError
from apportion.models.checking import check
from apportion.models.constraint_model.check import NOT_CHECKED
from apportion.models.constraint_model.rules import RULES

Build = Callable[[cp_model.CpModel, list[Any], list[Any]], None]


def _no_overlap(model: cp_model.CpModel, x: list[Any], b: list[Any]) -> None:
    spans = [
        model.new_optional_interval_var(x[0], 2, x[0] + 2, b[0], "a"),
        model.new_interval_var(1, x[2], x[2] + 1, "c"),
        model.new_fixed_size_interval_var(x[1] + 2, 1, "d"),
    ]
    model.add_no_overlap(spans)


def _cumulative(model: cp_model.CpModel, x: list[Any], b: list[Any]) -> None:
    spans = [
        model.new_fixed_size_interval_var(x[0], 2, "a"),
        model.new_optional_interval_var(x[1], 1, x[1] + 1, b[0], "c"),
        model.new_fixed_size_interval_var(1, 1, "d"),
    ]
    model.add_cumulative(spans, [1, x[2], 1], 2)


def _boxes(model: cp_model.CpModel, x: list[Any], b: list[Any]) -> None:
    across = [
        model.new_fixed_size_interval_var(x[0], 2, "a"),
        model.new_optional_interval_var(x[1], 1, x[1] + 1, b[0], "c"),
    ]
    along = [model.new_fixed_size_interval_var(0, 2, "e"), model.new_interval_var(x[2], 1, x[2] + 1, "f")]
    model.add_no_overlap_2d(across, along)


def _points(model: cp_model.CpModel, x: list[Any], b: list[Any]) -> None:
    across = [model.new_interval_var(x[0], 0, x[0], "a"), model.new_fixed_size_interval_var(1, 2, "c")]
    along = [model.new_interval_var(1, x[1], x[1] + 1, "e"), model.new_interval_var(x[2], 1, x[2] + 1, "f")]
    model.add_no_overlap_2d(across, along)


_ARCS = [(0, 1), (1, 0), (1, 2), (2, 0), (2, 2), (0, 2), (2, 1)]


def _arcs(b: list[Any]) -> list[Any]:
    return [(tail, head, b[k % len(b)]) for k, (tail, head) in enumerate(_ARCS[: len(b)])]


BUILDERS: dict[str, Build] = {
    "linear": lambda m, x, b: m.add(2 * x[0] - x[1] + x[2] <= 2) and None,
    "linear domain": lambda m, x, b: (
        m.add_linear_expression_in_domain(x[0] + x[1], cp_model.Domain.from_intervals([[0, 1], [4, 5]])) and None
    ),
    "linear enforced": lambda m, x, b: m.add(x[0] == x[1]).only_enforce_if(b[0], ~b[1]) and None,
    "bool_or": lambda m, x, b: m.add_bool_or(b[0], ~b[1], b[2]) and None,
    "bool_and": lambda m, x, b: m.add_bool_and(b[0], ~b[1]).only_enforce_if(b[2]) and None,
    "at_most_one": lambda m, x, b: m.add_at_most_one(b[0], b[1], ~b[2]) and None,
    "exactly_one": lambda m, x, b: m.add_exactly_one(b[0], b[1], ~b[2]) and None,
    "bool_xor": lambda m, x, b: m.add_bool_xor(b[0], b[1], ~b[2]) and None,
    "int_div": lambda m, x, b: m.add_division_equality(x[0] - 1, x[1] - 3, x[2] + 1) and None,
    "int_mod": lambda m, x, b: m.add_modulo_equality(x[0] - 1, x[1] - 2, x[2] + 1) and None,
    "int_prod": lambda m, x, b: m.add_multiplication_equality(x[0] - 2, x[1] - 1, x[2]) and None,
    "lin_max": lambda m, x, b: m.add_max_equality(x[0], x[1] - 1, 2 - x[2]) and None,
    "lin_min": lambda m, x, b: m.add_min_equality(x[0], x[1], x[2]) and None,
    "abs": lambda m, x, b: m.add_abs_equality(x[0], x[1] - 2) and None,
    "all_diff": lambda m, x, b: m.add_all_different(x[0], x[1] + 1, x[2]) and None,
    "element": lambda m, x, b: m.add_element(x[0], [x[1], 2, x[2] + 1], x[2]) and None,
    "table": lambda m, x, b: m.add_allowed_assignments(x[:2], [(0, 1), (2, 3), (3, 3)]) and None,
    "table negated": lambda m, x, b: m.add_forbidden_assignments(x[:2], [(0, 1), (2, 3), (3, 3)]) and None,
    "automaton": lambda m, x, b: m.add_automaton(x, 0, [2], [(0, 1, 1), (1, 1, 1), (1, 2, 2), (2, 0, 0)]) and None,
    "inverse": lambda m, x, b: m.add_inverse(x, x) and None,
    "reservoir": lambda m, x, b: m.add_reservoir_constraint(x, [2, -1, -1], 0, 2) and None,
    "reservoir active": lambda m, x, b: (
        m.add_reservoir_constraint_with_active(x, [2, -1, -1], [1, b[0], b[1]], 0, 2) and None
    ),
    "no_overlap": _no_overlap,
    "cumulative": _cumulative,
    "no_overlap_2d": _boxes,
    "no_overlap_2d points": _points,
    "circuit": lambda m, x, b: m.add_circuit(_arcs(b)) and None,
    "routes": lambda m, x, b: m.add_multiple_circuit([*_arcs(b)[:4], (0, 2, b[4])]) and None,
}


class _Collect(cp_model.CpSolverSolutionCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[int, ...]] = set()

    def on_solution_callback(self) -> None:
        self.found.add(tuple(int(v) for v in self.Response().solution))


def _solutions(model: cp_model.CpModel) -> set[tuple[int, ...]]:
    solver = cp_model.CpSolver()
    solver.parameters.enumerate_all_solutions = True
    solver.parameters.num_workers = 1
    solver.parameters.keep_all_feasible_solutions_in_presolve = True
    collect = _Collect()
    assert solver.solve(model, collect) in (cp_model.OPTIMAL, cp_model.INFEASIBLE)
    return collect.found


@pytest.mark.parametrize("name", BUILDERS)
def test_same_assignments_as_cp_sat(name: str) -> None:
    model = cp_model.CpModel()
    circuits = name in ("circuit", "routes")
    x = [] if circuits else [model.new_int_var(0, 3, f"x{k}") for k in range(3)]
    b = [model.new_bool_var(f"b{k}") for k in range(7 if circuits else 3)]
    BUILDERS[name](model, x, b)
    assert not model.validate()
    admitted = _solutions(model)
    instance = ConstraintModel(model)
    domains = [range(variable.domain[0], variable.domain[1] + 1) for variable in model.proto.variables]
    everything = list(itertools.product(*domains))
    ours = {point for point in everything if check(instance, WholeNumbers(point)).ok}
    assert ours == admitted
    assert 0 < len(admitted) < len(everything)


def test_every_kind_has_a_rule_and_a_test() -> None:
    kinds = {f.name for f in cp_model_pb2.ConstraintProto.DESCRIPTOR.oneofs_by_name["constraint"].fields}
    assert kinds == set(RULES)
    tested = {kind for kind in kinds if any(name.startswith(kind) for name in BUILDERS)}
    assert kinds - tested == {"interval", "dummy_constraint"}, "intervals are tested with no_overlap"


def small() -> tuple[cp_model.CpModel, Any, Any]:
    model = cp_model.CpModel()
    x, y = model.new_int_var(0, 9, "x"), model.new_int_var(0, 9, "")
    model.add(x + y <= 7).with_name("room")
    return model, x, y


def test_violations_are_named() -> None:
    model, _, _ = small()
    verdict = check(ConstraintModel(model), WholeNumbers((12, 1)))
    assert [(v.rule, v.place) for v in verdict.violations] == [("domain", "variable x"), ("linear", "constraint room")]
    assert verdict.violations[1].amount == 6
    with pytest.raises(PlanError, match="one for each variable"):
        check(ConstraintModel(model), WholeNumbers((1,)))


@pytest.mark.parametrize(
    ("goal", "sense", "objective"),
    [
        (lambda m, x, y: m.minimize(2 * x - y + 5), Sense.MINIMISE, 8),
        (lambda m, x, y: m.maximize(2 * x - y + 5), Sense.MAXIMISE, 8),
        (lambda m, x, y: m.maximize(0.5 * x + 1.25), Sense.MAXIMISE, 2.25),
        (lambda m, x, y: m.minimize(0.5 * x + 0.25 * y), Sense.MINIMISE, 1.25),
        (lambda m, x, y: None, Sense.MINIMISE, 0.0),
    ],
)
def test_objective_and_sense(goal: Any, sense: Sense, objective: float) -> None:
    model, x, y = small()
    goal(model, x, y)
    before = str(model.proto)
    instance = ConstraintModel(model)
    assert instance.sense is sense
    assert check(instance, WholeNumbers((2, 1))).objective == objective
    assert str(model.proto) == before, "looking at a model must not change it"


def test_what_is_not_known_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, _ = small()
    monkeypatch.delitem(RULES, "linear")
    verdict = check(ConstraintModel(model), WholeNumbers((9, 9)))
    assert verdict.ok
    assert verdict.measures[f"{NOT_CHECKED}unknown kind"] == 1


def test_plan_round_trip() -> None:
    plan = WholeNumbers((1, -2))
    assert WholeNumbers.from_dict(plan.to_dict()) == plan
    for bad in ({}, {"values": 3}, {"values": [1.5]}, {"values": [True]}, {"values": ["1"]}):
        with pytest.raises(PlanError):
            WholeNumbers.from_dict(bad)
