from __future__ import annotations

from math import inf
from pathlib import Path

import numpy as np
import pytest

from apportion.instances.errors import InstanceError
from apportion.solvers.branching.host import BranchSettings
from apportion.solvers.branching.method import branch_and_bound
from apportion.solvers.branching.records import FEATURES, Record, Recorder
from apportion.solvers.branching.rules import FullStrong, PseudoCost
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from contract.programs import knapsack

PROGRAM = knapsack(size=20, rows=4, seed=1)


def recorded(recorder: Recorder, backend: str = "highs") -> int:
    parts = BranchSettings(recorder, presolve=False, cuts=False, heuristics=False)
    options = SolveOptions(gap=0.0, backend=backend)
    return branch_and_bound(PROGRAM, options, Monitor(PROGRAM.sense), settings=parts).counts["nodes"]


@pytest.mark.parametrize("backend", ["highs", "scip"])
def test_a_record_holds_every_decision(backend: str) -> None:
    recorder = Recorder(snapshots=True)
    recorded(recorder, backend)
    record = recorder.record(PROGRAM)
    assert len(record) == len(recorder) > 0
    assert record.starts[-1] == len(record.columns) == len(record.scores) == len(record.features)
    assert record.features.shape[1] == len(FEATURES)
    assert (np.diff(record.starts) > record.choices).all()
    for node, choice in enumerate(record.choices):
        scores = record.scores[record.starts[node] : record.starts[node + 1]]
        assert np.isfinite(scores).all()
        assert scores[choice] == scores.max()
        values = record.features[record.starts[node] : record.starts[node + 1], FEATURES.index("value")]
        columns = record.columns[record.starts[node] : record.starts[node + 1]]
        if backend == "highs":
            assert record.snapshots["values"][node][columns] == pytest.approx(values, abs=1e-5)
    fractions = record.features[:, FEATURES.index("fraction")]
    assert ((fractions > 0.0) & (fractions < 1.0)).all()
    assert record.graph["row_starts"][-1] == PROGRAM.matrix.num_nonzeros


def test_recording_does_not_change_the_tree() -> None:
    parts = BranchSettings(FullStrong(probe_all=True), presolve=False, cuts=False, heuristics=False)
    answer = branch_and_bound(PROGRAM, SolveOptions(gap=0.0), Monitor(PROGRAM.sense), settings=parts)
    assert recorded(Recorder()) == answer.counts["nodes"]


def test_a_share_is_recorded_and_no_more_than_asked() -> None:
    every, some = Recorder(), Recorder(PseudoCost(), share=0.3, seed=1)
    recorded(every)
    nodes = recorded(some)
    assert 0 < len(some) < nodes
    few = Recorder(PseudoCost(), most=2)
    recorded(few)
    assert len(few) == 2
    nothing = Recorder(PseudoCost(), share=0.0)
    recorded(nothing)
    assert len(nothing.record(PROGRAM)) == 0


def test_round_trip(tmp_path: Path) -> None:
    recorder = Recorder(snapshots=True)
    recorded(recorder)
    record = recorder.record(PROGRAM)
    record.save(tmp_path / "record.npz")
    again = Record.load(tmp_path / "record.npz")
    for name in ("columns", "features", "scores", "choices", "starts", "states"):
        np.testing.assert_array_equal(getattr(again, name), getattr(record, name))
    assert set(again.graph) == set(record.graph)
    np.testing.assert_array_equal(again.snapshots["values"], record.snapshots["values"])


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04broken"])
def test_a_broken_file_is_an_instance_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "record.npz"
    path.write_bytes(content)
    with pytest.raises(InstanceError, match="record"):
        Record.load(path)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "part.npz", columns=np.zeros(1))
    with pytest.raises(InstanceError, match="scores"):
        Record.load(tmp_path / "part.npz")


def test_a_partial_probe_leaves_scores_open() -> None:
    rule = FullStrong()
    recorded_scores: list[float] = []

    class Watcher:
        def choose(self, node: object) -> int:
            choice = rule.choose(node)  # type: ignore[arg-type]
            recorded_scores.extend(rule.scores.tolist())
            return choice

    parts = BranchSettings(Watcher(), presolve=False, cuts=False, heuristics=False)
    branch_and_bound(PROGRAM, SolveOptions(gap=0.0), Monitor(PROGRAM.sense), settings=parts)
    assert all(value >= 1e-12 or value == -inf for value in recorded_scores)
