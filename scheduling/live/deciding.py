"""Decide within a bound: the policy in a process that can be killed, and a fallback that always answers."""

from __future__ import annotations

import logging
import multiprocessing
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Protocol

from apportion.scheduling.live.reasons import Decision
from apportion.scheduling.live.state import ClusterState, sample_state

_LOG = logging.getLogger(__name__)
_GOODBYE_S = 2.0
_WARM_S = 0.05


class LivePolicy(Protocol):
    """What decides: a function of a snapshot that may remember its last answer to begin with."""

    def decide(self, state: ClusterState, budget_s: float) -> list[Decision]:
        """One decision for every waiting job of ours."""
        ...


@dataclass(frozen=True)
class Decided:
    """The decisions of a round; ``by`` says who made them, ``trouble`` why it was not the policy."""

    decisions: list[Decision]
    by: str
    trouble: str = ""


class Decider(Protocol):
    """Asks a policy."""

    def decide(self, state: ClusterState, budget_s: float, deadline_s: float) -> Decided:
        """Decisions after at most about ``deadline_s``."""
        ...

    def close(self) -> None:
        """Stop what runs in the background."""
        ...


class InlineDecider:
    """The policy in this process: nothing guards against one that hangs; for simulation and for single rounds."""

    def __init__(self, policy: LivePolicy, fallback: LivePolicy | None = None) -> None:
        self._policy, self._fallback = policy, fallback

    def decide(self, state: ClusterState, budget_s: float, deadline_s: float) -> Decided:
        """Ask the policy, the fallback when it fails."""
        del deadline_s
        if self._fallback is None:
            return Decided(self._policy.decide(state, budget_s), "policy")
        try:
            return Decided(self._policy.decide(state, budget_s), "policy")
        except Exception as error:  # noqa: BLE001 (a policy may be anyone's; the fallback decides instead)
            trouble = f"the policy failed: {type(error).__name__}: {error}"
        return Decided(self._fallback.decide(state, budget_s), "fallback", trouble)

    def close(self) -> None:
        """Nothing to stop."""


class WorkerDecider:
    """The policy in a process of its own, killed when it is late; ``fallback`` answers in this one.

    Parameters
    ----------
    policy
        Is sent to the process once: it must be picklable.
    fallback
        Bounded in time.
    """

    def __init__(self, policy: LivePolicy, fallback: LivePolicy) -> None:
        self._policy, self._fallback = policy, fallback
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._ready = False
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._policy), daemon=True, name="apportion policy")
        process.start()
        theirs.close()
        self._process, self._pipe, self._ready = process, ours, False

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until the process has loaded what it needs; rounds before that are decided by the fallback."""
        if not self._ready and self._pipe is not None:
            try:
                self._ready = self._pipe.poll(timeout_s) and self._pipe.recv() == "ready"
            except (EOFError, OSError):
                self._ready = False
        return self._ready

    @property
    def pid(self) -> int | None:
        """The process that decides."""
        return None if self._process is None else self._process.pid

    def decide(self, state: ClusterState, budget_s: float, deadline_s: float) -> Decided:
        """Ask the process; when it does not answer in time it is killed and the fallback decides."""
        began = time.monotonic()
        if self._process is None or not self._process.is_alive():
            self.close()
            self._start()
        if not self.wait_ready(0.0):
            return self._fall_back(state, budget_s, "the policy is still loading")
        pipe = self._pipe
        if pipe is None:
            return self._fall_back(state, budget_s, "the policy has no process")
        try:
            pipe.send((replace(state), budget_s))
            if not pipe.poll(max(0.0, deadline_s - (time.monotonic() - began))):
                self.close()
                return self._fall_back(state, budget_s, f"the policy did not answer within {deadline_s:g} s: killed")
            answer = pipe.recv()
        except (EOFError, OSError) as error:
            self.close()
            return self._fall_back(state, budget_s, f"the process of the policy died: {type(error).__name__}")
        if isinstance(answer, str):
            return self._fall_back(state, budget_s, f"the policy failed: {answer}")
        return Decided(answer, "policy")

    def _fall_back(self, state: ClusterState, budget_s: float, trouble: str) -> Decided:
        _LOG.info("%s", trouble)
        return Decided(self._fallback.decide(state, budget_s), "fallback", trouble)

    def close(self) -> None:
        """Kill the process."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            self._process.kill()
            self._process.join(_GOODBYE_S)
            self._process = None
        self._ready = False


def _serve(pipe: Connection, policy: LivePolicy) -> None:
    """The process: load, say so, answer until the pipe is closed."""
    try:
        _answer(policy, sample_state(), _WARM_S)
        pipe.send("ready")
        while True:
            state, budget_s = pipe.recv()
            pipe.send(_answer(policy, state, budget_s))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _answer(policy: LivePolicy, state: ClusterState, budget_s: float) -> list[Decision] | str:
    try:
        return policy.decide(state, budget_s)
    except Exception as error:  # noqa: BLE001 (a policy may be anyone's; the fallback decides instead)
        return f"{type(error).__name__}: {error}"
