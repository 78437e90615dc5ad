"""From Slurm's JSON to a cluster state; tolerant of the versions from 22.05 on.

Newer versions write numbers as ``{"set": true, "infinite": false, "number": 5}`` and states as lists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf, isfinite
from typing import Any

from apportion.instances.cluster import MILLI_PER_GPU
from apportion.scheduling.live.state import ClusterState, Job, Node, Phase
from apportion.scheduling.slurm.hostlist import expand
from apportion.solvers.online.snapshot import Request

MARK = "apportion"
"""The first word of the comment, or of the administrator's comment, of a job that is ours."""
SEPARATOR = " || "
"""What stands in a job's comment between the words of its owner and our reason."""
KEEP = "hold"
"""A word of the owner's comment: leave this job held."""

Row = Mapping[str, Any]

_GRES = re.compile(
    r"(?:gres[:/])?gpu(?::(?P<kind>[A-Za-z][^:=(,\s]*))?(?:[:=](?P<count>\d+))?(?:\((?P<more>[^)]*)\))?$"
)
_INDEX = re.compile(r"IDX:([\d,\-]+)")
_MEMORY = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[KMGTP]?)$")
_MIB = {"": 1.0, "K": 1.0 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2, "P": 1024.0**3}
_HOLDING = {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
_UP = {"idle", "mixed", "allocated", "completing"}
_NOT_UP = {
    *("drain", "drained", "draining", "down", "fail", "failing", "maintenance", "maint", "unknown", "blocked"),
    *("not_responding", "reboot_requested", "reboot_issued", "powered_down", "powering_down", "invalid_reg"),
}


def number(value: object, default: float = 0.0) -> float:
    """A number in any of Slurm's forms.

    >>> number(5), number({"set": True, "infinite": False, "number": 7}), number({"set": False, "number": 0}, -1.0)
    (5.0, 7.0, -1.0)
    """
    if isinstance(value, Mapping):
        if value.get("infinite"):
            return inf
        return number(value.get("number"), default) if value.get("set") else default
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return default
    try:
        found = float(value)
    except ValueError:
        return default
    return default if found != found else found


def text(value: object) -> str:
    """A text, empty for anything else."""
    return value if isinstance(value, str) else ""


def words(value: object) -> list[str]:
    """A list of texts, or one."""
    if isinstance(value, str):
        return [value] if value else []
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list | tuple) else []


def memory_mib(value: str) -> int:
    """``500G`` in MiB, rounded up.

    >>> memory_mib("500G"), memory_mib("1000M"), memory_mib("what")
    (512000, 1000, 0)
    """
    found = _MEMORY.match(value.strip())
    return ceil(float(found["number"]) * _MIB[found["unit"]]) if found else 0


@dataclass(frozen=True)
class Gpus:
    """GPUs of a request or a node: how many by type, where the type may be empty."""

    by_type: tuple[tuple[str, int], ...] = ()

    @property
    def count(self) -> int:
        """All of them."""
        return sum(count for _, count in self.by_type)

    @classmethod
    def parse(cls, gres: str) -> Gpus:
        """Read ``gres:gpu:a100:2`` or ``gpu:a100:8(S:0-1)``; other resources are passed over.

        >>> Gpus.parse("gres:gpu:a100:2").by_type, Gpus.parse("gpu:t4:2(S:0),shard:4").count
        ((('a100', 2),), 2)
        """
        found: list[tuple[str, int]] = []
        for part in re.split(r",(?![^(]*\))", gres):
            match = _GRES.match(part.strip())
            if match:
                found.append((match["kind"] or "", int(match["count"] or 1)))
        return cls(tuple(found))


