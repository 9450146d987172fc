"""Where runs are kept: on Redis, and in memory as the reference model of the scripts."""
