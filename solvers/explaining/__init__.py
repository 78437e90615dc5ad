"""Why a program has no plan, no bound, or the optimum that it has."""
