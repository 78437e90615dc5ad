"""A clock that never jumps."""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP_S = 5.0
"""A difference between the two clocks of the machine that is worth telling."""


class SteadyClock:
    """Seconds since the epoch that pass as monotonic time does, whatever happens to the clock on the wall.

    Parameters
    ----------
    wall, monotonic
        The two clocks; others in tests.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._begin_wall, self._begin = wall(), monotonic()
        self._seen = 0.0

    def monotonic(self) -> float:
        """For limits and expiry."""
        return self._monotonic()

    def now(self) -> float:
        """Seconds since the epoch as of the start of this clock, plus what has passed since."""
        return self._begin_wall + (self._monotonic() - self._begin)

    def jump_s(self) -> float:
        """How far the wall clock has moved since the last call, beyond the time that passed; 0 below ``JUMP_S``.

        >>> walls = iter([100.0, 101.0, 4000.0])
        >>> clock = SteadyClock(lambda: next(walls), lambda: 0.0)
        >>> clock.jump_s(), clock.jump_s()
        (0.0, 3900.0)
        """
        apart = self._wall() - self.now()
        moved = apart - self._seen
        if abs(moved) < JUMP_S:
            return 0.0
        self._seen = apart
        return moved
