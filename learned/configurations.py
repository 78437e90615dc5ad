"""Ways to run a solver that are exact and often faster than its defaults, and what of a program tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from apportion.instances.program import MixedIntegerProgram
from apportion.learned.graphs import Floats
from apportion.solvers.backends import refusal
from apportion.solvers.options import HighsOptions, ScipOptions
from apportion.solvers.ranking import shape_of

CONFIGURATIONS: dict[str, Mapping[str, Any]] = {
    "highs": {"backend": "highs"},
    "highs-no-restart": {"backend": "highs", "highs": HighsOptions(settings={"mip_allow_restart": False})},
    "highs-root-cuts": {
        "backend": "highs",
        "highs": HighsOptions(settings={"mip_allow_restart": False, "mip_allow_cut_separation_at_nodes": False}),
    },
    "scip": {"backend": "scip"},
    "scip-root-cuts": {
        "backend": "scip",
        "scip": ScipOptions(settings={"separating/maxrounds": 0, "presolving/maxrestarts": 0}),
    },
    "scip-no-cuts": {
        "backend": "scip",
        "scip": ScipOptions(
            settings={"separating/maxrounds": 0, "separating/maxroundsroot": 0, "presolving/maxrestarts": 0}
        ),
    },
    "cp-sat": {"backend": "cp-sat"},
}
"""Name -> changes of the options of a solve."""

FEATURES = (
    "log columns",
    "log rows",
    "log entries",
    "integer",
    "binary",
    "packing",
    "covering",
    "partitioning",
    "knapsack",
    "links",
    "pairs",
    "log row length",
    "equal costs",
    "spread of costs",
    "spread of column degrees",
)


def able(program: MixedIntegerProgram) -> list[str]:
    """The configurations whose backend can express ``program``."""
    return [name for name, changes in CONFIGURATIONS.items() if not refusal(program, changes["backend"])]


def features_of(program: MixedIntegerProgram) -> Floats:
    """What tells programs apart, shape (len(FEATURES),), without solving anything.

    >>> from apportion.instances.generate.benchmark_programs import benchmark_program
    >>> features_of(benchmark_program("set-cover", 1, rows=20, columns=50)).shape
    (15,)
    """
    shape = shape_of(program)
    costs, degrees = np.abs(program.cost[program.cost != 0.0]), np.diff(program.matrix.starts)

    def spread(values: np.ndarray) -> float:
        return float(np.std(values) / max(1e-12, float(np.mean(values)))) if len(values) else 0.0

    return np.array(
        [
            np.log1p(shape.columns),
            np.log1p(shape.rows),
            np.log1p(shape.nonzeros),
            shape.integer,
            shape.binary,
            shape.packing,
            shape.covering,
            shape.partitioning,
            shape.knapsack,
            shape.links,
            shape.pairs,
            np.log1p(shape.row_length),
            float(shape.equal_costs),
            min(10.0, spread(costs)),
            min(10.0, spread(degrees)),
        ]
    )
