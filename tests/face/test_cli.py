from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from apportion.cli import main
from apportion.solvers.registry import METHODS
from face import fake_methods
from face.shell import DRIVER, OPTIMUM, environment, run, tiny

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _methods(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = METHODS["mixed-integer-program"]
    misbehaving = {name: f"face.fake_methods:{name}" for name in fake_methods.NAMES}
    monkeypatch.setitem(METHODS, "mixed-integer-program", {**known, **misbehaving})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("APPORTION_DEBUG", raising=False)


def _solve(*arguments: str | Path) -> int:
    return main(["solve", *map(str, arguments)])


# Exit codes, each caused by the real thing


def test_a_checked_plan_is_zero(tmp_path: Path, capsys: Capture) -> None:
    assert _solve(tiny(tmp_path)) == 0
    out, err = capsys.readouterr()
    envelope = json.loads(out)
    assert envelope["problem"] == "mixed-integer-program"
    assert envelope["plan"]["values"] == {"x": 1.0, "y": 1.0}
    for line in ("sha256", "highspy", "seed 0", "threads 1", "status      optimal", "objective   9", "maximise"):
        assert line in err
    assert "time" in err
    assert "gap" in err
    assert "the plan keeps every rule" in err


def test_no_plan_within_the_limits_is_one(tmp_path: Path, capsys: Capture) -> None:
    assert _solve(tiny(tmp_path), "--method", "nothing") == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["solve"], "FILES"),
        (["solve", "tiny.mps", "--tme-limit", "3"], "tme-limit"),
        (["solvee", "tiny.mps"], "solve"),
        (["solve", "tiny.mps", "--gap", "much"], "gap"),
        (["solve", "tiny.mps", "--time-limit", "-1"], "time_limit_s"),
        (["solve", "tiny.mps", "--backend", "gurobi"], "backend"),
        (["solve", "tiny.mps", "--method", "magic"], "magic"),
        (["solve", "tiny.mps", "--format", "magic"], "magic"),
        (["solve", "tiny.mps", "--shard", "3/2"], "--shard"),
        (["solve", "tiny.mps", "--jobs", "0"], "--jobs"),
        (["solve", "tiny.mps", "--resume"], "--out"),
        (["solve", "tiny.mps", "--out", "tiny.mps/x"], "folder"),
        (["solve", "*.nothing"], "matches no file"),
        (["solve", "empty"], "known format"),
        (["solve", "tiny.mps", "other.mps", "--out", "plan.json"], "one plan"),
        (["solve", "-", "tiny.mps"], "standard input"),
        (["convert", "tiny.mps", "tiny.vrp"], "mps"),
        (["generate", "travelling-circus"], "travelling-circus"),
        (["generate", "mixed-integer-program", "--size", "rows"], "name=value"),
        (["generate", "mixed-integer-program", "--size", "nonsense=3"], "nonsense"),
        (["plot", "empty"], "ledger"),
        (["plot", "nowhere"], "not a folder"),
        (["show", "plan.sol"], "instance before"),
        (["bench", "no-such-suite"], "no-such-suite"),
    ],
)
def test_usage_is_two(arguments: list[str], said: str, tmp_path: Path, capsys: Capture) -> None:
    tiny(tmp_path)
    tiny(tmp_path, "other")
    (tmp_path / "empty").mkdir()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_infeasible_is_three(tmp_path: Path) -> None:
    assert _solve(tiny(tmp_path, right=-5)) == 3


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe\x00", b"\x1f\x8b\x08broken", b"NAME x\nROWS\n N"])
def test_a_bad_file_is_four(content: bytes, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "bad.mps"
    path.write_bytes(content)
    assert _solve(path) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert "bad.mps" in err
    assert "Traceback" not in err


def test_a_missing_file_is_four(capsys: Capture) -> None:
    assert _solve("nowhere.mps") == 4
    assert "No such file" in capsys.readouterr().err


def test_a_missing_backend_is_five(tmp_path: Path, capsys: Capture) -> None:
    assert _solve(tiny(tmp_path), "--method", "missing") == 5
    assert "Maybe pip install gone" in capsys.readouterr().err


def test_what_a_backend_cannot_express_is_five(tmp_path: Path, capsys: Capture) -> None:
    path = tiny(tmp_path)
    path.write_text(path.read_text().replace("    M1", "    q         cost 1 r1 1\n    M1"))
    assert _solve(path, "--backend", "cp-sat") == 5
    assert "Maybe" in capsys.readouterr().err


def test_a_plan_that_fails_the_check_is_six_and_never_shipped(tmp_path: Path, capsys: Capture) -> None:
    assert _solve(tiny(tmp_path), "--method", "wrong", "--out", "results") == 6
    assert "row r1: off by 1" in capsys.readouterr().err
    assert not (tmp_path / "results/tiny.plan.json").exists()
    assert (tmp_path / "results/tiny.rejected.json").exists()


def test_a_bug_is_seventy_in_one_line(tmp_path: Path, capsys: Capture) -> None:
    assert _solve(tiny(tmp_path), "--method", "boom", "--out", "results", "--quiet") == 70
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "ZeroDivisionError" in err
    where = Path(err.split("the traceback is in ")[1].strip())
    assert "a bug" in where.read_text()


def test_a_bug_in_a_command_is_seventy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("apportion.instances.reading.read", broken)
    assert main(["show", str(tiny(tmp_path))]) == 70
    err = capsys.readouterr().err
    where = Path(err.split("the traceback is in ")[1].strip())
    assert "KeyError" in where.read_text()
    where.unlink()


def test_debug_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setenv("APPORTION_DEBUG", "1")
    monkeypatch.setattr("apportion.instances.reading.read", broken)
    with pytest.raises(KeyError, match="a bug"):
        main(["show", str(tiny(tmp_path))])


def test_ctrl_c_is_130_and_writes_the_incumbent(tmp_path: Path) -> None:
    tiny(tmp_path)
    answer = run("solve", "tiny.mps", "--method", "interrupts", folder=tmp_path)
    assert answer.code == 130
    assert json.loads(answer.out)["plan"] == {"values": {}}
    assert "feasible (interrupted)" in answer.err


# Streams and files


def test_standard_input_and_output(tmp_path: Path) -> None:
    path = tiny(tmp_path)
    answer = run("solve", "-", "--format", "mps", "--out", "-", "--quiet", folder=tmp_path, text=path.read_text())
    assert (answer.code, answer.err) == (0, "")
    checked = run("check", "tiny.mps", "-", folder=tmp_path, text=answer.out)
    assert checked.code == 0
    assert "ok: the plan keeps every rule" in checked.out


def test_gzip_in_and_out(tmp_path: Path) -> None:
    packed = tmp_path / "packed.mps.gz"
    packed.write_bytes(gzip.compress(tiny(tmp_path).read_bytes()))
    assert _solve(packed, "--out", "plan.json.gz") == 0
    assert json.loads(gzip.decompress((tmp_path / "plan.json.gz").read_bytes()))["instance"] == "packed"
    assert main(["check", str(packed), "plan.json.gz"]) == 0


def test_a_plan_in_the_solution_file_of_the_field(tmp_path: Path, capsys: Capture) -> None:
    path = tiny(tmp_path)
    assert _solve(path, "--out", "plan.sol") == 0
    assert main(["check", str(path), "plan.sol"]) == 0
    assert f"objective   {OPTIMUM:g} (maximise)" in capsys.readouterr().out
    assert main(["convert", str(path), "again.sol", "--plan", "plan.sol"]) == 0
    assert (tmp_path / "again.sol").read_text() == (tmp_path / "plan.sol").read_text()


def test_a_suffix_that_cannot_hold_the_plan_is_refused_before_any_work(tmp_path: Path, capsys: Capture) -> None:
    assert main(["generate", "unit-commitment", "--out", "units.json"]) == 0
    assert _solve("units.json", "--out", "plan.sol") == 2
    assert "Maybe a .json file" in capsys.readouterr().err


def test_a_folder_gets_plan_ledger_summary_and_picture(tmp_path: Path, capsys: Capture) -> None:
    assert _solve(tiny(tmp_path), "--out", "results") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split()[:3] == ["instance", "problem", "status"]
    assert out[1].split()[:4] == ["tiny", "mixed-integer-program", "optimal", "9"]
    names = {p.relative_to(tmp_path / "results").as_posix() for p in (tmp_path / "results").rglob("*") if p.is_file()}
    expected = {"tiny.plan.json", "tiny.sol", "ledger.jsonl", "summary.csv", "summary.json", "pictures/tiny.vl.json"}
    assert names == expected
    record = json.loads((tmp_path / "results/summary.json").read_text())[0]
    assert record["objective"] == record["bound"] == OPTIMUM
    assert record["check"] == "ok"


def test_files_have_the_usual_rights(tmp_path: Path) -> None:
    previous = os.umask(0o022)
    try:
        _solve(tiny(tmp_path), "--out", "results")
    finally:
        os.umask(previous)
    assert (tmp_path / "results/tiny.plan.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("method", ["nothing", "wrong", "boom", "missing"])
def test_a_failed_run_leaves_older_plans_as_they_are(method: str, tmp_path: Path) -> None:
    path = tiny(tmp_path)
    assert _solve(path, "--out", "results") == 0
    before = {name: (tmp_path / "results" / name).read_bytes() for name in ("tiny.plan.json", "tiny.sol")}
    assert _solve(path, "--out", "results", "--method", method) != 0
    assert {name: (tmp_path / "results" / name).read_bytes() for name in before} == before


def test_a_bad_file_leaves_the_named_plan_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("precious")
    (tmp_path / "bad.mps").write_text("garbage")
    assert _solve("bad.mps", "--out", "plan.json") == 4
    assert (tmp_path / "plan.json").read_text() == "precious"


def test_events_are_json_lines(tmp_path: Path) -> None:
    assert _solve(tiny(tmp_path), "--events", "events.jsonl", "--out", "plan.json") == 0
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["start", "end"]
    assert {event["instance"] for event in events} == {"tiny"}
    assert float(events[0]["primal"]) == float("-inf")
    assert events[-1]["primal"] == events[-1]["dual"] == OPTIMUM
    times = [event["time_s"] for event in events]
    assert times == sorted(times)


def test_a_start_is_used_and_a_bad_one_is_named(tmp_path: Path, capsys: Capture) -> None:
    path = tiny(tmp_path)
    start = {"problem": "mixed-integer-program", "instance": "tiny", "plan": {"values": {"x": 1.0, "y": 1.0, "z": 1.0}}}
    (tmp_path / "start.json").write_text(json.dumps(start))
    assert _solve(path, "--start", "start.json") == 0
    assert "the start is rejected: row upper side at row r1" in capsys.readouterr().err


def test_the_log_names_the_flags_that_differ(tmp_path: Path, capsys: Capture) -> None:
    _solve(tiny(tmp_path), "--seed", "3", "--gap", "0.01", "--deterministic")
    err = capsys.readouterr().err
    assert "--gap 0.01 --seed 3 --deterministic" not in err.splitlines()[0]
    assert "flags" in err
    assert "--seed 3" in err
    assert "--deterministic" in err


def test_only_verbose_shows_the_solvers_own_log(tmp_path: Path, capsys: Capture) -> None:
    path = tiny(tmp_path)
    _solve(path)
    assert "Coefficient ranges" not in capsys.readouterr().err
    _solve(path, "--verbose")
    assert "highs: Coefficient ranges" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    tiny(tmp_path)
    command = f"{sys.executable} {DRIVER} show {' '.join(['tiny.mps'] * 2000)} | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, env=environment(), check=True)
    assert done.stdout.decode().startswith("name")
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


# The other commands


def test_check_names_every_violation_and_amount(tmp_path: Path, capsys: Capture) -> None:
    path = tiny(tmp_path)
    plan = {"problem": "mixed-integer-program", "instance": "tiny", "plan": {"values": {"x": 1.0, "y": 1.5}}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert main(["check", str(path), "plan.json"]) == 6
    out = capsys.readouterr().out
    assert "violations" in out
    assert "row upper side at row r1: off by 1.5" in out
    assert main(["check", str(path), "plan.json", "--json"]) == 6
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["ok"] is False
    assert len(verdict["violations"]) >= 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"problem": "mixed-integer-program"}', '{"problem": 3, "plan": {}}', '{"plan": []}']
)
def test_a_bad_plan_is_four(text: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "plan.json").write_text(text)
    assert main(["check", str(tiny(tmp_path)), "plan.json"]) == 4
    assert "plan.json" in capsys.readouterr().err


def test_show_an_instance_and_its_plan(tmp_path: Path, capsys: Capture) -> None:
    path = tiny(tmp_path)
    _solve(path, "--out", "results")
    capsys.readouterr()
    assert main(["show", str(path), "results/tiny.plan.json"]) == 0
    out = capsys.readouterr().out
    assert "integer columns     3" in out
    assert "objective   9 (maximise)" in out


def test_explain_names_what_cannot_hold_together(tmp_path: Path, capsys: Capture) -> None:
    assert main(["explain", str(tiny(tmp_path, right=-5.0)), "--time-limit", "10"]) == 0
    said = capsys.readouterr().out
    assert "infeasible" in said
    assert "r1" in said


def test_explain_a_plan_that_breaks_a_rule(tmp_path: Path, capsys: Capture) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"problem": "mixed-integer-program", "plan": {"values": {"x": 2}}}')
    assert main(["explain", str(tiny(tmp_path)), str(plan), "--time-limit", "10"]) == 0
    assert "breaks rules" in capsys.readouterr().out


