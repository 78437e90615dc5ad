from __future__ import annotations

import json
import threading
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest

import apportion
from apportion.cli import main
from apportion.instances.core import Sense
from apportion.instances.generate import generate
from apportion.instances.program import MixedIntegerProgram, SparseColumns
from apportion.instances.reading import write
from apportion.report import result_from_dict, result_to_dict
from apportion.solvers.backends import BACKENDS
from apportion.solvers.options import SolveOptions
from apportion.solvers.registry import METHODS
from apportion.solvers.result import Agreement, SecondOpinion
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status
from tiny_programs import make_program

LIES = ("false_optimum", "false_infeasible", "false_unbounded")


@pytest.fixture(autouse=True)
def _lying_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    known = METHODS["mixed-integer-program"]
    lies = {name: f"lying_methods:{name}" for name in LIES}
    monkeypatch.setitem(METHODS, "mixed-integer-program", {**known, **lies})


def knapsack(*, integer: bool = True) -> MixedIntegerProgram:
    """Optimum 16."""
    return make_program(
        [[3, 5, 4]], [-inf], [8], [7, 9, 6], [0, 0, 0], [2, 2, 2], integer=integer, sense=Sense.MAXIMISE
    )


def test_without_asking_there_is_none() -> None:
    assert solve_instance(knapsack()).second_opinion is None


@pytest.mark.parametrize(
    ("backend", "second"),
    [("highs", "cp-sat"), ("scip", "highs"), ("cp-sat", "highs")],
    ids=["highs", "scip", "cp-sat"],
)
def test_another_backend_confirms(backend: str, second: str) -> None:
    result = solve_instance(knapsack(), SolveOptions(gap=0.0, backend=backend, verify=True))
    assert result.status is Status.OPTIMAL
    assert result.second_opinion == SecondOpinion(Agreement.CONFIRMED, second, f"{second} confirms {backend}: optimal")
    assert result.timings.verify_s > 0
    assert result_from_dict(json.loads(json.dumps(result_to_dict(result)))).second_opinion == result.second_opinion


def test_linear_programs_go_to_scip() -> None:
    result = solve_instance(knapsack(integer=False), SolveOptions(verify=True))
    assert result.second_opinion is not None
    assert result.second_opinion.backend == "scip"
    assert result.second_opinion.agreement is Agreement.CONFIRMED


def test_infeasible_is_confirmed_too() -> None:
    program = make_program([[1]], [2], [2], [1], [0], [1], integer=True)
    result = solve_instance(program, SolveOptions(verify=True))
    assert result.status is Status.INFEASIBLE
    assert result.second_opinion is not None
    assert result.second_opinion.agreement is Agreement.CONFIRMED


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_that_agrees_with_itself_is_refused(lie: str) -> None:
    trusting = solve_instance(knapsack(), method=lie)
    assert trusting.status is not Status.ERROR
    result = solve_instance(knapsack(), SolveOptions(verify=True, gap=0.0), method=lie)
    assert result.status is Status.ERROR
    assert result.plan is None
    assert (result.rejected_plan is not None) == (lie == "false_optimum")
    assert result.bounds.gap == inf
    assert "contradicts" in result.message
    assert result.second_opinion is not None
    assert result.second_opinion.agreement is Agreement.CONTRADICTED


@pytest.mark.parametrize("method", ["heuristics", "lns"])
def test_methods_around_highs_are_not_judged_by_highs(method: str) -> None:
    result = solve_instance(knapsack(), SolveOptions(verify=True, time_limit_s=30), method=method)
    assert result.second_opinion is not None
    assert result.second_opinion.backend not in ("", "highs")
    assert result.second_opinion.agreement is Agreement.CONFIRMED


def test_a_second_solve_that_proves_less_says_so() -> None:
    program = generate("mixed-integer-program", 1)
    options = SolveOptions(gap=0.0, node_limit=0, verify=True, time_limit_s=2)
    result = solve_instance(program, options)
    assert result.status is not Status.ERROR
    assert result.second_opinion is not None
    assert result.second_opinion.agreement in (Agreement.UNCONTRADICTED, Agreement.CONFIRMED)


def test_other_problems_say_plainly_that_there_is_no_second_solver() -> None:
    result = solve_instance(generate("vehicle-routing", 1, clients=6), SolveOptions(verify=True, time_limit_s=1))
    assert result.plan is not None
    assert result.second_opinion is not None
    assert result.second_opinion.agreement is Agreement.NOT_DONE
    assert "only programs have a second solver, this is vehicle-routing" in result.second_opinion.message


def test_what_no_other_backend_can_express_is_not_done() -> None:
    half = SparseColumns(np.array([0, 1, 2, 3], np.int32), np.arange(3, dtype=np.int32), -np.ones(3))
    program = replace(knapsack(), hessian=half)
    result = solve_instance(program, SolveOptions(verify=True, gap=0.0))
    assert result.native_status.startswith("scip")
    assert result.second_opinion is not None
    assert result.second_opinion.agreement is Agreement.NOT_DONE
    assert "no backend besides scip" in result.second_opinion.message


def test_a_second_solver_that_crashes_contradicts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(BACKENDS["cp-sat"], home="lying_methods:Failing")
    monkeypatch.setitem(BACKENDS, "cp-sat", entry)
    result = solve_instance(knapsack(), SolveOptions(verify=True))
    assert result.status is Status.OPTIMAL
    assert result.second_opinion is not None
    assert result.second_opinion.agreement is Agreement.NOT_DONE


def test_an_interrupted_solve_is_not_repeated() -> None:
    cancelled = threading.Event()
    cancelled.set()
    result = solve_instance(knapsack(), SolveOptions(verify=True), cancelled=cancelled)
    assert result.second_opinion == SecondOpinion(Agreement.NOT_DONE, message="interrupted")


def test_the_public_solve_takes_verify_for_models_too() -> None:
    model = apportion.Model("shelf")
    box = model.add_variables("box", shape=3, upper=2, integer=True)
    model.add_constraints("weight", 3 * box[0] + 5 * box[1] + 4 * box[2] <= 8)
    model.maximise(7 * box[0] + 9 * box[1] + 6 * box[2])
    result = apportion.solve(model, verify=True, gap=0)
    assert str(result.second_opinion) == "confirmed: cp-sat confirms highs: optimal"


def test_the_command_line_reports_and_exits_with_six(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bag.mps"
    write(knapsack(), file)
    assert main(["solve", str(file), "--verify", "--gap", "0"]) == 0
    assert "verify      confirmed: cp-sat confirms highs: optimal" in capsys.readouterr().err
    for lie in LIES:
        assert main(["solve", str(file), "--verify", "--gap", "0", "--method", lie, "--out", str(tmp_path / lie)]) == 6
        told = capsys.readouterr().err
        assert "verify      contradicted: " in told
        assert not (tmp_path / lie / "bag.plan.json").exists()
    assert main(["solve", str(file), "--method", "false_infeasible"]) == 3
