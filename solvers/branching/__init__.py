"""Branch and bound with open doors: one protocol for branching rules, for the host of this package and for SCIP."""
