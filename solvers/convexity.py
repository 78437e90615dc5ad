"""Whether a quadratic objective is convex in the direction in which it is optimised."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from apportion.instances.program import MixedIntegerProgram

_SMALL = 200
_RELATIVE = 1e-9


def is_convex(program: MixedIntegerProgram) -> bool:
    """Whether ``sign * Q`` is positive semidefinite up to rounding.

    Small matrices by their eigenvalues; larger ones by the signs of the pivots of a symmetric factorisation of
    ``Q + shift``, which by Sylvester's law of inertia count the negative eigenvalues.
    """
    if program.hessian is None or not program.hessian.num_nonzeros:
        return True
    hessian = program.hessian
    size = program.num_columns
    lower = scipy.sparse.csc_array((hessian.values, hessian.rows, hessian.starts), shape=(size, size))
    full = scipy.sparse.csc_array(lower + lower.T - scipy.sparse.diags_array(lower.diagonal()))
    if (program.sense.sign * full.diagonal() < 0.0).any():
        return False
    used = np.flatnonzero(np.diff(full.indptr))
    if not len(used):
        return True
    matrix = scipy.sparse.csc_array((program.sense.sign * full.data, full.indices, full.indptr), shape=full.shape)
    matrix = scipy.sparse.csc_array(matrix[used][:, used])
    shift = _RELATIVE * max(1e-12, float(np.abs(matrix.data).max(initial=0.0)))
    if matrix.shape[0] <= _SMALL:
        return bool(np.linalg.eigvalsh(matrix.toarray()).min() >= -shift * matrix.shape[0])
    return _pivots_positive(matrix, shift * 10)


def _pivots_positive(matrix: scipy.sparse.csc_array, shift: float) -> bool:
    shifted = scipy.sparse.csc_array(matrix + shift * scipy.sparse.eye_array(matrix.shape[0]))
    try:
        factors = scipy.sparse.linalg.splu(
            shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
    except RuntimeError:
        return False
    symmetric = bool(np.array_equal(factors.perm_r, factors.perm_c))
    return symmetric and bool((factors.U.diagonal() > 0.0).all())
