"""Apportion's own JSON for cluster placement: ``{"problem": "cluster-placement", "nodes": [...], "tasks": [...]}``."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from apportion.instances.cluster import MILLI_PER_GPU, MOST_AMOUNT, MOST_GPUS, ClusterPlacement, Nodes, Tasks
from apportion.instances.errors import Fault, InstanceError

if TYPE_CHECKING:
    from apportion.instances.reading import Source

_MOST_SHOWN = 50
_Amount = Annotated[int, Field(ge=0, le=int(MOST_AMOUNT))]
_Gpus = Annotated[int, Field(ge=0, le=MOST_GPUS)]
_Name = Annotated[str, Field(min_length=1)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NodeRow(_Row):
    """One node: CPU in thousandths, memory in MiB, GPUs and their type."""

    name: _Name
    cpu_milli: _Amount
    memory_mib: _Amount
    num_gpus: _Gpus = 0
    gpu_type: str = ""


class TaskRow(_Row):
    """One task: what it needs; ``gpu_milli`` is per GPU, 1000 when left out and it has GPUs."""

    name: _Name
    cpu_milli: _Amount
    memory_mib: _Amount
    num_gpus: _Gpus = 0
    gpu_milli: Annotated[int, Field(ge=0, le=MILLI_PER_GPU)] | None = None
    allowed_types: list[_Name] = Field(default_factory=list)


class ClusterFile(_Row):
    """The whole file."""

    problem: Literal["cluster-placement"]
    name: str = ""
    nodes: list[NodeRow]
    tasks: list[TaskRow]


@cache
def _adapter() -> TypeAdapter[ClusterFile]:
    return TypeAdapter(ClusterFile)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the format."""
    return _adapter().json_schema()


def parse(text: str, source: Source) -> ClusterPlacement:
    """Read an instance; raise :class:`InstanceError` with the path and value of every fault.

    ``name`` in the file wins over the name of the file.
    """
    try:
        content = _adapter().validate_json(text)
    except ValidationError as error:
        raise InstanceError(str(source.path), _faults(error)) from error
    nodes, tasks = content.nodes, content.tasks
    try:
        return ClusterPlacement(content.name or source.name, _node_table(nodes), _task_table(tasks))
    except InstanceError as error:
        raise InstanceError(str(source.path), error.faults) from error


def _node_table(rows: list[NodeRow]) -> Nodes:
    return Nodes.build(
        [row.name for row in rows],
        [row.cpu_milli for row in rows],
        [row.memory_mib for row in rows],
        [row.num_gpus for row in rows],
        [row.gpu_type for row in rows],
    )


def _task_table(rows: list[TaskRow]) -> Tasks:
    whole = [MILLI_PER_GPU * (row.num_gpus > 0) if row.gpu_milli is None else row.gpu_milli for row in rows]
    return Tasks.build(
        [row.name for row in rows],
        [row.cpu_milli for row in rows],
        [row.memory_mib for row in rows],
        [row.num_gpus for row in rows],
        whole,
        [tuple(row.allowed_types) for row in rows],
    )


def _faults(error: ValidationError) -> list[Fault]:
    found = error.errors(include_url=False, include_context=False)
    faults = [Fault(_path(item["loc"]), item["msg"], _shown(item)) for item in found[:_MOST_SHOWN]]
    if len(found) > _MOST_SHOWN:
        faults.append(Fault("", f"and {len(found) - _MOST_SHOWN} more faults"))
    return faults


def _shown(item: Any) -> object:
    return None if item["type"] in {"missing", "json_invalid"} else item["input"]


def _path(location: tuple[int | str, ...]) -> str:
    """``("tasks", 3, "cpu_milli")`` as ``tasks[3].cpu_milli``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def render(instance: ClusterPlacement) -> str:
    """Write ``instance``; reading it again gives the same one."""
    nodes, tasks = instance.nodes, instance.tasks
    columns = (nodes.cpu_milli.tolist(), nodes.memory_mib.tolist(), nodes.num_gpus.tolist())
    node_rows = [
        {"name": name, "cpu_milli": cpu, "memory_mib": memory, "num_gpus": gpus, "gpu_type": kind}
        for name, cpu, memory, gpus, kind in zip(nodes.names, *columns, nodes.gpu_types, strict=True)
    ]
    amounts = (tasks.cpu_milli, tasks.memory_mib, tasks.num_gpus, tasks.gpu_milli)
    task_rows = [
        {"name": name, "cpu_milli": cpu, "memory_mib": memory, "num_gpus": gpus, "gpu_milli": milli}
        | ({"allowed_types": list(allowed)} if allowed else {})
        for name, cpu, memory, gpus, milli, allowed in zip(
            tasks.names, *(a.tolist() for a in amounts), tasks.allowed_types, strict=True
        )
    ]
    head = f'{{\n "problem": "cluster-placement",\n "name": {json.dumps(instance.name)},\n'
    return f'{head} "nodes": {_lines(node_rows)},\n "tasks": {_lines(task_rows)}\n}}\n'


def _lines(rows: list[dict[str, Any]]) -> str:
    """A JSON list with one row a line."""
    return "[\n  " + ",\n  ".join(json.dumps(row) for row in rows) + "\n ]" if rows else "[]"
