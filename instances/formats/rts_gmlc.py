"""RTS-GMLC: days of unit commitment from the CSV folder of the Reliability Test System of the Grid Modernization Lab.

A folder has no days of its own, so a small JSON file picks them::

    {"rts_gmlc": "../RTS_Data", "first_day": "2020-03-05", "days": 2}

The folder is named from where that file lies and holds ``SourceData`` and ``timeseries_data_files``. ``repeat`` (true
or false) begins the series again after its last day; ``ramp_minutes`` (60) is for how many minutes of each hour a unit
can ramp. All buses are one.

Units follow what pglib-uc made of the same system: the cost of a point is its heat times the price of the fuel, minimum
times are whole hours, a start leads to the minimum output and a stop begins there, start categories that the minimum
stop makes equal are one. Nuclear units must run. Wind, sun (also concentrated: it has no storage here) and its inflow
may be spilled, rooftop sun and water may not; the battery and the synchronous condensers are left out. The reserve is
the spinning reserve of the three regions. The data hold no state before the first hour: units start in the order of
their cost at full output, as many as the first hour needs, each for a week in its state.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import ceil, isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from apportion.instances.commitment import (
    Floats,
    ProductionPoint,
    RenewableUnit,
    StartupCategory,
    ThermalUnit,
    UnitCommitment,
)
from apportion.instances.errors import Fault, InstanceError
from apportion.instances.files import read_text
from apportion.instances.validation import FaultList

if TYPE_CHECKING:
    from apportion.instances.reading import Source

DAY_H = 24
WEEK_H = 168
MOST_DAYS = 3660

_KEYS = frozenset({"rts_gmlc", "first_day", "days", "repeat", "ramp_minutes", "name"})
_THERMAL = frozenset({"CT", "CC", "STEAM", "NUCLEAR"})
_SPILLED = frozenset({"WIND", "PV", "CSP"})
_GIVEN = frozenset({"RTPV", "HYDRO", "ROR"})
_SERIES = ("hydro", "pv", "rtpv", "wind", "Natural_Inflow")
_NEVER_H = 9999.0
_SMALLEST_STEP_MW = 1e-6
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Choice:
    """Which days of which folder."""

    folder: Path
    first_day: date
    days: int
    repeat: bool = False
    ramp_minutes: float = 60.0
    name: str = ""


def parse(text: str, source: Source) -> UnitCommitment:
    """Read the folder that an index file names.

    Raises
    ------
    InstanceError
        With every fault of the index file, or of the tables, each with its file, row and column.
    """
    return read_rts_gmlc(_choice(text, source))


def read_rts_gmlc(choice: Choice) -> UnitCommitment:
    """Read some days of a folder; see :class:`Choice`."""
    faults = FaultList(str(choice.folder))
    units = _table(faults, choice.folder, "SourceData/gen.csv")
    calendar = _Calendar.of(faults, choice)
    faults.raise_if_any()
    demand = calendar.total("regional_Load", None)
    reserve = np.sum([calendar.total(f"Spin_Up_R{region}", None) for region in (1, 2, 3)], axis=0)
    thermal = [_thermal(faults, row, choice) for row in units if row.text("Unit Type") in _THERMAL]
    renewable = [_renewable(faults, row, calendar) for row in units if row.text("Unit Type") in _SPILLED | _GIVEN]
    for row in units:
        known = row.text("Unit Type") in _THERMAL | _SPILLED | _GIVEN | {"STORAGE", "SYNC_COND"}
        message = "is no type of unit that is known here"
        faults.require(known, row.place("Unit Type"), message, row.text("Unit Type"))
    faults.raise_if_any()
    sources = tuple(unit for unit in renewable if unit is not None)
    fleet = tuple(unit for unit in thermal if unit is not None)
    spare = float(demand[0] + reserve[0]) - sum(float(unit.power_max_mw[0]) for unit in sources)
    last = choice.first_day + timedelta(days=choice.days - 1)
    label = choice.name or (f"rts-gmlc {choice.first_day}" + (f" to {last}" if choice.days > 1 else ""))
    return UnitCommitment(label, demand, reserve, _running(fleet, spare), sources)


def _choice(text: str, source: Source) -> Choice:
    where = str(source.path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InstanceError(where, [Fault("", f"is not JSON: {error}")]) from error
    faults = FaultList(where)
    if not isinstance(data, dict):
        raise InstanceError(where, [Fault("", "must be an object with rts_gmlc, first_day and days", data)])
    for key in sorted(set(data) - _KEYS):
        faults.add(key, "is no key of this format", data[key], f"one of {', '.join(sorted(_KEYS))}")
    folder, days = data.get("rts_gmlc"), data.get("days", 1)
    repeat, minutes, name = data.get("repeat", False), data.get("ramp_minutes", 60.0), data.get("name", "")
    faults.require(
        isinstance(folder, str) and bool(folder), "rts_gmlc", "must name the folder of the CSV files", folder
    )
    faults.require(type(days) is int and 1 <= days <= MOST_DAYS, "days", f"must lie in 1..{MOST_DAYS}", days)
    faults.require(isinstance(repeat, bool), "repeat", "must be true or false", repeat)
    sound = isinstance(minutes, int | float) and not isinstance(minutes, bool) and 0 < minutes <= 60
    faults.require(sound, "ramp_minutes", "must lie in 0..60", minutes)
    faults.require(isinstance(name, str), "name", "must be a text", name)
    first = _day(faults, data.get("first_day"))
    faults.raise_if_any()
    base = Path() if str(source.path) == "-" else source.path.parent
    return Choice(base / str(folder), first, int(days), bool(repeat), float(minutes), str(name))


def _day(faults: FaultList, value: object) -> date:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    faults.add("first_day", "must be a day such as 2020-03-05", value)
    return date.min


@dataclass(frozen=True)
class _Row:
    """A row of a table, which knows where it is."""

    file: str
    line: int
    cells: Mapping[str, str]
    faults: FaultList

    def place(self, column: str) -> str:
        """Where a cell is."""
        return f"{self.file}, line {self.line}, {column}"

    def text(self, column: str) -> str:
        """A cell as it is; empty where the table lacks it."""
        return (self.cells.get(column) or "").strip()

    def number(self, column: str, lower: float = 0.0, upper: float = 1e7) -> float:
        """A cell as a number within limits; a fault, and the lower limit, otherwise."""
        value = _number(self.text(column))
        if value is None or not lower <= value <= upper:
            message = f"must be a number from {lower:g} to {upper:g}"
            self.faults.add(self.place(column), message, self.text(column) or None)
            return lower
        return value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def _table(faults: FaultList, folder: Path, name: str) -> list[_Row]:
    reader = csv.DictReader(io.StringIO(read_text(folder / name)))
    columns = set(reader.fieldnames or ())
    missing = sorted({"GEN UID", "Unit Type", "PMax MW"} - columns)
    for column in missing:
        faults.add(f"{name}, line 1", "lacks the column", column)
    if missing:
        return []
    rows: list[_Row] = []
    lines: dict[str, int] = {}
    try:
        for cells in reader:
            row = _Row(name, reader.line_num, cells, faults)
            uid = row.text("GEN UID")
            faults.require(bool(uid), row.place("GEN UID"), "must not be empty")
            faults.require(uid not in lines, row.place("GEN UID"), f"is also in line {lines.get(uid)}", uid)
            lines.setdefault(uid, row.line)
            rows.append(row)
    except csv.Error as error:
        faults.add(f"{name}, line {reader.line_num}", f"is not CSV: {error}")
    faults.require(bool(rows), name, "holds no unit")
    return rows


@dataclass(frozen=True)
class _Calendar:
    """The hourly tables, cut to the days chosen: column -> values, by table."""

    tables: Mapping[str, Mapping[str, Floats]]
    files: Mapping[str, str]
    periods: int

    @classmethod
    def of(cls, faults: FaultList, choice: Choice) -> _Calendar:
        names = ["regional_Load", *_SERIES, *(f"Spin_Up_R{region}" for region in (1, 2, 3))]
        root = choice.folder / "timeseries_data_files"
        found = {path.name: path for path in sorted(root.glob("*/DAY_AHEAD_*.csv"))}
        tables, files = {}, {}
        for name in names:
            ending = f"_{name}.csv".lower()
            paths = [path for file, path in found.items() if file.lower().endswith(ending)]
            if not paths:
                faults.add(f"timeseries_data_files/*/DAY_AHEAD_*{name}.csv", "is missing")
                continue
            files[name] = str(paths[0].relative_to(choice.folder))
            tables[name] = _series(faults, paths[0], files[name], choice)
        return cls(tables, files, choice.days * DAY_H)

    def total(self, table: str, column: str | None) -> Floats:
        """One column, or the sum of all, shape (periods,)."""
        columns = self.tables[table]
        if column is not None:
            return columns[column]
        summed: Floats = np.round(np.sum(list(columns.values()), axis=0), 6)
        return summed

    def of_unit(self, unit: str) -> Floats | None:
        """The series of a unit, if there is one."""
        for name in _SERIES:
            if unit in self.tables[name]:
                return self.tables[name][unit]
        return None


def _series(faults: FaultList, path: Path, name: str, choice: Choice) -> dict[str, Floats]:
    """The columns of one hourly table for the days chosen."""
    rows = list(csv.reader(io.StringIO(read_text(path)), strict=False))
    header = [cell.strip() for cell in rows[0]] if rows else []
    if header[:4] != ["Year", "Month", "Day", "Period"] or len(header) < 5:
        faults.add(f"{name}, line 1", "must begin with Year,Month,Day,Period and a column of values", header[:5])
        return {}
    if len(set(header)) != len(header):
        faults.add(f"{name}, line 1", "names a column twice")
        return {}
    at: dict[tuple[date, int], int] = {}
    for number, row in enumerate(rows[1:], start=2):
        moment = _moment(row)
        if moment is None or len(row) != len(header):
            faults.add(f"{name}, line {number}", f"must hold a day, a period and {len(header) - 4} values", row[:5])
        elif moment in at:
            faults.add(f"{name}, line {number}", f"repeats the hour of line {at[moment]}", f"{moment[0]} {moment[1]}")
        else:
            at[moment] = number
        if len(faults.faults) > 20:
            return {}
    lines = _lines(faults, name, at, choice)
    table = [[_number(cell) for cell in rows[line - 1][4:]] for line in lines]
    for line, values in zip(lines, table, strict=True):
        for column, value in zip(header[4:], values, strict=True):
            if value is None or not 0.0 <= value <= 1e7:
                message = "must be a number from 0 to 1e+07"
                faults.add(f"{name}, line {line}, {column}", message, rows[line - 1][header.index(column)])
                return {}
    array = np.array(table, dtype=np.float64).reshape(len(lines), len(header) - 4)
    return {column: array[:, k].copy() for k, column in enumerate(header[4:])}


def _moment(row: Sequence[str]) -> tuple[date, int] | None:
    try:
        year, month, day, period = (int(cell) for cell in row[:4])
        return date(year, month, day), period
    except (ValueError, OverflowError):
        return None


def _lines(faults: FaultList, name: str, at: Mapping[tuple[date, int], int], choice: Choice) -> list[int]:
    """The lines of the hours chosen, in order."""
    days = sorted({day for day, _ in at})
    lines: list[int] = []
    for number in range(choice.days):
        day = _day_after(choice.first_day, number)
        if choice.repeat and days and day is not None and choice.first_day in days and day > days[-1]:
            day = days[(days.index(choice.first_day) + number) % len(days)]
        for period in range(1, DAY_H + 1):
            line = at.get((day, period)) if day is not None else None
            if line is None:
                span = f"the file has {days[0]} to {days[-1]}" if days else "the file has no hour"
                faults.add(name, "lacks an hour that was asked for", f"{day}, period {period}", span)
                return []
            lines.append(line)
    return lines


def _day_after(first: date, days: int) -> date | None:
    try:
        return first + timedelta(days=days)
    except OverflowError:
        return None


def _renewable(faults: FaultList, row: _Row, calendar: _Calendar) -> RenewableUnit | None:
    name = row.text("GEN UID")
    series = calendar.of_unit(name)
    if series is None:
        faults.add(row.place("GEN UID"), "has no hourly series", name)
        return None
    most = np.minimum(series, row.number("PMax MW")) if row.text("Unit Type") == "CSP" else series
    least = most if row.text("Unit Type") in _GIVEN else np.zeros(len(most))
    return RenewableUnit(name, least, most)


def _thermal(faults: FaultList, row: _Row, choice: Choice) -> ThermalUnit | None:
    """A unit that is off for a week; :func:`_running` starts some."""
    before = len(faults.faults)
    least, most = row.number("PMin MW"), row.number("PMax MW")
    ramp = row.number("Ramp Rate MW/Min") * choice.ramp_minutes
    down = max(1, ceil(row.number("Min Down Time Hr", upper=1e4)))
    up = max(1, ceil(row.number("Min Up Time Hr", upper=1e4)))
    points = _production(row, least, most)
    startup = _startup(row, down)
    if len(faults.faults) > before or not points:
        return None
    return ThermalUnit(
        name=row.text("GEN UID"),
        power_min_mw=least,
        power_max_mw=most,
        ramp_up_mw=ramp,
        ramp_down_mw=ramp,
        startup_limit_mw=least,
        shutdown_limit_mw=least,
        min_up_h=up,
        min_down_h=down,
        initially_on=False,
        initial_power_mw=0.0,
        initial_up_h=0,
        initial_down_h=max(WEEK_H, down),
        startup=startup,
        production=points,
        must_run=row.text("Unit Type") == "NUCLEAR",
    )


def _production(row: _Row, least: float, most: float) -> tuple[ProductionPoint, ...]:
    """Heat rates (BTU/kWh: the first an average, then increments) times the price of the fuel, and upkeep per MWh."""
    fuel, upkeep = row.number("Fuel Price $/MMBTU"), row.number("VOM")
    shares = [row.number("Output_pct_0", upper=1.0)]
    rates = [row.number("HR_avg_0", upper=1e6)]
    for k in range(1, 5):
        if row.text(f"Output_pct_{k}") in ("", "NA"):
            break
        shares.append(row.number(f"Output_pct_{k}", upper=1.0 + 1e-9))
        rates.append(row.number(f"HR_incr_{k}", upper=1e6))
    if not any(rates[1:]):  # no increments given: the average holds throughout
        rates = [rates[0]] * len(rates)
    powers = [share * most for share in shares]
    powers[0], powers[-1] = least, most
    cost = powers[0] * (rates[0] * fuel / 1000.0 + upkeep)
    points = [ProductionPoint(powers[0], cost)]
    for before, power, rate in zip(powers, powers[1:], rates[1:], strict=False):
        if power - before <= _SMALLEST_STEP_MW:
            row.faults.add(row.place("Output_pct_1"), "must rise from point to point", [round(p, 3) for p in powers])
            return ()
        cost += (power - before) * (rate * fuel / 1000.0 + upkeep)
        points.append(ProductionPoint(power, cost))
    return _convex(points)


def _convex(points: list[ProductionPoint]) -> tuple[ProductionPoint, ...]:
    """The lower convex envelope of the points."""
    kept: list[ProductionPoint] = []
    for point in points:
        while len(kept) >= 2 and _slope(kept[-1], point) < _slope(kept[-2], kept[-1]) * (1.0 - _ROUNDING):
            kept.pop()
        kept.append(point)
    return tuple(kept)


def _slope(one: ProductionPoint, two: ProductionPoint) -> float:
    return (two.cost - one.cost) / (two.power_mw - one.power_mw)


def _startup(row: _Row, min_down_h: int) -> tuple[StartupCategory, ...]:
    """Hot, warm and cold; of those that the minimum stop makes equal the coldest, and never cheaper when colder."""
    fuel, other = row.number("Fuel Price $/MMBTU"), row.number("Non Fuel Start Cost $")
    costs: dict[int, float] = {}
    for kind in ("Hot", "Warm", "Cold"):
        hours = row.number(f"Start Time {kind} Hr", upper=_NEVER_H)
        lag = min_down_h if hours >= _NEVER_H else max(min_down_h, ceil(hours))
        heat = row.number(f"Start Heat {kind} MBTU")
        costs[lag] = heat * fuel + other
    highest = 0.0
    categories: list[StartupCategory] = []
    for lag in sorted(costs):
        highest = max(highest, costs[lag])
        if not categories or highest > categories[-1].cost:
            categories.append(StartupCategory(lag if categories else min_down_h, highest))
    return tuple(categories)


def _running(fleet: tuple[ThermalUnit, ...], needed_mw: float) -> tuple[ThermalUnit, ...]:
    """Start units in the order of their cost per MWh at full output, at least output, until they can carry the rest."""
    order = sorted(fleet, key=lambda u: (not u.must_run, u.production[-1].cost / max(u.power_max_mw, 1e-9), u.name))
    on: set[str] = set()
    carried = 0.0
    for unit in order:
        if carried >= needed_mw and not unit.must_run:
            break
        carried += unit.power_max_mw
        on.add(unit.name)
    return tuple(
        replace(unit, initially_on=True, initial_power_mw=unit.power_min_mw, initial_up_h=WEEK_H, initial_down_h=0)
        if unit.name in on
        else unit
        for unit in fleet
    )
