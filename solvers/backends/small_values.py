"""Coefficients so small that a solver takes them for zero, and whether that matters."""

from __future__ import annotations

import numpy as np

from apportion.instances.program import MixedIntegerProgram

_NEGLIGIBLE = 1e-9


def has_small(program: MixedIntegerProgram, dropped: float) -> bool:
    """Whether any coefficient other than zero is at most ``dropped`` in size."""
    sizes = np.abs(program.matrix.values)
    return bool(((sizes > 0.0) & (sizes <= dropped)).any())


def small_that_matters(program: MixedIntegerProgram, dropped: float) -> str:
    """Name a variable with a coefficient up to ``dropped`` that can move its row by more than 1e-9; else empty."""
    matrix = program.matrix
    sizes = np.abs(matrix.values)
    small = (sizes > 0.0) & (sizes <= dropped)
    columns = np.repeat(np.arange(program.num_columns), np.diff(matrix.starts))[small]
    reach = np.maximum(np.abs(program.lower[columns]), np.abs(program.upper[columns]))
    matters = columns[sizes[small] * reach > _NEGLIGIBLE]
    return program.column_name(int(matters[0])) if len(matters) else ""
