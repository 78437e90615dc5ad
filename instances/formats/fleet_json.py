"""Apportion's own JSON for fleet allocation: ``{"problem": "fleet-allocation", "gpu_types": [...], "jobs": [...]}``."""

from __future__ import annotations

import json
from functools import cache
from math import inf, isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from apportion.instances.errors import InstanceError
from apportion.instances.fleet import MOST_AMOUNT, MOST_GPUS, FleetAllocation
from apportion.instances.formats.pydantic_faults import faults_of
from apportion.instances.validation import FaultList

if TYPE_CHECKING:
    from apportion.instances.reading import Source

_Name = Annotated[str, Field(min_length=1)]
_Amount = Annotated[float, Field(ge=0, le=MOST_AMOUNT, allow_inf_nan=False)]
_Gpus = Annotated[int, Field(ge=0, le=MOST_GPUS)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TypeRow(_Row):
    """One type of GPU: how many there are and what an hour of one costs."""

    name: _Name
    num_gpus: _Gpus
    cost_per_gpu_hour: _Amount = 1.0


class JobRow(_Row):
    """One job: steps per second by type (a type left out is one it cannot use) and what is left of it."""

    name: _Name
    throughputs: dict[_Name, _Amount]
    scale_factor: Annotated[int, Field(ge=1, le=MOST_GPUS)] = 1
    weight: Annotated[float, Field(gt=0, le=MOST_AMOUNT, allow_inf_nan=False)] = 1.0
    steps_left: _Amount = 1e6
    elapsed_s: _Amount = 0.0
    isolated_so_far_s: _Amount = 0.0
    arrival_s: _Amount = 0.0
    slo_s: _Amount | None = None
    entity: str = ""
    current_type: str | None = None


class PairRow(_Row):
    """Two jobs that may share GPUs: steps per second of the first and the second by type."""

    jobs: Annotated[list[_Name], Field(min_length=2, max_length=2)]
    throughputs: dict[_Name, Annotated[list[_Amount], Field(min_length=2, max_length=2)]]


class EntityRow(_Row):
    """A user or team: its weight and how it shares among its own jobs."""

    name: _Name
    weight: Annotated[float, Field(gt=0, le=MOST_AMOUNT, allow_inf_nan=False)] = 1.0
    rule: Literal["fairness", "fifo"] = "fairness"


class FleetFile(_Row):
    """The whole file."""

    problem: Literal["fleet-allocation"]
    name: str = ""
    objective: str = "max-min-fairness"
    gpu_types: list[TypeRow]
    jobs: list[JobRow]
    pairs: list[PairRow] = Field(default_factory=list)
    entities: list[EntityRow] = Field(default_factory=list)


@cache
def _adapter() -> TypeAdapter[FleetFile]:
    return TypeAdapter(FleetFile)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the format."""
    return _adapter().json_schema()


def parse(text: str, source: Source) -> FleetAllocation:
    """Read an instance; raise :class:`InstanceError` with the path and value of every fault.

    ``name`` in the file wins over the name of the file.
    """
    try:
        content = _adapter().validate_json(text)
    except ValidationError as error:
        raise InstanceError(str(source.path), faults_of(error)) from error
    faults = FaultList(str(source.path))
    for table, rows in (("gpu_types", content.gpu_types), ("jobs", content.jobs), ("entities", content.entities)):
        faults.unique(table, [row.name for row in rows])
    faults.raise_if_any()
    columns = _columns(faults, content)
    faults.raise_if_any()
    try:
        return FleetAllocation(name=content.name or source.name, objective=content.objective, **columns)
    except InstanceError as error:
        raise InstanceError(str(source.path), error.faults) from error


def _columns(faults: FaultList, content: FleetFile) -> dict[str, Any]:
    types, jobs = content.gpu_types, content.jobs
    type_at = {row.name: t for t, row in enumerate(types)}
    job_at = {row.name: i for i, row in enumerate(jobs)}
    return {
        "gpu_types": tuple(row.name for row in types),
        "num_gpus": [row.num_gpus for row in types],
        "cost_per_gpu_hour": [row.cost_per_gpu_hour for row in types],
        "jobs": tuple(row.name for row in jobs),
        "throughputs": _rates(faults, jobs, type_at),
        "scale_factor": [row.scale_factor for row in jobs],
        "weights": [row.weight for row in jobs],
        "steps_left": [row.steps_left for row in jobs],
        "elapsed_s": [row.elapsed_s for row in jobs],
        "isolated_so_far_s": [row.isolated_so_far_s for row in jobs],
        "arrival_s": [row.arrival_s for row in jobs],
        "slo_s": [inf if row.slo_s is None else row.slo_s for row in jobs],
        "entities": tuple(row.entity for row in jobs),
        "current_type": [
            _position(faults, f"jobs[{i}].current_type", r.current_type, type_at) for i, r in enumerate(jobs)
        ],
        "pairs": _pairs(faults, content.pairs, job_at),
        "pair_throughputs": _pair_rates(faults, content.pairs, type_at),
        "entity_weights": {row.name: row.weight for row in content.entities},
        "entity_rules": {row.name: row.rule for row in content.entities},
    }


def _position(faults: FaultList, place: str, name: str | None, known: dict[str, int]) -> int:
    """The position of ``name``; -1 for None and, with a fault, for a name that is not known."""
    if name is None:
        return -1
    faults.require(name in known, place, "is unknown", name, f"one of {', '.join(list(known)[:8])}")
    return known.get(name, -1)


def _rates(faults: FaultList, jobs: list[JobRow], type_at: dict[str, int]) -> np.ndarray:
    table = np.zeros((len(jobs), len(type_at)))
    for i, row in enumerate(jobs):
        for kind, rate in row.throughputs.items():
            table[i, _position(faults, f"jobs[{i}].throughputs", kind, type_at)] = rate
    return table


def _pairs(faults: FaultList, rows: list[PairRow], job_at: dict[str, int]) -> np.ndarray:
    found = [[_position(faults, f"pairs[{i}].jobs", name, job_at) for name in row.jobs] for i, row in enumerate(rows)]
    return np.array(found, np.int64).reshape(-1, 2)


def _pair_rates(faults: FaultList, rows: list[PairRow], type_at: dict[str, int]) -> np.ndarray:
    table = np.zeros((len(rows), 2, len(type_at)))
    for i, row in enumerate(rows):
        for kind, both in row.throughputs.items():
            table[i, :, _position(faults, f"pairs[{i}].throughputs", kind, type_at)] = both
    return table


def render(instance: FleetAllocation) -> str:
    """Write ``instance``; reading it again gives the same one."""
    types = instance.gpu_types
    counts, costs = instance.num_gpus.tolist(), instance.cost_per_gpu_hour.tolist()
    type_rows = [
        {"name": name, "num_gpus": count, "cost_per_gpu_hour": cost}
        for name, count, cost in zip(types, counts, costs, strict=True)
    ]
    job_rows = [_job_row(instance, i) for i in range(instance.num_jobs)]
    pair_rows = [
        {"jobs": [instance.jobs[a], instance.jobs[b]], "throughputs": dict(zip(types, table.T.tolist(), strict=True))}
        for (a, b), table in zip(instance.pairs.tolist(), instance.pair_throughputs, strict=True)
    ]
    entities = dict.fromkeys([*instance.entity_weights, *instance.entity_rules])
    entity_rows = [
        {
            "name": name,
            "weight": instance.entity_weights.get(name, 1.0),
            "rule": instance.entity_rules.get(name, "fairness"),
        }
        for name in entities
    ]
    head = {"problem": "fleet-allocation", "name": instance.name, "objective": instance.objective}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for table, rows in (("gpu_types", type_rows), ("jobs", job_rows), ("pairs", pair_rows), ("entities", entity_rows)):
        if rows or table in ("gpu_types", "jobs"):
            lines.append(f' "{table}": {_lines(rows)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _job_row(instance: FleetAllocation, job: int) -> dict[str, Any]:
    kind = int(instance.current_type[job])
    promised = float(instance.slo_s[job])
    rates = zip(instance.gpu_types, instance.throughputs[job].tolist(), strict=True)
    row: dict[str, Any] = {
        "name": instance.jobs[job],
        "throughputs": {name: rate for name, rate in rates if rate > 0},
        "scale_factor": int(instance.scale_factor[job]),
        "weight": float(instance.weights[job]),
        "steps_left": float(instance.steps_left[job]),
        "elapsed_s": float(instance.elapsed_s[job]),
        "isolated_so_far_s": float(instance.isolated_so_far_s[job]),
        "arrival_s": float(instance.arrival_s[job]),
    }
    if isfinite(promised):
        row["slo_s"] = promised
    if instance.entities[job]:
        row["entity"] = instance.entities[job]
    if kind >= 0:
        row["current_type"] = instance.gpu_types[kind]
    return row


def _lines(rows: list[dict[str, Any]]) -> str:
    """A JSON list with one row a line."""
    return "[\n  " + ",\n  ".join(json.dumps(row) for row in rows) + "\n ]" if rows else "[]"
