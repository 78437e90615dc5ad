"""Slurm's JSON, recorded from a real 22.05, in the form of newer versions, and broken in every way."""

from __future__ import annotations

import copy
import json
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.scheduling.live import Phase
from apportion.scheduling.slurm.hostlist import expand
from apportion.scheduling.slurm.parsing import (
    UnreadableJob,
    hints,
    memory_mib,
    number,
    parse_features,
    parse_jobs,
    parse_nodes,
    parse_state,
    parse_tiers,
)

RECORDED = Path(__file__).parent / "recorded"
JOBS: dict[str, Any] = json.loads((RECORDED / "squeue-22.05.json").read_text(encoding="utf-8"))
NODES: dict[str, Any] = json.loads((RECORDED / "sinfo-22.05.json").read_text(encoding="utf-8"))
NOW_S = 1_795_552_120.0

HELD = {
    "job_id": 9,
    "job_state": "PENDING",
    "priority": 0,
    "admin_comment": "apportion",
    "node_count": 1,
    "cpus": 4,
    "tasks": 4,
    "time_limit": 10,
    "tres_per_node": "gres:gpu:2",
    "tres_req_str": "cpu=4,mem=8G,node=1",
    "submit_time": 100,
    "partition": "main",
}


def newer(value: Any, key: str = "") -> Any:
    """The same as versions from 23.02 on write it: numbers that may be unset, states as lists."""
    if key == "jobs" or (key == "nodes" and isinstance(value, list)):
        return [{k: newer(v, k) for k, v in row.items()} for row in value]
    if key in ("job_state", "state") and isinstance(value, str):
        return [value.upper()]
    if key in ("time_limit", "priority", "start_time", "submit_time", "memory_per_node", "node_count", "cpus"):
        return {"set": value is not None, "infinite": False, "number": value or 0}
    if key in ("features", "active_features") and isinstance(value, str) and "|" not in value and value:
        return value.split(",")
    if key == "tres_per_node" and isinstance(value, str):
        return value.replace("gres:", "gres/")
    return value


def one(**changes: object) -> Any:
    ((job,), faults) = parse_jobs([{**HELD, **changes}], {"main": 1.0}, NOW_S)
    return job, faults


def test_the_recorded_cluster() -> None:
    state = parse_state(JOBS, NODES, {"main": 1.0}, NOW_S)
    assert [(n.name, n.num_gpus, n.gpu_type, n.cpu_milli, n.up) for n in state.nodes] == [
        ("a100-1", 8, "a100", 64_000, True),
        ("a100-2", 8, "a100", 64_000, True),
        ("t4-1", 2, "t4", 16_000, True),
        ("t4-2", 2, "t4", 16_000, True),
        ("v100-1", 4, "v100", 32_000, True),
        ("v100-2", 4, "v100", 32_000, True),
    ]
    assert state.nodes[0].features == {"a100", "nvlink", "rack1"}
    assert state.nodes[0].queues == {"main", "high"}
    running = state.job["2"]
    assert (running.phase, running.nodes, running.gpus) == (Phase.RUNNING, ("v100-2",), ((0, 1),))
    assert (running.request.num_gpus, running.request.memory_mib, running.limit_s) == (2, 1000, 300.0)
    gang = state.job["3"]
    assert (gang.phase, gang.workers, gang.request.num_gpus, gang.limit_s) == (Phase.WAITING, 2, 2, inf)
    assert gang.request.allowed_types == ("v100",)
    assert gang.request.memory_mib == 512_000


def test_newer_versions_say_the_same() -> None:
    jobs = {key: newer(value, key) for key, value in JOBS.items()}
    nodes = {key: newer(value, key) for key, value in NODES.items()}
    old, new = parse_state(JOBS, NODES, {}, NOW_S), parse_state(jobs, nodes, {}, NOW_S)
    assert new.nodes == old.nodes
    assert new.jobs == old.jobs


def test_a_held_job_with_all_that_we_read() -> None:
    comment = "apportion seconds=a100:5,t4:20,bad:x preemptible=yes || Planned: in about 5 min"
    job, faults = one(comment=comment, features="[a100|t4]", nice=100, requeue=True, restart_cnt=3)
    assert faults == ()
    assert (job.phase, job.managed, job.generation) == (Phase.WAITING, True, 3)
    assert job.seconds == (("a100", 5.0), ("t4", 20.0))
    assert job.preemptible
    assert job.note == "Planned: in about 5 min"
    assert job.needs == (frozenset({"a100"}), frozenset({"t4"}))
    assert (job.request.cpu_milli, job.request.memory_mib, job.request.num_gpus) == (4000, 8192, 2)
    assert job.limit_s == 600.0
    assert job.priority == pytest.approx(1.0 - 1e-4)


