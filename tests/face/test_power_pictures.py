"""Pictures of power hold the numbers of the plan: read back from the data that the drawing carries."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import apportion
from apportion.cli import main
from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.errors import OptionError
from apportion.instances.generate.security_commitment import generate_security_commitment
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.power_plan import Physics, PowerFlowPlan
from apportion.instances.security_plan import SecureCommitment
from apportion.models.power_flow.check import branch_loading
from apportion.models.security_commitment.check import line_loading
from apportion.pictures import to_image
from apportion.power_pictures import draw_commitment, draw_power_flow, draw_secure_commitment
from apportion.pricing import write_prices

Json = dict[str, Any]


def rows(panel: Json) -> list[dict[str, str]]:
    data = panel["data"] if "data" in panel else panel["layer"][0]["data"]
    return list(csv.DictReader(io.StringIO(data["values"])))


def series(panel: Json, name: str) -> list[float]:
    """The values of one line, hour by hour."""
    return [float(row["value"]) for row in rows(panel) if row["what"] == name]


def panel(spec: Json | None, beginning: str) -> Json:
    assert spec is not None
    found = [part for part in spec["vconcat"] if str(part.get("title", "")).startswith(beginning)]
    assert len(found) == 1, [part.get("title") for part in spec["vconcat"]]
    return dict(found[0])


def day() -> tuple[UnitCommitment, Commitment]:
    instance = apportion.generate("unit-commitment", 3, units=6, periods=10)
    plan = apportion.solve(instance, gap=1e-3).plan
    assert isinstance(instance, UnitCommitment)
    assert isinstance(plan, Commitment)
    return instance, plan


DAY, PLAN = day()


def test_the_stack_adds_up_to_the_demand() -> None:
    spec = draw_commitment(DAY, PLAN)
    assert spec is not None
    stack, line = spec["vconcat"][0]["layer"]
    total = dict.fromkeys(range(1, 11), 0.0)
    for row in csv.DictReader(io.StringIO(stack["data"]["values"])):
        total[int(row["hour"])] += float(row["mw"])
    demand = {int(r["hour"]): float(r["demand_mw"]) for r in csv.DictReader(io.StringIO(line["data"]["values"]))}
    assert demand == pytest.approx(dict(enumerate(DAY.demand_mw.tolist(), start=1)))
    assert total == pytest.approx(demand, abs=0.02)


def test_the_heat_map_has_a_cell_for_every_unit_hour_that_is_on() -> None:
    cells = rows(panel(draw_commitment(DAY, PLAN), "Units that are on"))
    drawn = {(row["unit"], int(row["hour"])): float(row["percent"]) for row in cells}
    on = {(DAY.unit_names[g], int(t) + 1) for g, t in np.argwhere(PLAN.committed)}
    assert set(drawn) == on
    for (name, hour), percent in drawn.items():
        g = DAY.unit_names.index(name)
        assert percent == pytest.approx(100.0 * PLAN.power_mw[g, hour - 1] / DAY.thermal[g].power_max_mw, abs=0.51)


def test_reserve_lines_are_what_is_held_and_required() -> None:
    drawn = panel(draw_commitment(DAY, PLAN), "Spinning reserve")
    assert series(drawn, "required") == pytest.approx(DAY.reserve_mw.tolist(), abs=1e-4)
    assert series(drawn, "held") == pytest.approx(PLAN.reserve_mw.sum(axis=0).tolist(), abs=1e-4)


@pytest.mark.parametrize("kind", ["lmp", "aelmp", "hull"])
def test_price_lines_are_the_prices(kind: str) -> None:
    prices = apportion.prices(DAY, PLAN, kind=kind)
    drawn = panel(draw_commitment(DAY, PLAN, prices), f"Prices ({kind})")
    assert series(drawn, "energy") == pytest.approx(prices.energy.tolist(), abs=1e-4)
    if prices.reserve.any():
        assert series(drawn, "reserve") == pytest.approx(prices.reserve.tolist(), abs=1e-4)
    assert f"{prices.total_uplift:,.2f}" in drawn["title"]


def test_what_is_not_there_is_not_drawn() -> None:
    none = replace(DAY, reserve_mw=np.zeros(10))
    spec = draw_commitment(none, replace(PLAN, reserve_mw=np.zeros((6, 10))))
    assert spec is not None
    assert len(spec["vconcat"]) == 2
    empty = Commitment((), (), np.zeros((0, 0), bool), np.zeros((0, 0)), np.zeros((0, 0)), np.zeros((0, 0)))
    assert empty.num_periods == 0


def test_the_picture_can_be_drawn() -> None:
    spec = draw_commitment(DAY, PLAN, apportion.prices(DAY, PLAN))
    assert spec is not None
    assert to_image(spec, "svg").startswith(b"<svg")


def test_the_command_draws_prices_of_a_kind_a_file_or_none(tmp_path: Path) -> None:
    apportion.write(DAY, tmp_path / "day.json")
    apportion.write_plan(PLAN, tmp_path / "day.plan.json", DAY)
    write_prices(apportion.prices(DAY, PLAN, kind="hull"), tmp_path / "prices.json")
    files = [str(tmp_path / "day.json"), str(tmp_path / "day.plan.json")]
    texts = {}
    for wanted in ("lmp", "none", str(tmp_path / "prices.json")):
        out = tmp_path / "picture.html"
        assert main(["plot", *files, "--out", str(out), "--prices", wanted]) == 0
        texts[wanted] = out.read_text(encoding="utf-8")
    assert "Prices (lmp)" in texts["lmp"]
    assert "Prices (" not in texts["none"]
    assert "Prices (hull)" in texts[str(tmp_path / "prices.json")]
    short = replace(DAY, demand_mw=DAY.demand_mw[:4], reserve_mw=DAY.reserve_mw[:4], renewable=())
    assert short.num_periods == 4
    assert main(["plot", *files, "--out", str(tmp_path / "p.html"), "--prices", "nodal"]) != 0


def test_a_broken_plan_is_drawn_without_prices(tmp_path: Path) -> None:
    apportion.write(DAY, tmp_path / "day.json")
    broken = replace(PLAN, renewable_mw=PLAN.renewable_mw + 5.0)
    apportion.write_plan(broken, tmp_path / "day.plan.json", DAY)
    out = tmp_path / "picture.html"
    assert main(["plot", str(tmp_path / "day.json"), str(tmp_path / "day.plan.json"), "--out", str(out)]) == 0
    assert "Prices (" not in out.read_text(encoding="utf-8")


def test_prices_of_another_horizon_are_refused(tmp_path: Path) -> None:
    from apportion.drawing import draw_plan

    other = apportion.generate("unit-commitment", 3, units=3, periods=4)
    plan = apportion.solve(other).plan
    assert plan is not None
    write_prices(apportion.prices(other, plan), tmp_path / "prices.json")
    with pytest.raises(OptionError, match="4 hours"):
        draw_plan(DAY, PLAN, tmp_path / "picture.html", str(tmp_path / "prices.json"))


# Power flow


def flow() -> tuple[OptimalPowerFlow, PowerFlowPlan]:
    instance = apportion.generate("optimal-power-flow", 2, buses=5, periods=3, storage=1)
    plan = apportion.solve(instance, method="dc").plan
    assert isinstance(instance, OptimalPowerFlow)
    assert isinstance(plan, PowerFlowPlan)
    return instance, plan


def test_loading_is_in_per_cent_of_the_rate_and_the_fullest_comes_first() -> None:
    instance, plan = flow()
    loading = 100.0 * np.nan_to_num(branch_loading(instance, plan), nan=0.0)
    cells = rows(panel(draw_power_flow(instance, plan), "The "))
    for row in cells:
        branch = instance.branches.names.index(row["branch"])
        assert float(row["percent"]) == pytest.approx(loading[int(row["hour"]) - 1, branch], abs=1e-3)
    peaks = [
        loading[:, instance.branches.names.index(name)].max() for name in dict.fromkeys(r["branch"] for r in cells)
    ]
    assert peaks == sorted(peaks, reverse=True)
    assert len(cells) == 3 * min(40, len(instance.branches))


def test_prices_by_bus_are_those_of_the_plan() -> None:
    instance, plan = flow()
    assert plan.has_prices
    cells = rows(panel(draw_power_flow(instance, plan), "What one MWh more"))
    assert len(cells) == 3 * len(plan.bus_names)
    for row in cells:
        bus = plan.bus_names.index(row["bus"])
        assert float(row["value"]) == pytest.approx(plan.price_mwh[int(row["hour"]) - 1, bus], abs=1e-3)


def test_a_flow_without_prices_and_without_a_network_has_nothing_to_draw() -> None:
    instance, plan = flow()
    bare = replace(plan, price_mwh=np.full(plan.price_mwh.shape, np.nan))
    spec = draw_power_flow(instance, bare)
    assert spec is not None
    assert len(spec["vconcat"]) == 1
    assert draw_power_flow(instance, replace(bare, physics=Physics.DISPATCH, angle_deg=0.0 * bare.angle_deg)) is None


def test_a_network_shows_units_and_full_lines() -> None:
    instance = generate_security_commitment(seed=2, buses=4, units=3, periods=3, tightness=0.7)
    plan = apportion.solve(instance, gap=1e-3, node_limit=500).plan
    assert isinstance(plan, SecureCommitment)
    spec = draw_secure_commitment(instance, plan)
    assert spec is not None
    lines = rows(panel(spec, "The "))
    loading = line_loading(instance, plan)
    assert len(lines) == loading.size
    assert max(float(row["percent"]) for row in lines) == pytest.approx(100.0 * loading.max(), abs=1e-3)
    verdict = apportion.check(instance, plan)
    assert loading.max() == pytest.approx(max(v for k, v in verdict.measures.items() if "loading" in k), abs=1e-5)
    units = rows(panel(spec, "Output"))
    assert sum(float(row["power"]) for row in units) == pytest.approx(float(plan.power_mw.sum()), abs=0.1)
    assert to_image(spec, "svg").startswith(b"<svg")
