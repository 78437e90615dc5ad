"""Rich vehicle routing: kernels, the search around them, and the method."""
