from __future__ import annotations

import json
from pathlib import Path

import pytest

from apportion.cli import main

_BASE = ["simulate", "generated", "--cluster", "v100:2,k80:4", "--seed", "3"]


def test_the_table_and_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([*_BASE, "--policy", "shortest,queue-srtf", "--what-if", "v100:2", "--out", str(out)]) == 0
    table = capsys.readouterr().out
    assert table.count("| shortest ") == 2
    assert table.count("| shortest: v100:2 ") == 1
    assert "v100:4,k80:4" in table
    kept = json.loads((out / "simulation.json").read_text())
    assert [row["policy"] for row in kept] == ["shortest", "shortest", "queue-srtf", "queue-srtf"]
    assert all(row["figures"]["finished"] == 40 for row in kept)
    for name in ("utilisation", "fairness", "gantt-0-shortest"):
        picture = json.loads((out / f"{name}.vl.json").read_text())
        assert picture["data"]["values"]
        assert picture["$schema"].endswith("v6.json")
    percents = [row["percent"] for row in json.loads((out / "utilisation.vl.json").read_text())["data"]["values"]]
    assert 0.0 <= min(percents) <= max(percents) <= 100.0 + 1e-6


def test_what_if_compares_scenarios_and_is_deterministic(capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--what-if", "remove k80:2; drop job-0003", "--what-if", "move job-0001=k80; at job-0002=9h"]
    for _ in range(2):
        assert main([*_BASE, "--policy", "queue-srtf", *changes]) == 0
    shown = capsys.readouterr().out
    half = len(shown) // 2
    assert shown[:half] == shown[half:]
    assert "| queue-srtf: remove k80:2; drop job-0003 " in shown
    assert "| 39" in shown
    assert "as is" in shown


def test_more_gpus_help_and_failures_hurt(tmp_path: Path) -> None:
    def mean(*more: str) -> float:
        out = tmp_path / "+".join(more)
        assert main([*_BASE, "--policy", "queue-backfill", "--out", str(out), *more]) == 0
        return float(json.loads((out / "simulation.json").read_text())[-1]["figures"]["mean_jct_h"])

    plain = mean()
    assert mean("--what-if", "v100:8") < plain
    assert mean("--failures-every-hours", "3", "--repair-hours", "2") > plain


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "nonsense"], "Maybe one of planner"),
        (["--policy", ""], "unknown policy"),
        (["--policy", "shortest", "--what-if", "tpu:1"], "the fleet has no 'tpu'"),
        (["--policy", "shortest", "--what-if", "remove v100:9"], "takes 9 v100, the fleet has 2"),
        (["--policy", "shortest", "--what-if", "more"], "is no change"),
        (["--policy", "shortest", "--what-if", "move job-x=k80"], "has no job 'job-x'"),
        (["--policy", "shortest", "--what-if", "move job-0001=tpu"], "knows no 'tpu'"),
        (["--policy", "shortest", "--what-if", "at job-0001=soon"], "names no time"),
        (["--policy", "shortest", "--quotas", "lab=-1"], "a quota is a whole number"),
        (["--policy", "shortest", "--quotas", "lab=1"], "has no job of kind 'lab'"),
        (["--policy", "shortest", "--cluster", "tpu:1"], "knows no GPU type"),
        (["--policy", "shortest", "--round-seconds", "0"], "a round must be longer"),
    ],
    ids=[
        "policy",
        "none",
        "what-if",
        "too-few",
        "words",
        "job",
        "type",
        "time",
        "quota",
        "kind",
        "cluster",
        "round",
    ],
)
def test_mistakes_are_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    base = _BASE if "--cluster" not in arguments else ["simulate", "generated"]
    assert main([*base, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_reasons_go_to_the_other_stream(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "generated", "--cluster", "v100:1", "--policy", "shortest", "--until-hours", "1"]) == 0
    assert "GPUs of one type, the fleet has at most 1" in capsys.readouterr().err
