"""The Egret reader: what it understands costs what Egret says, and what it does not is named."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apportion
from apportion.instances.commitment import UnitCommitment
from apportion.instances.errors import InstanceError
from apportion.instances.formats import egret_json
from apportion.instances.reading import Source
from apportion.instances.security_commitment import SecurityConstrainedCommitment
from realdata import data_file

SOURCE = Source(Path("day.json"))
Json = dict[str, Any]

WHOLE_NUMBER_OPTIMA = (
    ("test_case_1", 4201915.017320504),
    ("test_case_2", 5454367.7670904165),
    ("test_case_3", 5999272.361123627),
    ("test_case_4", 5461120.3231092375),
    ("test_case_5", 6062406.32677043),
)
"""What Egret's own tests expect, in ``egret/models/tests/test_unit_commitment.py``."""


def unit(**changes: object) -> Json:
    base: Json = {
        "generator_type": "thermal",
        "bus": "B1",
        "p_min": 20.0,
        "p_max": 100.0,
        "ramp_up_60min": 50.0,
        "ramp_down_60min": 60.0,
        "startup_capacity": 40.0,
        "shutdown_capacity": 45.0,
        "min_up_time": 3,
        "min_down_time": 2,
        "initial_status": 5,
        "initial_p_output": 30.0,
        "startup_cost": [[2, 50.0], [6, 90.0]],
        "shutdown_cost": 0.0,
        "p_cost": {
            "data_type": "cost_curve",
            "cost_curve_type": "polynomial",
            "values": {"0": 10.0, "1": 2.0, "2": 0.01},
        },
    }
    return {**base, **changes}


def series(*values: float) -> Json:
    return {"data_type": "time_series", "values": list(values)}


def day(**changes: object) -> Json:
    elements: Json = {
        "bus": {"B1": {}},
        "load": {"L1": {"bus": "B1", "in_service": True, "p_load": series(50.0, 60.0, 70.0)}},
        "generator": {"G1": unit()},
    }
    elements.update(changes)
    system = {"time_keys": ["1", "2", "3"], "time_period_length_minutes": 60, "load_mismatch_cost": 1000.0}
    return {"elements": elements, "system": system}


def parse(data: Json) -> UnitCommitment | SecurityConstrainedCommitment:
    return egret_json.parse(json.dumps(data), SOURCE)


def simple(data: Json) -> UnitCommitment:
    found = parse(data)
    assert isinstance(found, UnitCommitment)
    return found


def secure(data: Json) -> SecurityConstrainedCommitment:
    found = parse(data)
    assert isinstance(found, SecurityConstrainedCommitment)
    return found


def faults_of(data: Json) -> dict[str, str]:
    with pytest.raises(InstanceError) as caught:
        parse(data)
    return {fault.place: str(fault) for fault in caught.value.faults}


def test_a_unit_on_one_bus() -> None:
    instance = simple(day())
    (one,) = instance.thermal
    assert instance.demand_mw.tolist() == [50.0, 60.0, 70.0]
    assert (one.ramp_up_mw, one.ramp_down_mw, one.startup_limit_mw, one.shutdown_limit_mw) == (50.0, 60.0, 40.0, 45.0)
    assert (one.min_up_h, one.min_down_h, one.initial_up_h, one.initial_power_mw) == (3, 2, 5, 30.0)
    assert [(c.lag_h, c.cost) for c in one.startup] == [(2, 50.0), (6, 90.0)]
    # two pieces of the parabola, as Egret has them
    assert [p.power_mw for p in one.production] == [20.0, 60.0, 100.0]
    assert [p.cost for p in one.production] == pytest.approx([54.0, 166.0, 310.0])


def test_pieces_are_cut_to_the_limits() -> None:
    curve = {"data_type": "cost_curve", "cost_curve_type": "piecewise", "values": [[0, 0], [40, 80], [120, 400]]}
    (one,) = simple(day(generator={"G1": unit(p_cost=curve)})).thermal
    assert [(p.power_mw, p.cost) for p in one.production] == [(20.0, 40.0), (40.0, 80.0), (100.0, 320.0)]


