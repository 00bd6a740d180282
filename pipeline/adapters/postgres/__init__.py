"""Everything kept in PostgreSQL. SQL lives in `queries/*.sql`. May import ports, errors, settings, schemas and modules beside it."""
