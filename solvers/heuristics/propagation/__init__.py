"""Bound propagation: what the rows imply for the bounds of the columns."""
