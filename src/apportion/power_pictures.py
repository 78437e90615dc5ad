"""The picture of a power flow: how full the branches are, and what one MWh costs at each bus."""

from __future__ import annotations

import numpy as np

from apportion.instances.core import Json
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import PowerFlowPlan
from apportion.models.power_flow.check import branch_loading
from apportion.pictures import WIDTH, _data, _frame, _tooltip

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
