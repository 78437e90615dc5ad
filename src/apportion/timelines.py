"""Pictures of simulations as Vega-Lite specifications: who ran on which GPU, how busy they were, how fair it was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apportion.instances.core import Json
from apportion.pictures import SCHEMA, WIDTH
from apportion.scheduling.simulator.record import Simulation

_MOST_BARS = 4000
_MOST_POINTS = 400
_HOUR = 3600.0


def gantt(outcome: Simulation) -> Json:
    """One bar for each stretch of work on each GPU; the first of them when there are very many."""
    trace, fleet, work = outcome.trace, outcome.fleet, outcome.stretches
    rows: list[Json] = []
    for place in range(len(work)):
        job, kind = int(work.job[place]), fleet.types[int(work.kind[place])]
        gpus = work.gpus[place] if work.gpus else ()
        lanes = [f"{kind} {gpu:03d}" for gpu in gpus] or [kind]
        span = {"start_h": work.start_s[place] / _HOUR, "end_h": work.end_s[place] / _HOUR}
        rows += [{"gpu": lane, "job": trace.jobs[job], **{k: float(v) for k, v in span.items()}} for lane in lanes]
        if len(rows) >= _MOST_BARS:
            break
    cut = " (the first stretches)" if len(rows) >= _MOST_BARS else ""
    title = f"{outcome.policy} on {trace.name}: which job ran on which GPU{cut}"
    return {
        **_frame(title, rows),
        "mark": {"type": "bar", "height": {"band": 0.9}},
        "encoding": {
            "x": {"field": "start_h", "type": "quantitative", "title": "hours"},
            "x2": {"field": "end_h"},
            "y": {"field": "gpu", "type": "nominal", "title": None},
            "color": {"field": "job", "type": "nominal", "legend": None},
            "tooltip": [{"field": name, "type": "nominal"} for name in ("job", "gpu", "start_h", "end_h")],
        },
    }


def utilisation_curves(outcomes: Sequence[Simulation]) -> Json:
    """Busy GPUs over time, in percent of all, one line for each policy."""
    rows: list[Json] = []
    for outcome in outcomes:
        edges = np.linspace(0.0, max(outcome.end_s, 1.0), _MOST_POINTS + 1)
        busy = _busy(outcome, edges)
        share = 100.0 * busy / (np.diff(edges) * max(1, outcome.fleet.total))
        rows += [
            {"policy": _label(outcome), "hour": float(edge) / _HOUR, "percent": float(value)}
            for edge, value in zip(edges[:-1], share, strict=True)
        ]
    return _lines("GPUs in use", rows, ("hour", "hours"), ("percent", "GPUs in use, %"))


def _busy(outcome: Simulation, edges: np.ndarray) -> np.ndarray:
    """GPU-seconds of work between each two edges."""
    work = outcome.stretches
    gpus = outcome.trace.num_gpus[work.job].astype(np.float64)
    moments = np.concatenate((work.start_s, work.end_s))
    change = np.concatenate((gpus, -gpus))
    order = np.argsort(moments, kind="stable")
    moments, level = moments[order], np.cumsum(change[order])
    if not len(moments):
        return np.zeros(len(edges) - 1)
    area = np.concatenate(([0.0], np.cumsum(level[:-1] * np.diff(moments))))
    return np.diff(np.interp(edges, moments, area))


def fairness_curves(outcomes: Sequence[Simulation]) -> Json:
    """Finish-time fairness of the jobs, from the best treated to the worst."""
    rows: list[Json] = []
    for outcome in outcomes:
        values = np.sort(outcome.fairness)
        places = np.unique(np.linspace(0, max(0, len(values) - 1), _MOST_POINTS).astype(np.int64))
        rows += [
            {"policy": _label(outcome), "jobs": 100.0 * (place + 1) / len(values), "fairness": float(values[place])}
            for place in places.tolist()
            if len(values)
        ]
    title = "Time to finish over that on a fair share of the fleet"
    return _lines(title, rows, ("jobs", "jobs, %"), ("fairness", "finish-time fairness"))


def _label(outcome: Simulation) -> str:
    what = f", {outcome.scenario}" if outcome.scenario else ""
    return f"{outcome.policy}, {outcome.fleet.total} GPUs{what}"


def _lines(title: str, rows: list[Json], x: tuple[str, str], y: tuple[str, str]) -> Json:
    axes = {
        axis: {"field": field, "type": "quantitative", "title": text} for axis, (field, text) in (("x", x), ("y", y))
    }
    colour = {"field": "policy", "type": "nominal", "title": None}
    return {**_frame(title, rows), "mark": "line", "encoding": {**axes, "color": colour}}


def _frame(title: str, rows: list[Json]) -> Json:
    return {"$schema": SCHEMA, "title": title, "description": title, "width": WIDTH, "data": {"values": rows}}
