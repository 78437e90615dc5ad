"""Registered measurements that anyone can repeat: ``apportion bench SUITE``. The protocol is docs/benchmarks.md."""

from __future__ import annotations

from apportion.bench.registry import Context, Measurement, Row, Spec, Target, spec, specs_of, suite_names
from apportion.bench.runner import render_protocols, render_table, run_suite

__all__ = [
    "Context",
    "Measurement",
    "Row",
    "Spec",
    "Target",
    "render_protocols",
    "render_table",
    "run_suite",
    "spec",
    "specs_of",
    "suite_names",
]
