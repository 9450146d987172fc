"""Workflows on real input; run them from the checkout, which is where workers find them."""
