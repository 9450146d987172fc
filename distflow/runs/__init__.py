"""Runs from Python: create them, lead them, read them, decide their tasks."""
