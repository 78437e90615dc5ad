"""Backends are found by name, without importing what is not used."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from math import inf
from typing import Any

import pytest

from apportion.instances.errors import BackendMissingError, OptionError
from apportion.instances.program import Indicator, SpecialOrderedSet
from apportion.solvers.backends import BACKENDS, backend_named, refusal
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance
from contract.programs import knapsack, program, triangle


def missing(*packages: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name in packages else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_missing_backend_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing(BACKENDS[name].package, monkeypatch=monkeypatch)
    with pytest.raises(BackendMissingError, match=f"Maybe pip install {BACKENDS[name].distribution}"):
        backend_named(name)


def test_the_next_installed_backend_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    missing("highspy", monkeypatch=monkeypatch)
    assert solve_instance(knapsack(8, 2)).native_status.startswith("scip")
    missing("highspy", "pyscipopt", monkeypatch=monkeypatch)
    assert solve_instance(knapsack(8, 2)).native_status.startswith("cp-sat")
    with pytest.raises(BackendMissingError, match="pip install highspy or PySCIPOpt"):
        solve_instance(program([1.0]))


def test_unknown_backend() -> None:
    with pytest.raises(OptionError, match="Maybe highs"):
        backend_named("higs")


@pytest.mark.parametrize(
    ("case", "lacking"),
    [
        (program([1]), {"highs": "", "cp-sat": "continuous variables", "scip": ""}),
        (
            program([1], upper=inf, integer=True),
            {"highs": "", "cp-sat": "variables without finite bounds", "scip": ""},
        ),
        (
            program([1], hessian=triangle([[1]])),
            {"highs": "", "cp-sat": "a quadratic objective", "scip": ""},
        ),
        (
            program([1], integer=True, hessian=triangle([[1]])),
            {"highs": "a quadratic objective with integer variables", "cp-sat": "a quadratic objective", "scip": ""},
        ),
        (
            program([1, 1], integer=True, ordered_sets=(SpecialOrderedSet(1, (0, 1), (1, 2)),)),
            {"highs": "special ordered sets", "cp-sat": "special ordered sets", "scip": ""},
        ),
        (
            program([1, 1], upper=1, integer=True, indicators=(Indicator(0, True, (1,), (1.0,), 1.0, 1.0),)),
            {"highs": "indicator constraints", "cp-sat": "", "scip": ""},
        ),
    ],
)
def test_refusals(case: Any, lacking: dict[str, str]) -> None:
    assert {name: refusal(case, name) for name in BACKENDS} == lacking


def test_asking_imports_nothing() -> None:
    code = (
        "import sys\n"
        "from apportion.solvers.backends import BACKENDS, refusal\n"
        "from apportion.solvers.backends.registry import is_installed\n"
        "import apportion.solvers.program\n"
        "[is_installed(name) for name in BACKENDS]\n"
        "print(sorted({'ortools', 'highspy', 'pyscipopt', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_thread_counts_may_change_within_a_process() -> None:
    """HiGHS fixes the count for the thread that solves first; each solve has a thread of its own."""
    answers = [solve_instance(knapsack(12, 2), SolveOptions(threads=threads)) for threads in (1, 2, 1)]
    assert len({answer.objective for answer in answers}) == 1


def test_options_name_the_known_backends() -> None:
    for name in BACKENDS:
        assert SolveOptions(backend=name).backend == name
