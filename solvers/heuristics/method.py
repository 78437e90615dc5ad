"""The method "heuristics" of programs: the portfolio finds a start, then works beside HiGHS and feeds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from math import inf, isfinite

import numpy as np

from apportion.instances.program import Floats, MixedIntegerProgram, VariableValues
from apportion.solvers.advisor import Advisor
from apportion.solvers.backends.highs import Highs
from apportion.solvers.events import Monitor
from apportion.solvers.heuristics.arrays import Problem, expressible, problem_of
from apportion.solvers.heuristics.portfolio import Portfolio
from apportion.solvers.options import SolveOptions
from apportion.solvers.program import solve_program
from apportion.solvers.result import Answer

DEFAULT_EFFORT = 20_000_000
_SHARE = 0.15
_TURN_S = 0.25


def find_start(
    program: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    effort: int = DEFAULT_EFFORT,
) -> Floats | None:
    """Look for a good feasible point of ``program`` with the heuristics alone.

    Parameters
    ----------
    program
        Any program; one with ordered sets, indicators or a quadratic objective gives None.
    options
        The seed and the thread count of HiGHS in this process.
    monitor
        Hears every incumbent and says when to stop.
    effort
        Nonzeros to touch before it ends: a measure of work that does not depend on the machine.

    Returns
    -------
    Floats or None
        Values of shape (n,), feasible within 1e-6, or None when none was found. None proves nothing.
    """
    if not expressible(program):
        return None
    portfolio = _portfolio(program, problem_of(program), options, monitor)
    for _ in portfolio.work():
        if monitor.should_stop or portfolio.effort >= effort:
            break
    return portfolio.best


def solve_with_heuristics(
    instance: MixedIntegerProgram,
    options: SolveOptions,
    monitor: Monitor,
    advisor: Advisor | None = None,
) -> Answer[VariableValues]:
    """Solve a program with HiGHS and the heuristics together; bounds come from HiGHS only.

    The heuristics work alone first. With one thread they then use a share of HiGHS's time, in its callbacks; with more
    they have a thread of their own and HiGHS one less. Programs that they cannot express, and those without integers,
    go to the default method.
    """
    if not expressible(instance) or not instance.integer.any() or options.backend not in (None, "highs"):
        return solve_program(instance, options, monitor, advisor)
    feeder = Feeder(instance, options, monitor)
    feeder.begin(DEFAULT_EFFORT)
    ...
    raise NotImplementedError
