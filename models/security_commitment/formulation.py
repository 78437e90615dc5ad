"""What a written model of security-constrained commitment consists of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from apportion.instances.security_commitment import SecurityConstrainedCommitment
from apportion.models.algebra import LinearExpression, Model
from apportion.models.commitment import arrays as units

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Injection:
    """How columns feed buses: column ``first + period`` puts ``factor`` MW per unit into ``bus``; shape (entries,)."""

    first: Ints
    bus: Ints
    factor: Floats


@dataclass(frozen=True, eq=False)
class SecureFormulation:
    """The model of an instance with its blocks.

    ``units`` is the formulation of the thermal units, which lives in the same model. The other blocks have shape
    (things, periods); ``held`` is what each unit holds of each product, shape (units, periods) by product.
    """

    instance: SecurityConstrainedCommitment
    model: Model
    units: units.Formulation
    injection: Injection
    net: LinearExpression
    blocks: dict[str, LinearExpression]
    held: dict[str, LinearExpression] = field(default_factory=dict)
