"""What earlier solves of the same structure say: yesterday's values by column, and which days were alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

import numpy as np
from numpy.typing import NDArray

from apportion.instances.errors import Fault, InstanceError
from apportion.instances.program import MixedIntegerProgram
from apportion.learned.graphs import Floats, Usual

Digest = NDArray[np.uint8]
_SKETCH = 64
_CHUNK = 4096
_MEMBERS = ("memory.values", "memory.sketches", "memory.structure")


def structure_of(program: MixedIntegerProgram) -> Digest:
    """What programs of one structure share: the digest of their shape, names, integrality and places of entries."""
    shape = np.array([program.num_columns, program.num_rows], np.int64)
    digest = sha256("\n".join(program.column_names).encode())
    for part in (shape, program.integer, program.matrix.starts, program.matrix.rows):
        digest.update(part.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def sketch_of(program: MixedIntegerProgram) -> Floats:
    """All numbers of a day in 64, by a fixed random projection: near days have near sketches, shape (64,).

    Johnson and Lindenstrauss (1984). The matrix takes part where its entries change from day to day.
    """
    parts = (program.cost, program.row_lower, program.row_upper, program.lower, program.upper, program.matrix.values)
    numbers = np.concatenate([np.clip(np.nan_to_num(part, posinf=0.0, neginf=0.0), -1e9, 1e9) for part in parts])
    random, total = np.random.default_rng(len(numbers)), np.zeros(_SKETCH)
    for first in range(0, len(numbers), _CHUNK):
        piece = numbers[first : first + _CHUNK]
        total += piece @ random.choice((-1.0, 1.0), (len(piece), _SKETCH))
    return np.asarray(total / np.sqrt(_SKETCH), np.float64)


@dataclass(frozen=True, eq=False)
class Memory:
    """Solved days of one structure.

    Parameters
    ----------
    values
        Shape (days, k): the best values of the integer columns, in their order.
    sketches
        Shape (days, 64): :func:`sketch_of` each day.
    structure
        :func:`structure_of` all of them.
    """

    values: Floats
    sketches: Floats
    structure: Digest

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of(cls, programs: Sequence[MixedIntegerProgram], solutions: Sequence[Floats]) -> Self:
        """Remember ``programs`` with their best values, shape (n,) each.

        Raises
        ------
        InstanceError
            When there is none, or two of them differ in structure.
        """
        if not programs:
            raise InstanceError("memory", [Fault("programs", "there is none to remember")])
        structure = structure_of(programs[0])
        others = [p.name for p in programs if not np.array_equal(structure_of(p), structure)]
        if others:
            raise InstanceError(
                "memory", [Fault(name, f"differs in structure from {programs[0].name}") for name in others]
            )
        integer = programs[0].integer
        values = np.array([solution[integer] for solution in solutions])
        return cls(values, np.array([sketch_of(program) for program in programs]), structure)

    def knows(self, program: MixedIntegerProgram) -> bool:
        """Whether ``program`` has the structure that is remembered."""
        return bool(np.array_equal(structure_of(program), self.structure))

    def nearest(self, program: MixedIntegerProgram, most: int, without: int = -1) -> np.ndarray:
        """The days whose numbers are nearest to those of ``program``, at most ``most``, leaving one out."""
        distances = np.linalg.norm(self.sketches - sketch_of(program), axis=1)
        if 0 <= without < len(self):
            distances[without] = np.inf
        order = np.argsort(distances, kind="stable")
        return np.asarray(order[np.isfinite(distances[order])][:most], np.int64)

    def usual(self, program: MixedIntegerProgram, without: int = -1) -> Usual:
        """What the days say of every column; nothing of the continuous ones."""
        days = [day for day in range(len(self)) if day != without]
        unknown = Usual.unknown(program.num_columns)
        if not days:
            return unknown
        mean, last = unknown.mean.copy(), unknown.last.copy()
        certainty = unknown.certainty.copy()
        kept = self.values[days]
        mean[program.integer] = kept.mean(0)
        certainty[program.integer] = 1.0 - np.minimum(1.0, 2.0 * kept.std(0))
        last[program.integer] = self.values[self.nearest(program, 1, without)[0]]
        return Usual(mean, certainty, last)

    def arrays(self) -> dict[str, np.ndarray]:
        """The memory by name, to be stored beside weights."""
        return dict(zip(_MEMBERS, (self.values.astype(np.float32), self.sketches, self.structure), strict=True))

    @classmethod
    def stored(cls, arrays: Mapping[str, np.ndarray], source: str) -> Self:
        """What :meth:`arrays` gave.

        Raises
        ------
        InstanceError
            When a part is missing or the parts do not fit each other.
        """
        missing = [Fault(name, "is missing") for name in _MEMBERS if name not in arrays]
        if missing:
            raise InstanceError(source, missing)
        values, sketches = (np.asarray(arrays[name], np.float64) for name in _MEMBERS[:2])
        structure = np.asarray(arrays[_MEMBERS[2]], np.uint8)
        fits = values.ndim == 2 and sketches.shape == (len(values), _SKETCH) and structure.shape == (32,)
        if not fits or not len(values) or not all(np.isfinite(part).all() for part in (values, sketches)):
            raise InstanceError(source, [Fault("memory", "does not fit together or holds values that are not finite")])
        return cls(values, sketches, structure)
