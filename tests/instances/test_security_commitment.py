"""Security-constrained commitment: the instance and its faults, its files, and the plan on disk."""

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

from apportion.instances.errors import InstanceError, PlanError
from apportion.instances.formats import security_json, unitcommitment_jl
from apportion.instances.generate.security_commitment import generate_security_commitment
from apportion.instances.reading import Source, read
from apportion.instances.security_commitment import (
    FREE,
    Bus,
    Contingency,
    DirectLink,
    Line,
    ReserveKind,
    SecurityConstrainedCommitment,
    with_parts,
)
from apportion.instances.security_plan import SecureCommitment, names_of
from realdata import data_file

SMALL = generate_security_commitment(seed=1, buses=4, units=3, periods=4)
SOURCE = Source(Path("day.json"))
Json = dict[str, Any]

TINY: Json = {
    "Parameters": {"Version": "0.4", "Time horizon (h)": 3, "Power balance penalty ($/MW)": 900.0},
    "Generators": {
        "g1": {
            "Bus": "b1",
            "Production cost curve (MW)": [10, 40, 80],
            "Production cost curve ($)": [100, 400, 1000],
            "Startup costs ($)": [50.0, 80.0],
            "Startup delays (h)": [1, 3],
            "Initial status (h)": 5,
            "Initial power (MW)": 40.0,
            "Reserve eligibility": ["r1"],
            "Commitment status": [True, None, None],
        },
        "g2": {"Bus": "b2", "Type": "Profiled", "Maximum power (MW)": [5, 6, 7], "Cost ($/MW)": 1.0},
    },
    "Buses": {"b1": {"Load (MW)": 0.0}, "b2": {"Load (MW)": [30, 35, 40]}},
    "Transmission lines": {
        "l1": {"Source bus": "b1", "Target bus": "b2", "Reactance (ohms)": 0.1, "Susceptance (S)": 10.0},
        "l2": {
            "Source bus": "b1",
            "Target bus": "b2",
            "Susceptance (S)": 10.0,
            "Normal flow limit (MW)": 30.0,
            "Emergency flow limit (MW)": 40.0,
        },
    },
    "Contingencies": {"c1": {"Affected lines": ["l1"]}},
    "Reserves": {"r1": {"Type": "spinning", "Amount (MW)": 5.0}},
    "Storage units": {
        "s1": {
            "Bus": "b2",
            "Maximum level (MWh)": 10.0,
            "Charge cost ($/MW)": 0.1,
            "Discharge cost ($/MW)": 0.1,
            "Maximum charge rate (MW)": 4.0,
            "Maximum discharge rate (MW)": 4.0,
        }
    },
    "Price-sensitive loads": {"p1": {"Bus": "b1", "Demand (MW)": 3.0, "Revenue ($/MW)": [1, 20, 30]}},
}


def faults_of(make: Callable[[], object]) -> dict[str, str]:
    with pytest.raises(InstanceError) as caught:
        make()
    return {fault.place: str(fault) for fault in caught.value.faults}


def changed(change: Callable[[Json], object]) -> str:
    data = json.loads(json.dumps(TINY))
    change(data)
    return json.dumps(data)


def parse(text: str) -> SecurityConstrainedCommitment:
    return unitcommitment_jl.parse(text, SOURCE)


def test_summary_and_sizes() -> None:
    summary = SMALL.summary()
    assert (summary["buses"], summary["thermal units"], summary["periods"]) == (4, 3, 4)
    assert SMALL.load_mw.shape == (4, 4)
    assert SMALL.line_index[SMALL.lines[2].name] == 2
    with pytest.raises(ValueError, match="read-only"):
        SMALL.lines[0].limit_mw[0] = 1.0


