"""The independent check of rich routes."""
