"""`python -m pipeline.cli`, as the supervisor starts the roles."""

from pipeline.cli import main

main()
