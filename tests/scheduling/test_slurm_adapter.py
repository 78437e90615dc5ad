"""The adapter against commands that only pretend, with every way in which they fail."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from apportion.scheduling.live import Action, AdapterError, OutcomeStatus, Verb
from apportion.scheduling.slurm import SlurmAdapter
from apportion.scheduling.slurm.commands import CommandFailed, CommandTimeout, Programs

RECORDED = Path(__file__).parent / "recorded"


class Pretending:
    """Answers queries from the recording, and orders as ``answer`` says."""

    def __init__(self, answer: Callable[[Sequence[str]], str] = lambda _: "") -> None:
        self.calls: list[list[str]] = []
        self._answer = answer
        self.jobs = (RECORDED / "squeue-22.05.json").read_text(encoding="utf-8")
        self.nodes = (RECORDED / "sinfo-22.05.json").read_text(encoding="utf-8")

    def run(self, arguments: Sequence[str]) -> str:
        self.calls.append(list(arguments))
        said = self._answer(arguments)
        if said or arguments[0] == "scontrol":
            return said
        return self.jobs if arguments[0] == "squeue" else self.nodes

    @property
    def orders(self) -> list[list[str]]:
        return [call[1:] for call in self.calls if call[0] == "scontrol" and call[1] != "-o"]


def start(job: str, *nodes: str) -> Action:
    return Action(Verb.START, job, 0, nodes, text="Starts: here")


def test_observe_asks_twice_and_now_and_then_for_partitions() -> None:
    commands = Pretending()
    adapter = SlurmAdapter(commands)
    state = adapter.observe()
    assert len(state.nodes) == 6
    adapter.observe()
    assert [call[0] for call in commands.calls] == ["squeue", "sinfo", "scontrol", "squeue", "sinfo"]


def test_newer_versions_are_asked_for_nodes_in_another_way() -> None:
    commands = Pretending(lambda a: nodes if a[:3] == ["scontrol", "show", "nodes"] else "")
    nodes, commands.nodes = commands.nodes, json.dumps({"sinfo": []})
    assert len(SlurmAdapter(commands).observe().nodes) == 6


@pytest.mark.parametrize("answer", ["not json", "[]", '{"jobs": 3}'])
def test_answers_that_make_no_sense(answer: str) -> None:
    commands = Pretending()
    commands.jobs = answer
    with pytest.raises(AdapterError):
        SlurmAdapter(commands).observe()


@pytest.mark.parametrize("error", [CommandTimeout("late"), CommandFailed("Unable to contact slurm controller")])
def test_a_controller_that_does_not_answer(error: Exception) -> None:
    def fail(_: Sequence[str]) -> str:
        raise error

    with pytest.raises(AdapterError, match=str(error)):
        SlurmAdapter(Pretending(fail)).observe()


def test_a_start_says_the_nodes_and_then_releases() -> None:
    commands = Pretending()
    adapter = SlurmAdapter(commands)
    adapter.observe()
    outcomes = adapter.act([start("1", "a100-1", "a100-2"), start("3", "v100-1")])
    assert [outcome.status for outcome in outcomes] == [OutcomeStatus.DONE] * 2
    assert sorted(commands.orders[:2]) == [
        ["update", "JobId=1", "ReqNodeList=a100-1,a100-2", "Comment= || Starts: here"],
        ["update", "JobId=3", "ReqNodeList=v100-1", "Comment=x || Starts: here"],
    ]
    assert commands.orders[2:] == [["release", "1,3"]]


def test_what_slurm_does_not_take_is_not_released() -> None:
    def refuse(arguments: Sequence[str]) -> str:
        if "JobId=2" in arguments:
            raise CommandFailed("Job is no longer pending execution for job 2")
        if arguments[1] == "release":
            raise CommandFailed("Invalid job id specified for job 3")
        return ""

    commands = Pretending(refuse)
    outcomes = SlurmAdapter(commands).act([start("1", "a"), start("2", "a"), start("3", "a")])
    assert [outcome.status.value for outcome in outcomes] == ["done", "refused", "refused"]
    assert ["release", "1,3"] in commands.orders


def test_an_order_without_an_answer_is_unknown() -> None:
    def late(arguments: Sequence[str]) -> str:
        if arguments[1] == "release":
            raise CommandTimeout("scontrol did not answer within 10 s")
        return ""

    outcomes = SlurmAdapter(Pretending(late)).act([start("1", "a"), Action(Verb.PREEMPT, "9", 0)])
    assert [outcome.status.value for outcome in outcomes] == ["unknown", "done"]


def test_other_orders_and_reasons_for_many_jobs_at_once() -> None:
    commands = Pretending()
    adapter = SlurmAdapter(commands)
    actions = [Action(Verb.EXPLAIN, str(job), 0, text="InsufficientFree: 0 are free") for job in range(450)]
    actions += [Action(Verb.PREEMPT, "500", 0), Action(Verb.WITHDRAW, "501", 0), Action(Verb.WITHDRAW, "502", 0)]
    outcomes = adapter.act(actions)
    assert [outcome.action for outcome in outcomes] == actions
    assert commands.orders[:2] == [["requeuehold", "500"], ["hold", "501,502"]]
    assert len(commands.orders) == 5


def test_the_words_of_a_jobs_owner_stay() -> None:
    commands = Pretending()
    document = json.loads(commands.jobs)
    document["jobs"][0]["comment"] = "apportion seconds=a100:5 || Planned: later"
    commands.jobs = json.dumps(document)
    adapter = SlurmAdapter(commands)
    adapter.observe()
    adapter.act([Action(Verb.EXPLAIN, str(document["jobs"][0]["job_id"]), 0, text="Fragmented:\n no")])
    assert commands.orders[-1][-1] == "Comment=apportion seconds=a100:5 || Fragmented: no"


def test_hand_back_releases_what_waits() -> None:
    commands = Pretending()
    document: dict[str, Any] = json.loads(commands.jobs)
    for job in document["jobs"]:
        job["admin_comment"] = "apportion"
    commands.jobs = json.dumps(document)
    outcomes = SlurmAdapter(commands).hand_back()
    waiting = [str(job["job_id"]) for job in document["jobs"] if job["job_state"] == "PENDING"]
    assert [outcome.action.job for outcome in outcomes] == sorted(waiting)
    assert commands.orders[-1] == ["release", ",".join(sorted(waiting))]


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    def make(body: str) -> str:
        file = tmp_path / "program"
        file.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        return str(file)

    return make


def test_real_programs(program: Callable[[str], str], tmp_path: Path) -> None:
    assert Programs(tmp_path / "slurm.conf").run([program("echo $SLURM_CONF")]).strip() == str(tmp_path / "slurm.conf")
    with pytest.raises(CommandFailed, match="no such job"):
        Programs().run([program("echo no such job >&2; exit 1")])
    with pytest.raises(CommandFailed, match="exit code 3"):
        Programs().run([program("exit 3")])
    with pytest.raises(CommandTimeout, match="within"):
        Programs(timeout_s=0.2).run([program("exec sleep 60")])
    with pytest.raises(CommandFailed, match="No such file"):
        Programs().run([str(tmp_path / "absent")])
