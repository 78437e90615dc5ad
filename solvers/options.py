"""What a caller may ask of a solve. An unknown name is an error."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import inf
from typing import Any

from apportion.instances.core import Plan
from apportion.instances.errors import OptionError

_MOST_THREADS = 1024
_MOST_SEED = 2**31 - 1
Setting = bool | int | float | str


@dataclass(frozen=True)
class HighsOptions:
    """Options for HiGHS alone. ``settings`` are handed over by their HiGHS names and checked by HiGHS."""

    presolve: bool = True
    mip_heuristic_effort: float | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True)
class CpSatOptions:
    """Options for CP-SAT alone. ``settings`` are fields of its SatParameters.

    ``coefficient_scale`` turns fractional coefficients into the integers that CP-SAT needs.
    """

    presolve: bool = True
    coefficient_scale: int = 10**6
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True)
class ScipOptions:
    """Options for SCIP alone. ``settings`` are its parameters by their SCIP names, such as ``"limits/nodes"``."""

    presolve: bool = True
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True)
class SolveOptions:
    """Limits, reproducibility and the start of a solve, plus one typed block per backend.

    Parameters
    ----------
    time_limit_s
        Wall-clock seconds for the whole solve; infinite by default. Heuristics then stop by their own rule.
    gap
        Stop when ``|primal - dual| / |primal|`` is at most this (a fraction: 0.001 is 0.1 %).
    threads
        Threads of the backend. HiGHS fixes them at the first solve of a process.
    seed
        Seed of everything random.
    start
        A plan to begin with. One that fails the check is reported as an event and left out.
    backend
        ``"highs"``, ``"cp-sat"`` or ``"scip"``; None leaves the choice to the method.
    deterministic
        Repeat exactly: one search worker, and limits by work (``node_limit``) instead of the clock.
    node_limit
        Branch-and-bound nodes, or iterations of a heuristic; None for no limit.
    verify
        Solve programs again with another backend, under the same limits, and refuse an answer that it contradicts.

    Examples
    --------
    >>> SolveOptions.build(time_limit_s=10, gap=0.01).threads
    1
    >>> SolveOptions.build(time_limt_s=10)
    Traceback (most recent call last):
    ...
    apportion.instances.errors.OptionError: unknown option 'time_limt_s'
    Maybe time_limit_s
    """

    time_limit_s: float = inf
    gap: float = 1e-4
    threads: int = 1
    seed: int = 0
    start: Plan | None = None
    backend: str | None = None
    deterministic: bool = False
    node_limit: int | None = None
    verify: bool = False
    highs: HighsOptions = field(default_factory=HighsOptions)
    cp_sat: CpSatOptions = field(default_factory=CpSatOptions)
    scip: ScipOptions = field(default_factory=ScipOptions)

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        _require(self.time_limit_s > 0, "time_limit_s", self.time_limit_s, "must be positive")
        _require(self.gap >= 0, "gap", self.gap, "must be at least 0 (0.001 is 0.1 %)")
        _require(1 <= self.threads <= _MOST_THREADS, "threads", self.threads, f"must lie in 1..{_MOST_THREADS}")
        _require(0 <= self.seed <= _MOST_SEED, "seed", self.seed, f"must lie in 0..{_MOST_SEED}")
        nodes_fit = self.node_limit is None or self.node_limit >= 0
        _require(nodes_fit, "node_limit", self.node_limit, "must be at least 0")
        known = self.backend in (None, "highs", "cp-sat", "scip")
        _require(known, "backend", self.backend, "must be highs, cp-sat or scip")

    @classmethod
    def build(cls, **given: Any) -> SolveOptions:
        """Make options from keywords; an unknown one is an :class:`OptionError` that suggests the nearest."""
        names = [f.name for f in fields(cls)]
        for name in given:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1) or [", ".join(names)]
                raise OptionError(f"unknown option {name!r}\nMaybe {near[0]}")
        return cls(**given)

    def with_(self, **changes: Any) -> SolveOptions:
        """A copy with some values changed."""
        return replace(self, **changes)


def _require(holds: bool, name: str, value: object, message: str) -> None:
    if not holds:
        raise OptionError(f"{name} {message}, got {value!r}")
