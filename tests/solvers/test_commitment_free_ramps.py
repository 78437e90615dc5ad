"""Units whose ramps never bind are priced hour by hour: as by the general rule, which sees ramps a hair shorter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.commitment import UnitCommitment
from apportion.solvers.commitment.prices import Prices, UnitPricing
from tiny_fleets import unit_of

PERIODS = 9
HAIR = 1e-10


def fleets(seed: int) -> tuple[UnitCommitment, UnitCommitment]:
    """The same units with ramps as long as the range of output, and a hair shorter."""
    random = np.random.default_rng(seed)
    units = [unit_of(random, f"unit {g}", free=True) for g in range(5)]
    free, slow = [], []
    for unit in units:
        span = unit.power_max_mw - unit.power_min_mw
        free.append(replace(unit, ramp_up_mw=span, ramp_down_mw=span))
        slow.append(replace(unit, ramp_up_mw=span - HAIR, ramp_down_mw=span - HAIR))
    demand, reserve = np.full(PERIODS, 100.0), np.full(PERIODS, 10.0)
    first, second = (UnitCommitment("free", demand, reserve, tuple(made)) for made in (free, slow))
    return first, second


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_free_ramps_are_priced_as_by_the_general_rule(seed: int) -> None:
    random = np.random.default_rng(seed)
    free, slow = fleets(seed)
    shape = (5, PERIODS)
    paid = bool(random.random() < 0.5)
    prices = Prices(
        random.uniform(-10.0, 70.0, PERIODS),
        random.uniform(0.0, 25.0, PERIODS) * (random.random(PERIODS) < 0.7),
        random.uniform(-300.0, 300.0, shape) if paid else None,
        random.uniform(-300.0, 300.0, shape) if paid else None,
    )
    one, two = (UnitPricing(fleet).answer(prices, margins=True) for fleet in (free, slow))
    for name in ("least", "cost", "committed", "power", "reserve", "least_on", "least_off"):
        assert np.asarray(getattr(one, name)) == pytest.approx(np.asarray(getattr(two, name)), abs=1e-4), name
