from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from face.shell import environment, run, tiny

FORBIDDEN = ("ortools", "pyomo", "numba", "torch", "pandas", "matplotlib", "numpy", "pydantic", "altair", "highspy")


def _imported(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "apportion", *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    return {m.group(1).strip() for m in re.finditer(r"^import time:.*\|([^|]+)$", done.stderr, re.MULTILINE)}


@pytest.mark.parametrize("arguments", [("--help",), ("solve", "--help"), ("--version",)])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    loaded = _imported(*arguments)
    assert "cyclopts" in loaded
    assert not [name for name in FORBIDDEN if name in loaded]


def _cpu_s(*arguments: str, folder: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "apportion", *arguments]
    subprocess.run(command, cwd=folder, env=environment(), capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_cheap(tmp_path: Path) -> None:
    assert min(_cpu_s("--help", folder=tmp_path) for _ in range(5)) < 0.3


def test_a_tiny_instance_is_cheap(tmp_path: Path) -> None:
    tiny(tmp_path)
    assert min(_cpu_s("solve", "tiny.mps", "--out", "results", folder=tmp_path) for _ in range(2)) < 2.0
    assert (tmp_path / "results/tiny.plan.json").exists()


def test_help_names_every_command(tmp_path: Path) -> None:
    answer = run("--help", folder=tmp_path)
    assert answer.code == 0
    for command in ("solve", "check", "show", "convert", "generate", "doctor", "bench", "plot"):
        assert re.search(rf"\b{command}\b", answer.out)
