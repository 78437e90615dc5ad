"""The independent check of a fleet allocation: from the data alone, one share after another."""

from __future__ import annotations

from collections import defaultdict
from math import exp, inf, isfinite, log

from apportion.instances.fleet import FleetAllocation, FleetShares, Share
from apportion.models.verdict import TOLERANCE, Verdict, Violation


def check(instance: FleetAllocation, plan: FleetShares) -> Verdict:
    """Verify ``plan`` and recompute its objective.

    Rules: ``unknown_job``, ``unknown_type``, ``unknown_pair``, ``fraction`` (between 0 and 1), ``cannot_run``,
    ``time`` (no job runs for more than its whole time), ``capacity``, ``promise``. Measures: ``gpus_used``, ``gpus``,
    ``throughput``, ``cost_per_hour``, ``jobs_served``, ``jobs_pending``.
    """
    tally = _Tally(instance)
    for share in plan.shares:
        tally.add(share)
    tally.close()
    rates = [tally.rate[job] for job in range(instance.num_jobs)]
    measures = {
        "gpus_used": float(sum(tally.load.values())),
        "gpus": float(sum(int(count) for count in instance.num_gpus)),
        "throughput": float(sum(rates)),
        "cost_per_hour": sum(gpus * float(instance.cost_per_gpu_hour[kind]) for kind, gpus in tally.load.items()),
        "jobs_served": float(sum(rate > 0 for rate in rates)),
        "jobs_pending": float(sum(not _can_run(instance, job) for job in range(instance.num_jobs))),
    }
    return Verdict(_objective(instance, tally), instance.sense, tuple(tally.violations), measures)


def _can_use(instance: FleetAllocation, job: int, kind: int) -> bool:
    fits = int(instance.scale_factor[job]) <= int(instance.num_gpus[kind])
    return fits and float(instance.throughputs[job, kind]) > 0


def _can_run(instance: FleetAllocation, job: int) -> bool:
    return any(_can_use(instance, job, kind) for kind in range(instance.num_types))


class _Tally:
    """What the shares add up to, by job and by type."""

    def __init__(self, instance: FleetAllocation) -> None:
        self.instance = instance
        self.jobs = {name: i for i, name in enumerate(instance.jobs)}
        self.types = {name: t for t, name in enumerate(instance.gpu_types)}
        self.pairs = {(a, b): k for k, (a, b) in enumerate(instance.pairs.tolist())}
        self.time: dict[int, float] = defaultdict(float)
        self.rate: dict[int, float] = defaultdict(float)
        self.load: dict[int, float] = defaultdict(float)
        self.worth_per_cost = 0.0
        self.violations: list[Violation] = []

    def add(self, share: Share) -> None:
        """One share: its rules, then its part in the sums."""
        place = f"{' + '.join(share.jobs)} on {share.gpu_type}"
        unknown = [name for name in share.jobs if name not in self.jobs]
        if unknown:
            self._broken("unknown_job", unknown[0], len(unknown), "jobs")
            return
        if share.gpu_type not in self.types:
            self._broken("unknown_type", place, 1, "types")
            return
        if not -TOLERANCE <= share.fraction <= 1.0 + TOLERANCE:
            self._broken("fraction", place, max(-share.fraction, share.fraction - 1.0), "of the time")
        kind, where = self.types[share.gpu_type], [self.jobs[name] for name in share.jobs]
        speeds = self._speeds(where, kind, place)
        if speeds is None:
            return
        for job, speed in zip(where, speeds, strict=True):
            self.time[job] += share.fraction
            self.rate[job] += share.fraction * speed
            cost = float(self.instance.cost_per_gpu_hour[kind])
            self.worth_per_cost += share.fraction * speed / cost if cost > 0 else 0.0
        self.load[kind] += share.fraction * int(self.instance.scale_factor[where[0]])

    def _speeds(self, where: list[int], kind: int, place: str) -> list[float] | None:
        """Steps per second of the jobs together on a type; None when they may not run there so."""
        instance = self.instance
        if len(where) == 1:
            speeds = [float(instance.throughputs[where[0], kind])]
        else:
            one, two = where[0], where[1]
            found, turned = self.pairs.get((one, two)), self.pairs.get((two, one))
            pair = turned if found is None else found
            if len(where) != 2 or pair is None:
                self._broken("unknown_pair", place, 1, "pairs")
                return None
            speeds = [float(v) for v in instance.pair_throughputs[pair, :, kind]]
            speeds = speeds if found is not None else speeds[::-1]
        fits = int(instance.scale_factor[where[0]]) <= int(instance.num_gpus[kind])
        if not fits or min(speeds) <= 0:
            self._broken("cannot_run", place, 1, "shares")
            return None
        return speeds

    def close(self) -> None:
        """The rules about sums."""
        instance = self.instance
        for job in sorted(self.time):
            if self.time[job] > 1.0 + TOLERANCE:
                self._broken("time", instance.jobs[job], self.time[job] - 1.0, "of the time")
        for kind in sorted(self.load):
            over = self.load[kind] - int(instance.num_gpus[kind])
            if over > TOLERANCE * max(1.0, float(instance.num_gpus[kind])):
                self._broken("capacity", instance.gpu_types[kind], over, "GPUs")
        if instance.objective in ("max-throughput", "throughput-per-cost", "min-cost"):
            self._promises()

    def _promises(self) -> None:
        instance = self.instance
        for job in range(instance.num_jobs):
            left, within = float(instance.steps_left[job]), float(instance.slo_s[job])
            if left > 0 and isfinite(within) and _can_run(instance, job):
                asked = left / within if within > 0 else inf
                if self.rate[job] < asked * (1.0 - TOLERANCE):
                    self._broken("promise", instance.jobs[job], asked - self.rate[job], "steps/s")

    def _broken(self, rule: str, place: str, amount: float, unit: str) -> None:
        self.violations.append(Violation(rule, place, amount, unit))


