"""Somebody who works beside a solver on the same program: hears its incumbents, offers better ones."""

from __future__ import annotations

from typing import Protocol

from apportion.instances.program import Floats


class Companion(Protocol):
    """A partner of one run; called from the solver's own thread, between its steps."""

    def heard(self, values: Floats) -> None:
        """The solver has a new incumbent, shape (n,)."""
        ...

    def turn(self) -> None:
        """The solver pauses: use the moment to work, and return soon."""
        ...

    def offer(self) -> Floats | None:
        """A point that is better than the solver's incumbent, shape (n,), or None."""
        ...