def test_check_certifies_a_program_and_refuses_the_rest(tmp_path: Path, capsys: Capture) -> None:
    instance, plan = tiny(tmp_path), tmp_path / "plan.json"
    assert main(["solve", str(instance), "--out", str(plan), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["check", str(instance), str(plan), "--certify"]) == 0
    assert "feasible in exact arithmetic, objective 9" in capsys.readouterr().out
    routes, served = tmp_path / "a.vrp", tmp_path / "a.json"
    assert main(["generate", "vehicle-routing", "--size", "clients=5", "--out", str(routes)]) == 0
    assert main(["solve", str(routes), "--time-limit", "1", "--out", str(served), "--quiet"]) == 0
    assert main(["check", str(routes), str(served), "--certify"]) == 2
    assert "--certify is for programs" in capsys.readouterr().err


def test_convert_keeps_the_optimum(tmp_path: Path) -> None:
    assert main(["convert", str(tiny(tmp_path)), "tiny.lp"]) == 0
    assert _solve("tiny.lp", "--out", "results") == 0
    assert json.loads((tmp_path / "results/summary.json").read_text())[0]["objective"] == OPTIMUM


@pytest.mark.parametrize("problem", ["cluster-placement", "vehicle-routing", "unit-commitment"])
def test_generate_same_seed_same_bytes_and_show(problem: str, capsys: Capture) -> None:
    def generated(seed: int) -> str:
        assert main(["generate", problem, "--seed", str(seed)]) == 0
        return capsys.readouterr().out

    first = generated(3)
    assert generated(3) == first
    assert generated(4) != first
    assert len(first) > 100


def test_generate_takes_sizes(tmp_path: Path, capsys: Capture) -> None:
    assert main(["generate", "vehicle-routing", "--size", "clients=7", "--out", "seven.vrp"]) == 0
    assert main(["show", "seven.vrp"]) == 0
    assert "clients" in capsys.readouterr().out


def test_doctor_is_well(capsys: Capture) -> None:
    code = main(["doctor"])
    out = capsys.readouterr().out
    assert code == 0, out
    assert out.count("objective 9") == 3


def test_doctor_compiles_the_kernels(capsys: Capture) -> None:
    assert main(["doctor", "--compile"]) == 0
    said = capsys.readouterr().out
    assert "ok   kernels of cluster-placement" in said
    assert "ok   kernels of vehicle-routing" in said


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("APPORTION_DATA", "/nowhere")
    assert main(["doctor"]) == 5
    assert "BAD  data" in capsys.readouterr().out


def test_bench_passes_its_flags_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture) -> None:
    seen: dict[str, object] = {}

    def fake(suite: str, *, on_row: Callable[[object], None], **flags: object) -> list[object]:
        seen.update(flags, suite=suite)
        return []

    monkeypatch.setattr("apportion.bench.run_suite", fake)
    flags = ["--only", "api", "--against", "pyomo, linopy", "--quick", "--json", "rows.json"]
    assert main(["bench", "build", *flags]) == 0
    expected = {"suite": "build", "against": ["pyomo", "linopy"], "quick": True, "json_file": Path("rows.json")}
    assert {**expected, "only": ["api"], "limit_s": None, "data": None} == seen


def test_no_stream_needs_unicode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    path = tiny(tmp_path, "été")
    assert main(["show", str(path)]) == 0
