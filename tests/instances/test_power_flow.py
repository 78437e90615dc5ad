"""The data of optimal power flow: what is refused, what survives its file, what is generated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.instances.errors import InstanceError, OptionError, PlanError
from apportion.instances.formats.power_json import json_schema, parse, render
from apportion.instances.generate.power_flow import generate_power_flow
from apportion.instances.islands import islands_of
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import Physics, PowerFlowPlan
from apportion.instances.reading import Source

SOURCE = Source(Path("net.json"))


def small(**changes: Any) -> OptimalPowerFlow:
    return replace(generate_power_flow(seed=1, buses=5, periods=3, storage=1), **changes)


def plan_of(instance: OptimalPowerFlow, price: float = np.nan) -> PowerFlowPlan:
    periods, buses = instance.load_mw.shape
    units, stores = len(instance.generators), len(instance.storage)
    return PowerFlowPlan(
        Physics.AC,
        instance.buses.names,
        instance.generators.names,
        instance.storage.names,
        power_mw=np.ones((periods, units)),
        reactive_mvar=np.zeros((periods, units)),
        voltage=np.ones((periods, buses)),
        angle_deg=np.arange(periods * buses, dtype=float).reshape(periods, buses),
        charge_mw=np.zeros((periods, stores)),
        discharge_mw=np.zeros((periods, stores)),
        energy_mwh=np.ones((periods, stores)),
        price_mwh=np.full((periods, buses), price),
    )


def with_entry(instance: OptimalPowerFlow, table: str, column: str, position: int, value: float) -> OptimalPowerFlow:
    whole = getattr(instance, table)
    array = np.array(getattr(whole, column))
    array[position] = value
    return replace(instance, **{table: replace(whole, **{column: array})})


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("generators", "power_min_mw", 1e4, "must be at most the power_max_mw"),
        ("generators", "reactive_min_mvar", 1e4, "must be at most the reactive_max_mvar"),
        ("generators", "power_max_mw", np.nan, "must be a finite number"),
        ("generators", "cost_quadratic", -1.0, "must be at least 0"),
        ("generators", "bus", 99, "must be a bus"),
        ("buses", "voltage_min", 2.0, "must be at most the voltage_max"),
        ("buses", "voltage_min", 0.0, "must be at least 0.001"),
        ("branches", "reactance", 0.0, "must not be zero"),
        ("branches", "reactance", np.inf, "must be a finite number"),
        ("branches", "rate_mva", 0.0, "must be positive"),
        ("branches", "angle_min_deg", 170.0, "must be at most the angle_max_deg"),
        ("branches", "tap", 0.0, "must be at least 0.001"),
        ("storage", "initial_mwh", 1e5, "must be at most the energy_max_mwh"),
        ("storage", "charge_efficiency", 1.5, "must be at most 1"),
    ],
)
def test_each_fault_names_its_place(table: str, column: str, value: float, message: str) -> None:
    with pytest.raises(InstanceError) as caught:
        with_entry(small(), table, column, 0, value)
    assert f"{table}.{column}[0]" in str(caught.value)
    assert message in str(caught.value)


def test_islands_need_a_generator_and_one_reference() -> None:
    whole = small()
    cut = {name: getattr(whole.branches, name)[:0] for name in vars(whole.branches)}
    with pytest.raises(InstanceError, match="island without a generator, with a load of"):
        replace(whole, branches=replace(whole.branches, **cut))
    none = np.zeros(5, np.bool_)
    with pytest.raises(InstanceError, match="without a reference"):
        replace(whole, buses=replace(whole.buses, reference=none))
    with pytest.raises(InstanceError, match="several references"):
        replace(whole, buses=replace(whole.buses, reference=~none))


def test_shapes_names_and_curves_are_checked() -> None:
    whole = small()
    with pytest.raises(InstanceError, match="must have shape"):
        replace(whole, load_mvar=whole.load_mvar[:1])
    with pytest.raises(InstanceError, match="must have one row per period"):
        replace(whole, load_mw=whole.load_mw[0])
    with pytest.raises(InstanceError, match="repeats the identifier"):
        replace(whole, buses=replace(whole.buses, names=("a", "a", "b", "c", "d")))
    with pytest.raises(InstanceError, match="base_mva"):
        replace(whole, base_mva=float("nan"))
    free = replace(whole.generators, cost_quadratic=np.zeros(2), cost_linear=np.zeros(2))
    for curve, message in (
        (((0.0, 0.0), (5.0, 9.0), (9.0, 10.0)), "must be convex"),
        (((5.0, 0.0), (0.0, 9.0)), "rising MW"),
        (((5.0, 0.0),), "two or more points"),
    ):
        with pytest.raises(InstanceError, match=message):
            replace(whole, generators=replace(free, curves=(curve, ())))
    with pytest.raises(InstanceError, match="comes with a polynomial cost"):
        replace(whole, generators=replace(whole.generators, curves=(((0.0, 0.0), (5.0, 9.0)), ())))
    with pytest.raises(InstanceError, match="at least the minimum output"):
        replace(whole, available_mw=np.full((3, 2), -1.0))


@given(st.integers(1, 9), st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=12))
@settings(max_examples=50, deadline=None)
def test_islands_are_those_of_a_naive_search(count: int, pairs: list[tuple[int, int]]) -> None:
    inside = [(f, t) for f, t in pairs if f < count and t < count]
    found = islands_of(count, *(np.array([pair[k] for pair in inside], np.int64) for k in (0, 1)))
    reach = np.eye(count, dtype=bool)
    for f, t in inside:
        reach[f, t] = reach[t, f] = True
    for _ in range(count):
        reach = (reach.astype(int) @ reach.astype(int)) > 0
    assert np.array_equal(reach, found[:, None] == found)
    assert found[0] == 0


@given(st.integers(0, 1000), st.integers(2, 9), st.integers(1, 4), st.integers(0, 2))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_generated_instances_survive_their_file(seed: int, buses: int, periods: int, storage: int) -> None:
    instance = generate_power_flow(seed, buses, periods, storage)
    text = render(instance)
    assert render(parse(text, SOURCE)) == text
    assert instance.summary()["islands"] == 1
    assert instance.generators.power_max_mw.sum() >= instance.load_mw.sum(axis=1).max()


def test_curves_ramps_and_wind_survive_their_file() -> None:
    whole = small()
    generators = replace(
        whole.generators,
        cost_quadratic=np.zeros(2),
        cost_linear=np.array([0.0, 5.0]),
        curves=(((0.0, 1.0), (10.0, 20.0)), ()),
        ramp_mw_h=np.array([7.0, np.inf]),
    )
    available = 0.9 * np.tile(whole.generators.power_max_mw, (3, 1))
    rich = replace(whole, generators=generators, available_mw=available)
    again = parse(render(rich), SOURCE)
    assert again.generators.curves == generators.curves
    assert again.generators.ramp_mw_h.tolist() == [7.0, np.inf]
    np.testing.assert_array_equal(again.most_mw, available)


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (lambda d: d["buses"][0].pop("name"), "buses[0].name"),
        (lambda d: d["generators"][0].update(bus="nowhere"), "generators[0].bus"),
        (lambda d: d["buses"][1].update(load_mw=[1.0]), "buses[1].load_mw"),
        (lambda d: d["buses"][1].update(load_mw="much"), "buses[1].load_mw"),
        (lambda d: d["branches"][0].update(colour="red"), "branches[0].colour"),
        (lambda d: d.update(periods=0), "periods"),
        (lambda d: d["generators"][0].update(available_mw=[]), "generators[0].available_mw"),
        (lambda d: d["storage"][0].update(energy_max_mwh=-1.0), "storage.energy_max_mwh[0]"),
    ],
)
def test_faults_of_a_file_name_their_path(edit: Any, place: str) -> None:
    data = json.loads(render(small()))
    edit(data)
    with pytest.raises(InstanceError) as caught:
        parse(json.dumps(data), SOURCE)
    assert place in str(caught.value)
    assert "net.json" in str(caught.value)


@given(st.integers(0, 10**6), st.sampled_from(["cut", "swap", "nan", "huge", "minus"]))
@settings(max_examples=50, deadline=None)
def test_a_spoilt_file_is_an_instance_or_an_instance_error(position: int, how: str) -> None:
    text = render(small())
    k = position % len(text)
    spoilt = {
        "cut": text[:k],
        "swap": text[k:] + text[:k],
        "nan": text.replace("1.0", "NaN", 1 + k % 3),
        "huge": text[:k] + "9e999" + text[k + 1 :],
        "minus": text[:k] + "-" + text[k + 1 :],
    }[how]
    try:
        parse(spoilt, SOURCE)
    except InstanceError as error:
        assert error.faults  # noqa: PT017


def test_plans_round_trip_and_follow_names() -> None:
    instance = small()
    for price in (np.nan, 12.5):
        plan = plan_of(instance, price)
        assert PowerFlowPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
        assert plan.has_prices == bool(np.isfinite(price))
    plan = plan_of(instance)
    turned = replace(
        plan, bus_names=plan.bus_names[::-1], voltage=plan.voltage[:, ::-1], angle_deg=plan.angle_deg[:, ::-1]
    )
    assert turned.aligned_to(instance) == plan
    with pytest.raises(PlanError, match="names nothing of this instance"):
        replace(plan, bus_names=("x", *plan.bus_names[1:])).aligned_to(instance)
    with pytest.raises(PlanError, match="periods"):
        plan.aligned_to(small().window(0, 2, instance.storage.initial_mwh, instance.storage.final_min_mwh))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(periods=True),
        lambda d: d.update(physics="magic"),
        lambda d: d.update(voltage=3),
        lambda d: d["power_mw"].update({"plant-1": [1.0]}),
        lambda d: d["angle_deg"].pop("bus-1"),
        lambda d: d["energy_mwh"].update({"battery-1": [1.0, None, 2.0]}),
    ],
)
def test_spoilt_plans_are_plan_errors(spoil: Any) -> None:
    data = plan_of(small()).to_dict()
    spoil(data)
    with pytest.raises(PlanError):
        PowerFlowPlan.from_dict(data)


def test_the_schema_and_the_sizes() -> None:
    assert "generators" in json_schema()["properties"]
    for sizes in ({"buses": 1}, {"periods": 0}, {"storage": 99}):
        with pytest.raises(OptionError, match="must lie in"):
            generate_power_flow(**sizes)
