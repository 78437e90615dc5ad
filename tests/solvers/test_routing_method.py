from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings

from apportion.instances.generate.routing import generate_routing
from apportion.instances.routing import Routes, VehicleRouting
from apportion.models.checking import check
from apportion.solvers.advisor import Advice
from apportion.solvers.events import Event, EventKind, Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.routing.method import route
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Limit, Status
from routing_brute import optimum, random_instance, tiny

QUICK = SolveOptions(node_limit=1500, gap=0.0)


@settings(max_examples=40, deadline=None)
@given(tiny)
def test_tiny_instances_are_solved_to_the_optimum_and_bounds_are_true(instance: VehicleRouting) -> None:
    best = optimum(instance)
    result = solve_instance(instance, QUICK)
    assert result.status is not Status.ERROR, result.message
    if best == inf:
        assert result.plan is None
        assert result.status in (Status.INFEASIBLE, Status.NO_SOLUTION)
    else:
        assert result.status is not Status.INFEASIBLE
        assert result.bounds.dual <= best + 1e-9
        assert result.plan is not None
        assert result.objective == pytest.approx(best)


@pytest.mark.parametrize("time_windows", [False, True])
def test_a_seed_repeats_exactly_whatever_the_clock_does(time_windows: bool) -> None:
    instance = generate_routing(1, clients=30, time_windows=time_windows, route_length=5.0)
    options = SolveOptions(node_limit=3000, seed=5, deterministic=True)
    first, second = (solve_instance(instance, options) for _ in range(2))
    assert first.plan == second.plan
    assert first.bounds == second.bounds
    assert first.counts == second.counts


@pytest.mark.parametrize("time_windows", [False, True])
@pytest.mark.parametrize("positions", ["random", "clustered"])
def test_a_time_limit_is_kept_and_the_plan_checks(time_windows: bool, positions: str) -> None:
    instance = generate_routing(2, clients=80, time_windows=time_windows, positions=positions)
    solve_instance(generate_routing(2, clients=10, time_windows=time_windows), SolveOptions(node_limit=100))
    result = solve_instance(instance, SolveOptions(time_limit_s=1.0))
    assert result.status.has_plan
    assert result.verdict is not None
    assert result.verdict.ok
    assert 0.0 < result.bounds.dual <= result.objective
    assert result.timings.total_s < 4.0


def test_without_any_limit_it_ends_by_its_own_rule() -> None:
    instance = generate_routing(3, clients=12, route_length=3.0)
    result = solve_instance(instance, SolveOptions(gap=0.0))
    assert result.status is Status.OPTIMAL or result.limit is Limit.METHOD


def test_it_stops_when_cancelled_and_keeps_its_plan() -> None:
    instance = generate_routing(4, clients=60)
    events: list[Event] = []

    def cancel_at_first_plan(event: Event) -> None:
        events.append(event)
        if event.kind is EventKind.INCUMBENT:
            monitor.cancel()

    monitor = Monitor(instance.sense, cancel_at_first_plan)
    answer = route(instance, SolveOptions(), monitor)
    assert answer.status is Status.FEASIBLE
    assert answer.limit is Limit.INTERRUPTED
    assert answer.plan is not None
    assert check(instance, answer.plan).ok


def test_incumbents_and_bounds_stream() -> None:
    events: list[Event] = []
    solve_instance(
        generate_routing(5, clients=25, route_length=5.0), SolveOptions(node_limit=2000), listener=events.append
    )
    kinds = {event.kind for event in events}
    assert {EventKind.START, EventKind.INCUMBENT, EventKind.BOUND, EventKind.END} <= kinds
    primals = [event.bounds.primal for event in events if event.kind is EventKind.INCUMBENT]
    assert primals == sorted(primals, reverse=True)
    assert any(event.letter == "H" for event in events)


def test_a_start_is_never_made_worse() -> None:
    instance = generate_routing(6, clients=30, route_length=5.0)
    good = solve_instance(instance, SolveOptions(node_limit=20_000))
    again = solve_instance(instance, SolveOptions(node_limit=1, start=good.plan))
    assert again.objective <= good.objective


class _BadAdvisor:
    def advise(self, instance: object) -> Advice:
        return Advice(start=Routes(((1, 1),)))


def test_bad_advice_is_rejected_and_said_so() -> None:
    instance = generate_routing(7, clients=10)
    events: list[Event] = []
    result = solve_instance(instance, QUICK, advisor=_BadAdvisor(), listener=events.append)
    assert result.status.has_plan
    assert any("rejected" in event.message for event in events)


def test_impossible_instances_are_infeasible_with_the_reason() -> None:
    square = np.ones((3, 3)) - np.eye(3)
    heavy = VehicleRouting.capacitated("heavy", square, [0, 5, 1], 4)
    answer = route(heavy, QUICK, Monitor(heavy.sense))
    assert answer.status is Status.INFEASIBLE
    assert answer.native_status == "client 1 asks for 5, a vehicle carries 4"


def test_an_instance_without_clients_has_an_empty_plan() -> None:
    empty = VehicleRouting.capacitated("empty", np.zeros((1, 1)), [0], 4)
    result = solve_instance(empty, QUICK)
    assert result.status is Status.OPTIMAL
    assert result.plan == Routes(())


def test_a_hard_fleet_that_is_just_enough_is_met() -> None:
    demand = np.array([0, 6, 6, 6, 4, 4, 4, 5, 5, 10], np.float64)
    random = np.random.default_rng(0)
    distance = random.integers(1, 50, (10, 10)).astype(np.float64)
    tight = VehicleRouting.capacitated("tight", distance, demand, 10, num_vehicles=5)
    result = solve_instance(tight, SolveOptions(node_limit=5000))
    assert result.status.has_plan, result.native_status
    assert result.plan is not None
    assert len(result.plan.routes) == 5


def test_fractional_distances_without_a_scale_are_summed_truly() -> None:
    base = random_instance(3, 5, timed=True)
    distance = base.distance * np.pi
    instance = VehicleRouting(
        "pi", distance, distance, base.demand, base.capacity, base.ready, base.due * np.pi, base.service
    )
    result = solve_instance(instance, QUICK)
    assert result.objective == pytest.approx(optimum(instance))
