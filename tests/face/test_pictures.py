from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pytest

from apportion import generate
from apportion.cli import main
from apportion.instances.cluster import ClusterPlacement, PlacedTask, Placement
from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.plans import write_plan
from apportion.instances.program import VariableValues
from apportion.instances.reading import read, write
from apportion.instances.routing import Routes, VehicleRouting
from apportion.ledger import Row
from apportion.page import MOST_PICTURES, page, write_page
from apportion.pictures import DARK, LIGHT, picture, progress, to_image
from face.shell import tiny

Json = dict[str, Any]


def placement() -> tuple[ClusterPlacement, Placement]:
    """A generated cluster and one GPU of the first node that has some, taken by a quarter."""
    instance = generate("cluster-placement", 1)
    assert isinstance(instance, ClusterPlacement)
    node = int(np.flatnonzero(instance.nodes.num_gpus)[0])
    entry = PlacedTask(instance.tasks.names[0], instance.nodes.names[node], (0,), 250)
    return instance, Placement((entry,))


def routes() -> tuple[VehicleRouting, Routes]:
    """A generated instance, each client on a route of its own."""
    instance = generate("vehicle-routing", 1)
    assert isinstance(instance, VehicleRouting)
    return instance, Routes(tuple((client,) for client in range(1, instance.num_clients + 1)))


def commitment() -> tuple[UnitCommitment, Commitment]:
    """A generated instance with every unit at half its power."""
    instance = generate("unit-commitment", 1)
    assert isinstance(instance, UnitCommitment)
    shape = (instance.num_units, instance.num_periods)
    power = np.array([[unit.power_max_mw / 2] * instance.num_periods for unit in instance.thermal])
    renewable = np.array([unit.power_max_mw for unit in instance.renewable]).reshape(-1, instance.num_periods)
    names = (instance.unit_names, instance.renewable_names)
    return instance, Commitment(*names, np.ones(shape, bool), power, np.zeros(shape), renewable)


def values(folder: Path) -> tuple[Any, VariableValues]:
    """A small program and its optimum."""
    return read(tiny(folder)), VariableValues({"x": 1.0, "y": 1.0})


def all_pairs(folder: Path) -> list[tuple[Any, Any]]:
    """One instance and plan of every problem."""
    return [placement(), routes(), commitment(), values(folder)]


def _tables(spec: Any) -> list[list[dict[str, str]]]:
    """Every table inside a picture."""
    found: list[list[dict[str, str]]] = []
    if isinstance(spec, dict):
        if isinstance(spec.get("values"), str):
            found.append(list(csv.DictReader(io.StringIO(spec["values"]))))
        for inner in spec.values():
            found.extend(_tables(inner))
    elif isinstance(spec, list):
        for inner in spec:
            found.extend(_tables(inner))
    return found


def _drawn(pair: tuple[Any, Any]) -> Json:
    spec = picture(*pair)
    assert spec is not None
    return spec


def test_every_picture_keeps_the_schema_and_describes_itself(tmp_path: Path) -> None:
    for pair in all_pairs(tmp_path):
        spec = json.loads(json.dumps(_drawn(pair), allow_nan=False))
        alt.Chart.from_dict(spec)
        assert len(spec["description"]) > 10
        assert all(tables for tables in _tables(spec))


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_themes_keep_the_schema(theme: Json, tmp_path: Path) -> None:
    alt.Chart.from_dict({**_drawn(values(tmp_path)), "config": theme})


def test_placement_shows_every_gpu_once_with_its_share() -> None:
    instance, plan = placement()
    cells = _tables(_drawn((instance, plan)))[0]
    assert len(cells) == instance.capacity_gpus
    assert len({(cell["node"], cell["gpu"]) for cell in cells}) == instance.capacity_gpus
    assert len({(cell["x"], cell["y"]) for cell in cells}) == instance.capacity_gpus
    busy = [cell for cell in cells if cell["share"] != "0"]
    assert [(cell["node"], cell["gpu"], cell["share"]) for cell in busy] == [(plan.placed[0].node, "0", "25")]


def test_routes_begin_and_end_at_the_depot_and_visit_everyone() -> None:
    instance, plan = routes()
    (stops,) = _tables(_drawn((instance, plan)))
    assert sorted({int(stop["stop"]) for stop in stops}) == list(range(instance.num_clients + 1))
    for number in range(1, len(plan.routes) + 1):
        visited = [int(stop["stop"]) for stop in stops if stop["route"] == str(number)]
        assert visited == [0, *plan.routes[number - 1], 0]


def test_routes_without_coordinates_show_loads() -> None:
    instance, plan = routes()
    bare = VehicleRouting.capacitated("bare", instance.distance, instance.demand, instance.capacity)
    (loads,) = _tables(_drawn((bare, plan)))
    assert sum(float(row["load"]) for row in loads) == pytest.approx(float(instance.demand.sum()))


