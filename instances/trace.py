"""Traces of jobs that arrive over time, and the fleet of GPUs that they ask for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from apportion.instances.batch_scaling import ScalingJob
from apportion.instances.errors import OptionError
from apportion.instances.program import Floats
from apportion.instances.validation import FaultList

Longs = NDArray[np.int64]

MOST_GPUS = 1_000_000
"""The most GPUs of one type, and the most that one job may ask for."""

LATEST_S = 1e12
"""Times lie below this many seconds."""


@dataclass(frozen=True)
class Fleet:
    """How many GPUs there are of each type.

    Parameters
    ----------
    types
        Names of the GPU types; unlike each other.
    num_gpus
        How many of each.
    gpus_per_node
        How many sit in one node, of each type; a failure of a node takes that many away.
    price_per_hour
        What one GPU of each type costs.

    Raises
    ------
    InstanceError
        With every entry that is wrong.

    Examples
    --------
    >>> fleet = Fleet.parse("v100:8,p100:16,k80:24")
    >>> fleet.total, fleet.adding("v100:4").num_gpus
    (48, (12, 16, 24))
    """

    types: tuple[str, ...]
    num_gpus: tuple[int, ...]
    gpus_per_node: tuple[int, ...] = ()
    price_per_hour: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.types)
        if not self.gpus_per_node:
            object.__setattr__(self, "gpus_per_node", (1,) * count)
        if not self.price_per_hour:
            object.__setattr__(self, "price_per_hour", (1.0,) * count)
        faults = FaultList("fleet")
        faults.require(count > 0, "types", "must not be empty")
        faults.unique("types", self.types)
        faults.array("num_gpus", self.num_gpus, shape=(count,), lower=0, upper=MOST_GPUS, dtype=np.int64)
        faults.array("gpus_per_node", self.gpus_per_node, shape=(count,), lower=1, upper=MOST_GPUS, dtype=np.int64)
        faults.array("price_per_hour", self.price_per_hour, shape=(count,), lower=0.0)
        faults.raise_if_any()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``type:count`` pairs separated by commas.

        Raises
        ------
        OptionError
            When a pair is not of that shape.
        """
        types, counts = [], []
        for pair in text.split(","):
            name, _, count = pair.strip().rpartition(":")
            if not name or not (count.isascii() and count.isdigit()) or int(count) > MOST_GPUS:
                message = f"a fleet is written type:count,type:count, got {pair!r}\nMaybe v100:8,p100:16,k80:24"
                raise OptionError(message)
            types.append(name)
            counts.append(int(count))
        if len(set(types)) != len(types):
            raise OptionError(f"a fleet names each type once, got {text!r}")
        return cls(tuple(types), tuple(counts))

    @property
    def total(self) -> int:
        """All GPUs."""
        return sum(self.num_gpus)

    def adding(self, text: str) -> Fleet:
        """The fleet with further GPUs, written as in :meth:`parse`; of types that it has."""
        more = Fleet.parse(text)
        unknown = [name for name in more.types if name not in self.types]
        if unknown:
            raise OptionError(f"the fleet has no {unknown[0]!r}\nMaybe one of {', '.join(self.types)}")
        extra = dict(zip(more.types, more.num_gpus, strict=True))
        counts = tuple(n + extra.get(t, 0) for t, n in zip(self.types, self.num_gpus, strict=True))
        return replace(self, num_gpus=counts)


