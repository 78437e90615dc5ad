"""A live scheduler: observe a cluster, decide with a pure policy, write the decision down, act, confirm."""

from __future__ import annotations

from apportion.scheduling.live.adapter import Action, Adapter, AdapterError, Outcome, OutcomeStatus, Verb
from apportion.scheduling.live.journal import Journal
from apportion.scheduling.live.loop import ControlLoop, LoopOptions, Round
from apportion.scheduling.live.state import ClusterState, Job, Node, Phase

__all__ = [
    "Action",
    "Adapter",
    "AdapterError",
    "ClusterState",
    "ControlLoop",
    "Job",
    "Journal",
    "LoopOptions",
    "Node",
    "Outcome",
    "OutcomeStatus",
    "Phase",
    "Round",
    "Verb",
]
