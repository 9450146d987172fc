"""One module per table; each has a ``measure`` that takes Settings and returns a Section."""
