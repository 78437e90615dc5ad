"""Which backends there are, whether they are installed, and what each refuses before a model is built."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from dataclasses import dataclass
from typing import cast

import numpy as np

from apportion.instances.errors import BackendMissingError, CapabilityError, OptionError
from apportion.instances.program import MixedIntegerProgram
from apportion.solvers.backends.base import Backend, Capabilities


@dataclass(frozen=True)
class BackendEntry:
    """Where a backend lives, the package that it needs, and what it can do."""

    home: str
    package: str
    distribution: str
    capabilities: Capabilities


BACKENDS: dict[str, BackendEntry] = {
    "highs": BackendEntry(
        "apportion.solvers.backends.highs:Highs",
        "highspy",
        "highspy",
        Capabilities(
            continuous=True,
            integer=True,
            quadratic_objective=True,
            ordered_sets=False,
            indicators=False,
            duals=True,
            warm_start=True,
            cancel=True,
            deterministic=True,
            quadratic_with_integers=False,
        ),
    ),
    "cp-sat": BackendEntry(
        "apportion.solvers.backends.cp_sat:CpSat",
        "ortools",
        "ortools",
        Capabilities(
            continuous=False,
            integer=True,
            quadratic_objective=False,
            ordered_sets=False,
            indicators=True,
            duals=False,
            warm_start=True,
            cancel=True,
            deterministic=True,
            quadratic_with_integers=False,
            infinite_bounds=False,
        ),
    ),
    "scip": BackendEntry(
        "apportion.solvers.backends.scip:Scip",
        "pyscipopt",
        "PySCIPOpt",
        Capabilities(
            continuous=True,
            integer=True,
            quadratic_objective=True,
            ordered_sets=True,
            indicators=True,
            duals=False,
            warm_start=True,
            cancel=True,
            deterministic=True,
            quadratic_with_integers=True,
        ),
    ),
}
"""Name -> where the backend lives and what it can do; nothing is imported before it is used."""


def is_installed(name: str) -> bool:
    """Whether the package of a backend can be found; it is not imported."""
    return importlib.util.find_spec(BACKENDS[name].package) is not None


def backend_named(name: str) -> Backend:
    """Return the backend called ``name``.

    Raises
    ------
    OptionError
        When there is no such backend.
    BackendMissingError
        When its package is not installed.
    """
    if name not in BACKENDS:
        near = difflib.get_close_matches(name, BACKENDS, n=1) or [", ".join(BACKENDS)]
        raise OptionError(f"unknown backend {name!r}\nMaybe {near[0]}")
    entry = BACKENDS[name]
    if not is_installed(name):
        raise BackendMissingError(f"{name} is not installed\nMaybe pip install {entry.distribution}")
    module, _, attribute = entry.home.partition(":")
    return cast("Backend", getattr(importlib.import_module(module), attribute)())


def refusal(program: MixedIntegerProgram, name: str) -> str:
    """Why the backend called ``name`` cannot express ``program``, or an empty string."""
    able = BACKENDS[name].capabilities
    if program.ordered_sets and not able.ordered_sets:
        return "special ordered sets"
    if program.indicators and not able.indicators:
        return "indicator constraints"
    if program.hessian is not None and program.hessian.num_nonzeros:
        if not able.quadratic_objective:
            return "a quadratic objective"
        if program.is_mixed_integer and not able.quadratic_with_integers:
            return "a quadratic objective with integer variables"
    if not able.integer and program.is_mixed_integer:
        return "integer variables"
    if not able.continuous and not program.integer.all():
        return "continuous variables"
    if not able.infinite_bounds and not (np.isfinite(program.lower) & np.isfinite(program.upper)).all():
        return "variables without finite bounds"
    return ""


def require(program: MixedIntegerProgram, backend: Backend) -> None:
    """Refuse a program that ``backend`` cannot express, before anything is built, and say which backend can.

    Raises
    ------
    CapabilityError
        Names what is missing and the way out.
    """
    lacking = refusal(program, backend.name)
    if not lacking:
        return
    able = [name for name in BACKENDS if not refusal(program, name)]
    hint = f"backend {' or '.join(repr(name) for name in able)}" if able else "a model without it"
    raise CapabilityError(f"{backend.name} cannot express {lacking} (program {program.name!r})\nMaybe {hint}")
