"""A cluster in memory with a clock of its own, for tests, dry runs and measurements; it can be made to fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from apportion.scheduling.live.adapter import Action, AdapterError, Outcome, OutcomeStatus, Verb
from apportion.scheduling.live.state import ClusterState, Job, Node, Phase


class Failing(StrEnum):
    """How one order fails."""

    LOST = "lost"
    """No answer, and no effect."""
    ANSWER_LOST = "answer lost"
    """No answer, but it has had its effect."""
    ERROR = "error"
    """Refused without effect."""


@dataclass(eq=False)
class SimulatedCluster:
    """Keeps the rules of a real cluster: a job that waits starts once a generation, on nodes with room for it.

    Parameters
    ----------
    nodes
        The machines.
    actual_seconds
        How long a job really runs on a GPU type; what it says of itself by default.
    start_delay_s
        From the order to the start: until then a job is starting.

    Examples
    --------
    >>> from apportion.solvers.online.snapshot import Request
    >>> cluster = SimulatedCluster([Node("n", 8000, 8192, 2, "a100")])
    >>> cluster.submit(Job("1", Request(1000, 64, 1, 1000), limit_s=60.0))
    >>> [outcome.status.value for outcome in cluster.act([Action(Verb.START, "1", 0, ("n",))] * 2)]
    ['done', 'refused']
    >>> cluster.advance(61.0)
    >>> cluster.ended
    {'1': 60.0}
    """

    nodes: Iterable[Node]
    actual_seconds: Callable[[Job, str], float] = lambda job, kind: job.seconds_on(kind)
    start_delay_s: float = 0.0
    name: str = "simulated"
    now_s: float = 0.0
    version: int = 0
    jobs: dict[str, Job] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    starts: Counter[tuple[str, int]] = field(default_factory=Counter)
    refused: list[Outcome] = field(default_factory=list)
    failing: list[Failing | None] = field(default_factory=list)
    deaf: int = 0
    stale: list[ClusterState] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._nodes = {node.name: node for node in self.nodes}
        self._due: dict[str, tuple[float, float]] = {}

    def submit(self, *jobs: Job) -> None:
        """New jobs, submitted now."""
        for job in jobs:
            self.jobs[job.id] = replace(job, submitted_s=self.now_s)
        self.version += 1

    def cancel(self, job: str) -> None:
        """A user takes a job away."""
        self.jobs.pop(job, None)
        self._due.pop(job, None)
        self.version += 1

    def set_node(self, name: str, *, up: bool) -> None:
        """A node goes down, and its jobs back to the queue; or comes up."""
        self._nodes[name] = replace(self._nodes[name], up=up)
        for job in list(self.jobs.values()):
            if not up and name in job.nodes and job.phase is Phase.RUNNING:
                self._requeue(job)
        self.version += 1

    def advance(self, seconds: float) -> None:
        """Let time pass: jobs that are due start and end."""
        until = self.now_s + seconds
        while self._due and min(end for _, end in self._due.values()) <= until:
            name, (_, end) = min(self._due.items(), key=lambda entry: (entry[1][1], entry[0]))
            self.now_s = max(self.now_s, end)
            del self._due[name]
            self.jobs.pop(name, None)
            self.ended[name] = end
            self.version += 1
        self.now_s = until
        for name, (start, _) in self._due.items():
            job = self.jobs[name]
            if job.phase is Phase.STARTING and start <= until and all(self._nodes[node].up for node in job.nodes):
                self.jobs[name] = replace(job, phase=Phase.RUNNING, started_s=start)
                self.starts[job.key] += 1
                self.version += 1

    def observe(self) -> ClusterState:
        """The cluster now, or what :attr:`stale` says first."""
        if self.deaf > 0:
            self.deaf -= 1
            raise AdapterError("no answer within 1 s")
        if self.stale:
            return self.stale.pop(0)
        return self.look()

    def look(self) -> ClusterState:
        """The cluster now."""
        return ClusterState(tuple(self._nodes.values()), tuple(self.jobs.values()), self.now_s, self.version)

    def act(self, actions: Sequence[Action]) -> list[Outcome]:
        """Carry out orders one by one; :attr:`failing` says how the next ones fail."""
        return [self._one(action) for action in actions]

    def _one(self, action: Action) -> Outcome:
        how = self.failing.pop(0) if self.failing else None
        if how is Failing.LOST:
            return Outcome(action, OutcomeStatus.UNKNOWN, "no answer within 1 s")
        if how is Failing.ERROR:
            return Outcome(action, OutcomeStatus.REFUSED, "internal error")
        why = self._carry_out(action)
        if how is Failing.ANSWER_LOST:
            return Outcome(action, OutcomeStatus.UNKNOWN, "no answer within 1 s")
        outcome = Outcome(action, OutcomeStatus.REFUSED if why else OutcomeStatus.DONE, why)
        if why:
            self.refused.append(outcome)
        return outcome

    def _carry_out(self, action: Action) -> str:
        job = self.jobs.get(action.job)
        if job is None:
            return "no such job"
        if job.generation != action.generation:
            return f"the job is of generation {job.generation} now"
        self.version += 1
        if action.verb is Verb.START:
            return self._start(job, action)
        if action.verb is Verb.EXPLAIN:
            self.jobs[job.id] = replace(job, note=action.text)
            return ""
        if action.verb is Verb.WITHDRAW:
            if job.phase is not Phase.STARTING:
                return f"the job is {job.phase}"
            self._due.pop(job.id, None)
            self.jobs[job.id] = replace(job, phase=Phase.WAITING, nodes=(), gpus=())
            return ""
        if job.phase is not Phase.RUNNING:
            return f"the job is {job.phase}"
        self._requeue(job)
        return ""

    def _requeue(self, job: Job) -> None:
        self._due.pop(job.id, None)
        self.jobs[job.id] = replace(job, phase=Phase.WAITING, nodes=(), gpus=(), generation=job.generation + 1)

    def _start(self, job: Job, action: Action) -> str:
        if job.phase is not Phase.WAITING:
            return f"the job is {job.phase}"
        why = self._no_room(job, action)
        if why:
            return why
        kinds = {self._nodes[name].gpu_type for name in action.nodes}
        start = self.now_s + self.start_delay_s
        self._due[job.id] = start, start + max(self.actual_seconds(job, kind) for kind in kinds)
        phase = Phase.STARTING if self.start_delay_s > 0 else Phase.RUNNING
        self.jobs[job.id] = replace(job, phase=phase, started_s=start, nodes=action.nodes, gpus=action.gpus)
        if phase is Phase.RUNNING:
            self.starts[job.key] += 1
        return ""

    def _no_room(self, job: Job, action: Action) -> str:
        if len(action.nodes) != job.workers:
            return f"{len(action.nodes)} nodes for {job.workers} workers"
        for name, times in Counter(action.nodes).items():
            node = self._nodes.get(name)
            if node is None or not node.up or not job.accepts(node):
                return f"{name} does not take the job"
            cpu, memory, gpus = self._used(name)
            request = job.request
            milli = request.num_gpus * request.gpu_milli
            if (
                cpu + times * request.cpu_milli > node.cpu_milli
                or memory + times * request.memory_mib > node.memory_mib
                or gpus + times * milli > 1000 * node.num_gpus
            ):
                return f"{name} has no room"
        return ""

    def _used(self, name: str) -> tuple[int, int, int]:
        cpu = memory = gpus = 0
        for other in self.jobs.values():
            times = other.nodes.count(name)
            if times and other.phase is not Phase.WAITING:
                cpu += times * other.request.cpu_milli
                memory += times * other.request.memory_mib
                gpus += times * other.request.num_gpus * other.request.gpu_milli
        return cpu, memory, gpus
