"""Sharing the GPUs of a fleet among jobs over time: the data of the problem and its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apportion.instances.core import Json, Sense
from apportion.instances.errors import Fault, PlanError
from apportion.instances.validation import FaultList

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_GPUS = 10**7
"""The most GPUs of one type and the most that one job may ask for."""
MOST_AMOUNT = 1e12
"""The largest throughput, weight, number of steps or seconds."""
_LEAST_WEIGHT = 1e-9
_MOST_FAULTS = 5

OBJECTIVES: dict[str, Sense] = {
    "max-min-fairness": Sense.MAXIMISE,
    "finish-time-fairness": Sense.MINIMISE,
    "makespan": Sense.MINIMISE,
    "max-throughput": Sense.MAXIMISE,
    "throughput-per-cost": Sense.MAXIMISE,
    "min-cost": Sense.MINIMISE,
    "nash-welfare": Sense.MAXIMISE,
}
"""What may be asked for, and which way it is better."""


def _no_pairs() -> Ints:
    return np.zeros((0, 2), np.int64)


@dataclass(frozen=True, eq=False)
class FleetAllocation:
    """Which fraction of the time each job runs on each type of GPU: one snapshot of a fleet.

    With J jobs, T types and P pairs. A job runs on ``scale_factor`` GPUs of one type at a time; a fraction ``x[j, t]``
    of its time costs ``scale_factor[j] * x[j, t]`` GPUs of type t.

    Parameters
    ----------
    name
        What people call it.
    gpu_types, num_gpus
        The types of GPU and how many there are, (T,).
    jobs
        Unique names, J of them, in the order of their arrival unless ``arrival_s`` says otherwise.
    throughputs
        Steps per second of a job alone, (J, T); 0 where it cannot run.
    scale_factor
        GPUs that a job holds while it runs, (J,), at least 1.
    weights
        Priorities, (J,), positive.
    steps_left, elapsed_s, isolated_so_far_s
        Steps still to do; seconds since the job arrived; seconds that the work done so far would have taken on a fair
        share of the fleet, (J,).
    arrival_s
        When each job came, (J,).
    slo_s
        Seconds left until a job must be done, (J,); infinite when there is no such promise.
    entities
        The user or team of each job, J of them; empty texts when there are none.
    entity_weights, entity_rules
        Weight of each entity, and how it shares among its own jobs: ``"fairness"`` or ``"fifo"``.
    cost_per_gpu_hour
        Price of each type, (T,).
    current_type
        The type that a job holds now, (J,); -1 when it holds none.
    pairs, pair_throughputs
        Jobs that may share GPUs, (P, 2) positions, and the steps per second of each of the two on each type,
        (P, 2, T). The two have the same scale factor; a type where one of them gets 0 is not shared.
    objective
        One of :data:`OBJECTIVES`.

    Examples
    --------
    >>> fleet = FleetAllocation.build("tiny", {"v100": 1, "k80": 1}, {"a": [4.0, 1.0], "b": [2.0, 1.0]})
    >>> fleet.num_jobs, fleet.sense
    (2, <Sense.MAXIMISE: 'maximise'>)
    >>> fleet.fair_throughputs.tolist()
    [2.5, 1.5]
    """

    problem: ClassVar[str] = "fleet-allocation"
    name: str
    gpu_types: tuple[str, ...]
    num_gpus: Ints
    jobs: tuple[str, ...]
    throughputs: Floats
    scale_factor: Ints
    weights: Floats
    steps_left: Floats
    elapsed_s: Floats
    isolated_so_far_s: Floats
    arrival_s: Floats
    slo_s: Floats
    entities: tuple[str, ...]
    cost_per_gpu_hour: Floats
    current_type: Ints
    pairs: Ints = field(default_factory=_no_pairs)
    pair_throughputs: Floats = field(default_factory=lambda: np.zeros((0, 2, 0)))
    entity_weights: dict[str, float] = field(default_factory=dict)
    entity_rules: dict[str, str] = field(default_factory=dict)
    objective: str = "max-min-fairness"

    @classmethod
    def build(
        cls,
        name: str,
        num_gpus: Mapping[str, int],
        throughputs: Mapping[str, Sequence[float]],
        *,
        objective: str = "max-min-fairness",
        **columns: Any,
    ) -> Self:
        """Make an instance from mappings; what is left out gets its usual value.

        ``columns`` are the further fields by name, such as ``scale_factor=[1, 2]``. The usual values are 1 GPU and
        weight 1 for each job, 1,000,000 steps, nothing elapsed, no promise, arrival in the given order, cost 1.
        """
        size, types = len(throughputs), len(num_gpus)
        table = list(throughputs.values())
        usual: dict[str, Any] = {
            "scale_factor": np.ones(size, np.int64),
            "weights": np.ones(size),
            "steps_left": np.full(size, 1e6),
            "elapsed_s": np.zeros(size),
            "isolated_so_far_s": np.zeros(size),
            "arrival_s": np.zeros(size),
            "slo_s": np.full(size, inf),
            "entities": ("",) * size,
            "cost_per_gpu_hour": np.ones(types),
            "current_type": np.full(size, -1),
        }
        rates = cast("Floats", table if size else np.zeros((0, types)))
        counts = cast("Ints", list(num_gpus.values()))
        fields = {**usual, **columns, "objective": objective}
        return cls(name, tuple(num_gpus), counts, tuple(throughputs), rates, **fields)

    def __post_init__(self) -> None:
        """Check every field once, raise all faults together; the arrays become read-only."""
        faults = FaultList(self.name or "fleet")
        _check_texts(faults, "gpu_types", self.gpu_types)
        _check_texts(faults, "jobs", self.jobs)
        for column, value in _checked_columns(faults, self).items():
            object.__setattr__(self, column, value)
        _check_entities(faults, self)
        _check_pairs(faults, self)
        known = self.objective in OBJECTIVES
        faults.require(known, "objective", "is unknown", self.objective, f"one of {', '.join(OBJECTIVES)}")
        faults.raise_if_any()

    @property
    def sense(self) -> Sense:
        """Whether the objective is a cost or a value."""
        return OBJECTIVES[self.objective]

    @property
    def num_jobs(self) -> int:
        """J."""
        return len(self.jobs)

    @property
    def num_types(self) -> int:
        """T."""
        return len(self.gpu_types)

    @property
    def num_pairs(self) -> int:
        """P."""
        return len(self.pairs)

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Where a job can run: it gets throughput and the type has as many GPUs as it needs, (J, T)."""
        fits: NDArray[np.bool_] = (self.throughputs > 0) & (self.scale_factor[:, None] <= self.num_gpus)
        return fits

    @cached_property
    def runnable(self) -> NDArray[np.bool_]:
        """Which jobs can run on some type, (J,). The others wait; :meth:`pending_reason` says why."""
        can: NDArray[np.bool_] = np.asarray(self.usable.any(axis=1), np.bool_)
        return can

    @cached_property
    def rates(self) -> Floats:
        """Throughputs with 0 wherever the job cannot run, (J, T)."""
        return np.where(self.usable, self.throughputs, 0.0)

    @cached_property
    def pair_rates(self) -> Floats:
        """Throughputs of pairs with 0 wherever the two cannot share, (P, 2, T)."""
        if not self.num_pairs:
            return np.zeros((0, 2, self.num_types))
        fits = self.scale_factor[self.pairs[:, 0]][:, None] <= self.num_gpus
        both = (self.pair_throughputs > 0).all(axis=1) & fits
        return np.where(both[:, None, :], self.pair_throughputs, 0.0)

    @cached_property
    def fair_throughputs(self) -> Floats:
        """What each job would do on an equal share of every type's GPUs, in steps per second, (J,).

        The share of a job is ``num_gpus / jobs`` of each type, scaled down so that it sums to at most 1 (Gavel's
        proportional share). Only jobs that can run count.
        """
        share = self.num_gpus / max(1, int(self.runnable.sum()))
        return self.rates @ (share / max(1.0, float(share.sum())))

    @cached_property
    def isolated_throughputs(self) -> Floats:
        """What each job would do on an equal part of the fleet of its own, in steps per second, (J,).

        As :attr:`fair_throughputs`, but a job on several GPUs gets an equal number of GPUs, not an equal time.
        """
        share = self.num_gpus / max(1, int(self.runnable.sum())) / self.scale_factor[:, None]
        share = share / np.maximum(1.0, share.sum(axis=1))[:, None]
        alone: Floats = (self.rates * share).sum(axis=1)
        return alone

    def pending_reason(self, job: int) -> str:
        """Why the job at this position can never run; an empty text when it can.

        >>> fleet = FleetAllocation.build("tiny", {"k80": 2}, {"a": [1.0], "b": [0.0]}, scale_factor=[4, 1])
        >>> fleet.pending_reason(0)
        'asks for 4 GPUs of one type, the fleet has at most 2 of a type it runs on'
        >>> fleet.pending_reason(1)
        'runs on no type of GPU of the fleet: every throughput is 0'
        """
        if self.runnable[job]:
            return ""
        runs = self.throughputs[job] > 0
        if not runs.any():
            return "runs on no type of GPU of the fleet: every throughput is 0"
        wanted, most = int(self.scale_factor[job]), int(self.num_gpus[runs].max())
        return f"asks for {wanted} GPUs of one type, the fleet has at most {most} of a type it runs on"

    def with_objective(self, objective: str) -> FleetAllocation:
        """The same fleet under another objective."""
        return replace(self, objective=objective)

    def select(self, positions: Sequence[int] | Ints, num_gpus: Ints | None = None) -> FleetAllocation:
        """The jobs at ``positions`` in that order, with the pairs among them, on the whole or another fleet."""
        where = np.asarray(positions, np.int64)
        new = np.full(self.num_jobs, -1)
        new[where] = np.arange(len(where))
        renumbered = new[self.pairs]
        kept = (renumbered >= 0).all(axis=1) if self.num_pairs else np.zeros(0, np.bool_)
        columns = {name: getattr(self, name)[where] for name in _JOB_COLUMNS}
        return replace(
            self,
            num_gpus=self.num_gpus if num_gpus is None else num_gpus,
            jobs=tuple(self.jobs[i] for i in where),
            entities=tuple(self.entities[i] for i in where),
            throughputs=self.throughputs[where],
            pairs=renumbered[kept],
            pair_throughputs=self.pair_throughputs[kept] if self.num_pairs else np.zeros((0, 2, self.num_types)),
            **columns,
        )

    def summary(self) -> dict[str, object]:
        """What a person wants to know first."""
        wanted = int(self.scale_factor[self.runnable].sum())
        have = int(self.num_gpus.sum())
        return {
            "objective": self.objective,
            "GPUs": have,
            "types": ", ".join(f"{n} x {kind}" for kind, n in zip(self.gpu_types, self.num_gpus, strict=True)),
            "jobs": self.num_jobs,
            "jobs that can never run": int((~self.runnable).sum()),
            "jobs on several GPUs": int((self.scale_factor > 1).sum()),
            "jobs with a promised time": int(np.isfinite(self.slo_s).sum()),
            "pairs that may share GPUs": self.num_pairs,
            "GPU demand / GPUs": round(wanted / have, 4) if have else inf,
        }


