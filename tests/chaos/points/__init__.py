"""Crash at every step: each point, each fault and each role, and what became of the run.

``python -m tests.chaos.points`` plays all of them; CI plays a seeded sample.
"""
