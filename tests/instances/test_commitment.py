"""The instance and its plan as data: faults, round trips, the generator."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.core import Instance, Plan
from apportion.instances.errors import InstanceError, OptionError, PlanError
from apportion.instances.formats import pglib_uc
from apportion.instances.generate import generate
from apportion.instances.generate.commitment import generate_commitment

DAY = generate_commitment(seed=2, units=3, periods=4)


def plan_for(day: UnitCommitment, seed: int = 0) -> Commitment:
    random = np.random.default_rng(seed)
    shape = day.num_units, day.num_periods
    return Commitment(
        day.unit_names,
        day.renewable_names,
        random.random(shape) < 0.5,
        random.random(shape) * 100.0,
        random.random(shape) / 3.0,
        random.random((len(day.renewable), day.num_periods)),
    )


def test_they_are_what_the_house_expects() -> None:
    assert isinstance(DAY, Instance)
    assert isinstance(plan_for(DAY), Plan)
    assert DAY.summary()["thermal units"] == 3


def test_arrays_are_read_only() -> None:
    for array in (DAY.demand_mw, DAY.renewable[0].power_max_mw, plan_for(DAY).committed):
        assert not array.flags.writeable


def test_faults_are_collected() -> None:
    unit = replace(DAY.thermal[0], ramp_up_mw=float("nan"), name="")
    with pytest.raises(InstanceError) as caught:
        replace(DAY, thermal=(unit, DAY.thermal[1], DAY.thermal[1]), reserve_mw=np.zeros(3))
    assert {fault.place for fault in caught.value.faults} >= {"reserve_mw", f"thermal[{DAY.thermal[1].name}].name"}
    assert len(caught.value.faults) >= 4


def test_nothing_to_plan() -> None:
    with pytest.raises(InstanceError, match="at least one period"):
        replace(DAY, demand_mw=np.zeros(0), reserve_mw=np.zeros(0), renewable=())
    with pytest.raises(InstanceError, match="at least one unit"):
        replace(DAY, thermal=(), renewable=())
    with pytest.raises(InstanceError, match="one per period"):
        replace(DAY, demand_mw=np.zeros((2, 2)))


@pytest.mark.parametrize("seed", range(5))
def test_plan_round_trip_is_exact(seed: int) -> None:
    plan = plan_for(DAY, seed)
    again = Commitment.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert again == plan
    assert again.aligned_to(DAY) == plan


def test_rows_are_found_by_name() -> None:
    plan = plan_for(DAY)
    data = plan.to_dict()
    data["power_mw"] = dict(reversed(data["power_mw"].items()))
    turned = {key: dict(reversed(table.items())) for key, table in data.items() if isinstance(table, dict)}
    assert Commitment.from_dict({**data, **turned}).aligned_to(DAY) == plan


def test_plan_for_other_units_is_refused() -> None:
    with pytest.raises(PlanError, match="names no unit of this instance"):
        plan_for(generate_commitment(seed=2, units=5, periods=4)).aligned_to(DAY)
    with pytest.raises(PlanError, match="must be the 4 of the instance, got 6"):
        plan_for(generate_commitment(seed=2, units=3, periods=6)).aligned_to(DAY)


WILD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.integers(-2, 10**400), st.floats(), st.text(max_size=3), st.just([]), st.just({"coal-1": [1, 2]})
)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["committed", "power_mw", "reserve_mw", "renewable_mw", "periods"]), WILD, st.booleans())
def test_wild_plans_are_refused_or_read(key: str, value: Any, inside: bool) -> None:
    data = plan_for(DAY).to_dict()
    if inside and key != "periods":
        name = next(iter(data[key]))
        data[key][name] = [value] * DAY.num_periods
    else:
        data[key] = value
    plan = None
    with contextlib.suppress(PlanError):  # anything else would be a leak
        plan = Commitment.from_dict(data)
    assert plan is None or np.isfinite(plan.power_mw).all()


def test_generator_repeats_itself_byte_by_byte() -> None:
    one, two = (generate("unit-commitment", seed=9, units=7, periods=30) for _ in range(2))
    assert isinstance(one, UnitCommitment)
    assert isinstance(two, UnitCommitment)
    assert pglib_uc.render(one) == pglib_uc.render(two)
    assert pglib_uc.render(one) != pglib_uc.render(generate_commitment(seed=10, units=7, periods=30))


@pytest.mark.parametrize("sizes", [{"units": 0}, {"periods": -1}, {"renewables": -1}, {"reserve_share": 2.0}, {"x": 1}])
def test_generator_refuses_senseless_sizes(sizes: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        generate("unit-commitment", seed=1, **sizes)
