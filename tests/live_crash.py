"""Run as a program: a control loop on a cluster that lives in a file, killed by itself where it is told to be.

``live_crash.py FOLDER POINT``: POINT is ``before``, ``between`` or ``after`` the orders of the first round with starts,
or ``never``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apportion.scheduling.live import (
    Action,
    ClusterState,
    ControlLoop,
    Job,
    Journal,
    LoopOptions,
    Node,
    Outcome,
    OutcomeStatus,
    Phase,
    Verb,
)
from apportion.scheduling.live.deciding import InlineDecider
from apportion.scheduling.live.rules import greedy
from apportion.solvers.online.snapshot import Request

NUM_JOBS = 6


class FileCluster:
    """Jobs in a file; every start is a line in another, so that a second start of a job would be seen."""

    name = "file"

    def __init__(self, folder: Path, die: str) -> None:
        self.file, self.log, self._die = folder / "cluster.json", folder / "starts.log", die
        if not self.file.exists():
            self._write({str(i): [] for i in range(NUM_JOBS)})

    def _read(self) -> dict[str, Any]:
        found = json.loads(self.file.read_text(encoding="utf-8"))
        assert isinstance(found, dict)
        return found

    def _write(self, jobs: dict[str, Any]) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(jobs), encoding="utf-8")
        fresh.replace(self.file)

    def observe(self) -> ClusterState:
        request = Request(1000, 64, 1, 1000)
        jobs = tuple(
            Job(name, request, phase=Phase.RUNNING if nodes else Phase.WAITING, limit_s=60.0, nodes=tuple(nodes))
            for name, nodes in self._read().items()
        )
        return ClusterState((Node("n", 64_000, 64_000, 4, "a100"),), jobs)

    def act(self, actions: Sequence[Action]) -> list[Outcome]:
        starting = any(action.verb is Verb.START for action in actions)
        if starting and self._die == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        outcomes = []
        for action in actions:
            outcomes.append(self._one(action))
            if starting and self._die == "between" and len(outcomes) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        if starting and self._die == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return outcomes

    def _one(self, action: Action) -> Outcome:
        jobs = self._read()
        if action.verb is not Verb.START:
            return Outcome(action, OutcomeStatus.DONE)
        if jobs[action.job]:
            return Outcome(action, OutcomeStatus.REFUSED, "it runs")
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{action.job}\n")
        jobs[action.job] = list(action.nodes)
        self._write(jobs)
        return Outcome(action, OutcomeStatus.DONE)

    def end_all(self) -> None:
        """What runs ends."""
        self._write({name: nodes for name, nodes in self._read().items() if not nodes})

    @property
    def empty(self) -> bool:
        return not self._read()


def main(folder: Path, die: str) -> None:
    cluster = FileCluster(folder, die)
    journal = Journal(folder / "journal.db")
    loop = ControlLoop(cluster, InlineDecider(greedy()), journal, LoopOptions(budget_s=0.0))
    for _ in range(10):
        done = loop.round()
        sys.stdout.write("".join(f"{message}\n" for message in done.messages))
        cluster.end_all()
        if cluster.empty:
            break
    journal.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