def test_faults_are_reported_at_once() -> None:
    line = SMALL.lines[0]
    bad = Line(line.name, "bus-1", "nowhere", 0.0, np.full(4, np.nan), np.full(4, -1.0))
    faults = faults_of(lambda: with_parts(SMALL, lines=(*SMALL.lines, bad), thermal=SMALL.thermal * 2))
    assert "names nothing that there is" in faults[f"lines[{line.name}].to_bus"]
    assert "other than 0" in faults[f"lines[{line.name}].susceptance"]
    assert "must be a number" in faults[f"lines[{line.name}].limit_mw[0]"]
    assert "at least 0" in faults[f"lines[{line.name}].emergency_limit_mw[2]"]
    assert "name of another" in faults[f"lines[{line.name}].name"]
    assert "name of another unit" in faults[f"thermal[{SMALL.thermal[0].name}].name"]


@pytest.mark.parametrize(
    ("parts", "place", "message"),
    [
        ({"period_h": 0.0}, "period_h", "positive number of hours"),
        ({"curtailment_penalty": np.full(3, 1.0)}, "curtailment_penalty", "shape"),
        ({"surplus_penalty": np.full(4, -1.0)}, "surplus_penalty[0]", "at least 0"),
        ({"buses": ()}, "buses", "at least one bus"),
        ({"contingencies": (Contingency("c", ()),)}, "contingencies[c].lines", "at least one line"),
        ({"contingencies": (Contingency("c", ("line-1", "line-1")),)}, "contingencies[c].lines", "each line once"),
        ({"links": (DirectLink("d", "bus-1", "bus-1", 5.0, 5.0),)}, "links[d].to_bus", "another bus"),
        ({"links": (DirectLink("d", "bus-1", "bus-2", -5.0, 5.0),)}, "links[d].limit_mw", "from 0"),
    ],
    ids=["period", "shape", "negative", "no bus", "empty outage", "line twice", "loop", "negative link"],
)
def test_one_fault(parts: Json, place: str, message: str) -> None:
    assert message in faults_of(lambda: with_parts(SMALL, **parts))[place]


def test_outage_that_splits_is_refused() -> None:
    ring = [line.name for line in SMALL.lines if "bus-1" in (line.from_bus, line.to_bus)]
    faults = faults_of(lambda: with_parts(SMALL, contingencies=(Contingency("all", tuple(ring)),)))
    assert "splits the network" in faults["contingencies[all].lines"]
    chain = with_parts(SMALL, lines=SMALL.lines[:3], contingencies=())
    faults = faults_of(lambda: with_parts(chain, contingencies=(Contingency("one", (chain.lines[1].name,)),)))
    assert "splits the network" in faults["contingencies[one].lines"]


def test_island_without_generation_is_refused() -> None:
    lonely = Bus("lonely", np.full(4, 3.0))
    faults = faults_of(lambda: with_parts(SMALL, buses=(*SMALL.buses, lonely)))
    assert "without generation" in faults["buses[lonely]"]
    linked = with_parts(SMALL, buses=(*SMALL.buses, lonely), links=(DirectLink("cable", "bus-1", "lonely", 10.0, 0.0),))
    assert len(linked.links) == 1


def test_own_json_round_trip_is_exact(tmp_path: Path) -> None:
    text = security_json.render(SMALL)
    again = security_json.parse(text, SOURCE)
    assert security_json.render(again) == text
    path = tmp_path / "day.json"
    path.write_text(text)
    found = read(path)
    assert isinstance(found, SecurityConstrainedCommitment)
    assert found.summary() == SMALL.summary()
    assert np.array_equal(found.load_mw, SMALL.load_mw)


def test_shipped_file_is_the_generated_one() -> None:
    from importlib.resources import files

    path = Path(str(files("apportion.instances") / "data" / "security_small.json"))
    made = generate_security_commitment(seed=4, buses=5, units=4, periods=8)
    assert path.read_text() == security_json.render(made)


@pytest.mark.parametrize("spoil", ["lines", "thermal", "buses", "storage", "reserves"])
def test_own_json_names_the_path(spoil: str) -> None:
    data = json.loads(security_json.render(SMALL))
    data[spoil][0]["name"] = 7
    data[spoil][0]["oops"] = 1
    faults = faults_of(lambda: security_json.parse(json.dumps(data), SOURCE))
    assert any(place.startswith(f"{spoil}[0].") for place in faults)