_JOB_COLUMNS = (
    "scale_factor",
    "weights",
    "steps_left",
    "elapsed_s",
    "isolated_so_far_s",
    "arrival_s",
    "slo_s",
    "current_type",
)


def _checked_columns(faults: FaultList, fleet: FleetAllocation) -> dict[str, NDArray[Any]]:
    size, types = len(fleet.jobs), len(fleet.gpu_types)
    shape = (size,)

    def number(name: str, where: tuple[int, ...], lower: float, *, endless: bool = False) -> Floats:
        given = getattr(fleet, name)
        upper = inf if endless else MOST_AMOUNT
        found = faults.array(name, given, shape=where, lower=lower, upper=upper, allow_infinite=endless)
        return cast("Floats", found)

    return {
        "num_gpus": _whole(faults, "num_gpus", fleet.num_gpus, (types,), 0),
        "throughputs": number("throughputs", (size, types), 0),
        "scale_factor": _whole(faults, "scale_factor", fleet.scale_factor, shape, 1),
        "weights": number("weights", shape, _LEAST_WEIGHT),
        "steps_left": number("steps_left", shape, 0),
        "elapsed_s": number("elapsed_s", shape, 0),
        "isolated_so_far_s": number("isolated_so_far_s", shape, 0),
        "arrival_s": number("arrival_s", shape, 0),
        "slo_s": number("slo_s", shape, 0, endless=True),
        "cost_per_gpu_hour": number("cost_per_gpu_hour", (types,), 0),
        "current_type": _whole(faults, "current_type", fleet.current_type, shape, -1, types - 1),
    }


