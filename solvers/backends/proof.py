"""Whether the bounds of a solver agree when it says optimal."""

from __future__ import annotations

from apportion.solvers.status import Bounds, Limit, Status

_ABSOLUTE = 1e-6
_RELATIVE = 1e-6


def settle(status: Status, limit: Limit | None, bounds: Bounds, gap: float) -> tuple[Status, Limit | None]:
    """Keep ``OPTIMAL`` only when the bounds are within ``gap``, or within rounding of each other.

    A solver told by a native setting to stop at a wider gap still calls that optimal; here it is ``FEASIBLE``.
    """
    if status is not Status.OPTIMAL or bounds.gap <= gap + _RELATIVE:
        return status, limit
    if abs(bounds.primal - bounds.dual) <= _ABSOLUTE:
        return status, limit
    return Status.FEASIBLE, Limit.OTHER
