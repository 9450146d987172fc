"""Redis refuses, and everybody is there: workers of each kind, idle and busy, coordinators that
lead and that stand by, and persons who submit, resume and look.

``python -m tests.chaos.refusals`` plays each refusal on each server at hand; CI plays a sample.
"""
