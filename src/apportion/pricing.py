"""The face of prices: ``apportion.prices`` and what ``apportion price`` prints."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path
from typing import Any, overload

from apportion.instances.bus_prices import BusPrices
from apportion.instances.commitment import Commitment, UnitCommitment
from apportion.instances.commitment_prices import CommitmentPrices
from apportion.instances.core import Instance, Plan
from apportion.instances.errors import Fault, InstanceError, OptionError, PlanError
from apportion.instances.files import read_text, write_text
from apportion.instances.security_commitment import SecurityConstrainedCommitment
from apportion.instances.security_plan import SecureCommitment

_MOST_ROWS = 12


@overload
def prices(instance: UnitCommitment, plan: Commitment, kind: str = "lmp", **options: Any) -> CommitmentPrices: ...
@overload
def prices(
    instance: SecurityConstrainedCommitment, plan: SecureCommitment, kind: str = "lmp", **options: Any
) -> BusPrices: ...
@overload
def prices(instance: Instance, plan: Plan, kind: str = "lmp", **options: Any) -> CommitmentPrices | BusPrices: ...
def prices(instance: Instance, plan: Plan, kind: str = "lmp", **options: Any) -> CommitmentPrices | BusPrices:
    """Price the energy and the reserve of each hour of a plan, and settle with every unit; on a network, by bus.

    Parameters
    ----------
    instance, plan
        A unit commitment and a plan that keeps its rules, or a security-constrained commitment and its plan.
    kind
        ``lmp``: marginal prices at the planned states, the only kind on a network; ``aelmp``: the same with units that
        start fast on in part;
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

    if isinstance(instance, SecurityConstrainedCommitment) and isinstance(plan, SecureCommitment):
        return _by_bus(instance, plan, kind, options)
    if not (isinstance(instance, UnitCommitment) and isinstance(plan, Commitment)):
        raise OptionError(f"{instance.problem} has no prices of this kind\nMaybe unit-commitment")
    known = list(PricingOptions.__dataclass_fields__)
    for name in options:
        if name not in known:
            raise OptionError(f"unknown option {name!r}\nMaybe one of {', '.join(known)}")
    return price_commitment(instance, plan, kind, PricingOptions(**options))


def _by_bus(
    instance: SecurityConstrainedCommitment, plan: SecureCommitment, kind: str, options: dict[str, Any]
) -> BusPrices:
    from apportion.solvers.security_commitment.prices import price_buses

    if kind != "lmp":
        raise OptionError(f"a network has no {kind!r} prices\nMaybe lmp")
    return price_buses(instance, plan, float(options.get("time_limit_s", inf)))


def bus_prices_text(name: str, found: BusPrices) -> str:
    """The prices by bus, the dearest first, as a table for people."""
    price, congestion = found.price, found.congestion
    width = max(len("bus"), *(len(bus) for bus in found.bus_names))
    lines = [
        f"{name}: marginal prices by bus",
        "",
        f"{'bus':<{width}} {'mean':>12} {'least':>12} {'most':>12} congestion",
    ]
    order = sorted(range(len(price)), key=lambda k: -float(price[k].mean()))
    for k in order[:_MOST_ROWS]:
        figures = (price[k].mean(), price[k].min(), price[k].max())
        cells = " ".join(f"{float(value):>12.4f}" for value in figures)
        lines.append(f"{found.bus_names[k]:<{width}} {cells} {float(congestion[k].mean()):>10.4f}")
    if len(order) > _MOST_ROWS:
        lines.append(f"... and {len(order) - _MOST_ROWS} more buses")
    return "\n".join(lines)


def prices_text(name: str, found: CommitmentPrices | BusPrices) -> str:
    """The prices by hour and the units that lose most, or the prices by bus, as a table for people."""
    if isinstance(found, BusPrices):
        return bus_prices_text(name, found)
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


def write_prices(found: CommitmentPrices | BusPrices, path: Path) -> None:
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
