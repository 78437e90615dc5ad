from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from apportion.instances.errors import OptionError
from apportion.instances.reading import read
from apportion.instances.rich_routing import RichRoute, RichRoutes, RichRouting, VehicleType
from apportion.instances.rich_rules import Lock
from apportion.solvers.options import SolveOptions
from apportion.solvers.rich_routing.bounds import assignment_bound
from apportion.solvers.rich_routing.insertion import Dispatcher
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Limit, Status
from realdata import data_file
from rich_random import FEATURES, TIMED, optimum, random_rich

TINY = [frozenset(names) for names in ((), ("fleet",), ("depots", "windows"), ("pairs",), ("backhauls",), ("prizes",))]
TINY += [frozenset(names) for names in (("groups", "fleet"), ("skills",), ("clock", "windows"), ("pairs", "windows"))]


@pytest.mark.parametrize("features", TINY, ids=["-".join(sorted(features)) or "plain" for features in TINY])
@pytest.mark.parametrize("seed", range(4))
def test_tiny_instances_are_solved_to_the_optimum(features: frozenset[str], seed: int) -> None:
    instance = random_rich(seed, 4, features)
    best = optimum(instance)
    result = solve_instance(instance, SolveOptions(node_limit=400, gap=0.0))
    assert result.status is not Status.ERROR, result.message
    if best == inf:
        assert result.plan is None
    else:
        assert result.status is Status.FEASIBLE, result.message
        assert result.objective == pytest.approx(best)
        assert result.bounds.dual <= best


def test_reloads_let_one_vehicle_carry_everything() -> None:
    line = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
    truck = VehicleType(1, (1.0,), reload=0, most_reloads=3)
    instance = RichRouting.simple("line", line, [truck], delivery=[[0], [1], [1], [1], [1]])
    result = solve_instance(instance, SolveOptions(node_limit=300))
    assert result.objective == 20.0


def test_a_seed_repeats_exactly() -> None:
    instance = random_rich(2, 14, frozenset({"fleet", "windows", "depots"}))
    first, second = (solve_instance(instance, SolveOptions(node_limit=500, seed=3)) for _ in range(2))
    assert first.plan == second.plan
    assert first.counts == second.counts


def test_it_ends_by_its_own_rule_and_a_start_is_never_made_worse() -> None:
    instance = random_rich(5, 8, frozenset({"fleet"}))
    result = solve_instance(instance, SolveOptions())
    assert result.limit is Limit.METHOD
    again = solve_instance(instance, SolveOptions(node_limit=1, start=result.plan))
    assert again.objective <= result.objective


def test_what_no_vehicle_can_serve_is_said() -> None:
    line = np.ones((3, 3)) - np.eye(3)
    truck = VehicleType(1, (1.0,), serves=frozenset({1}))
    result = solve_instance(RichRouting.simple("line", line, [truck], delivery=[[0], [2], [1]]), SolveOptions())
    assert result.status is Status.INFEASIBLE
    assert "client 1 asks for more than any vehicle that may serve it carries" in result.native_status
    assert "no type of vehicle may serve client 2" in result.native_status


@pytest.mark.data
@pytest.mark.parametrize("file", ["SDVRPTW/PR01", "HFVRP/X101-FSMFD", "MTVRPTWR/C201R0.25"])
def test_published_instances_get_a_plan_that_checks(file: str) -> None:
    instance = read(data_file(f"logistics/rich/{file}.vrp"))
    result = solve_instance(instance, SolveOptions(node_limit=300))
    assert result.status is Status.FEASIBLE, result.message
    assert result.verdict is not None
    assert result.verdict.ok


@pytest.mark.parametrize("seed", range(40))
def test_no_plan_costs_less_than_the_bound(seed: int) -> None:
    random = np.random.default_rng(seed)
    features = frozenset(random.choice(FEATURES + TIMED, 4, replace=False).tolist())
    instance = random_rich(seed, 7, features)
    result = solve_instance(instance, SolveOptions(node_limit=100))
    if result.plan is not None:
        assert assignment_bound(instance) <= result.objective + 1e-6


def test_a_route_under_way_that_breaks_the_rules_is_told() -> None:
    line = np.abs(np.subtract.outer(np.arange(3.0), np.arange(3.0)))
    truck = VehicleType(1, (1.0,))
    instance = RichRouting.simple("line", line, [truck], delivery=[[0], [1], [1]], locks=(Lock(0, (1, 2)),))
    result = solve_instance(instance, SolveOptions(node_limit=10))
    assert result.status is Status.NO_SOLUTION
    assert "under way" in result.native_status


def test_a_larger_vehicle_takes_over_when_that_is_cheaper() -> None:
    line = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
    fleet = [VehicleType(4, (1.0,), fixed_cost=5.0), VehicleType(1, (4.0,), fixed_cost=9.0)]
    instance = RichRouting.simple("line", line, fleet, delivery=[[0], [1], [1], [1], [1]])
    result = solve_instance(instance, SolveOptions(node_limit=300))
    assert result.objective == 17.0


def test_a_plan_that_does_not_begin_with_the_settled_stops_is_refused() -> None:
    line = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    running = replace(RichRouting.simple("day", line, [VehicleType(1, (9.0,))]), locks=(Lock(0, (1,)),))
    with pytest.raises(OptionError, match="breaks a rule"):
        Dispatcher(running, RichRoutes((RichRoute(0, (3, 2, 1)),)))
