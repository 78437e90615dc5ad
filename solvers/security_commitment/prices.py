"""Locational marginal prices: the states of a plan are kept, its dispatch solved again, and the duals read.

A MW of load at a bus moves the balance of its island and, by the shift factors, the flow of every row that binds: its
price is the dual of the balance plus the duals of the rows weighted by the factors (Litvinov et al. 2004).
"""

from __future__ import annotations

from math import inf

import numpy as np

from apportion.instances.bus_prices import BusPrices
from apportion.instances.core import Sense
from apportion.instances.errors import Fault, PlanError
from apportion.instances.islands import islands_of
from apportion.instances.security_commitment import SecurityConstrainedCommitment
from apportion.instances.security_plan import SecureCommitment
from apportion.models.checking import check
from apportion.models.security_commitment.arrays import formulate
from apportion.models.security_commitment.flows import FlowRows, entries_of
from apportion.models.security_commitment.network import network_of
from apportion.solvers.events import Monitor
from apportion.solvers.security_commitment.relaxation import Relaxation, Relaxed
from apportion.solvers.security_commitment.screening import Screen


def price_buses(
    instance: SecurityConstrainedCommitment, plan: SecureCommitment, time_limit_s: float = inf
) -> BusPrices:
    """The price of energy at each bus in each period, per MWh, at the states of ``plan``.

    Where a load is curtailed to the last MW, the price is that of a further one which could not be.

    Raises
    ------
    PlanError
        When the plan breaks a rule, or its dispatch is not solved in time.

    Examples
    --------
    >>> from apportion.instances.generate.security_commitment import generate_security_commitment
    >>> from apportion.solvers.solve import solve_instance
    >>> day = generate_security_commitment(seed=1, buses=4, units=3, periods=4)
    >>> price_buses(day, solve_instance(day).plan).price.shape
    (4, 4)
    """
    plan = plan.aligned_to(instance)
    verdict = check(instance, plan)
    if not verdict.ok:
        raise PlanError(plan_name(instance), [Fault("plan", str(verdict.violations[0]))])
    rows, found = dispatched(instance, plan, time_limit_s)
    energy, congestion = _parts(instance, rows, found)
    names = tuple(bus.name for bus in instance.buses)
    return BusPrices(names, energy / instance.period_h, congestion / instance.period_h, found.objective)


def dispatched(
    instance: SecurityConstrainedCommitment, plan: SecureCommitment, time_limit_s: float = inf
) -> tuple[FlowRows, Relaxed]:
    """The best dispatch at the states of ``plan``, and the flow rows that it needed.

    Raises
    ------
    PlanError
        When the states allow none, or it takes too long.
    """
    formulation = formulate(instance)
    rows = FlowRows(formulation, network_of(instance))
    monitor = Monitor(Sense.MINIMISE, None, time_limit_s)
    screen = Screen(rows.network, instance.num_periods)
    relaxation = Relaxation(formulation.model.compile(), rows, screen, monitor)
    block = formulation.model.variables["commit"]
    columns = np.arange(block.first, block.last, dtype=np.int64)
    found = relaxation.dispatch(columns, plan.committed.ravel().astype(np.float64))
    if found is None:
        raise PlanError(plan_name(instance), [Fault("plan", "its states allow no dispatch, or none in the time given")])
    return rows, found


def plan_name(instance: SecurityConstrainedCommitment) -> str:
    """What to call the plan in an error."""
    return f"plan of {instance.name or 'secure commitment'}"


def _parts(instance: SecurityConstrainedCommitment, rows: FlowRows, found: Relaxed) -> tuple[np.ndarray, np.ndarray]:
    """Energy and congestion for a MW during a period, shape (buses, periods) each."""
    count, constraints = len(instance.buses), rows.formulation.model.constraints
    balance = constraints["balance"]
    duals = found.row_duals[balance.first : balance.last].reshape(balance.shape)
    energy = duals[islands_of(count, *instance.line_ends)]
    congestion, at = np.zeros((count, instance.num_periods)), max(block.last for block in constraints.values())
    for written in rows.rows:
        parts = len(entries_of(written, 0))
        dual = float(found.row_duals[at : at + parts].sum())
        at += parts
        if dual != 0.0:
            congestion[:, written.row.period] += dual * rows.centred(written.row)
    return energy, congestion
