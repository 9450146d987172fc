"""Runs in this process: the reference for the scripts."""
