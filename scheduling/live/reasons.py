"""Why a job starts, waits or gives way: a code for machines and a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Machine-readable reasons."""

    STARTS = "Starts"
    PLANNED = "Planned"
    """It fits later: the plan says where and when."""
    INSUFFICIENT = "InsufficientFree"
    FRAGMENTED = "Fragmented"
    """Enough GPUs are free, but not on one node or on enough nodes."""
    BEHIND = "BehindOthers"
    """It would fit now, but the room is kept for others."""
    NO_NODE = "NoSuchNode"
    """No node accepts it, up or down."""
    TOO_LARGE = "TooLarge"
    """No node that accepts it is large enough, or there are too few."""
    NODES_DOWN = "NodesDown"
    PREEMPTING = "Preempting"
    """It waits for others to give way."""
    PREEMPTED = "Preempted"
    """It gives way to a job of higher priority."""
    RESERVED = "StartSent"
    """Its start has been sent; the cluster has not confirmed it yet."""
    WITHDRAWN = "DidNotStart"
    """Its start was taken back, since it did not come to be in time."""


@dataclass(frozen=True)
class Reason:
    """A code and a sentence."""

    code: Code
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


@dataclass(frozen=True)
class Decision:
    """What a policy says about one job: where each worker goes, or why it waits.

    ``nodes`` is empty for a job that waits; ``victims`` names the jobs that should give way to it.
    """

    job: str
    generation: int
    reason: Reason
    nodes: tuple[str, ...] = ()
    gpus: tuple[tuple[int, ...], ...] = ()
    victims: tuple[str, ...] = ()

    @property
    def starts(self) -> bool:
        """Whether the job starts now."""
        return bool(self.nodes)
