from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.batch_scaling import ScalingJob, gns_batches
from apportion.instances.errors import InstanceError, OptionError
from apportion.instances.formats.job_traces import read_trace
from apportion.instances.formats.throughput_table import ThroughputTable
from apportion.instances.generate.trace import generate_trace
from apportion.instances.trace import Fleet, JobTrace
from realdata import data_file

_TABLE = {
    "v100": {"('LM (batch size 5)', 1)": {"null": 10.0}, "('LM (batch size 10)', 1)": {"null": 8.0}},
    "k80": {"('LM (batch size 5)', 1)": {"null": 1.0}, "('LM (batch size 10)', 1)": {"null": 0.0}},
    "k80_unconsolidated": {"('LM (batch size 5)', 1)": {"null": 0.5}},
}
_LINE = "LM (batch size {batch})\tcommand\tfolder\t--steps\t1\t{steps}\t{gpus}\t1\t-1.0\t{arrival}"
_WIDE = "LM (batch size 5)\tcommand\tfolder\t--steps\t1\t{steps}\t1\t{mode}\t1\t-1.0\t100\t0"
_CHRONUS = (
    "job_id,user,num_gpu,submit_time,iterations,model_name,duration,interval,expect_time_list,expect_value_list,"
    "best_effort,job_type\n"
)
_PHILLY = "timestamp,duration,num_gpus,gpu_time,cluster\n"


def _write(folder: Path, text: str, table: object = _TABLE) -> Path:
    (folder / "throughputs.json").write_text(json.dumps(table))
    path = folder / "some.trace"
    path.write_text(text)
    return path


def _line(batch: int = 5, steps: object = 100, gpus: object = 1, arrival: object = 0) -> str:
    return _LINE.format(batch=batch, steps=steps, gpus=gpus, arrival=arrival)


def test_a_trace_of_gavel(tmp_path: Path) -> None:
    trace = read_trace(_write(tmp_path, f"{_line()}\n{_line(10, 200, 1, 30)}\n"))
    assert trace.gpu_types == ("v100", "k80")
    assert trace.arrival_s.tolist() == [0.0, 30.0]
    assert trace.shortest_s.tolist() == [10.0, 25.0]
    assert trace.throughput.tolist() == [[10.0, 1.0], [8.0, 0.0]]
    onto = trace.onto(Fleet.parse("k80:2,a100:1"))
    assert onto.throughput.tolist() == [[1.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{_line(arrival=5)}\n{_line(arrival=4)}", "line 2, arrival: goes back in time from 5"),
        (_line(batch=6), "line 1, job_type: is not in the table of throughputs on 1 GPUs"),
        (_line(steps="nan"), "line 1, total_steps: must be a number"),
        (_line(gpus=-1), "line 1, scale_factor: must be a number"),
        (_line(arrival="soon"), "line 1, arrival: must be a number"),
        ("a\tb", "line 1: must have 10 or 12 cells, got 2"),
        ("nothing of the kind", "is no trace that Apportion knows"),
        (_WIDE.format(steps=9, mode="wild"), "line 1, mode: must be one of static, accordion, gns"),
        (_WIDE.format(steps=9, mode="accordion"), ""),
    ],
    ids=["back", "model", "nan", "gpus", "text", "cells", "format", "mode", "accordion"],
)
def test_faults_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = _write(tmp_path, text)
    if not said:
        assert read_trace(path).scaling[0] is not None
        return
    with pytest.raises(InstanceError) as caught:
        read_trace(path)
    assert said in str(caught.value)


@pytest.mark.parametrize("rate", [float("nan"), -1.0, "fast", None, True])
def test_bad_throughputs_are_named(tmp_path: Path, rate: object) -> None:
    path = _write(tmp_path, _line(), {"v100": {"('LM (batch size 5)', 1)": {"null": rate}}})
    with pytest.raises(InstanceError, match="must be a throughput of at least 0"):
        read_trace(path)


def test_a_table_that_is_none(tmp_path: Path) -> None:
    for number, text in enumerate(("[]", "{", '{"v100": {"LM": {"null": 1}}}', '{"v100": 3}')):
        path = tmp_path / f"{number}.json"
        path.write_text(text)
        with pytest.raises(InstanceError):
            ThroughputTable.read(path)
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    lonely = tmp_path / "deep" / "deeper" / "x.trace"
    lonely.write_text(_line())
    with pytest.raises(InstanceError, match="has no table of throughputs beside it"):
        read_trace(lonely)


