"""The control loop: observe, decide, write down, act, confirm."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from apportion.instances.errors import OptionError
from apportion.scheduling.live.adapter import Action, Adapter, AdapterError, Outcome, OutcomeStatus, Verb
from apportion.scheduling.live.clock import SteadyClock
from apportion.scheduling.live.deciding import Decided, Decider
from apportion.scheduling.live.explaining import Explainer
from apportion.scheduling.live.journal import KEPT_S, Journal
from apportion.scheduling.live.reasons import Code, Decision, Reason
from apportion.scheduling.live.recovery import recover
from apportion.scheduling.live.reservations import Reservations
from apportion.scheduling.live.state import ClusterState, Job, Phase

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopOptions:
    """How the loop behaves.

    Parameters
    ----------
    interval_s
        From the begin of one round to the begin of the next.
    budget_s
        What the policy may search for.
    deadline_s
        After this the policy is killed and the fallback decides.
    confirm_s
        A start that the cluster does not confirm in this time is taken back.
    most_starts
        Starts a round: so many orders that a cluster takes well.
    most_explanations
        Reasons written a round.
    explain_every_s
        A reason whose code stays the same is written anew after this.
    dry_run
        Decide, and do nothing.
    """

    interval_s: float = 2.0
    budget_s: float = 0.25
    deadline_s: float = 1.0
    confirm_s: float = 30.0
    most_starts: int = 500
    most_explanations: int = 60
    explain_every_s: float = 120.0
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in ("interval_s", "budget_s", "deadline_s", "confirm_s", "explain_every_s"):
            value = getattr(self, name)
            if not value >= 0:
                raise OptionError(f"{name} must not be negative, got {value!r}")
        for name in ("most_starts", "most_explanations"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Round:
    """What happened in one round; ``state`` is None when the cluster could not be asked.

    ``seconds`` has what observing, deciding, writing and acting took; ``messages`` are for people.
    """

    number: int
    state: ClusterState | None
    decisions: tuple[Decision, ...] = ()
    actions: tuple[Action, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    decided_by: str = ""
    messages: tuple[str, ...] = ()
    seconds: tuple[tuple[str, float], ...] = ()

    @property
    def took_s(self) -> float:
        """The whole round."""
        return sum(seconds for _, seconds in self.seconds)


@dataclass(eq=False)
class ControlLoop:
    """Runs rounds on one cluster.

    Nothing that matters lives here: a new loop on the same cluster goes on where the old one was killed. A job is
    decided only while the cluster says that it waits, no start of it is under way, and the adapter refuses an action on
    a job that has moved on; so however often a round is repeated, a job is started once.

    Parameters
    ----------
    adapter
        The cluster.
    decider
        The policy and its fallback.
    journal
        Where decisions are written before they are carried out.
    options
        How to behave.
    clock
        Never jumps.
    """

    adapter: Adapter
    decider: Decider
    journal: Journal = field(default_factory=lambda: Journal(None))
    options: LoopOptions = LoopOptions()
    clock: SteadyClock = field(default_factory=SteadyClock)

    def __post_init__(self) -> None:
        self.number = 0
        self._reservations = Reservations()
        self._explainer = Explainer(self.options.explain_every_s, self.options.most_explanations)
        self._starting_since: dict[tuple[str, int], float] = {}
        self._version = 0
        self._recovered = self.options.dry_run
        self._told_trouble = ""

    def round(self) -> Round:
        """One round; never raises because of the cluster, the policy or the disk."""
        self.number += 1
        messages: list[str] = []
        watch = _Watch()
        if jump := self.clock.jump_s():
            messages.append(f"the clock on the wall moved by {jump:+.0f} s; time is counted on")
        state = self._observe(messages)
        watch.lap("observe")
        if state is None:
            return Round(self.number, None, messages=_logged(messages), seconds=watch.laps)
        self._recover(state, messages)
        late = self._reservations.settle(state, self.clock.monotonic())
        messages += [f"{a.key}: not confirmed within {self.options.confirm_s:g} s, decided anew" for a in late]
        seen = self._reservations.apply(state)
        decided = self._decide(seen, messages)
        watch.lap("decide")
        actions = self._withdrawals(state, messages) + self._actions(seen, decided.decisions)
        outcomes: list[Outcome] = []
        if actions and not self.options.dry_run:
            numbers = self.journal.intend(self.number, self.clock.now(), actions)
            watch.lap("write")
            outcomes = self._act(actions)
            watch.lap("act")
            self.journal.record(numbers, outcomes)
            watch.lap("write")
        self._tell_journal(messages)
        return Round(
            self.number, state, tuple(decided.decisions), tuple(actions), tuple(outcomes), decided.by,
            _logged(messages), watch.laps,
        )  # fmt: skip

    def run(
        self, stop: Callable[[], bool], on_round: Callable[[Round], None], sleep: Callable[[float], object]
    ) -> None:
        """Rounds until ``stop`` says so, ``interval_s`` from begin to begin."""
        while not stop():
            began = self.clock.monotonic()
            on_round(self.round())
            left = self.options.interval_s - (self.clock.monotonic() - began)
            if left > 0 and not stop():
                sleep(left)

    def _observe(self, messages: list[str]) -> ClusterState | None:
        try:
            state = self.adapter.observe()
        except AdapterError as error:
            messages.append(f"{self.adapter.name} does not answer: {error}")
            return None
        if state.version < self._version:
            messages.append(f"an observation of version {state.version} came after {self._version}: left aside")
            return None
        self._version = state.version
        messages.extend(state.faults)
        return state

    def _recover(self, state: ClusterState, messages: list[str]) -> None:
        if self._recovered:
            return
        self._recovered = True
        self.journal.forget_before(self.clock.now() - KEPT_S)
        messages.extend(recover(self.journal, state))

    def _decide(self, state: ClusterState, messages: list[str]) -> Decided:
        if not any(job.managed and job.phase is Phase.WAITING for job in state.jobs):
            return Decided([], "")
        decided = self.decider.decide(state, self.options.budget_s, self.options.deadline_s)
        if decided.trouble:
            messages.append(f"{decided.trouble}; the fallback decided")
        return decided

    def _withdrawals(self, state: ClusterState, messages: list[str]) -> list[Action]:
        """Take back starts that did not come to be: too old, or on a node that is down."""
        now = self.clock.monotonic()
        starting = [j for j in state.jobs if j.managed and j.phase is Phase.STARTING and j.nodes]
        self._starting_since = {job.key: self._starting_since.get(job.key, now) for job in starting}
        up = {node.name for node in state.nodes if node.up}
        actions = []
        for job in starting:
            lost = [name for name in job.nodes if name not in up]
            if not lost and now - self._starting_since[job.key] < self.options.confirm_s:
                continue
            why = f"{', '.join(lost)} went down" if lost else f"it did not start within {self.options.confirm_s:g} s"
            reason = Reason(Code.WITHDRAWN, f"its start on {', '.join(job.nodes)} was taken back: {why}")
            messages.append(f"job {job.id}: {reason.text}")
            actions.append(Action(Verb.WITHDRAW, job.id, job.generation, job.nodes, text=str(reason)))
        return actions

    def _actions(self, state: ClusterState, decisions: Sequence[Decision]) -> list[Action]:
        """What is to be done so that the cluster does what was decided."""
        jobs = state.job
        starts = [d for d in decisions if d.starts and _ours(jobs.get(d.job), d)][: self.options.most_starts]
        actions = [Action(Verb.START, d.job, d.generation, d.nodes, d.gpus, str(d.reason)) for d in starts]
        victims = {victim: d for d in decisions for victim in d.victims}
        for name, decision in victims.items():
            job = jobs.get(name)
            if job is None or job.phase is not Phase.RUNNING or name in self._reservations.held:
                continue
            text = str(Reason(Code.PREEMPTED, f"gives way to job {decision.job}"))
            actions.append(Action(Verb.PREEMPT, name, job.generation, job.nodes, text=text))
        waits = [d for d in decisions if not d.starts and _ours(jobs.get(d.job), d)]
        return actions + self._explainer.actions(waits, jobs, self.clock.monotonic())

    def _act(self, actions: list[Action]) -> list[Outcome]:
        outcomes = self.adapter.act(actions)
        expires = self.clock.monotonic() + self.options.confirm_s
        for outcome in outcomes:
            action = outcome.action
            if outcome.status is OutcomeStatus.REFUSED:
                self._reservations.release(action.job)
                self._explainer.forget(action.job)
            elif action.verb in (Verb.START, Verb.PREEMPT):
                self._reservations.hold(action, expires)
        return outcomes

    def _tell_journal(self, messages: list[str]) -> None:
        trouble = self.journal.trouble
        if trouble and trouble != self._told_trouble:
            messages.append(f"the journal cannot be written ({trouble}): entries are kept in memory, the loop goes on")
        if self._told_trouble and not trouble:
            messages.append("the journal is written again")
        self._told_trouble = trouble


def _ours(job: Job | None, decision: Decision) -> bool:
    """Whether a decision is still about this job: a policy may be slow, or wrong."""
    return job is not None and job.managed and job.phase is Phase.WAITING and job.generation == decision.generation


def _logged(messages: list[str]) -> tuple[str, ...]:
    for message in messages:
        _LOG.info("%s", message)
    return tuple(messages)


class _Watch:
    """Adds up what the parts of a round take."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._parts: dict[str, float] = {}

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self._parts[part] = self._parts.get(part, 0.0) + now - self._last
        self._last = now

    @property
    def laps(self) -> tuple[tuple[str, float], ...]:
        return tuple(self._parts.items())
