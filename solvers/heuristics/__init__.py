"""Primal heuristics for any mixed-integer program: Numba kernels, the drivers around them and HiGHS fed with both."""
