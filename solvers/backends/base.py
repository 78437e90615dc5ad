"""The one protocol behind which every solver stands, and what each declares that it can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from apportion.instances.program import Floats, MixedIntegerProgram
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Bounds, Limit, Status


@dataclass(frozen=True)
class Capabilities:
    """What a backend can express and do. Asked before a model is handed over."""

    continuous: bool
    integer: bool
    quadratic_objective: bool
    ordered_sets: bool
    indicators: bool
    duals: bool
    warm_start: bool
    cancel: bool
    deterministic: bool
    quadratic_with_integers: bool = False
    infinite_bounds: bool = True


@dataclass(frozen=True, eq=False)
class BackendAnswer:
    """What a backend found, in arrays.

    ``values`` has shape (n,) or is None. ``row_duals`` (m,) and ``reduced_costs`` (n,) are
    d objective / d right-hand side and d objective / d bound, None for models with integers.
    """

    status: Status
    bounds: Bounds
    limit: Limit | None = None
    values: Floats | None = None
    row_duals: Floats | None = None
    reduced_costs: Floats | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    native_status: str = ""


class Backend(Protocol):
    """A solver of programs."""

    @property
    def name(self) -> str:
        """``"highs"``, ``"cp-sat"``, ``"scip"``."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def run(
        self,
        program: MixedIntegerProgram,
        options: SolveOptions,
        monitor: Monitor,
        start: Floats | None = None,
    ) -> BackendAnswer:
        """Solve ``program`` within ``monitor.remaining_s``, streaming incumbents and bounds to ``monitor``.

        ``start`` is a value per column, shape (n,), NaN where unknown.
        """
        ...
