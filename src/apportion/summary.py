"""The table at the end of a batch: for people, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from apportion.instances.core import Json
from apportion.ledger import BAD_FILE, INTERNAL, MISSING_BACKEND, NO_PLAN, USAGE, Row
from apportion.report import columns_text, number, percent, status_text

SUMMARY: dict[str, bool] = {
    "instance": False,
    "problem": False,
    "status": False,
    "objective": True,
    "bound": True,
    "gap": True,
    "figures": False,
    "seconds": True,
    "check": False,
}
"""The columns, and whether they hold numbers."""

HEADINGS = tuple(SUMMARY)

FAILURES = {
    NO_PLAN: "no plan",
    USAGE: "refused",
    BAD_FILE: "bad file",
    MISSING_BACKEND: "backend missing",
    INTERNAL: "internal error",
}
"""What the status says where there is no result."""

_MOST_FIGURES = 2
_NEEDED_WIDTH = {"figures": 150, "problem": 110}
_STAGES = ("read_s", "build_s", "solve_s", "check_s")


def cells_of(row: Row) -> tuple[str, ...]:
    """A row of the table for people."""
    result = row.result
    if result is None:
        return (row.name, "-", FAILURES.get(row.exit_code, "failed"), "-", "-", "-", "-", "-", "-")
    return (
        row.name,
        result["problem"],
        status_text(result["status"], result["limit"]),
        number(float(result["primal"])),
        number(float(result["dual"])),
        percent(float(result["gap"])),
        _figures(result) or "-",
        f"{_total_s(result):.2f}",
        _check(result),
    )


def _figures(result: Json) -> str:
    figures = {**(result["verdict"] or {}).get("measures", {}), **result["counts"]}
    shown = list(figures.items())[:_MOST_FIGURES]
    return ", ".join(f"{name.replace('_', ' ')} {number(float(value))}" for name, value in shown)


def _total_s(result: Json) -> float:
    return float(sum(result["timings"][stage] for stage in _STAGES))


def _check(result: Json) -> str:
    verdict = result["verdict"]
    return "-" if verdict is None else "ok" if verdict["ok"] else "fails"


def summary_text(rows: Sequence[Row]) -> str:
    """The table for a pipe."""
    return columns_text([HEADINGS, *(cells_of(row) for row in rows)])


def summary_table(rows: Sequence[Row], width: int) -> Any:
    """The table for a terminal of ``width`` characters, a ``rich`` one; a narrow one has fewer columns."""
    from rich.table import Table
    from rich.text import Text

    shown = [name for name in HEADINGS if width >= _NEEDED_WIDTH.get(name, 0)]
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in shown:
        table.add_column(name, justify="right" if SUMMARY[name] else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        cells = dict(zip(HEADINGS, cells_of(row), strict=True))
        tone = "green" if row.exit_code == 0 else "yellow" if row.exit_code in (1, 3) else "red"
        table.add_row(*[Text(cells[name], style=tone if name == "status" else "") for name in shown])
    return table


def records(rows: Sequence[Row]) -> list[Json]:
    """One flat record per row, for JSON; infinities are strings."""
    return [_record(row) for row in rows]


def _record(row: Row) -> Json:
    result = row.result or {}
    timings = result.get("timings") or {}
    return {
        "instance": row.name,
        "file": row.file,
        "problem": result.get("problem"),
        "method": result.get("method"),
        "sense": result.get("sense"),
        "status": result.get("status"),
        "limit": result.get("limit"),
        "objective": result.get("primal"),
        "bound": result.get("dual"),
        "gap": result.get("gap"),
        "seconds": round(_total_s(result), 6) if timings else None,
        **{stage: timings.get(stage) for stage in (*_STAGES, "cpu_s", "peak_memory_mb")},
        "check": _check(result) if result else None,
        "measures": (result.get("verdict") or {}).get("measures", {}),
        "counts": result.get("counts", {}),
        "seed": result.get("seed"),
        "exit_code": row.exit_code,
        "reason": row.reason,
        "files": list(row.files),
        "key": row.key,
    }


def summary_json(rows: Sequence[Row]) -> str:
    """All records as one JSON list."""
    return json.dumps(records(rows), indent=1, allow_nan=False) + "\n"


def summary_csv(rows: Sequence[Row]) -> str:
    """All records as CSV; nested ones as JSON text."""
    flat = [{k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in r.items()} for r in records(rows)]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]) if flat else ["instance"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()
