"""``verify``: a result is held against a second solve by another backend, and refused when they contradict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from apportion.instances.core import Instance
from apportion.instances.errors import BackendError
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.backends import BACKENDS
from apportion.solvers.certificates import Claim, second_backend, verify
from apportion.solvers.events import Monitor
from apportion.solvers.options import SolveOptions
from apportion.solvers.result import Agreement, Result, SecondOpinion
from apportion.solvers.status import Bounds, Status


def verified(instance: Instance, result: Result[Any], options: SolveOptions, monitor: Monitor) -> Result[Any]:
    """``result`` with the second opinion on it.

    Programs are solved again, within the same limits once more, by the first other backend that can express them: for
    a race, where all took part, by a single one alone. Other problems have no second solver: their plan rests on the
    independent check and their bound on the method, which is said. A contradicted result becomes an ERROR without
    bounds, and its plan a ``rejected_plan``.
    """
    opinion = _opinion(instance, result, options, monitor)
    monitor.log(f"second opinion: {opinion}")
    if opinion.agreement is not Agreement.CONTRADICTED or result.status is Status.ERROR:
        return replace(result, second_opinion=opinion)
    return replace(
        result,
        status=Status.ERROR,
        limit=None,
        bounds=Bounds.unknown(instance.sense),
        plan=None,
        rejected_plan=result.plan,
        message=f"the second solve contradicts: {opinion.message}",
        second_opinion=opinion,
    )


def _opinion(instance: Instance, result: Result[Any], options: SolveOptions, monitor: Monitor) -> SecondOpinion:
    if not isinstance(instance, MixedIntegerProgram):
        checked = "; the plan has passed the independent check" if result.plan is not None else ""
        message = f"only programs have a second solver, this is {instance.problem}{checked}"
        return SecondOpinion(Agreement.NOT_DONE, message=message)
    if monitor.cancelled.is_set():
        return SecondOpinion(Agreement.NOT_DONE, message="interrupted")
    who = result.native_status.partition(":")[0] or result.method
    used = who if any(name in who for name in BACKENDS) else ""
    try:
        other = second_backend(instance, used)
        monitor.log(f"{other} solves again")
        found = verify(
            instance,
            Claim.of(instance, result, who if used else result.method),
            backend=other,
            options=replace(options, verify=False),
            cancelled=monitor.cancelled,
        )
    except BackendError as error:
        return SecondOpinion(Agreement.NOT_DONE, message=str(error).partition("\n")[0])
    if found.second.status is Status.ERROR:
        return SecondOpinion(Agreement.NOT_DONE, other, f"{other} ended with an error")
    if not found.ok:
        return SecondOpinion(Agreement.CONTRADICTED, other, "; ".join(found.contradictions))
    agreement = Agreement.CONFIRMED if found.confirmed else Agreement.UNCONTRADICTED
    return SecondOpinion(agreement, other, str(found))
