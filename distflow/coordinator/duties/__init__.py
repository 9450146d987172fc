"""Duties of a coordinator, one a file: each says when it is due, and acts."""
