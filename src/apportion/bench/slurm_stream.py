"""A stream of mixed jobs sent to a Slurm cluster, and what became of it. Jobs sleep; how long depends on the GPUs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apportion.bench.slurm_cluster import NODES, FakeCluster
from apportion.scheduling.live.state import Job
from apportion.solvers.online.snapshot import Request

TYPES = ("a100", "v100", "t4")
_SLOWER = {"heavy": (1.0, 2.0, 4.0), "middle": (1.0, 1.5, 2.0), "light": (1.0, 1.1, 1.2)}
"""How much longer a kind of job takes on each type."""
_LONGEST_S = 20.0
_ON_ONE_NODE = {"a100": 8, "v100": 4, "t4": 2}


@dataclass(frozen=True)
class StreamJob:
    """One job: ``seconds`` by type it accepts, ``workers`` nodes with ``gpus`` each."""

    at_s: float
    gpus: int
    workers: int
    seconds: tuple[tuple[str, float], ...]

    @property
    def constraint(self) -> str:
        """The types in Slurm's words; in brackets all nodes of a gang are of one type."""
        kinds = "|".join(kind for kind, _ in self.seconds)
        return f"[{kinds}]" if self.workers > 1 and len(self.seconds) > 1 else kinds

    @property
    def work(self) -> float:
        """GPU-seconds on the fastest type that it accepts."""
        return self.gpus * self.workers * min(seconds for _, seconds in self.seconds)

    def live(self, name: str) -> Job:
        """The same for a simulated cluster."""
        cpus = 1000 * self.gpus
        request = Request(cpus, 500 * self.gpus, self.gpus, 1000, tuple(kind for kind, _ in self.seconds))
        return Job(name, request, self.workers, limit_s=60.0, seconds=self.seconds)


def draw_stream(seed: int, count: int = 200, span_s: float = 60.0) -> list[StreamJob]:
    """Jobs over ``span_s`` seconds: 1 to 8 GPUs, a tenth of them gangs on two nodes, two in ten bound to one type.

    >>> stream = draw_stream(1, 50)
    >>> len(stream), all(1.0 <= s <= 20.0 for job in stream for _, s in job.seconds)
    (50, True)
    """
    draw = np.random.default_rng(seed)
    jobs = []
    for at_s in np.sort(draw.uniform(0.0, span_s, count)):
        gpus = int(draw.choice([1, 2, 4, 8], p=[0.5, 0.22, 0.18, 0.10]))
        workers = 2 if draw.random() < 0.1 else 1
        slower = _SLOWER[str(draw.choice(list(_SLOWER)))]
        base = float(np.exp(draw.uniform(np.log(1.0), np.log(8.0))))
        kinds = [kind for kind in TYPES if _ON_ONE_NODE[kind] >= gpus]
        if draw.random() < 0.2:
            kinds = [str(draw.choice(kinds))]
        pairs = zip(TYPES, slower, strict=True)
        seconds = tuple((k, round(min(_LONGEST_S, base * factor), 2)) for k, factor in pairs if k in kinds)
        jobs.append(StreamJob(round(float(at_s), 3), gpus, workers, seconds))
    return jobs


@dataclass(frozen=True)
class StreamOutcome:
    """What became of the jobs: submission, start and end by position in seconds, and the type of GPU; NaN when lost."""

    jobs: Sequence[StreamJob]
    submitted: np.ndarray
    started: np.ndarray
    ended: np.ndarray
    kinds: tuple[str, ...]
    starts: int

    @property
    def lost(self) -> int:
        """How many did not end."""
        return int(np.isnan(self.ended).sum())

    @property
    def mean_completion_s(self) -> float:
        """Mean of submission to end."""
        return float(np.nanmean(self.ended - self.submitted))

    @property
    def p95_completion_s(self) -> float:
        """Nineteen in twenty take no longer."""
        return float(np.nanpercentile(self.ended - self.submitted, 95))

    @property
    def makespan_s(self) -> float:
        """First submission to last end."""
        return float(np.nanmax(self.ended) - np.nanmin(self.submitted))

    @property
    def held_percent(self) -> float:
        """GPU time held by jobs over all GPU time until the last end."""
        gpus = np.array([job.gpus * job.workers for job in self.jobs])
        held = float(np.nansum((self.ended - self.started) * gpus))
        return 100.0 * held / (sum(NODES.values()) * self.makespan_s)

    @property
    def work_percent(self) -> float:
        """Work done, in GPU-seconds on each job's fastest type, over all GPU time until the last end."""
        work = sum(job.work for job, end in zip(self.jobs, self.ended, strict=True) if not np.isnan(end))
        return 100.0 * work / (sum(NODES.values()) * self.makespan_s)


