"""Placing arrivals on the openb cluster by the protocol of FGD: rules that may not refuse, waiting, and all at once."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

import numpy as np

from apportion.bench.registry import Context, Measurement, Target, spec
from apportion.instances.cluster import ClusterPlacement
from apportion.instances.generate.arrivals import inflated_arrivals
from apportion.instances.generate.cluster import generate_cluster
from apportion.instances.reading import read
from apportion.models.checking import check
from apportion.solvers.cluster.state import decreasing
from apportion.solvers.online.admission import Admission, replay_with_waiting
from apportion.solvers.online.ceiling import ceiling_gpus
from apportion.solvers.online.policy import RULES, RulePolicy
from apportion.solvers.online.replay import Replay, replay
from apportion.solvers.options import SolveOptions
from apportion.solvers.solve import solve_instance

_FOLDER = "gpu/openb"
_VARIANTS = (
    "default",
    "cpu050",
    "cpu200",
    "gpushare40",
    "gpushare80",
    "gpuspec10",
    "gpuspec25",
    "multigpu20",
    "multigpu40",
)
_PUBLISHED_NAMES = {
    "fgd": "FGD",
    "best-fit": "BestFit",
    "dot-product": "DotProd",
    "packing": "GpuPacking",
    "clustering": "GpuClustering",
    "random": "Random",
}
_SEEDS = tuple(range(42, 52))
_QUICK_SEEDS = (42, 43)
_BATCH_SEEDS = 3
_RATIO = 1.3
_ARRIVED = 130
_CLOSE = 0.4
_DEFAULT_BAR = 95.7
_GAIN_BAR = 0.3
_MEDIAN_MS = 0.5
_P99_MS = 5.0
_ADMISSION_BAR = 97.0
_BATCH_BAR = 97.5
_WAITS = (0, 1000, 2000, 3000, 4000)
_WAITS_GENERATED = (0, 100)
_STATED_WAIT = 3000
_BATCH_GAP = 1e-3
_BATCH_LIMIT_S = 120.0
_ALLOCATED = "GPUs allocated, %"


@dataclass(frozen=True, eq=False)
class Workload:
    """A list of tasks and nodes, and what was published for it by rule, in percent."""

    name: str
    cluster: ClusterPlacement
    published: dict[str, float]
    seeds: tuple[int, ...]

    @cached_property
    def arrivals(self) -> tuple[ClusterPlacement, ...]:
        """One stream of arrivals per seed."""
        return tuple(inflated_arrivals(self.cluster, _RATIO, seed) for seed in self.seeds)


@dataclass(frozen=True, eq=False)
class Played:
    """The replays of one rule on the streams of a workload."""

    percent: float
    cpu_s: float
    replays: tuple[Replay, ...]

    @classmethod
    def of(cls, workload: Workload, rule: str) -> Played:
        """Play every stream and check every plan."""
        policy = RulePolicy.named(rule, workload.cluster, seed=1)
        began = time.process_time()
        replays = tuple(replay(arrivals, policy) for arrivals in workload.arrivals)
        spent = time.process_time() - began
        return cls(fmean(checked_percent(played) for played in replays), spent, replays)


def checked_percent(played: Replay) -> float:
    """GPU allocation when 130 % have arrived, NaN when the plan fails the independent check."""
    if not check(played.cluster, played.placement()).ok:
        return float("nan")
    at = played.allocated_percent(_ARRIVED)
    return played.final_percent if np.isnan(at) else at


def workloads(context: Context) -> list[Workload]:
    """The published variants; a generated stand-in when quick or without the data."""
    nodes = context.data_file(f"{_FOLDER}/openb_node_list_gpu_node.csv")
    table = context.data_file(f"{_FOLDER}/published_results_mean.csv")
    if context.quick or nodes is None or table is None:
        return [Workload("generated", generate_cluster(seed=1, nodes=16, tasks=110), {}, _QUICK_SEEDS)]
    published = _published(table)
    found = []
    for name in _VARIANTS:
        path = context.data_file(f"{_FOLDER}/openb_pod_list_{name}.csv.gz")
        cluster = read(path, nodes=nodes) if path is not None else None
        if isinstance(cluster, ClusterPlacement):
            found.append(Workload(name, cluster, published.get(name, {}), _SEEDS))
    return found


def _published(path: Path) -> dict[str, dict[str, float]]:
    """Mean allocation by workload and rule."""
    rule_of = {published: rule for rule, published in _PUBLISHED_NAMES.items()}
    found: dict[str, dict[str, float]] = {}
    with path.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["arrived_pct"] == str(_ARRIVED) and row["policy"] in rule_of:
                found.setdefault(row["workload"], {})[rule_of[row["policy"]]] = float(row["gpu_alloc_pct_mean"])
    return found


@spec("cluster", "online")
def online(context: Context) -> Iterator[Measurement]:
    """The published rules reproduced, and the least-loss rule under the same rules of play."""
    gains = []
    _warm_up()
    for workload in workloads(context):
        played = {rule: Played.of(workload, rule) for rule in RULES}
        for rule in _PUBLISHED_NAMES:
            yield _reproduced(workload, rule, played[rule])
        ours, fgd = played["least-loss"], played["fgd"]
        gains.append(ours.percent - fgd.percent)
        yield Measurement(
            f"{workload.name}, least-loss against FGD",
            _ALLOCATED,
            ours.percent,
            fgd.percent,
            "FGD reproduced",
            Target("ours", ">=", _DEFAULT_BAR) if workload.name == "default" else None,
            workload.seeds,
            ours.cpu_s,
            note=_published_note(workload),
            published=workload.published.get("fgd"),
            reproduced=fgd.percent,
        )
        if workload.name in ("default", "generated"):
            yield from _decisions(workload, ours)
            yield _distance(workload, ours)
    yield Measurement(
        "mean of the variants",
        "points over FGD",
        fmean(gains),
        target=Target("ours", ">=", _GAIN_BAR) if len(gains) > 1 else None,
        note=f"least {min(gains):.2f}, most {max(gains):.2f}",
    )


def _warm_up() -> None:
    """Compile every kernel before anything is timed."""
    cluster = generate_cluster(seed=1, nodes=4, tasks=12)
    replay(cluster, RulePolicy.named("least-loss", cluster))


def _published_note(workload: Workload) -> str:
    published = workload.published.get("fgd")
    return "" if published is None else f"published FGD {published:.2f}"


def _reproduced(workload: Workload, rule: str, played: Played) -> Measurement:
    published = workload.published.get(rule)
    case = f"{workload.name}, {rule}"
    if published is None:
        return Measurement(case, _ALLOCATED, played.percent, seeds=workload.seeds, cpu_s=played.cpu_s)
    return Measurement(
        case,
        "points off the published mean",
        abs(played.percent - published),
        target=Target("ours", "<=", _CLOSE),
        seeds=workload.seeds,
        cpu_s=played.cpu_s,
        note=f"published {published:.2f}, reproduced {played.percent:.2f}",
    )


def _decisions(workload: Workload, played: Played) -> Iterator[Measurement]:
    """How long one decision takes, on the wall clock."""
    milliseconds = 1e3 * np.concatenate([one.decision_s for one in played.replays])
    for name, part, bar in (("median", 0.5, _MEDIAN_MS), ("99th percentile", 0.99, _P99_MS)):
        yield Measurement(
            f"{workload.name}, least-loss",
            f"{name} of a decision, ms",
            float(np.quantile(milliseconds, part)),
            target=Target("ours", "<=", bar) if workload.name == "default" else None,
        )


def _distance(workload: Workload, played: Played) -> Measurement:
    """The ceiling for whoever served the same arrivals up to the first refusal, and how far below it we are."""
    ceilings, free = [], []
    for one in played.replays:
        refused = (t for t, c in enumerate(one.choices) if c is None and one.cluster.demand_milli[t] > 0)
        first = next(refused, len(one.choices))
        ceilings.append(100.0 * ceiling_gpus(one.cluster, first) / one.cluster.capacity_gpus)
        free.append(100.0 * ceiling_gpus(one.cluster) / one.cluster.capacity_gpus)
    note = f"bound for all that serve the arrivals before our first refusal; whoever may choose: {fmean(free):.2f}"
    return Measurement(
        f"{workload.name}, least-loss", "points below the ceiling", fmean(ceilings) - played.percent, note=note
    )


@spec("cluster", "admission")
def admission(context: Context) -> Iterator[Measurement]:
    """Tasks may wait for a bounded number of arrivals; the bound and the longest wait are stated."""
    workload = workloads(context)[0]
    real = workload.name == "default"
    policy = RulePolicy.named("least-loss", workload.cluster)
    for most_wait in _WAITS if real else _WAITS_GENERATED:
        rule = Admission.of(policy, workload.cluster, most_wait)
        began = time.process_time()
        replays = [replay_with_waiting(arrivals, rule) for arrivals in workload.arrivals]
        spent = time.process_time() - began
        waiting = [int((one.waited >= 0).sum()) for one in replays]
        longest = max(int(one.waited.max(initial=0)) for one in replays)
        yield Measurement(
            f"{workload.name}, at most {most_wait} arrivals",
            _ALLOCATED,
            fmean(checked_percent(one) for one in replays),
            workload.published.get("fgd"),
            "FGD published, no waiting",
            Target("ours", ">=", _ADMISSION_BAR) if real and most_wait == _STATED_WAIT else None,
            workload.seeds,
            spent,
            note=f"{fmean(waiting):.0f} of {len(replays[0].choices)} tasks waited, at most {max(0, longest)} arrivals",
            published=workload.published.get("fgd"),
        )


@spec("cluster", "batch")
def batch(context: Context) -> Iterator[Measurement]:
    """All arrivals known at once, with a proven bound; the peer is FGD on tasks from large to small."""
    workload = workloads(context)[0]
    real = workload.name == "default"
    policy = RulePolicy.named("fgd", workload.cluster)
    seeds = _BATCH_SEEDS if real else 1
    for seed, arrivals in list(zip(workload.seeds, workload.arrivals, strict=True))[:seeds]:
        nodes = np.arange(len(arrivals.nodes))
        sorted_fgd = replay(arrivals.restrict(nodes, decreasing(arrivals)), policy).final_percent
        began = time.process_time()
        result = solve_instance(arrivals, SolveOptions(gap=_BATCH_GAP, time_limit_s=_BATCH_LIMIT_S))
        spent = time.process_time() - began
        share = 100.0 / arrivals.capacity_gpus
        good = result.verdict is not None and result.verdict.ok
        yield Measurement(
            f"{workload.name}, seed {seed}",
            _ALLOCATED,
            share * result.bounds.primal if good else float("nan"),
            sorted_fgd,
            "FGD from large to small",
            Target("ours", ">=", _BATCH_BAR) if real else None,
            (seed,),
            spent,
            note=f"bound {share * result.bounds.dual:.3f} %, gap {100 * result.bounds.gap:.3f} %, {spent:.1f} CPU s",
            published=workload.published.get("fgd"),
            reproduced=sorted_fgd,
        )