def test_fuel_is_priced() -> None:
    fuel = {"data_type": "fuel_curve", "values": [[20, 100], [100, 500]]}
    changes = {"p_cost": None, "p_fuel": fuel, "fuel_cost": 3.0, "startup_fuel": [[2, 7.0]], "startup_cost": None}
    made = unit(**changes, non_fuel_no_load_cost=11.0, non_fuel_startup_cost=5.0)
    (one,) = simple(day(generator={"G1": made})).thermal
    assert [p.cost for p in one.production] == [311.0, 1511.0]
    assert [c.cost for c in one.startup] == [26.0]


def test_what_is_out_of_service_is_left_out() -> None:
    loads = {
        "L1": {"bus": "B1", "p_load": 50.0},
        "L2": {"bus": "B1", "p_load": 7.0, "in_service": False},
        "L3": {"bus": "B1", "p_load": 9.0, "in_service": True},
    }
    assert simple(day(load=loads)).demand_mw.tolist() == [59.0] * 3


def test_a_network_and_what_needs_penalties_is_the_secure_problem() -> None:
    branch = {"from_bus": "B1", "to_bus": "B2", "reactance": 0.05, "rating_long_term": 30.0, "violation_penalty": 2.0}
    instance = secure(day(bus={"B1": {}, "B2": {}}, branch={"K": branch}))
    assert instance.curtailment_penalty is not None
    assert instance.curtailment_penalty.tolist() == [1000.0] * 3
    (line,) = instance.lines
    assert (line.from_bus, line.susceptance, line.limit_mw.tolist()) == ("B1", 20.0, [30.0] * 3)
    assert line.overload_penalty is not None
    assert line.overload_penalty.tolist() == [2.0] * 3
    data = day(generator={"G1": unit(fixed_commitment=series(1, 1, 0)), "G2": unit(shutdown_cost=4.0)})
    data["system"]["reserve_requirement"] = 5.0
    instance = secure(data)
    fixed = instance.thermal[0].fixed_commitment
    assert fixed is not None
    assert fixed.tolist() == [1, 1, 0]
    assert instance.thermal[1].shutdown_cost == 4.0
    assert instance.reserves[0].requirement_mw.tolist() == [5.0] * 3
    assert instance.reserves[0].shortfall_penalty == 100.0


def test_renewables_and_loads_with_a_price() -> None:
    wind = {"generator_type": "renewable", "bus": "B1", "p_min": 0.0, "p_max": series(1.0, 2.0, 3.0)}
    instance = simple(day(generator={"G1": unit(), "W": wind}))
    assert instance.renewable[0].power_max_mw.tolist() == [1.0, 2.0, 3.0]
    loads = {"L1": {"bus": "B1", "p_load": 50.0}, "L2": {"bus": "B1", "p_load": 9.0, "p_price": series(30, 20, 10)}}
    priced = secure(day(load=loads, generator={"G1": unit(), "W": {**wind, "p_cost": -5.0}}))
    assert priced.loads[0].revenue.tolist() == [30.0, 20.0, 10.0]
    assert priced.load_mw.tolist() == [[50.0] * 3]
    assert priced.profiled[0].cost.tolist() == [-5.0] * 3


