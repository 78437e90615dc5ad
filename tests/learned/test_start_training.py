from __future__ import annotations

import json
from math import inf
from pathlib import Path

import numpy as np
import pytest

from apportion.cli import main
from apportion.instances.errors import InstanceError, OptionError
from apportion.instances.generate.series import series_program
from apportion.instances.program import MixedIntegerProgram
from apportion.instances.reading import write
from apportion.learned.advisors.loading import load_advisor
from apportion.learned.advisors.start import StartAdvisor
from apportion.learned.calibration import Calibration, calibration_error
from apportion.learned.store import Card, Trained
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status

SIZES = {"customers": 12, "facilities": 6}
TRAIN = ["train", "facility-day", "--instances", "8", "--size", "customers=12", "--size", "facilities=6", "--quiet"]


def day(seed: int) -> MixedIntegerProgram:
    return series_program("facility-day", seed, **SIZES)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="training needs torch")
    path = tmp_path_factory.mktemp("weights") / "facility.safetensors"
    assert main([*TRAIN, "--out", str(path)]) == 0
    return path


def test_trained_weights_advise_and_the_answer_is_proven(weights: Path) -> None:
    advisor, method = load_advisor(weights)
    assert method == "advised"
    fixed = 0
    for seed in range(3):
        program = day(seed)
        fixed += len(advisor.advise(program).fix)
        result = solve_instance(program, SolveOptions(gap=1e-3), method=method, advisor=advisor)
        plain = solve_instance(program, SolveOptions(gap=0.0))
        assert result.status is Status.OPTIMAL
        assert result.bounds.dual <= plain.bounds.primal + 1e-6 <= result.bounds.primal + 2e-6
    assert fixed > 0


def test_training_repeats_and_resumes(weights: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    samples = weights.with_suffix(".samples")
    before = {path.name: path.stat().st_mtime_ns for path in samples.iterdir()}
    assert len(before) == 8
    assert main([*TRAIN, "--out", str(again), "--work", str(samples)]) == 0
    assert {path.name: path.stat().st_mtime_ns for path in samples.iterdir()} == before
    first, second = Trained.load(weights), Trained.load(again)
    assert all((first.arrays[name] == second.arrays[name]).all() for name in first.arrays)
    assert first.card == second.card


def test_the_card_says_what_it_is(weights: Path) -> None:
    text = weights.with_suffix(".md").read_text()
    for part in ("apportion train facility-day", "expected calibration error", "unseen", "It may be wrong"):
        assert part in text
    assert weights.stat().st_size < 2_000_000


def test_another_structure_gets_no_advice(weights: Path) -> None:
    advisor, _ = load_advisor(weights)
    other = series_program("facility-day", 1, customers=13, facilities=6)
    assert not advisor.advise(other).fix


def test_the_command_line_takes_advice(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "day.mps"
    write(day(3), path)
    out = tmp_path / "plan.json"
    assert main(["solve", str(path), "--advisor", str(weights), "--gap", "0.001", "--quiet", "--out", str(out)]) == 0
    assert json.loads(out.read_text())


def test_damaged_weights_are_refused_by_name(weights: Path, tmp_path: Path) -> None:
    whole = weights.read_bytes()
    for name, content in (
        ("cut", whole[: len(whole) // 2]),
        ("empty", b""),
        ("text", b"not weights at all"),
        ("header", b"\xff" * 64 + whole[64:]),
    ):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(InstanceError, match=name):
            load_advisor(path)
    with pytest.raises(InstanceError, match="nowhere"):
        load_advisor(tmp_path / "nowhere.safetensors")
    assert main(["solve", str(weights), "--advisor", str(tmp_path / "cut.safetensors"), "--quiet"]) != 0


def test_mismatched_cards_are_refused(weights: Path, tmp_path: Path) -> None:
    trained = Trained.load(weights)
    card = trained.card
    for name, changed in (
        ("advisor", Card("weather", card.family, card.command)),
        ("settings", Card("start", card.family, card.command)),
        ("width", Card("start", "", "", settings=dict(card.settings) | {"width": 7})),
        ("confidence", Card("start", "", "", settings=dict(card.settings) | {"confidence": 0.1})),
        ("calibration", Card("start", "", "", settings=card.settings, calibration={"temperature": -1.0})),
    ):
        path = tmp_path / f"{name}.safetensors"
        Trained(changed, trained.arrays).save(path)
        with pytest.raises(InstanceError, match=name):
            load_advisor(path)
    with pytest.raises(InstanceError, match="advisor"):
        Trained.load(weights, "branch")


def test_other_safetensors_are_no_weights(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(InstanceError, match="card"):
        Trained.load(tmp_path / "a.safetensors")
    save_file({"a": np.zeros(2)}, tmp_path / "b.safetensors", {"apportion": '{"version": 99, "advisor": "start"}'})
    with pytest.raises(InstanceError, match=r"version|card"):
        Trained.load(tmp_path / "b.safetensors")


def test_bad_requests_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    out = ["--out", str(tmp_path / "w.safetensors"), "--quiet"]
    assert main(["train", "weather", *out]) == 2
    assert "Maybe one of" in capsys.readouterr().err
    assert main(["train", "facility-day", "--advisor", "oracle", *out]) == 2
    assert (
        main(["train", "facility-day", "--instances", "2", "--size", "customers=5", "--size", "facilities=3", *out])
        == 2
    )
    assert "too few" in capsys.readouterr().err


def test_a_net_that_lies_costs_only_time(weights: Path) -> None:
    trained = Trained.load(weights)
    program = day(4)
    plain = solve_instance(program, SolveOptions(gap=0.0))
    for factor in (-1.0, 0.0, 100.0):
        arrays = dict(trained.arrays) | {"out.second.weight": factor * trained.arrays["out.second.weight"]}
        advisor = StartAdvisor.of(Trained(trained.card, arrays), "w")
        result = solve_instance(program, SolveOptions(gap=1e-3), method="advised", advisor=advisor)
        assert result.status is Status.OPTIMAL
        assert result.bounds.dual <= plain.bounds.primal + 1e-6


def test_calibration_makes_probabilities_honest() -> None:
    random = np.random.default_rng(0)
    truth = random.random(20_000)
    labels = (random.random(20_000) < truth).astype(float)
    logits = 3.0 * np.log(truth / (1.0 - truth))  # overconfident
    calibration = Calibration.fitted(logits, labels)
    raw, better = Calibration().probabilities(logits), calibration.probabilities(logits)
    assert calibration_error(better, labels) < 0.02 < 0.1 < calibration_error(raw, labels)
    assert Calibration.from_dict(calibration.to_dict()) == calibration
    assert (np.diff(better[np.argsort(logits)]) >= 0.0).all()


@pytest.mark.parametrize(
    "plain",
    [
        {"temperature": 0.0},
        {"temperature": "warm"},
        {"steps": [0.1], "levels": []},
        {"steps": [0.5, 0.1], "levels": [0, 1]},
    ],
)
def test_calibrations_that_are_none(plain: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Calibration.from_dict(plain)


def test_too_little_to_learn_from() -> None:
    pytest.importorskip("torch", reason="training needs torch")
    from apportion.learned.training.start import train_start

    with pytest.raises(OptionError, match="too few"):
        train_start([], "nothing", "")


def test_damaged_samples_are_named(tmp_path: Path) -> None:
    from apportion.learned.training.collect import collect

    program = day(1)
    (tmp_path / f"{program.name}.npz").write_bytes(b"broken")
    with pytest.raises(InstanceError, match="no solved sample"):
        collect([program], tmp_path, SolveOptions(time_limit_s=inf))
