"""Why jobs of a fleet can never run, which promises are out of reach, and which type of GPU is short."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from apportion.instances.core import Plan
from apportion.instances.fleet import FleetAllocation
from apportion.models.explaining import Diagnosis, Explanation, Finding
from apportion.solvers.allocation.objectives import fair_needs, promised_rates
from apportion.solvers.allocation.priced import Market, highest_level

_MOST_SHOWN = 20
_PROMISING = ("max-throughput", "throughput-per-cost", "min-cost")


def explain_allocation(
    instance: FleetAllocation,
    _options: object = None,
    plan: Plan | None = None,  # noqa: ARG001
) -> Explanation:
    """Name the jobs that can never run, the promises that cannot be kept, alone or together, and the scarce types.

    Promises count under the objectives that keep them; pairs that may share GPUs are left out of account there, so with
    pairs the promises are judged one by one only.

    Examples
    --------
    >>> fleet = FleetAllocation.build("t", {"k80": 2}, {"a": [1.0], "b": [0.0]}, scale_factor=[4, 1])
    >>> for finding in explain_allocation(fleet).findings:
    ...     print(finding)
    job a can never run: it asks for 4 GPUs of one type, the fleet has at most 2 of a type it runs on
    job b can never run: it runs on no type of GPU of the fleet: every throughput is 0
    """
    findings = [*_never(instance), *(_promises(instance) if instance.objective in _PROMISING else ())]
    broken = any(finding.place.startswith("promise") for finding in findings)
    diagnosis = Diagnosis.INFEASIBLE if broken else Diagnosis.SOLVABLE
    notes = [f"{int(instance.runnable.sum())} of {instance.num_jobs} jobs can run"]
    if instance.objective == "max-min-fairness" and not instance.num_pairs and instance.runnable.any():
        findings += list(_scarce(instance))
    return Explanation(instance.name, diagnosis, tuple(findings), notes=tuple(notes))


def _never(instance: FleetAllocation) -> Iterator[Finding]:
    stuck = np.flatnonzero(~instance.runnable)
    for job in stuck[:_MOST_SHOWN].tolist():
        name = instance.jobs[job]
        yield Finding(f"job {name} can never run: it {instance.pending_reason(job)}", name, 1.0)
    if len(stuck) > _MOST_SHOWN:
        yield Finding(f"and {len(stuck) - _MOST_SHOWN} more jobs can never run", "", float(len(stuck) - _MOST_SHOWN))


def _promises(instance: FleetAllocation) -> Iterator[Finding]:
    asked, top = promised_rates(instance), instance.rates.max(axis=1, initial=0.0)
    for side in (0, 1):
        if instance.num_pairs:
            np.maximum.at(top, instance.pairs[:, side], instance.pair_rates[:, side, :].max(axis=1, initial=0.0))
    late = np.flatnonzero(asked > top * (1.0 + 1e-9))
    for job in late[:_MOST_SHOWN].tolist():
        least = instance.steps_left[job] / top[job]
        yield Finding(
            f"job {instance.jobs[job]} cannot be done in {instance.slo_s[job]:g} s: its {instance.steps_left[job]:g} "
            f"steps take {least:g} s on the fastest type all the time",
            f"promise of {instance.jobs[job]}",
            float(least - instance.slo_s[job]),
        )
    if len(late) or instance.num_pairs:
        return
    found = highest_level(Market.of(instance), asked)
    if found is not None and found[1].bound < 1.0 - 1e-6:
        times = 1.0 / found[1].bound
        yield Finding(
            f"the promised times cannot all be kept: they would have to be at least {times:.4g} times as long, "
            f"or the GPUs at least {times:.4g} times as many",
            "promises",
            times - 1.0,
        )


def _scarce(instance: FleetAllocation) -> Iterator[Finding]:
    """What one GPU more of each type is worth: the prices at the optimum."""
    found = highest_level(Market.of(instance), fair_needs(instance))
    if found is None:
        return
    price = found[1].price
    for kind in np.argsort(-price, kind="stable").tolist():
        if price[kind] > 1e-6 * found[1].bound / max(1, int(instance.num_gpus.sum())):
            name = instance.gpu_types[kind]
            yield Finding(
                f"{name} is scarce: each further one raises the level by at most {price[kind]:.3g}",
                name,
                float(price[kind]),
                blocking=False,
            )