def test_reader_reads_every_section() -> None:
    day = parse(json.dumps(TINY))
    (sited,) = day.thermal
    assert sited.fixed_commitment is not None
    assert sited.fixed_commitment.tolist() == [1, FREE, FREE]
    assert sited.unit.initially_on
    assert [point.cost for point in sited.unit.production] == [100.0, 400.0, 1000.0]
    assert day.profiled[0].power_max_mw.tolist() == [5.0, 6.0, 7.0]
    assert np.isinf(day.lines[0].limit_mw).all()
    assert day.lines[1].emergency_limit_mw.tolist() == [40.0] * 3
    assert day.reserves[0].kind is ReserveKind.SPINNING
    assert day.reserves[0].shortfall_penalty is None
    assert day.storage[0].last_max_mwh == 10.0
    assert day.loads[0].revenue.tolist() == [1.0, 20.0, 30.0]
    assert day.curtailment_penalty is not None
    assert day.curtailment_penalty[0] == 900.0


def test_reader_repairs_what_the_package_repairs() -> None:
    def spoil(data: Json) -> None:
        unit = data["Generators"]["g1"]
        unit["Production cost curve (MW)"] = [10, 40, 40, 80]
        unit["Production cost curve ($)"] = [100, 700, 700, 900]
        unit["Startup limit (MW)"] = 5.0
        unit["Startup costs ($)"] = [80.0, 50.0]

    (sited,) = parse(changed(spoil)).thermal
    assert [point.cost for point in sited.unit.production] == [100.0, 700.0, 1500.0]
    assert sited.unit.startup_limit_mw == 10.0
    assert [category.cost for category in sited.unit.startup] == [80.0, 80.0]


def test_sub_hourly_steps_scale_times_alone() -> None:
    def spoil(data: Json) -> None:
        data["Parameters"]["Time step (min)"] = 30
        data["Parameters"]["Time horizon (h)"] = 1.5
        data["Generators"]["g1"]["Minimum uptime (h)"] = 2

    day = parse(changed(spoil))
    assert (day.period_h, day.num_periods) == (0.5, 3)
    assert day.thermal[0].unit.min_up_h == 4
    assert day.thermal[0].unit.initial_up_h == 10
    assert [category.lag_h for category in day.thermal[0].unit.startup] == [2, 6]


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (lambda d: d.pop("Generators"), "Generators", "missing"),
        (lambda d: d["Parameters"].update({"Version": "0.9"}), "Parameters.Version", "at most 0.4"),
        (lambda d: d["Parameters"].update({"Time step (min)": 7}), "Parameters.Time step (min)", "divisor"),
        (lambda d: d["Buses"]["b2"].update({"Load (MW)": [1, 2]}), "Buses.b2.Load (MW)", "3 numbers"),
        (lambda d: d["Generators"]["g1"].update({"Bus": "b9"}), "Generators.g1.Bus", "names nothing"),
        (lambda d: d["Generators"]["g1"].pop("Bus"), "Generators.g1.Bus", "missing"),
        (lambda d: d["Generators"]["g1"].update({"Ramp up limit (MW)": -1}), "Generators.g1.Ramp up limit (MW)", "0"),
        (lambda d: d["Generators"]["g1"].update({"Type": "Solar"}), "Generators.g1.Type", "Thermal or Profiled"),
        (lambda d: d["Generators"]["g1"].update({"Initial status (h)": 0}), "Generators.g1.Initial status (h)", "0"),
        (
            lambda d: d["Transmission lines"]["l1"].update({"Reactance (ohms)": 0.0}),
            "Transmission lines.l1.Reactance (ohms)",
            "must not be 0",
        ),
        (
            lambda d: d["Transmission lines"]["l1"].update({"Susceptance (S)": 0.0}),
            "Transmission lines.l1.Susceptance (S)",
            "other than 0",
        ),
        (
            lambda d: d["Transmission lines"].pop("l2"),
            "Contingencies.c1.Affected lines",
            "splits",
        ),
        (
            lambda d: d["Contingencies"]["c1"].update({"Affected units": ["g1"]}),
            "Contingencies.c1.Affected units",
            "empty",
        ),
        (lambda d: d["Reserves"]["r1"].update({"Type": "magic"}), "Reserves.r1.Type", "spinning"),
    ],
    ids=[
        "no generators",
        "version",
        "step",
        "hours missing",
        "bus unknown",
        "bus missing",
        "negative ramp",
        "type",
        "status",
        "reactance",
        "susceptance",
        "splits",
        "unit outage",
        "reserve type",
    ],
)
def test_reader_names_the_place(change: Callable[[Json], object], place: str, message: str) -> None:
    faults = faults_of(lambda: parse(changed(change)))
    assert message in faults[place], faults


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_no_other_error_however_broken_the_file_is(data: st.DataObject) -> None:
    text = json.dumps(TINY)
    junk: st.SearchStrategy[Any] = st.sampled_from(
        [None, -1, 0, 1e400, -1e30, "x", [], {}, True, [None], [[1]], float("nan"), {"a": 1}]
    )
    broken = json.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        node: Any = broken
        while isinstance(node, dict) and node:
            key = data.draw(st.sampled_from(sorted(node)))
            if not isinstance(node[key], dict) or data.draw(st.booleans()):
                node[key] = data.draw(junk)
                break
            node = node[key]
    with contextlib.suppress(InstanceError):
        parse(json.dumps(broken))
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(InstanceError):
        parse(text[:cut])


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_own_json_never_raises_another_error(data: st.DataObject) -> None:
    broken = json.loads(security_json.render(SMALL))
    junk: st.SearchStrategy[Any] = st.sampled_from([None, -1, 1e400, "x", [], {}, True, [None], [[1]], float("nan")])
    key = data.draw(st.sampled_from(sorted(broken)))
    if isinstance(broken[key], list) and broken[key] and data.draw(st.booleans()):
        part = broken[key][0]
        part[data.draw(st.sampled_from(sorted(part)))] = data.draw(junk)
    else:
        broken[key] = data.draw(junk)
    with contextlib.suppress(InstanceError):
        security_json.parse(json.dumps(broken), SOURCE)


