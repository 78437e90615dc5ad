from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.instances.core import Instance, Plan
from apportion.instances.errors import InstanceError, OptionError, PlanError
from apportion.instances.generate import generate
from apportion.instances.plans import read_plan, write_plan
from apportion.instances.reading import read
from apportion.instances.routing import Rounding, Routes, VehicleRouting, euclidean, with_rounding

SQUARE = np.array([[0.0, 1, 2], [1, 0, 2], [2, 2, 0]])
SHIPPED = Path(__file__).parents[2] / "instances" / "data"


def _small(**changes: object) -> VehicleRouting:
    return replace(VehicleRouting.capacitated("small", SQUARE, [0, 1, 2], 3), **changes)  # type: ignore[arg-type]


def test_it_is_an_instance_and_its_plan_is_a_plan() -> None:
    assert isinstance(_small(), Instance)
    assert isinstance(Routes(()), Plan)


def test_it_is_frozen_and_its_arrays_are_read_only() -> None:
    instance = _small()
    with pytest.raises(FrozenInstanceError):
        instance.capacity = 4.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        instance.distance[0, 1] = 9.0


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"distance": SQUARE[:2]}, "distance"),
        ({"distance": -SQUARE}, "distance[0,1]"),
        ({"duration": np.full((3, 3), np.nan)}, "duration[0,0]"),
        ({"demand": np.array([0.0, -1, 1])}, "demand[1]"),
        ({"demand": np.array([1.0, 1, 1])}, "demand[0]"),
        ({"capacity": float("nan")}, "capacity"),
        ({"capacity": -1.0}, "capacity"),
        ({"num_vehicles": 0}, "num_vehicles"),
        ({"ready": np.array([0.0, 9, 0]), "due": np.array([9.0, 5, 9])}, "due[1]"),
        ({"due": np.array([9.0, np.nan, 9])}, "due[1]"),
        ({"service": np.array([0.0, np.inf, 0])}, "service[1]"),
        ({"coordinates": np.zeros((2, 2))}, "coordinates"),
        ({"distance": np.full((3, 3), 1e308)}, "distance"),
    ],
)
def test_wrong_data_are_refused_by_place(changes: dict[str, object], place: str) -> None:
    with pytest.raises(InstanceError) as raised:
        _small(**changes)
    assert raised.value.faults[0].place == place


def test_all_faults_come_at_once() -> None:
    with pytest.raises(InstanceError) as raised:
        _small(capacity=-1.0, num_vehicles=0, demand=np.array([0.0, -1, 1]))
    assert len(raised.value.faults) == 3


def test_facts_and_summary() -> None:
    instance = _small()
    assert (instance.num_clients, instance.least_vehicles) == (2, 1)
    assert not instance.has_time_windows
    assert instance.is_symmetric
    assert instance.summary()["clients"] == 2
    timed = generate("vehicle-routing", seed=1, clients=5, time_windows=True)
    assert isinstance(timed, VehicleRouting)
    assert "horizon" in timed.summary()


def test_rounding_follows_the_conventions() -> None:
    points = np.array([[0.0, 0], [1, 1], [3, 0]])
    assert euclidean(points, Rounding.NEAREST)[0].tolist() == [0, 1, 3]
    assert euclidean(points, Rounding.UP)[0].tolist() == [0, 2, 3]
    assert euclidean(points, Rounding.TRUNCATE_1_DECIMAL)[1].tolist() == [1.4, 0.0, 2.2]
    timed = generate("vehicle-routing", seed=1, clients=5, time_windows=True)
    assert isinstance(timed, VehicleRouting)
    exact = with_rounding(timed, Rounding.NONE)
    assert exact.rounding is Rounding.NONE
    assert (exact.distance >= timed.distance).all()
    assert np.array_equal(exact.duration, exact.distance)
    with pytest.raises(InstanceError):
        with_rounding(_small(), Rounding.NONE)


@given(st.lists(st.lists(st.integers(1, 99), max_size=4).map(tuple), max_size=4))
def test_routes_round_trip(routes: list[tuple[int, ...]]) -> None:
    plan = Routes(tuple(routes))
    assert Routes.from_dict(plan.to_dict()) == plan


@pytest.mark.parametrize("data", [{}, {"routes": 3}, {"routes": [3]}, {"routes": [[1.5]]}, {"routes": [[True]]}])
def test_wrong_plans_are_refused(data: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        Routes.from_dict(data)


@pytest.mark.parametrize("name", ["plan.json", "plan.sol"])
def test_plans_round_trip_through_files(name: str, tmp_path: Path) -> None:
    instance = _small()
    plan = Routes(((2,), (1,)))
    write_plan(plan, tmp_path / name, instance)
    assert read_plan(tmp_path / name, instance) == plan


def test_the_solution_file_is_cvrplib_s(tmp_path: Path) -> None:
    instance = _small()
    write_plan(Routes(((1, 2),)), tmp_path / "plan.sol", instance)
    assert (tmp_path / "plan.sol").read_text() == "Route #1: 1 2\nCost 5\n"


@pytest.mark.parametrize(
    "text", ["", "Cost 5\n", "Route #1: one two\n", "Route #1: -1\n", "Route #1: 1.5\n", f"Route #1: {'9' * 5000}\n"]
)
def test_wrong_solution_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.sol"
    path.write_text(text)
    with pytest.raises(PlanError):
        read_plan(path, _small())


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"positions": "clustered", "depot": "corner"},
        {"positions": "random", "depot": "centre", "route_length": 3.0},
        {"time_windows": True, "window_share": 0.5},
    ],
)
def test_generated_instances_repeat_and_differ_by_seed(sizes: dict[str, object]) -> None:
    first, again, other = (generate("vehicle-routing", seed=seed, clients=30, **sizes) for seed in (1, 1, 2))
    assert isinstance(first, VehicleRouting)
    assert isinstance(again, VehicleRouting)
    assert isinstance(other, VehicleRouting)
    for field in ("distance", "demand", "ready", "due", "service", "coordinates"):
        assert np.array_equal(getattr(first, field), getattr(again, field))
    assert not np.array_equal(first.distance, other.distance)


@given(st.integers(0, 10**6), st.integers(1, 40), st.booleans())
def test_each_client_of_a_generated_instance_can_be_served_alone(seed: int, clients: int, timed: bool) -> None:
    instance = generate("vehicle-routing", seed=seed, clients=clients, time_windows=timed)
    assert isinstance(instance, VehicleRouting)
    assert (instance.demand <= instance.capacity).all()
    begins = np.maximum(instance.duration[0], instance.ready)[1:]
    assert (begins <= instance.due[1:]).all()
    assert (begins + instance.service[1:] + instance.duration[1:, 0] <= instance.due[0]).all()


@pytest.mark.parametrize(
    "sizes", [{"clients": 0}, {"positions": "moon"}, {"depot": "sea"}, {"route_length": 0.5}, {"window_share": 2}]
)
def test_wrong_sizes_are_refused(sizes: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        generate("vehicle-routing", seed=1, **sizes)


def test_shipped_instances_are_what_the_generator_makes() -> None:
    small = read(SHIPPED / "routing_small.vrp")
    windows = read(SHIPPED / "routing_windows.txt")
    assert isinstance(small, VehicleRouting)
    assert isinstance(windows, VehicleRouting)
    made = generate("vehicle-routing", seed=3, clients=60)
    timed = generate("vehicle-routing", seed=5, clients=40, time_windows=True)
    assert isinstance(made, VehicleRouting)
    assert isinstance(timed, VehicleRouting)
    assert np.array_equal(small.distance, made.distance)
    assert np.array_equal(windows.due, timed.due)
