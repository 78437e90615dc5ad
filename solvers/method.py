"""A method turns an instance into an answer. One call, no state."""

from __future__ import annotations

from typing import Any, Protocol

from apportion.solvers.advisor import Advisor
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Answer


class Method(Protocol):
    """How one problem is solved: ``solve(instance, options, monitor, advisor) -> Answer``.

    It formulates, runs its kernels or backends, reports to ``monitor``, stops when ``monitor.should_stop``, and
    decodes a plan. It never checks its own plan: the caller does.
    """

    def __call__(
        self, instance: Any, options: SolveOptions, monitor: Monitor, advisor: Advisor | None = None
    ) -> Answer[Any]:
        """Solve ``instance``."""
        ...