def _some_plan() -> SecureCommitment:
    names: Json = names_of(SMALL)
    shape = {key: (len(rows), SMALL.num_periods) for key, rows in names.items()}
    zero = {key: np.zeros(size) for key, size in shape.items()}
    return SecureCommitment(
        **names,
        committed=np.ones(shape["unit_names"], np.bool_),
        power_mw=zero["unit_names"] + 1.5,
        profiled_mw=zero["profiled_names"],
        charge_mw=zero["storage_names"],
        discharge_mw=zero["storage_names"],
        level_mwh=zero["storage_names"],
        served_mw=zero["load_names"],
        link_mw=zero["link_names"],
        curtailed_mw=zero["bus_names"],
        surplus_mw=zero["bus_names"],
        reserve_mw={"spinning": zero["unit_names"]},
    )


def test_plan_round_trip_and_alignment() -> None:
    plan = _some_plan()
    data = json.loads(json.dumps(plan.to_dict()))
    assert SecureCommitment.from_dict(data) == plan
    reordered = {**data, "power_mw": dict(reversed(data["power_mw"].items()))}
    assert SecureCommitment.from_dict(reordered) == plan
    assert plan.aligned_to(SMALL) == plan
    data["power_mw"].pop(SMALL.thermal[0].name)
    with pytest.raises(PlanError, match="same rows"):
        SecureCommitment.from_dict(data)


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "case14",
        "case14-flex",
        "case14-fixed-status",
        "case14-profiled",
        "case14-storage",
        "case14-sub-hourly",
        "ucjl-0.3",
    ],
)
def test_fixtures_of_the_package_are_read(name: str) -> None:
    found = read(data_file(f"power/unitcommitment_jl/fixtures/{name}.json.gz"))
    assert isinstance(found, SecurityConstrainedCommitment)
    assert len(found.buses) == 14
    assert len(found.contingencies) == 19
