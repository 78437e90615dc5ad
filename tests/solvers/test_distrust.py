"""A method or a backend that lies is found out: the result is ERROR and the plan is not shipped."""

from __future__ import annotations

import sys
from math import inf
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from apportion.instances.core import Sense
from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.solvers import program as program_method
from apportion.solvers import registry
from apportion.solvers.backends import BACKENDS
from apportion.solvers.backends.base import BackendAnswer, Capabilities
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer, Result
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Bounds, Status
from contract.programs import MAX, MIN, program

TRUE_PLAN = VariableValues({"x0": 2.0, "x1": 1.0})


def diet(sense: Sense = MIN) -> MixedIntegerProgram:
    """Minimise or maximise over ``x0 + 2 x1 >= 4``, ``3 x0 + x1 >= 6``: at least 10, at most 70."""
    return program([3, 4], [[1, 2], [3, 1]], [4, 6], [inf, inf], integer=True, sense=sense)


def solved_by(answer: Answer[Any], monkeypatch: pytest.MonkeyPatch, sense: Sense = MIN) -> Result[Any]:
    """What comes of an instance whose method returns ``answer``."""
    fake = ModuleType("fake_liar")
    fake.method = lambda instance, options, monitor, advisor: answer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_liar", fake)
    monkeypatch.setitem(registry.METHODS, "mixed-integer-program", {"liar": "fake_liar:method"})
    return solve_instance(diet(sense))


def answer(
    status: Status = Status.OPTIMAL, primal: float = 10.0, dual: float = 10.0, plan: Any = TRUE_PLAN
) -> Answer[Any]:
    return Answer(status, Bounds(primal, dual), plan)


def test_the_truth_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    result = solved_by(answer(), monkeypatch)
    assert result.status is Status.OPTIMAL
    assert result.plan == TRUE_PLAN
    assert result.bounds == Bounds(10.0, 10.0)


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (answer(plan=VariableValues({"x0": 1.0})), "fails the check: row lower side at row r0"),
        (answer(plan=VariableValues({"x0": 2.5, "x1": 1.0})), "integrality at variable x0"),
        (answer(plan=VariableValues({"x0": 2.0, "x1": 99.0})), "upper bound at variable x1"),
        (answer(plan=VariableValues({"x0": float("nan")})), "finite value at variable x0"),
        (answer(dual=10.1), "the bound 10.1 lies beyond a checked plan of 10"),
        (answer(Status.FEASIBLE, dual=12.0), "the bound 12 lies beyond"),
        (answer(Status.INFEASIBLE), "a plan with status infeasible"),
        (answer(Status.NO_SOLUTION), "a plan with status no solution"),
        (answer(Status.OPTIMAL, plan=None), "claims optimal and has no plan"),
        (answer(Status.FEASIBLE, plan=None), "claims feasible and has no plan"),
    ],
)
def test_a_lie_is_an_error(lie: Answer[Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = solved_by(lie, monkeypatch)
    assert result.status is Status.ERROR
    assert result.plan is None
    assert message in result.message
    assert result.rejected_plan == lie.plan


def test_a_false_objective_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    result = solved_by(answer(Status.FEASIBLE, primal=3.0, dual=2.0), monkeypatch)
    assert result.bounds == Bounds(10.0, 2.0)


def test_a_false_bound_of_a_maximisation(monkeypatch: pytest.MonkeyPatch) -> None:
    result = solved_by(answer(Status.FEASIBLE, dual=9.0), monkeypatch, MAX)
    assert result.status is Status.ERROR
    assert "the bound 9 lies beyond" in result.message


def test_optimal_with_a_wide_gap_is_only_feasible(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that says optimal while its own bound leaves a gap is taken at its bound."""
    result = solved_by(answer(Status.OPTIMAL, dual=5.0), monkeypatch)
    assert result.status is not Status.OPTIMAL


class LyingBackend:
    """Returns what it is told to, whatever the program is."""

    name = "highs"
    capabilities: Capabilities = BACKENDS["highs"].capabilities

    def __init__(self, reply: BackendAnswer) -> None:
        self.reply = reply

    def run(
        self, program: MixedIntegerProgram, options: SolveOptions, monitor: Monitor, start: Floats | None = None
    ) -> BackendAnswer:
        return self.reply


@pytest.mark.parametrize(
    "reply",
    [
        BackendAnswer(Status.OPTIMAL, Bounds(0.0, 0.0), values=np.zeros(2)),
        BackendAnswer(Status.OPTIMAL, Bounds(8.0, 8.0), values=np.array([1.5, 1.4])),
        BackendAnswer(Status.OPTIMAL, Bounds(10.0, 11.0), values=np.array([2.0, 1.0])),
        BackendAnswer(Status.OPTIMAL, Bounds(10.0, 10.0), values=np.array([np.nan, 1.0])),
        BackendAnswer(Status.OPTIMAL, Bounds(10.0, 10.0)),
        BackendAnswer(Status.INFEASIBLE, Bounds(10.0, 10.0), values=np.array([2.0, 1.0])),
    ],
)
def test_a_lying_backend_is_an_error(reply: BackendAnswer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_method, "backend_named", lambda name: LyingBackend(reply))
    result = solve_instance(diet())
    assert result.status is Status.ERROR
    assert result.plan is None
