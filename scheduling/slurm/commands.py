"""Run Slurm's own programs, each within a time limit."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PROGRAMS = ("squeue", "sinfo", "scontrol")


class CommandFailed(RuntimeError):  # noqa: N818 (it says what happened)
    """A program ended with an error: it had no effect, or one that its words describe."""


class CommandTimeout(RuntimeError):  # noqa: N818
    """A program did not end in time: what it asked for may happen or not."""


class Commands(Protocol):
    """Runs a program; tests put their own in its place."""

    def run(self, arguments: Sequence[str]) -> str:
        """Its standard output.

        Raises
        ------
        CommandFailed
            With what it wrote.
        CommandTimeout
            When it did not end in time.
        """
        ...


@dataclass(frozen=True)
class Programs:
    """The real programs.

    Parameters
    ----------
    config
        The slurm.conf; Slurm's own place when None.
    timeout_s
        For one program; killed after it.
    """

    config: Path | None = None
    timeout_s: float = 10.0

    def run(self, arguments: Sequence[str]) -> str:
        """See :class:`Commands`."""
        environment = dict(os.environ) if self.config is None else {**os.environ, "SLURM_CONF": str(self.config)}
        try:
            done = subprocess.run(
                list(arguments),
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout_s,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandTimeout(f"{arguments[0]} did not answer within {self.timeout_s:g} s") from error
        except OSError as error:
            raise CommandFailed(f"{arguments[0]}: {error.strerror}") from error
        if done.returncode != 0:
            words = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
            raise CommandFailed(words)
        return done.stdout


def missing_programs() -> list[str]:
    """Which of Slurm's programs are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]
