"""Solvers behind one protocol, found by name and loaded when used."""

from __future__ import annotations

from apportion.solvers.backends.registry import BACKENDS, backend_named, refusal, require

__all__ = ["BACKENDS", "backend_named", "refusal", "require"]