def parse_nodes(rows: list[Row]) -> tuple[Node, ...]:
    """The nodes of ``sinfo --json`` or ``scontrol show nodes --json``."""
    nodes = []
    for row in rows:
        name = text(row.get("name"))
        if not name:
            continue
        gpus = Gpus.parse(text(row.get("gres")))
        kind = max(gpus.by_type, key=lambda entry: entry[1])[0] if gpus.by_type else ""
        features = row.get("active_features") or row.get("features") or ""
        labels = words(features) if isinstance(features, list) else text(features).split(",")
        nodes.append(
            Node(
                name,
                int(1000 * number(row.get("cpus"))),
                int(number(row.get("real_memory"))),
                min(gpus.count, 4096),
                kind,
                _is_up(row),
                frozenset(label for label in labels if label),
                frozenset(words(row.get("partitions"))),
            )
        )
    return tuple(nodes)


def _is_up(row: Row) -> bool:
    states = [part.lower() for part in words(row.get("state")) for part in part.split("+")]
    flags = [flag.lower() for flag in words(row.get("state_flags"))]
    return bool(states) and states[0].rstrip("*") in _UP and not any(s in _NOT_UP for s in (*states[1:], *flags))


def parse_jobs(rows: list[Row], tiers: Mapping[str, float], now_s: float) -> tuple[tuple[Job, ...], tuple[str, ...]]:
    """The jobs of ``squeue --json`` that wait or hold something, and what could not be read."""
    jobs, faults = [], []
    for row in rows:
        phase = _phase(row)
        if phase is None or not number(row.get("job_id")):
            continue
        try:
            jobs.append(_job(row, phase, tiers, now_s))
        except UnreadableJob as error:
            faults.append(f"job {int(number(row.get('job_id')))} is left alone: {error}")
            jobs.append(_foreign(row, phase))
    return tuple(jobs), tuple(faults)


class UnreadableJob(ValueError):  # noqa: N818
    """A job asks in a way that we cannot place."""


def _states(row: Row) -> set[str]:
    return {part for state in words(row.get("job_state")) for part in state.split("+")}


def _phase(row: Row) -> Phase | None:
    states = _states(row)
    if states & _HOLDING:
        return Phase.RUNNING
    if states & {"PENDING", "REQUEUED", "REQUEUE_HOLD"}:
        held = number(row.get("priority"), 1.0) == 0.0
        return Phase.WAITING if held else Phase.STARTING
    return None


def hints(comment: str) -> dict[str, str]:
    """The words ``name=value`` of the owner's part of a comment; words alone have an empty value.

    >>> hints("apportion seconds=a100:5,t4:20 || Planned: later")
    {'apportion': '', 'seconds': 'a100:5,t4:20'}
    """
    own = comment.split(SEPARATOR.rstrip(), maxsplit=1)[0]
    return {word.partition("=")[0]: word.partition("=")[2] for word in own.split()}


def _seconds(given: str) -> tuple[tuple[str, float], ...]:
    found = []
    for entry in given.split(","):
        kind, _, amount = entry.partition(":")
        value = number(amount, -1.0)
        if kind and 0 < value < inf:
            found.append((kind, value))
    return tuple(found)


def is_marked(row: Row) -> bool:
    """Whether a job is ours: by its comment or the administrator's."""
    return any(text(row.get(name)).split(" ")[0] == MARK for name in ("comment", "admin_comment"))


