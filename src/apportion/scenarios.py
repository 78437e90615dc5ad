"""What-if: changes to a simulation, written in one line, and the trace, fleet and quotas that they make of others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from apportion.instances.batch_scaling import ScalingJob
from apportion.instances.errors import OptionError
from apportion.instances.trace import LATEST_S, MOST_GPUS, Fleet, JobTrace

AS_IS = "as is"
_FORMS = "add v100:4, remove k80:2, quota lab=16, move 17=k80, at 17=2.5h, drop 17"
_WORD = re.compile(r"\A(add|remove|quota|move|at|drop)\s+(\S.*)\Z")
_HOURS = re.compile(r"\A(\d{1,9}(?:\.\d{1,9})?)(h|s)\Z")


@dataclass(frozen=True)
class Scenario:
    """Changes to a simulation.

    Parameters
    ----------
    name
        As it was written.
    gpus
        GPUs of each type that come (or go, when negative).
    quotas
        The most GPUs that jobs of a kind may hold at once.
    types
        Job -> the only type of GPU that it may run on.
    arrivals_s
        Job -> when it comes.
    dropped
        Jobs that do not come.

    Examples
    --------
    >>> scenario = Scenario.parse("add v100:4; remove k80:2; quota lab=16; move 17=k80; at 3=2h; drop 5")
    >>> scenario.gpus, scenario.quotas, scenario.types, scenario.arrivals_s, scenario.dropped
    ({'v100': 4, 'k80': -2}, {'lab': 16}, {'17': 'k80'}, {'3': 7200.0}, ('5',))
    """

    name: str = AS_IS
    gpus: Mapping[str, int] = field(default_factory=dict)
    quotas: Mapping[str, int] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    arrivals_s: Mapping[str, float] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Scenario:
        """Read changes separated by semicolons, such as ``add v100:4; quota lab=16; move 17=k80; at 17=2h; drop 3``.

        Raises
        ------
        OptionError
            For a change that is none of these.
        """
        gpus: dict[str, int] = {}
        quotas: dict[str, int] = {}
        types: dict[str, str] = {}
        arrivals: dict[str, float] = {}
        dropped: list[str] = []
        for part in filter(None, (part.strip() for part in text.split(";"))):
            match = _WORD.match(part)
            if match is None:
                gpus |= _gpus(part)
            elif match[1] in ("add", "remove"):
                sign = 1 if match[1] == "add" else -1
                gpus |= {kind: sign * count for kind, count in _gpus(match[2]).items()}
            elif match[1] == "quota":
                quotas |= parse_quotas(match[2])
            elif match[1] == "drop":
                dropped.append(match[2].strip())
            else:
                job, value = _pair(match[2], part)
                if match[1] == "move":
                    types[job] = value
                else:
                    arrivals[job] = _seconds(value, part)
        return cls(text.strip(), gpus, quotas, types, arrivals, tuple(dropped))

    def fleet(self, fleet: Fleet) -> Fleet:
        """The fleet with the GPUs that come and without those that go.

        Raises
        ------
        OptionError
            When more go than there are.
        """
        counts = dict(zip(fleet.types, fleet.num_gpus, strict=True))
        for kind, change in self.gpus.items():
            if kind not in counts:
                raise OptionError(f"the fleet has no {kind!r}\nMaybe one of {', '.join(fleet.types)}")
            counts[kind] += change
            if counts[kind] < 0:
                raise OptionError(f"{self.name!r} takes {-change} {kind}, the fleet has {counts[kind] - change}")
        return replace(fleet, num_gpus=tuple(counts.values()))

    def trace(self, trace: JobTrace) -> JobTrace:
        """The trace with its jobs moved, in the order of their new arrivals.

        Raises
        ------
        OptionError
            For a job or type that it does not know, and when no job is left.
        """
        where = {name: place for place, name in enumerate(trace.jobs)}
        for job in (*self.types, *self.arrivals_s, *self.dropped):
            if job not in where:
                raise OptionError(f"{trace.name} has no job {job!r}\nMaybe one of {', '.join(trace.jobs[:5])}")
        if not (self.types or self.arrivals_s or self.dropped):
            return trace
        rates, arrival = trace.throughput.copy(), trace.arrival_s.copy()
        for job, kind in self.types.items():
            if kind not in trace.gpu_types:
                raise OptionError(f"{trace.name} knows no {kind!r}\nMaybe one of {', '.join(trace.gpu_types)}")
            others = [column for column, name in enumerate(trace.gpu_types) if name != kind]
            rates[where[job], others] = 0.0
        for job, moment in self.arrivals_s.items():
            arrival[where[job]] = moment
        order = [j for j in np.argsort(arrival, kind="stable").tolist() if trace.jobs[j] not in self.dropped]
        if not order:
            raise OptionError(f"{self.name!r} leaves no job of {trace.name}")
        moved = replace(trace, throughput=rates)
        rows: dict[str, Any] = {
            name: getattr(moved, name)[order] for name in ("steps", "num_gpus", "throughput", "weight")
        }
        due = trace.deadline_s + (arrival - trace.arrival_s)
        names = [name for name in ("jobs", "kinds", "scaling") if getattr(trace, name)]
        labels: dict[str, Any] = {name: tuple(getattr(trace, name)[j] for j in order) for name in names}
        if "scaling" in labels:
            labels["scaling"] = tuple(self._on_its_type(s, job, trace) for s, job in _scaled(labels))
        return replace(moved, arrival_s=arrival[order], deadline_s=due[order], **rows, **labels)

    def _on_its_type(self, scaling: ScalingJob | None, job: str, trace: JobTrace) -> ScalingJob | None:
        if scaling is None or job not in self.types:
            return scaling
        return scaling.onto(trace.gpu_types, tuple(k if k == self.types[job] else "" for k in trace.gpu_types))


def _scaled(labels: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[ScalingJob | None, str]]:
    return zip(labels["scaling"], labels["jobs"], strict=True)


def parse_quotas(text: str) -> dict[str, int]:
    """Read ``kind=GPUs`` pairs separated by commas.

    >>> parse_quotas("lab=16,web=4")
    {'lab': 16, 'web': 4}
    """
    found = {}
    for part in text.split(","):
        kind, value = _pair(part, part)
        if not (value.isascii() and value.isdigit()) or int(value) > MOST_GPUS:
            raise OptionError(f"a quota is a whole number of GPUs, got {value!r}\nMaybe quota {kind}=16")
        found[kind] = int(value)
    return found


def _gpus(text: str) -> dict[str, int]:
    found = {}
    for part in text.split(","):
        sign = -1 if part.strip().startswith("-") else 1
        name, _, count = part.strip().lstrip("+-").rpartition(":")
        if not name or not (count.isascii() and count.isdigit()) or int(count) > MOST_GPUS:
            raise OptionError(f"{part.strip()!r} is no change\nMaybe one of {_FORMS}")
        found[name] = sign * int(count)
    return found


def _pair(text: str, shown: str) -> tuple[str, str]:
    name, sign, value = text.rpartition("=")
    if not sign or not name.strip() or not value.strip():
        raise OptionError(f"{shown!r} is no change\nMaybe one of {_FORMS}")
    return name.strip(), value.strip()


def _seconds(value: str, shown: str) -> float:
    match = _HOURS.match(value)
    if match is None:
        raise OptionError(f"{shown!r} names no time\nMaybe 2.5h or 9000s")
    return min(float(match[1]) * (3600.0 if match[2] == "h" else 1.0), LATEST_S)
