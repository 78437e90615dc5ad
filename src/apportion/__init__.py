"""Apportion: hand it an instance, get back a checked plan with a proven bound.

>>> import apportion
>>> apportion.__version__
'0.1.0'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apportion.api import explain, solve
    from apportion.instances.core import Sense
    from apportion.instances.errors import (
        ApportionError,
        BackendError,
        InstanceError,
        ModelError,
        OptionError,
        PlanError,
    )
    from apportion.instances.generate import generate
    from apportion.instances.plans import read_plan, write_plan
    from apportion.instances.reading import read, write
    from apportion.models.algebra import Model
    from apportion.models.checking import check
    from apportion.models.verdict import Verdict, Violation
    from apportion.pricing import prices
    from apportion.rolling import roll
    from apportion.solvers.events import Event, EventKind
    from apportion.solvers.options import SolveOptions
    from apportion.solvers.result import Result
    from apportion.solvers.status import Bounds, Limit, Status

__version__ = "0.1.0"

_HOMES = {
    "explain": "apportion.api",
    "solve": "apportion.api",
    "Sense": "apportion.instances.core",
    "ApportionError": "apportion.instances.errors",
    "BackendError": "apportion.instances.errors",
    "InstanceError": "apportion.instances.errors",
    "ModelError": "apportion.instances.errors",
    "OptionError": "apportion.instances.errors",
    "PlanError": "apportion.instances.errors",
    "generate": "apportion.instances.generate",
    "read_plan": "apportion.instances.plans",
    "write_plan": "apportion.instances.plans",
    "prices": "apportion.pricing",
    "roll": "apportion.rolling",
    "read": "apportion.instances.reading",
    "write": "apportion.instances.reading",
    "Model": "apportion.models.algebra",
    "check": "apportion.models.checking",
    "Verdict": "apportion.models.verdict",
    "Violation": "apportion.models.verdict",
    "Event": "apportion.solvers.events",
    "EventKind": "apportion.solvers.events",
    "SolveOptions": "apportion.solvers.options",
    "Result": "apportion.solvers.result",
    "Bounds": "apportion.solvers.status",
    "Limit": "apportion.solvers.status",
    "Status": "apportion.solvers.status",
}

__all__ = [
    "ApportionError",
    "BackendError",
    "Bounds",
    "Event",
    "EventKind",
    "InstanceError",
    "Limit",
    "Model",
    "ModelError",
    "OptionError",
    "PlanError",
    "Result",
    "Sense",
    "SolveOptions",
    "Status",
    "Verdict",
    "Violation",
    "check",
    "explain",
    "generate",
    "prices",
    "read",
    "read_plan",
    "roll",
    "solve",
    "write",
    "write_plan",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that ``import apportion`` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'apportion' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
