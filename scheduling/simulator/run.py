"""One call for every policy: in rounds, or as a queue when its name begins with ``queue-``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from apportion.instances.errors import OptionError
from apportion.instances.trace import Fleet, JobTrace
from apportion.scheduling.policies import SCHEDULERS, scheduler_named
from apportion.scheduling.simulator.failures import Failure
from apportion.scheduling.simulator.queues import QUEUE_RULES, simulate_queue
from apportion.scheduling.simulator.record import Simulation
from apportion.scheduling.simulator.rounds import GAVEL, RoundRules, simulate_rounds

QUEUE_PREFIX = "queue-"


def policy_names() -> tuple[str, ...]:
    """Every name that :func:`simulate` knows."""
    return (*SCHEDULERS, *(QUEUE_PREFIX + name for name in QUEUE_RULES))


def simulate(
    trace: JobTrace,
    fleet: Fleet,
    policy: str,
    rules: RoundRules = GAVEL,
    *,
    failures: Sequence[Failure] = (),
    quotas: Mapping[str, int] | None = None,
) -> Simulation:
    """Simulate a policy by its name.

    Parameters
    ----------
    trace, fleet
        The jobs and the GPUs.
    policy
        One of :func:`policy_names`.
    rules
        The rounds; a queue has none and takes the cost of a restart and the end from them.
    failures
        When which GPUs are down.
    quotas
        Kind of job -> the most GPUs that jobs of it may hold at once.

    Examples
    --------
    >>> from apportion.instances.generate.trace import generate_trace
    >>> trace = generate_trace(seed=1, jobs=8)
    >>> outcome = simulate(trace, Fleet.parse("v100:4,k80:4"), "queue-srtf")
    >>> int(outcome.finished.sum())
    8
    """
    unknown = [kind for kind in quotas or {} if kind not in trace.kinds]
    if unknown:
        known = ", ".join(list(dict.fromkeys(trace.kinds))[:8]) or "none"
        raise OptionError(f"{trace.name} has no job of kind {unknown[0]!r}\nMaybe one of {known}")
    if policy.startswith(QUEUE_PREFIX) and policy.removeprefix(QUEUE_PREFIX) in QUEUE_RULES:
        rule = policy.removeprefix(QUEUE_PREFIX)
        found = simulate_queue(
            trace, fleet, rule, restart_s=rules.restart_s, until_s=rules.until_s, failures=failures, quotas=quotas
        )
        return replace(found, policy=policy)
    if policy not in SCHEDULERS:
        raise OptionError(f"unknown policy {policy!r}\nMaybe one of {', '.join(policy_names())}")
    scheduler = scheduler_named(policy, rules)
    return simulate_rounds(trace, fleet, scheduler, rules, name=policy, failures=failures, quotas=quotas)
