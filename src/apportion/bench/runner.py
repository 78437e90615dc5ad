"""Run a suite: measure, judge, print, keep."""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import inf, isfinite
from pathlib import Path

from apportion.bench.registry import Context, Row, Spec, specs_of
from apportion.instances.errors import OptionError
from apportion.instances.files import write_text
from apportion.solvers.solve import versions

_PEERS = ("pyomo", "linopy", "pyvrp")
_LONG = 1e5
_COLUMNS = ("case", "metric", "ours", "peer", "peer_name", "ratio", "target", "holds", "spread", "note")
_HEADINGS = ("case", "metric", "ours", "peer", "against", "ratio", "target", "holds", "spread", "note")
_PROTOCOL = ("case", "metric", "published", "reproduced", "ours", "target", "holds", "cpu_s")
_PROTOCOL_HEADINGS = ("case", "metric", "published", "reproduced", "ours", "target", "holds", "CPU s")


def run_suite(
    suite: str,
    *,
    only: Sequence[str] | None = None,
    against: Sequence[str] | None = None,
    quick: bool = False,
    limit_s: float | None = None,
    data: Path | None = None,
    json_file: Path | None = None,
    on_row: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Measure every case of ``suite``.

    Parameters
    ----------
    suite
        A registered suite, such as ``"build"``.
    only
        The names of the parts to measure; all when None.
    against
        Peers to measure; all that the suite knows when None. A peer that is not installed makes a row that says so.
    quick
        Only the smallest case of each target.
    limit_s
        Seconds for each solve instead of those of the suite, where it gives all the same.
    data
        The folder of real instances; the environment variable APPORTION_DATA when None; generated stand-ins without.
    json_file
        Where the rows are kept as JSON.
    on_row
        Called with each row as soon as it is there.
    """
    context = Context(quick, frozenset(against) if against else None, _data_folder(data), limit_s=limit_s)
    rows = []
    for row in _rows(_chosen(suite, only), context):
        rows.append(row)
        if on_row is not None:
            on_row(row)
    if json_file is not None:
        write_text(json_file, json.dumps([_plain(row) for row in rows], indent=1) + "\n")
    return rows


def _chosen(suite: str, only: Sequence[str] | None) -> tuple[Spec, ...]:
    known = specs_of(suite)
    names = [registered.name for registered in known]
    for name in only or ():
        if name not in names:
            raise OptionError(f"suite {suite} has no part {name!r}\nMaybe one of {', '.join(names)}")
    return tuple(registered for registered in known if only is None or registered.name in only)


def _rows(specs: Sequence[Spec], context: Context) -> Iterator[Row]:
    known = {**versions(), **_peer_versions()}
    for registered in specs:
        for measured in registered.measure(context):
            yield Row.of(registered.suite, measured, known, registered.name)


def _data_folder(given: Path | None) -> Path | None:
    chosen = given or (Path(os.environ["APPORTION_DATA"]) if "APPORTION_DATA" in os.environ else None)
    if given is not None and not given.is_dir():
        raise OptionError(f"--data {given} is not a folder")
    return chosen if chosen is not None and chosen.is_dir() else None


def _peer_versions() -> dict[str, str]:
    found = {}
    for package in _PEERS:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _plain(row: Row) -> dict[str, object]:
    """A row for JSON, which knows no infinity."""
    return {k: (None if isinstance(v, float) and not isfinite(v) else v) for k, v in asdict(row).items()}


def render_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    return _markdown(_HEADINGS, [[_cell(getattr(row, column)) for column in _COLUMNS] for row in rows])


def render_protocols(rows: Sequence[Row]) -> str:
    """One Markdown table for each part that has published figures: published, reproduced, ours, CPU seconds.

    Empty when no row has any.
    """
    tables = []
    for part in dict.fromkeys(row.part for row in rows):
        some = [row for row in rows if row.part == part and row.published is not None]
        if some:
            body = [[_cell(getattr(row, column)) for column in _PROTOCOL] for row in some]
            tables.append(f"{part}\n\n{_markdown(_PROTOCOL_HEADINGS, body)}")
    return "\n\n".join(tables)


def _markdown(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in [headings, *body]) for i in range(len(headings))]
    lines = [headings, ["-" * width for width in widths], *body]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return "inf" if value == inf else f"{value:.6g}" if abs(value) < _LONG else f"{value:.1f}"
    return str(value)


def alternate(
    runs: Mapping[str, Callable[[], object]], repeats: int, *, warm_up: bool = True
) -> dict[str, tuple[float, ...]]:
    """CPU seconds of each run, in turns so that a noisy machine treats all alike.

    A first round is thrown away when ``warm_up``; garbage is collected before each run and not during it.
    """
    if warm_up:
        for run in runs.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(cpu_seconds(run))
    return {name: tuple(values) for name, values in seconds.items()}


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU seconds of this process over one call, without garbage collection."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        run()
        return time.process_time() - began
    finally:
        gc.enable()


def median_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """The median, and (max - min) / median."""
    middle = statistics.median(values)
    return middle, (max(values) - min(values)) / middle if middle else 0.0
