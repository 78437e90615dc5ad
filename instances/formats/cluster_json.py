"""Apportion's own JSON for cluster placement: ``{"problem": "cluster-placement", "nodes": [...], "tasks": [...]}``.

Rules beyond fitting are further fields, all of which may be left out; see :mod:`apportion.instances.cluster_rules`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from apportion.instances.cluster import MILLI_PER_GPU, MOST_AMOUNT, MOST_GPUS, ClusterPlacement, Nodes, Tasks
from apportion.instances.cluster_rules import (
    MOST_VALUE,
    NODE_LEVEL,
    Affinity,
    Gang,
    NodeRule,
    PlacementRules,
    Position,
    Queue,
    Quota,
    TaskRule,
)
from apportion.instances.errors import Fault, InstanceError
from apportion.instances.formats.pydantic_faults import faults_of

if TYPE_CHECKING:
    from apportion.instances.reading import Source

_MOST_SHOWN = 50
_RULE_FIELDS = frozenset(
    {"queue", "labels", "value", "priority", "preemptible", "current", "migration_cost", "mig_profile"}
)
_Amount = Annotated[int, Field(ge=0, le=int(MOST_AMOUNT))]
_Gpus = Annotated[int, Field(ge=0, le=MOST_GPUS)]
_Name = Annotated[str, Field(min_length=1)]
_Number = Annotated[float, Field(ge=0, le=MOST_VALUE, allow_inf_nan=False)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NodeRow(_Row):
    """One node: CPU in thousandths, memory in MiB, GPUs and their type; its domain of each level, its power."""

    name: _Name
    cpu_milli: _Amount
    memory_mib: _Amount
    num_gpus: _Gpus = 0
    gpu_type: str = ""
    domains: dict[_Name, _Name] = Field(default_factory=dict)
    idle_watts: _Number = 0.0
    gpu_watts: _Number = 0.0


class PositionRow(_Row):
    """Where a task runs now."""

    node: _Name
    gpus: list[_Gpus] = Field(default_factory=list)
    start_slice: Annotated[int, Field(ge=0, le=7)] | None = None


class TaskRow(_Row):
    """One task: what it needs; ``gpu_milli`` is per GPU, 1000 when left out and it has GPUs."""

    name: _Name
    cpu_milli: _Amount
    memory_mib: _Amount
    num_gpus: _Gpus = 0
    gpu_milli: Annotated[int, Field(ge=0, le=MILLI_PER_GPU)] | None = None
    allowed_types: list[_Name] = Field(default_factory=list)
    gang: str = ""
    queue: str = ""
    labels: list[_Name] = Field(default_factory=list)
    value: _Number | None = None
    priority: Annotated[int, Field(ge=0, le=int(MOST_VALUE))] = 0
    preemptible: bool = False
    current: PositionRow | None = None
    migration_cost: _Number = 1.0
    mig_profile: str = ""


class GangRow(_Row):
    """One gang: its members are the tasks that name it."""

    name: _Name
    worst_level: str = ""
    preferred_level: str = ""


class QuotaRow(_Row):
    """GPUs of a type, or of all types."""

    nominal_gpus: _Number
    gpu_type: str = ""
    borrowing_gpus: _Number | None = None


class QueueRow(_Row):
    """One queue or cohort."""

    name: _Name
    quotas: list[QuotaRow] = Field(default_factory=list)
    parent: str = ""


class AffinityRow(_Row):
    """Two labels that must, or must not, share domains of a level."""

    label: _Name
    other: _Name
    level: _Name = NODE_LEVEL
    apart: bool = True


class ClusterFile(_Row):
    """The whole file."""

    problem: Literal["cluster-placement"]
    name: str = ""
    nodes: list[NodeRow]
    tasks: list[TaskRow]
    levels: list[_Name] = Field(default_factory=list)
    gangs: list[GangRow] = Field(default_factory=list)
    queues: list[QueueRow] = Field(default_factory=list)
    affinities: list[AffinityRow] = Field(default_factory=list)
    mig_models: dict[_Name, _Name] = Field(default_factory=dict)
    aims: list[dict[_Name, Annotated[float, Field(gt=0, le=MOST_VALUE, allow_inf_nan=False)]]] = Field(
        default_factory=list
    )


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
        raise InstanceError(str(source.path), faults_of(error)) from error
    nodes, tasks = content.nodes, content.tasks
    faults = _misfits(content)
    if faults:
        raise InstanceError(str(source.path), faults)
    name = content.name or source.name
    try:
        return ClusterPlacement(name, _node_table(nodes), _task_table(tasks), _rules(content))
    except InstanceError as error:
        raise InstanceError(str(source.path), error.faults) from error


def _misfits(content: ClusterFile) -> list[Fault]:
    """Levels and gangs that rows name and the file does not."""
    faults = []
    for i, node in enumerate(content.nodes):
        faults += [
            Fault(f"nodes[{i}].domains", "names no level of the file", level, f"one of {', '.join(content.levels)}")
            for level in node.domains
            if level not in content.levels
        ]
    gangs = {gang.name for gang in content.gangs}
    for i, task in enumerate(content.tasks):
        if task.gang and task.gang not in gangs:
            faults.append(Fault(f"tasks[{i}].gang", "is no gang of the file", task.gang))
    return faults[:_MOST_SHOWN]


def _rules(content: ClusterFile) -> PlacementRules:
    members: dict[str, list[str]] = {gang.name: [] for gang in content.gangs}
    tasks = {}
    for row in content.tasks:
        if row.gang:
            members[row.gang].append(row.name)
        if row.model_fields_set & _RULE_FIELDS:
            at = row.current
            current = None if at is None else Position(at.node, tuple(at.gpus), at.start_slice)
            plain = {name: getattr(row, name) for name in _RULE_FIELDS - {"labels", "current"}}
            tasks[row.name] = TaskRule(labels=tuple(row.labels), current=current, **plain)
    nodes = {
        row.name: NodeRule(tuple(row.domains.get(x, "") for x in content.levels), row.idle_watts, row.gpu_watts)
        for row in content.nodes
        if row.domains or row.idle_watts or row.gpu_watts
    }
    return PlacementRules(
        tuple(content.levels),
        nodes,
        tasks,
        tuple(Gang(row.name, tuple(members[row.name]), row.worst_level, row.preferred_level) for row in content.gangs),
        tuple(
            Queue(row.name, tuple(Quota(**q.model_dump()) for q in row.quotas), row.parent) for row in content.queues
        ),
        tuple(Affinity(**row.model_dump()) for row in content.affinities),
        content.mig_models,
        tuple(tuple(aim.items()) for aim in content.aims),
    )


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


def render(instance: ClusterPlacement) -> str:
    """Write ``instance``; reading it again gives the same one."""
    nodes, tasks, rules = instance.nodes, instance.tasks, instance.rules
    columns = (nodes.cpu_milli.tolist(), nodes.memory_mib.tolist(), nodes.num_gpus.tolist())
    node_rows = [
        {"name": name, "cpu_milli": cpu, "memory_mib": memory, "num_gpus": gpus, "gpu_type": kind}
        | _node_extras(rules, name)
        for name, cpu, memory, gpus, kind in zip(nodes.names, *columns, nodes.gpu_types, strict=True)
    ]
    amounts = (tasks.cpu_milli, tasks.memory_mib, tasks.num_gpus, tasks.gpu_milli)
    gang_of = {task: gang.name for gang in rules.gangs for task in gang.tasks}
    task_rows = [
        {"name": name, "cpu_milli": cpu, "memory_mib": memory, "num_gpus": gpus, "gpu_milli": milli}
        | ({"allowed_types": list(allowed)} if allowed else {})
        | ({"gang": gang_of[name]} if name in gang_of else {})
        | _task_extras(rules.tasks.get(name))
        for name, cpu, memory, gpus, milli, allowed in zip(
            tasks.names, *(a.tolist() for a in amounts), tasks.allowed_types, strict=True
        )
    ]
    lines = [f' "problem": "cluster-placement",\n "name": {json.dumps(instance.name)}']
    lines += [f' "{name}": {json.dumps(value)}' for name, value in _file_extras(rules).items() if value]
    lines += [f' "nodes": {_lines(node_rows)}', f' "tasks": {_lines(task_rows)}']
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _node_extras(rules: PlacementRules, name: str) -> dict[str, Any]:
    rule = rules.node(name)
    row: dict[str, Any] = {"domains": dict(zip(rules.levels, rule.domains, strict=True))} if rule.domains else {}
    return row | {name: getattr(rule, name) for name in ("idle_watts", "gpu_watts") if getattr(rule, name)}


def _task_extras(rule: TaskRule | None) -> dict[str, Any]:
    if rule is None:
        return {}
    usual = TaskRule()
    row = {name: getattr(rule, name) for name in _RULE_FIELDS if getattr(rule, name) != getattr(usual, name)}
    if "labels" in row:
        row["labels"] = list(rule.labels)
    if rule.current is not None:
        start = {} if rule.current.start_slice is None else {"start_slice": rule.current.start_slice}
        row["current"] = {"node": rule.current.node, "gpus": list(rule.current.gpus)} | start
    return dict(sorted(row.items())) or {"queue": ""}


def _file_extras(rules: PlacementRules) -> dict[str, Any]:
    return {
        "levels": list(rules.levels),
        "gangs": [
            {"name": gang.name, "worst_level": gang.worst_level, "preferred_level": gang.preferred_level}
            for gang in rules.gangs
        ],
        "queues": [{**asdict(queue), "quotas": [asdict(quota) for quota in queue.quotas]} for queue in rules.queues],
        "affinities": [asdict(affinity) for affinity in rules.affinities],
        "mig_models": dict(rules.mig_models),
        "aims": [dict(aim) for aim in rules.aims],
    }


def _lines(rows: list[dict[str, Any]]) -> str:
    """A JSON list with one row a line."""
    return "[\n  " + ",\n  ".join(json.dumps(row) for row in rows) + "\n ]" if rows else "[]"
