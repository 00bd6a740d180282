"""The local stack: Kafka, Postgres, Triton and the roles as ordinary processes of one machine; may import settings and errors only."""
