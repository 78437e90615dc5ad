"""What ``apportion serve`` does: run the control loop on a live cluster and say what it did."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from apportion.instances.errors import BackendMissingError, OptionError

if TYPE_CHECKING:
    from apportion.scheduling.live import Adapter, Outcome, Round
    from apportion.scheduling.live.deciding import Decider

_LOADING_S = 60.0


@dataclass(frozen=True)
class ServeRequest:
    """How to serve; see the command line for the meaning of each."""

    policy: str = "completion"
    interval_s: float = 2.0
    budget_s: float = 0.25
    deadline_s: float = 1.0
    confirm_s: float = 30.0
    journal: Path | None = None
    heartbeat: Path | None = None
    dry_run: bool = False
    once: bool = False
    preempt: bool = False
    ahead_s: float = 0.0
    overhead_s: float = 0.0
    seed: int = 0


def serve_slurm(
    request: ServeRequest, *, config: Path | None = None, command_timeout_s: float = 10.0, hand_back: bool = False
) -> int:
    """Run on Slurm until a signal comes, or one round."""
    from apportion.scheduling.slurm import SlurmAdapter
    from apportion.scheduling.slurm.commands import Programs, missing_programs

    missing = missing_programs()
    if missing:
        message = f"Slurm's programs are not installed here: {', '.join(missing)}"
        raise BackendMissingError(f"{message}\nMaybe apt-get install slurm-client, or run where the controller runs")
    adapter = SlurmAdapter(Programs(config, command_timeout_s))
    if hand_back:
        outcomes = adapter.hand_back()
        sys.stderr.write(f"gave {sum(o.status == 'done' for o in outcomes)} jobs back to Slurm\n")
        return 0
    return serve(adapter, request)


def serve(adapter: Adapter, request: ServeRequest, on_round: Callable[[Round], None] | None = None) -> int:
    """Run the loop on any adapter until SIGINT or SIGTERM, or one round; returns the exit code.

    Jobs that run go on when this ends; jobs that wait stay held until a scheduler runs again or they are released.
    """
    from apportion.scheduling.live import ControlLoop, Journal, LoopOptions

    if request.interval_s <= 0:
        raise OptionError(f"--interval must be positive, got {request.interval_s!r}")

    def on_each(done: Round) -> None:
        _tell(done, request, on_round)

    options = LoopOptions(
        request.interval_s, request.budget_s, request.deadline_s, request.confirm_s, dry_run=request.dry_run
    )
    decider = _decider(request)
    journal = Journal(None if request.dry_run else request.journal)
    try:
        loop = ControlLoop(adapter, decider, journal, options)
        if request.once:
            return _tell(loop.round(), request, on_round)
        with _stopping() as stop:
            loop.run(stop.is_set, on_each, stop.wait)
    finally:
        decider.close()
        journal.close()
    return 0


def _decider(request: ServeRequest) -> Decider:
    from apportion.scheduling.live.deciding import InlineDecider, WorkerDecider
    from apportion.scheduling.live.policies import live_policy
    from apportion.scheduling.live.rules import greedy
    from apportion.scheduling.live.state import sample_state

    policy = live_policy(
        request.policy,
        preempt=request.preempt,
        ahead_s=request.ahead_s,
        overhead_s=request.overhead_s,
        seed=request.seed,
    )
    if request.once:
        return InlineDecider(policy, greedy())
    fallback = greedy(request.ahead_s, request.overhead_s)
    fallback.decide(sample_state(), 0.0)
    worker = WorkerDecider(policy, fallback)
    worker.wait_ready(_LOADING_S)
    return worker


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set: the round that runs is finished."""
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(done: Round, request: ServeRequest, on_round: Callable[[Round], None] | None) -> int:
    """Write what happened to standard output, one line each; the exit code of a single round."""
    lines = list(done.messages)
    if request.dry_run:
        lines += [f"would {action.key}: {action.text}" for action in done.actions]
    else:
        lines += [_line(o) for o in done.outcomes if o.action.verb != "explain" or o.status != "done"]
    stamp = time.strftime("%H:%M:%S")
    for line in lines:
        sys.stdout.write(f"{stamp} {line}\n")
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    if request.heartbeat is not None and done.state is not None and not request.dry_run:
        _beat(request.heartbeat)
    if on_round is not None:
        on_round(done)
    return 0 if done.state is not None else 1


def _line(outcome: Outcome) -> str:
    answer = f": {' '.join(outcome.text.split())}" if outcome.text else ""
    tail = "" if outcome.status == "done" else f" [{outcome.status}{answer}]"
    return f"{outcome.action.key}: {outcome.action.text}{tail}"


def _beat(file: Path) -> None:
    """Write the time, in one step; a disk that is full must not stop the loop."""
    fresh = file.with_name(f".{file.name}.new")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(f"{int(time.time())}\n", encoding="ascii")
        fresh.replace(file)
