"""The face of the rolling horizon: ``apportion.roll`` and what ``apportion roll`` does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apportion.instances.commitment import UnitCommitment
from apportion.instances.commitment_windows import joined
from apportion.instances.core import Json
from apportion.instances.errors import OptionError
from apportion.instances.files import write_text
from apportion.instances.plans import write_plan
from apportion.instances.power_flow import OptimalPowerFlow
from apportion.instances.reading import read, write
from apportion.report import plain
from apportion.solvers.options import SolveOptions
from apportion.solvers.status import Status

if TYPE_CHECKING:
    from apportion.solvers.commitment_chain.roll import RolledCommitment, Window
    from apportion.solvers.power_flow.rolling import Rolled

DAY_H = 24
WINDOW_COLUMNS = ("first", "length", "kept", "status", "objective", "bound", "gap", "cost", "cpu_s", "wall_s")


def roll(
    problem: object,
    window: int = 48,
    keep: int = 24,
    *,
    hours_each: int | None = None,
    warm: bool = True,
    **options: Any,
) -> RolledCommitment | Rolled:
    """Solve a long horizon window by window; each begins in the state in which the one before it ends.

    Parameters
    ----------
    problem
        A :class:`~apportion.instances.commitment.UnitCommitment`, a file of one, or a list of either: instances that
        follow each other, joined in order. An optimal power flow with storage rolls as well.
    window, keep
        Periods looked at and periods carried out of them, ``1 <= keep <= window``.
    hours_each
        Of a list: take only so many hours of each but the last.
    warm
        Begin each window from what the one before it knew.
    **options
        Fields of :class:`~apportion.solvers.options.SolveOptions`, for each window; ``method`` as well.

    Returns
    -------
    RolledCommitment
        With the joined plan, the verdict of its check over the whole horizon, and every window.

    Raises
    ------
    OptionError
        For a problem that does not roll, and for options out of range.

    Examples
    --------
    >>> import apportion
    >>> rolled = apportion.roll(apportion.generate("unit-commitment", 1, units=4, periods=24), window=12, keep=6)
    >>> rolled.verdict.ok
    True
    """
    method = options.pop("method", None)
    chosen = SolveOptions.build(**options)
    given = list(problem) if isinstance(problem, Sequence) and not isinstance(problem, str) else [problem]
    instances = [read(item) if isinstance(item, str | Path) else item for item in given]
    if len(instances) == 1 and isinstance(instances[0], OptimalPowerFlow):
        from apportion.solvers.power_flow.rolling import roll as roll_power_flow

        return roll_power_flow(instances[0], window, keep, method=method or "dc", options=chosen)
    from apportion.solvers.commitment_chain.roll import roll as roll_commitment

    whole = _whole(instances, hours_each)
    return roll_commitment(whole, window, keep, options=chosen, method=method, warm=warm)


def _whole(instances: Sequence[object], hours_each: int | None) -> UnitCommitment:
    days = [instance for instance in instances if isinstance(instance, UnitCommitment)]
    for other in instances:
        if not isinstance(other, UnitCommitment):
            kind = getattr(other, "problem", type(other).__name__)
            raise OptionError(f"{kind} does not roll\nMaybe unit-commitment, or one optimal-power-flow")
    if hours_each is None and len(days) == 1:
        return days[0]
    last = f" to {days[-1].name}" if len(days) > 1 else ""
    return joined(days, hours_each, f"{days[0].name}{last}" if days else "")


@dataclass(frozen=True)
class RollRequest:
    """What the command line asks for."""

    files: tuple[Path, ...]
    window: int
    keep: int
    hours_each: int | None
    out: Path
    options: SolveOptions
    method: str | None
    format: str | None
    warm: bool


def roll_files(request: RollRequest, tell: Callable[[str], object]) -> RolledCommitment:
    """Read, roll, and write the windows, the joined instance and its plan into ``request.out``."""
    from apportion.solvers.commitment_chain.roll import roll as roll_commitment

    whole = _whole([read(path, request.format) for path in request.files], request.hours_each)
    rolled = roll_commitment(
        whole,
        request.window,
        request.keep,
        options=request.options,
        method=request.method,
        warm=request.warm,
        on_window=lambda window: tell(window_line(window)),
    )
    write_rolled(rolled, request.out)
    return rolled


def write_rolled(rolled: RolledCommitment, out: Path) -> None:
    """Write ``windows.jsonl``, ``instance.json`` and, where there is one, ``instance.plan.json``."""
    lines = [json.dumps(window_to_dict(window), allow_nan=False) for window in rolled.windows]
    write_text(out / "windows.jsonl", "".join(f"{line}\n" for line in lines))
    write(rolled.instance, out / "instance.json", "pglib-uc")
    if rolled.plan is not None and rolled.verdict is not None and rolled.verdict.ok:
        write_plan(rolled.plan, out / "instance.plan.json", rolled.instance)


def window_to_dict(window: Window) -> Json:
    """JSON-ready data of one window, with the keys :data:`WINDOW_COLUMNS`."""
    bounds = window.bounds
    values = (window.first, window.length, window.kept, str(window.status), plain(bounds.primal), plain(bounds.dual))
    figures = (plain(bounds.gap), plain(window.cost), round(window.cpu_s, 4), round(window.wall_s, 4))
    return dict(zip(WINDOW_COLUMNS, (*values, *figures), strict=True))


def window_line(window: Window) -> str:
    """One line for people."""
    hours = f"hours {window.first + 1} to {window.first + window.kept}"
    cost = f"cost {window.cost:,.2f}"
    return f"{hours}: {window.status}, gap {window.bounds.gap:.3%}, {cost}, {window.cpu_s:.2f} CPU s"


def rolled_text(rolled: RolledCommitment) -> str:
    """The report: how many windows, what the whole costs, what its check says."""
    if rolled.verdict is None:
        day, hour = divmod(rolled.failed_at or 0, DAY_H)
        where = f"hour {(rolled.failed_at or 0) + 1} (day {day + 1}, hour {hour + 1})"
        return f"no plan: the window from {where} is {rolled.status}, after {len(rolled.windows)} windows"
    worst = max((window.bounds.gap for window in rolled.windows), default=0.0)
    found = len(rolled.verdict.violations)
    check = "keeps every rule over the whole horizon" if rolled.verdict.ok else f"BREAKS {found} rules"
    lines = [
        f"windows     {len(rolled.windows)} ({rolled.retries} planned again)",
        f"cost        {rolled.cost:,.2f}",
        f"worst gap   {worst:.3%} of a window",
        f"CPU s       {rolled.cpu_s:.2f}",
        f"check       the plan {check}",
        *(f"            {violation}" for violation in rolled.verdict.violations[:5]),
    ]
    return "\n".join(lines)


def exit_code_of_rolled(rolled: RolledCommitment) -> int:
    """As of ``solve``: 0 with a checked plan, 3 when a window is infeasible, 6 when the check fails, 1 otherwise."""
    if rolled.verdict is not None:
        return 0 if rolled.verdict.ok else 6
    return 3 if rolled.status is Status.INFEASIBLE else 1
