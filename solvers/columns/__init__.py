"""Column generation and branch and price: a master over columns, a pricing that makes them, a tree that proves."""