def _whole(
    faults: FaultList, name: str, given: ArrayLike, shape: tuple[int, ...], lower: int, upper: int = MOST_GPUS
) -> Ints:
    """A column as read-only 64-bit integers."""
    numbers = faults.array(name, given, shape=shape, lower=lower, upper=upper).astype(np.float64)
    usable = np.isfinite(numbers)
    for index in np.argwhere(usable & (numbers != np.floor(numbers)))[:_MOST_FAULTS]:
        place = ",".join(str(i) for i in index)
        faults.add(f"{name}[{place}]", "must be a whole number", float(numbers[tuple(index)]))
    whole = np.clip(np.where(usable, numbers, lower), lower, upper).astype(np.int64)
    whole.setflags(write=False)
    return whole


def _check_texts(faults: FaultList, table: str, names: tuple[str, ...]) -> None:
    for position, name in enumerate(names):
        good = isinstance(name, str) and bool(name)
        faults.require(good, f"{table}[{position}]", "must be a text that is not empty", name)
    faults.unique(table, names)


def _check_entities(faults: FaultList, fleet: FleetAllocation) -> None:
    given = len(fleet.entities)
    faults.require(given == len(fleet.jobs), "entities", f"must have {len(fleet.jobs)} entries", given)
    for position, entity in enumerate(fleet.entities):
        faults.require(isinstance(entity, str), f"entities[{position}]", "must be a text", entity)
    known = set(fleet.entities)
    for table, entries in (("entity_weights", fleet.entity_weights), ("entity_rules", fleet.entity_rules)):
        for entity in entries:
            hint = f"one of {', '.join(sorted(known)[:_MOST_FAULTS])}"
            faults.require(entity in known, f"{table}[{entity!r}]", "is the entity of no job", None, hint)
    for entity, weight in fleet.entity_weights.items():
        number = isinstance(weight, int | float) and _LEAST_WEIGHT <= weight <= MOST_AMOUNT
        faults.require(number, f"entity_weights[{entity!r}]", "must be a positive number", weight)
    for entity, rule in fleet.entity_rules.items():
        known_rule = rule in ("fairness", "fifo")
        faults.require(known_rule, f"entity_rules[{entity!r}]", "is unknown", rule, "fairness or fifo")


