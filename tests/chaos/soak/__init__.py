"""The soak: random workflows, and processes that are killed, frozen and restarted at random.

``python -m tests.chaos.soak --minutes 2 --seed 7``, or ``make chaos``. The seed makes the
workflows and the faults; what they meet is up to the machine.
"""
