"""One use case a module, written against the ports. May import domain, ports and schemas."""
