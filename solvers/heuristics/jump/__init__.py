"""Feasibility Jump: a weighted search for a feasible point."""
