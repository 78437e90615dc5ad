from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from apportion.ledger import rows_in
from face.shell import OPTIMUM, run, start, tiny

Json = dict[str, Any]


def _records(folder: Path) -> dict[str, Json]:
    listed = json.loads((folder / "results/summary.json").read_text())
    return {record["instance"]: record for record in listed}


def _wait_for(condition: Any, seconds: float = 40.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.05)


def test_a_batch_outlives_everything_that_goes_wrong_in_it(tmp_path: Path) -> None:
    """A good, a bad, an infeasible instance, bugs, crashes and a hang: each has its row, the others their plans."""
    inside = tmp_path / "in"
    names = ["good", "segfault-1", "segfault_at_once-1", "overrun-1", "anytime-1", "wrong-1", "boom-1", "nothing-1"]
    for name in names:
        tiny(inside, name)
    tiny(inside, "infeasible", right=-5)
    (inside / "bad.mps").write_text("garbage")
    (inside / "notes.txt").write_text("no instance")
    flags = ("--method", "mixed", "--time-limit", "2", "--hard-limit", "5", "--out", "results")
    answer = run("solve", "in", *flags, "--events", "events.jsonl", folder=tmp_path)
    assert answer.code == 70, answer.err
    assert "Traceback" not in answer.err
    records = _records(tmp_path)
    codes = {name: record["exit_code"] for name, record in records.items()}
    assert codes == {
        "good": 0,
        "anytime-1": 0,
        "nothing-1": 1,
        "overrun-1": 1,
        "infeasible": 3,
        "bad": 4,
        "wrong-1": 6,
        "boom-1": 70,
        "segfault-1": 70,
        "segfault_at_once-1": 70,
    }
    assert "hard limit of 5 s" in records["overrun-1"]["reason"]
    assert "SIGSEGV" in records["segfault-1"]["reason"]
    assert "ZeroDivisionError" in records["boom-1"]["reason"]
    assert "line 1" in records["bad"]["reason"]
    assert records["good"]["objective"] == OPTIMUM
    assert records["anytime-1"]["limit"] == "time"
    for name in ("good", "anytime-1"):
        assert (tmp_path / f"results/{name}.plan.json").exists()
    assert len(answer.out.splitlines()) == 1 + len(records)
    assert len(rows_in(tmp_path / "results")) == len(records)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert {event["instance"] for event in events} >= {"good", "anytime-1", "infeasible"}
    page = (tmp_path / "results/index.html").read_text()
    assert all(name in page for name in records)


def test_resume_does_the_rest_after_kill_9(tmp_path: Path) -> None:
    for name in ("first", "last"):
        tiny(tmp_path / "in", name)
    (tmp_path / "now").touch()
    flags = ("--method", "picky", "--jobs", "1", "--out", "results", "--no-page")
    assert run("solve", "in", *flags, folder=tmp_path).code == -signal.SIGKILL
    ledger = tmp_path / "results/ledger.jsonl"
    assert [row.name for row in rows_in(tmp_path / "results").values()] == ["first"]
    with ledger.open("ab") as stream:
        stream.write(b'{"name": "last", "key": "torn')
    (tmp_path / "now").unlink()
    before = (tmp_path / "results/first.plan.json").stat().st_mtime_ns
    answer = run("solve", "in", *flags, "--resume", folder=tmp_path)
    assert answer.code == 0, answer.err
    assert "1 of them already in the ledger" in answer.err
    assert (tmp_path / "results/first.plan.json").stat().st_mtime_ns == before
    assert [row.name for row in rows_in(tmp_path / "results").values()] == ["first", "last"]
    assert [record["check"] for record in _records(tmp_path).values()] == ["ok", "ok"]
    again = run("solve", "in", *flags, "--resume", folder=tmp_path)
    assert "2 of them already in the ledger" in again.err
    changed = run("solve", "in", *flags, "--resume", "--seed", "1", folder=tmp_path)
    assert "already in the ledger" not in changed.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_writes_incumbents(number: signal.Signals, code: int, tmp_path: Path) -> None:
    for k in range(4):
        tiny(tmp_path / "in", f"anytime-{k}")
    flags = ("--method", "mixed", "--jobs", "2", "--out", "results", "--events", "events.jsonl", "--no-page")
    process = start("solve", "in", *flags, folder=tmp_path)
    events = tmp_path / "events.jsonl"
    _wait_for(lambda: events.exists() and events.read_text().count('"incumbent"') == 2)
    os.killpg(process.pid, number)  # as a terminal and as Slurm do: everybody is told
    assert process.wait(20) == code
    records = _records(tmp_path)
    limits = [record["limit"] for record in records.values()]
    assert limits == ["interrupted", "interrupted", None, None]
    assert [record["check"] for record in records.values()] == ["ok", "ok", None, None]
    assert "before it began" in records["anytime-3"]["reason"]
    assert (tmp_path / "results/anytime-0.plan.json").exists()
    assert b"Traceback" not in (tmp_path / "err.txt").read_bytes()
    assert not any(row.is_final for row in rows_in(tmp_path / "results").values())


