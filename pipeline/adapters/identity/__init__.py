"""The identity vault: the only place of direct identifiers. May import ports, errors and the Postgres pool."""
