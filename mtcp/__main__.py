"""`python -m mtcp`: the command line from a source tree that is not installed."""

from mtcp.cli import main

main()
