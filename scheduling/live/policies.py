"""The live policies by name."""

from __future__ import annotations

from apportion.instances.errors import OptionError
from apportion.scheduling.live.deciding import LivePolicy
from apportion.scheduling.live.planning import CompletionPolicy
from apportion.scheduling.live.rules import PlacementPolicy, RoundPolicy
from apportion.scheduling.policies import SCHEDULERS
from apportion.solvers.online.policy import RULES

DEFAULT_POLICY = "completion"
_PLANS = {"completion": True, "completion-greedy": False}


def live_policy_names() -> tuple[str, ...]:
    """Every name that :func:`live_policy` knows."""
    return (*_PLANS, *RULES, *SCHEDULERS)


def live_policy(
    name: str = DEFAULT_POLICY,
    *,
    preempt: bool = False,
    ahead_s: float = 0.0,
    overhead_s: float = 0.0,
    seed: int = 0,
) -> LivePolicy:
    """A fresh policy.

    Parameters
    ----------
    name
        ``completion`` plans all jobs for the least mean completion time, ``completion-greedy`` does so in one pass; a
        rule of online placement places jobs by priority and arrival; a scheduler of the simulator decides in rounds.
    preempt
        Whether preemptible jobs of lower priority give way; only the completion policies do that.
    ahead_s, overhead_s
        See :class:`~apportion.scheduling.live.planning.CompletionPolicy`; other policies do not look ahead.
    seed
        Of everything random.

    Examples
    --------
    >>> live_policy("completion-greedy").search
    False
    """
    if name in _PLANS:
        return CompletionPolicy(search=_PLANS[name], preempt=preempt, ahead_s=ahead_s, overhead_s=overhead_s, seed=seed)
    if preempt:
        raise OptionError(f"policy {name!r} does not preempt\nMaybe one of {', '.join(_PLANS)}")
    if name in RULES:
        return PlacementPolicy(name, seed)
    if name in SCHEDULERS:
        return RoundPolicy(name)
    raise OptionError(f"unknown policy {name!r}\nMaybe one of {', '.join(live_policy_names())}")
