from __future__ import annotations

import subprocess
import sys

import pytest

import apportion


def test_all_is_sorted_and_complete() -> None:
    assert apportion.__all__ == sorted(apportion.__all__)
    assert set(apportion.__all__) == set(apportion._HOMES)
    for name in apportion.__all__:
        assert getattr(apportion, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = apportion.nonsense


def test_import_is_light() -> None:
    code = "import sys, apportion; print([m for m in ('numpy', 'highspy', 'ortools', 'numba') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_bare_room_names_do_not_leak() -> None:
    code = "import importlib.util as u; print([m for m in ('models', 'solvers', 'instances') if u.find_spec(m)])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert answer.stdout.strip() == "[]"
