"""Simulate in rounds: at the end of each, a scheduler says who runs in the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from apportion.instances.errors import BackendError, OptionError
from apportion.instances.program import Floats
from apportion.instances.trace import Fleet, JobTrace, Longs
from apportion.scheduling.simulator.failures import Failure, capacity_between
from apportion.scheduling.simulator.ledger import Ledger, quota_of
from apportion.scheduling.simulator.progress import Progress
from apportion.scheduling.simulator.record import Simulation
from apportion.scheduling.simulator.view import RoundScheduler, RoundView

_MOST_ROUNDS = 2_000_000
_NEARLY_WHOLE_S = 5.0


@dataclass(frozen=True)
class RoundRules:
    """How rounds work.

    Parameters
    ----------
    length_s
        A round lasts this long, or until all that runs in it is done.
    restart_s
        A job that did not run in the round before loses this much of a round that it fills.
    whole_steps
        Whether only whole steps of a round count, as in Gavel.
    give_up_factor
        A job that has run longer than this many times its time alone counts as done (Shockwave: 1.5).
    until_s
        Stop here; jobs may still be running or pending then.
    """

    length_s: float = 360.0
    restart_s: float = 0.0
    whole_steps: bool = True
    give_up_factor: float = inf
    until_s: float = inf

    def __post_init__(self) -> None:
        if not (0 < self.length_s < inf and 0 <= self.restart_s < self.length_s):
            message = f"a round must be longer than a restart, got {self.length_s} s and {self.restart_s} s"
            raise OptionError(f"{message}\nMaybe 360 s and 20 s")


GAVEL = RoundRules()
"""Gavel's simulation: six minutes, restarts cost nothing."""

SHOCKWAVE = RoundRules(length_s=120.0, restart_s=20.0, give_up_factor=1.5)
"""Shockwave's simulation: two minutes, a restart costs 20 seconds."""


def simulate_rounds(
    trace: JobTrace,
    fleet: Fleet,
    scheduler: RoundScheduler,
    rules: RoundRules = GAVEL,
    *,
    name: str = "",
    failures: Sequence[Failure] = (),
    quotas: Mapping[str, int] | None = None,
) -> Simulation:
    """Run ``trace`` on ``fleet``.

    Parameters
    ----------
    trace, fleet
        The jobs and the GPUs; the types of the fleet count, a trace may know more.
    scheduler
        Decides at the beginning of every round; fresh, when it keeps a state.
    rules
        Length of a round, cost of a restart.
    name
        What to call the policy.
    failures
        When which GPUs are down: a job on them loses its round.
    quotas
        Kind of job -> the most GPUs that jobs of it may hold at once. A job that finds room in its quota, in the order
        of arrival, keeps it to its end; the scheduler does not see the others.

    Raises
    ------
    BackendError
        When the scheduler runs a job where it cannot run or takes more GPUs than there are.

    Examples
    --------
    >>> from apportion.scheduling.policies import scheduler_named
    >>> trace = JobTrace("two", ("v100",), ("a", "b"), np.zeros(2), np.array([7200.0, 3600.0]), np.array([1, 1]),
    ...     np.ones((2, 1)))
    >>> done = simulate_rounds(trace, Fleet.parse("v100:1"), scheduler_named("srtf"))
    >>> done.finish_s.tolist()
    [10800.0, 3600.0]
    """
    run = _Run(trace.onto(fleet), fleet, scheduler, rules, tuple(failures), quotas or {})
    while run.step():
        pass
    return run.ledger.close(name, run.now_s)


