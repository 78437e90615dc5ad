"""Which methods each problem has, as import strings: nothing heavy loads before it is used."""

from __future__ import annotations

import importlib
from typing import cast

from apportion.instances.errors import OptionError
from apportion.solvers.method import Method

METHODS: dict[str, dict[str, str]] = {
    "mixed-integer-program": {
        "default": "apportion.solvers.program:solve_program",
        "heuristics": "apportion.solvers.heuristics.method:solve_with_heuristics",
        "lns": "apportion.solvers.neighbourhoods.method:solve_with_neighbourhoods",
        "portfolio": "apportion.solvers.portfolio:solve_with_portfolio",
        "branch-and-bound": "apportion.solvers.branching.method:branch_and_bound",
        "advised": "apportion.solvers.advised.method:solve_with_advice",
    },
    "constraint-model": {
        "default": "apportion.solvers.constraint_model:solve_constraint_model",
    },
    "cluster-placement": {
        "default": "apportion.solvers.cluster.method:place",
        "cp-sat": "apportion.solvers.cluster.method:place_cp_sat",
        "mip": "apportion.solvers.cluster.method:place_mip",
        "best-fit": "apportion.solvers.cluster.method:place_best_fit",
        "online-least-loss": "apportion.solvers.online.method:place_least_loss",
        "online-fgd": "apportion.solvers.online.method:place_fgd",
        "online-best-fit": "apportion.solvers.online.method:place_best_fit",
        "online-dot-product": "apportion.solvers.online.method:place_dot_product",
        "online-packing": "apportion.solvers.online.method:place_packing",
        "online-clustering": "apportion.solvers.online.method:place_clustering",
        "online-random": "apportion.solvers.online.method:place_random",
        "online-admission": "apportion.solvers.online.method:place_with_waiting",
    },
    "fleet-allocation": {
        "default": "apportion.solvers.allocation.method:allocate",
        "program": "apportion.solvers.allocation.method:allocate_by_program",
        "water-filling": "apportion.solvers.allocation.method:allocate_by_water_filling",
        "parts": "apportion.solvers.allocation.method:allocate_by_parts",
    },
    "vehicle-routing": {
        "default": "apportion.solvers.routing.method:route",
    },
    "rich-routing": {
        "default": "apportion.solvers.rich_routing.method:route_rich",
    },
    "optimal-power-flow": {
        "ac": "apportion.solvers.power_flow.method:solve_ac",
        "ac-rectangular": "apportion.solvers.power_flow.method:solve_ac_rectangular",
        "soc": "apportion.solvers.power_flow.method:solve_soc",
        "dc": "apportion.solvers.power_flow.method:solve_dc",
        "dc-matpower": "apportion.solvers.power_flow.method:solve_dc_matpower",
        "dispatch": "apportion.solvers.power_flow.method:solve_dispatch",
    },
    "security-constrained-commitment": {
        "default": "apportion.solvers.security_commitment.method:commit_securely",
    },
    "unit-commitment": {
        "default": "apportion.solvers.commitment.method:commit",
    },
}
"""Problem -> method name -> ``module:function``; the first of a problem is its default."""


def methods_of(problem: str) -> tuple[str, ...]:
    """The names of the methods that solve ``problem``."""
    return tuple(METHODS.get(problem, {}))


def method_of(problem: str, name: str | None = None) -> tuple[str, Method]:
    """Return the method and its name; None asks for the default."""
    known = METHODS.get(problem)
    if not known:
        raise OptionError(f"no method solves {problem!r}\nMaybe one of {', '.join(METHODS)}")
    chosen = name or next(iter(known))
    if chosen not in known:
        raise OptionError(f"{problem} has no method {chosen!r}\nMaybe {', '.join(known)}")
    module, _, function = known[chosen].partition(":")
    return chosen, cast("Method", getattr(importlib.import_module(module), function))
