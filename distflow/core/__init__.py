"""The policy of distflow, pure: no Redis, no RQ, no clock, no threads, no randomness."""
