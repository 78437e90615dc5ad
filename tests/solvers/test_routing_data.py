"""Real instances against their best known values (DIMACS convention for Solomon's files)."""

from __future__ import annotations

import csv

import pytest

from apportion.instances.plans import read_plan
from apportion.instances.reading import read
from apportion.instances.routing import VehicleRouting
from apportion.models.checking import check
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Status
from realdata import data_file

pytestmark = pytest.mark.data

FAMILIES = ("CVRP-X", "CVRP-DIMACS(real road matrix)", "VRPTW-Solomon", "VRPTW-Homberger")
BARS = [
    "cvrp/X/X-n101-k25.vrp",
    "cvrp/X/X-n502-k39.vrp",
    *(f"vrptw/solomon/{n}.txt" for n in ("R101", "C101", "RC108")),
]


def _best_known() -> dict[str, tuple[str, float]]:
    with data_file("logistics/best_known.csv").open() as stream:
        return {
            row["file"]: (row["family"], float(row["best_known"]))
            for row in csv.DictReader(stream)
            if row["family"] in FAMILIES
        }


def _instance(file: str) -> VehicleRouting:
    instance = read(data_file(f"logistics/{file}"))
    assert isinstance(instance, VehicleRouting)
    return instance


def test_published_solutions_pass_the_check_at_their_published_cost() -> None:
    for file, (_, best) in _best_known().items():
        instance = _instance(file)
        plan = read_plan(data_file(f"logistics/{file.rsplit('.', 1)[0]}.sol"), instance)
        verdict = check(instance, plan)
        assert verdict.ok, (file, verdict.violations)
        assert verdict.objective == pytest.approx(best, abs=1e-6), file


@pytest.mark.parametrize("file", BARS)
def test_a_short_run_is_near_the_best_known_with_a_true_bound(file: str) -> None:
    instance = _instance(file)
    best = _best_known()[file][1]
    result = solve_instance(instance, SolveOptions(node_limit=4000, time_limit_s=20.0))
    assert result.status.has_plan
    assert result.bounds.dual <= best + 1e-6
    assert best - 1e-6 <= result.objective <= 1.10 * best


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("file", BARS)
def test_ten_seconds_are_within_eight_per_cent(file: str, seed: int) -> None:
    best = _best_known()[file][1]
    result = solve_instance(_instance(file), SolveOptions(time_limit_s=10.0, seed=seed))
    assert result.bounds.dual <= best + 1e-6
    assert best - 1e-6 <= result.objective <= 1.08 * best


def test_c101_is_proven_optimal() -> None:
    result = solve_instance(_instance("vrptw/solomon/C101.txt"), SolveOptions(time_limit_s=30.0))
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(827.3)


@pytest.mark.parametrize(
    "file",
    [
        "rich/VRPB/X-n524-50-k125.vrp",
        "rich/MDVRPTW/PR11A.vrp",
        "rich/HFVRP/X101-FSMFD.vrp",
        "rich/PCVRPTW/C1_10_1.vrp",
        "rich/MTVRPTWR/C201R0.25.vrp",
        "rich/GVRP/G-n262-k25-C131-V12.vrp",
    ],
)
def test_richer_variants_are_refused_by_name_rather_than_misread(file: str) -> None:
    with pytest.raises(ValueError, match="is not supported"):
        read(data_file(f"logistics/{file}"), format="vrplib")