def _check_pairs(faults: FaultList, fleet: FleetAllocation) -> None:
    size, types = len(fleet.jobs), len(fleet.gpu_types)
    count = len(fleet.pairs)
    pairs = faults.array("pairs", fleet.pairs, shape=(count, 2), lower=0, upper=max(0, size - 1)).astype(np.float64)
    whole = np.where(np.isfinite(pairs), np.clip(pairs, 0, max(0, size - 1)), 0).astype(np.int64)
    faults.require(not count or size > 0, "pairs", "speak of jobs, there are none", count)
    given = fleet.pair_throughputs if count else np.zeros((0, 2, types))
    table = faults.array("pair_throughputs", given, shape=(count, 2, types), lower=0, upper=MOST_AMOUNT)
    if count and size:
        first, second = whole[:, 0], whole[:, 1]
        unequal = fleet.scale_factor[first] != fleet.scale_factor[second]
        key = np.minimum(first, second) * size + np.maximum(first, second)
        again = np.ones(count, np.bool_)
        again[np.unique(key, return_index=True)[1]] = False
        rules = (
            (pairs != np.floor(pairs)).any(axis=1) & np.isfinite(pairs).all(axis=1),
            first == second,
            unequal,
            again,
        )
        messages = ("must be whole numbers", "must be two jobs", "must have one scale factor", "is there twice")
        for bad, message in zip(rules, messages, strict=True):
            for position in np.flatnonzero(bad)[:_MOST_FAULTS]:
                faults.add(f"pairs[{position}]", message, whole[position].tolist())
    whole.setflags(write=False)
    object.__setattr__(fleet, "pairs", whole)
    object.__setattr__(fleet, "pair_throughputs", table)


