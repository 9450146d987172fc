"""``python -m distflow.cli``."""

from distflow.cli import main

main(prog_name="distflow")
