"""How problems are written as mathematics, and the independent check of a plan."""
