"""Throughputs measured per model, number of GPUs and GPU type, as Gavel and Shockwave keep them in JSON.

``{gpu type: {"('model', GPUs)": {"null": steps/s alone, "('other', GPUs)": [steps/s of both when they share]}}}``
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from apportion.instances.errors import Fault, InstanceError
from apportion.instances.files import read_text
from apportion.instances.validation import FaultList

_KEY = re.compile(r"\A\('(.*)', (\d{1,6})\)\Z")
_MOST_FAULTS = 20

Key = tuple[str, int]


@dataclass(frozen=True)
class ThroughputTable:
    """Steps a second by (model, GPUs), one entry for each of ``types``; 0 where a model cannot run."""

    types: tuple[str, ...]
    alone: Mapping[Key, tuple[float, ...]]
    shared: Mapping[tuple[Key, Key], tuple[tuple[float, float], ...]]

    @classmethod
    def read(cls, path: Path) -> ThroughputTable:
        """Read a file.

        Raises
        ------
        InstanceError
            When it is not such a table; a throughput that is negative, NaN or no number is named.
        """
        try:
            data = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise InstanceError(str(path), [Fault("", f"is not JSON: {error}")]) from error
        faults = FaultList(str(path))
        table = cls._of(data, faults)
        faults.raise_if_any()
        return table

    @classmethod
    def _of(cls, data: object, faults: FaultList) -> ThroughputTable:
        if not isinstance(data, dict) or not data or not all(isinstance(rows, dict) for rows in data.values()):
            faults.add("", "must be a JSON object of GPU types, each an object of models")
            return cls((), {}, {})
        types = tuple(str(name) for name in data)
        alone: dict[Key, list[float]] = {}
        shared: dict[tuple[Key, Key], list[tuple[float, float]]] = {}
        for column, (name, rows) in enumerate(data.items()):
            for text, cells in rows.items():
                key = _key(text, name, faults)
                if key is None or not isinstance(cells, dict):
                    faults.require(isinstance(cells, dict), f"{name}.{text}", "must be an object", cells)
                    continue
                alone.setdefault(key, [0.0] * len(types))[column] = _rate(cells.get("null"), f"{name}.{text}", faults)
                for other, pair in cells.items():
                    if other != "null" and (partner := _key(other, name, faults)) is not None:
                        both = shared.setdefault((key, partner), [(0.0, 0.0)] * len(types))
                        both[column] = _pair(pair, f"{name}.{text}.{other}", faults)
                if len(faults.faults) >= _MOST_FAULTS:
                    return cls((), {}, {})
        return cls(
            types,
            {key: tuple(rates) for key, rates in alone.items()},
            {key: tuple(pairs) for key, pairs in shared.items()},
        )

    def onto(self, types: tuple[str, ...]) -> ThroughputTable:
        """The columns of some types."""
        places = [self.types.index(name) for name in types]
        return ThroughputTable(
            types,
            {key: tuple(rates[p] for p in places) for key, rates in self.alone.items()},
            {key: tuple(pairs[p] for p in places) for key, pairs in self.shared.items()},
        )

    @property
    def plain_types(self) -> tuple[str, ...]:
        """The types whose throughputs hold for GPUs of one node."""
        return tuple(name for name in self.types if not name.endswith("_unconsolidated"))


def _key(text: str, place: str, faults: FaultList) -> Key | None:
    match = _KEY.match(text)
    if match is None:
        faults.add(place, "must name a model and its GPUs as ('model', 1)", text)
        return None
    return match[1], int(match[2])


def _rate(value: object, place: str, faults: FaultList) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        faults.add(place, "must be a throughput of at least 0 steps a second", value)
        return 0.0
    return float(value)


def _pair(value: object, place: str, faults: FaultList) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        faults.add(place, "must be two throughputs", value)
        return 0.0, 0.0
    return _rate(value[0], place, faults), _rate(value[1], place, faults)
