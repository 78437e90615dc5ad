"""Reading and writing clusters: the openb CSVs and the JSON format; whatever is broken is an InstanceError."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.instances.cluster import ClusterPlacement
from apportion.instances.errors import InstanceError
from apportion.instances.formats.cluster_json import json_schema, render
from apportion.instances.formats.openb import NODE_FILE
from apportion.instances.generate.cluster import generate_cluster
from apportion.instances.reading import read, write
from realdata import data_file

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,8000,1000,2,T4\nn1,4000,1000,1,A10\n"
PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n"
    "p0,1000,10,1,500,T4|A10,LS\np1,2000,20,2,1000,,LS\np2,500,30,0,0,,BE\n"
)


def folder(path: Path, pods: str = PODS, nodes: str | None = NODES) -> Path:
    if nodes is not None:
        (path / NODE_FILE).write_text(nodes)
    (path / "pods.csv").write_text(pods)
    return path / "pods.csv"


def cluster(path: Path, nodes: Path | None = None) -> ClusterPlacement:
    instance = read(path) if nodes is None else read(path, nodes=nodes)
    assert isinstance(instance, ClusterPlacement)
    return instance


def test_openb_finds_the_nodes_beside_it(tmp_path: Path) -> None:
    instance = cluster(folder(tmp_path))
    assert instance.name == "pods"
    assert instance.tasks.allowed_types == (("T4", "A10"), (), ())
    assert instance.tasks.gpu_milli.tolist() == [500, 1000, 0]
    assert instance.nodes.gpu_types == ("T4", "A10")


def test_openb_takes_gzip_and_named_nodes_and_no_types(tmp_path: Path) -> None:
    pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np0,1000,10,1,1000\n"
    (tmp_path / "pods.csv.gz").write_bytes(gzip.compress(pods.encode()))
    (tmp_path / "mine.csv").write_text(NODES)
    instance = cluster(tmp_path / "pods.csv.gz", nodes=tmp_path / "mine.csv")
    assert instance.tasks.allowed_types == ((),)


def test_openb_says_how_to_name_the_nodes(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="--nodes FILE"):
        read(folder(tmp_path, nodes=None))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("p0,1000", "p0,-5", r"line 2, cpu_milli: .*got '-5'"),
        ("p0,1000", "p0,nan", r"line 2, cpu_milli: .*got 'nan'"),
        ("p0,1000", "p0,1e9", r"line 2, cpu_milli: .*got '1e9'"),
        ("p0,1000", "p0,99999999999999999999999", r"line 2, cpu_milli"),
        ("p0,1000", "p0,²", r"line 2, cpu_milli"),
        ("p1,", "p0,", r"line 3, name: repeats the identifier of line 2, got 'p0'"),
        ("p1,", ",", r"line 3, name: is empty"),
        ("2,1000,,LS", "2,300,,LS", r"line 3, gpu_milli: must be 1000"),
        ("1,500", "1,1500", r"line 2, gpu_milli: must be at most 1000"),
        ("1,500", "1,0", r"must be at least 1 for a task with GPUs"),
        (",BE\n", "\n", r"line 4: must have 7 cells, got 6"),
        ("memory_mib", "memory", r"line 1: lacks the column memory_mib"),
        ("qos", "name", r"line 1: names a column twice"),
        ("p2", '"p2', r"line \d: is not CSV"),
    ],
)
def test_openb_names_line_and_value(tmp_path: Path, old: str, new: str, expected: str) -> None:
    with pytest.raises(InstanceError, match=expected):
        read(folder(tmp_path, PODS.replace(old, new)), format="openb")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("n0,8000", "n0,x", r"openb_node_list.*\n.*line 2, cpu_milli"),
        ("n1", "n0", r"line 3, sn: repeats"),
        ("model", "mdl", r"lacks the column model"),
        (",2,T4", ",5000,T4", r"num_gpus\[0\]: must be at most 4096"),
    ],
)
def test_openb_names_faults_of_nodes(tmp_path: Path, old: str, new: str, expected: str) -> None:
    with pytest.raises(InstanceError, match=expected):
        read(folder(tmp_path, PODS, NODES.replace(old, new)))


def test_openb_reports_several_faults_together(tmp_path: Path) -> None:
    with pytest.raises(InstanceError) as caught:
        read(folder(tmp_path, PODS.replace("p0,1000", "p0,x").replace("p1,2000", "p1,y")))
    assert len(caught.value.faults) == 2


def assert_reads_or_explains(path: Path, form: str) -> None:
    try:
        instance = read(path, format=form)
    except InstanceError as error:
        faults, source = error.faults, error.source
    else:
        assert isinstance(instance, ClusterPlacement)
        return
    assert faults
    assert all(fault.message for fault in faults)
    assert Path(source).parent == path.parent or source == path.stem


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_openb_is_fuzzed(tmp_path: Path, data: st.DataObject) -> None:
    text = list(data.draw(st.sampled_from([PODS, NODES])))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 12)))
        junk = st.sampled_from(
            ["", ",", "\n", '"', "-1", "nan", "1e400", "9" * 30, "\x00", "é", "0.5", "p0", "|", "\r"]
        )
        text[start:stop] = list(data.draw(junk))
    broken = "".join(text) or " "
    pods, nodes = (broken, NODES) if data.draw(st.booleans()) else (PODS, broken)
    assert_reads_or_explains(folder(tmp_path, pods, nodes), "openb")


def test_json_round_trips(tmp_path: Path) -> None:
    instance = generate_cluster(seed=5, nodes=4, tasks=20)
    write(instance, tmp_path / "c.json")
    again = cluster(tmp_path / "c.json")
    assert render(again) == render(instance)
    assert again.tasks.allowed_types == instance.tasks.allowed_types


def test_json_has_defaults(tmp_path: Path) -> None:
    rows = {
        "problem": "cluster-placement",
        "nodes": [{"name": "n", "cpu_milli": 1, "memory_mib": 1}],
        "tasks": [{"name": "t", "cpu_milli": 1, "memory_mib": 1, "num_gpus": 2}],
    }
    (tmp_path / "mine.json").write_text(json.dumps(rows))
    instance = cluster(tmp_path / "mine.json")
    assert instance.name == "mine"
    assert instance.tasks.gpu_milli.tolist() == [1000]


def test_json_reports_all_faults_with_their_paths(tmp_path: Path) -> None:
    rows = {
        "problem": "cluster-placement",
        "nodes": [{"name": "n", "cpu_milli": "8", "memory_mib": 1, "gpu": 3}],
        "tasks": [{"name": "", "cpu_milli": -1, "memory_mib": 1.5}],
    }
    (tmp_path / "c.json").write_text(json.dumps(rows))
    with pytest.raises(InstanceError) as caught:
        read(tmp_path / "c.json")
    places = {fault.place for fault in caught.value.faults}
    assert places == {
        "nodes[0].cpu_milli",
        "nodes[0].gpu",
        "tasks[0].name",
        "tasks[0].cpu_milli",
        "tasks[0].memory_mib",
    }


def test_json_faults_found_by_the_instance_name_the_file(tmp_path: Path) -> None:
    task = {"name": "t", "cpu_milli": 1, "memory_mib": 1}
    (tmp_path / "c.json").write_text(
        json.dumps({"problem": "cluster-placement", "nodes": [], "tasks": [task, task | {"gpu_milli": 5}]})
    )
    with pytest.raises(InstanceError) as caught:
        read(tmp_path / "c.json")
    assert caught.value.source.endswith("c.json")
    assert len(caught.value.faults) == 2


JSON_TEXT = render(generate_cluster(seed=1, nodes=2, tasks=8))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_json_is_fuzzed(tmp_path: Path, data: st.DataObject) -> None:
    text = JSON_TEXT
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 20)))
        junk = ["", "null", "NaN", "-1", "1e999", "9" * 400, "[", "{", '"', ",", "true", "\\ud800", "\x00", "[" * 3000]
        text = text[:start] + data.draw(st.sampled_from(junk)) + text[stop:]
    (tmp_path / "c.json").write_text(text or " ")
    assert_reads_or_explains(tmp_path / "c.json", "cluster-json")


@pytest.mark.parametrize("text", ["", "[]", "3", "null", '{"problem": "cluster-placement"}', "{" * 5000, "\x00"])
def test_json_that_is_no_cluster(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InstanceError):
        read(tmp_path / "c.json", format="cluster-json")


def test_json_schema_names_the_fields() -> None:
    plain = {"problem", "name", "nodes", "tasks"}
    rules = {"levels", "gangs", "queues", "affinities", "mig_models", "aims"}
    assert set(json_schema()["properties"]) == plain | rules


@pytest.mark.data
@pytest.mark.parametrize("variant", ["default", "gpuspec25", "multigpu40"])
def test_the_published_trace_reads(variant: str) -> None:
    instance = cluster(data_file(f"gpu/openb/openb_pod_list_{variant}.csv.gz"))
    assert len(instance.nodes) == 1213
    assert instance.capacity_gpus == 6212
    bound = sum(1 for allowed in instance.tasks.allowed_types if allowed)
    assert (bound > 0) == (variant == "gpuspec25")
