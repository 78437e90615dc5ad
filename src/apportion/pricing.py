"""The face of prices: ``apportion.prices`` and what ``apportion price`` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.commitment_prices import CommitmentPrices
from apportion.instances.core import Instance, Plan
from apportion.instances.errors import Fault, InstanceError, OptionError, PlanError
from apportion.instances.files import read_text, write_text

_MOST_ROWS = 12


def prices(instance: Instance, plan: Plan, kind: str = "lmp", **options: Any) -> CommitmentPrices:
    """Price the energy and the reserve of each hour of a plan, and settle with every unit.

    Parameters
    ----------
    instance, plan
        A unit commitment and a plan that keeps its rules.
    kind
        ``lmp``: marginal prices at the planned states; ``aelmp``: the same with units that start fast on in part;
        ``hull``: the prices that need least uplift.
    **options
        Fields of :class:`~apportion.solvers.commitment_pricing.method.PricingOptions`.

    Raises
    ------
    OptionError
        For another problem, an unknown kind or an unknown option.
    PlanError
        When the plan breaks a rule.

    Examples
    --------
    >>> import apportion
    >>> day = apportion.generate("unit-commitment", 2, units=4, periods=6)
    >>> found = apportion.prices(day, apportion.solve(day).plan, kind="hull")
    >>> len(found.energy), found.total_uplift >= 0.0
    (6, True)
    """
    from apportion.solvers.commitment_pricing.method import PricingOptions, price_commitment

    if not (isinstance(instance, UnitCommitment) and isinstance(plan, Commitment)):
        raise OptionError(f"{instance.problem} has no prices of this kind\nMaybe unit-commitment")
    known = list(PricingOptions.__dataclass_fields__)
    for name in options:
        if name not in known:
            raise OptionError(f"unknown option {name!r}\nMaybe one of {', '.join(known)}")
    return price_commitment(instance, plan, kind, PricingOptions(**options))


def prices_text(name: str, found: CommitmentPrices) -> str:
    """The prices by hour and the units that lose most, as a table for people."""
    lines = [f"{name}: {found.kind} prices", "", f"{'hour':>5} {'energy':>12} {'reserve':>12}"]
    table = zip(found.energy.tolist(), found.reserve.tolist(), strict=True)
    lines += [f"{hour:>5} {energy:>12.4f} {reserve:>12.4f}" for hour, (energy, reserve) in enumerate(table, start=1)]
    lines += [
        "",
        f"total uplift       {found.total_uplift:,.2f}",
        f"  lost opportunity {float(found.lost_opportunity.sum()):,.2f}",
        f"  renewables       {found.renewable_lost:,.2f}",
        f"  surplus reserve  {found.reserve_surplus:,.2f}",
        f"make-whole         {float(found.make_whole.sum()):,.2f}",
        f"bound of prices    {found.bound:,.2f}",
    ]
    losing = [row for row in found.rows() if row[4] > 0.005 or row[5] > 0.005]
    if losing:
        width = max(len(row[0]) for row in losing[:_MOST_ROWS])
        lines += ["", f"{'unit':<{width}} " + " ".join(f"{column:>16}" for column in found.columns[1:])]
        lines += [
            f"{row[0]:<{width}} " + " ".join(f"{value:>16,.2f}" for value in row[1:]) for row in losing[:_MOST_ROWS]
        ]
        if len(losing) > _MOST_ROWS:
            lines.append(f"... and {len(losing) - _MOST_ROWS} more units")
    return "\n".join(lines)


def write_prices(found: CommitmentPrices, path: Path) -> None:
    """Write prices and accounts as JSON; ``-`` is standard output."""
    write_text(path, json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n")


def read_prices(path: Path) -> CommitmentPrices:
    """Read what :func:`write_prices` wrote; raise :class:`PlanError` when it is something else."""
    try:
        data = json.loads(read_text(path))
    except InstanceError as error:
        raise PlanError(error.source, error.faults) from error
    except (ValueError, RecursionError) as error:
        raise PlanError(str(path), [Fault("", f"is not JSON: {error}")]) from error
    try:
        return CommitmentPrices.from_dict(data)
    except PlanError as error:
        raise PlanError(str(path), error.faults) from error
