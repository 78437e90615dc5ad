"""Unit commitment by a rolling horizon: plan a window, carry out its first hours, hand the state over, look again.

What is handed over is exact: on or off, for how long, at which output, and whether the reserve held in the last hour
keeps the unit from stopping at once. So the plans joined are one plan of the whole horizon, and pass its check.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.commitment_windows import FleetState, hours_of, joined_plan
from apportion.instances.errors import OptionError
from apportion.models.commitment.check import check
from apportion.models.verdict import Verdict
from apportion.solvers.advisor import Advisor
from apportion.solvers.commitment_chain.memory import Memory
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Result
from apportion.solvers.solve import solve_instance
from apportion.solvers.status import Bounds, Status

MOST_RETRIES = 3
"""How often a window is planned anew, each time looking further ahead, because the one after it has no plan."""


@dataclass(frozen=True)
class Window:
    """One window: where it begins (hours from 0), how far it looks, how much of it is carried out, how it went.

    ``cost`` is what the hours carried out cost; ``bounds`` are those of the whole window.
    """

    first: int
    length: int
    kept: int
    status: Status
    bounds: Bounds
    cost: float
    cpu_s: float
    wall_s: float


@dataclass(frozen=True, eq=False)
class RolledCommitment:
    """What was carried out over the whole horizon and what its check says.

    ``plan`` and ``verdict`` are None when a window had no plan: then ``status`` says why and ``failed_at`` is the first
    hour, from 0, of that window.
    """

    instance: UnitCommitment
    plan: Commitment | None
    verdict: Verdict | None
    windows: tuple[Window, ...]
    status: Status
    failed_at: int | None = None
    retries: int = 0

    @property
    def cost(self) -> float:
        """The cost of the whole as the check recomputed it; infinite without a plan."""
        return float("inf") if self.verdict is None else self.verdict.objective

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all windows."""
        return sum(window.cpu_s for window in self.windows)


def roll(
    instance: UnitCommitment,
    window_h: int = 48,
    keep_h: int = 24,
    *,
    options: SolveOptions | None = None,
    method: str | None = None,
    warm: bool = True,
    on_window: Callable[[Window], object] | None = None,
) -> RolledCommitment:
    """Plan ``window_h`` hours, carry out ``keep_h``, and go on from the state of the units then.

    When a window has no plan, the one before it is planned again and looks ``keep_h`` hours further, up to
    :data:`MOST_RETRIES` times.

    Parameters
    ----------
    instance
        The whole horizon.
    window_h, keep_h
        Hours looked at and hours carried out, ``1 <= keep_h <= window_h``.
    options, method
        How each window is solved; limits hold for each of them. ``options.start`` is not used.
    warm
        Begin each window with the states that the one before it planned; otherwise each is solved cold.
    on_window
        Hears of each window that was carried out; of one that is planned again, again.

    Raises
    ------
    OptionError
        When ``window_h`` or ``keep_h`` is out of range.

    Examples
    --------
    >>> from apportion.instances.generate.commitment import generate_commitment
    >>> rolled = roll(generate_commitment(seed=1, units=4, periods=24), window_h=12, keep_h=6)
    >>> len(rolled.windows), rolled.verdict.ok
    (4, True)
    """
    if not (type(window_h) is int and type(keep_h) is int and 1 <= keep_h <= window_h):
        raise OptionError(f"the hours kept must lie in 1..window, got keep {keep_h!r} and window {window_h!r}")
    chosen = (options or SolveOptions()).with_(start=None)
    return _Roll(instance, window_h, keep_h, chosen, method, warm, on_window).run()


@dataclass
class _Step:
    """What was carried out of one window, the state before it, and how often it was planned."""

    before: FleetState
    kept: Commitment
    window: Window
    tries: int = 1


@dataclass
class _Roll:
    """The windows so far."""

    instance: UnitCommitment
    window_h: int
    keep_h: int
    options: SolveOptions
    method: str | None
    warm: bool
    on_window: Callable[[Window], object] | None
    steps: list[_Step] = field(default_factory=list)
    retries: int = 0

    def run(self) -> RolledCommitment:
        """Window after window; one step back where there is no way on."""
        memory: Advisor | None = None
        first, state = 0, FleetState.before(self.instance)
        while first < self.instance.num_periods:
            step, result = self._plan(first, state, self.window_h, memory, 1)
            while step is None:
                again = self._look_further(result.status)
                if again is None:
                    return self._failed(first, result.status)
                first, state = again.window.first + again.window.kept, again.before.after(again.kept)
                self.steps.append(again)
                step, result = self._plan(first, state, self.window_h, None, 1)
            self.steps.append(step)
            if self.on_window is not None:
                self.on_window(step.window)
            if self.warm:
                memory = None if result.plan is None else Memory(result.plan, step.window.kept)
            first, state = first + step.window.kept, state.after(step.kept)
        plan = joined_plan([step.kept for step in self.steps])
        verdict = check(self.instance, plan)
        proven = all(step.window.status is Status.OPTIMAL for step in self.steps)
        whole = proven and len(self.steps) == 1
        status = Status.ERROR if not verdict.ok else Status.OPTIMAL if whole else Status.FEASIBLE
        return RolledCommitment(self.instance, plan, verdict, self._windows(), status, None, self.retries)

    def _plan(
        self, first: int, state: FleetState, length: int, memory: Advisor | None, tries: int
    ) -> tuple[_Step | None, Result[Any]]:
        length = min(length, self.instance.num_periods - first)
        part = state.continued(self.instance, first, length)
        cpu, began = time.process_time(), time.perf_counter()
        result = solve_instance(part, self.options, method=self.method, advisor=memory)
        cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - began
        if result.plan is None:
            return None, result
        kept = hours_of(result.plan, 0, min(self.keep_h, length))
        cost = check(state.continued(self.instance, first, kept.num_periods), kept).objective
        window = Window(first, length, kept.num_periods, result.status, result.bounds, cost, cpu_s, wall_s)
        return _Step(state, kept, window, tries), result

    def _look_further(self, status: Status) -> _Step | None:
        """Plan the last window that can still look further again; None when nothing is left to try."""
        while status is Status.INFEASIBLE and self.steps:
            last = self.steps.pop()
            if last.tries > MOST_RETRIES:
                continue
            self.retries += 1
            length = self.window_h + last.tries * self.keep_h
            step, _ = self._plan(last.window.first, last.before, length, None, last.tries + 1)
            if step is not None:
                return step
        return None

    def _windows(self) -> tuple[Window, ...]:
        return tuple(step.window for step in self.steps)

    def _failed(self, first: int, status: Status) -> RolledCommitment:
        return RolledCommitment(self.instance, None, None, self._windows(), status, first, self.retries)
