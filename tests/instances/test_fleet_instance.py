"""Fleets: validation, views, files, generator."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.instances.errors import InstanceError, OptionError, PlanError
from apportion.instances.fleet import FleetAllocation, FleetShares, Share
from apportion.instances.formats import fleet_json
from apportion.instances.generate.fleet import generate_fleet
from apportion.instances.reading import Source

SMALL = Path(fleet_json.__file__).parent.parent / "data" / "fleet_small.json"


def tiny(**columns: Any) -> FleetAllocation:
    return FleetAllocation.build("tiny", {"v100": 2, "k80": 4}, {"a": [4.0, 1.0], "b": [2.0, 1.0]}, **columns)


@pytest.mark.parametrize(
    ("columns", "place", "words"),
    [
        ({"scale_factor": [0, 1]}, "scale_factor[0]", "at least 1"),
        ({"scale_factor": [1.5, 1]}, "scale_factor[0]", "whole number"),
        ({"weights": [1.0, -1.0]}, "weights[1]", "at least"),
        ({"steps_left": [nan, 1.0]}, "steps_left[0]", "finite"),
        ({"slo_s": [nan, inf]}, "slo_s[0]", "a number"),
        ({"elapsed_s": [1.0]}, "elapsed_s", "shape"),
        ({"entities": ("x",)}, "entities", "2 entries"),
        ({"entity_weights": {"z": 1.0}}, "entity_weights['z']", "entity of no job"),
        ({"entities": ("x", "x"), "entity_weights": {"x": -1.0}}, "entity_weights['x']", "positive"),
        ({"entities": ("x", "x"), "entity_rules": {"x": "lottery"}}, "entity_rules['x']", "unknown"),
        ({"current_type": [2, 0]}, "current_type[0]", "at most 1"),
        ({"objective": "best"}, "objective", "unknown"),
        ({"cost_per_gpu_hour": [inf, 1.0]}, "cost_per_gpu_hour[0]", "finite"),
        ({"pairs": [[0, 0]], "pair_throughputs": np.ones((1, 2, 2))}, "pairs[0]", "two jobs"),
        ({"pairs": [[0, 5]], "pair_throughputs": np.ones((1, 2, 2))}, "pairs[0,1]", "at most"),
        ({"pairs": [[0, 1], [1, 0]], "pair_throughputs": np.ones((2, 2, 2))}, "pairs[1]", "twice"),
        ({"pairs": [[0, 1]], "pair_throughputs": -np.ones((1, 2, 2))}, "pair_throughputs[0,0,0]", "at least 0"),
        (
            {"pairs": [[0, 1]], "pair_throughputs": np.ones((1, 2, 2)), "scale_factor": [1, 2]},
            "pairs[0]",
            "one scale factor",
        ),
    ],
)
def test_faults_name_place_and_rule(columns: dict[str, Any], place: str, words: str) -> None:
    with pytest.raises(InstanceError) as caught:
        tiny(**columns)
    assert any(fault.place == place and words in fault.message for fault in caught.value.faults), str(caught.value)


@pytest.mark.parametrize("rate", [nan, inf, -1.0])
def test_throughputs_that_are_no_numbers_are_refused(rate: float) -> None:
    with pytest.raises(InstanceError, match=r"throughputs\[0,0\]"):
        FleetAllocation.build("bad", {"v100": 1}, {"a": [rate]})


def test_names_are_unique_and_not_empty() -> None:
    fleet = tiny()
    with pytest.raises(InstanceError, match=r"jobs\[1\]: repeats"):
        replace(fleet, jobs=("a", "a"))
    with pytest.raises(InstanceError, match=r"gpu_types\[0\]: must be a text"):
        replace(fleet, gpu_types=("", "k80"))


def test_who_can_run_and_why_not() -> None:
    fleet = FleetAllocation.build(
        "t", {"v100": 2, "k80": 4}, {"a": [1.0, 0.0], "b": [1.0, 1.0], "c": [0.0, 0.0]}, scale_factor=[4, 4, 1]
    )
    assert fleet.usable.tolist() == [[False, False], [False, True], [False, False]]
    assert fleet.runnable.tolist() == [False, True, False]
    assert "asks for 4 GPUs" in fleet.pending_reason(0)
    assert fleet.pending_reason(1) == ""
    assert "every throughput is 0" in fleet.pending_reason(2)


def test_fair_shares_follow_gavel() -> None:
    fleet = tiny(scale_factor=[1, 2])
    share = np.array([1.0, 2.0]) / 3.0
    assert fleet.fair_throughputs == pytest.approx([4 * share[0] + share[1], 2 * share[0] + share[1]])
    alone = np.array([0.5, 1.0]) / 1.5
    assert fleet.isolated_throughputs[1] == pytest.approx(2 * alone[0] + alone[1])


def test_pairs_share_only_where_both_get_something() -> None:
    table = np.array([[[1.0, 0.5], [1.0, 0.0]]])
    fleet = tiny(pairs=[[0, 1]], pair_throughputs=table)
    assert fleet.pair_rates[0].tolist() == [[1.0, 0.0], [1.0, 0.0]]
    part = fleet.select([1, 0])
    assert part.pairs.tolist() == [[1, 0]]
    assert fleet.select([0]).num_pairs == 0


def test_the_arrays_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        tiny().throughputs[0, 0] = 9.0


def test_a_plan_survives_and_names_what_it_does_not_know() -> None:
    fleet = tiny(pairs=[[0, 1]], pair_throughputs=np.ones((1, 2, 2)))
    plan = FleetShares((Share(("a",), "v100", 0.5), Share(("b", "a"), "k80", 0.25)))
    assert FleetShares.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    x, y = plan.to_arrays(fleet)
    assert x[0, 0] == 0.5
    assert y[0, 1] == 0.25
    assert FleetShares.from_arrays(fleet, x, y).shares[1].jobs == ("a", "b")
    with pytest.raises(PlanError, match="unknown job or type"):
        FleetShares((Share(("z",), "v100", 0.5),)).to_arrays(fleet)
    with pytest.raises(PlanError, match="may not share"):
        FleetShares((Share(("a", "b"), "v100", 0.5),)).to_arrays(tiny())


@pytest.mark.parametrize(
    "data",
    [{}, {"shares": 3}, {"shares": [3]}, {"shares": [{"jobs": ["a"], "gpu_type": "x", "fraction": True}]}],
    ids=["empty", "number", "row", "truth"],
)
def test_plans_that_cannot_be_read(data: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        FleetShares.from_dict(data)


@pytest.mark.parametrize("sharing", [False, True])
def test_files_keep_everything(sharing: bool) -> None:
    fleet = generate_fleet(3, jobs=9, sharing=sharing, promised_fraction=0.5, entities=2)
    fleet = replace(
        fleet, entity_weights={"team-0": 2.0}, entity_rules={"team-1": "fifo"}, current_type=np.arange(9) % 4 - 1
    )
    text = fleet_json.render(fleet)
    again = fleet_json.parse(text, Source(Path("x.json")))
    assert fleet_json.render(again) == text
    for column in ("throughputs", "scale_factor", "weights", "slo_s", "pairs", "pair_throughputs", "current_type"):
        assert np.array_equal(getattr(again, column), getattr(fleet, column)), column
    assert again.entities == fleet.entities
    assert "properties" in fleet_json.json_schema()


def _broken(change: Any) -> str:
    content = json.loads(SMALL.read_text(encoding="utf-8"))
    change(content)
    with pytest.raises(InstanceError) as caught:
        fleet_json.parse(json.dumps(content), Source(Path("x.json")))
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["jobs"][1]["throughputs"].update(tpu=1.0), "jobs[1].throughputs: is unknown, got 'tpu'"),
        (lambda c: c["jobs"][0].update(current_type="tpu"), "jobs[0].current_type"),
        (lambda c: c["jobs"][0].update(weight=0.0), "jobs[0].weight"),
        (lambda c: c["jobs"][0].update(colour="red"), "jobs[0].colour"),
        (lambda c: c["jobs"].append(c["jobs"][0]), "repeats the identifier of jobs[0]"),
        (lambda c: c["gpu_types"].append(c["gpu_types"][0]), "repeats the identifier of gpu_types[0]"),
        (lambda c: c.update(pairs=[{"jobs": ["nobody", "job-00000"], "throughputs": {}}]), "pairs[0].jobs"),
        (lambda c: c.update(objective="luck"), "objective: is unknown"),
        (lambda c: c["entities"].append({"name": "nobody"}), "entity of no job"),
        (lambda c: c.pop("jobs"), "jobs: Field required"),
    ],
    ids=["type", "current", "weight", "field", "job-twice", "type-twice", "pair", "objective", "entity", "no-jobs"],
)
def test_bad_files_are_explained(change: Any, words: str) -> None:
    assert words in _broken(change)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 6000), junk=st.sampled_from(["", "NaN", "-1", "1e999", "null", "[]", '"x"', "}"]))
def test_mangled_files_raise_instance_errors_or_nothing(cut: int, junk: str) -> None:
    text = SMALL.read_text(encoding="utf-8")
    mangled = text[:cut] + junk + text[cut + len(junk) :]
    with suppress(InstanceError):
        fleet_json.parse(mangled, Source(Path("x.json")))


def test_generator_is_seeded_and_refuses_nonsense() -> None:
    one, two = generate_fleet(5, jobs=20, sharing=True), generate_fleet(5, jobs=20, sharing=True)
    assert fleet_json.render(one) == fleet_json.render(two)
    assert one.runnable.all()
    assert one.num_pairs > 0
    wrong: tuple[dict[str, Any], ...] = ({"jobs": 0}, {"types": 99}, {"promised_fraction": 2.0}, {"objective": "x"})
    for sizes in wrong:
        with pytest.raises(OptionError):
            generate_fleet(0, **sizes)


def test_summary_counts() -> None:
    summary = generate_fleet(5, jobs=20, promised_fraction=1.0).summary()
    assert summary["jobs"] == 20
    assert summary["jobs with a promised time"] == 20
