"""The ways in which people are told of an alert, one module each. May import ports, the domain, and the adapters of a protocol."""
