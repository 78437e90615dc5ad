from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.cli import main
from apportion.instances.errors import InstanceError, OptionError
from apportion.instances.generate.benchmark_programs import benchmark_program
from apportion.instances.generate.branching_programs import branching_program
from apportion.instances.program import MixedIntegerProgram
from apportion.learned.advisors.configuration import ConfigurationAdvisor
from apportion.learned.advisors.loading import load_advisor
from apportion.learned.configurations import CONFIGURATIONS, FEATURES, able, features_of
from apportion.learned.store import Card, Trained
from apportion.learned.training.configuration import Race, train_configuration
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status
from contract.programs import CASES

NAMES = tuple(CONFIGURATIONS)
COVERS = [branching_program("set-cover", seed, rows=40, columns=60) for seed in range(6)]


def advisor(fastest: str, gain: float = 0.1) -> ConfigurationAdvisor:
    """Raced, as it were, on small covers: ``fastest`` took 1 s, the others 10."""
    seconds = np.array([[1.0 if name == fastest else 10.0 for name in NAMES] for _ in COVERS])
    return ConfigurationAdvisor(NAMES, np.array([features_of(program) for program in COVERS]), seconds, gain)


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_proves_the_same(name: str) -> None:
    program = branching_program("set-cover", 9, rows=40, columns=60)
    plain = solve_instance(program, SolveOptions(gap=0.0))
    advice = advisor(name).advise(program)
    assert advice.options == ({} if name == "highs" else CONFIGURATIONS[name])
    result = solve_instance(program, SolveOptions(gap=0.0), method="advised", advisor=advisor(name))
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(plain.objective)


def test_the_caller_s_backend_stays() -> None:
    program = COVERS[0]
    result = solve_instance(program, SolveOptions(backend="highs"), method="advised", advisor=advisor("scip"))
    assert "scip" not in result.native_status


def test_a_small_gain_is_not_worth_a_change() -> None:
    assert advisor("scip", gain=0.95).advise(COVERS[0]).options == {}


@pytest.mark.parametrize("family", ["lot-sizing", "multi-knapsack", "network"])
def test_programs_unlike_all_raced_get_no_advice(family: str) -> None:
    assert advisor("scip").expected(benchmark_program(family, 1)) is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_any_program_has_features_and_a_configuration(case: Any) -> None:
    program: MixedIntegerProgram = case.build()
    assert np.isfinite(features_of(program)).all()
    assert len(features_of(program)) == len(FEATURES)
    assert set(able(program)) <= set(NAMES)


def test_a_race_caps_and_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    race = Race(NAMES, SolveOptions(time_limit_s=60.0))
    runs: list[str] = []
    times = {name: 1.0 + 0.1 * place for place, name in enumerate(NAMES)} | {"cp-sat": 9.0}

    def instead(program: MixedIntegerProgram, name: str, best: float) -> float:
        del program
        runs.append(name)
        return min(times[name], 2.0 * best)

    monkeypatch.setattr(race, "_one", instead)
    for program in COVERS:
        race.run(program)
    assert runs.count("cp-sat") == 4
    assert runs.count("highs") == len(COVERS)
    assert race.seconds[-1, NAMES.index("cp-sat")] == pytest.approx(2.0)
    assert np.isfinite(race.seconds).all()


def test_training_resumes_and_advises(tmp_path: Path) -> None:
    out, work = tmp_path / "covers.safetensors", tmp_path / "rows"
    command = ["train", "set-cover", "--advisor", "configuration", "--instances", "2", "--size", "rows=40", "--quiet"]
    command += ["--size", "columns=60", "--out", str(out), "--work", str(work)]
    assert main(command) == 0
    rows = {path.name: path.stat().st_mtime_ns for path in work.iterdir()}
    assert len(rows) == 2
    first = Trained.load(out)
    assert main(command) == 0
    assert {path.name: path.stat().st_mtime_ns for path in work.iterdir()} == rows
    assert (Trained.load(out).arrays["seconds"] == first.arrays["seconds"]).all()
    loaded, method = load_advisor(out)
    assert method == "advised"
    program = branching_program("set-cover", 3, rows=40, columns=60)
    result = solve_instance(program, SolveOptions(), method=method, advisor=loaded)
    assert result.status is Status.OPTIMAL
    next(work.iterdir()).write_text("[1, 2]")
    assert main(command) == 4


def test_races_that_do_not_fit_are_refused() -> None:
    arrays = {"features": np.zeros((2, len(FEATURES))), "seconds": np.ones((2, 2))}
    settings = {"configurations": ["highs", "scip"]}

    def load(changed: dict[str, np.ndarray], names: object = None) -> ConfigurationAdvisor:
        card = Card("configuration", "", "", settings=settings if names is None else {"configurations": names})
        return ConfigurationAdvisor.of(Trained(card, arrays | changed), "w")

    assert load({}).names == ("highs", "scip")
    for changed, names, place in (
        ({"features": np.zeros((2, 3))}, None, "features"),
        ({"seconds": np.ones((3, 2))}, None, "seconds"),
        ({"seconds": np.full((2, 2), np.nan)}, None, "seconds"),
        ({}, ["highs", "oracle"], "oracle"),
        ({}, ["scip"], "highs"),
        ({}, "highs", "configurations"),
    ):
        with pytest.raises(InstanceError, match=place):
            load(changed, names)
    with pytest.raises(InstanceError, match="seconds"):
        ConfigurationAdvisor.of(Trained(Card("configuration", "", ""), {"features": arrays["features"]}), "w")


def test_nothing_to_race_on(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no program"):
        train_configuration([], "", "", tmp_path, SolveOptions())
