"""Lower bounds for vehicle routing: an edge relaxation with capacity cuts, and column generation."""
