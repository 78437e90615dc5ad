"""Seeded generators of instances. Same seed, same bytes."""

from __future__ import annotations

import importlib
from typing import Any, cast

from apportion.instances.core import Instance
from apportion.instances.errors import OptionError

GENERATORS: dict[str, str] = {
    "cluster-placement": "apportion.instances.generate.cluster:generate_cluster",
    "fleet-allocation": "apportion.instances.generate.fleet:generate_fleet",
    "vehicle-routing": "apportion.instances.generate.routing:generate_routing",
    "rich-routing": "apportion.instances.generate.rich_routing:generate_rich_routing",
    "unit-commitment": "apportion.instances.generate.commitment:generate_commitment",
    "security-constrained-commitment": (
        "apportion.instances.generate.security_commitment:generate_security_commitment"
    ),
    "optimal-power-flow": "apportion.instances.generate.power_flow:generate_power_flow",
    "mixed-integer-program": "apportion.instances.generate.program:generate_program",
}
"""Problem -> ``module:function`` of its generator, called with ``seed`` and sizes by keyword."""


def generate(problem: str, seed: int = 0, **sizes: Any) -> Instance:
    """Generate an instance of ``problem``; ``sizes`` are the keywords of its generator."""
    if problem not in GENERATORS:
        raise OptionError(f"nothing generates {problem!r}\nMaybe one of {', '.join(GENERATORS)}")
    module, _, function = GENERATORS[problem].partition(":")
    make = getattr(importlib.import_module(module), function)
    try:
        return cast("Instance", make(seed=seed, **sizes))
    except TypeError as error:
        raise OptionError(f"{problem}: {error}") from error