def test_deadlines_of_chronus(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text(f"{_CHRONUS}7,u,4,20,9,resnet,30,8,50,10,0,strict\n3,u,0,10,9,resnet,0,8,50,10,1,best\n")
    trace = read_trace(path)
    assert trace.jobs == ("3", "7")
    assert trace.arrival_s.tolist() == [600.0, 1200.0]
    assert trace.deadline_s.tolist() == [np.inf, 4200.0]
    assert trace.num_gpus.tolist() == [0, 4]


def test_the_philly_log(tmp_path: Path) -> None:
    path = tmp_path / "philly.csv"
    path.write_text(f"{_PHILLY}2017-09-04 10:00:10,60,2,120,vc\n2017-09-04 10:00:00,5,1,5,vc\n")
    trace = read_trace(path)
    assert trace.arrival_s.tolist() == [0.0, 10.0]
    path.write_text(f"{_PHILLY}yesterday,60,2,120,vc\n")
    with pytest.raises(InstanceError, match="line 2, timestamp: must be a time"):
        read_trace(path)


def test_generated_lists_need_a_rate(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "job_id,model,scale_factor,total_steps,v100_seconds,unit_interarrival\n0,LM (batch size 5),1,9,1,0.5\n",
    )
    assert read_trace(path, rate_per_hour=2.0).arrival_s.tolist() == [900.0]
    with pytest.raises(OptionError, match="--rate"):
        read_trace(path)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_broken_files_end_in_named_errors(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("broken")
    sound = data.draw(
        st.sampled_from(
            [
                f"{_line()}\n{_line(10, 200, 1, 30)}\n",
                _WIDE.format(steps=90, mode="gns"),
                f"{_CHRONUS}7,u,4,20,9,resnet,30,8,50,10,0,strict\n",
                f"{_PHILLY}2017-09-04 10:00:10,60,2,120,vc\n",
            ]
        )
    )
    place = data.draw(st.integers(0, len(sound)))
    text = sound[:place] + data.draw(st.text(max_size=6)) + sound[data.draw(st.integers(place, len(sound))) :]
    path = _write(folder, "")
    path.write_text(text, encoding="utf-8")
    try:
        trace = read_trace(path)
    except InstanceError:
        return
    assert (np.diff(trace.arrival_s) >= 0).all()


def test_traces_are_checked() -> None:
    one = np.ones(2)
    with pytest.raises(InstanceError, match="goes back in time"):
        JobTrace("x", ("a",), ("1", "2"), np.array([1.0, 0.0]), one, np.ones(2, np.int64), np.ones((2, 1)))
    with pytest.raises(InstanceError, match="throughput"):
        JobTrace("x", ("a",), ("1", "2"), one, one, np.ones(2, np.int64), np.full((2, 1), np.nan))
    with pytest.raises(InstanceError, match="repeats"):
        JobTrace("x", ("a",), ("1", "1"), one, one, np.ones(2, np.int64), np.ones((2, 1)))


@pytest.mark.parametrize("text", ["", "v100", "v100:x", "v100:-1", "v100:1,v100:2", ":3", "v100:99999999999"])
def test_fleets_that_are_none(text: str) -> None:
    with pytest.raises(OptionError):
        Fleet.parse(text)


def test_fleets_grow_by_their_types() -> None:
    fleet = Fleet.parse("v100:2,k80:1")
    assert fleet.adding("k80:3").num_gpus == (2, 4)
    with pytest.raises(OptionError, match="Maybe one of v100, k80"):
        fleet.adding("a100:1")


def test_batches_double_at_measured_epochs() -> None:
    assert gns_batches("LM", 5, 1, 20) == [5] * 20
    assert gns_batches("LM", 10, 1, 60)[10:12] == [10, 20]
    assert max(gns_batches("LM", 10, 1, 60)) == 80
    assert gns_batches("Transformer", 16, 1, 50) == [16] * 50


def test_rescaling_keeps_the_epochs() -> None:
    job = ScalingJob("Recommendation", 4096, "gns", 1, {4096: (1.0,), 8192: (1.0,)})
    total, done = job.rescaled(3500, 300, 4096, 8192)
    assert job.epochs(total, 8192) == job.epochs(3500, 4096)
    assert job.epochs(done, 8192) == job.epochs(300, 4096)


def test_generated_traces_repeat() -> None:
    first, second = generate_trace(seed=4, jobs=9), generate_trace(seed=4, jobs=9)
    assert first.steps.tolist() == second.steps.tolist()
    with pytest.raises(OptionError):
        generate_trace(jobs=0)


@pytest.mark.data
def test_real_traces_have_their_published_sizes() -> None:
    table = data_file("gpu/gavel/physical_cluster_throughputs.json.gz")
    sizes = {
        "gpu/gavel/traces/minimize_makespan.trace": 100,
        "gpu/gavel/traces/max_min_fairness.trace": 96,
        "gpu/chronus/trace_job_Philly_SLO.csv.gz": 30940,
    }
    for name, size in sizes.items():
        assert read_trace(data_file(name), table).num_jobs == size