def _job(row: Row, phase: Phase, tiers: Mapping[str, float], now_s: float) -> Job:
    told = hints(text(row.get("comment")))
    ours = is_marked(row) and KEEP not in told
    if ours and phase is Phase.WAITING:
        _require_placeable(row, now_s)
    workers = max(1, int(number(row.get("node_count"), 1.0)))
    nodes = expand(text(row.get("nodes"))) if phase is Phase.RUNNING else ()
    if phase is Phase.STARTING and ours:
        nodes = expand(text(row.get("required_nodes")))
    queue = text(row.get("partition"))
    minutes = number(row.get("time_limit"), 0.0)
    comment = text(row.get("comment"))
    seconds, limit_s = _seconds(told.get("seconds", "")), 60.0 * minutes if isfinite(minutes) and minutes > 0 else inf
    if "COMPLETING" in _states(row):
        # its GPUs are free in a moment
        seconds, limit_s = (), max(1.0, now_s - number(row.get("start_time")))
    return Job(
        str(int(number(row.get("job_id")))),
        _held(row, len(nodes)) if phase is Phase.RUNNING else _asked(row, workers),
        len(nodes) if phase is Phase.RUNNING else workers,
        generation=int(number(row.get("restart_cnt"))),
        phase=phase,
        managed=ours,
        name=text(row.get("name")),
        user=text(row.get("user_name")),
        queue="" if "," in queue else queue,
        priority=tiers.get(queue, 0.0) - number(row.get("nice")) / 1e6,
        submitted_s=number(row.get("submit_time")),
        started_s=number(row.get("start_time")),
        limit_s=limit_s,
        seconds=seconds,
        nodes=nodes,
        gpus=_indices(row, len(nodes)) if phase is Phase.RUNNING else (),
        needs=parse_features(text(row.get("features"))) if phase is not Phase.RUNNING else (),
        preemptible=bool(row.get("requeue")) and told.get("preemptible") == "yes",
        note=comment.partition(SEPARATOR)[2],
    )


def _foreign(row: Row, phase: Phase) -> Job:
    nodes = expand(text(row.get("nodes"))) if phase is Phase.RUNNING else ()
    name = str(int(number(row.get("job_id"))))
    return Job(name, _held(row, len(nodes)), max(1, len(nodes)), phase=phase, managed=False, nodes=nodes)


def _require_placeable(row: Row, now_s: float) -> None:
    """Refuse what we cannot steer; such jobs stay held until their owner or an administrator releases them."""
    if text(row.get("array_task_string")):
        raise UnreadableJob("an array is placed by Slurm; release it")
    if number(row.get("het_job_id")):
        raise UnreadableJob("a heterogeneous job is placed by Slurm; release it")
    if text(row.get("dependency")):
        raise UnreadableJob("it depends on other jobs that are not done")
    if number(row.get("eligible_time")) > now_s + 1.0 and number(row.get("restart_cnt")) == 0:
        raise UnreadableJob("it begins later")


def _tres(value: str) -> dict[str, str]:
    return {entry.partition("=")[0]: entry.partition("=")[2] for entry in value.split(",") if "=" in entry}


