"""What the control loop asks of a cluster: say how it is, carry out what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from apportion.instances.errors import ApportionError
from apportion.scheduling.live.state import ClusterState


class AdapterError(ApportionError, RuntimeError):
    """The cluster could not be asked. The loop tries again in the next round."""


class Verb(StrEnum):
    """What can be done to a job."""

    START = "start"
    """Let it run on the named nodes. Without effect on a job that waits no longer."""
    PREEMPT = "preempt"
    """Send it back to the queue."""
    WITHDRAW = "withdraw"
    """Take back a start that did not come to be. Without effect on a job that runs."""
    EXPLAIN = "explain"
    """Show why it waits."""


@dataclass(frozen=True)
class Action:
    """One thing to do to one generation of one job. Doing it twice has the effect of doing it once.

    ``nodes`` has one entry per worker for a start, ``gpus`` likewise where GPUs are shared; ``text`` is the reason in
    words.
    """

    verb: Verb
    job: str
    generation: int
    nodes: tuple[str, ...] = ()
    gpus: tuple[tuple[int, ...], ...] = ()
    text: str = ""

    @property
    def key(self) -> str:
        """The same for the same effect.

        >>> Action(Verb.START, "7", 0, ("a100-1",), text="fits").key
        'start 7.0 a100-1'
        """
        return f"{self.verb} {self.job}.{self.generation} {','.join(self.nodes)}".rstrip()


class OutcomeStatus(StrEnum):
    """What became of an action."""

    DONE = "done"
    REFUSED = "refused"
    """It had no effect: the job is gone, has moved on, or the cluster does not want it."""
    UNKNOWN = "unknown"
    """No answer came: it may have had its effect or may still have it."""


@dataclass(frozen=True)
class Outcome:
    """What became of an action, with the cluster's own words."""

    action: Action
    status: OutcomeStatus
    text: str = ""


class Adapter(Protocol):
    """The bridge to one cluster.

    The cluster is the only truth: an adapter keeps nothing that a restart would lose.
    """

    name: str

    def observe(self) -> ClusterState:
        """The cluster now.

        Raises
        ------
        AdapterError
            When it could not be asked in time.
        """
        ...

    def act(self, actions: Sequence[Action]) -> list[Outcome]:
        """Carry out actions, one outcome each in the same order; never raises :class:`AdapterError`.

        An action on another generation or phase than the cluster has now is refused without effect.
        """
        ...
