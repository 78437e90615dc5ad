"""Advice for a method. It may be wrong: the method must stay correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from apportion.instances.core import Instance, Plan


@dataclass(frozen=True)
class Advice:
    """All that an advisor may suggest; empty parts mean no opinion.

    ``hint`` maps columns of the compiled program to values to begin with, perhaps only some of them. ``fix`` and
    ``branch_first`` speak of the same columns, ``fix`` in the order of its confidence, the most certain column first;
    ``leave_out`` of row blocks by name, ``put_in`` of rows by name that a method else adds only once it has met them,
    such as limits on flows after outages.
    ``options`` are changes of the options of the solve, such as another backend, where the caller chose none.
    """

    start: Plan | None = None
    hint: Mapping[int, float] = field(default_factory=dict)
    fix: Mapping[int, float] = field(default_factory=dict)
    branch_first: Sequence[int] = ()
    leave_out: Sequence[str] = ()
    put_in: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


class Advisor(Protocol):
    """Learned or hand-made advice about one instance."""

    def advise(self, instance: Instance) -> Advice:
        """Return what the advisor thinks of ``instance``."""
        ...