def test_dispatch_adds_up_to_what_the_plan_produces() -> None:
    instance, plan = commitment()
    stack, demand, on = _tables(_drawn((instance, plan)))
    for hour in range(instance.num_periods):
        shown = sum(float(row["mw"]) for row in stack if row["hour"] == str(hour + 1))
        made = float(plan.power_mw[:, hour].sum() + plan.renewable_mw[:, hour].sum())
        assert shown == pytest.approx(made, abs=0.1)
    assert [float(row["demand_mw"]) for row in demand] == pytest.approx(instance.demand_mw.tolist())
    assert len(on) == instance.num_units * instance.num_periods


def test_nothing_to_draw(tmp_path: Path) -> None:
    instance, _ = values(tmp_path)
    assert picture(instance, VariableValues({})) is None
    assert picture(routes()[0], Routes(())) is None
    assert progress([(0.0, "inf", "-inf"), (1.0, "inf", 3.0)], "minimise") is None


def test_progress_leaves_out_what_is_not_known() -> None:
    spec = progress([(0.0, "inf", "-inf"), (1.0, "inf", 3.0), (2.0, 5.0, 4.0)], "minimise")
    assert spec is not None
    alt.Chart.from_dict(spec)
    (rows,) = _tables(spec)
    assert [(row["what"], row["value"]) for row in rows] == [("bound", "3.0"), ("objective", "5.0"), ("bound", "4.0")]


def test_png_and_svg(tmp_path: Path) -> None:
    spec = _drawn(values(tmp_path))
    assert to_image(spec, "png").startswith(b"\x89PNG")
    assert b"<svg" in to_image(spec, "svg")[:200]


class _Attributes(HTMLParser):
    """Every tag, and every address in an attribute; what scripts hold is not markup."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]


def _row(name: str, reason: str = "", picture_name: str = "") -> Row:
    return Row(name, f"{name}.mps", "key", 4, reason, picture=picture_name)


def test_the_page_loads_nothing_and_holds_the_library_once(tmp_path: Path) -> None:
    specs = {f"i{k}": picture(*pair) for k, pair in enumerate(all_pairs(tmp_path))}
    text = page([_row(name) for name in specs], dict(specs))
    assert "default-src 'none'" in text.replace("&#x27;", "'")
    parser = _Attributes()
    parser.feed(text)
    assert "script" in parser.tags
    assert not parser.tags & {"link", "img", "iframe", "object", "embed", "base"}
    assert [url for url in parser.addresses if not url.startswith("#")] == []
    assert "@import" not in text
    assert "url(" not in text.split("</style>")[0]
    assert text.count("window.vegaEmbed=") == 1
    assert text.count('type="application/json"') == len(specs)
    assert len(text.encode()) < 3_000_000
    for mark in (
        "<!doctype html>",
        '<html lang="en">',
        "<th scope",
        'role="img"',
        "aria-label=",
        "prefers-color-scheme",
    ):
        assert mark in text


def test_names_and_reasons_cannot_break_the_page(tmp_path: Path) -> None:
    evil = '</script><script>alert("x")</script>'
    spec = {**_drawn(values(tmp_path)), "title": evil, "description": evil}
    text = page([_row(evil, evil)], {evil: spec})
    assert evil not in text
    assert "&lt;/script&gt;" in text


def test_a_page_without_pictures_has_no_scripts() -> None:
    assert "<script" not in page([_row("a"), _row("b")], {})


def test_a_large_batch_leaves_pictures_out(tmp_path: Path) -> None:
    spec = picture(*values(tmp_path))
    names = [f"n{k}" for k in range(MOST_PICTURES + 3)]
    text = page([_row(name) for name in names], dict.fromkeys(names, spec))
    assert text.count('type="application/json"') == MOST_PICTURES
    assert text.count("left out here") == 3


def test_a_lost_picture_is_no_error(tmp_path: Path) -> None:
    assert write_page(tmp_path, [_row("a", picture_name="pictures/a.vl.json")]).exists()


def test_plot_a_plan_and_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    instance, plan = routes()
    write(instance, "some.vrp")
    write_plan(plan, "some.plan.json", instance)
    for name in ("some.png", "some.svg", "some.html"):
        assert main(["plot", "some.vrp", "some.plan.json", "--out", name]) == 0
        assert (tmp_path / name).stat().st_size > 1000
    assert main(["plot", "some.vrp", "some.plan.json", "--out", "some.gif"]) == 2
    assert main(["solve", str(tiny(tmp_path)), "--out", "results"]) == 0
    assert not (tmp_path / "results/index.html").exists()
    assert main(["plot", "results"]) == 0
    assert "tiny" in (tmp_path / "results/index.html").read_text()