def _objective(instance: FleetAllocation, tally: _Tally) -> float:
    if instance.objective == "max-throughput":
        return float(sum(tally.rate.values()))
    if instance.objective == "throughput-per-cost":
        return tally.worth_per_cost
    if instance.objective == "min-cost":
        return sum(gpus * float(instance.cost_per_gpu_hour[kind]) for kind, gpus in tally.load.items())
    jobs = [job for job in range(instance.num_jobs) if _can_run(instance, job)]
    if instance.objective == "makespan":
        return max((_seconds(instance, tally, job) for job in jobs), default=0.0)
    if instance.objective == "finish-time-fairness":
        return max((_finish_ratio(instance, tally, job, len(jobs)) for job in jobs), default=0.0)
    relative = {job: tally.rate[job] / _fair_rate(instance, job, len(jobs)) for job in jobs}
    weights = {job: float(instance.weights[job]) for job in jobs}
    if instance.objective == "max-min-fairness":
        return min((relative[j] * int(instance.scale_factor[j]) / weights[j] for j in jobs), default=0.0)
    if any(relative[job] <= 0 for job in jobs):
        return 0.0
    return exp(sum(weights[j] * log(relative[j]) for j in jobs) / sum(weights.values())) if jobs else 1.0


def _seconds(instance: FleetAllocation, tally: _Tally, job: int) -> float:
    """Seconds until the job is done at its rate."""
    left = float(instance.steps_left[job])
    if left <= 0:
        return 0.0
    return left / tally.rate[job] if tally.rate[job] > 0 else inf


def _fair_rate(instance: FleetAllocation, job: int, num_jobs: int) -> float:
    """Steps per second with the same time on every type as every other job."""
    shares = [int(count) / num_jobs for count in instance.num_gpus]
    most = max(1.0, sum(shares))
    usable = [kind for kind in range(instance.num_types) if _can_use(instance, job, kind)]
    return sum(shares[kind] / most * float(instance.throughputs[job, kind]) for kind in usable)


def _finish_ratio(instance: FleetAllocation, tally: _Tally, job: int, num_jobs: int) -> float:
    """Seconds from arrival to the end in this plan over those on an equal part of the fleet."""
    left = float(instance.steps_left[job])
    if left <= 0:
        return 0.0
    size = int(instance.scale_factor[job])
    shares = [int(count) / num_jobs / size for count in instance.num_gpus]
    most = max(1.0, sum(shares))
    usable = [kind for kind in range(instance.num_types) if _can_use(instance, job, kind)]
    alone = sum(shares[kind] / most * float(instance.throughputs[job, kind]) for kind in usable)
    whole = float(instance.elapsed_s[job]) + _seconds(instance, tally, job)
    return whole / (float(instance.isolated_so_far_s[job]) + left / alone)
