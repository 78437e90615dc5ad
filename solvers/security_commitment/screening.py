"""Which limits a flow pattern breaks: at most one case per line, and only the worst lines of each period.

Source: Xavier, Qiu, Wang and Thimmapuram, "Transmission constraint filtering in large-scale security-constrained unit
commitment", IEEE Trans. Power Syst. 34(3), 2019.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apportion.models.security_commitment.network import FlowRow, Network
from apportion.solvers.security_commitment.kernels import worst_cases

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PER_PERIOD = 5
"""Most rows that one round adds for a period."""
SLACK_MW = 1e-5
"""An excess below this is rounding."""


class Screen:
    """The matrices ready for screening, and the work arrays."""

    def __init__(self, network: Network, periods: int) -> None:
        self.network = network
        shape = periods, len(network.watched)
        self._factors = np.ascontiguousarray(network.factors[network.watched])
        self._lost_factors = np.ascontiguousarray(network.factors[network.out_line])
        self._after = np.zeros(shape[1])
        self._excess = np.zeros(shape)
        self._case = np.zeros(shape, np.int64)

    def worst(self, net: Floats) -> tuple[Floats, Ints]:
        """MW above the limit in the worst case and that case, shape (periods, watched), of injections by bus.

        ``net`` has shape (buses, periods). The answers are overwritten by the next call.
        """
        network = self.network
        flow = np.ascontiguousarray((self._factors @ net).T)
        lost = np.ascontiguousarray((self._lost_factors @ net).T)
        worst_cases(
            flow,
            lost,
            network.share,
            network.case_start,
            network.limit,
            network.emergency_limit,
            self._after,
            self._excess,
            self._case,
        )
        return self._excess, self._case

    def broken(self, net: Floats, overload: Floats | None = None, per_period: int = PER_PERIOD) -> list[FlowRow]:
        """The rows to add: the worst case of the worst lines in each period.

        ``overload``, shape (periods, watched), is what the plan already pays for and therefore no violation.
        """
        if not len(self.network.watched):
            return []
        excess, case = self.worst(net)
        beyond = excess if overload is None else excess - overload
        found: list[FlowRow] = []
        for t in range(len(beyond)):
            over = np.flatnonzero(beyond[t] > SLACK_MW)
            chosen = over[np.argsort(-beyond[t, over], kind="stable")[:per_period]]
            found += [FlowRow(int(self.network.watched[m]), int(case[t, m]), t) for m in chosen]
        return found
