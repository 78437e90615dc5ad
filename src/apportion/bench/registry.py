"""What a measurement is and how it is registered."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal

from apportion.instances.errors import OptionError


@dataclass(frozen=True)
class Target:
    """What a figure should be: ``value`` of ``ours`` itself or of the ``ratio`` ours / peer.

    >>> Target("ratio", "<=", 3.0).holds(ours=2.0, ratio=0.5)
    True
    >>> str(Target("ours", ">=", 0.9))
    'ours >= 0.9'
    """

    figure: Literal["ours", "ratio"]
    relation: Literal["<=", ">="]
    value: float

    def holds(self, ours: float, ratio: float | None) -> bool | None:
        """Whether the figure meets the target; None when it could not be measured."""
        figure = ours if self.figure == "ours" else ratio
        if figure is None or figure != figure:
            return None
        return figure <= self.value if self.relation == "<=" else figure >= self.value

    def __str__(self) -> str:
        return f"{self.figure} {self.relation} {self.value:g}"


@dataclass(frozen=True)
class Measurement:
    """One figure of a case. ``peer`` is None when there is no peer or it is missing; ``note`` says why.

    ``ours`` and ``peer`` are medians over ``seeds`` or repeats; ``spread`` is (max - min) / median of ours.
    ``published`` is what others have published for the case, ``reproduced`` what their rule gives here.
    """

    case: str
    metric: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    target: Target | None = None
    seeds: tuple[int, ...] = ()
    cpu_s: float = 0.0
    spread: float = 0.0
    note: str = ""
    published: float | None = None
    reproduced: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours / peer."""
        if self.peer is None or not self.peer or not isfinite(self.peer):
            return None
        return self.ours / self.peer


@dataclass(frozen=True)
class Row:
    """A measurement with its suite, its judgement and the versions it was made with."""

    suite: str
    case: str
    metric: str
    ours: float
    peer: float | None
    peer_name: str
    ratio: float | None
    target: str
    holds: bool | None
    seeds: tuple[int, ...]
    cpu_s: float
    spread: float
    note: str
    versions: Mapping[str, str]
    part: str = ""
    published: float | None = None
    reproduced: float | None = None

    @classmethod
    def of(cls, suite: str, measured: Measurement, versions: Mapping[str, str], part: str = "") -> Row:
        """Judge a measurement."""
        target = measured.target
        return cls(
            suite=suite,
            case=measured.case,
            metric=measured.metric,
            ours=measured.ours,
            peer=measured.peer,
            peer_name=measured.peer_name,
            ratio=measured.ratio,
            target="" if target is None else str(target),
            holds=None if target is None else target.holds(measured.ours, measured.ratio),
            seeds=measured.seeds,
            cpu_s=measured.cpu_s,
            spread=measured.spread,
            note=measured.note,
            versions=versions,
            part=part,
            published=measured.published,
            reproduced=measured.reproduced,
        )


@dataclass(frozen=True)
class Context:
    """How a suite is run.

    ``quick`` takes the smallest case of each target, ``against`` None means every peer; ``limit_s`` replaces the
    seconds that a case gives each solve, where it gives all the same.
    """

    quick: bool = False
    against: frozenset[str] | None = None
    data: Path | None = None
    seeds: tuple[int, ...] = (1, 2, 3)
    limit_s: float | None = None

    def wants(self, peer: str) -> bool:
        """Whether ``peer`` is to be measured."""
        return self.against is None or peer in self.against

    def data_file(self, relative: str) -> Path | None:
        """A file of the folder of real instances, or None: then a generated stand-in serves."""
        path = self.data / relative if self.data else None
        return path if path is not None and path.exists() else None


Measure = Callable[[Context], Iterable[Measurement]]


@dataclass(frozen=True)
class Spec:
    """A registered case: the suite it belongs to, its name and the function that measures."""

    suite: str
    name: str
    measure: Measure = field(repr=False)


_SPECS: list[Spec] = []


def spec(suite: str, name: str) -> Callable[[Measure], Measure]:
    """Register the decorated function as case ``name`` of ``suite``."""

    def register(measure: Measure) -> Measure:
        _SPECS.append(Spec(suite, name, measure))
        return measure

    return register


def _load_suites() -> None:
    from apportion.bench import suites as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def suite_names() -> tuple[str, ...]:
    """The names of all suites, sorted."""
    _load_suites()
    return tuple(sorted({registered.suite for registered in _SPECS}))


def specs_of(suite: str) -> tuple[Spec, ...]:
    """The cases of a suite in the order in which they were registered."""
    _load_suites()
    found = tuple(registered for registered in _SPECS if registered.suite == suite)
    if not found:
        raise OptionError(f"unknown suite {suite!r}\nMaybe one of {', '.join(suite_names())}")
    return found
