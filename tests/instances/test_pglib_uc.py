"""The pglib-uc reader: what it reads, and that everything wrong is one clear error."""

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

from apportion.instances.commitment import UnitCommitment
from apportion.instances.errors import InstanceError
from apportion.instances.formats import pglib_uc
from apportion.instances.generate.commitment import generate_commitment
from apportion.instances.reading import Source, read
from realdata import data_file

SOURCE = Source(Path("day.json"))
DAY = generate_commitment(seed=5, units=4, periods=6)
TEXT = pglib_uc.render(DAY)
COAL = "thermal_generators.coal-1"
Json = dict[str, Any]


def parse(text: str) -> UnitCommitment:
    return pglib_uc.parse(text, SOURCE)


def faults_of(text: str) -> dict[str, str]:
    with pytest.raises(InstanceError) as caught:
        parse(text)
    assert caught.value.source == "day.json"
    return {fault.place: str(fault) for fault in caught.value.faults}


def changed(change: Callable[[Json], object]) -> str:
    data = json.loads(TEXT)
    change(data)
    return json.dumps(data)


def coal(data: Json) -> Json:
    unit: Json = data["thermal_generators"]["coal-1"]
    return unit


def test_round_trip_is_exact() -> None:
    again = parse(TEXT)
    assert pglib_uc.render(again) == TEXT
    assert again.thermal == DAY.thermal
    assert np.array_equal(again.demand_mw, DAY.demand_mw)
    assert np.array_equal(again.renewable[1].power_max_mw, DAY.renewable[1].power_max_mw)


def test_shipped_day_is_found_by_content() -> None:
    path = Path(pglib_uc.__file__).parents[1] / "data" / "commitment_small.json"
    day = read(path)
    assert isinstance(day, UnitCommitment)
    assert day.name == "commitment_small"
    assert (day.num_units, day.num_periods) == (12, 24)


def test_inner_names_may_be_left_out() -> None:
    assert parse(changed(lambda data: coal(data).pop("name"))).thermal == DAY.thermal


@pytest.mark.parametrize(
    ("change", "place", "says"),
    [
        (lambda d: coal(d).update(power_output_minimum=9e4), f"{COAL}.power_output_minimum", "at most the maximum"),
        (lambda d: coal(d).update(ramp_up_limit=-1.0), f"{COAL}.ramp_up_limit", "got -1.0"),
        (lambda d: coal(d).update(ramp_down_limit=1e30), f"{COAL}.ramp_down_limit", "1e+30"),
        (lambda d: coal(d).update(time_up_t0=0), f"{COAL}.time_up_t0", "at least 1 as the unit is on"),
        (lambda d: coal(d).update(time_down_t0=3), f"{COAL}.time_down_t0", "must be 0 as the unit is on"),
        (lambda d: coal(d).update(unit_on_t0=0), f"{COAL}.time_down_t0", "at least 1 as the unit is off"),
        (lambda d: coal(d).update(power_output_t0=1.0), f"{COAL}.power_output_t0", "must lie in"),
        (lambda d: coal(d).update(unit_on_t0=2), f"{COAL}.unit_on_t0", "less than or equal to 1"),
        (lambda d: coal(d).update(must_run="yes"), f"{COAL}.must_run", "got 'yes'"),
        (lambda d: coal(d).update(must_run=True), f"{COAL}.must_run", "got True"),
        (lambda d: coal(d).update(time_up_minimum=2.5), f"{COAL}.time_up_minimum", "got 2.5"),
        (lambda d: coal(d).update(time_up_minimum=-2), f"{COAL}.time_up_minimum", "greater than or equal to 0"),
        (lambda d: coal(d).update(time_up_minimum=10**400), f"{COAL}.time_up_minimum", "must be a number from 0"),
        (lambda d: coal(d).pop("ramp_up_limit"), f"{COAL}.ramp_up_limit", "is missing"),
        (lambda d: coal(d).update(ramp_limit=1.0), f"{COAL}.ramp_limit", "no key of this format"),
        (lambda d: coal(d).update(name="coal-9"), f"{COAL}.name", "must be the key"),
        (lambda d: coal(d).update(startup=[]), f"{COAL}.startup", "at least one category"),
        (lambda d: coal(d)["startup"][1].update(lag=1), f"{COAL}.startup[1].lag", "of the category before"),
        (lambda d: coal(d)["startup"][0].update(lag=99), f"{COAL}.startup[0].lag", "at most the minimum stop"),
        (lambda d: coal(d)["startup"][1].update(cost=0.5), f"{COAL}.startup[1].cost", "hotter category"),
        (lambda d: coal(d)["startup"][0].update(cost=float("nan")), f"{COAL}.startup[0].cost", "finite"),
        (lambda d: coal(d).update(piecewise_production=[]), f"{COAL}.piecewise_production", "at least one point"),
        (
            lambda d: coal(d)["piecewise_production"][1].update(mw=1.0),
            f"{COAL}.piecewise_production[1].mw",
            "more than",
        ),
        (
            lambda d: coal(d)["piecewise_production"][0].update(mw=1.0),
            f"{COAL}.piecewise_production[0].mw",
            "must equal",
        ),
        (
            lambda d: coal(d)["piecewise_production"][1].update(cost=1e6),
            f"{COAL}.piecewise_production[2].cost",
            "convex",
        ),
        (lambda d: d.update(time_periods=7), "demand", "one number for each of the 7 periods"),
        (lambda d: d["demand"].pop(), "demand", "hours are missing"),
        (lambda d: d["demand"].__setitem__(2, float("nan")), "demand[2]", "finite"),
        (lambda d: d["demand"].__setitem__(2, -4.0), "demand[2]", "at least 0, got -4.0"),
        (lambda d: d["demand"].__setitem__(2, None), "demand[2]", "valid number"),
        (lambda d: d.update(demand="much"), "demand", "valid list"),
        (lambda d: d.pop("thermal_generators"), "thermal_generators", "is missing"),
        (lambda d: d.update(thermal_generators=[]), "thermal_generators", "valid dictionary"),
        (
            lambda d: d["renewable_generators"]["wind-1"]["power_output_minimum"].__setitem__(0, 1e6),
            "renewable_generators.wind-1.power_output_minimum[0]",
            "at most the maximum",
        ),
        (
            lambda d: d["renewable_generators"]["wind-1"]["power_output_maximum"].pop(),
            "renewable_generators.wind-1.power_output_maximum",
            "6 periods, got 5",
        ),
        (
            lambda d: d["renewable_generators"].update(
                {"coal-1": d["renewable_generators"]["solar-2"] | {"name": None}}
            ),
            "renewable_generators.coal-1.name",
            "another unit",
        ),
    ],
)
def test_fault_names_path_and_value(change: Callable[[Json], object], place: str, says: str) -> None:
    faults = faults_of(changed(change))
    assert place in faults, faults
    assert says in faults[place]


