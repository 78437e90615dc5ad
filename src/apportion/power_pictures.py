"""Pictures of power: how full branches are, what a MWh costs at each bus, and dispatch with prices and reserve."""

from __future__ import annotations

import numpy as np

from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.commitment_prices import CommitmentPrices
from apportion.instances.core import Json
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import PowerFlowPlan
from apportion.instances.security_commitment import SecurityConstrainedCommitment
from apportion.instances.security_plan import SecureCommitment
from apportion.models.power_flow.check import branch_loading
from apportion.models.security_commitment.check import line_loading
from apportion.pictures import WIDTH, _commitment, _data, _frame, _hours, _tooltip

_MOST_ROWS = 40


def draw_power_flow(instance: OptimalPowerFlow, plan: PowerFlowPlan) -> Json | None:
    """Heat maps of branch loading in per cent and, where the plan has them, of prices; None with nothing to draw."""
    plan = plan.aligned_to(instance)
    loading = np.nan_to_num(100.0 * branch_loading(instance, plan), nan=0.0)
    parts = []
    fullest = np.argsort(-loading.max(axis=0, initial=0.0), kind="stable")[:_MOST_ROWS]
    if loading.size and loading.max() > 0.0:
        names = [instance.branches.names[k] for k in fullest]
        title = f"The {len(fullest)} fullest of {len(instance.branches)} branches, % of their rate"
        parts.append(_heat(title, "branch", names, loading[:, fullest], "percent", "% of the rate"))
    if plan.has_prices:
        spread = np.ptp(plan.price_mwh, axis=0)
        shown = np.sort(np.argsort(-(spread + np.abs(plan.price_mwh).max(axis=0)), kind="stable")[:_MOST_ROWS])
        names = [plan.bus_names[k] for k in shown]
        title = f"What one MWh more would cost at {len(shown)} of {len(plan.bus_names)} buses"
        parts.append(_heat(title, "bus", names, plan.price_mwh[:, shown], "value", "price per MWh"))
    if not parts:
        return None
    title = f"Power flow ({plan.physics}) over {plan.num_periods} periods: branch loading and prices"
    frame = {name: value for name, value in _frame(title).items() if name != "width"}
    return {**frame, "vconcat": parts, "resolve": {"scale": {"color": "independent"}}}


def draw_secure_commitment(instance: SecurityConstrainedCommitment, plan: SecureCommitment) -> Json | None:
    """Heat maps of the states and outputs of the units, and of how full the lines are in their worst case."""
    plan = plan.aligned_to(instance)
    parts = []
    if len(plan.unit_names):
        busiest = np.argsort(-plan.power_mw.sum(axis=1), kind="stable")[:_MOST_ROWS]
        title = f"Output of the {len(busiest)} busiest of {len(plan.unit_names)} units"
        names = [plan.unit_names[k] for k in busiest]
        parts.append(_heat(title, "unit", names, plan.power_mw[busiest].T, "power", "MW"))
    loading = 100.0 * line_loading(instance, plan)
    if loading.size and loading.max() > 0.0:
        fullest = np.argsort(-loading.max(axis=1), kind="stable")[:_MOST_ROWS]
        title = f"The {len(fullest)} fullest of {len(instance.lines)} lines, with all lines or after the worst outage"
        names = [instance.lines[k].name for k in fullest]
        parts.append(_heat(title, "line", names, loading[fullest].T, "percent", "% of the limit"))
    if not parts:
        return None
    title = f"Commitment on a network over {plan.num_periods} periods: units and lines"
    frame = {name: value for name, value in _frame(title).items() if name != "width"}
    return {**frame, "vconcat": parts, "resolve": {"scale": {"color": "independent"}}}


def _heat(
    title: str,
    row: str,
    names: list[str],
    table: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    field: str,
    legend: str,
) -> Json:
    rows = [(name, t + 1, round(float(table[t, k]), 3)) for k, name in enumerate(names) for t in range(len(table))]
    return {
        "title": title,
        "width": WIDTH,
        "height": max(30, 14 * len(names)),
        "data": _data((row, "hour", field), rows),
        "mark": {"type": "rect"},
        "encoding": {
            "x": {
                "field": "hour",
                "type": "ordinal",
                "title": "period",
                "axis": {"labelOverlap": True, "labelAngle": 0},
            },
            "y": {"field": row, "type": "nominal", "title": None, "sort": None},
            "color": {"field": field, "type": "quantitative", "title": legend, "scale": {"zero": field == "percent"}},
            "tooltip": _tooltip(row, "hour", field),
        },
    }


def draw_commitment(instance: UnitCommitment, plan: Commitment, prices: CommitmentPrices | None = None) -> Json | None:
    """What serves the demand hour by hour, with the lines of reserve and of prices, and the heat map of the units.

    Without ``prices`` their lines are left out; None when there is no hour to draw.
    """
    plan = plan.aligned_to(instance)
    drawn = _commitment(instance, plan)
    if drawn is None:
        return None
    dispatch, states = drawn["vconcat"]
    panels = [dispatch]
    if instance.reserve_mw.any():
        panels.append(_reserve(instance, plan))
    if prices is not None:
        panels.append(_price_lines(prices))
    return {**drawn, "vconcat": [*panels, states]}


def _reserve(instance: UnitCommitment, plan: Commitment) -> Json:
    held = plan.reserve_mw.sum(axis=0)
    series = (("held", held), ("required", instance.reserve_mw))
    title = "Spinning reserve that the units hold, and what is required"
    return _lines(title, [(name, values.tolist()) for name, values in series], "MW")


def _price_lines(prices: CommitmentPrices) -> Json:
    series = [("energy", prices.energy.tolist())]
    if prices.reserve.any():
        series.append(("reserve", prices.reserve.tolist()))
    title = f"Prices ({prices.kind}); {prices.total_uplift:,.2f} of uplift beside them"
    return _lines(title, series, "per MWh")


def _lines(title: str, series: list[tuple[str, list[float]]], unit: str) -> Json:
    """One stepped line per series, over the hours."""
    rows = [(hour, name, round(value, 4)) for name, values in series for hour, value in enumerate(values, start=1)]
    periods = len(series[0][1])
    return {
        "title": title,
        "width": WIDTH,
        "height": 120,
        "data": _data(("hour", "what", "value"), rows),
        "mark": {"type": "line", "interpolate": "step", "strokeWidth": 2},
        "encoding": {
            "x": _hours(periods),
            "y": {"field": "value", "type": "quantitative", "title": unit},
            "color": {"field": "what", "type": "nominal", "title": None, "sort": [name for name, _ in series]},
            "tooltip": _tooltip("what", "hour", "value"),
        },
    }
