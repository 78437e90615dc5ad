"""Advice for a method. It may be wrong: the method must stay correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from apportion.instances.core import Instance, Plan


@dataclass(frozen=True)
class Advice:
    """All that an advisor may suggest; empty parts mean no opinion.

    ``hint`` maps columns of the compiled program to values to begin with, perhaps only some of them. ``fix`` and
    ``branch_first`` speak of the same columns, ``fix`` in the order of its confidence, the most certain column first;
    ``leave_out`` of row blocks by name.
    """

    start: Plan | None = None
    hint: Mapping[int, float] = field(default_factory=dict)
    fix: Mapping[int, float] = field(default_factory=dict)
    branch_first: Sequence[int] = ()
    leave_out: Sequence[str] = ()


class Advisor(Protocol):
    """Learned or hand-made advice about one instance."""

    def advise(self, instance: Instance) -> Advice:
        """Return what the advisor thinks of ``instance``."""
        ...
