"""The one stream that the screen, the JSON lines, the plots and Ctrl-C all listen to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, isfinite

from apportion.instances.core import Sense
from apportion.solvers.status import Bounds


class EventKind(StrEnum):
    """What happened."""

    START = "start"
    INCUMBENT = "incumbent"
    BOUND = "bound"
    NODE = "node"
    LOG = "log"
    END = "end"


@dataclass(frozen=True)
class Event:
    """One line of the stream: seconds since the start, what is proven now, and who found it.

    ``letter`` tells where an incumbent came from, as the solvers print it: ``H`` heuristic, ``S`` start,
    ``L`` local search, ``T`` tree, ``R`` relaxation. For a LOG it names the solver that says so, if any.
    """

    kind: EventKind
    time_s: float
    bounds: Bounds
    letter: str = ""
    nodes: int = 0
    message: str = ""


Listener = Callable[[Event], None]


@dataclass
class Monitor:
    """The clock, the stream and the cancel flag of one solve; a method and its backends share it.

    ``primal`` and ``dual`` only ever improve: a worse incumbent or bound is ignored and makes no event.
    Thread-safe: backends report from threads of their own.
    """

    sense: Sense
    listener: Listener | None = None
    time_limit_s: float = inf
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        """Nothing is known yet."""
        self._bounds = Bounds.unknown(self.sense)
        self._nodes = 0
        self._lock = threading.Lock()

    @property
    def bounds(self) -> Bounds:
        """What is proven now."""
        return self._bounds

    @property
    def elapsed_s(self) -> float:
        """Wall-clock seconds since the start."""
        return time.perf_counter() - self.started

    @property
    def remaining_s(self) -> float:
        """Wall-clock seconds left, at least 0; infinite without a limit."""
        return max(0.0, self.time_limit_s - self.elapsed_s)

    @property
    def should_stop(self) -> bool:
        """Whether the caller cancelled or the time is up."""
        return self.cancelled.is_set() or self.remaining_s <= 0.0

    def cancel(self) -> None:
        """Ask the solve to stop soon and keep what it has."""
        self.cancelled.set()

    def incumbent(self, objective: float, letter: str = "H", message: str = "") -> bool:
        """Report a feasible plan; return whether it improves on the best so far."""
        with self._lock:
            sign = self.sense.sign
            if not isfinite(objective) or sign * objective >= sign * self._bounds.primal:
                return False
            self._bounds = Bounds(objective, self._bounds.dual)
        self._emit(EventKind.INCUMBENT, letter, message)
        return True

    def bound(self, dual: float, message: str = "") -> bool:
        """Report a proven bound; return whether it improves on the best so far."""
        with self._lock:
            sign = self.sense.sign
            if not isfinite(dual) or sign * dual <= sign * self._bounds.dual:
                return False
            self._bounds = Bounds(self._bounds.primal, dual)
        self._emit(EventKind.BOUND, "", message)
        return True

    def node(self, nodes: int) -> None:
        """Report how many branch-and-bound nodes are done."""
        self._nodes = nodes
        self._emit(EventKind.NODE)

    def log(self, message: str, source: str = "") -> None:
        """Report something in words, such as a start that was rejected and why.

        ``source`` names the solver whose own log this is; a screen may leave such lines out.
        """
        self._emit(EventKind.LOG, source, message)

    def start(self, message: str = "") -> None:
        """Open the stream."""
        self._emit(EventKind.START, "", message)

    def end(self, message: str = "") -> None:
        """Close the stream."""
        self._emit(EventKind.END, "", message)

    def _emit(self, kind: EventKind, letter: str = "", message: str = "") -> None:
        if self.listener is not None:
            self.listener(Event(kind, self.elapsed_s, self._bounds, letter, self._nodes, message))
