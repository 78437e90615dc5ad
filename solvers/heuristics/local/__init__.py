"""Local search with tight moves, lift moves and constraint weights, from infeasible to feasible to better."""