@pytest.mark.parametrize(
    "kind", ["interface", "security_constraint", "contingency", "storage", "dc_branch", "shunt", "fuel_supply"]
)
def test_kinds_that_are_not_supported_are_named(kind: str) -> None:
    assert "not supported" in faults_of(day(**{kind: {"X": {}}}))[f"elements.{kind}.X"]
    assert isinstance(parse(day(**{kind: {}})), UnitCommitment)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"p_max": "x"}, "p_max"),
        ({"p_max": None}, "p_max"),
        ({"p_max": -1.0}, "p_max"),
        ({"p_max": series(1, 2, 3)}, "p_max"),
        ({"p_min": True}, "p_min"),
        ({"min_up_time": None}, "min_up_time"),
        ({"initial_status": 0}, "initial_status"),
        ({"initial_status": 1e30}, "initial_status"),
        ({"fixed_commitment": 2}, "fixed_commitment"),
        ({"fixed_commitment": series(1, 0)}, "fixed_commitment"),
        ({"startup_cost": [[2]]}, "startup_cost[0]"),
        ({"startup_cost": [["x", 3]]}, "startup_cost[0]"),
        ({"p_cost": 5.0}, "p_cost"),
        ({"p_cost": {"data_type": "cost_curve", "values": [[30, 1], [100, 9]]}}, "p_cost.values"),
        ({"p_cost": {"data_type": "cost_curve", "values": [[0, 1], [0, 9]]}}, "p_cost.values"),
        ({"p_fuel": {"data_type": "fuel_curve", "values": [[0, 1], [100, 9]]}}, "p_cost"),
        ({"startup_curve": [5.0]}, "startup_curve"),
        ({"future_status": 3}, "future_status"),
        ({"aux_fuel_capable": True}, "aux_fuel_capable"),
        ({"bus": 3}, "bus"),
        ({"generator_type": "virtual"}, "generator_type"),
    ],
    ids=range(21),
)
def test_units_name_key_and_value(changes: Json, key: str) -> None:
    assert f"elements.generator.G1.{key}" in faults_of(day(generator={"G1": unit(**changes)}))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda d: d["system"].pop("time_keys"), "system.time_keys"),
        (lambda d: d["system"].update(time_period_length_minutes=15), "system.time_period_length_minutes"),
        (lambda d: d["system"].update(spinning_reserve_requirement=3.0), "system.spinning_reserve_requirement"),
        (lambda d: d["elements"].update(bus={}), "elements.bus"),
        (lambda d: d["elements"].update(bus=3), "elements.bus"),
        (lambda d: d["elements"]["load"]["L1"].update(bus="B9"), "elements.load.L1.bus"),
        (lambda d: d["elements"]["load"]["L1"].update(p_load=series(1.0)), "elements.load.L1.p_load"),
        (lambda d: d["elements"]["load"]["L1"].update(p_load=float("nan")), "elements.load.L1.p_load"),
        (
            lambda d: d["elements"].update(area={"A": {"regulation_up_requirement": 1.0}}),
            "elements.area.A.regulation_up_requirement",
        ),
        (
            lambda d: d["elements"].update(branch={"K": {"from_bus": "B1", "to_bus": "B1", "reactance": 0.0}}),
            "elements.branch.K.reactance",
        ),
    ],
    ids=range(10),
)
def test_files_name_the_place(change: Callable[[Json], object], place: str) -> None:
    data = day()
    change(data)
    assert place in faults_of(data)


def test_the_format_is_found_by_content(tmp_path: Path) -> None:
    (tmp_path / "day.json").write_text(json.dumps(day()))
    instance = apportion.read(tmp_path / "day.json")
    assert isinstance(instance, UnitCommitment)
    assert np.array_equal(instance.demand_mw, [50.0, 60.0, 70.0])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_damage_leads_to_another_error(data: st.DataObject) -> None:
    text = json.dumps(day())
    at, cut = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 30))
    put_in = data.draw(st.sampled_from(["", "null", "NaN", "-1", "[]", "{}", '"x"', "1e400", "true", ","]))
    with contextlib.suppress(InstanceError):
        egret_json.parse(text[:at] + put_in + text[at + cut :], SOURCE)


@pytest.mark.parametrize("text", ["", "3", "[]", "null", '{"elements": 3, "system": []}', "{"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InstanceError):
        egret_json.parse(text, SOURCE)


@pytest.mark.data
@pytest.mark.parametrize("name", ["tiny_uc_9", "tiny_uc_tc_4", "tiny_uc_tc_10"])
def test_results_of_egret_come_out(name: str) -> None:
    folder = data_file("power/egret_uc_tests/tiny_uc_9.json").parent
    cost = json.loads((folder / f"{name}_results.json").read_text())["system"]["total_cost"]
    result = apportion.solve(folder / f"{name}.json", gap=1e-6)
    assert result.verdict is not None
    assert result.verdict.ok
    assert result.objective == pytest.approx(cost, rel=1e-6)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "optimum"),
    [pytest.param(*case, marks=() if case[0] == "test_case_1" else pytest.mark.long) for case in WHOLE_NUMBER_OPTIMA],
    ids=[case[0] for case in WHOLE_NUMBER_OPTIMA],
)
def test_optima_of_egret_lie_between_our_bounds(name: str, optimum: float) -> None:
    result = apportion.solve(data_file(f"power/egret_uc_tests/{name}.json"), gap=1e-3)
    assert result.bounds.gap <= 1e-3
    assert result.bounds.dual <= optimum * (1.0 + 1e-7)
    assert result.bounds.primal >= optimum * (1.0 - 1e-7)
