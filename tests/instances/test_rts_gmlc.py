"""The RTS-GMLC folder: days picked by an index file, units as pglib-uc has them, every fault with its file and line."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import apportion
from apportion.instances.commitment import UnitCommitment
from apportion.instances.errors import InstanceError
from realdata import data_file

FIRST = date(2020, 2, 28)
DAYS = 3
COLUMNS = [
    "GEN UID",
    "Unit Type",
    "PMax MW",
    "PMin MW",
    "Min Down Time Hr",
    "Min Up Time Hr",
    "Ramp Rate MW/Min",
    "Start Time Cold Hr",
    "Start Time Warm Hr",
    "Start Time Hot Hr",
    "Start Heat Cold MBTU",
    "Start Heat Warm MBTU",
    "Start Heat Hot MBTU",
    "Non Fuel Start Cost $",
    "Fuel Price $/MMBTU",
    "Output_pct_0",
    "Output_pct_1",
    "Output_pct_2",
    "Output_pct_3",
    "Output_pct_4",
    "HR_avg_0",
    "HR_incr_1",
    "HR_incr_2",
    "HR_incr_3",
    "HR_incr_4",
    "VOM",
]
UNITS = [
    "S1,STEAM,76,30,4,8,2,12,10,3,5284.8,4861.4,3379.4,0,2.11399,0.4,0.6,0.8,1,NA,13270,6713,8028,8549,NA,0",
    "C1,CT,55,22,2.2,2.2,3.7,1,0.75,0.25,1457.4,1122.5,452.8,10,3.88722,0.4,0.6,0.8,1,NA,13125,6899,7602,7797,NA,1",
    "N1,NUCLEAR,400,396,48,24,20,9999,9999,9999,78978,0,9999,0,0.81035,0.99,0.993,0.997,1,NA,10000,0,0,0,NA,0",
    "W1,WIND,80,0,0,0,0,0,0,0,0,0,0,0,0,0,NA,NA,NA,NA,0,NA,NA,NA,NA,0",
    "P1,PV,50,0,0,0,0,0,0,0,0,0,0,0,0,0,NA,NA,NA,NA,0,NA,NA,NA,NA,0",
    "R1,RTPV,5,0,0,0,0,0,0,0,0,0,0,0,0,0,NA,NA,NA,NA,0,NA,NA,NA,NA,0",
    "H1,HYDRO,9,0,0,0,0,0,0,0,0,0,0,0,0,0,NA,NA,NA,NA,0,NA,NA,NA,NA,0",
    "Z1,CSP,20,3,0,0,0,0,0,0,0,0,0,0,0,0,NA,NA,NA,NA,0,NA,NA,NA,NA,0",
    "B1,STORAGE,50,0,0,0,0,0,0,0,0,0,0,0,0,0,NA,NA,NA,NA,0,NA,NA,NA,NA,0",
]
SERIES = {
    "Load/DAY_AHEAD_regional_Load.csv": ["1", "2"],
    "Hydro/DAY_AHEAD_hydro.csv": ["H1"],
    "PV/DAY_AHEAD_pv.csv": ["P1"],
    "RTPV/DAY_AHEAD_rtpv.csv": ["R1"],
    "WIND/DAY_AHEAD_wind.csv": ["W1"],
    "CSP/DAY_AHEAD_Natural_Inflow.csv": ["Z1"],
    **{f"Reserves/DAY_AHEAD_regional_Spin_Up_R{r}.csv": [f"Spin_Up_R{r}"] for r in (1, 2, 3)},
}


def value(column: str, hour: int) -> float:
    """Something that differs by column and hour."""
    return {"1": 220.0, "2": 230.0, "Z1": 30.0}.get(column, 4.0) + 0.01 * hour


def folder(root: Path) -> Path:
    """A small system of the same shape, three days long."""
    source, series = root / "SourceData", root / "timeseries_data_files"
    source.mkdir(parents=True)
    (source / "gen.csv").write_text("\n".join([",".join(COLUMNS), *UNITS]) + "\n")
    for name, columns in SERIES.items():
        (series / name).parent.mkdir(parents=True, exist_ok=True)
        lines = [",".join(["Year", "Month", "Day", "Period", *columns])]
        for hour in range(24 * DAYS):
            day = FIRST + timedelta(days=hour // 24)
            values = [f"{value(column, hour):g}" for column in columns]
            lines.append(",".join([str(day.year), str(day.month), str(day.day), str(hour % 24 + 1), *values]))
        (series / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("system") / "RTS_Data")


def index(root: Path, **keys: object) -> Path:
    path = root.parent / "days.json"
    path.write_text(json.dumps({"rts_gmlc": root.name, "first_day": "2020-02-28", "days": 2, **keys}))
    return path


def read(path: Path) -> UnitCommitment:
    instance = apportion.read(path)
    assert isinstance(instance, UnitCommitment)
    return instance


def faults_of(path: Path) -> dict[str, str]:
    with pytest.raises(InstanceError) as caught:
        apportion.read(path)
    return {fault.place: str(fault) for fault in caught.value.faults}


def test_days_are_cut_from_the_series(system: Path) -> None:
    instance = read(index(system, first_day="2020-02-29", days=2))
    assert instance.name == "rts-gmlc 2020-02-29 to 2020-03-01"
    assert instance.num_periods == 48
    hours = np.arange(24, 72)
    assert instance.demand_mw == pytest.approx(450.0 + 0.02 * hours)
    assert instance.reserve_mw == pytest.approx(12.0 + 0.03 * hours)
    wind, sun, roof, water, mirror = instance.renewable
    assert wind.power_max_mw == pytest.approx(4.0 + 0.01 * hours)
    assert not wind.power_min_mw.any()
    assert not sun.power_min_mw.any()
    assert np.array_equal(roof.power_min_mw, roof.power_max_mw)
    assert np.array_equal(water.power_min_mw, water.power_max_mw)
    assert mirror.power_max_mw.tolist() == [20.0] * 48  # not more than it can give
    assert "B1" not in {*instance.unit_names, *instance.renewable_names}


def test_units_are_worked_out_by_hand(system: Path) -> None:
    steam, turbine, nuclear = read(index(system)).thermal
    assert (steam.min_down_h, steam.min_up_h, steam.ramp_up_mw, steam.startup_limit_mw) == (4, 8, 120.0, 30.0)
    assert [point.power_mw for point in steam.production] == pytest.approx([30.0, 45.6, 60.8, 76.0])
    first = 30.0 * 13270 * 2.11399 / 1000
    assert steam.production[0].cost == pytest.approx(first)
    assert steam.production[1].cost == pytest.approx(first + 15.6 * 6713 * 2.11399 / 1000)
    lags = [(category.lag_h, round(category.cost, 2)) for category in steam.startup]
    assert lags == [(4, 7144.02), (10, 10276.95), (12, 11172.01)]
    # hours are whole, and a minimum stop longer than all lags leaves the coldest start
    assert (turbine.min_down_h, turbine.min_up_h) == (3, 3)
    assert [(c.lag_h, round(c.cost, 2)) for c in turbine.startup] == [(3, round(1457.4 * 3.88722 + 10.0, 2))]
    assert turbine.production[0].cost == pytest.approx(22.0 * (13125 * 3.88722 / 1000 + 1.0))
    assert nuclear.must_run
    assert nuclear.initially_on
    assert [category.lag_h for category in nuclear.startup] == [48]
    rise = nuclear.production[-1].cost - nuclear.production[0].cost
    assert rise == pytest.approx(4.0 * 10000 * 0.81035 / 1000)  # no increments given: the average


def test_units_start_until_the_first_hour_is_carried(system: Path) -> None:
    steam, turbine, nuclear = read(index(system)).thermal
    assert nuclear.initial_power_mw == 396.0
    assert [unit.initially_on for unit in (steam, turbine)] == [True, False]
    assert turbine.initial_down_h == 168


def test_ramp_minutes_and_names_can_be_set(system: Path) -> None:
    instance = read(index(system, ramp_minutes=20, name="winter"))
    assert instance.name == "winter"
    assert instance.thermal[0].ramp_up_mw == 40.0


def test_series_begin_again_where_that_is_wanted(system: Path) -> None:
    instance = read(index(system, first_day="2020-02-29", days=5, repeat=True))
    assert np.array_equal(instance.demand_mw[48:72], read(index(system, days=1)).demand_mw)
    assert np.array_equal(instance.demand_mw[96:], instance.demand_mw[24:48])
    assert "2020-02-28 to 2020-03-01" in "".join(faults_of(index(system, days=4)).values())


def test_a_day_solves_and_becomes_a_file_of_another_format(system: Path, tmp_path: Path) -> None:
    instance = read(index(system, days=1))
    result = apportion.solve(instance, gap=1e-3)
    assert result.verdict is not None
    assert result.verdict.ok
    apportion.write(instance, tmp_path / "day.json")
    again = read(tmp_path / "day.json")
    assert again.thermal == instance.thermal


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"first_day": "5 March"}, "first_day"),
        ({"first_day": 7}, "first_day"),
        ({"days": 0}, "days"),
        ({"days": True}, "days"),
        ({"days": 1.5}, "days"),
        ({"rts_gmlc": ""}, "rts_gmlc"),
        ({"repeat": "yes"}, "repeat"),
        ({"ramp_minutes": 0}, "ramp_minutes"),
        ({"ramp_minutes": float("nan")}, "ramp_minutes"),
        ({"name": 3}, "name"),
        ({"day": "2020-02-28"}, "day"),
    ],
    ids=str,
)
def test_an_index_file_names_what_is_wrong(system: Path, keys: dict[str, Any], place: str) -> None:
    assert place in faults_of(index(system, **keys))


def test_days_beyond_every_calendar_are_refused(system: Path) -> None:
    assert faults_of(index(system, first_day="9999-12-31", days=3))
    assert faults_of(index(system, first_day="0001-01-01", days=3))


def edit(name: str, change: Callable[[list[list[str]]], object]) -> Callable[[Path], None]:
    """Change the rows of a table."""

    def apply(root: Path) -> None:
        path = root / name
        rows = list(csv.reader(io.StringIO(path.read_text())))
        change(rows)
        path.write_text("\n".join(",".join(row) for row in rows) + "\n")

    return apply


GEN = "SourceData/gen.csv"
LOAD = "timeseries_data_files/Load/DAY_AHEAD_regional_Load.csv"
PMAX, TYPE, PCT1 = COLUMNS.index("PMax MW"), COLUMNS.index("Unit Type"), COLUMNS.index("Output_pct_1")


def put(row: int, column: int, text: str) -> Callable[[list[list[str]]], None]:
    def apply(rows: list[list[str]]) -> None:
        rows[row][column] = text

    return apply


@pytest.mark.parametrize(
    ("name", "change", "place"),
    [
        (GEN, put(1, PMAX, "NaN"), f"{GEN}, line 2, PMax MW"),
        (GEN, put(1, PMAX, "-5"), f"{GEN}, line 2, PMax MW"),
        (GEN, put(1, PMAX, ""), f"{GEN}, line 2, PMax MW"),
        (GEN, put(1, PCT1, "0.1"), f"{GEN}, line 2, Output_pct_1"),
        (GEN, put(1, TYPE, "FUSION"), f"{GEN}, line 2, Unit Type"),
        (GEN, put(2, 0, "S1"), f"{GEN}, line 3, GEN UID"),
        (GEN, put(0, 0, "Name"), f"{GEN}, line 1"),
        (GEN, put(4, 0, "W9"), f"{GEN}, line 5, GEN UID"),
        (GEN, lambda rows: rows.__delitem__(slice(1, None)), GEN),
        (LOAD, put(3, 4, "NaN"), f"{LOAD}, line 4, 1"),
        (LOAD, put(3, 5, "-1"), f"{LOAD}, line 4, 2"),
        (LOAD, put(3, 3, "1"), f"{LOAD}, line 4"),
        (LOAD, put(3, 1, "13"), f"{LOAD}, line 4"),
        (LOAD, lambda rows: rows.__delitem__(7), LOAD),
        (LOAD, put(0, 3, "Hour"), f"{LOAD}, line 1"),
        (LOAD, put(0, 5, "1"), f"{LOAD}, line 1"),
        (LOAD, lambda rows: rows.clear(), LOAD + ", line 1"),
    ],
    ids=range(17),
)
def test_tables_name_file_line_and_column(
    tmp_path: Path, name: str, change: Callable[[list[list[str]]], object], place: str
) -> None:
    root = folder(tmp_path / "RTS_Data")
    edit(name, change)(root)
    assert place in faults_of(index(root))


def test_missing_tables_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "RTS_Data")
    (root / LOAD).unlink()
    assert any("regional_Load" in place for place in faults_of(index(root)))
    (root / GEN).unlink()
    with pytest.raises(InstanceError, match=r"gen\.csv"):
        apportion.read(index(root))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_leads_to_another_error(system: Path, tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([GEN, LOAD]))
    text = (system / name).read_text()
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 40))
    put_in = data.draw(st.sampled_from(["", ",", "\n", '"', "NaN", "1e400", "-1", "x", "\x00"]))
    root = tmp_path / f"copy{data.draw(st.integers(0, 10**9))}" / "RTS_Data"
    if not root.exists():
        folder(root)
    (root / name).write_text(text[:at] + put_in + text[at + cut :])
    with contextlib.suppress(InstanceError):
        apportion.read(index(root))


@pytest.mark.data
def test_the_days_of_pglib_come_out_again(tmp_path: Path) -> None:
    """The same system and the same day: all but the initial states and the concentrated sun, which it leaves out."""
    source = data_file("power/rts-gmlc/SourceData/gen.csv").parents[1]
    known = apportion.read(data_file("power/pglib-uc/rts_gmlc/2020-01-27.json"))
    assert isinstance(known, UnitCommitment)
    path = tmp_path / "day.json"
    keys = {"rts_gmlc": str(source), "first_day": "2020-01-27", "days": 2, "ramp_minutes": 20}
    path.write_text(json.dumps(keys))
    ours = read(path)
    assert ours.demand_mw == pytest.approx(known.demand_mw, abs=0.006)
    assert ours.reserve_mw == pytest.approx(known.reserve_mw, abs=0.002)
    theirs = {unit.name: unit for unit in known.thermal}
    assert set(ours.unit_names) == set(theirs)
    plain = "power_min_mw power_max_mw ramp_up_mw ramp_down_mw startup_limit_mw shutdown_limit_mw min_up_h min_down_h"
    for unit in ours.thermal:
        other = theirs[unit.name]
        for field_name in (*plain.split(), "must_run"):
            assert getattr(unit, field_name) == pytest.approx(getattr(other, field_name)), (unit.name, field_name)
        assert [c.lag_h for c in unit.startup] == [c.lag_h for c in other.startup]
        assert [c.cost for c in unit.startup] == pytest.approx([c.cost for c in other.startup], abs=0.01)
        assert [p.cost for p in unit.production] == pytest.approx([p.cost for p in other.production], abs=0.6)
    sources = {unit.name: unit for unit in known.renewable}
    assert set(ours.renewable_names) == set(sources)
    for source_unit in ours.renewable:
        if source_unit.name != "212_CSP_1":
            other_source = sources[source_unit.name]
            assert source_unit.power_max_mw == pytest.approx(other_source.power_max_mw, abs=0.051)
            assert source_unit.power_min_mw == pytest.approx(other_source.power_min_mw, abs=0.051)
