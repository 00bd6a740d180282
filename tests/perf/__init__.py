"""The rivals of `readfirst bench`: the same job done another way, or the bare minimum of it. Each is a program of its own."""
