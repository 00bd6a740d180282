"""One folder for each thing outside. May import services, ports, domain and schemas."""
