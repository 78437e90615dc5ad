"""A real slurmctld with six slurmd and fake GPUs of three types; skipped with the reason where that cannot be."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apportion.bench.slurm_cluster import FakeCluster, why_not
from apportion.bench.slurm_stream import draw_stream, send
from apportion.scheduling.live import ControlLoop, Journal, LoopOptions, Phase, Verb
from apportion.scheduling.live.deciding import InlineDecider
from apportion.scheduling.live.planning import CompletionPolicy
from apportion.scheduling.slurm import SlurmAdapter
from apportion.scheduling.slurm.commands import Programs

WHY_NOT = why_not()
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-"),
]
PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[FakeCluster]:
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    try:
        with FakeCluster(folder, hold=True) as started:
            started.heartbeat.write_text(f"{int(time.time()) + 10**6}\n", encoding="ascii")
            yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def quiet(cluster: FakeCluster) -> Iterator[None]:
    yield
    cluster.run("scancel", "-u", "root", check=False)
    until(lambda: not cluster.run("squeue", "-h"), "the queue is empty")


def until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.2)


def loop_on(cluster: FakeCluster, journal: Journal | None = None, *, preempt: bool = False) -> ControlLoop:
    adapter = SlurmAdapter(Programs(cluster.config, 60.0))
    decider = InlineDecider(CompletionPolicy(search=False, preempt=preempt))
    return ControlLoop(adapter, decider, journal or Journal(None), LoopOptions(confirm_s=60.0))


def submit(cluster: FakeCluster, *arguments: str, seconds: float = 2.0) -> str:
    wrap = f"--wrap=sleep {seconds}"
    return cluster.run("sbatch", "--parsable", "-o", "/dev/null", "--time=5", *arguments, wrap).strip()


def shown(cluster: FakeCluster, job: str) -> dict[str, str]:
    line = cluster.run("squeue", "-h", "-j", job, "-t", "all", "-o", "%T|%N|%r|%k")
    return dict(zip(("state", "nodes", "reason", "comment"), line.strip().split("|", 3), strict=False))


def is_running(cluster: FakeCluster, job: str) -> Callable[[], bool]:
    return lambda: shown(cluster, job).get("state") == "RUNNING"


def test_the_shipped_script_holds_jobs_that_ask_for_gpus(cluster: FakeCluster) -> None:
    held, free = submit(cluster, "--gres=gpu:2"), submit(cluster)
    assert shown(cluster, held)["reason"].startswith("JobHeld")
    until(lambda: shown(cluster, free).get("state") in ("RUNNING", "COMPLETING", "COMPLETED", None), "it runs")
    assert shown(cluster, held)["state"] == "PENDING"


def test_nobody_is_held_while_the_scheduler_is_down(cluster: FakeCluster) -> None:
    written = cluster.heartbeat.read_text(encoding="ascii")
    cluster.heartbeat.write_text(f"{int(time.time()) - 3600}\n", encoding="ascii")
    try:
        job = submit(cluster, "--gres=gpu:2")
        assert "JobHeld" not in shown(cluster, job)["reason"]
    finally:
        cluster.heartbeat.write_text(written, encoding="ascii")


def test_jobs_and_gangs_run_where_they_are_told(cluster: FakeCluster) -> None:
    single = submit(cluster, "--gres=gpu:v100:3", seconds=20)
    gang = submit(cluster, "--gres=gpu:2", "-N2", "-C", "[t4]", seconds=20)
    hint = "--comment=apportion seconds=a100:100,v100:5,t4:100"
    hinted = submit(cluster, "--gres=gpu:1", hint, seconds=20)
    loop = loop_on(cluster)
    done = loop.round()
    placed = {action.job: action.nodes for action in done.actions if action.verb is Verb.START}
    assert placed[gang] in (("t4-1", "t4-2"), ("t4-2", "t4-1"))
    for job in (single, gang, hinted):
        until(is_running(cluster, job), f"job {job} runs")
    assert shown(cluster, gang)["nodes"] == "t4-[1-2]"
    assert shown(cluster, single)["nodes"] == placed[single][0]
    assert shown(cluster, hinted)["nodes"].startswith("v100")
    assert shown(cluster, hinted)["comment"].startswith("apportion seconds=a100:100,v100:5,t4:100 || Starts: on v100")
    state = loop.round().state
    assert state is not None
    assert state.job[single].phase is Phase.RUNNING
    assert state.job[single].request.num_gpus == 3
    assert all(action.verb is not Verb.START for action in loop.round().actions)


def test_reasons_are_shown_by_squeue(cluster: FakeCluster) -> None:
    large = submit(cluster, "--gres=gpu:8", "-N2", seconds=30)
    waits = submit(cluster, "--gres=gpu:a100:1", seconds=30)
    loop = loop_on(cluster)
    loop.round()
    loop.round()
    comments = [shown(cluster, name)["comment"] for name in (large, waits)]
    assert all(re.search(r"\|\| (Starts|Fragmented): ", comment) for comment in comments), comments


def test_preemption_by_requeue(cluster: FakeCluster) -> None:
    low = submit(cluster, "--gres=gpu:8", "-N2", "--requeue", "--comment=apportion preemptible=yes", seconds=300)
    loop = loop_on(cluster, preempt=True)
    loop.round()
    until(is_running(cluster, low), "the low job runs")
    high = submit(cluster, "-p", "high", "--gres=gpu:8", "-N2", seconds=5)
    done = loop.round()
    assert [(a.verb, a.job) for a in done.actions if a.verb is Verb.PREEMPT] == [(Verb.PREEMPT, low)]

    def high_runs() -> bool:
        loop.round()
        return is_running(cluster, high)()

    until(high_runs, "the high job runs")
    assert shown(cluster, low)["state"] == "PENDING"
    state = loop.round().state
    assert state is not None
    assert state.job[low].generation == 1


def test_a_job_that_is_cancelled_between_observation_and_order(cluster: FakeCluster) -> None:
    job = submit(cluster, "--gres=gpu:1")
    loop = loop_on(cluster)
    adapter = loop.adapter
    seen = adapter.observe()
    cluster.run("scancel", job)
    until(lambda: not cluster.run("squeue", "-h"), "it is gone")
    adapter.observe = lambda: seen  # type: ignore[method-assign]
    done = loop.round()
    assert all(outcome.status != "done" for outcome in done.outcomes if outcome.action.verb is Verb.START)


@pytest.mark.long
def test_a_controller_that_restarts_and_a_scheduler_that_is_killed(cluster: FakeCluster, tmp_path: Path) -> None:
    """Forty jobs; the scheduler is killed with -9 in the middle, and the controller restarted; all jobs run once."""
    stream = draw_stream(5, 40, 6.0)
    command = [sys.executable, "-m", "apportion", "serve", "slurm", "--config", str(cluster.config)]
    command += ["--interval", "0.3", "--policy", "completion-greedy", "--journal", str(tmp_path / "journal.db")]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(3.0)
        outcome = send(cluster, stream, patience_s=0.0)
        assert outcome.lost > 0
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    cluster.controller.terminate()
    cluster.controller.wait()
    second = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        cluster.start_controller()
        log = cluster.folder / "stream.log"
        until_all = time.monotonic() + 2 * PATIENCE_S
        while log.read_text(encoding="utf-8").count("E ") < len(stream) and time.monotonic() < until_all:
            time.sleep(0.5)
    finally:
        second.terminate()
        assert second.wait(30.0) == 0
    lines = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
    for letter in "SE":
        assert sorted(int(line[1]) for line in lines if line[0] == letter) == list(range(len(stream)))


def test_hand_back(cluster: FakeCluster) -> None:
    job = submit(cluster, "--gres=gpu:1", seconds=20)
    command = [sys.executable, "-m", "apportion", "serve", "slurm", "--config", str(cluster.config), "--hand-back"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == "gave 1 jobs back to Slurm\n"
    until(is_running(cluster, job), "Slurm runs it")