@dataclass(frozen=True, eq=False)
class JobTrace:
    """Jobs with their arrivals and how fast they run on each type of GPU.

    Parameters
    ----------
    name
        What people call the trace.
    gpu_types
        Names of the T types.
    jobs
        Identifiers of the J jobs.
    arrival_s
        Shape (J,), never going backwards.
    steps
        Shape (J,): how much there is to do.
    num_gpus
        Shape (J,): how many GPUs a job runs on, all of one type at a time; 0 for work that needs none.
    throughput
        Shape (J, T): steps a second on that many GPUs of a type; 0 where it cannot run.
    weight
        Shape (J,).
    deadline_s
        Shape (J,): when a job should be done; infinite for none.
    kinds
        What each job trains, for people.
    scaling
        For jobs that change their batch size as they train; empty when none does.

    Raises
    ------
    InstanceError
        With every entry that is wrong; a throughput that is NaN or negative and a time that goes backwards are.

    Examples
    --------
    >>> trace = JobTrace("two", ("v100",), ("a", "b"), np.array([0.0, 5.0]), np.array([10.0, 10.0]), np.array([1, 2]),
    ...     np.array([[1.0], [2.0]]))
    >>> trace.num_jobs, trace.shortest_s.tolist()
    (2, [10.0, 5.0])
    """

    problem: ClassVar[str] = "job-trace"
    name: str
    gpu_types: tuple[str, ...]
    jobs: tuple[str, ...]
    arrival_s: Floats
    steps: Floats
    num_gpus: Longs
    throughput: Floats
    weight: Floats = field(default_factory=lambda: np.zeros(0))
    deadline_s: Floats = field(default_factory=lambda: np.zeros(0))
    kinds: tuple[str, ...] = ()
    scaling: tuple[ScalingJob | None, ...] = ()

    def __post_init__(self) -> None:
        count, types = len(self.jobs), len(self.gpu_types)
        faults = FaultList(self.name)
        faults.require(count > 0, "jobs", "must not be empty")
        faults.unique("gpu_types", self.gpu_types)
        faults.unique("jobs", self.jobs)
        weight = self.weight if len(self.weight) else np.ones(count)
        deadline = self.deadline_s if len(self.deadline_s) else np.full(count, inf)
        checked = {
            "arrival_s": faults.array("arrival_s", self.arrival_s, shape=(count,), lower=0.0, upper=LATEST_S),
            "steps": faults.array("steps", self.steps, shape=(count,), lower=1e-9, upper=1e18),
            "num_gpus": faults.array(
                "num_gpus", self.num_gpus, shape=(count,), lower=0, upper=MOST_GPUS, dtype=np.int64
            ),
            "throughput": faults.array("throughput", self.throughput, shape=(count, types), lower=0.0, upper=1e15),
            "weight": faults.array("weight", weight, shape=(count,), lower=1e-9, upper=1e9),
            "deadline_s": faults.array("deadline_s", deadline, shape=(count,), allow_infinite=True),
        }
        for name, labels in (("kinds", self.kinds), ("scaling", self.scaling)):
            faults.require(len(labels) in (0, count), name, f"must have {count} entries or none", len(labels))
        _forward_in_time(checked["arrival_s"].astype(np.float64), faults)
        faults.raise_if_any()
        for name, array in checked.items():
            object.__setattr__(self, name, array)

    @property
    def num_jobs(self) -> int:
        """J."""
        return len(self.jobs)

    @cached_property
    def shortest_s(self) -> Floats:
        """Shape (J,): how long a job takes alone on its fastest type; infinite when it runs nowhere."""
        fastest = self.throughput.max(axis=1, initial=0.0)
        seconds: Floats = np.full(self.num_jobs, inf)
        np.divide(self.steps, fastest, out=seconds, where=fastest > 0)
        return seconds

    @cached_property
    def alone_s(self) -> Floats:
        """Shape (J,): as :attr:`shortest_s`, with the batch sizes that the job is expected to take."""
        alone = self.shortest_s.copy()
        for job, scaling in enumerate(self.scaling):
            if scaling is not None:
                alone[job] = scaling.alone_s(float(self.steps[job]))
        return alone

    def onto(self, fleet: Fleet) -> JobTrace:
        """The same trace with its columns in the order of the types of ``fleet``; types that it lacks stay at 0."""
        columns = np.zeros((self.num_jobs, len(fleet.types)))
        for position, name in enumerate(fleet.types):
            if name in self.gpu_types:
                columns[:, position] = self.throughput[:, self.gpu_types.index(name)]
        scaling = tuple(None if s is None else s.onto(self.gpu_types, fleet.types) for s in self.scaling)
        return replace(self, gpu_types=fleet.types, throughput=columns, scaling=scaling)

    def window(self, first: int, last: int) -> JobTrace:
        """The jobs ``first .. last - 1``."""
        rows = slice(first, last)
        arrays = ("arrival_s", "steps", "num_gpus", "throughput", "weight", "deadline_s")
        labels = ("jobs", "kinds", "scaling")
        parts: dict[str, object] = {name: getattr(self, name)[rows] for name in (*arrays, *labels)}
        return replace(self, **parts)  # type: ignore[arg-type]


def _forward_in_time(arrival: Floats, faults: FaultList) -> None:
    back = np.flatnonzero(np.diff(arrival) < 0)
    if len(back):
        place = int(back[0]) + 1
        message = f"goes back in time from {arrival[place - 1]:g}"
        faults.add(f"arrival_s[{place}]", message, float(arrival[place]), "sort the jobs by arrival")
