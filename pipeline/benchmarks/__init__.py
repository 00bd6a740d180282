"""The project's own performance figures, measured on real servers. May import what stands below the command line."""
