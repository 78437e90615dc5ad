"""The adapter of Slurm: two queries to observe, two orders to start a job."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from apportion.scheduling.live.adapter import Action, AdapterError, Outcome, OutcomeStatus, Verb
from apportion.scheduling.live.clock import SteadyClock
from apportion.scheduling.live.state import ClusterState
from apportion.scheduling.slurm.commands import CommandFailed, Commands, CommandTimeout, Programs
from apportion.scheduling.slurm.parsing import SEPARATOR, parse_state, parse_tiers, text

_TIERS_S = 60.0
_AT_ONCE = 6
_LIST = 200
_JOB = re.compile(r"[Ff]or job (\d+)")
_MOST_TEXT = 900


class SlurmAdapter:
    """Places jobs that are held: ``scontrol update JobId=N ReqNodeList=...`` and then ``scontrol release N``.

    A start has no effect before its release, and the release of a job that is not held has none; so a start that is
    repeated, or cut off anywhere, never runs a job twice. Reasons go to the job's comment, after the words of its owner
    and ``||``, where ``squeue -o "%i %T %k"`` shows them.

    Parameters
    ----------
    commands
        Runs Slurm's programs.
    clock
        The time that observations carry.
    """

    name = "slurm"

    def __init__(self, commands: Commands | None = None, clock: SteadyClock | None = None) -> None:
        self._commands = Programs() if commands is None else commands
        self._clock = SteadyClock() if clock is None else clock
        self._tiers: dict[str, float] = {}
        self._tiers_at = -_TIERS_S
        self._comments: dict[str, str] = {}
        self._told: set[str] = set()

    def observe(self) -> ClusterState:
        """The cluster now, by ``squeue`` and ``sinfo``."""
        jobs = self._json(["squeue", "--json"])
        nodes = self._json(["sinfo", "--json"])
        if "nodes" not in nodes:
            nodes = self._json(["scontrol", "show", "nodes", "--json"])
        if self._clock.monotonic() - self._tiers_at >= _TIERS_S:
            self._tiers = parse_tiers(self._ask(["scontrol", "-o", "show", "partition"]))
            self._tiers_at = self._clock.monotonic()
        rows = jobs.get("jobs")
        if not isinstance(rows, list):
            raise AdapterError("squeue --json has no list of jobs")
        self._comments = {str(row.get("job_id")): text(row.get("comment")) for row in rows if isinstance(row, dict)}
        state = parse_state(jobs, nodes, self._tiers, self._clock.now())
        fresh = tuple(fault for fault in state.faults if fault not in self._told)
        self._told = set(state.faults)
        return ClusterState(state.nodes, state.jobs, state.now_s, faults=fresh)

    def _ask(self, arguments: Sequence[str]) -> str:
        try:
            return self._commands.run(arguments)
        except (CommandFailed, CommandTimeout) as error:
            raise AdapterError(str(error)) from error

    def _json(self, arguments: Sequence[str]) -> dict[str, Any]:
        answer = self._ask(arguments)
        try:
            found = json.loads(answer)
        except json.JSONDecodeError as error:
            message = f"{' '.join(arguments)} answered what is no JSON: {answer[:60]!r}"
            raise AdapterError(f"{message}\nMaybe this Slurm was built without JSON") from error
        if not isinstance(found, dict):
            raise AdapterError(f"{' '.join(arguments)} answered no object")
        return found

    def act(self, actions: Sequence[Action]) -> list[Outcome]:
        """Carry out actions: starts first, then preemptions and withdrawals, then reasons."""
        found: dict[int, Outcome] = {}
        by_verb: dict[Verb, list[int]] = defaultdict(list)
        for i, action in enumerate(actions):
            by_verb[action.verb].append(i)
        orders: dict[Verb, Callable[[list[Action]], list[Outcome]]] = {
            Verb.START: self._start,
            Verb.PREEMPT: lambda some: self._listed(some, "requeuehold"),
            Verb.WITHDRAW: lambda some: self._listed(some, "hold"),
            Verb.EXPLAIN: self._explain,
        }
        for verb, order in orders.items():
            positions = by_verb.get(verb, [])
            if positions:
                outcomes = order([actions[i] for i in positions])
                found.update(zip(positions, outcomes, strict=True))
        return [found[i] for i in range(len(actions))]

    def _start(self, actions: list[Action]) -> list[Outcome]:
        """Say the nodes of each job, then release those of which Slurm took the nodes."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            placed = list(pool.map(self._place, actions))
        ready = [outcome.action for outcome in placed if outcome.status is OutcomeStatus.DONE]
        released = {outcome.action: outcome for outcome in self._listed(ready, "release")}
        return [released.get(outcome.action, outcome) for outcome in placed]

    def _place(self, action: Action) -> Outcome:
        nodes = ",".join(dict.fromkeys(action.nodes))
        comment = f"Comment={self._comment(action)}"
        return self._order(action, ["scontrol", "update", f"JobId={action.job}", f"ReqNodeList={nodes}", comment])

    def _comment(self, action: Action) -> str:
        own = self._comments.get(action.job, "").partition(SEPARATOR.rstrip())[0].rstrip()
        reason = " ".join(action.text.split())[:_MOST_TEXT]
        return f"{own}{SEPARATOR}{reason}"

    def _order(self, action: Action, arguments: Sequence[str]) -> Outcome:
        try:
            self._commands.run(arguments)
        except CommandFailed as error:
            return Outcome(action, OutcomeStatus.REFUSED, str(error))
        except CommandTimeout as error:
            return Outcome(action, OutcomeStatus.UNKNOWN, str(error))
        return Outcome(action, OutcomeStatus.DONE)

    def _listed(self, actions: list[Action], order: str) -> list[Outcome]:
        """One order for many jobs; Slurm says of which ones it refuses it."""
        outcomes = []
        for begin in range(0, len(actions), _LIST):
            some = actions[begin : begin + _LIST]
            outcomes += self._together(some, ["scontrol", order, ",".join(action.job for action in some)])
        return outcomes

    def _together(self, actions: list[Action], arguments: Sequence[str]) -> list[Outcome]:
        try:
            self._commands.run(arguments)
        except CommandTimeout as error:
            return [Outcome(action, OutcomeStatus.UNKNOWN, str(error)) for action in actions]
        except CommandFailed as error:
            words = str(error)
            named = set(_JOB.findall(words)) or {action.job for action in actions}
            return [
                Outcome(action, OutcomeStatus.REFUSED, words)
                if action.job in named
                else Outcome(action, OutcomeStatus.DONE)
                for action in actions
            ]
        return [Outcome(action, OutcomeStatus.DONE) for action in actions]

    def _explain(self, actions: list[Action]) -> list[Outcome]:
        """Jobs with the same words in their comment are told together."""
        groups: dict[str, list[Action]] = defaultdict(list)
        for action in actions:
            groups[self._comment(action)].append(action)
        orders = [
            (some[begin : begin + _LIST], f"Comment={comment}")
            for comment, some in groups.items()
            for begin in range(0, len(some), _LIST)
        ]

        def tell(order: tuple[list[Action], str]) -> list[Outcome]:
            jobs = ",".join(action.job for action in order[0])
            return self._together(order[0], ["scontrol", "update", f"JobId={jobs}", order[1]])

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = {outcome.action: outcome for outcomes in pool.map(tell, orders) for outcome in outcomes}
        return [found[action] for action in actions]

    def hand_back(self) -> list[Outcome]:
        """Give every job that waits for us back to Slurm: no nodes prescribed, released."""
        waiting = self.observe().waiting()
        actions = [Action(Verb.START, job.id, job.generation) for job in waiting]
        for action in actions:
            self._order(action, ["scontrol", "update", f"JobId={action.job}", "ReqNodeList="])
        return self._listed(actions, "release")
