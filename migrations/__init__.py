"""The Postgres schema's history, as Alembic revisions."""