@pytest.mark.parametrize(
    ("changes", "gpus", "kinds"),
    [
        ({"tres_per_node": "gres:gpu:a100:3"}, 3, ("a100",)),
        ({"tres_per_node": "gres/gpu:3"}, 3, ()),
        ({"tres_per_node": "gres:gpu"}, 1, ()),
        ({"tres_per_node": "", "tres_per_job": "gres:gpu:4"}, 4, ()),
        ({"tres_per_node": "", "tres_per_job": "gres:gpu:4", "node_count": 2}, 2, ()),
        ({"tres_per_node": "", "tres_per_task": "gres:gpu:2"}, 8, ()),
        ({"tres_per_node": "", "admin_comment": "apportion"}, 0, ()),
    ],
    ids=["typed", "newer", "bare", "job", "job on two", "task", "none"],
)
def test_ways_to_ask_for_gpus(changes: dict[str, object], gpus: int, kinds: tuple[str, ...]) -> None:
    job, faults = one(**changes)
    assert (job.request.num_gpus, job.request.allowed_types, faults) == (gpus, kinds, ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"array_task_string": "1-3"}, "array"),
        ({"het_job_id": 7}, "heterogeneous"),
        ({"dependency": "afterok:3(unfulfilled)"}, "depends"),
        ({"eligible_time": NOW_S + 100}, "begins later"),
        ({"tres_per_node": "", "tres_per_job": "gres:gpu:3", "node_count": 2}, "on 2 nodes"),
        ({"tres_per_node": "gres:gpu:a100:1,gres:gpu:t4:1"}, "several types"),
        ({"tres_per_node": "", "tres_per_socket": "gres:gpu:1"}, "by socket"),
        ({"features": "a100*2"}, "counts or excludes"),
    ],
    ids=["array", "het", "dependency", "begin", "job gpus", "two types", "socket", "counted"],
)
def test_jobs_that_are_left_alone(changes: dict[str, object], words: str) -> None:
    job, faults = one(**changes)
    assert not job.managed
    assert len(faults) == 1
    assert words in faults[0]
    assert "job 9" in faults[0]


@pytest.mark.parametrize(
    ("changes", "phase", "managed"),
    [
        ({"admin_comment": ""}, Phase.WAITING, False),
        ({"admin_comment": "", "comment": "apportion"}, Phase.WAITING, True),
        ({"comment": "apportion hold"}, Phase.WAITING, False),
        ({"priority": 5, "required_nodes": "a-[1-2]"}, Phase.STARTING, True),
        ({"job_state": "COMPLETING", "nodes": "a-1"}, Phase.RUNNING, True),
        ({"job_state": ["RUNNING"], "nodes": "a-1"}, Phase.RUNNING, True),
        ({"job_state": ["PENDING", "REQUEUE_HOLD"]}, Phase.WAITING, True),
    ],
    ids=["not ours", "by comment", "kept", "released", "completing", "list", "requeued"],
)
def test_phases(changes: dict[str, object], phase: Phase, managed: bool) -> None:
    job, _ = one(**changes)
    assert (job.phase, job.managed) == (phase, managed)


@pytest.mark.parametrize("state", ["COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "", None, "NEWER_STATE"])
def test_jobs_that_are_over(state: str | None) -> None:
    assert parse_jobs([{**HELD, "job_state": state}], {}, NOW_S) == ((), ())


@pytest.mark.parametrize(
    ("state", "flags", "up"),
    [
        ("idle", [], True),
        ("mixed", [], True),
        (["ALLOCATED"], [], True),
        ("idle", ["DRAIN"], False),
        (["MIXED", "DRAIN"], [], False),
        ("down", [], False),
        ("idle", ["NOT_RESPONDING"], False),
        ("idle*", [], True),
        ("", [], False),
        (None, [], False),
    ],
    ids=str,
)
def test_states_of_nodes(state: object, flags: list[str], up: bool) -> None:
    (node,) = parse_nodes([{"name": "n", "state": state, "state_flags": flags}])
    assert node.up is up


def test_small_readers() -> None:
    assert number({"set": True, "infinite": True, "number": 0}) == inf
    junk: list[object] = [None, True, [], "x", float("nan"), {}]
    assert [number(bad, 3.0) for bad in junk] == [3.0] * 6
    assert memory_mib("1.5T") == 1_572_864
    assert expand("a[1-2]b[3-4]") == ("a1b3", "a1b4", "a2b3", "a2b4")
    assert expand("") == ()
    assert hints("a=1 b") == {"a": "1", "b": ""}
    assert parse_features("a100&nvlink") == (frozenset({"a100", "nvlink"}),)
    assert parse_features("(a&b)|c") == (frozenset({"a", "b"}), frozenset({"c"}))
    with pytest.raises(UnreadableJob):
        parse_features("!a")
    line = "PartitionName=main Default=YES PriorityTier=7 State=UP\nPartitionName=low\n\nnonsense"
    assert parse_tiers(line) == {"main": 7.0, "low": 1.0}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    key=st.sampled_from(sorted(set(JOBS["jobs"][1]) | set(HELD))),
    node_key=st.sampled_from(sorted(NODES["nodes"][0])),
    junk=JUNK,
)
@settings(max_examples=50, deadline=None)
def test_any_junk_in_any_field_is_survived(key: str, node_key: str, junk: object) -> None:
    jobs, nodes = copy.deepcopy(JOBS), copy.deepcopy(NODES)
    jobs["jobs"].append(dict(HELD))
    for row in jobs["jobs"]:
        row[key] = junk
    nodes["nodes"][0][node_key] = junk
    parse_state(jobs, nodes, {}, NOW_S)


@given(junk=JUNK)
@settings(max_examples=50, deadline=None)
def test_any_junk_as_a_document_is_survived(junk: object) -> None:
    parse_state({"jobs": junk}, {"nodes": junk}, {}, NOW_S)
    parse_state({"jobs": [junk]}, {"nodes": [junk]}, {}, NOW_S)
