"""What a solve returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from apportion.instances.core import Plan, Sense
from apportion.models.verdict import Verdict
from apportion.solvers.status import Bounds, Limit, Status

P = TypeVar("P", bound=Plan)


@dataclass(frozen=True)
class Timings:
    """Wall-clock seconds of each stage, and the CPU seconds and peak memory of the process over the whole."""

    read_s: float = 0.0
    build_s: float = 0.0
    solve_s: float = 0.0
    check_s: float = 0.0
    verify_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_mb: float = 0.0

    @property
    def total_s(self) -> float:
        """All stages together."""
        return self.read_s + self.build_s + self.solve_s + self.check_s + self.verify_s


class Agreement(StrEnum):
    """What a second solve says about the first."""

    CONFIRMED = "confirmed"
    """It proved the same."""
    UNCONTRADICTED = "not contradicted"
    """It found nothing against the first, and proved less within its limits."""
    CONTRADICTED = "contradicted"
    NOT_DONE = "not done"


@dataclass(frozen=True)
class SecondOpinion:
    """The outcome of ``verify``: ``backend`` solved again (empty when none could), ``message`` says it in words."""

    agreement: Agreement
    backend: str = ""
    message: str = ""

    def __str__(self) -> str:
        return f"{self.agreement}: {self.message}" if self.message else str(self.agreement)


@dataclass(frozen=True)
class Answer(Generic[P]):
    """What a method hands back, before the check: a plan or None, true bounds, and why it stopped.

    ``counts`` are things such as ``{"nodes": 12, "iterations": 3400}``; ``native_status`` is the solver's own text.
    ``extras`` may hold further figures a report shows, such as a second-stage objective. ``native`` is the answer in
    the method's own terms: for programs the :class:`~apportion.solvers.backends.base.BackendAnswer`.
    """

    status: Status
    bounds: Bounds
    plan: P | None = None
    limit: Limit | None = None
    build_s: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    native_status: str = ""
    extras: Mapping[str, float] = field(default_factory=dict)
    native: Any = None

    @classmethod
    def nothing(cls, sense: Sense, status: Status, limit: Limit | None = None, native_status: str = "") -> Answer[P]:
        """An answer without a plan."""
        return cls(status, Bounds.unknown(sense), limit=limit, native_status=native_status)


@dataclass(frozen=True)
class Result(Generic[P]):
    """A checked answer with all that is needed to reproduce and to report it.

    ``plan`` is None unless the independent check passed; ``verdict`` is what the check found. A plan that failed it is
    kept in ``rejected_plan`` for inspection, with status ERROR; so is one whose result a second solve contradicts.
    ``second_opinion`` is None unless ``verify`` was asked for.
    """

    instance: str
    problem: str
    method: str
    sense: Sense
    status: Status
    bounds: Bounds
    plan: P | None
    limit: Limit | None
    verdict: Verdict | None
    timings: Timings
    counts: Mapping[str, int]
    extras: Mapping[str, float]
    seed: int
    versions: Mapping[str, str]
    native_status: str = ""
    message: str = ""
    rejected_plan: P | None = None
    native: Any = None
    second_opinion: SecondOpinion | None = None

    @property
    def objective(self) -> float:
        """The objective of the plan as the check recomputed it; infinite on the bad side when there is none."""
        return self.bounds.primal
