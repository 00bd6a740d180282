"""Pure functions and frozen structures: what Readfirst knows of medicine, time, identity and rank. May import schemas only."""
