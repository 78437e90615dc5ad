"""What holds for every problem: the way of an instance through the house, whatever its kind."""

from __future__ import annotations

from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion import check, generate, read, read_plan, write, write_plan
from apportion.instances.core import Instance, Plan
from apportion.instances.formats import FORMATS
from apportion.instances.generate import GENERATORS
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance

SIZES: dict[str, dict[str, Any]] = {
    "cluster-placement": {"nodes": 5, "tasks": 14},
    "fleet-allocation": {"jobs": 12, "gpus_per_type": 8},
    "vehicle-routing": {"clients": 9},
    "rich-routing": {"clients": 9, "features": "prizes,late,overtime,traffic,skills"},
    "unit-commitment": {"units": 4, "periods": 8},
    "security-constrained-commitment": {"buses": 4, "units": 3, "periods": 6},
    "optimal-power-flow": {"buses": 5, "periods": 2, "storage": 1},
    "mixed-integer-program": {"kind": "knapsack", "items": 8, "resources": 2},
}
SHIPPED = sorted(p.name for p in Path(str(files("apportion.instances") / "data")).iterdir() if p.is_file())
PROBLEMS = sorted(GENERATORS)


def solved(instance: Instance, seed: int = 0) -> Result[Any]:
    options = SolveOptions(time_limit_s=5.0, node_limit=2000, seed=seed, deterministic=True)
    return solve_instance(instance, options)


def test_every_problem_that_can_be_generated_is_covered() -> None:
    assert set(SIZES) == set(GENERATORS)


@pytest.mark.parametrize("problem", PROBLEMS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000))
def test_what_is_generated_is_solved_checked_and_bounded(problem: str, seed: int) -> None:
    instance = generate(problem, seed, **SIZES[problem])
    result = solved(instance)
    assert result.plan is not None, (result.status, result.message)
    verdict = check(instance, result.plan)
    assert verdict.ok
    assert verdict.objective == pytest.approx(result.bounds.primal)
    assert isfinite(result.bounds.dual)
    assert not result.bounds.contradict(instance.sense)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_same_seed_same_instance_same_plan(problem: str, tmp_path: Path) -> None:
    one, two = (generate(problem, 3, **SIZES[problem]) for _ in range(2))
    suffix = next(f.suffixes[0] for f in FORMATS if f.problem == problem and f.writes)
    for name, instance in (("one", one), ("two", two)):
        write(instance, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
    first, second = solved(one, 5), solved(two, 5)
    assert first.plan == second.plan
    assert first.bounds == second.bounds


@pytest.mark.parametrize("name", SHIPPED)
def test_instances_and_plans_survive_their_files(name: str, tmp_path: Path) -> None:
    path = Path(str(files("apportion.instances") / "data" / name))
    instance = read(path)
    write(instance, tmp_path / name)
    again = read(tmp_path / name)
    assert type(again) is type(instance)
    result = solve_instance(instance, SolveOptions(time_limit_s=2.0))
    plan = result.plan
    assert isinstance(plan, Plan)
    write_plan(plan, tmp_path / "plan.json", instance)
    loaded = read_plan(tmp_path / "plan.json", again)
    assert loaded == plan
    assert check(again, loaded).objective == pytest.approx(result.bounds.primal)
