"""Kafka through librdkafka (confluent-kafka): the event log, the topics, the dead letters. May import what stands below adapters."""
