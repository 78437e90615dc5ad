"""``apportion train``: from solved instances to weights with a card."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from apportion.instances.errors import BackendMissingError, OptionError
from apportion.instances.generate.branching_programs import FAMILIES, branching_program
from apportion.instances.generate.series import SERIES, series_program
from apportion.instances.program import MixedIntegerProgram
from apportion.instances.reading import read
from apportion.solvers.options import SolveOptions
from apportion.tasks import expand

ADVISORS = ("start", "configuration")
_FIRST_SEED = 1_000_000
"""Training draws its seeds from here: small seeds stay unseen."""


def train(
    source: str,
    out: Path,
    advisor: str,
    *,
    instances: int,
    sizes: Mapping[str, Any],
    work: Path | None,
    time_limit_s: float,
    gap: float,
    settings: Mapping[str, Any],
    quiet: bool,
) -> str:
    """Generate or read, solve, train, write ``out`` and its card beside it; returns the card.

    Raises
    ------
    OptionError
        For an unknown advisor or family, and when there is too little to learn from.
    BackendMissingError
        Without torch.
    """
    if advisor not in ADVISORS:
        raise OptionError(f"nothing trains an advisor {advisor!r}\nMaybe one of {', '.join(ADVISORS)}")
    if advisor == "start" and find_spec("torch") is None:
        raise BackendMissingError("training a net needs torch\nMaybe pip install 'apportion[learn]'")

    def say(line: str) -> None:
        if not quiet:
            sys.stderr.write(f"{line}\n")

    programs = _programs(source, instances, sizes)
    folder = work if work is not None else out.with_suffix(".samples")
    command = _command(source, advisor, instances, sizes, time_limit_s, gap, settings)
    family = f"{source} {dict(sizes)}" if sizes else Path(source).name
    options = SolveOptions(time_limit_s=time_limit_s, gap=gap)
    if advisor == "configuration":
        from apportion.learned.training.configuration import train_configuration

        trained = train_configuration(programs, family, command, folder, options, say)
    else:
        from apportion.learned.training.collect import collect
        from apportion.learned.training.start import TrainSettings, train_start

        trained = train_start(collect(programs, folder, options, say), family, command, TrainSettings(**settings), say)
    out.parent.mkdir(parents=True, exist_ok=True)
    trained.save(out)
    card = trained.card.to_text()
    out.with_suffix(".md").write_text(card, encoding="utf-8")
    return card


def _programs(source: str, instances: int, sizes: Mapping[str, Any]) -> list[MixedIntegerProgram]:
    seeds = range(_FIRST_SEED, _FIRST_SEED + instances)
    if source in SERIES:
        return [series_program(source, seed, **sizes) for seed in seeds]
    if source in FAMILIES:
        return [branching_program(source, seed, **sizes) for seed in seeds]
    if not Path(source).exists():
        known = ", ".join((*SERIES, *FAMILIES))
        raise OptionError(f"{source!r} is no family of programs and no folder\nMaybe one of {known}")
    programs = [read(path) for path in expand([source])]
    others = [program.name for program in programs if not isinstance(program, MixedIntegerProgram)]
    if others:
        raise OptionError(f"{others[0]!r} is no program: only programs (MPS, LP) can be learned from files")
    return [program for program in programs if isinstance(program, MixedIntegerProgram)]


def _command(
    source: str,
    advisor: str,
    instances: int,
    sizes: Mapping[str, Any],
    time_limit_s: float,
    gap: float,
    settings: Mapping[str, Any],
) -> str:
    parts = ["apportion", "train", source if source in SERIES or source in FAMILIES else Path(source).name]
    parts += ["--advisor", advisor, "--instances", str(instances)]
    parts += [word for name, value in sizes.items() for word in ("--size", f"{name}={value}")]
    parts += ["--time-limit", f"{time_limit_s:g}", "--gap", f"{gap:g}"]
    for name, value in settings.items():
        parts += [f"--{name}"] if value is True else [f"--{name}", str(value)] if value is not False else []
    return shlex.join(parts)
