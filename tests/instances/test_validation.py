from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.instances.errors import Fault, InstanceError
from apportion.instances.validation import FaultList


def test_all_faults_come_at_once_with_place_value_and_way_out() -> None:
    faults = FaultList("plant.json")
    faults.require(False, "units[2].minimum_mw", "must be at most the maximum of 5", 7, "swap the two")
    faults.array("demand", [1.0, float("nan"), -3.0], lower=0)
    faults.unique("units", ["a", "b", "a"])
    with pytest.raises(InstanceError) as caught:
        faults.raise_if_any()
    text = str(caught.value)
    assert text.startswith("plant.json: 4 faults")
    assert "units[2].minimum_mw: must be at most the maximum of 5, got 7\n    Maybe swap the two" in text
    assert "demand[1]: must be a finite number, got nan" in text
    assert "demand[2]: must be at least 0, got -3.0" in text
    assert "units[2]: repeats the identifier of units[0], got 'a'" in text


def test_nothing_recorded_raises_nothing() -> None:
    FaultList("x").raise_if_any()


def test_wrong_shape_and_wrong_type_are_faults_not_exceptions() -> None:
    faults = FaultList("x")
    assert faults.array("a", [[1, 2]], shape=(2,)).shape == (2,)
    assert faults.array("b", ["one"], shape=(1,)).shape == (1,)
    assert faults.array("c", [10**400], shape=(1,)).shape == (1,)
    assert [f.place for f in faults.faults] == ["a", "b", "c"]


def test_many_bad_entries_are_summarised() -> None:
    faults = FaultList("x")
    faults.array("a", np.full(100, -1.0), lower=0)
    assert len(faults.faults) == 6
    assert "95 more entries" in str(faults.faults[-1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20), st.floats(-5, 5))
def test_array_keeps_what_is_valid_and_names_what_is_not(values: list[float], lower: float) -> None:
    faults = FaultList("x")
    array = faults.array("a", values, lower=lower)
    bad = [v for v in values if not np.isfinite(v) or v < lower]
    assert bool(faults.faults) == bool(bad)
    assert not array.flags.writeable
    np.testing.assert_array_equal(array, np.array(values))


def test_long_values_are_shortened() -> None:
    assert len(str(Fault("p", "m", "x" * 500))) < 90
