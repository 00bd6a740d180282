"""Recording event logs, replaying them without a broker, and comparing what came out. May import bootstrap and below."""
