"""All text that a solve produces, as pure functions; and the JSON form of results and events.

JSON has no infinities: wherever a bound is not known, the strings ``"inf"`` and ``"-inf"`` stand (``"nan"`` likewise),
so that ``float(value)`` restores every number exactly.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import inf, isfinite
from typing import Any, cast

from apportion.instances.core import Json, Plan, Sense
from apportion.instances.plans import PLANS
from apportion.models.verdict import Verdict, Violation
from apportion.solvers.events import Event
from apportion.solvers.result import Agreement, Result, SecondOpinion, Timings
from apportion.solvers.status import Bounds, Limit, Status

TABLE_HEADING = f"{'time':>9}  {'by':<2} {'objective':>16} {'bound':>16} {'gap':>9} {'nodes':>9}"
TABLE_ROW = "{time:>8.1f}s  {letter:<2} {objective:>16} {bound:>16} {gap:>9} {nodes:>9}"
BLOCK_ROW = "{label:<11} {text}"
MOST_SHOWN = 1000

_DIGITS = 10
_PERCENT_DIGITS = 4
_SMALLEST_GAP = 1e-6


def number(value: float) -> str:
    """A number for people: up to ten significant digits, ``-`` when nothing is known.

    >>> number(105.0), number(float("inf"))
    ('105', '-')
    """
    return f"{value:.{_DIGITS}g}" if isfinite(value) else "-"


def percent(fraction: float) -> str:
    """A gap for people.

    >>> percent(0.0476), percent(0.0), percent(1e-15), percent(float("inf"))
    ('4.76 %', '0 %', '<0.0001 %', '-')
    """
    if not isfinite(fraction):
        return "-"
    if 0 < fraction < _SMALLEST_GAP:
        return f"<{100 * _SMALLEST_GAP:g} %"
    return f"{100 * fraction:.{_PERCENT_DIGITS}g} %"


def seconds(value: float) -> str:
    """Seconds for people.

    >>> seconds(0.034), seconds(12.34), seconds(float("inf"))
    ('0.03 s', '12.3 s', 'none')
    """
    if not isfinite(value):
        return "none"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def event_line(event: Event) -> str:
    """One row of the table that grows while a solve runs."""
    return TABLE_ROW.format(
        time=event.time_s,
        letter=event.letter,
        objective=number(event.bounds.primal),
        bound=number(event.bounds.dual),
        gap=percent(event.bounds.gap),
        nodes=event.nodes or "",
    ).rstrip()


def status_text(status: str, limit: str | None) -> str:
    """The status with the limit that stopped the solve.

    >>> status_text("feasible", "time")
    'feasible (time limit)'
    """
    if limit == Limit.INTERRUPTED:
        return f"{status} (interrupted)"
    return f"{status} ({limit} limit)" if limit else status


def block(rows: Iterable[tuple[str, str]]) -> str:
    """Labels and texts under each other, without the empty ones."""
    return "\n".join(BLOCK_ROW.format(label=label, text=text) for label, text in rows if text) + "\n"


def report_rows(data: Json) -> list[tuple[str, str]]:
    """Label and text of each line of the closing report, from the JSON form of a result."""
    timings = Timings(**data["timings"])
    bounds = Bounds(float(data["primal"]), float(data["dual"]))
    return [
        ("instance", data["instance"]),
        ("problem", f"{data['problem']}, {data['sense']}"),
        ("method", data["method"]),
        ("status", status_text(data["status"], data["limit"])),
        ("objective", number(bounds.primal)),
        ("bound", number(bounds.dual)),
        ("gap", percent(bounds.gap)),
        ("time", timing_text(timings)),
        ("memory", f"{timings.peak_memory_mb:.0f} MiB at most" if timings.peak_memory_mb else ""),
        ("counts", _pairs(data["counts"])),
        ("measures", _pairs((data["verdict"] or {}).get("measures", {}))),
        ("further", _pairs(data["extras"])),
        ("check", check_text(data["verdict"])),
        ("verify", _opinion_text(data.get("second_opinion"))),
        ("seed", str(data["seed"])),
        ("solver says", data["native_status"]),
        ("message", data["message"]),
    ]


def timing_text(timings: Timings) -> str:
    """The split of the time.

    >>> timing_text(Timings(read_s=0.5, solve_s=1.0, cpu_s=1.25))
    '1.50 s: read 0.50 s, build 0.00 s, solve 1.00 s, check 0.00 s; CPU 1.25 s'
    """
    parts = ", ".join(
        f"{name} {seconds(getattr(timings, f'{name}_s'))}"
        for name in ("read", "build", "solve", "check", *(("verify",) if timings.verify_s else ()))
    )
    return f"{seconds(timings.total_s)}: {parts}; CPU {seconds(timings.cpu_s)}"


def _opinion_text(opinion: Json | None) -> str:
    return "" if opinion is None else str(_opinion_of(opinion))


def _opinion_of(data: Json) -> SecondOpinion:
    return SecondOpinion(Agreement(data["agreement"]), data["backend"], data["message"])


def _pairs(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number(float(value))}" for name, value in figures.items())


def check_text(verdict: Json | None) -> str:
    """The verdict of the independent check in one line."""
    if verdict is None:
        return "no plan to check"
    broken = len(verdict["violations"])
    if broken:
        return f"FAILS: {broken} violation{'s' * (broken != 1)}, first {_violation(verdict['violations'][0])}"
    return f"the plan keeps every rule, objective recomputed as {number(float(verdict['objective']))}"


def verdict_text(instance: str, verdict: Verdict) -> str:
    """What ``apportion check`` prints: every violation by name and amount."""
    broken = len(verdict.violations)
    rows = [
        ("instance", instance),
        ("verdict", f"{broken} violation{'s' * (broken != 1)}" if broken else "ok: the plan keeps every rule"),
        ("objective", f"{number(verdict.objective)} ({verdict.sense})"),
        *[(name.replace("_", " "), number(float(value))) for name, value in verdict.measures.items()],
    ]
    lines = [f"  {violation}" for violation in verdict.violations[:MOST_SHOWN]]
    if broken > MOST_SHOWN:
        lines.append(f"  and {broken - MOST_SHOWN} more")
    return block(rows) + "".join(f"{line}\n" for line in lines)


def header(pairs: Iterable[tuple[str, str]]) -> str:
    """The opening of the log: what is needed to reproduce it."""
    return block(pairs)


def columns_text(rows: Sequence[Sequence[str]]) -> str:
    """A plain table, columns separated by two spaces: what a pipe gets.

    >>> print(columns_text([["a", "bb"], ["ccc", "d"]]), end="")
    a    bb
    ccc  d
    """
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"


# JSON


def plain(value: float) -> float | str:
    """A number for JSON: infinities and NaN as strings.

    >>> plain(1.5), plain(float("-inf"))
    (1.5, '-inf')
    """
    return value if isfinite(value) else str(float(value))


def event_to_dict(event: Event, instance: str) -> Json:
    """One JSON line of ``--events``."""
    return {
        "instance": instance,
        "event": str(event.kind),
        "time_s": round(event.time_s, 6),
        "primal": plain(event.bounds.primal),
        "dual": plain(event.bounds.dual),
        "gap": plain(event.bounds.gap),
        "letter": event.letter,
        "nodes": event.nodes,
        "message": event.message,
    }


def verdict_to_dict(verdict: Verdict) -> Json:
    """JSON-ready data."""
    return {
        "ok": verdict.ok,
        "objective": plain(verdict.objective),
        "sense": str(verdict.sense),
        "violations": [{**asdict(v), "amount": plain(v.amount)} for v in verdict.violations],
        "measures": {name: plain(value) for name, value in verdict.measures.items()},
    }


def verdict_from_dict(data: Json) -> Verdict:
    """Rebuild from :func:`verdict_to_dict`."""
    violations = tuple(_violation(v) for v in data["violations"])
    measures = {name: _number(value) for name, value in data["measures"].items()}
    return Verdict(float(data["objective"]), Sense(data["sense"]), violations, measures)


def _violation(data: Json) -> Violation:
    return Violation(**{**data, "amount": float(data["amount"])})


def _number(value: Any) -> float:
    return float(value) if isinstance(value, str) else cast("float", value)


def result_to_dict(result: Result[Any], *, with_plan: bool = True) -> Json:
    """A result as JSON-ready data; ``native`` is left out.

    Parameters
    ----------
    result
        Any result.
    with_plan
        Whether the plan itself is kept, which may be large.
    """
    return {
        "instance": result.instance,
        "problem": result.problem,
        "method": result.method,
        "sense": str(result.sense),
        "status": str(result.status),
        "limit": None if result.limit is None else str(result.limit),
        "primal": plain(result.bounds.primal),
        "dual": plain(result.bounds.dual),
        "gap": plain(result.bounds.gap),
        "verdict": None if result.verdict is None else verdict_to_dict(result.verdict),
        "timings": asdict(result.timings),
        "counts": dict(result.counts),
        "extras": {name: plain(value) for name, value in result.extras.items()},
        "seed": result.seed,
        "versions": dict(result.versions),
        "native_status": result.native_status,
        "message": result.message,
        "second_opinion": None if result.second_opinion is None else asdict(result.second_opinion),
        "plan": _plan_dict(result.plan) if with_plan else None,
        "rejected_plan": _plan_dict(result.rejected_plan) if with_plan else None,
    }


def _plan_dict(plan: Plan | None) -> Json | None:
    return None if plan is None else plan.to_dict()


def result_from_dict(data: Json) -> Result[Any]:
    """Rebuild from :func:`result_to_dict`."""
    return Result(
        instance=data["instance"],
        problem=data["problem"],
        method=data["method"],
        sense=Sense(data["sense"]),
        status=Status(data["status"]),
        bounds=Bounds(float(data["primal"]), float(data["dual"])),
        plan=_plan_of(data["problem"], data["plan"]),
        limit=None if data["limit"] is None else Limit(data["limit"]),
        verdict=None if data["verdict"] is None else verdict_from_dict(data["verdict"]),
        timings=Timings(**data["timings"]),
        counts=data["counts"],
        extras={name: _number(value) for name, value in data["extras"].items()},
        seed=data["seed"],
        versions=data["versions"],
        native_status=data["native_status"],
        message=data["message"],
        rejected_plan=_plan_of(data["problem"], data["rejected_plan"]),
        second_opinion=_opinion_of(data["second_opinion"]) if data.get("second_opinion") else None,
    )


def _plan_of(problem: str, data: Json | None) -> Any:
    if data is None:
        return None
    module, name = PLANS[problem]
    return getattr(importlib.import_module(module), name).from_dict(data)


def instance_summary(instance: Any) -> dict[str, object]:
    """The sizes of an instance in its problem's own words."""
    if hasattr(instance, "summary"):
        return dict(instance.summary())
    return {
        "columns": instance.num_columns,
        "integer columns": int(instance.integer.sum()),
        "rows": instance.num_rows,
        "nonzeros": instance.matrix.num_nonzeros,
        "quadratic nonzeros": instance.hessian.num_nonzeros if instance.hessian is not None else 0,
        "ordered sets": len(instance.ordered_sets),
        "indicators": len(instance.indicators),
    }


def summary_text(instance: Any) -> str:
    """What ``apportion show`` prints for an instance."""
    figures = [(name.replace("_", " "), _figure(value)) for name, value in instance_summary(instance).items()]
    pairs = [
        ("name", instance.name),
        ("problem", f"{instance.problem}, {instance.sense}"),
        *[(name, text) for name, text in figures if name not in ("name", "problem", "sense")],
    ]
    width = max(len(label) for label, _ in pairs)
    return "".join(f"{label:<{width}}  {text}\n" for label, text in pairs)


def _figure(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return number(value) if value not in (inf, -inf) else str(value)
