"""Constraint models that users bring."""
