"""Stop a solver that has no callback for it: a thread that looks at the clock and the cancel flag."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from apportion.solvers.events import Monitor

_LOOK_EVERY_S = 0.05


class Watch:
    """Calls ``stop`` once from a thread of its own when ``monitor.should_stop`` or ``failed()``.

    ``stop`` is called again at every look, since some solvers forget a stop that comes before their search begins.
    """

    def __init__(self, monitor: Monitor, stop: Callable[[], None], failed: Callable[[], bool]) -> None:
        self._monitor = monitor
        self._stop = stop
        self._failed = failed
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="apportion-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(_LOOK_EVERY_S):
            if self._monitor.should_stop or self._failed():
                self._stop()
