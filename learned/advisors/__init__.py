"""Advisors: each implements the protocol of ``solvers.advisor``, each may be wrong."""