@dataclass(frozen=True)
class Share:
    """A fraction of the time on one type of GPU, for one job or for two that share the GPUs."""

    jobs: tuple[str, ...]
    gpu_type: str
    fraction: float


@dataclass(frozen=True)
class FleetShares:
    """The plan: who runs where for which fraction of the time. What is not listed gets nothing."""

    problem: ClassVar[str] = "fleet-allocation"
    shares: tuple[Share, ...] = ()

    @classmethod
    def from_arrays(cls, instance: FleetAllocation, x: Floats, y: Floats | None = None) -> Self:
        """From the fractions of single jobs (J, T) and of pairs (P, T); zeros are left out."""
        jobs, types = instance.jobs, instance.gpu_types
        rows, columns = np.nonzero(x > 0)
        values = x[rows, columns].tolist()
        shares = [
            Share((jobs[i],), types[t], v) for i, t, v in zip(rows.tolist(), columns.tolist(), values, strict=True)
        ]
        if y is not None and y.size:
            rows, columns = np.nonzero(y > 0)
            for pair, t, v in zip(
                instance.pairs[rows].tolist(), columns.tolist(), y[rows, columns].tolist(), strict=True
            ):
                shares.append(Share((jobs[pair[0]], jobs[pair[1]]), types[t], v))
        return cls(tuple(shares))

    def to_arrays(self, instance: FleetAllocation) -> tuple[Floats, Floats]:
        """The fractions of single jobs (J, T) and of pairs (P, T).

        Raises
        ------
        PlanError
            When it speaks of jobs, pairs or types that the instance does not have.
        """
        job_at = {name: i for i, name in enumerate(instance.jobs)}
        type_at = {name: t for t, name in enumerate(instance.gpu_types)}
        pair_at = {frozenset(pair): i for i, pair in enumerate(instance.pairs.tolist())}
        x, y = np.zeros((len(job_at), len(type_at))), np.zeros((len(pair_at), len(type_at)))
        faults: list[Fault] = []
        for number, share in enumerate(self.shares):
            positions = frozenset(job_at.get(name, -1) for name in share.jobs)
            if share.gpu_type not in type_at or -1 in positions:
                faults.append(Fault(f"shares[{number}]", "is of an unknown job or type", share))
            elif len(share.jobs) == 1:
                x[job_at[share.jobs[0]], type_at[share.gpu_type]] += share.fraction
            elif positions in pair_at:
                y[pair_at[positions], type_at[share.gpu_type]] += share.fraction
            else:
                faults.append(Fault(f"shares[{number}]", "is of jobs that may not share GPUs", share.jobs))
        if faults:
            raise PlanError(instance.name, faults[:_MOST_FAULTS])
        return x, y

    def to_dict(self) -> Json:
        """JSON-ready data: ``{"shares": [{"jobs", "gpu_type", "fraction"}, ...]}``."""
        return {"shares": [{"jobs": list(s.jobs), "gpu_type": s.gpu_type, "fraction": s.fraction} for s in self.shares]}

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Rebuild from :meth:`to_dict`; name every entry that cannot be read."""
        rows = data.get("shares")
        if not isinstance(rows, list):
            raise PlanError("plan", [Fault("shares", "must be a list of shares", rows)])
        faults = [Fault(f"shares[{i}]", _ENTRY, row) for i, row in enumerate(rows) if not _is_entry(row)]
        if faults:
            raise PlanError("plan", faults[:_MOST_FAULTS])
        return cls(tuple(Share(tuple(r["jobs"]), r["gpu_type"], float(r["fraction"])) for r in rows))


_ENTRY = "must hold jobs (one or two texts), gpu_type (a text) and fraction (a number)"


def _is_entry(row: object) -> bool:
    if not isinstance(row, dict) or set(row) != {"jobs", "gpu_type", "fraction"}:
        return False
    jobs: object = row["jobs"]
    texts = isinstance(jobs, list) and 1 <= len(jobs) <= 2 and all(isinstance(name, str) for name in jobs)
    fraction = row["fraction"]
    number = isinstance(fraction, int | float) and not isinstance(fraction, bool) and abs(fraction) < inf
    return texts and isinstance(row["gpu_type"], str) and number
