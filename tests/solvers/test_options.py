from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from apportion.instances.errors import OptionError
from apportion.solvers.options import SolveOptions
from apportion.solvers.registry import METHODS, method_of


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time_limit_s", 0),
        ("time_limit_s", nan),
        ("gap", -1),
        ("threads", 0),
        ("threads", 10**9),
        ("seed", -1),
        ("node_limit", -1),
        ("backend", "gurobi"),
    ],
)
def test_values_out_of_range_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=name):
        SolveOptions.build(**{name: value})


def test_an_unknown_option_suggests_the_nearest() -> None:
    with pytest.raises(OptionError, match="Maybe threads"):
        SolveOptions.build(thread=2)


def test_defaults_and_copies() -> None:
    options = SolveOptions()
    assert options.time_limit_s == inf
    assert options.with_(seed=7).seed == 7
    assert options.seed == 0


def test_every_registered_method_can_be_imported() -> None:
    for problem, methods in METHODS.items():
        for name in methods:
            chosen, run = method_of(problem, name)
            assert chosen == name
            assert callable(run)


def test_unknown_methods_and_problems_say_what_there_is() -> None:
    with pytest.raises(OptionError, match="Maybe default"):
        method_of("vehicle-routing", "magic")
    with pytest.raises(OptionError, match="no method solves 'chess'"):
        method_of("chess")