def test_the_second_signal_kills_workers_too(tmp_path: Path) -> None:
    for k in range(2):
        tiny(tmp_path / "in", f"overrun-{k}")
    flags = ("--method", "mixed", "--jobs", "2", "--out", "results", "--events", "events.jsonl", "--no-page")
    process = start("solve", "in", *flags, folder=tmp_path)
    events = tmp_path / "events.jsonl"
    _wait_for(lambda: events.exists() and events.read_text().count('"start"') == 2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.8)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT
    _wait_for(lambda: not _session(process.pid), 10)


def _session(leader: int) -> list[str]:
    listed = subprocess.run(["ps", "-s", str(leader), "-o", "pid=,stat="], capture_output=True, text=True, check=False)
    return [line for line in listed.stdout.splitlines() if not line.split()[1].startswith("Z")]


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    tiny(tmp_path / "in", "anytime-1")
    tiny(tmp_path / "in", "anytime-2")
    flags = ("--method", "mixed", "--out", "results", "--events", "events.jsonl", "--no-page")
    process = start("solve", "in", *flags, folder=tmp_path)
    events = tmp_path / "events.jsonl"
    _wait_for(lambda: events.exists() and events.read_text().count('"incumbent"') >= 1)
    process.kill()
    process.wait(10)
    _wait_for(lambda: not _session(process.pid), 20)


def test_shards_share_the_work_and_resume_knows_all(tmp_path: Path) -> None:
    for k in range(3):
        tiny(tmp_path / "in", f"good-{k}")
    for shard in ("1/2", "2/2"):
        assert run("solve", "in", "--shard", shard, "--out", "results", folder=tmp_path).code == 0
    shards = [json.loads((tmp_path / f"results/summary.{k}of2.json").read_text()) for k in (1, 2)]
    assert [[record["instance"] for record in shard] for shard in shards] == [["good-0", "good-2"], ["good-1"]]
    answer = run("solve", "in", "--resume", "--out", "results", "--no-page", folder=tmp_path)
    assert "3 of them already in the ledger" in answer.err
    assert set(_records(tmp_path)) == {"good-0", "good-1", "good-2"}


def test_one_instance_with_a_hard_limit_is_killed_too(tmp_path: Path) -> None:
    tiny(tmp_path)
    answer = run("solve", "tiny.mps", "--method", "overrun", "--hard-limit", "2", folder=tmp_path)
    assert answer.code == 1
    assert "hard limit of 2 s" in answer.err
    assert answer.out == ""


def test_an_instance_that_asks_for_too_much_memory_gets_a_row(tmp_path: Path) -> None:
    tiny(tmp_path)
    answer = run("solve", "tiny.mps", "--method", "hungry", "--memory-limit", "2", folder=tmp_path)
    assert answer.code == 1, answer.err
    assert "ran out of memory" in answer.err
