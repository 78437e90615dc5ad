"""The clock of one small program inside a longer solve."""

from __future__ import annotations

import time
from math import inf

from apportion.instances.core import Sense
from apportion.solvers.events import Monitor


class Budget(Monitor):
    """A silent monitor that stops after CPU seconds of this process, or when the solve around it should.

    What is reported to it stays with it: the bound of a part is no bound of the whole.
    """

    def __init__(self, around: Monitor, sense: Sense, cpu_s: float = inf) -> None:
        super().__init__(sense, None, around.time_limit_s, around.cancelled, around.started)
        self._around = around
        self._until = time.process_time() + cpu_s

    @property
    def out_of_budget(self) -> bool:
        """Whether the CPU seconds are spent."""
        return time.process_time() >= self._until

    @property
    def should_stop(self) -> bool:
        """Whether the solve around should stop or the CPU seconds are spent."""
        return self._around.should_stop or self.out_of_budget
