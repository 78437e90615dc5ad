"""Every error that Apportion raises on purpose.

::

    ApportionError
    ├── InstanceError (ValueError)      a file or its data cannot be an instance; lists every fault found
    ├── PlanError (ValueError)          a plan file cannot be read, or belongs to another instance
    ├── ModelError (ValueError)         an array model is written wrongly; names the block
    ├── OptionError (ValueError)        an unknown option, or a value out of its range
    └── BackendError (RuntimeError)     a solver behaved in a way that it should not
        ├── BackendMissingError         the solver is not installed
        └── CapabilityError             the solver cannot express this model; says what to use instead
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SHOWN = 60


class ApportionError(Exception):
    """Root of the tree: catch it to catch all that follows."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with some input: where, what, the value met, and the way out.

    ``place`` is a line (``"line 14"``) or a path (``"tasks[3].cpu_milli"``).
    """

    place: str
    message: str
    value: object = None
    hint: str = ""

    def __str__(self) -> str:
        shown = "" if self.value is None else f", got {_shorten(self.value)}"
        where = f"{self.place}: " if self.place else ""
        advice = f"\n    Maybe {self.hint}" if self.hint else ""
        return f"{where}{self.message}{shown}{advice}"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


class _FaultyInputError(ApportionError, ValueError):
    """Shared shape of the errors that list faults in a named source."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        super().__init__(source, self.faults)

    def __str__(self) -> str:
        lines = [f"{self.source}: {len(self.faults)} fault{'s' * (len(self.faults) != 1)}"]
        return "\n".join(lines + [f"  {fault}" for fault in self.faults])


class InstanceError(_FaultyInputError):
    """A file or its data cannot be an instance. ``source`` names it, ``faults`` lists what is wrong."""


class PlanError(_FaultyInputError):
    """A plan cannot be read, or it speaks of things that its instance does not have."""


class ModelError(ApportionError, ValueError):
    """An array model is written wrongly. The message names the block."""


class OptionError(ApportionError, ValueError):
    """An unknown option, or a value out of its range."""


class BackendError(ApportionError, RuntimeError):
    """A solver behaved in a way that it should not. The message keeps its own words."""


class BackendMissingError(BackendError):
    """The solver asked for is not installed."""


class CapabilityError(BackendError):
    """The solver cannot express this model. The message says which one can."""
