"""Who leads a run: the loop that turns events into batches, and what keeps it honest."""
