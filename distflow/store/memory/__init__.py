"""Runs in this process: the reference of what the scripts do."""
