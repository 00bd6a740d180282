"""Small event logs that tell the known traps, and tests on them in the users' words."""
