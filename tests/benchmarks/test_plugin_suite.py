from __future__ import annotations

import numpy as np
import pytest

from apportion.bench.registry import Context
from apportion.bench.slurm_stream import StreamOutcome, draw_stream
from apportion.bench.suites.plugin import rounds, slurm


def test_the_quick_cases() -> None:
    rows = [*rounds(Context(quick=True)), *slurm(Context(quick=True))]
    assert {row.case for row in rows} == {"round", "slurm"}
    assert all(row.ours > 0 for row in rows)
    (compared,) = [row for row in rows if row.case == "slurm"]
    assert compared.peer is not None


def test_figures_of_a_stream() -> None:
    stream = draw_stream(1, 2)
    submitted = np.array([0.0, 1.0])
    outcome = StreamOutcome(stream, submitted, submitted + 1.0, np.array([4.0, np.nan]), ("a100", ""), 1)
    assert outcome.lost == 1
    assert outcome.mean_completion_s == pytest.approx(4.0)
    assert outcome.makespan_s == pytest.approx(4.0)
    gpus = stream[0].gpus * stream[0].workers
    assert outcome.held_percent == pytest.approx(100.0 * 3.0 * gpus / (28 * 4.0))


def test_streams_repeat() -> None:
    assert draw_stream(3) == draw_stream(3)
    assert len(draw_stream(3)) == 200
