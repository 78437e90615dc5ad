"""Collect every fault of an input before raising once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from apportion.instances.errors import Fault, InstanceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

_MOST_PER_FIELD = 5


class FaultList:
    """A list of faults that is raised as one error.

    >>> faults = FaultList("tiny")
    >>> faults.require(3 <= 2, "capacity", "must be at least 3", 2, "raise it")
    >>> faults.raise_if_any()
    Traceback (most recent call last):
    ...
    apportion.instances.errors.InstanceError: tiny: 1 fault
      capacity: must be at least 3, got 2
        Maybe raise it
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.faults: list[Fault] = []

    def add(self, place: str, message: str, value: object = None, hint: str = "") -> None:
        """Record a fault."""
        self.faults.append(Fault(place, message, value, hint))

    def require(self, holds: bool, place: str, message: str, value: object = None, hint: str = "") -> None:
        """Record a fault unless ``holds``."""
        if not holds:
            self.add(place, message, value, hint)

    def array(
        self,
        name: str,
        value: ArrayLike,
        *,
        shape: tuple[int, ...] | None = None,
        lower: float = -np.inf,
        upper: float = np.inf,
        dtype: type = np.float64,
        allow_infinite: bool = False,
    ) -> NDArray[np.generic]:
        """Return ``value`` as a read-only array of ``shape``; record what is not finite or out of bounds."""
        try:
            array: NDArray[np.generic] = np.array(value, dtype=dtype)
        except (TypeError, ValueError, OverflowError) as error:
            self.add(name, f"must be an array of {np.dtype(dtype).name} ({error})")
            return np.zeros(shape or (0,), dtype=dtype)
        if shape is not None and array.shape != shape:
            self.add(name, f"must have shape {shape}", array.shape)
            return np.zeros(shape, dtype=dtype)
        self._entries(name, array, lower, upper, allow_infinite)
        array.setflags(write=False)
        return array

    def _entries(self, name: str, array: NDArray[np.generic], lower: float, upper: float, allow_infinite: bool) -> None:
        numbers = array.astype(np.float64, copy=False)
        bad = np.isnan(numbers) if allow_infinite else ~np.isfinite(numbers)
        message = "must be a number" if allow_infinite else "must be a finite number"
        self._some(name, array, bad, message)
        self._some(name, array, ~bad & (numbers < lower), f"must be at least {lower:g}")
        self._some(name, array, ~bad & (numbers > upper), f"must be at most {upper:g}")

    def _some(self, name: str, array: NDArray[np.generic], bad: NDArray[np.bool_], message: str) -> None:
        if not bad.any():
            return
        where = np.argwhere(bad)
        for index in where[:_MOST_PER_FIELD]:
            position = ",".join(str(i) for i in index)
            self.add(f"{name}[{position}]" if position else name, message, array[tuple(index)].item())
        if len(where) > _MOST_PER_FIELD:
            self.add(name, f"{len(where) - _MOST_PER_FIELD} more entries: {message}")

    def unique(self, name: str, identifiers: Iterable[str]) -> None:
        """Record every identifier that appears twice."""
        seen: dict[str, int] = {}
        for position, identifier in enumerate(identifiers):
            if identifier in seen:
                self.add(f"{name}[{position}]", f"repeats the identifier of {name}[{seen[identifier]}]", identifier)
            else:
                seen[identifier] = position

    def raise_if_any(self) -> None:
        """Raise one :class:`InstanceError` with all that was recorded."""
        if self.faults:
            raise InstanceError(self.source, self.faults)
