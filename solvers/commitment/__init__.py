"""The method, its kernels and its bounds."""
