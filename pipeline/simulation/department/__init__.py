"""What a reading order does to waiting times: closed forms, the simulator, its policies. May import the domain, never an adapter."""
