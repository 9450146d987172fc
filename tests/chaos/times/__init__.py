"""The times that docs/explanation/guarantees.md promises, measured with the real settings.

``python -m tests.chaos.times`` plays all of them at once, on real servers and workers. It takes
eight minutes, since the longest of them is seven.
"""
