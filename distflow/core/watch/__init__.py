"""Judges workers and batches by what was seen of them; pure, without any calls."""
