"""Formulations and the independent check."""
