"""``apportion serve`` as a user meets it, without a cluster."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import live_fakes as fakes
from apportion import serving
from apportion.cli import main
from apportion.instances.errors import OptionError
from apportion.scheduling.live import ControlLoop, Round
from apportion.serving import ServeRequest, serve


def test_one_round(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cluster = fakes.two_nodes()
    cluster.submit(fakes.job("j0", 2), fakes.job("j1", 99))
    beat = tmp_path / "deep" / "heartbeat"
    request = ServeRequest(once=True, journal=tmp_path / "journal.db", heartbeat=beat, budget_s=0.0)
    assert serve(cluster, request) == 0
    out = capsys.readouterr().out
    assert "start j0.0 a100-1: Starts: on a100-1" in out
    assert cluster.jobs["j1"].note.startswith("TooLarge: asks for 99 GPUs")
    assert beat.read_text(encoding="ascii").strip().isdigit()


def test_dry_run_says_what_it_would_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cluster = fakes.two_nodes()
    cluster.submit(fakes.job("j0", 2))
    request = ServeRequest(once=True, dry_run=True, journal=tmp_path / "journal.db", budget_s=0.0)
    assert serve(cluster, request) == 0
    assert "would start j0.0 a100-1: Starts: " in capsys.readouterr().out
    assert not cluster.starts
    assert not (tmp_path / "journal.db").exists()


def test_a_cluster_that_does_not_answer_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = fakes.two_nodes(deaf=1)
    assert serve(cluster, ServeRequest(once=True)) == 1
    assert "simulated does not answer: no answer within 1 s" in capsys.readouterr().out


def test_serving_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = fakes.two_nodes()
    cluster.submit(*(fakes.job(f"j{i}", 8, seconds=1.0) for i in range(3)))
    stop = threading.Event()
    rounds: list[Round] = []

    def on_round(done: Round) -> None:
        rounds.append(done)
        cluster.advance(5.0)
        if not cluster.jobs:
            stop.set()

    class Stopping:
        def __enter__(self) -> threading.Event:
            return stop

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(serving, "_stopping", Stopping)
    assert serve(cluster, ServeRequest(interval_s=0.01, deadline_s=60.0), on_round) == 0
    assert [done.decided_by for done in rounds] == ["policy"] * 3
    fakes.assert_each_started_once(cluster, ["j0", "j1", "j2"])


def test_signals_end_the_loop() -> None:
    import os
    import signal

    with serving._stopping() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(10.0)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_wrong_options() -> None:
    with pytest.raises(OptionError, match="--interval"):
        serve(fakes.two_nodes(), ServeRequest(interval_s=0.0))
    with pytest.raises(OptionError, match="budget_s"):
        serve(fakes.two_nodes(), ServeRequest(budget_s=-1.0))


def test_without_slurm_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["serve", "slurm", "--once"]) == 5
    assert "squeue, sinfo, scontrol\nMaybe apt-get install slurm-client" in capsys.readouterr().err


def test_an_interrupted_round_leaves_nothing_behind() -> None:
    cluster = fakes.two_nodes()
    cluster.submit(fakes.job("j0"))
    loop: ControlLoop = fakes.loop_on(cluster)
    loop.run(lambda: loop.number >= 2, lambda _: None, lambda _: None)
    assert loop.number == 2
