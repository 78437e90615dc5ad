"""Ruin and recreate under annealing."""
