"""distflow and its peers, side by side on one machine: see ``python -m benchmarks --help``."""
