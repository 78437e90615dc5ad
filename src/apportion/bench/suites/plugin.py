"""The live scheduler: how long a round takes, and a stream of jobs on a real Slurm against its own backfill."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.bench.slurm_cluster import NODES, why_not
from apportion.bench.slurm_stream import StreamJob, StreamOutcome, by_plugin, by_slurm, draw_stream
from apportion.scheduling.live import ControlLoop, Job, Journal, LoopOptions, Node
from apportion.scheduling.live.deciding import InlineDecider, WorkerDecider
from apportion.scheduling.live.planning import CompletionPolicy
from apportion.scheduling.live.rules import greedy
from apportion.scheduling.live.simulated import SimulatedCluster
from apportion.scheduling.live.state import sample_state
from apportion.solvers.online.snapshot import Request

_TYPES = ("a100", "v100", "t4")
_ROUNDS = 40
_LOADING_S = 120.0
_STEP_S = 0.5
_SEED = 7


def crowded_cluster(seed: int, num_nodes: int, num_jobs: int) -> tuple[SimulatedCluster, list[Job]]:
    """Nodes of three types and more jobs than fit, and as many jobs again that come later."""
    draw = np.random.default_rng(seed)
    nodes = [Node(f"n{i:04}", 64_000, 512_000, 8, _TYPES[i % 3]) for i in range(num_nodes)]
    jobs = []
    for j in range(2 * num_jobs):
        gpus, workers = int(draw.choice([1, 1, 1, 2, 4, 8])), int(draw.choice([1] * 19 + [2]))
        base = float(np.exp(draw.uniform(np.log(60.0), np.log(7200.0))))
        slower = (1.0, float(draw.uniform(1.0, 2.0)), float(draw.uniform(1.5, 4.0)))
        seconds = tuple((kind, round(base * factor, 1)) for kind, factor in zip(_TYPES, slower, strict=True))
        request = Request(4000 * gpus, 8000 * gpus, gpus, 1000)
        jobs.append(Job(f"j{j:05}", request, workers, limit_s=86_400.0, seconds=seconds))
    return SimulatedCluster(nodes), jobs


@spec("plugin", "round")
def rounds(context: Context) -> Iterator[Measurement]:
    """Rounds with 1,000 nodes and 5,000 waiting jobs: the policy in its own process, the journal on disk."""
    num_nodes, num_jobs, count = (30, 150, 5) if context.quick else (1000, 5000, _ROUNDS)
    cluster, jobs = crowded_cluster(1, num_nodes, num_jobs)
    fallback = greedy()
    fallback.decide(sample_state(), 0.0)
    decider = WorkerDecider(CompletionPolicy(), fallback)
    took: list[float] = []
    late = 0
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.db")
        loop = ControlLoop(cluster, decider, journal, LoopOptions(deadline_s=2.5, most_starts=10_000))
        try:
            decider.wait_ready(_LOADING_S)
            coming = iter(jobs)
            for _ in range(count):
                missing = num_jobs - len(cluster.look().waiting())
                cluster.submit(*(job for _, job in zip(range(missing), coming, strict=False)))
                done = loop.round()
                took.append(done.took_s)
                late += done.decided_by == "fallback"
                cluster.advance(30.0)
            memory = _memory_mib(decider.pid)
        finally:
            decider.close()
            journal.close()
    cpu = time.process_time() - began
    case = f"{num_nodes} nodes, {num_jobs} waiting"
    note = f"{count} rounds, {late} decided by the fallback, {sum(cluster.starts.values())} starts"
    yield Measurement("round", f"{case}: median s", statistics.median(took), target=Target("ours", "<=", 1.0),
                      cpu_s=cpu, note=note)  # fmt: skip
    yield Measurement("round", f"{case}: p99 s", float(np.percentile(took, 99)), target=Target("ours", "<=", 3.0))
    if memory is not None:
        yield Measurement("round", f"{case}: memory MiB", memory, target=Target("ours", "<=", 500.0),
                          note="both processes, proportional set size")  # fmt: skip


def _memory_mib(worker: int | None) -> float | None:
    """What both processes hold, shared pages counted once; None where the system does not say."""
    total = 0.0
    for process in ("self", str(worker)):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        total += next((float(line.split()[1]) / 1024.0 for line in lines if line.startswith("Pss:")), 0.0)
    return total if total > 0 else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


@spec("plugin", "slurm")
def slurm(context: Context) -> Iterator[Measurement]:
    """The same stream of 200 sleep jobs on the same fake cluster: the plugin, Slurm's backfill, and that one tuned."""
    if context.quick or why_not():
        yield from _simulated(why_not() or "quick: a simulated cluster in the place of Slurm")
        return
    stream = draw_stream(_SEED)
    with tempfile.TemporaryDirectory(prefix="sl") as folder:
        ours = by_plugin(_made(folder, "p"), stream, policy="completion")
        own = by_slurm(_made(folder, "s"), stream)
        yield from _compared(ours, own, "Slurm backfill", "")
        if context.wants("slurm-tuned"):
            note = "knows the shortest jobs by niceness, fast nodes first"
            yield from _compared(ours, by_slurm(_made(folder, "t"), stream, tuned=True), "Slurm backfill, tuned", note)


def _made(folder: str, name: str) -> Path:
    made = Path(folder) / name
    made.mkdir()
    return made


def _compared(ours: StreamOutcome, peer: StreamOutcome, name: str, note: str) -> Iterator[Measurement]:
    figures = (
        ("jobs that did not end", float(ours.lost), float(peer.lost), Target("ours", "<=", 0.0)),
        ("starts beyond one a job", float(ours.starts - len(ours.jobs)), float(peer.starts - len(peer.jobs)),
         Target("ours", "<=", 0.0)),
        ("mean completion, s", ours.mean_completion_s, peer.mean_completion_s, Target("ratio", "<=", 1.0)),
        ("p95 completion, s", ours.p95_completion_s, peer.p95_completion_s, None),
        ("makespan, s", ours.makespan_s, peer.makespan_s, None),
        ("GPU use: work done, %", ours.work_percent, peer.work_percent, Target("ratio", ">=", 1.0)),
        ("GPU time held, %", ours.held_percent, peer.held_percent, None),
    )  # fmt: skip
    for metric, mine, theirs, target in figures:
        yield Measurement("slurm", metric, mine, theirs, name, target=target, seeds=(_SEED,), note=note)


def _simulated(why: str) -> Iterator[Measurement]:
    stream = draw_stream(_SEED, 40, 20.0)
    ours, plain = _played(stream, search=True), _played(stream, search=False)
    metric = "mean completion, s, simulated"
    yield Measurement("slurm", metric, ours, plain, "one pass", seeds=(_SEED,), note=why)


def _played(stream: list[StreamJob], *, search: bool) -> float:
    nodes = [Node(name, 64_000, 512_000, gpus, name.partition("-")[0]) for name, gpus in NODES.items()]
    cluster = SimulatedCluster(nodes)
    loop = ControlLoop(cluster, InlineDecider(CompletionPolicy(search=search)), options=LoopOptions(budget_s=0.02))
    coming = list(enumerate(stream))
    while coming or cluster.jobs:
        while coming and coming[0][1].at_s <= cluster.now_s:
            number, job = coming.pop(0)
            cluster.submit(job.live(str(number)))
        loop.round()
        cluster.advance(_STEP_S)
    return float(np.mean([cluster.ended[str(i)] - job.at_s for i, job in enumerate(stream)]))
