"""Security-constrained commitment: the network, the formulation, the independent check."""
