"""Advice about integer columns turned into a plan and a proof: fix, solve, probe, shrink."""
