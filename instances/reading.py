"""From a file to an instance: the suffix and the content pick the format."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from apportion.instances.core import Instance
from apportion.instances.errors import Fault, InstanceError, OptionError
from apportion.instances.files import read_text, stem, write_text
from apportion.instances.formats import FORMATS, Format

_HEAD = 4096


@dataclass(frozen=True)
class Source:
    """Where a text came from. ``companions`` are further files that a format needs, by role (``nodes``)."""

    path: Path
    companions: Mapping[str, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What to call the instance."""
        return stem(self.path)


def read(path: str | Path, format: str | None = None, **companions: str | Path) -> Instance:  # noqa: A002
    """Read an instance file.

    Parameters
    ----------
    path
        A file, gzip or not; ``-`` is standard input.
    format
        The name of a format (see :data:`~apportion.instances.formats.FORMATS`); by default suffix and content tell.
    **companions
        Further files by role, such as ``nodes="node_list.csv"`` beside a list of pods.

    Raises
    ------
    InstanceError
        With every fault found, its place, value and way out.
    """
    where = Path(path)
    text = read_text(where)
    chosen = format_named(format) if format else _detect(where, text)
    source = Source(where, {role: Path(file) for role, file in companions.items()})
    module = importlib.import_module(chosen.module)
    return cast("Instance", module.parse(text, source))


def write(instance: Instance, path: str | Path, format: str | None = None) -> None:  # noqa: A002
    """Write an instance in a format that its problem has; by default the suffix of ``path`` tells."""
    where = Path(path)
    fitting = [f for f in FORMATS if f.problem == instance.problem and f.writes]
    if format:
        fitting = [f for f in fitting if f.name == format]
    else:
        fitting = [f for f in fitting if _suffix(where) in f.suffixes] or fitting[:1]
    if not fitting:
        raise OptionError(f"{instance.problem} cannot be written as {format or _suffix(where)!r}")
    module = importlib.import_module(fitting[0].module)
    write_text(where, cast("str", module.render(instance)))


def format_named(name: str) -> Format:
    """Return the format called ``name``."""
    for candidate in FORMATS:
        if candidate.name == name:
            return candidate
    raise OptionError(f"unknown format {name!r}\nMaybe one of {', '.join(f.name for f in FORMATS)}")


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _detect(path: Path, text: str) -> Format:
    head = text[:_HEAD]
    suffix = _suffix(path)
    if not text.strip():
        raise InstanceError(str(path), [Fault("", "is empty")])
    by_content = [f for f in FORMATS if (not suffix or suffix in f.suffixes) and f.sniff(head)]
    by_content = by_content or [f for f in FORMATS if f.sniff(head)]
    by_suffix = [f for f in FORMATS if suffix in f.suffixes]
    found = by_content or (by_suffix if len(by_suffix) == 1 else [])
    if not found:
        hint = f"name it with --format: {', '.join(f.name for f in FORMATS)}"
        raise InstanceError(str(path), [Fault("", "is in no format that Apportion knows", suffix, hint)])
    return found[0]
