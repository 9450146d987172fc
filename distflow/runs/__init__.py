"""Runs from Python: make them, lead them, read them, decide in them."""