def _asked(row: Row, workers: int) -> Request:
    """What each node gives to a job that waits."""
    gpus = Gpus.parse(text(row.get("tres_per_node")))
    whole = Gpus.parse(text(row.get("tres_per_job")))
    task = Gpus.parse(text(row.get("tres_per_task")))
    if text(row.get("tres_per_socket")) and not gpus.count:
        raise UnreadableJob("it asks for GPUs by socket\n    Maybe --gpus-per-node")
    if not gpus.count and whole.count:
        gpus = _shared_out(whole, workers, "by job")
    elif not gpus.count and task.count:
        tasks = max(1, int(number(row.get("tasks"), 1.0)))
        if tasks % workers:
            raise UnreadableJob(f"its {tasks} tasks do not divide evenly by {workers} nodes")
        gpus = Gpus(tuple((kind, count * (tasks // workers)) for kind, count in task.by_type))
    if len(gpus.by_type) > 1:
        raise UnreadableJob("it asks for several types of GPU on one node")
    asked = _tres(text(row.get("tres_req_str")))
    cpus = number(row.get("cpus")) or number(asked.get("cpu"), 1.0)
    per_node = max(ceil(cpus / workers), int(number(row.get("minimum_cpus_per_node"))), 1)
    memory = int(number(row.get("memory_per_node"))) or int(number(row.get("memory_per_cpu"))) * per_node
    if not memory:
        memory = ceil(memory_mib(asked.get("mem", "")) / workers)
    kind = gpus.by_type[0][0] if gpus.by_type else ""
    amount = gpus.count
    return Request(1000 * per_node, memory, amount, MILLI_PER_GPU if amount else 0, (kind,) if kind else ())


def _shared_out(gpus: Gpus, workers: int, how: str) -> Gpus:
    if any(count % workers for _, count in gpus.by_type):
        raise UnreadableJob(f"it asks for {gpus.count} GPUs {how} on {workers} nodes\n    Maybe --gpus-per-node")
    return Gpus(tuple((kind, count // workers) for kind, count in gpus.by_type))


def _held(row: Row, nodes: int) -> Request:
    """What each node gives to a job that runs: a mean where its nodes give different amounts."""
    if not nodes:
        return Request(0, 0, 0, 0)
    held = _tres(text(row.get("tres_alloc_str")))
    cpus = number(row.get("cpus")) or number(held.get("cpu"))
    detail = [Gpus.parse(entry).count for entry in words(row.get("gres_detail"))]
    if detail:
        gpus = max(detail)
    else:
        counts = [int(number(n)) for k, n in held.items() if k == "gres/gpu"]
        gpus = ceil(counts[0] / nodes) if counts else Gpus.parse(text(row.get("tres_per_node"))).count
    memory = ceil(memory_mib(held.get("mem", "")) / nodes)
    return Request(ceil(1000 * cpus / nodes), memory, gpus, MILLI_PER_GPU if gpus else 0)


def _indices(row: Row, nodes: int) -> tuple[tuple[int, ...], ...]:
    """The numbers of a running job's GPUs on each node, where Slurm says so for all of them."""
    detail = words(row.get("gres_detail"))
    if len(detail) != nodes:
        return ()
    found = []
    for entry in detail:
        numbers: list[int] = []
        for part in _INDEX.findall(entry):
            for piece in part.split(","):
                low, _, high = piece.partition("-")
                if low.isdigit():
                    numbers.extend(range(int(low), min(int(high or low), int(low) + 4096) + 1))
        found.append(tuple(numbers))
    return tuple(found)


def parse_features(constraint: str) -> tuple[frozenset[str], ...]:
    """A constraint as alternatives of labels that a node must all have.

    >>> [sorted(need) for need in parse_features("[a100|v100]&nvlink")]
    [['a100', 'nvlink'], ['nvlink', 'v100']]
    """
    if not constraint:
        return ()
    if re.search(r"[*!]", constraint):
        raise UnreadableJob(f"its constraint {constraint!r} counts or excludes features")
    alternatives: list[frozenset[str]] = [frozenset()]
    for part in re.split(r"[&,](?![^(\[]*[)\]])", constraint):
        options = [option for option in re.split(r"\|", part.strip("()[] ")) if option]
        labels = [frozenset(re.split(r"[&,]", option.strip("()[] "))) for option in options]
        if options and part.count("|") and "&" in part and part[0] not in "([":
            raise UnreadableJob(f"its constraint {constraint!r} needs brackets")
        alternatives = [have | more for have in alternatives for more in labels] if labels else alternatives
    return tuple(alternatives)


def parse_tiers(lines: str) -> dict[str, float]:
    """The priority tier of each partition, from ``scontrol -o show partition``."""
    tiers = {}
    for line in lines.splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "PartitionName" in fields:
            tiers[fields["PartitionName"]] = number(fields.get("PriorityTier"), 1.0)
    return tiers


def parse_state(jobs: Row, nodes: Row, tiers: Mapping[str, float], now_s: float) -> ClusterState:
    """One observation from the two documents."""
    found, faults = parse_jobs(_rows(jobs, "jobs"), tiers, now_s)
    return ClusterState(parse_nodes(_rows(nodes, "nodes")), found, now_s, faults=faults)


def _rows(document: Row, name: str) -> list[Row]:
    rows = document.get(name)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
