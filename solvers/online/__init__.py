"""Placing tasks on a GPU cluster one by one as they arrive, without knowing what comes next."""
