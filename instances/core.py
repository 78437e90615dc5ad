"""What every problem has in common: an instance with a name, a plan that is plain data, a sense."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

Json = dict[str, Any]


class Sense(StrEnum):
    """Which way the objective is better."""

    MINIMISE = "minimise"
    MAXIMISE = "maximise"

    @property
    def sign(self) -> int:
        """+1 when minimising, -1 when maximising: ``sign * objective`` is always a cost."""
        return 1 if self is Sense.MINIMISE else -1


@runtime_checkable
class Instance(Protocol):
    """A frozen, valid description of one problem. ``problem`` names its kind, such as ``"vehicle-routing"``."""

    problem: ClassVar[str]

    @property
    def name(self) -> str:
        """What people call this instance: by default the stem of its file."""
        ...

    @property
    def sense(self) -> Sense:
        """Whether the objective is a cost or a value."""
        ...


@runtime_checkable
class Plan(Protocol):
    """An answer in the problem's own words, as plain data that round-trips through JSON."""

    problem: ClassVar[str]

    def to_dict(self) -> Json:
        """Return the plan as JSON-ready data (without the envelope that :mod:`plans` adds)."""
        ...

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Rebuild the plan; raise :class:`~apportion.instances.errors.PlanError` when it cannot be."""
        ...