_SCRIPT = """#!/bin/bash
kind=${{SLURMD_NODENAME%-*}}
declare -A seconds=({table})
echo "S {number} $kind $(date +%s.%N)" >> {log}
sleep ${{seconds[$kind]}}
echo "E {number} $kind $(date +%s.%N)" >> {log}
"""


def _submission(job: StreamJob, script: Path, shortest_first: bool) -> list[str]:
    hint = ",".join(f"{kind}:{seconds:g}" for kind, seconds in job.seconds)
    command = ["sbatch", "--parsable", "-o", "/dev/null", f"--gres=gpu:{job.gpus}", f"-N{job.workers}"]
    command += [f"--ntasks-per-node={job.gpus}", "--mem-per-cpu=500", "--time=1", "-C", job.constraint]
    if shortest_first:
        command.append(f"--nice={int(100 * min(s for _, s in job.seconds) * (job.gpus * job.workers) ** 0.7)}")
    return [*command, f"--comment=apportion seconds={hint}", str(script)]


def send(
    cluster: FakeCluster, stream: Sequence[StreamJob], *, shortest_first: bool = False, patience_s: float = 400.0
) -> StreamOutcome:
    """Submit the jobs at their times and wait until all have ended."""
    log, scripts = cluster.folder / "stream.log", cluster.folder / "scripts"
    scripts.mkdir(exist_ok=True)
    log.write_text("", encoding="utf-8")
    submitted = np.full(len(stream), np.nan)
    begin = time.monotonic()
    for number, job in enumerate(stream):
        table = " ".join(f"[{kind}]={seconds:g}" for kind, seconds in job.seconds)
        script = scripts / f"{number}.sh"
        script.write_text(_SCRIPT.format(table=table, number=number, log=log), encoding="utf-8")
        time.sleep(max(0.0, job.at_s - (time.monotonic() - begin)))
        submitted[number] = time.time()
        cluster.run(*_submission(job, script, shortest_first))
    end = time.monotonic() + patience_s
    while log.read_text(encoding="utf-8").count("E ") < len(stream) and time.monotonic() < end:
        time.sleep(0.5)
    return _outcome(stream, submitted, log.read_text(encoding="utf-8"))


def _outcome(stream: Sequence[StreamJob], submitted: np.ndarray, log: str) -> StreamOutcome:
    started, ended = np.full(len(stream), np.nan), np.full(len(stream), np.nan)
    kinds = [""] * len(stream)
    starts = 0
    for line in log.splitlines():
        letter, number, kind, at = line.split()
        if letter == "S":
            starts += 1
            started[int(number)], kinds[int(number)] = float(at), kind
        else:
            ended[int(number)] = float(at)
    return StreamOutcome(stream, submitted, started, ended, tuple(kinds), starts)


def by_slurm(folder: Path, stream: Sequence[StreamJob], *, tuned: bool = False) -> StreamOutcome:
    """Slurm's own backfill; ``tuned`` lets it know the shortest jobs (as niceness) and take the fastest nodes first."""
    weights = {"a100": 1, "v100": 2, "t4": 3} if tuned else {}
    with FakeCluster(folder, weights=weights) as cluster:
        return send(cluster, stream, shortest_first=tuned)


def by_plugin(folder: Path, stream: Sequence[StreamJob], *, policy: str, interval_s: float = 0.4) -> StreamOutcome:
    """The plugin, as its own process, on the same Slurm with the shipped ``job_submit.lua``."""
    with FakeCluster(folder, hold=True) as cluster:
        command = [sys.executable, "-m", "apportion", "serve", "slurm", "--config", str(cluster.config)]
        command += ["--interval", str(interval_s), "--policy", policy, "--journal", str(folder / "journal.db")]
        command += ["--budget", "0.1", "--heartbeat", str(cluster.heartbeat)]
        with (folder / "serve.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as plugin:
            try:
                _until(cluster.heartbeat.exists, 60.0, "the plugin's first round")
                return send(cluster, stream)
            finally:
                plugin.terminate()
                plugin.wait(20.0)


def _until(done: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(f"no {what} within {seconds:g} s")
        time.sleep(0.1)
