"""How ready tasks reach workers."""
