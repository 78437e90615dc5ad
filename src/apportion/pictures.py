"""One picture per problem, as a Vega-Lite specification: plain data, drawn by a page or turned into a PNG or SVG.

Colours are left to the theme of whoever draws, so that a page can be light or dark. Every picture describes itself in
words. The rows travel as CSV text, a third of the size of JSON objects.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from apportion.instances.core import Instance, Json, Plan
from apportion.instances.errors import OptionError

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
WIDTH = 880

_CELL, _LARGE_CELL = 8, 13
_LEAST_COLUMNS = 40
_MOST_COLUMNS = 96
_MOST_BARS = 30
_MOST_UNITS = 8
_MOST_LABELS = 45
_MOST_POINTS = 2000
_TALLEST, _SHORTEST = 640, 280

LIGHT: Json = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelColor": "#4b5563", "titleColor": "#374151", "gridColor": "#e5e7eb", "domainColor": "#9ca3af"},
    "legend": {"labelColor": "#4b5563", "titleColor": "#374151", "orient": "bottom", "columns": 5},
    "title": {"color": "#111827", "anchor": "start", "fontSize": 13},
    "text": {"color": "#374151"},
    "rule": {"color": "#111827"},
    "style": {"demand": {"color": "#111827", "stroke": "#111827"}},
    "range": {
        "heatmap": ["#e8eef4", "#bcd7ea", "#7fb5d8", "#3f8fc4", "#17679f", "#0b3c66"],
        "category": [
            "#0f6fb4",
            "#e07b1a",
            "#2e9e5b",
            "#c23b4e",
            "#7d5bb5",
            "#8a6a4f",
            "#d069b0",
            "#6f7c85",
            "#a8a21d",
            "#1fa3b5",
        ],
    },
}
"""The theme on white."""

DARK: Json = {
    **LIGHT,
    "axis": {"labelColor": "#b6bfca", "titleColor": "#d1d5db", "gridColor": "#2c3440", "domainColor": "#6b7280"},
    "legend": {"labelColor": "#b6bfca", "titleColor": "#d1d5db", "orient": "bottom", "columns": 5},
    "title": {"color": "#f3f4f6", "anchor": "start", "fontSize": 13},
    "text": {"color": "#d1d5db"},
    "rule": {"color": "#f3f4f6"},
    "style": {"demand": {"color": "#f3f4f6", "stroke": "#f3f4f6"}},
    "range": {
        "heatmap": ["#232b36", "#1f4764", "#20699a", "#3c94cc", "#7fc0e8", "#d3ecfb"],
        "category": [
            "#5aaeea",
            "#f2a04e",
            "#5cc98a",
            "#ee7584",
            "#ae8fe0",
            "#c3a183",
            "#ee9bd5",
            "#a9b4bd",
            "#d6cf55",
            "#5dd0df",
        ],
    },
}
"""The theme on black."""


def picture(instance: Instance, plan: Plan) -> Json | None:
    """The picture of a plan, or None where there is nothing to draw."""
    draw = _DRAWN.get(instance.problem)
    return None if draw is None else draw(instance, plan)


def progress(history: Sequence[tuple[float, float | str, float | str]], sense: str) -> Json | None:
    """How the objective and the bound came closer over time; None with fewer than two points.

    ``history`` holds seconds, objective and bound; what is not known is infinite.
    """
    rows = [
        (time_s, what, value)
        for time_s, primal, dual in history
        for what, value in (("objective", float(primal)), ("bound", float(dual)))
        if isfinite(value)
    ]
    if len({row[0] for row in rows}) < 2:
        return None
    return {
        **_frame(f"Objective and bound over time, {sense}", _data(("time_s", "what", "value"), rows)),
        "height": 200,
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2, "point": {"size": 18}},
        "encoding": {
            "x": {"field": "time_s", "type": "quantitative", "title": "seconds", "scale": {"zero": True}},
            "y": {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": False}},
            "color": {"field": "what", "type": "nominal", "title": None, "sort": ["objective", "bound"]},
            "tooltip": _tooltip("what", "value", "time_s"),
        },
    }


def to_image(spec: Json, kind: str, scale: float = 2.0) -> bytes:
    """Draw a picture as ``"png"`` or ``"svg"``."""
    import vl_convert

    themed = {**spec, "config": {**LIGHT, "background": "#ffffff"}}
    if kind == "svg":
        return vl_convert.vegalite_to_svg(themed).encode()
    if kind == "png":
        return vl_convert.vegalite_to_png(themed, scale=scale)
    raise OptionError(f"pictures are html, png or svg, not {kind!r}")


# Placement: every GPU is a cell, the nodes of one type stand side by side in bands


@dataclass(frozen=True)
class _Bands:
    """Cells ``(x, y, node, gpu, type, share)``, labels ``(y, text)``, and how many columns and rows they fill."""

    cells: list[tuple[object, ...]]
    labels: list[tuple[object, ...]]
    columns: int
    rows: int


def _placement(instance: Any, plan: Any) -> Json | None:
    load = plan.gpu_load(instance)
    if not (load >= 0).any():
        return None
    bands = _bands(instance, load)
    used = int((load > 0).sum())
    total = int((load >= 0).sum())
    title = f"GPUs by node: {used:,} of {total:,} in use, {len(plan.placed):,} of {len(instance.tasks):,} tasks placed"
    x: Json = {
        "field": "x",
        "type": "quantitative",
        "axis": None,
        "scale": {"domain": [0, bands.columns], "nice": False},
    }
    y: Json = {"field": "y", "type": "quantitative", "axis": None}
    y["scale"] = {"domain": [0, bands.rows], "reverse": True, "nice": False}
    cells = {
        "data": _data(("x", "y", "node", "gpu", "type", "share"), bands.cells),
        "transform": [{"calculate": "datum.x + 0.88", "as": "x2"}, {"calculate": "datum.y + 0.88", "as": "y2"}],
        "mark": {"type": "rect"},
        "encoding": {
            "x": x,
            "y": y,
            "x2": {"field": "x2"},
            "y2": {"field": "y2"},
            "color": {
                "field": "share",
                "type": "quantitative",
                "title": "% of the GPU in use",
                "scale": {"domain": [0, 100]},
                "legend": {"gradientLength": 240},
            },
            "tooltip": _tooltip("node", "gpu", "type", "share"),
        },
    }
    labels = {
        "data": _data(("y", "text"), bands.labels),
        "mark": {"type": "text", "align": "left", "baseline": "bottom", "fontSize": 11, "dy": -2},
        "encoding": {"x": {"datum": 0, "type": "quantitative"}, "y": y, "text": {"field": "text", "type": "nominal"}},
    }
    height = max(60, bands.rows * (_CELL if bands.columns > _LEAST_COLUMNS else _LARGE_CELL))
    return {**_frame(title), "height": height, "layer": [cells, labels]}


def _bands(instance: Any, load: Any) -> _Bands:
    nodes = instance.nodes
    kinds: dict[str, list[int]] = {}
    for node, kind in enumerate(nodes.gpu_types):
        if int(nodes.num_gpus[node]) > 0:
            kinds.setdefault(kind or "untyped", []).append(node)
    most = max(len(members) for members in kinds.values())
    columns = min(_MOST_COLUMNS, max(most, _LEAST_COLUMNS))
    cells: list[tuple[object, ...]] = []
    labels: list[tuple[object, ...]] = []
    y = 0
    for kind, members in sorted(kinds.items(), key=lambda item: -len(item[1])):
        y += 3
        gpus = int(sum(int(nodes.num_gpus[node]) for node in members))
        labels.append((y, f"{kind}: {len(members):,} nodes, {gpus:,} GPUs"))
        ordered = sorted(members, key=lambda node: (-int(nodes.num_gpus[node]), -int(load[node].clip(0).sum())))
        for begin in range(0, len(ordered), columns):
            band = ordered[begin : begin + columns]
            for x, node in enumerate(band):
                cells.extend(
                    (x, y + gpu, nodes.names[node], gpu, kind, round(int(load[node, gpu]) / 10))
                    for gpu in range(int(nodes.num_gpus[node]))
                )
            y += max(int(nodes.num_gpus[node]) for node in band) + 1
    return _Bands(cells, labels, columns, y)


# Routing: routes on the plane, the legs from and to the depot fainter; loads where there are no coordinates


def _routes(instance: Any, plan: Any) -> Json | None:
    if not plan.routes:
        return None
    if instance.coordinates is None:
        return _loads(instance, plan)
    where = instance.coordinates
    rows = [
        (number, order, f"{where[stop][0]:g}", f"{where[stop][1]:g}", stop)
        for number, route in enumerate(plan.routes, 1)
        for order, stop in enumerate((0, *route, 0))
    ]
    width, height = _fitted(*(float(where[:, axis].max() - where[:, axis].min()) for axis in (0, 1)))
    place: Json = {
        axis: {
            "field": axis,
            "type": "quantitative",
            "title": None,
            "scale": {"zero": False, "nice": False},
            "axis": {"grid": False},
        }
        for axis in ("x", "y")
    }
    colour = {"field": "route", "type": "nominal", "legend": None}
    path = {**place, "order": {"field": "order", "type": "quantitative"}, "color": colour}
    clients = {"filter": "datum.stop != 0"}
    hints = _tooltip("route", "stop")
    layers: list[Json] = [
        {"mark": {"type": "line", "opacity": 0.3, "strokeWidth": 1, "strokeDash": [3, 3]}, "encoding": path},
        {"transform": [clients], "mark": {"type": "line", "strokeWidth": 1.8}, "encoding": {**path, "tooltip": hints}},
    ]
    if instance.num_clients <= _MOST_POINTS:
        points = {"type": "circle", "size": 22, "opacity": 1}
        layers.append(
            {"transform": [clients], "mark": points, "encoding": {**place, "color": colour, "tooltip": hints}}
        )
    depot = [{"filter": "datum.stop == 0 && datum.order == 0 && datum.route == 1"}]
    square = {"type": "square", "size": 150, "filled": True, "opacity": 1, "color": "#d4213d"}
    layers.append({"transform": depot, "mark": square, "encoding": place})
    title = f"{len(plan.routes)} routes to {instance.num_clients:,} clients; the square is the depot"
    return {
        **_frame(title, _data(("route", "order", "x", "y", "stop"), rows)),
        "width": width,
        "height": height,
        "layer": layers,
    }


def _fitted(across: float, along: float) -> tuple[int, int]:
    """Width and height in pixels with the same scale both ways, as large as fits."""
    scale = min(WIDTH / max(across, 1e-9), _TALLEST / max(along, 1e-9))
    return max(120, round(min(WIDTH, across * scale))), max(120, round(min(_TALLEST, along * scale)))


def _loads(instance: Any, plan: Any) -> Json:
    rows = [(n, float(instance.demand[list(route)].sum())) for n, route in enumerate(plan.routes, 1)]
    title = f"Load of each of {len(rows)} routes; the line is the capacity"
    bars = {
        "data": _data(("route", "load"), rows),
        "mark": "bar",
        "encoding": {
            "x": {"field": "route", "type": "ordinal"},
            "y": {"field": "load", "type": "quantitative"},
            "tooltip": _tooltip("route", "load"),
        },
    }
    line = {"mark": "rule", "encoding": {"y": {"datum": instance.capacity, "type": "quantitative"}}}
    return {**_frame(title), "height": _SHORTEST, "layer": [bars, line]}


# Unit commitment: what serves the demand, hour by hour, and which units are on


def _commitment(instance: Any, plan: Any) -> Json | None:
    aligned = plan.aligned_to(instance)
    if aligned.num_periods == 0:
        return None
    groups = _power_groups(aligned)
    hours = range(1, aligned.num_periods + 1)
    rows = [
        (hour, name, order, round(float(power[hour - 1]), 3))
        for order, (name, power) in enumerate(groups)
        for hour in hours
    ]
    demand = [(hour, float(instance.demand_mw[hour - 1])) for hour in hours]
    axis = _hours(aligned.num_periods)
    stack = {
        "data": _data(("hour", "source", "order", "mw"), rows),
        "mark": {"type": "bar", "width": {"band": 1}},
        "encoding": {
            "x": axis,
            "y": {"field": "mw", "type": "quantitative", "title": "MW"},
            "color": {"field": "source", "type": "nominal", "title": None, "sort": [name for name, _ in groups]},
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": _tooltip("source", "hour", "mw"),
        },
    }
    line = {
        "data": _data(("hour", "demand_mw"), demand),
        "mark": {"type": "line", "style": "demand", "strokeWidth": 2.5},
        "encoding": {"x": axis, "y": {"field": "demand_mw", "type": "quantitative"}},
    }
    title = f"Dispatch of {instance.num_units} units over {aligned.num_periods} hours; the line is the demand"
    dispatch = {"width": WIDTH, "height": 300, "layer": [stack, line]}
    frame = {name: value for name, value in _frame(title).items() if name != "width"}
    return {**frame, "vconcat": [dispatch, _on_off(instance, aligned)], "resolve": {"scale": {"color": "independent"}}}


def _hours(num_periods: int) -> Json:
    scale = {"domain": list(range(1, num_periods + 1)), "padding": 0}
    axis = {"labelOverlap": True, "labelAngle": 0}
    return {"field": "hour", "type": "ordinal", "title": "hour", "scale": scale, "axis": axis}


def _power_groups(plan: Any) -> list[tuple[str, Any]]:
    """Renewables, the units that produce most, and the rest together: (name, MW per hour), from the bottom up."""
    energy = plan.power_mw.sum(axis=1)
    largest = sorted(range(len(energy)), key=lambda unit: -float(energy[unit]))[: _MOST_UNITS - 1]
    rest = [unit for unit in range(len(energy)) if unit not in set(largest)]
    groups = [(plan.unit_names[unit], plan.power_mw[unit]) for unit in largest]
    if len(rest) == 1:
        groups.append((plan.unit_names[rest[0]], plan.power_mw[rest[0]]))
    elif rest:
        groups.append((f"{len(rest)} other units", plan.power_mw[rest].sum(axis=0)))
    if len(plan.renewable_names):
        groups.insert(0, ("renewable", plan.renewable_mw.sum(axis=0)))
    return groups


def _on_off(instance: Any, plan: Any) -> Json:
    largest = [unit.power_max_mw for unit in instance.thermal]
    hours_on = plan.committed.sum(axis=1)
    used = [unit for unit in range(len(largest)) if hours_on[unit]]
    order = sorted(used, key=lambda unit: (-int(hours_on[unit]), -largest[unit]))
    rows = [
        (plan.unit_names[unit], hour + 1, round(100 * float(plan.power_mw[unit, hour]) / max(largest[unit], 1e-9)))
        for unit in order
        for hour in range(plan.num_periods)
        if plan.committed[unit, hour]
    ]
    step = max(3, min(14, 520 // max(1, len(order))))
    labels = len(order) <= _MOST_LABELS
    return {
        "title": f"Units that are on, {len(order)} of {len(largest)}, by their output",
        "width": WIDTH,
        "height": max(20, step * len(order)),
        "data": _data(("unit", "hour", "percent"), rows),
        "mark": {"type": "rect"},
        "encoding": {
            "x": _hours(plan.num_periods),
            "y": {
                "field": "unit",
                "type": "nominal",
                "title": None,
                "scale": {"domain": [plan.unit_names[unit] for unit in order]},
                "axis": {"labelFontSize": 8, "labelOverlap": True} if labels else None,
            },
            "color": {
                "field": "percent",
                "type": "quantitative",
                "title": "% of the largest output",
                "scale": {"domain": [0, 100]},
            },
            "tooltip": _tooltip("unit", "hour", "percent"),
        },
    }


# Optimal power flow: how full the branches are, what a MWh costs at each bus, what gives the power


def _power_flow(instance: Any, plan: Any) -> Json | None:
    from apportion.power_pictures import draw_power_flow

    return draw_power_flow(instance, plan)


# Commitment on a network: what the units give, how full the lines are


def _secure(instance: Any, plan: Any) -> Json | None:
    from apportion.power_pictures import draw_secure_commitment

    return draw_secure_commitment(instance, plan)


# Programs: the largest values


def _values(instance: Any, plan: Any) -> Json | None:  # noqa: ARG001
    nonzero = sorted(((name, value) for name, value in plan.values.items() if value), key=lambda kv: -abs(kv[1]))
    if not nonzero:
        return None
    shown = nonzero[:_MOST_BARS]
    some = f"The {len(shown)} largest of {len(nonzero):,}" if len(shown) < len(nonzero) else f"All {len(nonzero):,}"
    return {
        **_frame(f"{some} values that are not zero", _data(("variable", "value"), shown)),
        "height": max(40, 16 * len(shown)),
        "mark": "bar",
        "encoding": {
            "x": {"field": "value", "type": "quantitative", "title": None},
            "y": {"field": "variable", "type": "nominal", "title": None, "sort": None},
            "tooltip": _tooltip("variable", "value"),
        },
    }


_DRAWN: dict[str, Callable[[Any, Any], Json | None]] = {
    "cluster-placement": _placement,
    "vehicle-routing": _routes,
    "unit-commitment": _commitment,
    "optimal-power-flow": _power_flow,
    "security-constrained-commitment": _secure,
    "mixed-integer-program": _values,
}


def _frame(title: str, data: Json | None = None) -> Json:
    """What every picture has: its title, which is also its description in words."""
    frame: Json = {"$schema": SCHEMA, "title": title, "description": title, "width": WIDTH}
    return frame if data is None else {**frame, "data": data}


def _data(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Json:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    numeric = {column: "number" for column in columns if column in _NUMBERS}
    return {"values": text.getvalue(), "format": {"type": "csv", "parse": numeric}}


_NUMBERS = frozenset(
    "x y gpu share route order stop load hour mw demand_mw percent value time_s".split()  # noqa: SIM905
)


def _tooltip(*fields: str) -> list[Json]:
    return [{"field": name, "type": "quantitative" if name in _NUMBERS else "nominal"} for name in fields]
