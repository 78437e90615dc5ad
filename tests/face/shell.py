"""Run the command line as a user does, in a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DRIVER = Path(__file__).with_name("fake_driver.py")

TINY = """NAME {name}
OBJSENSE
    MAX
ROWS
 N cost
 L r1
 L r2
COLUMNS
    M1        'MARKER'                 'INTORG'
 x cost 5 r1 2
 x r2 3
 y cost 4 r1 3
 y r2 4
 z cost 3 r1 1
 z r2 2
    M2        'MARKER'                 'INTEND'
RHS
 RHS r1 {right} r2 8
BOUNDS
 UP BND x 1
 UP BND y 1
 UP BND z 1
ENDATA
"""
"""Its optimum is 9: x and y."""

OPTIMUM = 9.0


def tiny(folder: Path, name: str = "tiny", right: float = 5.0) -> Path:
    """Write the program above; infeasible when ``right`` is negative."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.mps"
    path.write_text(TINY.format(name=name, right=right))
    return path


@dataclass(frozen=True)
class Answer:
    """What a process said and what it cost."""

    code: int
    out: str
    err: str
    cpu_s: float


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the tests without what would change the output."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("APPORTION_DEBUG", "FORCE_COLOR"))}
    return {**kept, **(extra or {})}


def run(
    *arguments: str | Path, folder: Path, text: str | bytes = b"", extra: Mapping[str, str] | None = None
) -> Answer:
    """Run ``apportion`` with the misbehaving methods in ``folder`` and wait for it."""
    before = _children_s()
    done = subprocess.run(
        [sys.executable, str(DRIVER), *map(str, arguments)],
        cwd=folder,
        input=text.encode() if isinstance(text, str) else text,
        capture_output=True,
        env=environment(extra),
        timeout=120,
        check=False,
    )
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode(), _children_s() - before)


def start(*arguments: str | Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start ``apportion`` in a session of its own; its output goes to ``out.txt`` and ``err.txt``."""
    with (folder / "out.txt").open("wb") as out, (folder / "err.txt").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, str(DRIVER), *map(str, arguments)],
            cwd=folder,
            stdout=out,
            stderr=err,
            env=environment(),
            start_new_session=True,
        )


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