class _Run:
    """One simulation under way."""

    def __init__(
        self,
        trace: JobTrace,
        fleet: Fleet,
        scheduler: RoundScheduler,
        rules: RoundRules,
        failures: tuple[Failure, ...],
        quotas: Mapping[str, int],
    ) -> None:
        self.quotas = quotas
        self.admitted: list[int] = []
        self.trace, self.fleet, self.rules = trace, fleet, rules
        self.scheduler, self.failures = scheduler, failures
        self.progress = Progress(trace)
        self.ledger = Ledger(trace, fleet, quotas)
        self.now_s = float(trace.arrival_s[0])
        self.received_s = np.zeros((trace.num_jobs, len(fleet.types)))
        self.type_time_s = np.zeros(len(fleet.types))
        self.kind_of = np.full(trace.num_jobs, -1, np.int64)
        self.arrived = 0
        self.active: list[int] = []
        self.rounds = 0

    def step(self) -> bool:
        """One round; False when there is nothing more to do."""
        if self.now_s >= self.rules.until_s:
            return False
        self._admit()
        if not self.active:
            if self.arrived == self.trace.num_jobs:
                return False
            self.now_s = float(self.trace.arrival_s[self.arrived])
            return True
        self.rounds += 1
        if self.rounds > _MOST_ROUNDS:
            raise BackendError(f"{_MOST_ROUNDS} rounds do not finish {self.trace.name}\nMaybe longer rounds")
        self._run_round()
        return True

    def _admit(self) -> None:
        trace = self.trace
        while self.arrived < trace.num_jobs and trace.arrival_s[self.arrived] <= self.now_s:
            job = self.arrived
            self.arrived += 1
            if self.ledger.admit(job):
                self.active.append(job)

    def _within_quotas(self) -> None:
        """Admit waiting jobs while their quotas have room."""
        here = set(self.active)
        self.admitted = [job for job in self.admitted if job in here]
        held: dict[str, int] = {}
        for job in self.admitted:
            held[self.trace.kinds[job]] = held.get(self.trace.kinds[job], 0) + int(self.trace.num_gpus[job])
        for job in self.active:
            kind, gpus = self.trace.kinds[job], int(self.trace.num_gpus[job])
            if job not in self.admitted and held.get(kind, 0) + gpus <= quota_of(self.trace, job, self.quotas):
                self.admitted.append(job)
                held[kind] = held.get(kind, 0) + gpus
        self.admitted.sort()

    def _seen(self) -> list[int]:
        """The jobs that the scheduler sees."""
        return self.admitted if self.quotas and self.trace.kinds else self.active

    def _over_quota(self) -> set[int]:
        return set(self.active).difference(self._seen())

    def _run_round(self) -> None:
        if self.quotas and self.trace.kinds:
            self._within_quotas()
        view = self._view()
        kinds = self.scheduler.choose(view)
        _require_valid(view, kinds)
        chosen = np.flatnonzero(kinds >= 0)
        if not len(chosen):
            self._wait(view)
            return
        jobs, where = view.jobs[chosen], kinds[chosen]
        rates = view.throughput[chosen, where]
        steps = np.minimum(rates * self.rules.length_s, self.progress.left(jobs))
        if self.rules.whole_steps:
            steps = np.minimum(np.floor(rates * self.rules.length_s), self.progress.left(jobs))
            # a job slower than a step a round would never move
            steps = np.where(steps <= 0, np.minimum(rates * self.rules.length_s, self.progress.left(jobs)), steps)
        seconds = steps / rates
        end_s = min(self.now_s + float(seconds.max()), self.rules.until_s)
        self._finish_round(view, jobs, where, steps, seconds, end_s)

    def _finish_round(
        self, view: RoundView, jobs: Longs, where: Longs, steps: Floats, seconds: Floats, end_s: float
    ) -> None:
        if end_s >= self.rules.until_s:
            cut = np.minimum(seconds, end_s - self.now_s)
            steps, seconds = steps * cut / np.maximum(seconds, 1e-300), cut
        lost = self._lost(jobs, where, end_s)
        order = np.argsort(-seconds, kind="stable")
        everyone = np.array(self.active, np.int64)
        self.ledger.round(self.now_s, everyone, jobs, where, seconds, self._over_quota())
        before = self.kind_of.copy()
        self.kind_of[view.jobs] = -1
        for row in order.tolist():
            job, kind = int(jobs[row]), int(where[row])
            if lost[row]:
                self.ledger.fail(job, self.now_s + float(seconds[row]))
                self.type_time_s[kind] += seconds[row]
                continue
            worked_s, done = self._work(before[job] >= 0, float(steps[row]), float(seconds[row]))
            self.kind_of[job] = kind
            self.received_s[job, kind] += worked_s
            self.type_time_s[kind] += worked_s
            self.progress.add(job, done)
            over = (
                self.received_s[job].sum() > int(int(self.trace.alone_s[job]) * self.rules.give_up_factor)
                if isfinite(self.rules.give_up_factor)
                else False
            )
            if self.progress.is_done(job) or over:
                self.ledger.finish(job, self.now_s + float(seconds[row]))
                self.active.remove(job)
        self.now_s = end_s
        for job in self.active:
            self.progress.adapt(job)

    def _work(self, ran_before: bool, steps: float, seconds: float) -> tuple[float, float]:
        """Seconds of work and steps of a job in a round; a restart costs a part of a round that the job fills."""
        restart = self.rules.restart_s
        first_round = self.rounds == 1
        if ran_before or first_round or restart == 0.0 or seconds <= self.rules.length_s - _NEARLY_WHOLE_S:
            return seconds, steps
        done = steps * (seconds - restart) / seconds
        return seconds - restart, float(int(done)) if self.rules.whole_steps and done >= 1 else done

    def _lost(self, jobs: Longs, where: Longs, end_s: float) -> list[bool]:
        """Which of the jobs, taken in order, do not fit on what stayed up all the round."""
        if not self.failures:
            return [False] * len(jobs)
        up = capacity_between(self.fleet, self.failures, self.now_s, end_s)
        lost = []
        for job, kind in zip(jobs.tolist(), where.tolist(), strict=True):
            up[kind] -= self.trace.num_gpus[job]
            lost.append(bool(up[kind] < 0))
        return lost

    def _wait(self, view: RoundView) -> None:
        """Nobody runs: go on at the next arrival or round."""
        self.kind_of[view.jobs] = -1
        nobody = np.zeros(0, np.int64)
        everyone = np.array(self.active, np.int64)
        self.ledger.round(self.now_s, everyone, nobody, nobody, np.full(0, self.rules.length_s), self._over_quota())
        following = self.now_s + self.rules.length_s
        if not self.failures and self.arrived == self.trace.num_jobs:
            self.ledger.idle += 1
            if self.ledger.idle > _MOST_ROUNDS // 1000:
                raise BackendError(f"the scheduler lets {len(view.jobs)} jobs of {self.trace.name} wait for ever")
        self.now_s = following

    def _view(self) -> RoundView:
        jobs = np.array(self._seen(), np.int64)
        capacity = capacity_between(self.fleet, self.failures, self.now_s, self.now_s)
        return RoundView(
            self.trace,
            self.fleet,
            self.now_s,
            self.rules.length_s,
            jobs,
            self.progress.left(jobs),
            self.progress.total[jobs],
            self.progress.rate[jobs],
            self.progress.remaining_s(jobs),
            self.received_s[jobs],
            self.type_time_s.copy(),
            self.kind_of[jobs],
            capacity,
            self.arrived,
        )


def _require_valid(view: RoundView, kinds: Longs) -> None:
    chosen = np.flatnonzero(kinds >= 0)
    used = np.bincount(kinds[chosen], view.num_gpus[chosen], minlength=len(view.capacity))
    if (used > view.capacity).any():
        kind = int(np.argmax(used - view.capacity))
        message = f"takes {used[kind]:g} of {view.capacity[kind]} {view.fleet.types[kind]} at {view.now_s:g} s"
        raise BackendError(f"the scheduler {message}")
    slow = chosen[view.throughput[chosen, kinds[chosen]] <= 0]
    if len(slow):
        job, kind = view.trace.jobs[view.jobs[slow[0]]], view.fleet.types[kinds[slow[0]]]
        raise BackendError(f"the scheduler runs job {job} on {kind}, where its throughput is 0")