def test_all_faults_come_at_once() -> None:
    def spoil(data: Json) -> None:
        coal(data).update(ramp_up_limit=-1.0, ramp_down_limit=-2.0)
        data["demand"][1] = -3.0

    ramps = {f"{COAL}.ramp_up_limit", f"{COAL}.ramp_down_limit"}
    assert set(faults_of(changed(spoil))) == {"demand[1]", *ramps}


def test_must_run_unit_that_may_not_start() -> None:
    def spoil(data: Json) -> None:
        unit = data["thermal_generators"]["peaker-4"]
        unit.update(must_run=1, unit_on_t0=0, time_up_t0=0, power_output_t0=0.0, time_down_t0=1, time_down_minimum=3)

    assert "minimum stop of 3 h" in faults_of(changed(spoil))["thermal_generators.peaker-4.must_run"]


def test_repeated_keys_are_named() -> None:
    twice = TEXT.replace('"peaker-4": {', '"coal-1": {').replace('"name": "peaker-4"', '"name": "coal-1"')
    assert "appears twice" in faults_of(twice)[COAL]
    assert (
        "appears twice"
        in faults_of(TEXT.replace('"must_run": 0', '"must_run": 0, "must_run": 1', 1))[f"{COAL}.must_run"]
    )


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "[" * 100_000, "{}", '"demand":', "1" * 5000, "\x00", "NaN"])
def test_not_a_file_of_this_kind(text: str) -> None:
    faults_of(text)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(TEXT) - 2))
def test_truncated_anywhere(end: int) -> None:
    faults_of(TEXT[:end])


def _paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        found += _paths(part, (*here, key))
    return found


PATHS = _paths(json.loads(TEXT))
WILD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.lists(st.floats(), max_size=3),
    st.just(10**400),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), WILD), min_size=1, max_size=3))
def test_any_value_anywhere_is_read_or_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    data = json.loads(TEXT)
    for path, value in changes:
        place = data
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
        except (TypeError, KeyError, IndexError):  # an earlier change took the place away
            continue
    day = None
    with contextlib.suppress(InstanceError):  # anything else would be a leak
        day = parse(json.dumps(data))
    assert day is None or np.isfinite(day.demand_mw).all()


@settings(max_examples=30, deadline=None)
@given(st.permutations(list(json.loads(TEXT))))
def test_order_of_keys_does_not_matter(order: list[str]) -> None:
    data = json.loads(TEXT)
    assert parse(json.dumps({key: data[key] for key in order})).thermal == DAY.thermal


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "units"), [("rts_gmlc/2020-06-09", 73), ("ca/Scenario400_reserves_1", 610), ("ferc/2015-05-01_lw", 978)]
)
def test_real_files(name: str, units: int) -> None:
    day = read(data_file(f"power/pglib-uc/{name}.json"))
    assert isinstance(day, UnitCommitment)
    assert (day.num_units, day.num_periods) == (units, 48)
    again = parse(pglib_uc.render(day))
    assert again.thermal == day.thermal
    assert np.array_equal(again.reserve_mw, day.reserve_mw)
