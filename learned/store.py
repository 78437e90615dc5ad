"""Trained weights on disk: one safetensors file that carries its own model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from apportion.instances.errors import Fault, InstanceError

VERSION = 1
_KEY = "apportion"


@dataclass(frozen=True)
class Card:
    """What weights are, and what is known of them.

    Parameters
    ----------
    advisor
        What they advise on: ``"start"``.
    family
        The instances they were trained on, and with which sizes.
    command
        What makes them again.
    data
        How many instances, how they were solved, how they were split.
    metrics
        Measured on instances that were not trained on.
    calibration
        Temperature, and the two columns of the isotonic step function from raw to calibrated probability.
    settings
        Sizes of the net, and how the advice is made from its numbers.
    limits
        What the weights are not for.
    """

    advisor: str
    family: str
    command: str
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    limits: str = ""

    def to_text(self) -> str:
        """The card as a page for people, in Markdown."""
        parts = [f"# {self.family}: {self.advisor}", "", self.limits, "", f"Made by `{self.command}`."]
        for title in ("data", "metrics", "calibration", "settings"):
            rows = getattr(self, title)
            if rows:
                parts += ["", f"## {title.capitalize()}", "", "| what | value |", "|---|---|"]
                parts += [f"| {name} | {_shown(value)} |" for name, value in rows.items()]
        return "\n".join(parts) + "\n"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, eq=False)
class Trained:
    """Weights by name, and their card."""

    card: Card
    arrays: Mapping[str, np.ndarray]

    def save(self, path: Path | str) -> None:
        """Write one file."""
        text = json.dumps({"version": VERSION, **asdict(self.card)}, sort_keys=True)
        save_file({name: np.ascontiguousarray(value) for name, value in self.arrays.items()}, path, {_KEY: text})

    @classmethod
    def load(cls, path: Path | str, advisor: str | None = None) -> Self:
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        path
            The file.
        advisor
            What it has to advise on; None takes any.

        Raises
        ------
        InstanceError
            When the file is missing, damaged, of another version, or advises on something else.
        """
        source = str(path)
        try:
            with safe_open(source, framework="numpy") as stored:
                text = (stored.metadata() or {}).get(_KEY)
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, OSError, ValueError) as error:
            raise InstanceError(source, [Fault("file", f"holds no weights: {error}")]) from error
        card = _card(source, text)
        if advisor is not None and card.advisor != advisor:
            raise InstanceError(source, [Fault("advisor", f"is {card.advisor!r}, not {advisor!r}")])
        return cls(card, arrays)


def _card(source: str, text: str | None) -> Card:
    if text is None:
        raise InstanceError(source, [Fault("card", "is missing: these are no weights of this package")])
    try:
        fields = json.loads(text)
        version = fields.pop("version", None)
        card = Card(**fields)
    except (ValueError, TypeError, AttributeError) as error:
        raise InstanceError(source, [Fault("card", f"cannot be read: {error}")]) from error
    if version != VERSION:
        raise InstanceError(source, [Fault("version", f"is {version!r}, this package reads {VERSION}")])
    return card
