"""Run a solver that has no callback for stopping, and stop it by the clock, the cancel flag or a signal."""

from __future__ import annotations

import threading
from collections.abc import Callable

from apportion.solvers.backends.callbacks import Guard
from apportion.solvers.events import Monitor

_LOOK_EVERY_S = 0.05


def run_watched(work: Callable[[], None], stop: Callable[[], None], monitor: Monitor, guard: Guard) -> None:
    """Run ``work`` in a thread of its own and call ``stop`` when ``monitor.should_stop`` or a callback failed.

    The calling thread waits in Python, so that a signal is handled at once: inside a solver's C++ it would wait for
    the end of the search. ``stop`` is called again at every look, since a solver forgets a stop that comes before its
    search begins. What ``work`` raises, and what ``guard`` has kept, is raised here.
    """
    thread = threading.Thread(target=lambda: guard.run(work), name="apportion-solver", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_LOOK_EVERY_S)
            if monitor.should_stop or guard.failed:
                stop()
    finally:
        while thread.is_alive():
            stop()
            thread.join(_LOOK_EVERY_S)
    guard.raise_if_failed()
