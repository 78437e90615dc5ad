"""How flows answer to injections and to outages: PTDF and LODF matrices.

Sources: Wood and Wollenberg, "Power Generation, Operation and Control", chapter 11; Guo, Fu, Li and Shahidehpour,
"Direct calculation of line outage distribution factors", IEEE Trans. Power Syst. 24(3), 2009.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from apportion.instances.errors import ModelError
from apportion.instances.islands import islands_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BRIDGE = 1e-8


def ptdf(num_buses: int, from_bus: Ints, to_bus: Ints, susceptance: Floats, slack: Floats | None = None) -> Floats:
    """Flow on each branch per MW injected at each bus and taken out at the slack, shape (branches, buses).

    Parameters
    ----------
    num_buses
        How many buses there are.
    from_bus, to_bus, susceptance
        Ends and susceptance (not zero) of each branch, shape (branches,).
    slack
        The share of each bus in what is taken out, shape (buses,); each island's shares are scaled to 1. By default
        the first bus of each island takes all.

    Raises
    ------
    ModelError
        When the susceptances leave the flows undetermined, or an island has no slack.

    Notes
    -----
    One sparse LU factorisation of the susceptance matrix without a bus of each island, then one solve per branch.

    Examples
    --------
    Two equal ways from bus 0 to bus 2, one of them through bus 1:

    >>> ends = np.array([0, 1, 0]), np.array([1, 2, 2])
    >>> (ptdf(3, *ends, np.array([2.0, 2.0, 1.0])) + 0.0).round(3)[:, 2].tolist()
    [-0.5, -0.5, -0.5]
    """
    count = len(from_bus)
    island = islands_of(num_buses, from_bus, to_bus)
    first = np.unique(island, return_index=True)[1]
    shares = _slack(island, first, slack)
    row = np.concatenate((np.arange(count), np.arange(count)))
    ends = np.concatenate((from_bus, to_bus))
    signs = np.concatenate((np.ones(count), -np.ones(count)))
    meets = sparse.csr_array((signs, (row, ends)), shape=(count, num_buses))
    weighted = sparse.csr_array(sparse.diags_array(np.asarray(susceptance, np.float64)) @ meets)
    others = np.setdiff1d(np.arange(num_buses), first)
    factors = np.zeros((count, num_buses))
    if len(others) and count:
        laplacian = sparse.csc_array((meets.T @ weighted)[others][:, others])
        try:
            solved = splu(laplacian).solve(weighted[:, others].toarray().T)
        except RuntimeError as error:
            raise ModelError("ptdf: the susceptances leave the flows undetermined\nMaybe some cancel") from error
        if not np.isfinite(solved).all():
            raise ModelError("ptdf: the susceptances leave the flows undetermined\nMaybe some cancel")
        factors[:, others] = solved.T
    for k in range(len(first)):
        members = np.flatnonzero(island == k)
        if shares[first[k]] < 1.0:
            factors[:, members] -= (factors[:, members] @ shares[members])[:, None]
    return factors


def _slack(island: Ints, first: Ints, slack: Floats | None) -> Floats:
    shares = np.zeros(len(island))
    if slack is None:
        shares[first] = 1.0
        return shares
    shares += np.asarray(slack, np.float64)
    totals = np.bincount(island, weights=shares)
    if (np.abs(totals) < _BRIDGE).any():
        raise ModelError(
            f"ptdf: island {int(np.argmin(np.abs(totals)))} has no slack\nMaybe give one of its buses a share"
        )
    return np.asarray(shares / totals[island])


def lodf(factors: Floats, from_bus: Ints, to_bus: Ints) -> Floats:
    """The share of branch k's flow that branch l takes over when k fails, ``lodf[l, k]``, shape (branches, branches).

    Parameters
    ----------
    factors
        What :func:`ptdf` returns.
    from_bus, to_bus
        Ends of each branch.

    Returns
    -------
    NDArray
        The diagonal is -1. The column of a bridge is NaN beside that: its outage splits an island.

    Examples
    --------
    >>> ends = np.array([0, 1, 0]), np.array([1, 2, 2])
    >>> lodf(ptdf(3, *ends, np.array([2.0, 2.0, 1.0])), *ends).round(6).tolist()[2]
    [1.0, 1.0, -1.0]
    """
    transfers = factors[:, from_bus] - factors[:, to_bus]
    own = 1.0 - np.diagonal(transfers)
    bridge = np.abs(own) < _BRIDGE
    outage = np.asarray(transfers / np.where(bridge, np.nan, own))
    np.fill_diagonal(outage, -1.0)
    return outage
