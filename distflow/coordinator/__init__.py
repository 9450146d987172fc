"""Leading a run: the loop that turns events into batches, and the duties around it."""
