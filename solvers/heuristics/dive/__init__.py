"""Fix and propagate: a depth-first dive with limited backtracking."""
