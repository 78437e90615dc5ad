"""Routes to begin with."""
