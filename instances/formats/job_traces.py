"""Traces of jobs: Gavel's and Shockwave's ``.trace``, Gavel's generated list, Chronus' deadlines, the Philly log."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf, isfinite
from pathlib import Path
from types import MappingProxyType

import numpy as np

from apportion.instances.batch_scaling import DATASET_SIZE, LARGEST_BATCH, MODES, ScalingJob
from apportion.instances.errors import Fault, InstanceError, OptionError
from apportion.instances.files import read_text, stem
from apportion.instances.formats.throughput_table import Key, ThroughputTable
from apportion.instances.trace import LATEST_S, MOST_GPUS, JobTrace
from apportion.instances.validation import FaultList

_GAVEL_CELLS, _SHOCKWAVE_CELLS = 10, 12
_MINUTE, _HOUR = 60.0, 3600.0
_MOST_FAULTS = 20
_BATCH = re.compile(r"\A(\S+) \(batch size (\d{1,7})\)\Z")
_PHILLY, _CHRONUS, _GENERATED = "timestamp,duration,num_gpus", "job_id,user,num_gpu,submit_time", "job_id,model,"

TABLE_NAMES = (
    "throughputs.json",
    "physical_cluster_throughputs.json.gz",
    "simulation_throughputs.json.gz",
    "tacc_throughputs.json.gz",
)
"""Where the throughputs of a ``.trace`` are looked for, beside it and one folder up."""


def read_trace(path: str | Path, throughputs: str | Path | None = None, rate_per_hour: float | None = None) -> JobTrace:
    """Read a trace of jobs; suffix and content tell which kind it is.

    Parameters
    ----------
    path
        A ``.trace`` of Gavel or Shockwave, or a CSV file of Chronus, Philly or Gavel's generator; gzip or not.
    throughputs
        The table of throughputs of a ``.trace`` or generated list; by default one of :data:`TABLE_NAMES` nearby.
    rate_per_hour
        How many jobs arrive in an hour, for a generated list.

    Raises
    ------
    InstanceError
        With line, column and value of every fault: a time that goes backwards, a model that the table lacks, a
        number that is none.
    """
    where = Path(path)
    text = read_text(where)
    faults = FaultList(str(where))
    first = text.lstrip()[:200]
    if first.startswith(_CHRONUS):
        trace = _chronus(text, where, faults)
    elif first.startswith(_PHILLY):
        trace = _philly(text, where, faults)
    elif first.startswith(_GENERATED):
        trace = _generated(text, where, _table(where, throughputs), rate_per_hour, faults)
    elif "\t" in first:
        trace = _tabbed(text, where, _table(where, throughputs), faults)
    else:
        hint = "it is a .trace of Gavel or Shockwave, or a CSV file of Chronus or Philly"
        raise InstanceError(str(where), [Fault("line 1", "is no trace that Apportion knows", first[:60], hint)])
    return trace


def _table(path: Path, given: str | Path | None) -> ThroughputTable:
    if given is not None:
        return _only_plain(ThroughputTable.read(Path(given)))
    for folder in (path.parent, path.parent.parent):
        for name in TABLE_NAMES:
            if (folder / name).is_file():
                return _only_plain(ThroughputTable.read(folder / name))
    hint = "name the table with --throughputs FILE"
    raise InstanceError(str(path), [Fault("", "has no table of throughputs beside it", hint=hint)])


def _only_plain(table: ThroughputTable) -> ThroughputTable:
    return table.onto(table.plain_types)


def _tabbed(text: str, path: Path, table: ThroughputTable, faults: FaultList) -> JobTrace:
    lines = [(number, line.split("\t")) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    rows: list[tuple[str, float, int, float, float, float]] = []
    scaling: list[ScalingJob | None] = []
    before = 0.0
    for number, cells in lines:
        if len(cells) not in (_GAVEL_CELLS, _SHOCKWAVE_CELLS):
            faults.add(f"line {number}", f"must have {_GAVEL_CELLS} or {_SHOCKWAVE_CELLS} cells", len(cells))
        else:
            rows.append(_tabbed_row(number, cells, before, table, faults))
            before = rows[-1][-1]
            scaling.append(_scaling(number, cells, table, faults))
        if len(faults.faults) >= _MOST_FAULTS:
            break
    faults.require(bool(rows), "", "has no job")
    faults.raise_if_any()
    keys: list[Key] = [(row[0], row[2]) for row in rows]
    rates = np.array([table.alone[key] for key in keys])
    arrival = np.array([row[5] for row in rows])
    fastest = rates.max(axis=1, initial=0.0)
    alone = np.divide([row[1] for row in rows], fastest, out=np.full(len(rows), inf), where=fastest > 0)
    return JobTrace(
        stem(path),
        table.types,
        tuple(str(number) for number in range(len(rows))),
        arrival,
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows]),
        rates,
        np.array([row[3] for row in rows]),
        np.array([arrival[i] + row[4] * alone[i] if row[4] > 0 else inf for i, row in enumerate(rows)]),
        tuple(row[0] for row in rows),
        tuple(scaling) if any(s is not None for s in scaling) else (),
    )


def _tabbed_row(
    number: int, cells: list[str], before: float, table: ThroughputTable, faults: FaultList
) -> tuple[str, float, int, float, float, float]:
    at = f"line {number}"
    steps = _number(cells[5], f"{at}, total_steps", faults, 1e-9, 1e18)
    gpus = int(_number(cells[6], f"{at}, scale_factor", faults, 1, MOST_GPUS))
    wide = len(cells) == _SHOCKWAVE_CELLS
    weight = _number(cells[8 if wide else 7], f"{at}, priority_weight", faults, 1e-9, 1e9)
    factor = _number(cells[9 if wide else 8], f"{at}, SLO", faults, -1, 1e9)
    arrival = _number(cells[-1], f"{at}, arrival", faults, 0.0, LATEST_S)
    if arrival < before:
        faults.add(f"{at}, arrival", f"goes back in time from {before:g}", arrival, "sort the lines by arrival")
    if (cells[0], gpus) not in table.alone:
        faults.add(f"{at}, job_type", f"is not in the table of throughputs on {gpus} GPUs", cells[0])
    return cells[0], steps, gpus, weight, factor, max(arrival, before)


def _scaling(number: int, cells: list[str], table: ThroughputTable, faults: FaultList) -> ScalingJob | None:
    if len(cells) != _SHOCKWAVE_CELLS:
        return None
    mode, match = cells[7], _BATCH.match(cells[0])
    if mode not in MODES:
        faults.add(f"line {number}, mode", f"must be one of {', '.join(MODES)}", mode)
        return None
    if match is None or match[1] not in DATASET_SIZE or int(match[2]) < 1:
        faults.add(f"line {number}, job_type", "must be a known model with its batch size", cells[0])
        return None
    gpus = cells[6].strip()
    count = int(gpus) if gpus.isascii() and gpus.isdigit() and len(gpus) < 7 else 0
    model, batch = match[1], int(match[2])
    rates = {b: r for b in _batches(batch) if (r := table.alone.get((f"{model} (batch size {b})", count))) is not None}
    scaling = ScalingJob(model, batch, mode, count, MappingProxyType(rates))
    for size in sorted(set(scaling.expected_batches(2)) | {batch}):
        if size not in rates:
            faults.add(f"line {number}, job_type", f"has no throughput at batch size {size}", cells[0])
    return scaling


def _batches(first: int) -> list[int]:
    return sorted({first * 2**k for k in range(6)} | set(LARGEST_BATCH.values()))


def _generated(
    text: str, path: Path, table: ThroughputTable, rate_per_hour: float | None, faults: FaultList
) -> JobTrace:
    if rate_per_hour is None or not 0 < rate_per_hour < inf:
        message = f"{path} holds arrivals for one job an hour, got a rate of {rate_per_hour}"
        raise OptionError(f"{message}\nMaybe --rate 2.6 for that many jobs an hour")
    names, steps, gpus, gaps = [], [], [], []
    needed = ("model", "scale_factor", "total_steps", "unit_interarrival")
    for number, row in _rows(text, needed, faults):
        names.append(row["model"])
        gpus.append(int(_number(row["scale_factor"], f"line {number}, scale_factor", faults, 1, MOST_GPUS)))
        steps.append(_number(row["total_steps"], f"line {number}, total_steps", faults, 1e-9, 1e18))
        gaps.append(_number(row["unit_interarrival"], f"line {number}, unit_interarrival", faults, 0.0, LATEST_S))
        if (names[-1], gpus[-1]) not in table.alone:
            faults.add(f"line {number}, model", f"is not in the table of throughputs on {gpus[-1]} GPUs", names[-1])
        if len(faults.faults) >= _MOST_FAULTS:
            break
    faults.require(bool(names), "", "has no job")
    faults.raise_if_any()
    arrival = np.cumsum(gaps) * _HOUR / rate_per_hour
    rates = np.array([table.alone[key] for key in zip(names, gpus, strict=True)])
    jobs = tuple(str(number) for number in range(len(names)))
    return JobTrace(
        f"{stem(path)}-{rate_per_hour:g}",
        table.types,
        jobs,
        arrival,
        np.array(steps),
        np.array(gpus),
        rates,
        kinds=tuple(names),
    )


def _chronus(text: str, path: Path, faults: FaultList) -> JobTrace:
    """Durations, deadlines and submit times are minutes; deadlines count from the submission."""
    rows: list[tuple[str, float, int, float, float, str]] = []
    columns = ("job_id", "num_gpu", "submit_time", "duration", "expect_time_list", "best_effort", "model_name")
    for number, row in _rows(text, columns, faults):
        at = f"line {number}"
        submitted = _number(row["submit_time"], f"{at}, submit_time", faults, 0.0, LATEST_S / _MINUTE) * _MINUTE
        gpus = int(_number(row["num_gpu"], f"{at}, num_gpu", faults, 0, MOST_GPUS))
        minutes = _number(row["duration"], f"{at}, duration", faults, 0.0, LATEST_S / _MINUTE)
        allowed = _number(row["expect_time_list"].split("-")[-1], f"{at}, expect_time_list", faults, 0.0, LATEST_S)
        best = _number(row["best_effort"], f"{at}, best_effort", faults, 0, 1)
        due = inf if best else submitted + allowed * _MINUTE
        # jobs shorter than a minute are written as 0
        rows.append((row["job_id"], submitted, gpus, max(minutes, 0.5) * _MINUTE, due, row["model_name"]))
        if len(faults.faults) >= _MOST_FAULTS:
            break
    return _timed(path, rows, faults)


def _philly(text: str, path: Path, faults: FaultList) -> JobTrace:
    rows: list[tuple[str, float, int, float, float, str]] = []
    start: datetime | None = None
    for number, row in _rows(text, ("timestamp", "duration", "num_gpus", "cluster"), faults):
        at = f"line {number}"
        seconds = _number(row["duration"], f"{at}, duration", faults, 0.0, LATEST_S)
        gpus = int(_number(row["num_gpus"], f"{at}, num_gpus", faults, 0, MOST_GPUS))
        try:
            moment = datetime.strptime(row["timestamp"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            faults.add(f"{at}, timestamp", "must be a time such as 2017-09-04 10:30:41", row["timestamp"])
            moment = start or datetime(2017, 1, 1, tzinfo=UTC)
        start = moment if start is None else min(start, moment)
        rows.append((str(number - 2), moment.timestamp(), gpus, max(seconds, 1.0), inf, row["cluster"]))
        if len(faults.faults) >= _MOST_FAULTS:
            break
    origin = 0.0 if start is None else start.timestamp()
    return _timed(path, [(n, t - origin, g, d, e, k) for n, t, g, d, e, k in rows], faults)


def _timed(path: Path, rows: list[tuple[str, float, int, float, float, str]], faults: FaultList) -> JobTrace:
    """A trace of durations on one kind of GPU; the rows may come in any order."""
    faults.require(bool(rows), "", "has no job")
    faults.unique("job_id", [row[0] for row in rows])
    faults.raise_if_any()
    rows = sorted(rows, key=lambda row: row[1])
    return JobTrace(
        stem(path),
        ("gpu",),
        tuple(row[0] for row in rows),
        np.array([row[1] for row in rows]),
        np.array([row[3] for row in rows]),
        np.array([row[2] for row in rows]),
        np.ones((len(rows), 1)),
        deadline_s=np.array([row[4] for row in rows]),
        kinds=tuple(row[5] for row in rows),
    )


def _rows(text: str, needed: tuple[str, ...], faults: FaultList) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        missing = [column for column in needed if column not in header]
        if missing or len(set(header)) != len(header):
            faults.add("line 1", f"lacks the column {missing[0]}" if missing else "names a column twice")
            return
        for cells in reader:
            if len(cells) == len(header):
                yield reader.line_num, dict(zip(header, cells, strict=True))
            elif cells:
                faults.add(f"line {reader.line_num}", f"must have {len(header)} cells", len(cells), "it was cut off")
            if len(faults.faults) >= _MOST_FAULTS:
                return
    except csv.Error as error:
        faults.add(f"line {reader.line_num}", f"is not CSV ({error})")


def _number(cell: str, place: str, faults: FaultList, lower: float, upper: float) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and lower <= value <= upper):
        faults.add(place, f"must be a number from {lower:g} to {upper:g}", cell)
        return max(lower, 1.0)
    return value
