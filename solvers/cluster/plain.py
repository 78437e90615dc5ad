"""Methods for plain placements refuse the others."""

from __future__ import annotations

from apportion.instances.cluster import ClusterPlacement
from apportion.instances.errors import CapabilityError


def require_plain(instance: ClusterPlacement, method: str) -> None:
    """Refuse rules beyond fitting.

    Raises
    ------
    CapabilityError
        When ``instance`` has gangs, quotas or other rules that ``method`` does not know.
    """
    if not instance.is_plain:
        message = f"{instance.name} has gangs, quotas or other rules that {method} does not know"
        raise CapabilityError(f"{message}\nMaybe the default method, best-fit or cp-sat")
