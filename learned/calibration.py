"""Probabilities that mean what they say: a temperature, then an isotonic step function."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from apportion.learned.graphs import Floats

_STEPS = 64
_LEAST_FOR_STEPS = 500
_TEMPERATURES = np.geomspace(0.5, 5.0, 41)
_CLEAR = 1e-6


@dataclass(frozen=True)
class Calibration:
    """From raw numbers of a net to probabilities of the value 1.

    Parameters
    ----------
    temperature
        The raw number is divided by it (Guo, Pleiss, Sun, Weinberger 2017).
    steps, levels
        A non-decreasing function, linear between ``steps`` (probabilities after the temperature); empty: none.

    Examples
    --------
    >>> import numpy as np
    >>> Calibration(2.0).probabilities(np.array([0.0, 4.0])).round(3).tolist()
    [0.5, 0.881]
    """

    temperature: float = 1.0
    steps: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()

    def probabilities(self, logits: Floats) -> Floats:
        """The calibrated probability of each."""
        raw = _sigmoid(np.asarray(logits, np.float64) / self.temperature)
        if not self.steps:
            return raw
        return np.asarray(np.interp(raw, self.steps, self.levels), np.float64)

    @classmethod
    def fitted(cls, logits: Floats, labels: Floats) -> Self:
        """Fit on numbers and labels (0 or 1) that were not trained on, shape (k,) each.

        Few labels give a temperature alone.
        """
        temperature = float(min(_TEMPERATURES, key=lambda value: log_loss(_sigmoid(logits / value), labels)))
        if len(labels) < _LEAST_FOR_STEPS:
            return cls(temperature)
        return cls(temperature, *_isotonic(_sigmoid(logits / temperature), labels))

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"temperature": self.temperature, "steps": list(self.steps), "levels": list(self.levels)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """What :meth:`to_dict` gave; ValueError when it is none."""
        temperature = float(plain.get("temperature", 1.0))
        steps, levels = (tuple(float(x) for x in plain.get(name, ())) for name in ("steps", "levels"))
        rising = all(b >= a for part in (steps, levels) for a, b in pairwise(part))
        inside = all(0.0 <= value <= 1.0 for value in (*steps, *levels))
        if not temperature > 0.0 or len(steps) != len(levels) or not rising or not inside:
            raise ValueError("calibration needs a positive temperature and a rising function between 0 and 1")
        return cls(temperature, steps, levels)


def log_loss(probabilities: Floats, labels: Floats) -> float:
    """The mean negative log-likelihood."""
    clipped = np.clip(probabilities, _CLEAR, 1.0 - _CLEAR)
    return float(-(labels * np.log(clipped) + (1.0 - labels) * np.log(1.0 - clipped)).mean())


def calibration_error(probabilities: Floats, labels: Floats, bins: int = 15) -> float:
    """The expected calibration error over bins of equal width."""
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    gaps = np.abs(np.bincount(place, probabilities - labels, minlength=bins))
    return float(gaps.sum() / max(1, counts.sum()))


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)), np.float64)


def _isotonic(raw: Floats, labels: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Pool adjacent violators (Barlow et al. 1972) over at most 64 groups of neighbours, kept away from 0 and 1.

    Each group counts one success and one failure more than it saw, shared by the rule of succession.
    """
    order = np.argsort(raw, kind="stable")
    groups = [group for group in np.array_split(order, min(_STEPS, max(1, len(order) // 50))) if len(group)]
    blocks: list[list[float]] = []
    for group in groups:
        blocks.append([float(raw[group].mean()) * len(group), float(labels[group].sum()), float(len(group))])
        while len(blocks) > 1 and blocks[-2][1] / blocks[-2][2] >= blocks[-1][1] / blocks[-1][2]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    steps = tuple(place / size for place, _, size in blocks)
    levels = tuple((ones + 0.5) / (size + 1.0) for _, ones, size in blocks)
    return steps, tuple(np.maximum.accumulate(levels).tolist())
