"""Named blocks of a model, and how they turn into columns, rows and names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apportion.instances.errors import ModelError
from apportion.instances.program import Floats, Ints
from apportion.models.algebra.expressions import LinearExpression
from apportion.models.algebra.terms import Positions

_NAME_FORBIDDEN = "[]\n\r\t"


class Variables(LinearExpression):
    """A named block of variables; as an expression, each element is one variable.

    ``name``, ``first`` (its first column), ``lower``, ``upper`` and ``integer`` (arrays of its shape, or
    read-only broadcasts of scalars) describe it. ``element_names`` is empty unless they came from elsewhere.
    """

    name: str
    first: int
    lower: Floats
    upper: Floats
    integer: NDArray[np.bool_]
    element_names: tuple[str, ...]

    @property
    def last(self) -> int:
        """One past its last column."""
        return self.first + self.size


@dataclass(frozen=True, eq=False)
class Constraints:
    """A named block of rows: ``lower <= row <= upper`` for each element of ``shape``.

    The rows hold runs of (``columns``, ``coefficients``), ``counts[i]`` of them for row ``i`` in C order.
    """

    name: str
    shape: tuple[int, ...]
    first: int
    lower: Floats
    upper: Floats
    counts: Positions
    columns: Ints
    coefficients: Floats
    element_names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many rows there are."""
        return len(self.counts)

    @property
    def last(self) -> int:
        """One past its last row."""
        return self.first + self.size

    @property
    def rows(self) -> Ints:
        """The row numbers, in the shape of the block."""
        return np.arange(self.first, self.last, dtype=np.int32).reshape(self.shape)


def element_names(block: Variables | Constraints) -> list[str]:
    """``commit[0,0]``, ``commit[0,1]``, ...; the block's own name when it is a scalar.

    A block that was read from elsewhere keeps the names it came with.
    """
    if block.element_names:
        return list(block.element_names)
    if not block.shape:
        return [block.name]
    return [f"{block.name}[{','.join(index)}]" for index in product(*([str(i) for i in range(n)] for n in block.shape))]


def distinct_names(blocks: Sequence[Variables] | Sequence[Constraints], kind: str) -> tuple[str, ...]:
    """The names of all elements; a name brought from elsewhere must not meet a block's own."""
    names = tuple(name for block in blocks for name in element_names(block))
    if len(set(names)) < len(names) and any(block.element_names for block in blocks):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ModelError(f"{kind} {twice!r}: two have that name\nMaybe another name for the block that was added")
    return names


def checked_name(name: str, taken: object, kind: str) -> str:
    """Return ``name`` or raise because it is taken, empty or holds a character that names of elements need."""
    if not isinstance(name, str) or not name or any(c in _NAME_FORBIDDEN for c in name):
        raise ModelError(f"{kind} {name!r}: a block's name is a text without brackets, tabs and line ends")
    if name in taken:  # type: ignore[operator]
        raise ModelError(f"{kind} {name!r}: there is a block of that name already")
    return name


def checked_bound(value: ArrayLike, shape: tuple[int, ...], where: str, forbidden: float) -> Floats:
    """``value`` broadcast to ``shape``; NaN and the infinity that no bound can be are errors at ``where``."""
    try:
        array = np.array(value, dtype=np.float64)  # a copy: the caller may go on writing into the original
    except (TypeError, ValueError) as error:
        raise ModelError(f"{where}: must be numbers, got {type(value).__name__}") from error
    require_numbers(np.isnan(array), array, where)
    require_numbers(array == forbidden, array, where)
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise ModelError(f"{where}: shape {array.shape} does not broadcast to {shape}") from error


def checked_flags(value: ArrayLike, shape: tuple[int, ...], where: str) -> NDArray[np.bool_]:
    """``value`` as truth values broadcast to ``shape``."""
    array = np.array(value)
    if array.dtype != np.bool_:
        raise ModelError(f"{where}: must be True, False or an array of them, got {array.dtype}")
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise ModelError(f"{where}: shape {array.shape} does not broadcast to {shape}") from error


def require_numbers(bad: NDArray[np.bool_], array: Floats, where: str) -> None:
    """Raise at the first entry of ``array`` that is ``bad``."""
    if np.any(bad):
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        index = f"[{','.join(map(str, place))}]" if place else ""
        raise ModelError(f"{where}{index}: must be a number that makes sense there, got {array[place]}")
